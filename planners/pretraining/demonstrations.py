"""Demonstrations: the subgoals that a domain's expert names, in many states of many levels.

Episodes are played by a scripted controller on the expert's subgoals. Some subgoals and some
actions are drawn at random instead, so that the states include those after a mistake; the label is
the expert's wherever the mistakes lead (as in DAgger, Ross et al. 2011).
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hier.envs.errors import ConfigError
from hier.envs.files import atomic_write
from hier.envs.registry import domain_of
from hier.planners.play import Player
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask, draw

CELLS = 21  # side of the stored maps; smaller ones are cut out of their middle
_EPISODES_PER_FILE = 240  # at most
_SURE, _EASY_KEPT = 0.95, 0.25  # of a planner's own episodes: what is easy, and the share kept
_FILES = 8  # about so many or more, so that all workers have something to do


@dataclass(slots=True)
class Demonstration:
    """One state and the expert's answer to it.

    Attributes:
        level: environment id.
        seed: of the episode.
        step: environment steps since the episode began.
        mission: the instruction, perhaps in other words.
        tried: subgoals pursued before it and how they ended, at most eight, oldest first.
        candidates: the closed set of answers.
        answer: index of the candidate that the expert names.
        pursued: index of the candidate that the controller pursues from here.
        action: the controller's first action toward ``pursued``, an index into its ``actions``;
            ``None`` where its actions have no names.
        scene: what was seen, in words.
        shown: uint8, what the planner is shown: where the domain paints maps, the codes of a
            ``(21, 21)`` map around the agent, else the picture itself, ``(side, side, 3)``.
        value: discounted return that followed; NaN if the episode was cut off.
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


class _Episode:
    """Demonstrations of the episode that a player has begun, ready to be stored."""

    def __init__(self, player: Player, seed: int):
        self.player, self.seed = player, seed
        self.found: list[Demonstration] = []
        self.mission = ""

    def keep(self, query: PlannerQuery, answer: int, pursued: int, step: int) -> None:
        """Keep a question with the expert's answer."""
        player, variations = self.player, self.player.variations
        controller = player.controller  # a new one in each episode
        if not self.mission:
            self.mission = query.percept.mission
            if variations.paraphrase and player.variation and player.rng.random() < 0.4:
                self.mission = variations.paraphrase(self.mission, player.rng)
        action = controller.action(query.percept, query.candidates[pursued], player.rng)
        if variations.maps:
            shown = variations.maps.codes(query.percept, CELLS)
        else:
            shown = player.picture(query.percept).copy()
        self.found.append(
            Demonstration(
                level=player.level,
                seed=self.seed,
                step=step,
                mission=self.mission,
                tried=[(str(subgoal), outcome) for subgoal, outcome in query.recent],
                candidates=[str(candidate) for candidate in query.candidates],
                answer=answer,
                pursued=pursued,
                action=action if controller.actions else None,
                scene=player.space.describe(query.percept),
                shown=shown,
            )
        )

    def end(self, gamma: float) -> list[Demonstration]:
        """What was kept, with the return that followed."""
        player = self.player
        if player.ended:
            for demonstration in self.found:
                demonstration.value = player.reward * gamma ** (player.steps - demonstration.step)
        return self.found


def demonstrate(player: Player, seed: int, *, gamma: float) -> list[Demonstration]:
    """Play one episode and keep the questions asked, ready to be stored.

    Args:
        player: plays the level.
        seed: of the level, of all mistakes and of other words for the mission.
        gamma: discount per environment step of :attr:`Demonstration.value`.
    """
    episode = _Episode(player, seed)
    for asked in player.play(seed):
        episode.keep(*asked)
    return episode.end(gamma)


def demonstrate_own(
    players: Mapping[str, Player], seeds: Mapping[str, Sequence[int]], planner: Planner, *,
    gamma: float,
) -> list[Demonstration]:  # fmt: skip
    """Let a planner pursue its own subgoals, and keep the expert's answers (DAgger).

    Subgoals are drawn by the planner's probabilities. Of the questions that it answers rightly and
    surely, one in four is kept.

    Args:
        players: by level; they play side by side, so that one call of the planner answers for all.
        seeds: of each level's episodes.
        planner: one without privileges.
        gamma: see :func:`demonstrate`.
    """
    found: list[Demonstration] = []
    lanes = [_own_lane(players[level], some, gamma, found) for level, some in seeds.items()]
    asked = {lane: next(lane) for lane in lanes}
    while asked:
        replies = ask(planner, list(asked.values()))
        for lane, reply in zip(list(asked), replies, strict=True):
            try:
                asked[lane] = lane.send(reply)
            except StopIteration:
                del asked[lane]
    return found


def _own_lane(
    player: Player, seeds: Sequence[int], gamma: float, found: list[Demonstration]
) -> Generator[PlannerQuery, PlannerReply]:
    for seed in seeds:
        episode, moments = _Episode(player, seed), player.steer(seed)
        moment = next(moments, None)
        while moment is not None:
            query, answer, pursued, step, is_open = moment
            reply = yield query
            if is_open:
                pursued = draw(reply.log_probs, player.rng)
            if answer is not None:
                easy = reply.log_probs[answer] > math.log(_SURE)
                if not easy or player.rng.random() < _EASY_KEPT:
                    episode.keep(query, answer, pursued, step)
            try:
                moment = moments.send(pursued)
            except StopIteration:
                moment = None
        found += episode.end(gamma)


def collect_demonstrations(
    folder: Path,
    levels: Sequence[str],
    *,
    episodes: int,
    seed: int,
    variation: float,
    gamma: float,
    planner: str | None = None,
    workers: int = 2,
    progress: bool = True,
) -> list[Path]:
    """Play episodes and keep their demonstrations in files; files that exist already are kept.

    Args:
        folder: where the files go.
        levels: environment ids; the episodes take them in turn.
        episodes: number of episodes.
        seed: level seed of the first episode; the others follow.
        variation: see :class:`hier.planners.play.Player`.
        gamma: see :func:`demonstrate`.
        planner: name or folder of one whose subgoals are pursued; the expert's when ``None``.
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
    size = min(_EPISODES_PER_FILE, math.ceil(episodes / _FILES)) or 1
    starts = range(seed, seed + episodes, size)
    files = [folder / f"{start:06d}.npz" for start in starts]
    todo = [
        (
            *(file, list(levels), range(start, min(start + size, seed + episodes))),
            *(variation, gamma, planner),
        )
        for file, start in zip(files, starts, strict=True)
        if not file.exists()
    ]
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(files), initial=len(files) - len(todo), unit="file",
             desc="demonstrations", disable=not progress) as bar,
    ):  # fmt: skip
        for _ in pool.map(_collect_file, todo):
            bar.update()
    return files


def _collect_file(job: tuple[Path, list[str], range, float, float, str | None]) -> None:
    file, levels, seeds, variation, gamma, name = job
    of_level: dict[str, list[int]] = {}
    for seed in seeds:
        of_level.setdefault(levels[seed % len(levels)], []).append(seed)
    players = {level: Player(level, variation=variation) for level in of_level}
    if name:
        found = demonstrate_own(players, of_level, _planner(name, levels[0]), gamma=gamma)
    else:
        found = [
            demonstration
            for level, some in of_level.items()
            for seed in some
            for demonstration in demonstrate(players[level], seed, gamma=gamma)
        ]
    save_demonstrations(file, found)


def _planner(name: str, level: str) -> Planner:
    import torch  # which only this needs

    from hier.planners.language.planner import VLMPlanner

    torch.set_num_threads(1)
    return VLMPlanner(name, domain=domain_of(level), device="cpu")


def save_demonstrations(file: Path, demonstrations: Sequence[Demonstration]) -> None:
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


def load_demonstrations(file: Path) -> list[Demonstration]:
    """Read what :func:`save_demonstrations` wrote.

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
            f"demonstrations {file} are damaged ({error}); delete the file, and it is played again"
        ) from error
