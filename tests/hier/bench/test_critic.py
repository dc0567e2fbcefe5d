"""The suite that judges critics offline."""

import numpy as np
import pytest

from hier.bench.critic import COLUMNS, LEVELS, Choice, Episode, _auc, _slope, critic
from hier.envs.errors import UnknownNameError
from hier.planners.protocol import PlannerReply

REPLY = PlannerReply(np.log(np.array([0.5, 0.5], np.float32)))


def episodes(values, noise=0.0, seed=0):
    """One choice an episode, of the first of two candidates; it succeeds by its value's odds."""
    rng = np.random.default_rng(seed)
    found = []
    for value in values:
        success = rng.random() < 0.5 + value
        followed = np.array([0.5 + value + noise * rng.normal()])
        found.append(Episode([Choice(REPLY, value, 0, 5)], bool(success), followed))
    return found


def test_values_that_order_the_outcomes_have_a_larger_area():
    rng = np.random.default_rng(1)
    played = episodes(rng.uniform(-0.5, 0.5, size=400))
    right = _auc(lambda choice: np.array([choice.state, 0.0]), played)
    chance = _auc(lambda choice: np.zeros(2), played)
    wrong = _auc(lambda choice: np.array([-choice.state, 0.0]), played)
    assert chance == 0.5 and right > 0.75 and wrong == pytest.approx(1 - right, abs=1e-3)


@pytest.mark.parametrize("exaggerated", [1.0, 2.0])
def test_the_slope_tells_how_far_advantages_are_exaggerated(exaggerated):
    rng = np.random.default_rng(2)
    played = episodes(rng.uniform(-0.2, 0.2, size=400), noise=0.01)
    # The other candidate loses what this one gains: V is 0.5, the advantage is the value.
    q = lambda choice: 0.5 + exaggerated * choice.state * np.array([1.0, -1.0])  # noqa: E731
    found = _slope(q, played)
    assert found["slope"] == pytest.approx(1 / exaggerated, abs=0.02)
    assert 0 < found["slope_error"] < 0.02


@pytest.mark.slow
def test_quick():
    figures, rows = critic(True, [0], [LEVELS[0]])
    assert all(set(COLUMNS) <= set(row) for row in rows)
    assert {row["choice"] for row in rows} >= {None, "planner alone", "significant"}
    assert "KeyCorridorS3R3.linear_on_answers.4.auc" in figures
    with pytest.raises(UnknownNameError, match="level of this suite"):
        critic(True, [0], ["BabyAI-GoToObj-v0"])
