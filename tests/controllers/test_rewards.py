"""Shaping changes what is paid on the way, never what is best."""

import numpy as np
import pytest

from hier.controllers.rewards import shaping_reward

GAMMA, STATES, ACTIONS = 0.9, 6, 3


@pytest.fixture(params=range(5))
def mdp(request):
    """A random MDP whose last state is terminal: P ``(s, a, s')``, r ``(s, a, s')``, Φ ``(s,)``."""
    rng = np.random.default_rng(request.param)
    transitions = rng.dirichlet(np.full(STATES, 0.3), size=(STATES - 1, ACTIONS))
    rewards = rng.normal(size=(STATES - 1, ACTIONS, STATES))
    return transitions, rewards, 5.0 * rng.normal(size=STATES)


def action_values(transitions, rewards):
    """Q* ``(s, a)`` of the non-terminal states, by value iteration."""
    values = np.zeros(STATES)
    for _ in range(500):
        q = (transitions * (rewards + GAMMA * values)).sum(-1)
        values[:-1] = q.max(-1)
    return q


def shaped(rewards, potential, terminal):
    return rewards + shaping_reward(potential[:-1, None, None], potential, terminal, GAMMA)


def test_the_optimal_policy_is_unchanged_and_its_values_fall_by_the_potential(mdp):
    transitions, rewards, potential = mdp
    terminal = np.arange(STATES) == STATES - 1
    plain = action_values(transitions, rewards)
    found = action_values(transitions, shaped(rewards, potential, terminal))
    assert np.allclose(found, plain - potential[:-1, None], atol=1e-8)
    assert (found.argmax(1) == plain.argmax(1)).all()


def test_a_potential_kept_at_the_end_would_change_what_is_best():
    # Ending at once is worth 0, going on 1; the potential of the end is high.
    transitions = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    rewards = np.array([[[0.0, 0.0], [0.1, 0.1]]])
    potential = np.array([0.0, 100.0])

    def best(terminal):
        extra = shaping_reward(potential[:-1, None, None], potential, terminal, GAMMA)
        values = np.zeros(2)
        for _ in range(500):
            q = (transitions * (rewards + extra + GAMMA * values)).sum(-1)
            values[:-1] = q.max(-1)
        return int(q.argmax())

    assert best(np.array([False, True])) == 1
    assert best(np.array([False, False])) == 0


def test_along_any_episode_it_sums_to_minus_the_first_potential():
    potentials = np.array([2.0, -1.0, 0.5, 7.0])  # of the states before each of four steps
    after = np.append(potentials[1:], 3.0)
    paid = shaping_reward(potentials, after, [False, False, False, True], GAMMA)
    assert (GAMMA ** np.arange(4) * paid).sum() == pytest.approx(-2.0)
    assert shaping_reward(1.0, 3.0, False, 0.5) == 0.5
