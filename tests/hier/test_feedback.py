"""Lessons are kept, counted and stored; a real planner learns from them and from nothing else."""

import io
import json
import math
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs import make_env, subgoal_space
from envs.errors import ConfigError, RunFolderError
from hier import HierConfig, evaluate, resume, train
from hier.build import build_planner_of, open_trained
from hier.feedback.learner import FeedbackError, PlannerLearner
from hier.feedback.lessons import (
    FeedbackBuffer,
    Lesson,
    read_lessons,
    write_lessons,
)
from hier.feedback.objectives import AWR, GRPO, Archer, InverseRL, StepDPO
from perception.tracker import make_tracker
from planners import PlannerQuery
from planners.language import VLMPlanner
from planners.pictures import as_png


def lesson(**given):
    defaults = {
        "question": "Mission: go to the red ball\nWhich subgoal now?", "pictures": (),
        "candidates": ("explore", "go to the red ball"), "log_probs": (-0.7, -0.7), "choice": 1,
        "behaviour": -0.7, "reward": 0.0, "discount": 0.5, "duration": 3, "outcome": "done",
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
    planner, space, found = VLMPlanner(device="cpu"), subgoal_space("gridworld"), []
    for seed in (0, 3):
        env = make_env("BabyAI-GoToLocal-v0")
        observation, _ = env.reset(seed=seed)
        tracker = make_tracker("gridworld", 1)
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
                    log_probs=log_probs, choice=choice, behaviour=math.log(1 / len(candidates)),
                    returned=gain, advantage=gain, level=question,
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
    @pytest.mark.parametrize(
        "objective", [AWR(beta=0.2), Archer(), GRPO(), StepDPO()], ids=lambda o: type(o).__name__
    )
    def test_what_pays_becomes_likelier(self, objective, real):
        lessons = tried(real)
        planner, learns = learner(objective)
        before = chance_of_best(planner, lessons)
        report = learns.learn(lessons, 12)
        after = chance_of_best(planner, lessons)
        assert min(after) > 10 * max(before) and report["kl"] > 0 and planner.version == 1

    def test_a_discriminator_leads_too(self, real):
        lessons = tried(real)

        def appeal(some):
            return [
                torch.nn.functional.one_hot(torch.tensor(int(np.argmin(one.log_probs))), 4) * 3.0
                for one in some
            ]

        planner, learns = learner(InverseRL(), appeal=appeal)
        before = chance_of_best(planner, lessons)
        learns.learn(lessons, 12)
        assert min(chance_of_best(planner, lessons)) > 10 * max(before)

    def test_inverse_rl_without_a_discriminator_is_refused(self):
        with pytest.raises(ConfigError, match="give appeal"):
            learner(InverseRL())

    def test_a_heavy_kl_holds_it_at_the_reference(self, real):
        lessons = tried(real)
        planner, learns = learner(Archer(), kl_coef=1000.0, learning_rate=1e-5)
        before = chance_of_best(planner, lessons)
        report = learns.learn(lessons, 6)
        assert report["kl"] < 0.01
        assert chance_of_best(planner, lessons) == pytest.approx(before, abs=0.02)

    def test_with_lora_the_base_stays(self, real):
        planner, learns = learner(Archer(), lora=4)
        module = planner.loaded.module
        base = {k: v.clone() for k, v in module.state_dict().items() if "lora_" not in k}
        learns.learn(tried(real), 3)
        now = module.state_dict()
        assert all(torch.equal(now[key], value) for key, value in base.items())
        assert any(bool(v.any()) for k, v in now.items() if "lora_B" in k)

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
    "planner.type=vlm", "total_timesteps=1536", "env.n_envs=8", "env.max_steps=40",
    "controller.options.n_steps=32", "eval.episodes=2", "eval.every=0", "eval.videos=0",
    "torch_threads=1", "subgoal.max_duration=8", "feedback.objective=awr", "feedback.every=256",
    "feedback.warmup=20", "feedback.updates=2", "feedback.max_share=1", "checkpoint_every=512",
    "feedback.learning_rate=1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    config = HierConfig.load("demo", SMALL)
    return train(config, folder=tmp_path_factory.mktemp("loop") / "run", progress=False)


class TestLoop:
    def test_the_planner_learns_while_the_controller_does(self, taught):
        events = EventAccumulator(str(taught.folder / "tensorboard"))
        events.Reload()
        versions = [e.value for e in events.Scalars("feedback/version")]
        assert versions == sorted(versions) and versions[-1] >= 2
        for name in ("loss", "kl", "entropy", "return", "lessons", "share"):
            assert all(math.isfinite(e.value) for e in events.Scalars(f"feedback/{name}"))
        assert events.Scalars("feedback/kl")[-1].value > 0

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
        config = HierConfig.load("demo", [*SMALL, "feedback.objective=none"])
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        assert not (folder / "planner").exists()

    def test_a_planner_without_weights_is_refused(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "planner.type=oracle"])
        with pytest.raises(ConfigError, match="no weights to fine-tune"):
            train(config, folder=tmp_path / "run", progress=False)
