"""Checkpoints that name classes where they were before ``hier`` was the root still load."""

import base64
import json
import sys
import zipfile

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO, SAC

from hier.config import HierConfig
from hier.controllers.build import build_controller, load_controller
from hier.controllers.guided import GuidedPolicy, GuidedRolloutBuffer
from hier.controllers.hindsight import Hindsight, HindsightReplayBuffer
from hier.controllers.old_names import MOVED, moved_objects
from hier.envs.errors import RunFolderError
from hier.perception.fetch.relabeling import FetchRelabeling
from hier.perception.pointmaze.relabeling import MazeRelabeling
from hier.run.build import build_env
from tests.controllers.bandit import ContextualBandit


class Reach(gym.Env):
    """Nothing but the spaces of continuous control."""

    observation_space = spaces.Dict({"x": spaces.Box(-1, 1, (2,))})
    action_space = spaces.Box(-1, 1, (1,))


def from_pictures():
    return build_controller("ppo", build_env(HierConfig.load("demo"), None), gamma=0.9, seed=0)


def guided_by_loss():
    return PPO(GuidedPolicy, ContextualBandit(), policy_kwargs={"lambda_a": 0.5}, device="cpu")


def guided_by_reward():
    kwargs = {"rollout_buffer_class": GuidedRolloutBuffer}
    kwargs["rollout_buffer_kwargs"] = {"lambda_a": 0.5}
    return PPO("MultiInputPolicy", ContextualBandit(), device="cpu", **kwargs)


def with_hindsight(relabeling):
    kwargs = {"replay_buffer_class": HindsightReplayBuffer, "buffer_size": 10}
    kwargs["replay_buffer_kwargs"] = {"hindsight": Hindsight(0.5, relabeling, 0.9, 1.0, 0.1)}
    return SAC("MultiInputPolicy", Reach(), device="cpu", **kwargs)


MADE = {
    "pictures": (from_pictures, "ppo"),
    "loss": (guided_by_loss, "ppo"),
    "reward": (guided_by_reward, "ppo"),
    "maze": (lambda: with_hindsight(MazeRelabeling()), "sac"),
    "fetch": (lambda: with_hindsight(FetchRelabeling()), "sac"),
}


def renamed(data):
    """The pickled objects of a checkpoint as they were once saved, and the paths they hold."""
    items, paths = json.loads(data), set()
    for item in items.values():
        if isinstance(item, dict) and ":serialized:" in item:
            whole = cloudpickle.loads(base64.b64decode(item[":serialized:"]))
            # By protocol 2, a class is a line for its module and a line for its name.
            content = cloudpickle.dumps(whole, protocol=2)
            for old, new in MOVED.items():
                then, now = ("c{}\n{}\n".format(*p.rsplit(".", 1)).encode() for p in (old, new))
                paths |= {old} if now in content else set()
                content = content.replace(now, then)
            item[":serialized:"] = base64.b64encode(content).decode()
    return json.dumps(items), paths


@pytest.fixture(scope="module", params=MADE)
def saved(request, tmp_path_factory):
    """A controller, its algorithm's name, its checkpoint as of then, and the old paths in it."""
    (build, algorithm), folder = MADE[request.param], tmp_path_factory.mktemp("old")
    model = build()
    model.save(folder / "new.zip")
    with (
        zipfile.ZipFile(folder / "new.zip") as new,
        zipfile.ZipFile(folder / "old.zip", "w") as old,
    ):
        data, paths = renamed(new.read("data"))
        for name in new.namelist():
            old.writestr(name, data if name == "data" else new.read(name))
    return model, algorithm, folder, paths


def test_an_old_checkpoint_is_loaded_as_it_was(saved):
    model, algorithm, folder, paths = saved
    assert paths
    again = load_controller(algorithm, folder / "old.zip", device="cpu")
    assert type(again.policy) is type(model.policy)
    for name, value in model.policy.state_dict().items():
        np.testing.assert_array_equal(value, again.policy.state_dict()[name], err_msg=name)
    if algorithm == "sac":
        kept = model.replay_buffer_kwargs["hindsight"], again.replay_buffer_kwargs["hindsight"]
        assert type(kept[0].relabeling) is type(kept[1].relabeling)
        assert kept[0].share == kept[1].share and kept[0].gamma == kept[1].gamma


def test_a_users_own_module_of_such_a_name_is_left_alone(saved, monkeypatch):
    _, algorithm, folder, _ = saved
    mine = type(sys)("controllers")
    monkeypatch.setitem(sys.modules, "controllers", mine)
    load_controller(algorithm, folder / "old.zip", device="cpu")
    assert sys.modules["controllers"] is mine and "controllers.features" not in sys.modules


def test_a_new_checkpoint_needs_no_help(saved):
    assert moved_objects(saved[2] / "new.zip") == {}
    assert moved_objects(saved[2] / "old.zip")


def test_between_them_the_checkpoints_hold_every_old_path(tmp_path):
    found = set()
    for build, _ in MADE.values():
        build().save(tmp_path / "it.zip")
        with zipfile.ZipFile(tmp_path / "it.zip") as archive:
            found |= renamed(archive.read("data"))[1]
    assert found == set(MOVED)


def test_what_is_no_checkpoint_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(RunFolderError, match=r"no\.zip is not a readable ppo checkpoint"):
        load_controller("ppo", tmp_path / "no.zip")
