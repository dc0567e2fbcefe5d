"""The critic of subgoals on processes whose values are known."""

import numpy as np
import pytest
import torch

from hier.envs.errors import NotFiniteError
from hier.guidance.critic import MAX_CANDIDATES, SubgoalCritic, Transition
from hier.guidance.soft_choice import soft_value
from hier.perception.gridworld.tracker import CriticState

GAMMA = 0.9
K = 6  # width of a candidate's vector


def state(number, n=2):
    """A state told by the map, with ``n`` candidates told by their vectors."""
    map_ = np.full((15, 15), number, np.uint8)
    return CriticState(map_, np.array([1, 2, 0]), np.eye(K, dtype=np.float32)[:n])


def critic(**options):
    defaults = {"learning_rate": 3e-3, "polyak": 0.1, "warmup": 1, "batch_size": 16}
    return SubgoalCritic(8, 4, K, **{**defaults, **options})


def learn(critic, transitions, updates, kl_coef):
    for _ in range(20):
        for transition in transitions:
            critic.add(transition)
    critic.learn(updates, kl_coef)


@pytest.mark.slow
class TestValues:
    def test_a_two_state_process(self):
        """In 0, a earns 1 and stays for two steps, b moves to 1; from 1, a ends with 3."""
        log_p = np.log([0.7, 0.3]).astype(np.float32)
        transitions = [
            Transition(state(0), 0, 1.0, GAMMA**2, state(0), log_p),
            Transition(state(0), 1, 0.0, GAMMA**3, state(1), log_p),
            Transition(state(1), 0, 3.0, 0.0),
            Transition(state(1), 1, 0.0, 0.0),
        ]
        kl_coef = 0.5
        v1 = soft_value(log_p, np.array([3.0, 0.0]), kl_coef)
        v0 = 0.0
        for _ in range(500):
            q0 = np.array([1 + GAMMA**2 * v0, GAMMA**3 * v1])
            v0 = soft_value(log_p, q0, kl_coef)
        found = critic(batch_size=24)
        learn(found, transitions, 600, kl_coef)
        here, there = found.values([state(0), state(1)])
        assert here == pytest.approx(q0, abs=0.12)
        assert there == pytest.approx([3, 0], abs=0.12)

    def test_a_chain_discounts_by_duration(self):
        """States 0 to 4, one subgoal each of tau = 1 ... 5 steps, reward 1 at the end."""
        certain = np.zeros(1, np.float32)
        transitions = [
            Transition(state(i, 1), 0, 0.0, GAMMA ** (i + 1), state(i + 1, 1), certain)
            for i in range(4)
        ]
        transitions.append(Transition(state(4, 1), 0, 1.0, 0.0))
        expected = [GAMMA ** sum(i + 1 for i in range(start, 4)) for start in range(5)]
        found = critic(batch_size=24)
        learn(found, transitions, 800, 1.0)
        values = [q[0] for q in found.values([state(i, 1) for i in range(5)])]
        assert values == pytest.approx(expected, abs=0.08)

    @pytest.mark.parametrize(("share", "expected"), [(0.0, 0.9 * 0.5), (0.5, 0.45), (1.0, 0.0)])
    def test_the_return_that_followed_takes_its_share_of_the_target(self, share, expected):
        """From 0 to 1 without reward; 1 is worth 0.5, but those episodes earned nothing there."""
        found = critic(monte_carlo=share)
        certain = np.zeros(1, np.float32)
        for _ in range(20):
            number = found.add(Transition(state(0, 1), 0, 0.0, GAMMA, state(1, 1), certain))
            found.add(Transition(state(1, 1), 0, 0.5, 0.0))
            if share != 0.5:
                found.note_return(number, 0.0)  # else unknown, and of no consequence
        found.learn(400, 1.0)
        assert found.values([state(0, 1)])[0] == pytest.approx([expected], abs=0.05)

    def test_a_return_of_what_was_overwritten_is_dropped(self):
        found = critic(capacity=3)
        for k in range(5):
            assert found.add(Transition(state(k), 0, 0.0, 0.0)) == k
        found.note_return(1, 7.0)
        found.note_return(4, 8.0)
        followed = found.buffer.sample(200, np.random.default_rng(0))["followed"]
        assert set(followed[~followed.isnan()].tolist()) == {8.0}

    def test_a_terminal_state_is_worth_its_reward(self):
        found = critic()
        learn(found, [Transition(state(0), 1, 0.5, 0.0)], 200, 0.0)
        assert found.values([state(0)])[0][1] == pytest.approx(0.5, abs=0.03)


class TestBehavior:
    def test_it_has_no_say_without_data(self):
        found = critic(warmup=10)
        assert not found.ready and found.learn(5, 1.0) == {}
        for _ in range(16):
            found.add(Transition(state(0), 0, 1.0, 0.0))
        assert not found.ready  # it has data but has learned nothing
        found.learn(1, 1.0)
        assert found.ready

    def test_states_are_valued_alike_alone_and_together(self):
        found = critic()
        together = found.values([state(1, 2), state(2, 5), state(3, 1)])
        alone = [found.values([state(i, n)])[0] for i, n in ((1, 2), (2, 5), (3, 1))]
        for one, other in zip(together, alone, strict=True):
            assert one == pytest.approx(other, abs=1e-5)

    def test_optimism_orders_the_estimates(self):
        low, middle, high = (critic(optimism=o).values([state(0)])[0] for o in (-1, 0, 1))
        assert (low <= middle).all() and (middle <= high).all() and (low < high).any()

    def test_it_goes_on_from_its_state(self, tmp_path):
        first = critic()
        learn(first, [Transition(state(0), 0, 1.0, 0.0)], 50, 1.0)
        torch.save(first.state_dict(), tmp_path / "critic.pt")
        other = critic(seed=3)
        other.load_state_dict(torch.load(tmp_path / "critic.pt", weights_only=True))
        assert other.values([state(0)])[0].tolist() == first.values([state(0)])[0].tolist()
        assert other.steps == first.steps and other.ready

    def test_old_transitions_make_room_and_many_candidates_are_cut(self):
        found = critic(capacity=100)
        many = MAX_CANDIDATES + 8
        vectors = np.zeros((many, K), np.float32)
        after = CriticState(np.zeros((15, 15), np.uint8), np.array([1, 2, 0]), vectors)
        log_p = np.full(many, -np.log(many), np.float32)
        for i in range(250):
            found.add(Transition(state(0), 0, float(i), 0.5, after, log_p))
        assert len(found.buffer) == 100 and found.steps == 250
        batch = found.buffer.sample(500, np.random.default_rng(0))
        assert batch["reward"].min() == 150 and batch["reward"].max() == 249
        assert batch["log_probs"].shape == (500, MAX_CANDIDATES)
        assert np.isfinite(found.learn(3, 0.1)["loss"])


def test_a_return_that_is_not_finite_stops_before_the_weights_change():
    found = critic(warmup=0)
    for _ in range(16):
        found.add(Transition(state(0), 0, float("nan"), 0.0))
    before = [weight.clone() for weight in found.twins.parameters()]
    with pytest.raises(NotFiniteError, match="critic's loss is nan"):
        found.learn(4, 0.1)
    for weight, kept in zip(found.twins.parameters(), before, strict=True):
        assert torch.equal(weight, kept)
