"""Faults that were found by using the package, as kinds; others have tests beside their module."""

import warnings

import pytest
from minigrid.envs import EmptyEnv

from hier import HierConfig, evaluate, train
from hier.envs.errors import ConfigError
from hier.envs.gridworld.env import GridworldEnv
from hier.planners.endpoint.answers import ChatAnswer
from hier.run.build import build_env, build_model, build_planner_of
from hier.run.curves import read_scalar
from hier.run.folder import RunFolder
from hier.run.levels import shared_seeds
from hier.run.recording import record
from hier.run.setup import open_config

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=2", "total_timesteps=400", "eval.every=0",
    "eval.episodes=1", "eval.videos=0", "torch_threads=1", "planner.type=random",
    "planner.options={}", "controller.net_arch=[8]",
]  # fmt: skip


class TestControllers:
    @pytest.mark.parametrize("line", ["controller.net_arch=[-4]", "controller.device=gpu"])
    def test_what_the_configuration_can_refuse_it_does(self, line):
        with pytest.raises(ConfigError, match=line.partition("=")[0]):
            HierConfig.load("demo", [line])

    @pytest.mark.parametrize(
        "line", ["n_steps=-5", "batch_size=0", "n_epochs=x", "ent_coef=[1]", "policy_kwargs=3"]
    )
    def test_what_the_algorithm_refuses_is_one_line(self, line):
        config = HierConfig.load("demo", [*SMALL, f"controller.options.{line}"])
        env = build_env(config, build_planner_of(config))
        try:
            model = build_model(config, env)
        except ConfigError as error:
            assert "controller" in str(error) and len(str(error).splitlines()) == 1
        else:  # what only the learning refuses
            assert line in ("n_epochs=x", "ent_coef=[1]") and model is not None
        env.close()


class TestSeeds:
    def test_evaluations_never_reach_trainings(self):
        assert next(shared_seeds([1_000_000])) >= 10**9
        for line in ("eval.first_seed=1000000000", "eval.first_seed=999999950"):
            with pytest.raises(ConfigError, match=r"reach those of training .* eval\.first_seed"):
                HierConfig.load("demo", [line])
        HierConfig.load("demo", ["eval.first_seed=999999900", "eval.episodes=100"])

    def test_nor_do_those_of_a_command(self, tmp_path):
        for play in (evaluate, record):
            with pytest.raises(ConfigError, match="reach those of training"):
                play("BabyAI-GoToObjS4-v0", first_seed=10**9, episodes=1)


def test_an_override_of_the_planners_options_keeps_what_it_learned(tmp_path):
    run = RunFolder(tmp_path)
    run.config_file.write_text(HierConfig.load("demo").to_yaml())
    run.planner.mkdir()
    for lines in ([], ["planner.options.batch_size=16"], ["planner.options={}"]):
        assert open_config(run, lines).planner.model == str(run.planner)
    assert open_config(run, ["planner.model=gridworld"]).planner.model == "gridworld"
    assert open_config(run, ["planner.type=random"]).planner.model is None


class Watching(EmptyEnv):
    """A level that reads its own observation, pays at each step, and says what success is."""

    def step(self, action):
        seen, _, terminated, truncated, info = super().step(action)
        assert seen["image"].shape == (7, 7, 3) and seen["mission"] == self.mission
        info = {**info, "is_success": False} if truncated else info
        return seen, 0.25, terminated, truncated, info


def test_a_levels_own_observation_and_its_own_success_count():
    env = GridworldEnv(Watching(size=5, max_steps=2))
    env.reset(seed=0)
    *_, info = env.step(0)
    assert info == {}
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (0.25, False, True)
    assert info == {"is_success": False}


def test_a_server_may_answer_in_parts():
    parts = [{"type": "text", "text": "go to "}, {"type": "text", "text": "the ball"}, 3]
    answer = ChatAnswer.from_completion({"choices": [{"message": {"content": parts}}]})
    assert answer.text == "go to the ball"


@pytest.mark.slow
def test_a2c_leaves_as_many_points_as_ppo(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = HierConfig.load("demo", [*SMALL, "controller.algorithm=a2c"])
        run = RunFolder(train(config, folder=tmp_path / "run", progress=False).folder)
    assert len(read_scalar(run, "time/fps")) >= 15
