"""Contracts for a domain or a planner of your own; no test framework is needed.

>>> from hier.testing import check_domain, check_planner
>>> check_domain("BabyAI-GoToRedBall-v0", episodes=1)
>>> check_planner("random", "BabyAI-GoToRedBall-v0")

Each function plays a few short episodes and returns nothing. It raises :class:`ContractError`, an
``AssertionError``, for the first thing that is wrong; the message names the method to mend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import gymnasium as gym
import numpy as np

from hier.envs.domain import Domain, Imagined, Observation, Scene, Tracker, batched
from hier.envs.errors import ConfigError, UserError
from hier.envs.registry import domain_of, make_env
from hier.envs.subgoal import Outcome, Subgoal, SubgoalSpace, SubgoalSyntaxError
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask
from hier.planners.registry import build_planner

NONSENSE = ("", "?", "no such subgoal")
PROBABILITY_TOLERANCE = 1e-3  # between a reply in a batch and alone: sums are rounded otherwise


class ContractError(UserError, AssertionError):
    """A domain or a planner breaks its contract."""


def require(holds: Any, message: str) -> None:
    """Raise :class:`ContractError` with ``message`` unless ``holds``."""
    if not holds:
        raise ContractError(message)


def check_domain(
    domain: Domain | str,
    *,
    episodes: int = 3,
    steps: int = 60,
    seed: int = 0,
    repeatable: bool = True,
) -> None:
    """Play a domain at random and check all that training, planners and videos rely on.

    What a domain may leave out (a critic state, pictures) is checked where it is there.

    Args:
        domain: one of its levels, ``BabyAI-GoToRedBall-v0`` or ``my_worlds:Crafter/survival``; or
            the domain itself, of which the first level is played.
        episodes: number of episodes.
        steps: length of each, the ``max_steps`` that levels are made with.
        seed: of the first episode; the others follow.
        repeatable: whether a seed and the same actions must give the same observations. The first
            observation must in any case.

    Raises:
        ContractError: for the first thing that is wrong.
    """
    level = _Level.of(domain, steps)
    played = [_play(level, seed + k) for k in range(episodes)]
    for episode in played:
        check_subgoal_space(level.space, episode.percepts)
        _check_snapshots(level.space, episode)
    _check_repetition(level, seed, played[0], repeatable)
    _check_expert(level, [seed + k for k in range(max(episodes, 5))])
    _check_tracker_apart(level, seed)
    _check_controller_side(level, seed)
    _check_pictures(level, played[0].percepts, seed)


def check_subgoal_space(
    space: SubgoalSpace, percepts: Sequence[Any], *, nonsense: Sequence[str] = NONSENSE
) -> None:
    """Check a subgoal space on percepts of one domain.

    Args:
        space: of the domain.
        percepts: snapshots, in the order in which they were perceived.
        nonsense: texts that are no subgoals.

    Raises:
        ContractError: for the first thing that is wrong.
    """
    offers = [(percept, space.candidates(percept)) for percept in percepts]
    for percept, candidates in offers:
        _check_candidates(space, percept, candidates)
    subgoals = sorted({g for _, candidates in offers for g in candidates}, key=str)
    for subgoal in subgoals:
        _check_text(space, subgoal)
    texts = {str(g) for g in subgoals}
    require(len(texts) == len(subgoals), "two subgoals have one text: mend Subgoal.__str__")
    _check_encoding(space, subgoals)
    for (before, candidates), (after, _) in pairwise(offers):
        for subgoal in candidates:
            _check_answers(space, subgoal, before, after)
    for text in nonsense:
        _check_refusal(space, text)


def check_planner(
    planner: Planner | str,
    level: str = "BabyAI-GoToLocal-v0",
    *,
    episodes: int = 4,
    steps: int = 8,
    seed: int = 0,
) -> None:
    """Ask a planner about a level's first steps and check its replies.

    Args:
        planner: built, or its name or dotted path.
        level: an environment id.
        episodes: number of episodes that questions are taken from.
        steps: random moves before the last question of an episode.
        seed: of the first episode, and of a planner that is built here.

    Raises:
        ContractError: for the first thing that is wrong.
    """
    if isinstance(planner, str):
        built = build_planner(planner, seed=seed, domain=domain_of(level))
        require(built is not None, f"planner {planner!r} proposes nothing; name another")
        assert built is not None
        planner = built
    name = type(planner).__name__
    require(isinstance(planner, Planner), f"{name} lacks one of: score(), privileged, version")
    require(isinstance(planner.privileged, bool), f"{name}.privileged is no bool")
    version = planner.version
    require(type(version) is int and version >= 0, f"{name}.version is {version!r}, no count")
    queries = _queries(planner, level, episodes, steps, seed)
    before = [_seen(query) for query in queries]
    replies = _replies(planner, queries)
    require(before == [_seen(query) for query in queries], f"{name}.score() changes its queries")
    for query, together in zip(queries, replies, strict=True):
        (alone,) = _replies(planner, [query])
        if not hasattr(planner, "for_evaluation"):
            _check_same(together, alone, f"{name}.score() answers otherwise alone than in a batch")
    _check_chance(planner, queries, seed)


# Domains


@dataclass(frozen=True, slots=True)
class _Level:
    domain: Domain
    space: SubgoalSpace
    envs: Sequence[gym.Env]  # two of the same

    @classmethod
    def of(cls, given: Domain | str, steps: int) -> _Level:
        if isinstance(given, str):
            envs = [make_env(given, max_steps=steps) for _ in range(2)]
            given = domain_of(given)
        else:
            ids, name = given.env_ids(), type(given).__name__
            require(ids, f"{name}.env_ids() names no level")
            require(list(ids) == sorted(set(ids)), f"{name}.env_ids() is not sorted")
            envs = [given.make_env(ids[0], max_steps=steps) for _ in range(2)]
        return cls(given, given.subgoal_space(), envs)


@dataclass(frozen=True, slots=True)
class _Episode:
    """Snapshots of percepts, each with what it said of itself when it was new."""

    observations: list[Observation]
    percepts: list[Any]
    told: list[Any]


def _walk(
    domain: Domain, tracker: Tracker, env: gym.Env, seed: int
) -> Iterator[tuple[Observation, bool]]:
    """One episode at random, taken in by a tracker: each observation, and whether it is the last.

    The tracker is of one environment; other randomness than ``seed`` is the environment's.
    """
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    _check_observation(env, observation)
    tracker.reset(batched(observation))
    ended = False
    yield observation, ended
    while not ended:
        action = domain.random_action(env, rng)
        require(env.action_space.contains(action), f"random_action() gives {action!r}, no action")
        observation, _, terminated, truncated, info = env.step(action)
        _check_observation(env, observation)
        tracker.update(batched(observation))
        ended = terminated or truncated
        yield observation, ended
    success = info.get("is_success")
    require(
        isinstance(success, bool),
        f"the info of an episode's last step has is_success={success!r}: mend step(), which must "
        "put True or False there",
    )


def _play(level: _Level, seed: int, which: int = 0) -> _Episode:
    """One episode at random, to its end."""
    tracker, episode = level.domain.tracker(1), _Episode([], [], [])
    for observation, _ in _walk(level.domain, tracker, level.envs[which], seed):
        episode.observations.append({key: np.copy(value) for key, value in observation.items()})
        percept = tracker.percept(0).snapshot()
        episode.percepts.append(percept)
        episode.told.append(_told(level.space, percept))
    return episode


def _told(space: SubgoalSpace, percept: Any) -> Any:
    """What a percept says of itself, in values that can be compared."""
    frame, mission = percept.frame, percept.mission
    require(
        _is_picture(frame),
        "a percept's frame must be (height, width, 3) uint8: mend tracker.percept()",
    )
    require(isinstance(mission, str) and mission, "a percept's mission must be a text")
    return frame.tobytes(), mission, space.describe(percept), space.candidates(percept)


def _check_observation(env: gym.Env, observation: Any) -> None:
    within = getattr(env.observation_space, "spaces", {})
    require(
        isinstance(env.observation_space, gym.spaces.Dict) and "mission" in within,
        "observation_space must be a Dict with 'mission', the words' ids",
    )
    require(isinstance(observation, dict), "an observation must be a dict")
    require(
        observation.keys() == within.keys(),
        f"an observation has {sorted(observation)}, the observation_space {sorted(within)}",
    )
    for key, value in observation.items():
        require(
            within[key].contains(value),
            f"an observation's {key!r} is not in the observation_space",
        )


def _check_snapshots(space: SubgoalSpace, episode: _Episode) -> None:
    for percept, told in zip(episode.percepts, episode.told, strict=True):
        require(
            _told(space, percept) == told,
            "a snapshot changed when later steps were perceived: percept.snapshot() must copy its "
            "arrays",
        )


def _check_repetition(level: _Level, seed: int, episode: _Episode, repeatable: bool) -> None:
    first, again = episode.observations, _play(level, seed, which=1).observations
    require(
        _equal(first[0], again[0]),
        f"reset(seed={seed}) gives another observation in each environment",
    )
    require(
        not repeatable or (len(first) == len(again) and all(map(_equal, first, again))),
        "the same seed and actions give another episode: draw chance from env.np_random, or "
        "pass repeatable=False where the simulator cannot",
    )


def _equal(a: Observation, b: Observation) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def _check_expert(level: _Level, seeds: Sequence[int]) -> None:
    env, tracker, answers = level.envs[0], level.domain.tracker(1), []
    for seed in seeds:
        next(_walk(level.domain, tracker, env, seed))
        candidates = level.space.candidates(tracker.percept(0))
        answer = env.get_wrapper_attr("expert")().subgoal(tracker.percept(0), candidates)
        require(
            answer is None or answer in candidates,
            f"the expert names {str(answer)!r}, which is no candidate: mend expert().subgoal()",
        )
        answers.append(answer)
    require(any(answers), "the expert knows no first subgoal on any seed: mend expert().subgoal()")


def _check_tracker_apart(level: _Level, seed: int) -> None:
    """Two environments in one tracker, beside each alone."""
    domain, envs = level.domain, level.envs
    pair, alone = domain.tracker(2), [domain.tracker(1) for _ in range(2)]
    walks = [_walk(domain, alone[k], envs[k], seed + k) for k in range(2)]
    for step, both in enumerate(zip(*walks, strict=False)):
        seen = [observation for observation, _ in both]
        (pair.update if step else pair.reset)(_stacked(seen))
        for k, tracker in enumerate(alone):
            same = _told(level.space, pair.percept(k)) == _told(level.space, tracker.percept(0))
            require(same, "environments in one tracker disturb each other: mend tracker.update()")
    before = _told(level.space, pair.percept(1))
    seen[0] = envs[0].reset(seed=seed + 2)[0]
    pair.reset(_stacked(seen), which=[0])
    require(
        _told(level.space, pair.percept(1)) == before,
        "tracker.reset(which=[0]) changes what is known of environment 1",
    )


def _stacked(observations: Sequence[Observation]) -> Observation:
    return {key: np.stack([one[key] for one in observations]) for key in observations[0]}


def _check_controller_side(level: _Level, seed: int) -> None:
    """What controllers, critics and look-ahead take from a tracker."""
    domain, env, tracker = level.domain, level.envs[0], level.domain.tracker(1)
    observation, _ = next(_walk(domain, tracker, env, seed))
    percept = tracker.percept(0).snapshot()
    candidates = level.space.candidates(percept)
    assert isinstance(env.observation_space, gym.spaces.Dict)  # see _check_observation
    spaces = tracker.controller_spaces(env.observation_space)
    for subgoal in candidates:
        tracker.pursue(0, subgoal)
        ground = tracker.ground()
        require(
            ground.found[0] > 0,
            f"{str(subgoal)!r} is a candidate, but tracker.ground() finds no target for it",
        )
        require(
            np.shape(ground.place)[:1] == (1,) and np.abs(ground.place).max() <= 3,
            "tracker.ground().place must be (n, k) in [-3, 3]",
        )
        entries = tracker.controller_entries(batched(observation))
        require(
            entries.keys() == spaces.keys(),
            f"tracker.controller_entries() has {sorted(entries)}, controller_spaces() "
            f"{sorted(spaces)}",
        )
        for key, space in spaces.items():
            require(
                space.contains(entries[key][0]),
                f"tracker.controller_entries()[{key!r}] is not in its space {space}",
            )
        imagined = tracker.imagine(percept, subgoal)
        require(
            imagined is None
            or (isinstance(imagined, Imagined) and level.space.describe(imagined.percept)),
            "tracker.imagine() must give Imagined(percept, steps) or None",
        )
    actions = np.asarray([tracker.wait_action])
    unsafe = tracker.unsafe_actions(actions, domain.hazards)
    require(
        unsafe.shape == (1,) and unsafe.dtype == np.bool_,
        "tracker.unsafe_actions() must be (n,) bool, one per action",
    )


def _check_pictures(level: _Level, percepts: Sequence[Any], seed: int) -> None:
    env = level.envs[0]
    env.reset(seed=seed)
    shown: Any = env.render()
    require(_is_picture(shown), "render() must give (height, width, 3) uint8")
    few = percepts[:3]
    for name in level.domain.pictures:
        looks = [level.domain.picture(percept, name) for percept in few]
        require(
            all(map(_is_picture, looks)) and len({p.shape for p in looks}) == 1,
            f"picture(percept, {name!r}) must give (height, width, 3) uint8, always of one size",
        )
    with suppress(ConfigError):  # a domain may have no pictures of scenes
        sizes = set()
        for percept in few:
            candidates = level.space.candidates(percept)
            log_probs = np.full(len(candidates), -np.log(len(candidates)), np.float32)
            gains = np.where(np.arange(len(candidates)) % 2, np.nan, 0.25)
            for scene in (
                Scene(percept, level=shown),
                Scene(percept, candidates[0], candidates, log_probs, caption="it", level=shown),
                Scene(percept, candidates[0], candidates, log_probs, gains, 0.5, level=shown),
            ):
                drawn = level.domain.draw_scene(scene)
                require(_is_picture(drawn), "draw_scene() must give (height, width, 3) uint8")
                sizes.add(drawn.shape)
        require(
            len(sizes) == 1 and all(side % 2 == 0 for side in sizes.pop()[:2]),
            "draw_scene() must always give one size with even sides, which videos need",
        )


def _is_picture(picture: Any) -> bool:
    return (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
    )


# Subgoals


def _check_candidates(space: SubgoalSpace, percept: Any, candidates: Sequence[Subgoal]) -> None:
    require(candidates, "candidates() is empty: something must be left to try in every percept")
    require(len(set(candidates)) == len(candidates), f"candidates() holds one twice: {candidates}")
    require(space.candidates(percept) == candidates, "candidates() changes its order between calls")
    for subgoal in candidates:
        require(
            subgoal.verb in space.verbs,
            f"the verb {subgoal.verb!r} of a candidate is not in verbs {space.verbs}",
        )
    pointing = [bool(space.target_mask(percept, g).any()) for g in candidates]
    require(
        # Where nothing at all is left to do, one candidate stands alone.
        all(pointing) or len(candidates) == 1,
        f"{str(candidates[pointing.index(False)] if False in pointing else '')!r} is a candidate, "
        "but target_mask() points nowhere",
    )
    text = space.describe(percept)
    require(isinstance(text, str) and text, "describe() must give a text")
    for subgoal in candidates:
        noun = f"{subgoal.color} {subgoal.kind}".strip()
        require(noun in text, f"describe() does not mention {noun!r}, which a candidate names")


def _check_text(space: SubgoalSpace, subgoal: Subgoal) -> None:
    for text in (str(subgoal), f"  {str(subgoal).upper()}. "):
        try:
            parsed = space.parse(text)
        except SubgoalSyntaxError as error:
            raise ContractError(f"parse({text!r}) refuses a candidate: {error}") from error
        require(parsed == subgoal, f"parse({text!r}) gives {parsed!r} instead of {subgoal!r}")


def _check_encoding(space: SubgoalSpace, subgoals: Sequence[Subgoal]) -> None:
    shape, none = (space.encoding_size,), space.encode(None)
    require(none.shape == shape and not none.any(), f"encode(None) must be zeros of shape {shape}")
    vectors = [space.encode(g) for g in subgoals]
    for subgoal, vector in zip(subgoals, vectors, strict=True):
        require(
            vector.shape == shape and vector.dtype == np.float32 and np.isfinite(vector).all(),
            f"encode({str(subgoal)!r}) must be {shape} finite float32",
        )
        require(vector.any(), f"encode({str(subgoal)!r}) is all zeros, which means no subgoal")
    require(
        len({vector.tobytes() for vector in vectors}) == len(subgoals),
        "encode() gives two subgoals one encoding: the controller cannot tell them apart",
    )


def _check_answers(space: SubgoalSpace, subgoal: Subgoal, before: Any, after: Any) -> None:
    for name, answer in (
        ("is_complete", space.is_complete(subgoal, before, after)),
        ("is_interrupted", space.is_interrupted(subgoal, before, after)),
        ("is_repeatable", space.is_repeatable(subgoal, before)),
    ):
        require(
            isinstance(answer, bool | np.bool_),
            f"{name}({str(subgoal)!r}) gives {answer!r}; it must be True or False",
        )


def _check_refusal(space: SubgoalSpace, text: str) -> None:
    try:
        parsed = space.parse(text)
    except SubgoalSyntaxError as error:
        require(
            repr(text) in str(error) and "for example" in str(error),
            f"parse({text!r}) must quote the text and give an example ('... for example ...'); "
            f"it says: {error}",
        )
    except Exception as error:
        raise ContractError(
            f"parse({text!r}) raises {type(error).__name__}; it must raise SubgoalSyntaxError"
        ) from error
    else:
        raise ContractError(f"parse({text!r}) gives {parsed!r}; it must raise SubgoalSyntaxError")


# Planners


def _queries(
    planner: Planner, level: str, episodes: int, steps: int, seed: int
) -> list[PlannerQuery]:
    """Questions from the first step of each episode and from later, the last with one candidate."""
    domain, found = domain_of(level), []
    space = domain.subgoal_space()
    for k in range(episodes):
        # Each its own environment: an expert looks into it when it is asked.
        env, tracker = make_env(level), domain.tracker(1)
        walk = _walk(domain, tracker, env, seed + k)
        next(walk)
        first = space.candidates(tracker.percept(0))
        for _, ended in islice(walk, steps if k % 2 else 0):
            if ended:
                break
        percept = tracker.percept(0).snapshot()
        expert = env.get_wrapper_attr("expert")() if planner.privileged else None
        recent = tuple(zip(first, Outcome, strict=False)) if k % 2 else ()
        found.append(PlannerQuery(percept, space.candidates(percept), space, recent, expert))
    last = found[-1]
    return [*found, PlannerQuery(last.percept, last.candidates[:1], space, (), last.expert)]


def _replies(planner: Planner, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
    """Checked replies."""
    name = type(planner).__name__
    try:
        replies = ask(planner, queries)
    except UserError as error:
        raise ContractError(str(error)) from error
    for reply in replies:
        dtype = np.asarray(reply.log_probs).dtype
        require(dtype == np.float32, f"{name} answered log_probs of {dtype}; they must be float32")
    return replies


def _check_chance(planner: Planner, queries: Sequence[PlannerQuery], seed: int) -> None:
    """Equal questions have equal answers, by ``for_evaluation`` where there is chance."""
    name, for_evaluation = type(planner).__name__, getattr(planner, "for_evaluation", None)
    if for_evaluation is None:
        runs = [_replies(planner, queries) for _ in range(2)]
        remedy = "add for_evaluation(seed) to a planner with randomness of its own"
    else:
        runs = [_replies(for_evaluation(seed), queries) for _ in range(2)]
        remedy = "for_evaluation(seed) must fix its randomness"
    for one, other in zip(*runs, strict=True):
        _check_same(one, other, f"{name}.score() answers equal queries differently; {remedy}")


def _check_same(one: PlannerReply, other: PlannerReply, message: str) -> None:
    apart = np.abs(np.exp(one.log_probs) - np.exp(other.log_probs)).max()
    require(apart <= PROBABILITY_TOLERANCE, f"{message} (probabilities differ by {apart:.2g})")


def _seen(query: PlannerQuery) -> Any:
    """All of a query that a planner could change, in values that can be compared."""
    told = _told(query.space, query.percept)
    return told, list(query.candidates), list(query.recent), list(query.offered)
