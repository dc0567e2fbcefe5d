"""Transitions go through a checkpoint unchanged."""

import numpy as np
import pytest
import torch

from hier.controllers.build import build_controller
from hier.controllers.checkpoint import add_member
from hier.controllers.replay import MEMBER, SavedReplay
from hier.controllers.saved import save_controller
from hier.envs.errors import RunFolderError
from hier.envs.tensors import pack
from tests.controllers.test_saved import ACTIONS, OPTIONS, Drift


def model_of(name, steps=0, **options):
    from gymnasium import spaces

    action = spaces.Discrete(3) if ACTIONS[name] is spaces.Discrete else spaces.Box(-1, 1, (1,))
    env = Drift(action)
    model = build_controller(
        name, env, gamma=0.9, seed=0, device="cpu", options={**OPTIONS[name], **options}
    )
    return model.learn(steps) if steps else model


@pytest.mark.parametrize("name", ["dqn", "sac", "td3"])
@pytest.mark.parametrize("steps", [40, 140])
def test_the_same_samples_are_drawn_afterward(name, steps, tmp_path):
    model, file = model_of(name, steps), tmp_path / "step-1.zip"
    save_controller(model, file)
    SavedReplay(model.replay_buffer).save(None, file)
    again = model_of(name)
    SavedReplay(again.replay_buffer).load(None, file)
    assert again.replay_buffer.size() == model.replay_buffer.size() == min(steps // 2, 50)
    samples = []
    for buffer in (model.replay_buffer, again.replay_buffer):
        np.random.seed(0)
        samples.append(buffer.sample(64))
    assert torch.equal(samples[0].observations["b"], samples[1].observations["b"])
    assert all(map(torch.equal, samples[0][3:5], samples[1][3:5]))
    assert torch.equal(samples[0].actions, samples[1].actions)


def test_a_large_buffer_is_left_out_with_a_warning(tmp_path):
    model, file = model_of("dqn", 40), tmp_path / "step-1.zip"
    save_controller(model, file)
    with pytest.warns(UserWarning, match="too large for checkpoints"):
        SavedReplay(model.replay_buffer, largest=100).save(None, file)
    with pytest.warns(UserWarning, match="without a replay buffer; it is filled anew"):
        SavedReplay(model.replay_buffer).load(None, file)


def test_another_size_is_refused(tmp_path):
    model, file = model_of("dqn", 140), tmp_path / "step-1.zip"
    save_controller(model, file)
    SavedReplay(model.replay_buffer).save(None, file)
    other = model_of("dqn", buffer_size=60)
    with pytest.raises(RunFolderError, match=r"replay buffer in .*step-1\.zip cannot be read"):
        SavedReplay(other.replay_buffer).load(None, file)
    for state in ({}, {"position": -1, "full": False, "arrays": {}}, {"position": 0, "full": True}):
        file.unlink()
        add_member(file, MEMBER, pack(state))
        with pytest.raises(RunFolderError, match="delete that checkpoint"):
            SavedReplay(other.replay_buffer).load(None, file)
