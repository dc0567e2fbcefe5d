"""The suite on re-planning: the plan that stays fixed, the episodes, the result."""

import numpy as np
import pytest

import hier.bench.disturbance
import hier.run.sweep
from hier import HierConfig, train
from hier.bench import run_suite
from hier.bench.disturbance import NONE, FixedPlan, play
from hier.planners.protocol import PlannerQuery, check_reply
from hier.planners.scripted import RandomPlanner
from hier.run.setup import open_trained
from tests.scripted_play import SPACE

EXPLORE, KEY, DOOR, BOX = map(
    SPACE.parse,
    ("explore", "pick up the red key", "open the red door", "pick up the blue box"),
)


class TestFixedPlan:
    def ask(self, planner, candidates, recent=()):
        query = PlannerQuery(None, candidates, SPACE, recent)
        (reply,) = planner.score([query])
        return np.exp(check_reply(reply, query, planner).log_probs)

    def chosen(self, planner, candidates, recent=()):
        return candidates[int(np.argmax(self.ask(planner, candidates, recent)))]

    def test_step_by_step_each_until_it_is_done(self):
        planner, every = FixedPlan([EXPLORE, KEY, DOOR, BOX]), [BOX, DOOR, EXPLORE, KEY]
        assert self.chosen(planner, every) == EXPLORE
        assert self.chosen(planner, every, [(EXPLORE, "timeout")]) == EXPLORE
        assert self.chosen(planner, every, [(EXPLORE, "done")]) == KEY
        assert self.chosen(planner, every, [(KEY, "failed")]) == KEY
        assert self.chosen(planner, every, [(KEY, "failed"), (KEY, "done")]) == DOOR
        assert self.chosen(planner, every, [(DOOR, "done")]) == BOX
        assert self.chosen(planner, every, [(BOX, "done")]) == BOX

    def test_what_is_no_candidate_is_passed_over_for_good(self):
        planner = FixedPlan([KEY, DOOR, BOX])
        assert self.chosen(planner, [EXPLORE, DOOR]) == DOOR
        assert self.chosen(planner, [EXPLORE, KEY, DOOR], [(DOOR, "failed")]) == DOOR

    def test_no_preference_where_nothing_of_the_plan_is_left(self):
        planner = FixedPlan([KEY, BOX])
        assert self.chosen(planner, [EXPLORE, BOX]) == BOX
        np.testing.assert_allclose(self.ask(planner, [EXPLORE, DOOR]), 0.5)
        assert self.chosen(planner, [EXPLORE, BOX], [(EXPLORE, "done")]) == BOX


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = HierConfig.load(
        "demo",
        [
            "env.n_envs=4", "total_timesteps=128", "controller.options.n_steps=32",
            "eval.every=0", "eval.videos=0", "eval.episodes=1", "torch_threads=1",
            "subgoal.max_duration=1000", "planner.type=random",
        ],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "run"
    return open_trained(train(config, folder=folder, progress=False).folder)


@pytest.mark.slow
class TestPlay:
    def test_an_episode_depends_on_its_seed_alone(self, trained):
        first = [play(trained, RandomPlanner(), "object moved", seed) for seed in range(4)]
        assert first == [play(trained, RandomPlanner(), "object moved", seed) for seed in range(4)]
        assert all(episode.disturbed for episode in first)
        assert len({episode.plan[0] for episode in first}) > 1

    def test_the_fixed_plan_repeats_the_episode_it_was_made_in(self, trained):
        same = 0
        for seed in range(8):
            made = play(trained, RandomPlanner(), NONE, seed)
            assert not made.disturbed and made.queries == len(made.plan)
            same += play(trained, FixedPlan(made.plan), NONE, seed) == made
        assert same >= 5  # in the others something failed, which it tries again


def in_this_process(function, jobs, **_):
    """Stands for processes, each of which would import everything anew."""
    return [function(job) for job in jobs]


@pytest.mark.slow
def test_quick(tmp_path, monkeypatch):
    # The suite on lava is tried with its processes.
    for module in (hier.run.sweep, hier.bench.disturbance):
        monkeypatch.setattr(module, "side_by_side", in_this_process)
    monkeypatch.chdir(tmp_path)  # runs go to the working folder
    result = run_suite("disturbance", quick=True, out=tmp_path / "result.json")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")
    figures, rows = result["figures"], result["rows"]
    assert len(rows) == 4 * 2
    for row in rows:
        assert 0 <= row["disturbed"] <= row["eval_episodes"] == 4
        counted = row["disturbed"] if row["disturbance"] != NONE else 4
        assert (row["success"] is None) == (counted == 0)
    moved = [row for row in rows if row["disturbance"] == "object moved"]
    # Both variants are the same until the disturbance, so it strikes the same episodes.
    assert moved[0]["disturbed"] == moved[1]["disturbed"] > 0
    assert figures["UnlockPickup.object_moved.re-planning.disturbed"] == moved[0]["disturbed"]
    assert "UnlockPickup.none.plan_fixed.success.worst" in figures
