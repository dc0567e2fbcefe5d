"""A saved controller is the same again, learns on in the same way, and is nothing but data."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from hier.controllers.build import ACTIONS, ALGORITHMS, build_controller
from hier.controllers.checkpoint import add_member
from hier.controllers.saved import COUNTERS, MEMBER, SavedController, save_controller
from hier.controllers.spaces import describe_space, described_space
from hier.envs.errors import RunFolderError
from hier.envs.tensors import pack, unpack
from tests.controllers.toy_vec_env import ToyVecEnv

OPTIONS = {
    "ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "learning_rate": "lin_1e-3"},
    "a2c": {"n_steps": 8, "use_rms_prop": True},
    "recurrent_ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 1},
    "dqn": {"learning_starts": 10, "buffer_size": 100, "batch_size": 8},
    "sac": {"learning_starts": 10, "buffer_size": 100, "batch_size": 8},
    "td3": {"learning_starts": 10, "buffer_size": 100, "batch_size": 8},
}


class Drift(ToyVecEnv):
    """Two numbers drift; an episode takes five steps. What it shows depends on its steps alone."""

    def __init__(self, action_space, wide=False):
        box = spaces.Box(-1, 1, (3 if wide else 2,), np.float32)
        super().__init__(2, spaces.Dict({"b": box, "a": spaces.Box(-1, 1, (1,))}), action_space)
        self.steps = 0

    def _observe(self):
        size = self.observation_space["b"].shape[0]
        b = np.sin(self.steps + np.arange(2 * size)).reshape(2, size).astype(np.float32)
        return {"b": b, "a": b[:, :1]}

    def reset(self):
        self.steps = 0
        return self._observe()

    def step_wait(self):
        self.steps += 1
        observation, ended = self._observe(), self.steps % 5 == 0
        infos = [{"terminal_observation": {k: v[i] for k, v in observation.items()}}
                 if ended else {} for i in range(2)]  # fmt: skip
        if ended:
            infos[0] |= {"episode": {"r": 1.5, "l": 5, "t": 0.1}, "is_success": True}
        return observation, observation["a"][:, 0].copy(), np.full(2, ended), infos


def drift(name, **kwargs):
    continuous = ACTIONS.get(name) is spaces.Box
    return Drift(spaces.Box(-1, 1, (2,)) if continuous else spaces.Discrete(3), **kwargs)


def built(name, **more):
    options = {**OPTIONS[name], **more.pop("options", {})}
    env = more.pop("env", None) or drift(name)
    settings = {"gamma": 0.9, "seed": 3, "device": "cpu", "net_arch": [8], **more}
    return build_controller(name, env, options=options, **settings)


def tensors(model):
    """Every tensor of weights and optimizers, by its name."""
    found = {}
    for name, state in model.get_parameters().items():
        if "state" in state:
            for number, values in state["state"].items():
                found |= {f"{name}/{number}/{k}": torch.as_tensor(v) for k, v in values.items()}
        else:
            found |= {f"{name}/{key}": value for key, value in state.items()}
    for name in ("log_ent_coef", "ent_coef_tensor"):
        if getattr(model, name, None) is not None:
            found[name] = getattr(model, name).detach()
    return {key: value.clone() for key, value in found.items()}


def assert_same(one, other):
    assert one.keys() == other.keys() and len(one) > 4
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def learn_on(model, steps=40):
    """A sitting after a resumption, as :meth:`hier.run.setup.Setup.resume` begins it."""
    model.set_random_seed(11)
    return model.learn(steps, reset_num_timesteps=False)


@pytest.mark.parametrize("name", ALGORITHMS)
class TestEveryAlgorithm:
    def test_it_is_the_same_again(self, name, tmp_path):
        model = built(name).learn(64)
        save_controller(model, tmp_path / "step.zip")
        again = built(name)
        SavedController(tmp_path / "step.zip").restore(again)
        assert_same(tensors(model), tensors(again))
        for counter in COUNTERS:
            if hasattr(model, counter):
                value = getattr(model, counter)
                assert getattr(again, counter) == value
                assert type(getattr(again, counter)) is type(value)
        assert list(again.ep_info_buffer) == list(model.ep_info_buffer) != []
        assert again.ep_info_buffer.maxlen == model.ep_info_buffer.maxlen
        groups = [m.policy.state_dict() for m in (model, again)]
        assert list(groups[0]) == list(groups[1])

    def test_it_learns_on_as_from_sb3s_own_file(self, name, tmp_path):
        model = built(name).learn(64)
        save_controller(model, tmp_path / "ours.zip")
        model.save(tmp_path / "theirs.zip")
        theirs = type(model).load(tmp_path / "theirs.zip", env=drift(name), device="cpu")
        ours = built(name)
        SavedController(tmp_path / "ours.zip").restore(ours)
        before = tensors(ours)
        assert_same(tensors(learn_on(ours)), tensors(learn_on(theirs)))
        assert ours.num_timesteps == theirs.num_timesteps > model.num_timesteps
        assert any(not torch.equal(before[key], value) for key, value in tensors(ours).items())

    def test_it_acts_without_its_environment(self, name, tmp_path):
        model = built(name).learn(64)
        save_controller(model, tmp_path / "step.zip")
        saved = SavedController(tmp_path / "step.zip")
        again = built(name, env=saved.spaces_alone(2))
        saved.restore(again)
        observation = drift(name).reset()
        first, _ = model.predict(observation, deterministic=True)
        second, _ = again.predict(observation, deterministic=True)
        assert np.array_equal(first, second)

    def test_only_the_networks_are_given_to_another(self, name, tmp_path):
        model, new = built(name).learn(64), built(name)
        save_controller(model, tmp_path / "step.zip")
        SavedController(tmp_path / "step.zip").give_networks(new)
        assert_same(model.policy.state_dict(), new.policy.state_dict())
        assert new.num_timesteps == 0 and not any("exp_avg" in key for key in tensors(new))

    def test_another_shape_is_refused(self, name, tmp_path):
        save_controller(built(name), tmp_path / "step.zip")
        saved = SavedController(tmp_path / "step.zip")
        for other in (built(name, net_arch=[9]), built(name, env=drift(name, wide=True))):
            with pytest.raises(RunFolderError, match=r"step\.zip does not fit this configuration"):
                saved.restore(other)


def test_state_dependent_exploration_is_restored(tmp_path):
    model = built("sac", options={"use_sde": True}).learn(64)
    save_controller(model, tmp_path / "step.zip")
    again = built("sac", options={"use_sde": True})
    SavedController(tmp_path / "step.zip").restore(again)
    assert_same(tensors(model), tensors(again))


def test_a_fixed_entropy_coefficient_is_kept(tmp_path):
    model = built("sac", options={"ent_coef": 0.3}).learn(64)
    save_controller(model, tmp_path / "step.zip")
    again = built("sac", options={"ent_coef": 0.1})
    SavedController(tmp_path / "step.zip").restore(again)
    assert float(again.ent_coef_tensor) == pytest.approx(0.3)


def test_another_algorithm_is_refused(tmp_path):
    save_controller(built("ppo"), tmp_path / "step.zip")
    with pytest.raises(RunFolderError, match="it holds PPO, not A2C"):
        SavedController(tmp_path / "step.zip").restore(built("a2c"))


def test_a_file_of_another_format_is_refused(tmp_path):
    add_member(tmp_path / "new.zip", MEMBER, pack({"format": 2}))
    with pytest.raises(RunFolderError, match="its format is 2 instead of 1"):
        SavedController(tmp_path / "new.zip")
    add_member(tmp_path / "no.zip", "hello", b"world")
    with pytest.raises(RunFolderError, match=r"no\.zip is not a readable checkpoint"):
        SavedController(tmp_path / "no.zip")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=-1),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(5),
        spaces.Box(np.array([-np.inf, 0], np.float32), np.array([1, np.inf], np.float32)),
        spaces.Dict([("z", spaces.Box(0, 255, (3, 4, 4), np.uint8)), ("a", spaces.Discrete(2))]),
    ],
)
def test_spaces_come_back(space):
    again = described_space(unpack(pack(describe_space(space))))
    assert again == space and again.dtype == space.dtype
    if isinstance(space, spaces.Dict):
        assert list(again) == list(space)  # SB3 joins the inputs in this order


def test_a_state_comes_back_with_shared_memory_stored_once():
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "both": [shared, shared], "turned": shared.T, "empty": torch.zeros(0, 2),
        "state": {0: {"step": torch.tensor(2.0)}}, "plain": [1, 0.5, None, True, "a"], "none": {},
    }  # fmt: skip
    again = unpack(pack(tree))
    assert again["plain"] == tree["plain"] and again["none"] == {}
    assert again["state"] == {0: {"step": torch.tensor(2.0)}} and again["empty"].shape == (0, 2)
    assert torch.equal(again["turned"], shared.T)
    assert all(torch.equal(one, shared) for one in again["both"])
    assert len(pack({"x": [shared] * 100})) < len(pack({"x": [shared]})) + 100 * 40
