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
    env = build_env(HierConfig.load("demo", ["env.n_envs=1"]), None)
    return build_controller("ppo", env, gamma=0.9, seed=0, options={"batch_size": 64})


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


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every controller with its checkpoint, its checkpoint as of then, and the old paths in it."""
    found = {}
    for name, (build, _) in MADE.items():
        model, folder = build(), tmp_path_factory.mktemp(name)
        files = folder / "new.zip", folder / "old.zip"
        model.save(files[0])
        with zipfile.ZipFile(files[0]) as new, zipfile.ZipFile(files[1], "w") as old:
            data, paths = renamed(new.read("data"))
            for member in new.namelist():
                old.writestr(member, data if member == "data" else new.read(member))
        found[name] = model, *files, paths
    return found


@pytest.mark.parametrize("name", MADE)
def test_an_old_checkpoint_is_loaded_as_it_was(name, everything, monkeypatch):
    mine = type(sys)("controllers")  # a user's own, which is left alone
    monkeypatch.setitem(sys.modules, "controllers", mine)
    model, _, old, _ = everything[name]
    again = load_controller(MADE[name][1], old, device="cpu")
    assert sys.modules["controllers"] is mine and "controllers.features" not in sys.modules
    assert type(again.policy) is type(model.policy)
    for key, value in model.policy.state_dict().items():
        np.testing.assert_array_equal(value, again.policy.state_dict()[key], err_msg=key)
    if MADE[name][1] == "sac":
        kept, found = (m.replay_buffer_kwargs["hindsight"] for m in (model, again))
        assert type(kept.relabeling) is type(found.relabeling)
        assert (kept.share, kept.gamma) == (found.share, found.gamma)


@pytest.mark.parametrize("name", MADE)
def test_a_new_checkpoint_needs_no_help(name, everything):
    _, new, old, _ = everything[name]
    assert moved_objects(new) == {} and moved_objects(old)


def test_between_them_they_hold_every_old_path(everything):
    assert set().union(*(paths for *_, paths in everything.values())) == set(MOVED)


def test_what_is_no_checkpoint_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(RunFolderError, match=r"no\.zip is not a readable ppo checkpoint"):
        load_controller("ppo", tmp_path / "no.zip")
