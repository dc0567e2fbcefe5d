"""Critics judged offline: what they know after so many episodes, and what guidance makes of it.

Episodes are recorded once: the built-in planner's subgoals with chance mixed in, pursued by the
domain's scripted controller. Each critic is fitted on the first of them and judged on the last,
then plays new levels. Nothing is trained but the critics, so a question takes minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hier.bench.figures import check_levels, short_name
from hier.envs.domain import CriticState
from hier.planners.protocol import PlannerQuery, PlannerReply
from hier.run.sweep import Row, side_by_side

LEVELS = (
    "BabyAI-KeyCorridorS3R3-v0",
    "BabyAI-BlockedUnlockPickup-v0",
    "PointMaze_Medium-v3",
    "MiniWorld-PutNext-v0",
)
EPISODES, FITTED, TEST, PLAYED = 500, (25, 50, 100, 200, 400), 100, 40
FIRST_RECORDED, FIRST_PLAYED = 700_000, 800_000  # level seeds that nothing else plays
CHANCE = 0.3  # share of chance mixed into the planner's choices while recording
DISCOUNT = 0.997  # per environment step of the way to success; failure returns 0
KL_COEFS = (0.02, 0.05, 0.1)
SIGNIFICANT = 2.0  # standard errors by which a candidate must beat the planner's favorite
COLUMNS = (
    *("critic", "episodes", "auc", "slope", "slope_error", "seconds"),
    *("choice", "success", "return", "subgoals", "short", "overruled"),
)
SHORT = 2  # steps of a subgoal that may be a loop


class Choice(NamedTuple):
    """A recorded choice: the planner's reply, the critic's state, and what was pursued."""

    reply: PlannerReply
    state: CriticState
    choice: int
    duration: int


@dataclass(slots=True)
class Episode:
    """A recorded episode; ``returns`` holds one return for each choice."""

    choices: list[Choice]
    success: bool
    returns: NDArray[np.float64]


Q = Callable[[Choice], NDArray[np.float64]]  # values of all candidates


def critic(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """Critics on held-out episodes (AUC, slope) and at play (success, loops) over λ.

    Args:
        quick: a handful of episodes.
        seeds: of the choices while recording and playing.
        levels: these of :data:`LEVELS` alone.
    """
    check_levels(levels or (), LEVELS)
    jobs = [(level, seed, quick) for level in levels or LEVELS for seed in seeds]
    rows = [row for rows in side_by_side(judge_level, jobs) for row in rows]
    figures: dict[str, Any] = {}
    for name in dict.fromkeys(map(_name, rows)):
        some = [row for row in rows if _name(row) == name]
        measure = "auc" if some[0]["choice"] is None else "success"
        figures[f"{name}.{measure}"] = median(row[measure] for row in some)
    return figures, rows


def _name(row: Row) -> str:
    parts = (short_name(row["level"]), row["critic"], row["episodes"], row["choice"])
    return ".".join(str(part).replace(" ", "_") for part in parts if part is not None)


def judge_level(job: tuple[str, int, bool]) -> list[Row]:
    """All rows of one level and seed."""
    import torch

    from hier.planners.language.planner import VLMPlanner
    from hier.planners.play import Player

    torch.set_num_threads(1)
    level, seed, quick = job
    player = Player(level)
    planner = VLMPlanner(device="cpu", domain=player.domain)
    planner.keeps_states = True
    n = 8 if quick else EPISODES
    episodes = [
        play(player, planner, FIRST_RECORDED + k, _mixed(np.random.default_rng([seed, k])))
        for k in range(n)
    ]
    test, rows = episodes[-max(n // 5, 2) :] if quick else episodes[-TEST:], []
    common = {"level": level, "seed": seed, **dict.fromkeys(COLUMNS)}
    share = np.mean([episode.success for episode in episodes])
    print(f"{level} seed {seed}: {n} episodes recorded, {share:.0%} succeed", flush=True)
    for count in (4,) if quick else FITTED:
        for name, fit in CRITICS.items():
            started = time.process_time()
            q = fit(player, episodes[:count], seed)
            seconds = time.process_time() - started
            rows.append(
                {
                    **common,
                    "critic": name,
                    "episodes": count,
                    "auc": _auc(q, test),
                    **_slope(q, test),
                    "seconds": round(seconds, 3),
                }
            )
            print(f"{level} {name}, {count} episodes: AUC {rows[-1]['auc']:.2f}", flush=True)
    played = 2 if quick else PLAYED
    seeds = [FIRST_PLAYED + k for k in range(played)]
    count = 4 if quick else max(FITTED)
    fitted = _linear(episodes[:count], both=True)
    for name, choose in _choices(fitted, seed).items():
        found = [play(player, planner, one, choose) for one in seeds]
        rows.append(
            {**common, "critic": LINEAR, "episodes": count, "choice": name, **_played(found)}
        )
        print(f"{level} {name}: {rows[-1]['success']:.0%} of {played}", flush=True)
    return rows


def play(
    player: Any,
    planner: Any,
    seed: int,
    choose: Callable[[PlannerReply], int],
) -> Episode:
    """One episode, with the scripted controller."""
    states: list[CriticState] = []

    def note(query: PlannerQuery, reply: PlannerReply) -> int:
        states.append(player.tracker.critic_state(query.percept, query.candidates))
        return choose(reply)

    choices = [
        Choice(ended.reply, states[-1], ended.choice, ended.duration)
        for ended in player.pursue(planner, seed, note)
    ]
    left = np.cumsum([one.duration for one in choices][::-1])[::-1]
    return Episode(choices, player.success, player.success * DISCOUNT**left)


def _mixed(rng: np.random.Generator) -> Callable[[PlannerReply], int]:
    """A draw from the planner's distribution with :data:`CHANCE` mixed in."""

    def choose(reply: PlannerReply) -> int:
        p = np.exp(reply.log_probs.astype(np.float64))
        p = (1 - CHANCE) * p / p.sum() + CHANCE / len(p)
        return int(rng.choice(len(p), p=p))

    return choose


def _choices(fitted: Any, seed: int) -> dict[str, Callable[[PlannerReply], int]]:
    """Ways to choose a subgoal: the planner alone, LINVIT over λ, and only where significant."""
    from hier.guidance.soft_choice import smoothed_prior, soft_choice
    from hier.hierarchy.selection import draw

    rng = np.random.default_rng(seed)

    def soft(kl_coef: float) -> Callable[[PlannerReply], int]:
        def choose(reply: PlannerReply) -> int:
            mean = fitted.values(_features(reply, both=True)).mean
            return draw(soft_choice(smoothed_prior(reply.log_probs, 0.02), mean, kl_coef), rng)

        return choose

    def significant(reply: PlannerReply) -> int:
        favorite = draw(reply.log_probs, rng)
        found = fitted.values(_features(reply, both=True))
        gain = found.mean - found.mean[favorite]
        gain[gain < SIGNIFICANT * found.error_beside(favorite)] = 0.0
        return int(np.argmax(gain)) if gain.max() > 0 else favorite

    return {
        "planner alone": lambda reply: draw(reply.log_probs, rng),
        **{f"soft choice {kl_coef:g}": soft(kl_coef) for kl_coef in KL_COEFS},
        "significant": significant,
    }


def _features(reply: PlannerReply, *, both: bool) -> NDArray[np.float32]:
    """Each candidate's hidden state, and beside it the question's if ``both``."""
    assert reply.states is not None
    ends, question = reply.states[:-1], reply.states[-1:]
    return np.hstack([ends, np.repeat(question, len(ends), axis=0)]) if both else ends


def _linear(episodes: Sequence[Episode], *, both: bool) -> Any:
    from hier.guidance.linear_critic import LinearCritic

    rows = [_features(c.reply, both=both)[c.choice] for e in episodes for c in e.choices]
    return LinearCritic(np.stack(rows), np.concatenate([e.returns for e in episodes]))


def _fit_linear(both: bool) -> Callable[[Any, Sequence[Episode], int], Q]:
    def fit(player: Any, episodes: Sequence[Episode], seed: int) -> Q:
        fitted = _linear(episodes, both=both)
        return lambda choice: fitted.values(_features(choice.reply, both=both)).mean

    return fit


def _fit_network(player: Any, episodes: Sequence[Episode], seed: int) -> Q:
    """The convolutional critic that guidance trains, by Monte Carlo returns."""
    from hier.config import CriticConfig
    from hier.guidance.critic import SubgoalCritic, Transition

    settings = CriticConfig()
    network = SubgoalCritic(*player.domain.critic_state_sizes(), monte_carlo=1.0, seed=seed)
    closed = 0
    for episode in episodes:
        for one, followed in zip(episode.choices, episode.returns, strict=True):
            number = network.add(Transition(one.state, one.choice, 0.0, 0.0))
            network.note_return(number, float(followed))
            closed += 1
    network.learn(max(1, round(settings.updates * closed)), kl_coef=0.0)  # no bootstrapping
    return lambda choice: network.values([choice.state])[0].astype(np.float64)


NETWORK, LINEAR_ENDS, LINEAR = "network", "linear on answers", "linear on answers and question"
CRITICS: dict[str, Callable[[Any, Sequence[Episode], int], Q]] = {
    NETWORK: _fit_network,
    LINEAR_ENDS: _fit_linear(both=False),
    LINEAR: _fit_linear(both=True),
}


def _auc(q: Q, episodes: Sequence[Episode]) -> float:
    """How often the pursued subgoal's value is larger in a successful episode than in a failed one.

    The area under the ROC curve over all pairs of choices; 0.5 where one kind is missing.
    """
    values = [
        (episode.success, q(one)[one.choice]) for episode in episodes for one in episode.choices
    ]
    won = np.array([value for success, value in values if success])
    lost = np.array([value for success, value in values if not success])
    if not len(won) or not len(lost):
        return 0.5
    larger = (won[:, None] > lost).mean() + 0.5 * (won[:, None] == lost).mean()
    return round(float(larger), 3)


def _slope(q: Q, episodes: Sequence[Episode]) -> dict[str, float]:
    """Slope of (return - V) on the advantage of the choice; 1 for a calibrated critic.

    ``slope_error`` is its standard error over episodes (bootstrap).
    """
    pairs = []
    for episode in episodes:
        rows = []
        for one, followed in zip(episode.choices, episode.returns, strict=True):
            values = q(one)
            mean = float(np.exp(one.reply.log_probs.astype(np.float64)) @ values)
            rows.append((values[one.choice] - mean, followed - mean))
        pairs.append(np.array(rows))
    rng = np.random.default_rng(0)
    draws = [
        _regressed([pairs[i] for i in rng.integers(len(pairs), size=len(pairs))])
        for _ in range(200)
    ]
    return {"slope": round(_regressed(pairs), 3), "slope_error": round(float(np.std(draws)), 3)}


def _regressed(pairs: Sequence[NDArray[np.float64]]) -> float:
    x, y = np.concatenate(pairs).T
    spread = float(np.var(x))
    return float(np.cov(x, y, bias=True)[0, 1]) / spread if spread > 0 else 0.0


def _played(episodes: Sequence[Episode]) -> Row:
    choices = [one for episode in episodes for one in episode.choices]
    favorites = [int(np.argmax(one.reply.log_probs)) for one in choices]
    return {
        "success": float(np.mean([episode.success for episode in episodes])),
        "return": round(float(np.mean([episode.returns[0] for episode in episodes])), 3),
        "subgoals": round(len(choices) / len(episodes), 1),
        "short": round(float(np.mean([one.duration <= SHORT for one in choices])), 3),
        "overruled": round(
            float(
                np.mean([one.choice != best for one, best in zip(choices, favorites, strict=True)])
            ),
            3,
        ),
    }
