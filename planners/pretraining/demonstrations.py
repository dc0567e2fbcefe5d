"""Demonstrations: what a domain's expert would pursue, asked in many states of many levels.

Episodes are played by a scripted controller on the expert's subgoals. Some subgoals are drawn by
chance instead and some actions slip, so that the states include those after a mistake (as in
DAgger, Ross et al. 2011, the label is the expert's wherever the mistakes lead).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hier.envs.errors import ConfigError
from hier.envs.files import atomic_write
from hier.envs.registry import domain_of, make_env
from hier.envs.subgoal import Expert, Outcome, Subgoal
from hier.planners.protocol import RECENT, Planner, PlannerQuery, ask

CELLS = 21  # side of the stored maps; smaller ones are cut out of their middle
GAMMA = 0.97  # of the value targets, as in the hierarchy
_SHARD = 240  # episodes per file, at most
_FILES = 8  # about as many at least, so that workers share
_WALK, _HASTE = 14, 11  # longest random walk at the start, longest hasty subgoal: in steps of
_PACE = 40  # worlds in which a subgoal is given up after as many


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What goes wrong in demonstrations, so that a planner learns to recover.

    Attributes:
        subgoal: share of subgoals drawn by chance.
        slip: share of random actions, in every other episode.
        start: share of episodes that begin with a random walk.
        impatience: share of subgoals given up early.
        midway: share of steps at which the expert is asked although the subgoal goes on, where
            subgoals are given up after 40 steps; elsewhere about as often in a subgoal.
    """

    subgoal: float = 0.15
    random_action: float = 0.1
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
        pursued: index of the subgoal pursued from here.
        action: the controller's first step to it, an index into its ``actions``; ``None`` where
            they have no names.
        scene: what was seen, in words.
        shown: uint8, what the planner is shown: where the domain paints maps, the codes of a
            ``(21, 21)`` map around the agent, else the picture itself, ``(side, side, 3)``.
        value: discounted return that followed, NaN if the episode was cut off.
    """

    level: str
    seed: int
    step: int
    mission: str
    tried: list[tuple[str, str]]
    candidates: list[str]
    answer: int
    pursued: int
    action: int | None
    scene: str
    shown: NDArray[np.uint8]
    value: float = math.nan


class Demonstrator:
    """Plays one level after another and asks the expert.

    Args:
        level: environment id.
        mistakes: what goes wrong.
        variation: factor on the odds that a level is changed, in [0, 1]; 0 plays it as it is.
        max_steps, max_subgoals: an episode is cut off after as many; some mistakes cannot be made
            good, and then the expert goes round in circles. By default about six times as many
            steps as the scripted controller gives a subgoal, and 20 subgoals for 40 of those.
    """

    def __init__(
        self,
        level: str,
        mistakes: Mistakes | None = None,
        *,
        variation: float = 0.0,
        max_steps: int | None = None,
        max_subgoals: int | None = None,
    ):
        domain = domain_of(level)
        self.level = level
        self.mistakes = mistakes or Mistakes()
        self.variation = variation
        self._domain = domain
        self._scripted_controller = domain.scripted_controller()
        self._pace = self._scripted_controller.patience / _PACE
        self.max_steps = round(250 * self._pace) if max_steps is None else max_steps
        self.max_subgoals = round(20 * self._pace) if max_subgoals is None else max_subgoals
        self.env = make_env(level)
        self.space = domain.subgoal_space()
        self.tracker = domain.tracker(1)
        self._variations = domain.variations()
        self._rng = np.random.default_rng()
        self._ended = self._success = False
        self._reward = 0.0
        self._steps = 0

    def picture(self) -> NDArray[np.uint8]:
        """What a planner is shown at the start of the first level."""
        self._reset(0)
        return self._picture(self.tracker.percept(0))

    def solve(self, planner: Planner, seed: int) -> bool:
        """Play one level as it is, without mistakes, on a planner's subgoals; whether it succeeds.

        Args:
            planner: takes its likeliest candidate; one with privileges is told the expert.
            seed: of the level.
        """
        self._rng = rng = np.random.default_rng(seed)
        self._reset(seed, vary=False)
        history: list[tuple[Subgoal, Outcome]] = []
        while not self._ended and len(history) < self.max_steps:
            percept = self.tracker.percept(0)
            query = self._query(percept, self.space.candidates(percept), history)
            if planner.privileged:
                query = replace(query, expert=self._expert())
            (reply,) = ask(planner, [query])
            subgoal = query.candidates[int(np.argmax(reply.log_probs))]
            history.append(
                (subgoal, self._pursue(subgoal, self._scripted_controller.patience, rng))
            )
        return self._success

    def _pursue(self, subgoal: Subgoal, limit: int, rng: np.random.Generator) -> str:
        """Pursue a subgoal for at most ``limit`` steps; how it ended."""
        for _ in range(limit):
            before = self.tracker.percept(0)
            self._step(self._scripted_controller.action(before, subgoal, rng))
            outcome = self._outcome(subgoal, before, self.tracker.percept(0))
            if outcome or self._ended:
                return outcome or Outcome.TIMEOUT
        return Outcome.TIMEOUT

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
                paraphrase = self._variations.paraphrase
                if paraphrase and self.variation and self._rng.random() < 0.4:
                    mission = paraphrase(mission, self._rng)
            step_to = self._scripted_controller.action(
                query.percept, query.candidates[pursued], self._rng
            )
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
                    action=step_to if self._scripted_controller.actions else None,
                    scene=self.space.describe(query.percept),
                    shown=self._shown(query.percept),
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
        random_action = mistakes.random_action if rng.random() < 0.5 else 0.0
        if rng.random() < mistakes.start:
            for _ in range(int(rng.integers(1, round(_WALK * self._pace) + 1))):
                if not self._ended:
                    self._step(self._scripted_controller.random_action(rng))
        history: list[tuple[Subgoal, Outcome]] = []
        while not self._ended and self._steps < self.max_steps and len(history) < self.max_subgoals:
            before = self.tracker.percept(0)
            candidates = self.space.candidates(before)
            wanted = self._teacher().subgoal(before, candidates)
            pursued = int(rng.integers(len(candidates)))
            if wanted is not None:
                answer = candidates.index(wanted)
                if rng.random() >= mistakes.subgoal:
                    pursued = answer
                query = self._query(before, candidates, history)
                yield query, answer, pursued, self._steps
            subgoal = candidates[pursued]
            limit = self._scripted_controller.patience
            if rng.random() < mistakes.impatience:
                limit = int(rng.integers(1, round(_HASTE * self._pace) + 1))
            midway = mistakes.midway / self._pace
            for duration in range(1, limit + 1):
                if duration > 1 and rng.random() < midway:
                    yield from self._midway(subgoal, history)
                slipped = rng.random() < random_action
                self._step(
                    self._scripted_controller.random_action(rng)
                    if slipped
                    else self._scripted_controller.action(before, subgoal, rng)
                )
                after = self.tracker.percept(0)
                outcome = self._outcome(subgoal, before, after)
                before = after
                if outcome or self._ended:
                    break
            history.append((subgoal, outcome or Outcome.TIMEOUT))

    def _midway(
        self, subgoal: Subgoal, history: Sequence[tuple[Subgoal, Outcome]]
    ) -> Iterator[tuple[PlannerQuery, int, int, int]]:
        percept = self.tracker.percept(0)
        candidates = self.space.candidates(percept)
        wanted = self._teacher().subgoal(percept, candidates)
        if wanted is not None and subgoal in candidates:
            query = self._query(percept, candidates, history)
            yield query, candidates.index(wanted), candidates.index(subgoal), self._steps

    def _query(
        self, percept: Any, candidates: list[Subgoal], history: Sequence[tuple[Subgoal, Outcome]]
    ) -> PlannerQuery:
        return PlannerQuery(percept, candidates, self.space, tuple(history[-RECENT:]))

    def _outcome(self, subgoal: Subgoal, before: Any, after: Any) -> Outcome | None:
        if self.space.is_complete(subgoal, before, after):
            return Outcome.DONE
        if self.space.is_interrupted(subgoal, before, after):
            return Outcome.FAILED
        return None if self.space.target_mask(after, subgoal).any() else Outcome.FAILED

    def _expert(self) -> Expert:
        """One for this moment: some look at the simulator when they are made."""
        return self.env.get_wrapper_attr("expert")()

    def _teacher(self) -> Expert:
        """Whom a planner learns from: what only the simulator tells cannot be learned."""
        teaches = self.env.has_wrapper_attr("teacher")
        return self.env.get_wrapper_attr("teacher")() if teaches else self._expert()

    def _shown(self, percept: Any) -> NDArray[np.uint8]:
        maps = self._variations.maps
        return maps.codes(percept, CELLS) if maps else self._picture(percept).copy()

    def _picture(self, percept: Any) -> NDArray[np.uint8]:
        return self._domain.picture(percept, next(iter(self._domain.pictures)))

    def _reset(self, seed: int, vary: bool = True) -> None:
        options = {}
        if vary and self.variation and self._variations.vary:
            change = partial(self._variations.vary, rng=self._rng, share=self.variation)
            options = {"vary": change}
        observation, _ = self.env.reset(seed=seed, options=options)
        self._ended, self._success, self._reward, self._steps = False, False, 0.0, 0
        self._scripted_controller = self._domain.scripted_controller()
        self.tracker.reset({key: value[None] for key, value in observation.items()})

    def _step(self, action: Any) -> None:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._ended, self._reward = terminated or truncated, float(reward)
        self._success = bool(info.get("is_success"))
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
    shard = min(_SHARD, math.ceil(episodes / _FILES)) or 1
    starts = range(seed, seed + episodes, shard)
    files = [folder / f"{start:06d}.npz" for start in starts]
    todo = [
        (file, list(levels), range(start, min(start + shard, seed + episodes)), variation)
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
    """Write demonstrations as one compressed file: ``shown``, and the rest as JSON lines."""
    lines = []
    for demonstration in demonstrations:
        record = asdict(demonstration)
        del record["shown"]
        lines.append(json.dumps(record))
    with atomic_write(file) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(
            stream,
            shown=np.array([demonstration.shown for demonstration in demonstrations], np.uint8),
            lines=np.frombuffer("\n".join(lines).encode(), np.uint8),
        )


def load(file: Path) -> list[Demonstration]:
    """Read what :func:`save` wrote.

    Raises:
        ConfigError: if the file is damaged.
    """
    try:
        with np.load(file) as data:
            shown, lines = data["shown"], data["lines"].tobytes().decode().splitlines()
        records = [json.loads(line) for line in lines]
        return [Demonstration(**r, shown=s) for r, s in zip(records, shown, strict=True)]
    except Exception as error:
        raise ConfigError(
            f"demonstrations {file} are damaged ({error}); delete the file to have it made anew"
        ) from error
