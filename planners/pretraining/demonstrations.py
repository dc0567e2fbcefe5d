"""Demonstrations: what a domain's expert would pursue, asked in many states of many levels.

Episodes are played by a perfect controller on the expert's subgoals. Some subgoals are drawn by
chance instead and some actions slip, so that the states include those after a mistake (as in
DAgger, Ross et al. 2011, the label is the expert's wherever the mistakes lead).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from envs.errors import ConfigError
from envs.files import atomic_write
from envs.registry import domain_of, make_env
from envs.subgoal import Subgoal
from perception.map_image import map_codes
from planners.protocol import RECENT, PlannerQuery

CELLS = 21  # side of the stored maps; smaller ones are cut out of their middle
GAMMA = 0.97  # of the value targets, as in the hierarchy
_SHARD = 240  # episodes per file


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What goes wrong in demonstrations, so that a planner learns to recover.

    Attributes:
        subgoal: share of subgoals drawn by chance.
        slip: share of random actions, in every other episode.
        start: share of episodes that begin with a random walk.
        impatience: share of subgoals given up early.
        midway: share of steps at which the expert is asked although the subgoal goes on.
    """

    subgoal: float = 0.15
    slip: float = 0.1
    start: float = 0.3
    impatience: float = 0.1
    midway: float = 0.08


@dataclass(slots=True)
class Demonstration:
    """One state and what the expert says to it.

    Attributes:
        level, seed, step: where it comes from.
        mission: the instruction, perhaps in other words.
        tried: subgoals pursued before it and how they ended, at most eight, oldest first.
        candidates: the closed set; ``answer`` is the index of the expert's.
        pursued: index of the subgoal pursued from here, and ``action`` the perfect controller's
            first step to it, an index into its ``actions``.
        scene: what was seen, in words.
        value: discounted return that followed, NaN if the episode was cut off.
        codes: ``(21, 21)`` uint8 map around the agent (:func:`perception.map_image.map_codes`).
    """

    level: str
    seed: int
    step: int
    mission: str
    tried: list[tuple[str, str]]
    candidates: list[str]
    answer: int
    pursued: int
    action: int
    scene: str
    value: float = math.nan
    codes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.uint8))


class Demonstrator:
    """Plays one level after another and asks the expert.

    Args:
        level: environment id.
        mistakes: what goes wrong.
        variation: factor on the odds that a level is changed, in [0, 1]; 0 plays it as it is.
        max_steps, max_subgoals: an episode is cut off after as many; some mistakes cannot be made
            good, and then the expert goes round in circles.
        max_duration: steps after which a subgoal times out.
    """

    def __init__(
        self,
        level: str,
        mistakes: Mistakes | None = None,
        *,
        variation: float = 0.0,
        max_steps: int = 250,
        max_subgoals: int = 20,
        max_duration: int = 40,
    ):
        domain = domain_of(level)
        self.level = level
        self.mistakes = mistakes or Mistakes()
        self.variation = variation
        self.max_steps = max_steps
        self.max_subgoals = max_subgoals
        self.max_duration = max_duration
        self.env = make_env(level)
        self.space = domain.subgoal_space()
        self.tracker = domain.tracker(1)
        self._variations = domain.variations()
        self._walker = domain.walker()
        self._rng = np.random.default_rng()
        self._ended = False
        self._reward = 0.0
        self._steps = 0

    def play(self, seed: int) -> Iterator[tuple[PlannerQuery, int]]:
        """Play one episode.

        Args:
            seed: of the level and of all mistakes.

        Yields:
            The question a planner would be asked, and the index of the expert's answer; read the
            percept at once.
        """
        for query, answer, _, _ in self._play(seed):
            yield query, answer

    def demonstrate(self, seed: int) -> list[Demonstration]:
        """The states of one episode, ready to be stored; see :meth:`play`."""
        found: list[Demonstration] = []
        mission = ""
        for query, answer, pursued, step in self._play(seed):
            if not found:
                mission = query.percept.mission
                if self.variation and self._rng.random() < 0.4:
                    mission = self._variations.paraphrase(mission, self._rng)
            found.append(
                Demonstration(
                    level=self.level,
                    seed=seed,
                    step=step,
                    mission=mission,
                    tried=[(str(subgoal), outcome) for subgoal, outcome in query.recent],
                    candidates=[str(candidate) for candidate in query.candidates],
                    answer=answer,
                    pursued=pursued,
                    action=self._walker.action(query.percept, query.candidates[pursued], self._rng),
                    scene=self.space.describe(query.percept),
                    codes=map_codes(query.percept, CELLS),
                )
            )
        if self._ended:
            for demonstration in found:
                demonstration.value = self._reward * GAMMA ** (self._steps - demonstration.step)
        return found

    def _play(self, seed: int) -> Iterator[tuple[PlannerQuery, int, int, int]]:
        self._rng = rng = np.random.default_rng(seed)
        mistakes = self.mistakes
        self._reset(seed)
        slip = mistakes.slip if rng.random() < 0.5 else 0.0
        if rng.random() < mistakes.start:
            for _ in range(int(rng.integers(1, 15))):
                if not self._ended:
                    self._step(int(rng.integers(len(self._walker.actions))))
        expert = self.env.get_wrapper_attr("expert")()
        history: list[tuple[Subgoal, str]] = []
        while not self._ended and self._steps < self.max_steps and len(history) < self.max_subgoals:
            before = self.tracker.percept(0)
            candidates = self.space.candidates(before)
            wanted = expert.subgoal(before, candidates)
            pursued = int(rng.integers(len(candidates)))
            if wanted is not None:
                answer = candidates.index(wanted)
                if rng.random() >= mistakes.subgoal:
                    pursued = answer
                query = self._query(before, candidates, history)
                yield query, answer, pursued, self._steps
            subgoal = candidates[pursued]
            limit = self.max_duration
            if rng.random() < mistakes.impatience:
                limit = int(rng.integers(1, 12))
            for duration in range(1, limit + 1):
                if duration > 1 and rng.random() < mistakes.midway:
                    yield from self._midway(expert, subgoal, history)
                slipped = rng.random() < slip
                action = (
                    int(rng.integers(len(self._walker.actions)))
                    if slipped
                    else self._walker.action(before, subgoal, rng)
                )
                self._step(action)
                after = self.tracker.percept(0)
                outcome = self._outcome(subgoal, before, after)
                before = after
                if outcome or self._ended:
                    break
            history.append((subgoal, outcome or "timeout"))

    def _midway(
        self, expert: Any, subgoal: Subgoal, history: Sequence[tuple[Subgoal, str]]
    ) -> Iterator[tuple[PlannerQuery, int, int, int]]:
        percept = self.tracker.percept(0)
        candidates = self.space.candidates(percept)
        wanted = expert.subgoal(percept, candidates)
        if wanted is not None and subgoal in candidates:
            query = self._query(percept, candidates, history)
            yield query, candidates.index(wanted), candidates.index(subgoal), self._steps

    def _query(
        self, percept: Any, candidates: list[Subgoal], history: Sequence[tuple[Subgoal, str]]
    ) -> PlannerQuery:
        return PlannerQuery(percept, candidates, self.space, tuple(history[-RECENT:]))

    def _outcome(self, subgoal: Subgoal, before: Any, after: Any) -> str:
        if self.space.is_complete(subgoal, before, after):
            return "done"
        if self.space.is_interrupted(subgoal, before, after):
            return "failed"
        return "" if self.space.target_mask(after, subgoal).any() else "failed"

    def _reset(self, seed: int) -> None:
        options = {}
        if self.variation:
            change = partial(self._variations.vary, rng=self._rng, share=self.variation)
            options = {"vary": change}
        observation, _ = self.env.reset(seed=seed, options=options)
        self._ended, self._reward, self._steps = False, 0.0, 0
        self.tracker.reset({key: value[None] for key, value in observation.items()})

    def _step(self, action: int) -> None:
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self._ended, self._reward = terminated or truncated, float(reward)
        self._steps += 1
        self.tracker.update({key: value[None] for key, value in observation.items()})


def collect(
    folder: Path,
    levels: Sequence[str],
    *,
    episodes: int,
    seed: int,
    variation: float,
    workers: int = 2,
    progress: bool = True,
) -> list[Path]:
    """Play demonstrations and keep them in files; files that are there already are kept.

    Args:
        folder: where the files go.
        levels: environment ids, dealt out over the episodes.
        episodes: how many.
        seed: the first episode's level seed; the others follow.
        variation: see :class:`Demonstrator`.
        workers: processes.
        progress: show a bar.

    Raises:
        ConfigError: if the seeds reach those of evaluation (1,000,000 and more).
    """
    if seed + episodes > 1_000_000:
        raise ConfigError(
            f"seed {seed} and {episodes} episodes reach level seeds of 1,000,000 and more, which "
            "are kept for evaluation; lower one of them"
        )
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(seed, seed + episodes, _SHARD)
    files = [folder / f"{start:06d}.npz" for start in starts]
    todo = [
        (file, list(levels), range(start, min(start + _SHARD, seed + episodes)), variation)
        for file, start in zip(files, starts, strict=True)
        if not file.exists()
    ]
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(files), initial=len(files) - len(todo), unit="file",
             desc="demonstrations", disable=not progress) as bar,
    ):  # fmt: skip
        for _ in pool.map(_collect_shard, todo):
            bar.update()
    return files


def _collect_shard(job: tuple[Path, list[str], range, float]) -> None:
    file, levels, seeds, variation = job
    players: dict[str, Demonstrator] = {}
    found: list[Demonstration] = []
    for seed in seeds:
        level = levels[seed % len(levels)]
        if level not in players:
            players[level] = Demonstrator(level, variation=variation)
        found += players[level].demonstrate(seed)
    save(file, found)


def save(file: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Write demonstrations as one compressed file: ``codes``, and the rest as JSON lines."""
    lines = []
    for demonstration in demonstrations:
        record = asdict(demonstration)
        del record["codes"]
        lines.append(json.dumps(record))
    with atomic_write(file) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(
            stream,
            codes=np.stack([demonstration.codes for demonstration in demonstrations]),
            lines=np.frombuffer("\n".join(lines).encode(), np.uint8),
        )


def load(file: Path) -> list[Demonstration]:
    """Read what :func:`save` wrote.

    Raises:
        ConfigError: if the file is damaged.
    """
    try:
        with np.load(file) as data:
            codes, lines = data["codes"], data["lines"].tobytes().decode().splitlines()
        records = [json.loads(line) for line in lines]
        return [Demonstration(**r, codes=c) for r, c in zip(records, codes, strict=True)]
    except Exception as error:
        raise ConfigError(
            f"demonstrations {file} are damaged ({error}); delete the file to have it made anew"
        ) from error
