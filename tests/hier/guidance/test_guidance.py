"""The choice among subgoals: LINVIT and ReAd, from a single question to a whole training."""

import math
import zipfile

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hier import HierConfig, evaluate, load, resume, train
from hier.controllers.checkpoint import add_member
from hier.envs import make_env
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.files import atomic_write
from hier.envs.subgoal import Subgoal
from hier.guidance.actions import build_action_distillation
from hier.guidance.critic import Advantages, Features
from hier.guidance.learning import MEMBER
from hier.guidance.selector import DOUBT, GuidedSelector
from hier.guidance.soft_choice import smoothed_prior, soft_choice
from hier.hierarchy.selection import PlannerSelector
from hier.planners.language.planner import VLMPlanner
from hier.planners.protocol import PlannerQuery, PlannerReply
from hier.run.build import build_env, build_planner_of
from hier.run.folder import RunFolder
from hier.run.setup import open_trained
from hier.run.training import TrainingError

SUBGOALS = [Subgoal("explore"), *(Subgoal("go to", c, "ball") for c in ("red", "green", "blue"))]
LOG_P = np.log([0.4, 0.3, 0.2, 0.1]).astype(np.float32)


class FixedPlanner:
    """Always of one opinion; remembers what it was asked."""

    privileged, version = False, 0

    def __init__(self):
        self.asked = []

    def score(self, queries):
        self.asked.append(list(queries))
        replies = []
        for query in queries:
            log_p = np.array([LOG_P[SUBGOALS.index(g)] for g in query.candidates])
            replies.append(PlannerReply((log_p - np.log(np.exp(log_p).sum())).astype(np.float32)))
        return replies


class FixedCritic:
    """Knows the advantages, by a feature that each candidate has for it."""

    unit, say = 1.0, 1.0

    def __init__(self, values, ready=True, error=0.01):
        self.ready = ready
        self.worth, self.error = np.array(values, np.float64), error

    def advantages(self, candidates, log_probs, half=None):
        p = np.exp(np.asarray(log_probs, np.float64))
        return Advantages(self.worth - p @ self.worth, np.full(len(self.worth), self.error))


class FixedReader:
    """Candidates are told apart by their number."""

    def read(self, planner, queries, replies):
        return [Features(np.eye(4, dtype=np.float32), np.zeros(1, np.float32)) for _ in queries]


def query():
    return PlannerQuery(percept=None, candidates=SUBGOALS, space=None)


def selector(values, *, ready=True, error=0.01, **given):
    return GuidedSelector(FixedCritic(values, ready, error), FixedReader(), **given)


def decide(choice, planner, n=1):
    return choice.decide(planner, [query() for _ in range(n)])


class TestChoice:
    def test_without_a_ready_critic_it_is_the_planners_own_draw(self):
        guided, alone = selector([0, 0, 0, 9], ready=False, rounds=3, seed=4), PlannerSelector(4)
        for _ in range(5):
            one, other = decide(guided, FixedPlanner(), 8), decide(alone, FixedPlanner(), 8)
            assert [d.choice for d in one] == [d.choice for d in other]
            assert all(math.isnan(d.advantage) and d.queries == 1 for d in one)

    @pytest.mark.parametrize("training", [False, True])
    def test_choices_follow_the_soft_optimum(self, training):
        values = np.array([0.0, 0.1, 0.3, 0.2])
        choice = selector(values, kl_coef=0.2, training=training)
        decisions = decide(choice, FixedPlanner(), 20_000)
        share = np.bincount([d.choice for d in decisions], minlength=4) / len(decisions)
        prior = smoothed_prior(LOG_P, DOUBT)
        assert share == pytest.approx(np.exp(soft_choice(prior, values, 0.2)), abs=0.015)
        for d in decisions[:20]:
            assert d.advantage == pytest.approx(values[d.choice] - np.exp(prior) @ values, abs=1e-5)
            assert d.log_probs == pytest.approx(LOG_P, abs=1e-5)
            assert (d.features is not None) == training


class TestRequery:
    def read(self, values, rounds, n=1, error=0.01):
        planner = FixedPlanner()
        choice = selector(values, kl_coef=math.inf, rounds=rounds, error=error)
        return decide(choice, planner, n), planner

    def test_a_bad_proposal_is_questioned_and_not_made_again(self):
        decisions, planner = self.read([-1.0, -1.0, -1.0, 1.0], rounds=3, n=50)
        assert {d.choice for d in decisions} == {3}
        for decision in decisions:
            subgoals = [subgoal for subgoal, _ in decision.proposals]
            assert len(set(subgoals)) == len(subgoals) == decision.queries <= 4
            assert subgoals[-1] == SUBGOALS[3] and decision.proposals[-1][1] > 0
        assert len(planner.asked) == 4  # one call per round for all environments
        for again in planner.asked[1]:
            assert len(again.candidates) == 3

    @pytest.mark.parametrize(
        ("values", "error"), [([0.0, 0.0, 0.0, 0.0], 0.01), ([-1.0, -1.0, -1.0, 1.0], 5.0)]
    )
    def test_a_good_one_is_not_and_no_doubtful_one(self, values, error):
        decisions, planner = self.read(values, rounds=3, n=20, error=error)
        assert all(d.queries == 1 for d in decisions) and len(planner.asked) == 1

    def test_after_the_last_round_the_best_seen_is_taken(self):
        # The mean is pulled up by the last, which two rounds need not reach.
        decisions, _ = self.read([-2.0, -3.0, -4.0, 60.0], rounds=1, n=200)
        for decision in decisions:
            assert decision.queries <= 2
            gains = dict(decision.proposals)
            assert gains[SUBGOALS[decision.choice]] == max(gains.values())

    def test_the_policy_is_that_of_what_is_not_rejected(self):
        values = [0.5, -1.0, 0.5, -1.0]
        decisions, _ = self.read(values, rounds=3, n=20_000)
        share = np.bincount([d.choice for d in decisions], minlength=4) / 20_000
        assert share == pytest.approx([2 / 3, 0, 1 / 3, 0], abs=0.015)
        asked_again = next(d for d in decisions if d.queries > 1)
        assert np.exp(asked_again.policy) == pytest.approx([2 / 3, 0, 1 / 3, 0], abs=1e-6)

    def test_the_planner_is_told_what_was_rejected_and_why(self):
        values = np.array([-1.0, -2.0, -3.0, 30.0])
        mean = np.exp(LOG_P.astype(float)) @ values
        decisions, planner = self.read(values, rounds=3, n=50)
        assert all(not q.rejected and not q.offered for q in planner.asked[0])
        told = [q for asked in planner.asked[1:] for q in asked]
        assert {len(q.rejected) for q in told} == {1, 2, 3}
        for q in told:
            gone = [subgoal for subgoal, _ in q.rejected]
            assert q.offered == SUBGOALS
            assert q.candidates == [g for g in SUBGOALS if g not in gone]
            for subgoal, gain in q.rejected:
                assert gain == pytest.approx(values[SUBGOALS.index(subgoal)] - mean, abs=1e-5)
        # Oldest first, as the decisions have it.
        spoken = [[g for g, _ in decision.proposals] for decision in decisions]
        assert all(
            [g for g, _ in q.rejected] in [t[: len(q.rejected)] for t in spoken] for q in told
        )

    def test_rounds_end_with_the_candidates(self):
        decisions, _ = self.read([-1.0, -1.1, -1.0, -1.0], rounds=9, n=5)
        assert all(d.queries <= 4 for d in decisions)


SMALL = [
    "planner.type=noisy", "planner.options.accuracy=0.5", "total_timesteps=3072", "env.n_envs=8",
    "controller.options.n_steps=32", "eval.episodes=8", "eval.every=0", "eval.videos=1",
    "checkpoint_every=1024", "torch_threads=1", "subgoal.max_duration=8",
]  # fmt: skip
GUIDED = [
    "guidance.soft_choice=true", "guidance.requery_rounds=2",
    "env.id=BabyAI-GoToObj-v0", "env.max_steps=40",
]  # fmt: skip


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "guided"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hier.guidance.critic.FIRST_EPISODES", 3)  # it is a short run
        with pytest.MonkeyPatch.context() as more:
            more.setattr("hier.guidance.selector.REJECTED", 0.0)  # so that some are questioned
            run = train(HierConfig.load("demo", [*SMALL, *GUIDED]), folder=folder, progress=False)
        yield run


@pytest.mark.slow
class TestTraining:
    def test_tensorboard_shows_critic_and_conversation(self, guided):
        events = EventAccumulator(str(guided.folder / "tensorboard"))
        events.Reload()
        scalars = set(events.Tags()["scalars"])
        for name in ("critic_unit", "critic_slope", "critic_say", "critic_explained", "kl",
                     "advantage", "requeries", "overruled"):  # fmt: skip
            assert f"guidance/{name}" in scalars
        assert max(e.value for e in events.Scalars("guidance/requeries")) > 0
        text = (
            events.Tensors("guidance/proposals/text_summary")[-1]
            .tensor_proto.string_val[0]
            .decode()
        )
        assert "advantage" in text and "pursued: **" in text

    def test_what_was_learned_travels_with_the_checkpoint(self, guided):
        trained = open_trained(guided.folder)
        assert trained.guidance is not None and trained.guidance.critic.ready
        assert trained.guidance.critic.episodes > 20
        with zipfile.ZipFile(trained.folder.latest_checkpoint()) as archive:
            assert MEMBER in archive.namelist()
        assert evaluate(guided.folder, episodes=8, progress=False).episodes
        agent = load(guided.folder, overrides=["planner.type=random", "planner.options={}"])
        assert agent.guidance is not None and agent.guidance.critic.ready

    def test_it_can_be_left_out_of_an_evaluation(self, guided):
        plain = open_trained(
            guided.folder, ["guidance.soft_choice=false", "guidance.requery_rounds=0"]
        )
        assert plain.guidance is None

    def test_a_resumed_run_goes_on_with_its_critic(self, guided, tmp_path):
        import shutil

        folder = tmp_path / "run"
        shutil.copytree(guided.folder, folder)
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("3072", "4096"))
        before = open_trained(folder).guidance.critic.episodes
        resume(folder, progress=False)
        assert open_trained(folder).guidance.critic.episodes > before

    def test_a_run_without_guidance_can_be_guided_later(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "total_timesteps=512"])
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        with pytest.warns(UserWarning, match="saved without guidance"):
            later = open_trained(folder, GUIDED)
        assert not later.guidance.critic.ready

    def test_damaged_guidance_is_an_error(self, guided, tmp_path):
        trained = open_trained(guided.folder)
        state = trained.guidance.critic.state_dict()
        trained.guidance.critic.state_dict = lambda: {**state, "lengths": state["lengths"] + 1}
        path = tmp_path / "step.zip"
        trained.model.save(path)
        run = RunFolder.open(guided.folder)
        trained.guidance.save(run, path)
        with pytest.raises(RunFolderError, match="cannot be read"):
            open_trained(guided.folder).guidance.load(run, path)

    def test_a_run_of_an_older_version_opens_with_a_new_critic(self, guided, tmp_path):
        import shutil

        folder = tmp_path / "run"
        shutil.copytree(guided.folder, folder)
        text = (folder / "config.yaml").read_text()
        assert "soft_choice: true" in text
        old = "soft_choice: annealed\n  kl_coef_end: 0.001\n  critic: {gamma: 0.99}"
        (folder / "config.yaml").write_text(text.replace("soft_choice: true", old))
        config = open_trained(folder).config
        assert config.guidance.soft_choice and config.guidance.kl_coef == 0.1

    def test_a_critic_without_an_opinion_changes_nothing(self, tmp_path, monkeypatch):
        """SB3's own result, to the bit, while all guidance weighs nothing."""
        monkeypatch.setattr("hier.guidance.critic.FIRST_EPISODES", 10**9)
        found = []
        for name, more in (("off", GUIDED[2:]), ("silent", GUIDED)):
            config = HierConfig.load("demo", [*SMALL, *more, "total_timesteps=1024"])
            folder = train(config, folder=tmp_path / name, progress=False).folder
            found.append(open_trained(folder).model.policy.state_dict())
        for key, weight in found[0].items():
            assert torch.equal(weight, found[1][key]), key


@pytest.mark.slow
def test_a_flat_twin_is_one_flag(tmp_path):
    config = HierConfig.load(
        "demo",
        [*SMALL, *GUIDED, "guidance.actions=loss", "guidance.value_shaping=1", "planner.type=none",
         "planner.options={}", "total_timesteps=512"],
    )  # fmt: skip
    folder = train(config, folder=tmp_path / "run", progress=False).folder
    assert open_trained(folder).guidance is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("guidance.kl_coef=0", "guidance.kl_coef"),
        ("guidance.kl_coef=-1", "guidance.kl_coef"),
        ("guidance.requery_rounds=11", "guidance.requery_rounds"),
        ("guidance.soft_choice=sometimes", "guidance.soft_choice"),
        ("guidance.doubt=0.2", "guidance.doubt"),
        ("guidance.kl_coeff=1", "kl_coef"),
    ],
)
def test_a_coefficient_out_of_range_is_an_error(override, words):
    with pytest.raises(ConfigError, match=words):
        HierConfig.load("demo", [override])


ACTIONS = [
    *SMALL[2:], "planner.type=vlm", "planner.options={}", "guidance.action_answers=60",
    "total_timesteps=1536",
]  # fmt: skip


class TestActions:
    @pytest.mark.slow
    @pytest.mark.parametrize(("form", "coef"), [("reward", 0.05), ("loss", 5)])
    def test_the_controller_is_drawn_to_the_planners_actions(self, form, coef, tmp_path):
        config = HierConfig.load(
            "demo",
            [*ACTIONS, f"guidance.actions={form}", f"guidance.action_coef={coef}",
             "guidance.action_coef_steps=1024"],
        )  # fmt: skip
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        asked = [e.value for e in events.Scalars("guidance/action_answers")]
        assert asked == sorted(asked) and 40 < asked[-1] <= 60  # a quarter of the rest each time
        coefs = [e.value for e in events.Scalars("guidance/lambda_a")]
        assert coefs[0] == pytest.approx(coef) and coefs[-1] < 0.5 * coef
        assert evaluate(folder, episodes=4, progress=False).episodes
        agent = load(folder)
        env = make_env("BabyAI-UnlockPickup-v0")
        agent.predict(env.reset(seed=1)[0])

    @pytest.mark.slow
    def test_a_resumed_run_asks_no_answer_twice(self, tmp_path, monkeypatch):
        config = HierConfig.load(
            "demo", [*ACTIONS, "guidance.actions=loss", "env.max_steps=60", "eval.episodes=1",
                     "guidance.action_answers=24", "total_timesteps=1024"],
        )  # fmt: skip
        asked = []
        ask = VLMPlanner.action_log_probs

        def counted(planner, queries, *arguments):
            asked.append(len(queries))
            return ask(planner, queries, *arguments)

        monkeypatch.setattr(VLMPlanner, "action_log_probs", counted)
        result = train(config, folder=tmp_path / "run", progress=False)
        spent = sum(asked)
        assert 12 < spent <= 24
        run = RunFolder.open(result.folder)
        checkpoint = run.latest_checkpoint()
        first, again = self.distillation(config), self.distillation(config)
        again.load(run, checkpoint)
        assert first.reference.answers == 0 and again.env.hierarchy.reference is again.reference
        assert again.reference.answers == spent >= again.reference.fitted > 1
        seen = again.env.reset()
        assert not np.array_equal(first.reference.log_probs(seen), again.reference.log_probs(seen))
        with atomic_write(run.config_file) as file:
            file.write_text(config.override("total_timesteps=1280").to_yaml())
        assert resume(result.folder, progress=False).env_steps == 1280
        later = self.distillation(config)
        later.load(run, run.latest_checkpoint())
        assert later.reference.answers == sum(asked) <= 24

    def distillation(self, config):
        planner = build_planner_of(config)
        return build_action_distillation(config, build_env(config, planner), planner)

    def test_a_checkpoint_without_the_answers_or_with_others_says_so(self, tmp_path):
        config = HierConfig.load("demo", [*ACTIONS, "guidance.actions=loss", "env.n_envs=2"])
        run, path = RunFolder(tmp_path), tmp_path / "step.zip"
        distillation = self.distillation(config)
        with zipfile.ZipFile(path, "w"):
            pass
        with pytest.warns(UserWarning, match="asked for anew"):
            distillation.load(run, path)
        add_member(path, "reference.safetensors", b"no such thing")
        with pytest.raises(RunFolderError, match="do not fit this configuration"):
            distillation.load(run, path)

    @pytest.mark.slow
    def test_a_planner_that_knows_no_actions_is_an_error(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "guidance.actions=loss"])
        with pytest.raises(ConfigError, match="does not score actions"):
            train(config, folder=tmp_path / "run", progress=False)


class TestValue:
    def test_shaping_by_the_planners_value_telescopes(self):
        """With it, an episode's discounted pay differs by the first potential alone."""
        config = HierConfig.load("demo", [*ACTIONS, "env.n_envs=2", "env.max_steps=40"])
        pays, first = [], []
        for weight in (0.0, 3.0):
            shaped = config.override(f"guidance.value_shaping={weight}")
            env = build_env(shaped, build_planner_of(shaped))
            env.seed(3)
            env.reset()
            first = [lane.active.decision.value for lane in env.hierarchy.lanes]
            rng, pay, going = np.random.default_rng(0), np.zeros(2), np.ones(2, bool)
            last = np.zeros(2)
            for step in range(40):
                held = [lane.active.decision.value for lane in env.hierarchy.lanes]
                _, rewards, dones, infos = env.step(rng.integers(6, size=2))
                pay += going * rewards * env.gamma**step
                for i in np.flatnonzero(dones & going):
                    if infos[i].get("TimeLimit.truncated"):
                        last[i] = env.gamma ** (step + 1) * held[i]
                going &= ~dones
            assert not going.any()
            pays.append(pay)
        assert pays[1] - pays[0] == pytest.approx(3 * (last - first), abs=1e-4)

    @pytest.mark.slow
    def test_a_planner_without_values_is_an_error(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "guidance.value_shaping=1"])
        with pytest.raises(TrainingError, match="gives no value"):
            train(config, folder=tmp_path / "run", progress=False)
