"""The critic: what it learns, how sure it is, and what it says of itself."""

import math

import numpy as np
import pytest

from hier.envs.errors import NotFiniteError
from hier.guidance import critic as module
from hier.guidance.critic import Step, SubgoalCritic, centered

K, N = 6, 4


def world(episodes, *, seed=0, worth=0.3, noise=0.2, confounded=False, behavior=None):
    """One choice an episode among four candidates; the first feature is what they are worth.

    Where it is confounded, states in which candidates have a large feature are good states.
    """
    rng = np.random.default_rng(seed)
    played = []
    for _ in range(episodes):
        candidates = rng.normal(size=(N, K)).astype(np.float32)
        goodness = 0.5 * rng.normal()
        if confounded:
            candidates[0, 0] += 4 * goodness
        state = np.array([1.0], np.float32)  # V cannot see the state's goodness
        mu = np.full(N, -math.log(N)) if behavior is None else np.log(behavior)
        choice = int(rng.choice(N, p=np.exp(mu)))
        x = centered(candidates, mu)
        reward = goodness + worth * x[choice, 0] + noise * rng.normal()
        played.append((candidates, mu, choice, x, state, reward))
    return played


def taught(played, critic=None):
    critic = critic or SubgoalCritic()
    for k, (_, _, choice, x, state, reward) in enumerate(played):
        critic.add([Step(x[choice].astype(np.float32), state, reward, 0.0)], half=k % 2)
    critic.fit()
    return critic


def test_advantages_are_found_with_their_errors():
    critic = taught(world(3000))
    fresh = world(300, seed=1)
    errors, stated = [], []
    for candidates, mu, *_ in fresh:
        found = critic.advantages(candidates, mu)
        assert found.mean.mean() == pytest.approx(0, abs=1e-9)  # uniform μ
        truth = 0.3 * centered(candidates, mu)[:, 0]
        errors += (found.mean - truth).tolist()
        stated += found.error.tolist()
    # The prior pulls toward 0 by RIDGE / (n + RIDGE); the rest is within what is stated.
    assert np.std(errors) < 2.5 * np.mean(stated) < 0.1


@pytest.mark.parametrize("behavior", [None, [0.7, 0.1, 0.1, 0.1]])
def test_good_states_are_not_mistaken_for_good_choices(behavior):
    """The features are correlated with how good a state is, which V cannot see."""
    critic = taught(world(3000, worth=0.0, confounded=True, behavior=behavior))
    candidates = np.zeros((N, K), np.float32)
    candidates[0, 0] = 1.0
    found = critic.advantages(candidates, np.full(N, -math.log(N)))
    assert abs(found.mean[0]) < 4 * found.error[0]


def test_without_data_it_has_no_opinion():
    critic = SubgoalCritic()
    found = critic.advantages(np.ones((N, K), np.float32), np.full(N, -math.log(N)))
    assert not critic.ready and not found.mean.any() and math.isnan(critic.value(np.ones(1)))
    assert critic.fit() == {} and critic.say == 0


def test_while_nothing_was_earned_it_has_no_opinion():
    critic = SubgoalCritic()
    for _, _, choice, x, state, _ in world(100):
        critic.add([Step(x[choice].astype(np.float32), state, 0.0, 0.0)])
    assert critic.fit() == {} and not critic.ready


@pytest.mark.parametrize(("successes", "ready"), [(1, False), (12, False), (60, True)])
def test_a_few_successes_are_no_opinion(successes, ready):
    """However many episodes ended: what differs in the few that succeeded is mostly chance."""
    critic = SubgoalCritic()
    for k, (_, _, choice, x, state, _) in enumerate(world(600)):
        reward = float(k % (600 // successes) == 0)
        critic.add([Step(x[choice].astype(np.float32), state, reward, 0.0)], half=k // 7 % 2)
    assert bool(critic.fit()) == critic.ready == ready


def test_it_has_a_say_once_its_advantages_have_come_true():
    assert taught(world(1500)).say > 0.5
    assert taught(world(1500, worth=0.0)).say < 0.5


def test_it_has_none_when_they_do_not():
    """What was learned from one half is the opposite of what happens in the other."""
    critic = SubgoalCritic()
    for k, (_, _, choice, x, state, reward) in enumerate(world(600)):
        felt = reward if k % 2 else -reward
        critic.add([Step(x[choice].astype(np.float32), state, felt, 0.0)], half=k % 2)
    critic.fit()
    assert critic.slope <= 0 and critic.say == 0


def test_its_slope_is_that_of_unseen_episodes():
    critic = taught(world(3000))
    pulled = 1500 / (1500 + module.RIDGE)  # by the prior toward 0, in each half
    assert critic.slope * pulled == pytest.approx(1, abs=0.1)
    assert critic.slope_error < 0.1


def test_the_halves_know_different_episodes():
    critic, mu = taught(world(400)), np.full(N, -math.log(N))
    candidates = world(1, seed=5)[0][0]
    one, other = (critic.advantages(candidates, mu, half=h).mean for h in (0, 1))
    assert not np.allclose(one, other)


def test_targets_are_generalized_advantages(monkeypatch):
    """V = mean return here, since the state says nothing."""
    critic = SubgoalCritic()
    rng = np.random.default_rng(0)
    for _ in range(40):
        critic.add(
            [
                Step(rng.normal(size=K).astype(np.float32), np.ones(1, np.float32), 0.0, 0.9),
                Step(
                    rng.normal(size=K).astype(np.float32),
                    np.ones(1, np.float32),
                    float(rng.random()),
                    0.0,
                ),
            ]
        )
    critic.fit()
    episode = critic._kept[0]
    v = critic.value(np.ones(1, np.float32))
    last = episode[1].reward - v
    first = 0.9 * v - v + 0.9 * module.GAE * last
    assert module._targets(episode, np.array([v, v])) == pytest.approx([first, last])


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 100)
    critic = taught(world(500))
    assert len(critic._kept) == len(critic._half) == critic._closed == 100


def test_it_goes_on_with_what_it_learned_from():
    critic, later = taught(world(300)), SubgoalCritic()
    later.load_state_dict(critic.state_dict())
    candidates, mu = world(1, seed=5)[0][0], np.full(N, -math.log(N))
    for half in (None, 0, 1):
        one, two = (c.advantages(candidates, mu, half) for c in (critic, later))
        assert one.mean == pytest.approx(two.mean, abs=1e-6)
    assert later.slope == pytest.approx(critic.slope, abs=1e-6)
    assert later.episodes == 300


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    step = Step(np.ones(K, np.float32), np.ones(1, np.float32), bad, 0.0)
    with pytest.raises(NotFiniteError, match="not finite"):
        SubgoalCritic().add([step])
