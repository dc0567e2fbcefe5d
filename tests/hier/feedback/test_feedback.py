"""Lessons are kept, counted and stored; a real planner learns from them and from nothing else."""

import io
import json
import math
import resource
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hier import HierConfig, evaluate, resume, train
from hier.envs import make_env
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.feedback.anchors import anchors_for
from hier.feedback.discriminator import Discriminator
from hier.feedback.learner import FeedbackError, PlannerLearner, _Scale
from hier.feedback.lessons import (
    FeedbackBuffer,
    Lesson,
    read_lessons,
    write_lessons,
)
from hier.feedback.loop import build_feedback
from hier.feedback.objectives import AWR, GRPO, Archer, InverseRL, StepDPO
from hier.guidance.critic import Advantages, Features, SubgoalCritic
from hier.guidance.learning import build_guidance
from hier.perception.gridworld.tracker import GridTracker
from hier.planners import PlannerError, PlannerQuery
from hier.planners.language.pictures import as_png
from hier.planners.language.planner import VLMPlanner
from hier.run.build import build_env, build_model, build_planner_of
from hier.run.folder import RunFolder
from hier.run.proposals import compare
from hier.run.setup import open_trained
from hier.run.training import TrainingError


def lesson(**given):
    defaults = {
        "question": "Mission: go to the red ball\nWhich subgoal now?", "pictures": (),
        "candidates": ("explore", "go to the red ball"), "log_probs": (-0.7, -0.7), "choice": 1,
        "behavior": -0.7, "reward": 0.0, "discount": 0.5, "duration": 3, "outcome": "done",
        "version": 0,
    }  # fmt: skip
    return Lesson(**{**defaults, **given})


class TestBuffer:
    def test_returns_are_known_when_the_episode_ends(self):
        buffer = FeedbackBuffer(10)
        buffer.add(0, lesson(reward=0.1))
        buffer.add(1, lesson(reward=7.0))  # another environment's episode
        buffer.add(0, lesson(reward=0.2, discount=0.25))
        assert len(buffer) == 0
        buffer.add(0, lesson(reward=1.0, discount=0.0), success=True)
        assert [one.returned for one in buffer] == pytest.approx([0.325, 0.45, 1.0])
        assert [one.score for one in buffer] == pytest.approx([0.325] * 3)
        assert all(one.success for one in buffer)

    def test_the_oldest_make_room(self):
        buffer = FeedbackBuffer(3)
        for number in range(5):
            buffer.add(0, lesson(reward=float(number)), success=False)
        assert [one.reward for one in buffer] == [2, 3, 4]

    def test_stale_lessons_are_not_drawn(self):
        buffer = FeedbackBuffer(10, staleness=1)
        for version in range(4):
            buffer.add(0, lesson(version=version), success=True)
        assert [one.version for one in buffer.usable(3)] == [2, 3]
        assert len(FeedbackBuffer(10).usable(99)) == 0 and len(buffer) == 4

    @pytest.mark.parametrize(("capacity", "staleness"), [(0, None), (5, -1)])
    def test_a_buffer_that_holds_nothing_is_refused(self, capacity, staleness):
        with pytest.raises(ConfigError, match="capacity of at least 1"):
            FeedbackBuffer(capacity, staleness)


class TestDataset:
    def test_what_is_written_is_read(self, tmp_path):
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (24, 16, 3), dtype=np.uint8)
        many = [lesson(reward=float(i), pictures=(as_png(picture),)) for i in range(1001)]
        many[0].returned = 0.5
        write_lessons(many, tmp_path)
        assert len(list(tmp_path.glob("lessons-*.tar"))) == 2
        again = read_lessons(tmp_path)
        assert [one.reward for one in again] == [one.reward for one in many]
        assert again[0].returned == 0.5 and math.isnan(again[1].returned)
        assert np.array_equal(again[1000].prompt.images[0], picture)
        assert again[7].candidates == many[7].candidates

    def test_more_are_added_beside_them(self, tmp_path):
        write_lessons([lesson(reward=1.0)], tmp_path)
        write_lessons([lesson(reward=2.0)], tmp_path)
        write_lessons([], tmp_path)
        assert [one.reward for one in read_lessons(tmp_path)] == [1.0, 2.0]

    def test_others_can_read_it(self, tmp_path):
        """Tar members NUMBER.json and NUMBER.K.png: the WebDataset layout, strict JSON."""
        write_lessons([lesson(pictures=(as_png(np.zeros((8, 8, 3), np.uint8)),))], tmp_path)
        with tarfile.open(tmp_path / "lessons-00000.tar") as archive:
            assert archive.getnames() == ["00000000.json", "00000000.0.png"]
            text = archive.extractfile("00000000.json").read().decode()
            assert Image.open(io.BytesIO(archive.extractfile("00000000.0.png").read())).size == (
                8, 8,
            )  # fmt: skip
        assert "NaN" not in text and json.loads(text)["advantage"] is None

    def test_damage_and_absence_are_named(self, tmp_path):
        with pytest.raises(RunFolderError, match=r"holds no lessons-\*.tar"):
            read_lessons(tmp_path)
        write_lessons([lesson()] * 5, tmp_path)
        file = tmp_path / "lessons-00000.tar"
        file.write_bytes(file.read_bytes()[:700])
        with pytest.raises(RunFolderError, match=r"lessons-00000\.tar is damaged"):
            read_lessons(tmp_path)


@pytest.fixture(scope="module")
def real():
    """Two real states as the planner that ships is asked about them."""
    planner, space, found = VLMPlanner(device="cpu"), GridworldSubgoals(), []
    for seed in (0, 3):
        env = make_env("BabyAI-GoToLocal-v0")
        observation, _ = env.reset(seed=seed)
        tracker = GridTracker(1)
        tracker.reset({key: value[None] for key, value in observation.items()})
        percept = tracker.percept(0)
        query = PlannerQuery(percept, space.candidates(percept)[:4], space)
        (reply,) = planner.score([query])
        prompt = planner.prompt(query)
        found.append(
            (
                prompt.question,
                tuple(as_png(image) for image in prompt.images),
                tuple(map(str, query.candidates)),
                tuple(reply.log_probs.tolist()),
            )
        )
    return found


def tried(real):
    """Every candidate of each state pursued once; the planner's least likely one pays."""
    lessons = []
    for question, pictures, candidates, log_probs in real:
        best = int(np.argmin(log_probs))
        for choice in range(len(candidates)):
            gain = 1.0 if choice == best else -0.2
            lessons.append(
                lesson(
                    question=question, pictures=pictures, candidates=candidates,
                    log_probs=log_probs, choice=choice, behavior=math.log(1 / len(candidates)),
                    returned=gain, score=gain, advantage=gain, level=question,
                )
            )  # fmt: skip
    return lessons


def chance_of_best(planner, lessons):
    answers = [planner.answers_of(one.candidates) for one in lessons]
    scores = planner.candidate_scores([one.prompt for one in lessons], answers).log_probs
    return [
        float(torch.softmax(row, 0)[int(np.argmin(one.log_probs))])
        for row, one in zip(scores, lessons, strict=True)
    ]


def learner(objective, **options):
    planner = VLMPlanner(device="cpu", lora=options.pop("lora", None))
    defaults = {"kl_coef": 0.01, "learning_rate": 1e-3, "batch_size": 16}
    return planner, PlannerLearner(planner, objective, **{**defaults, **options})


class TestLearner:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        # Not Archer: its gradient is proportional to what the planner gives, here as good as 0.
        "objective",
        [AWR(beta=0.2), GRPO(), StepDPO()],
        ids=lambda o: type(o).__name__,
    )
    def test_what_pays_becomes_likelier(self, objective, real):
        lessons = tried(real)
        planner, learns = learner(objective)
        before = chance_of_best(planner, lessons)
        report = learns.learn(lessons, 12)
        after = chance_of_best(planner, lessons)
        assert min(after) > 10 * max(before) and report["kl"] > 0

    @pytest.mark.slow
    def test_a_discriminator_leads_too(self, real):
        lessons = tried(real)

        class Told:
            def learn(self, some, updates):
                return math.log(2)

            def logits(self, some):
                best = [torch.tensor(int(np.argmin(one.log_probs))) for one in some]
                return [torch.nn.functional.one_hot(b, 4) * 3.0 for b in best]

        planner, learns = learner(InverseRL(), discriminator=Told())
        before = chance_of_best(planner, lessons)
        learns.learn(lessons, 12)
        assert min(chance_of_best(planner, lessons)) > 10 * max(before)

    def test_inverse_rl_without_a_discriminator_is_refused(self):
        with pytest.raises(ConfigError, match="needs a discriminator"):
            learner(InverseRL())

    @pytest.mark.slow
    def test_a_heavy_kl_holds_it_at_the_reference(self, real):
        lessons = tried(real)
        planner, learns = learner(Archer(), kl_coef=1000.0, learning_rate=1e-5)
        before = chance_of_best(planner, lessons)
        report = learns.learn(lessons, 6)
        assert report["kl"] < 0.01
        assert chance_of_best(planner, lessons) == pytest.approx(before, abs=0.02)

    @pytest.mark.slow
    def test_anchors_stay_as_they_were(self, real):
        planner = VLMPlanner(device="cpu")
        anchors = anchors_for(planner, ["BabyAI-UnlockPickup-v0"], None, 22)
        assert len({one.level for one in anchors}) == 11  # not the one trained on

        def drift(**options):
            planner, learns = learner(AWR(beta=0.2), **options)
            lessons = tried(real)
            learns.learn(lessons, 24)
            drifted = learns._drift(anchors).item()
            return drifted, min(chance_of_best(planner, lessons))

        (loose, learned), (held, learned_too) = drift(), drift(anchors=anchors)
        assert held < loose / 2
        assert min(learned, learned_too) > 0.5

    def test_no_anchors_where_no_levels_are_known(self):
        planner = VLMPlanner(device="cpu")
        assert anchors_for(planner, ["BabyAI-GoToObj-v0"], ["BabyAI-GoToObj-v0"], 8) == []
        assert anchors_for(planner, ["BabyAI-GoToObj-v0"], None, 0) == []

    def test_with_lora_the_base_stays(self, real):
        planner, learns = learner(Archer(), lora=4)
        module = planner.loaded.module
        base = {k: v.clone() for k, v in module.state_dict().items() if "lora_" not in k}
        learns.learn(tried(real), 3)
        now = module.state_dict()
        assert all(torch.equal(now[key], value) for key, value in base.items())
        assert any(bool(v.any()) for k, v in now.items() if "lora_B" in k)

    @pytest.mark.slow
    def test_what_cannot_be_learned_changes_nothing(self, real):
        lessons = tried(real)
        planner, learns = learner(Archer())
        weights = {k: v.clone() for k, v in planner.loaded.module.state_dict().items()}
        for one in lessons:
            one.advantage = math.inf
        with pytest.raises(FeedbackError, match="planner is as it was"):
            learns.learn(lessons, 3)
        now = planner.loaded.module.state_dict()
        assert all(torch.equal(now[key], value) for key, value in weights.items())
        assert planner.version == 0


SMALL = [
    "planner.type=vlm", "env.id=BabyAI-GoToObj-v0", "total_timesteps=1536",
    "env.n_envs=8", "env.max_steps=40",
    "controller.options.n_steps=32", "eval.episodes=2", "eval.every=0", "eval.videos=0",
    "feedback.store=true", "torch_threads=1", "subgoal.max_duration=8",
    "feedback.objective=grpo", "feedback.every=256",
    "feedback.warmup=20", "feedback.updates=2", "feedback.max_share=1", "checkpoint_every=512",
    "feedback.learning_rate=1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    config = HierConfig.load("demo", SMALL)
    return train(config, folder=tmp_path_factory.mktemp("loop") / "run", progress=False)


class TestUnits:
    """Advantages are in standard deviations of the returns, from the best source there is."""

    def batch(self, real, **given):
        lessons = tried(real)
        for one in lessons:
            for name, value in given.items():
                setattr(one, name, value)
        _, learns = learner(Archer(), critic=given.get("critic"))
        return lessons, learns._batch(lessons, _Scale.of(lessons))

    def test_stored_advantages(self, real):
        lessons, batch = self.batch(real, advantage=0.3)
        unit = np.std([one.returned for one in lessons])
        assert batch.advantage.tolist() == pytest.approx([0.3 / unit] * len(lessons))
        assert batch.values is None

    def test_without_them_the_return_less_its_mean_on_the_level(self, real):
        lessons, batch = self.batch(real, advantage=math.nan, level="one")
        returns = np.array([one.returned for one in lessons])
        expected = (returns - returns.mean()) / returns.std()
        assert batch.advantage.tolist() == pytest.approx(expected.tolist(), abs=1e-5)

    def test_a_critic_goes_first(self, real):
        class Critic:
            say = 1.0

            def advantages(self, candidates, log_probs, half=None):
                worth = candidates[:, 0].astype(float)
                return Advantages(worth - np.exp(log_probs) @ worth, np.zeros(4))

        lessons, learns = tried(real), learner(Archer(), critic=Critic())[1]
        worth = np.array([[0.0], [0.1], [0.2], [0.6]], np.float32)
        for one in lessons:
            one.features = Features(worth, np.zeros(1, np.float32))
        batch = learns._batch(lessons, _Scale.of(lessons))
        unit = np.std([one.returned for one in lessons])
        p = batch.log_probs.detach().exp().numpy()
        q = np.array([0.0, 0.1, 0.2, 0.6]) / unit
        expected = [q[one.choice] - row @ q for one, row in zip(lessons, p, strict=True)]
        assert batch.advantage.tolist() == pytest.approx(expected, abs=1e-5)
        gap = [q[one.choice] - q[r] for one, r in zip(lessons, batch.rival.tolist(), strict=True)]
        assert batch.margin.tolist() == pytest.approx(gap, abs=1e-5)
        assert all(r != one.choice for one, r in zip(lessons, batch.rival.tolist(), strict=True))

    def test_a_group_is_of_equal_starts(self, real):
        lessons = tried(real)[:4]
        for one, group, score in zip(lessons, "aabb", (1.0, 0.0, 2.0, 2.0), strict=True):
            one.group, one.score = group, score
        scale = _Scale.of(lessons)
        assert [scale.gain[id(one)] for one in lessons] == pytest.approx([1, -1, 0, 0])


@pytest.mark.slow
def test_the_discriminator_finds_what_successful_episodes_pursue():
    rng = np.random.default_rng(0)
    lessons = []
    for number in range(200):
        subgoals = np.eye(3, 6, dtype=np.float32)
        success = number % 2 == 0
        features = Features(subgoals, rng.normal(size=4).astype(np.float32))
        lessons.append(
            lesson(
                candidates=("a", "b", "c"), log_probs=(math.log(1 / 3),) * 3, success=success,
                choice=2 if success else 0, features=features,
            )
        )  # fmt: skip
    found = Discriminator(batch_size=32)
    first = found.learn(lessons, 1)
    assert found.learn(lessons, 60) < first
    logits = torch.stack(found.logits(lessons[:20]))
    assert logits.shape == (20, 3) and (logits.argmax(dim=1) == 2).all()
    assert math.isnan(found.learn([one for one in lessons if not one.success], 5))


@pytest.mark.slow
class TestLoop:
    def test_the_planner_learns_while_the_controller_does(self, taught):
        events = EventAccumulator(str(taught.folder / "tensorboard"))
        events.Reload()
        versions = [e.value for e in events.Scalars("feedback/version")]
        assert versions == sorted(versions) and versions[-1] >= 2
        for name in ("loss", "kl", "entropy", "return", "lessons", "share", "rollbacks"):
            assert all(math.isfinite(e.value) for e in events.Scalars(f"feedback/{name}"))
        assert all(0 <= e.value <= 1 for e in events.Scalars("feedback/share"))
        assert events.Scalars("feedback/kl")[-1].value > 0
        assert 0 <= events.Scalars("eval/planner_accuracy")[-1].value <= 1
        assert {"feedback/plan_0", "feedback/plan_1"} <= set(events.Tags()["images"])

    def test_what_it_became_is_kept_and_acts(self, taught):
        before, after = VLMPlanner(device="cpu"), VLMPlanner(str(taught.folder / "planner"))
        assert after.version >= 2 and before.version == 0
        one, other = (p.loaded.module.state_dict() for p in (before, after))
        assert any(not torch.equal(one[key], other[key]) for key in one)
        trained = open_trained(taught.folder)
        assert build_planner_of(trained.config).version == after.version
        plain = open_trained(taught.folder, ["planner.type=random"])
        assert plain.config.planner.type == "random"
        assert evaluate(taught.folder, episodes=2, progress=False).episodes

    def test_a_resumed_run_goes_on_from_it(self, taught, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(taught.folder, folder)
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("1536", "2304"))
        before = VLMPlanner(str(folder / "planner")).version
        resume(folder, progress=False)
        assert VLMPlanner(str(folder / "planner")).version > before

    def test_without_it_nothing_is_kept(self, tmp_path):
        config = HierConfig.load(
            "demo", [*SMALL, "feedback.objective=none", "feedback.store=false"]
        )
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        assert not (folder / "planner").exists()

    def test_a_planner_without_weights_is_refused(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "planner.type=oracle"])
        with pytest.raises(ConfigError, match="no weights to fine-tune"):
            train(config, folder=tmp_path / "run", progress=False)

    def test_it_waits_for_a_reward(self, tmp_path):
        """Where nothing was earned there is nothing to learn."""
        hard = ["env.id=BabyAI-KeyCorridorS6R3-v0", "total_timesteps=768"]
        folder = train(HierConfig.load("demo", [*SMALL, *hard]), folder=tmp_path, progress=False)
        assert VLMPlanner(str(folder.folder / "planner")).version == 0

    @pytest.mark.parametrize(
        "objective", ["improve", "awr", "archer", "grpo", "step_dpo", "inverse_rl"]
    )
    def test_every_objective_runs(self, objective, tmp_path, monkeypatch):
        monkeypatch.setattr(SubgoalCritic, "say", 1.0)  # in so few steps it has none
        few = ["total_timesteps=768", f"feedback.objective={objective}"]
        config = HierConfig.load("demo", [*SMALL, *few])
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        assert VLMPlanner(str(folder / "planner")).version >= 2


@pytest.mark.slow
class TestFaults:
    """Whatever happens to a save, the last good planner stays and training goes on from it."""

    @pytest.fixture
    def run(self, taught, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(taught.folder, folder)
        config = (folder / "config.yaml").read_text().replace("1536", "2304")
        (folder / "config.yaml").write_text(config)
        return folder

    def test_a_full_disk(self, run):
        """No file may grow beyond a megabyte: the weights of the planner do not fit."""
        before = VLMPlanner(str(run / "planner")).version
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        try:
            with pytest.raises((PlannerError, RunFolderError), match=r"cannot be written.*File"):
                resume(run, progress=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert VLMPlanner(str(run / "planner")).version == before
        assert not list(run.glob(".hier-partial-*")), "half a planner is left behind"
        assert resume(run, progress=False).env_steps == 2304
        assert VLMPlanner(str(run / "planner")).version > before

    def test_killed_while_the_planner_was_replaced(self, run):
        """Between the two renames: the old one is set aside, the new one not yet in place."""
        before = VLMPlanner(str(run / "planner")).version
        (run / "planner").rename(run / ".hier-partial-planner-old")
        (run / ".hier-partial-planner-half").mkdir()
        assert open_trained(run).config.planner.model == str(run / "planner")
        assert VLMPlanner(str(run / "planner")).version == before
        assert resume(run, progress=False).env_steps == 2304
        assert not list(run.glob(".hier-partial-*"))

    def test_a_loss_that_is_not_finite(self, run, monkeypatch):
        monkeypatch.setattr(GRPO, "loss", lambda self, lessons: lessons.log_probs.sum() * math.nan)
        before = VLMPlanner(str(run / "planner")).version
        with pytest.raises(TrainingError, match=r"infinite or NaN.*hier train --resume"):
            resume(run, progress=False)
        assert VLMPlanner(str(run / "planner")).version == before
        monkeypatch.undo()
        assert resume(run, progress=False).env_steps == 2304


class TestGuard:
    @pytest.fixture
    def feedback(self):
        config = HierConfig.load("demo", SMALL)
        planner, guidance = build_planner_of(config), build_guidance(config)
        env = build_env(config, planner, guidance=guidance)
        yield build_feedback(config, env, planner, guidance)
        env.close()

    def nudge(self, feedback):
        with torch.no_grad():
            for weight in feedback.learner._weights:
                weight.add_(1.0)

    def test_a_fall_brings_the_best_planner_back(self, feedback):
        feedback.on_evaluation(0.5)
        feedback.on_evaluation(0.9)
        best = feedback.learner.weights()
        self.nudge(feedback)
        feedback.on_evaluation(0.75)  # within what chance does
        assert feedback.rollbacks == 0 and not torch.equal(feedback.learner.weights()[0], best[0])
        feedback.on_evaluation(0.6)
        assert feedback.rollbacks == 1 and feedback.planner.version == 1
        now = feedback.learner.weights()
        assert all(torch.equal(a, b) for a, b in zip(now, best, strict=True))

    def test_the_bar_comes_down(self, feedback):
        feedback.on_evaluation(0.9)
        self.nudge(feedback)
        feedback.on_evaluation(0.4)
        feedback.on_evaluation(0.5)  # the bar is 0.65 now
        assert feedback.rollbacks == 1


def test_grpo_plays_equal_levels_in_groups():
    lines = ["feedback.objective=grpo", "feedback.group=4", "env.n_envs=8", "planner.type=none"]
    config = HierConfig.load("demo", lines)
    env = build_env(config, None)
    starts = env.reset()["cells"]
    assert all(np.array_equal(starts[0], starts[i]) for i in (1, 2, 3))
    assert all(np.array_equal(starts[4], starts[i]) for i in (5, 6, 7))
    assert not np.array_equal(starts[0], starts[4])
    env.close()


@pytest.mark.slow
def test_a_controller_begins_as_another_runs(taught, tmp_path):
    config = HierConfig.load("demo", [*SMALL, f"controller.start={taught.folder}"])
    env = build_env(config, None)
    model, other = build_model(config, env), open_trained(taught.folder).model
    one, two = model.policy.state_dict(), other.policy.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in two)
    wide = config.override("controller.net_arch=[32]")
    with pytest.raises(RunFolderError, match="does not fit this configuration"):
        build_model(wide, env)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        build_model(config.override("controller.start=nowhere"), env)
    env.close()


class TestCompare:
    @pytest.mark.slow
    def test_a_run_stands_for_its_planner(self, taught):
        config = HierConfig.load("demo")
        found = compare(config, ["gridworld", str(taught.folder)], steps=5)
        assert found.probabilities.shape == (2, len(found.candidates))
        assert found.probabilities.sum(axis=1) == pytest.approx([1, 1])
        assert not np.allclose(*found.probabilities)
        assert found.picture.dtype == np.uint8 and found.picture.ndim == 3

    def test_a_run_without_feedback_is_refused(self, tmp_path):
        RunFolder.create(HierConfig.load("demo"), tmp_path / "run")
        with pytest.raises(RunFolderError, match="none was fine-tuned"):
            compare(HierConfig.load("demo"), ["gridworld", str(tmp_path / "run")])
