"""Planners that look at worlds beyond the gridworld: pictures, demonstrations, what ships."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hier import HierConfig, PretrainConfig, envs, evaluate, pretrain, record, train
from hier.envs.errors import ConfigError
from hier.envs.pointmaze.maps import cell_at, steps_to
from hier.feedback.anchors import anchors_for, question_alone
from hier.feedback.learner import PlannerLearner
from hier.feedback.objectives.awr import AWR
from hier.planners import build_planner
from hier.planners.accuracy import measure_accuracy, states_of, success_rate
from hier.planners.language.models import BUILT_IN
from hier.planners.language.planner import VLMPlanner
from hier.planners.language.prompts import Prompt, PromptFormat
from hier.planners.play import NO_MISTAKES, Mistakes, Player
from hier.planners.pretraining.demonstrations import (
    collect_demonstrations,
    demonstrate,
    load_demonstrations,
)
from hier.planners.pretraining.examples import TASKS, Examples, labeled_questions, normalized
from hier.planners.pretraining.learner import Learner
from hier.planners.pretraining.tiny_vlm import TinyVLM, build_tiny_vlm
from hier.planners.scripted import OraclePlanner
from tests.installed import made

MAZE, HAND = "PointMaze_UMaze-v3", "FetchReach-v4"
BLOCK, ROOM = "FetchPickAndPlace-v4", "MiniWorld-OneRoom-v0"
WORLDS = {"pointmaze": MAZE, "fetch": BLOCK, "rooms": ROOM}


@pytest.fixture(scope="module")
def demonstrations():
    made(MAZE)
    return [found for seed in range(5) for found in demonstrate(Player(MAZE), seed, gamma=0.97)]


@pytest.mark.parametrize(("level", "side"), [(MAZE, 120), (BLOCK, 192), (ROOM, 192)])
def test_a_picture_is_square_and_shows_the_world(level, side):
    made(level)
    domain, player = envs.domain_of(level), Player(level)
    picture = player.first_picture()
    assert picture.shape == (side, side, 3) and picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    assert list(domain.pictures) == (["map", "view"] if level == ROOM else ["view"])


def test_the_hand_is_enlarged_where_it_is():
    made(BLOCK)
    query = next(Player(BLOCK).play(0)).query
    percept = query.percept.snapshot()
    domain = envs.domain_of(BLOCK)
    before = domain.picture(percept, "view")
    percept.gripper[1] += 0.1
    after = domain.picture(percept, "view")
    assert (before[:96] == after[:96]).all() and (before[96:, :96] == after[96:, :96]).all()
    assert (before[96:, 96:] != after[96:, 96:]).any()


@pytest.mark.parametrize("level", [MAZE, HAND, f"privileged/{ROOM}"])
def test_the_expert_followed_by_the_walker_succeeds(level):
    made(level)
    assert success_rate(OraclePlanner(), level, 4, first_seed=7) == 1.0


def test_feedback_has_anchors_on_the_other_mazes():
    made(MAZE)
    planner = VLMPlanner(domain=envs.domain_of(MAZE), device="cpu")
    found = anchors_for(planner, [MAZE], None, 4)
    assert {one.level for one in found} == {"PointMaze_Large-v3", "PointMaze_Medium-v3"}
    assert all(one.prompt.images[0].shape == (120, 120, 3) for one in found)


@pytest.mark.parametrize("name", WORLDS)
def test_feedback_changes_a_planner_of_these_worlds(name):
    made(WORLDS[name])
    planner = VLMPlanner(domain=envs.domain_of(WORLDS[name]), device="cpu")
    queries, _ = states_of(WORLDS[name], 4, 3_000_000)
    lessons = [question_alone(planner, query, WORLDS[name]) for query in queries]
    learner = PlannerLearner(planner, AWR(), batch_size=4)
    before = [weight.clone() for weight in planner.loaded.module.parameters()]
    learner.learn(lessons, 2)
    after = list(planner.loaded.module.parameters())
    assert all(weight.isfinite().all() for weight in after)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_a_privileged_level_has_nothing_to_look_at():
    for level in ("PointMaze_UMaze-v3", "FetchPush-v4", ROOM):
        level = f"privileged/{level}"
        domain = envs.domain_of(level)
        for name in ("vlm", "endpoint"):
            options = {"base_url": "http://localhost:1/v1", "check": False, "model": "m"}
            with pytest.raises(ConfigError, match=r"without privileged/.*planner\.type=oracle"):
                build_planner(name, domain=domain, **(options if name == "endpoint" else {}))


@pytest.mark.slow
def test_who_learned_without_pictures_can_be_judged_under_a_planner_that_looks(tmp_path):
    made(MAZE)
    lines = ["total_timesteps=64", "env.n_envs=2", "env.max_steps=20", "eval.episodes=1"]
    off = ["eval.every=0", "eval.videos=0", f"env.id=privileged/{MAZE}"]
    run = train(HierConfig.load("pointmaze", lines + off), folder=tmp_path / "run", progress=False)
    looks = ["planner.type=vlm"]
    found = evaluate(run.folder, env_id=MAZE, overrides=looks, progress=False)
    assert [episode.env_id for episode in found.episodes] == [MAZE]
    drawn = record(run.folder, env_id=MAZE, overrides=looks, episodes=1)
    assert all(file.name.startswith(MAZE) for file in drawn)


def test_a_domain_without_a_planner_says_what_to_do():
    with pytest.raises(
        ConfigError, match=r"'corridor' has no built-in planner; set planner\.model"
    ):
        VLMPlanner(domain=envs.domain_named("tests.envs.test_domain:Corridor"))


def test_pictures_that_a_domain_lacks_are_refused():
    with pytest.raises(ConfigError, match=r"images 'map'.*view"):
        VLMPlanner(images="map", domain=envs.domain_named("pointmaze"))


class TestDemonstrations:
    def test_they_hold_pictures_and_no_action(self, demonstrations, tmp_path):
        assert all(d.action is None and d.shown.shape == (120, 120, 3) for d in demonstrations)
        assert any(d.value > 0 for d in demonstrations)
        files = collect_demonstrations(
            tmp_path,
            [MAZE],
            episodes=5,
            seed=0,
            variation=0.0,
            gamma=0.97,
            workers=1,
            progress=False,
        )
        kept = [d for file in files for d in load_demonstrations(file)]
        for one, other in zip(demonstrations, kept, strict=True):
            assert (one.shown == other.shown).all()
            assert [t.question for t in labeled_questions(one, ())] == [
                t.question for t in labeled_questions(other, ())
            ]

    def test_the_expert_answers_where_the_agent_is(self):
        """After mistakes too: no other candidate is on a shorter way from here to the goal."""
        made(MAZE)
        for query, answer, *_ in Player(MAZE, Mistakes(random_subgoal_rate=0.5)).play(2):
            percept, space = query.percept, query.space
            to_goal = steps_to(percept.walls, percept.goal_cell)
            cells = [cell_at(percept.walls, space.place(percept, g)) for g in query.candidates]
            ways = [steps_to(percept.walls, percept.cell)[c] + to_goal[c] for c in cells]
            assert ways[answer] == min(ways)

    def test_a_block_is_carried_on_the_experts_subgoals(self):
        made(BLOCK)
        found = demonstrate(Player(BLOCK, NO_MISTAKES), 1, gamma=0.97)
        verbs = [d.candidates[d.answer].split()[0] for d in found]
        assert verbs == ["reach", "grasp", "carry"] and found[-1].value > 0.5

    def test_mistakes_lead_elsewhere(self):
        made(MAZE)
        plain, _ = states_of(MAZE, 12, 3_000_000)
        after, _ = states_of(MAZE, 12, 3_000_000, Mistakes(random_subgoal_rate=0.5))
        wrong = [g for query in after for g, _ in query.recent]
        assert len({len(query.recent) for query in after}) > 1 and wrong
        assert [q.recent for q in plain] != [q.recent for q in after]


class TestExamples:
    @pytest.fixture
    def tiny(self, demonstrations):
        texts = [
            text
            for d in demonstrations
            for t in labeled_questions(d, ())
            for text in (t.question, *t.answers)
        ]
        sizes = TinyVLM(120, 24, vision_size=16, vision_layers=1, text_size=16, text_layers=1,
                        heads=2)  # fmt: skip
        words = envs.domain_of(MAZE).variations().words
        network, processor = build_tiny_vlm([*texts, *words], sizes)
        return network, PromptFormat(processor, 1, "llava")

    def test_two_tasks_and_the_stored_pictures(self, demonstrations, tiny):
        examples = Examples(demonstrations, (), tiny[1])
        seen = set()
        for batch in examples.batches(4, (0.5, 0.2, 0.3), np.random.default_rng(0)):
            seen |= set(batch.task.tolist())
            assert batch.codes is None and batch.pixels.shape == (4, 3, 120, 120)
        assert seen <= {TASKS.index("subgoal"), TASKS.index("scene")} and len(seen) == 2

    def test_pixels_are_those_of_the_image_processor(self, demonstrations, tiny):
        picture = demonstrations[0].shown
        inputs = tiny[1].encode(
            [Prompt.single("go", (picture,))], torch.device("cpu"), torch.float32
        )
        assert torch.allclose(inputs["pixel_values"], normalized(picture[None]), atol=1e-6)

    @pytest.mark.slow
    def test_it_learns_without_a_reader_of_maps(self, demonstrations, tiny):
        network, form = tiny
        examples = Examples(demonstrations, (), form)
        torch.manual_seed(0)
        head = torch.nn.Linear(16, 1)
        learner = Learner(network, head, None, steps=40, sight_steps=0, learning_rate=1e-2)
        batches = list(examples.batches(4, (0.7, 0, 0.3), np.random.default_rng(0)))
        losses = [learner.step(batches[i % len(batches)])["loss"] for i in range(40)]
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
        again = Learner(network, head, None, steps=40, sight_steps=0, learning_rate=1e-2)
        again.load_state_dict(learner.state_dict())
        assert again.steps_done == 40


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("sight_steps=5", "are not maps; set sight_steps=0"),
        ("model.patch=25", "choose a divisor of 120, the side of the domain's pictures"),
    ],
)
def test_wrong_settings_are_refused(override, complaint, tmp_path):
    made(MAZE)
    with pytest.raises(ConfigError, match=complaint):
        pretrain(PretrainConfig.load("pointmaze", [override]), folder=tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", WORLDS)
class TestShippedPlanner:
    def test_it_is_small_and_documented(self, name):
        folder = BUILT_IN / name
        assert sum(file.stat().st_size for file in folder.iterdir()) < 4_000_000
        weights = load_file(folder / "model.safetensors").values()
        assert all(weight.dtype == torch.float32 for weight in weights)
        card = (folder / "README.md").read_text()
        assert f"hier pretrain {name}" in card and "unseen seeds" in card and "oracle" in card
        assert {*PretrainConfig.load(name).levels} == {*envs.domain_of(WORLDS[name]).source_levels}

    def test_it_is_the_domains_default_and_mostly_right(self, name):
        made(WORLDS[name])
        planner = build_planner("vlm", domain=envs.domain_of(WORLDS[name]), device="cpu")
        assert planner.model == name
        assert measure_accuracy(planner, [WORLDS[name]], 16, first_seed=3_100_000).mean > 0.8
