"""Controllers on disk: weights, optimizers and counters as data, without SB3's pickle.

A saved controller holds no classes and no hyper-parameters: the run's configuration says how to
build it (:func:`hier.run.build.build_model`), and then it gets its state back.
"""

from __future__ import annotations

import zipfile
from collections import deque
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.vec_env import VecEnv

from hier.controllers.checkpoint import add_member, find_member, refuse_sb3_zip
from hier.controllers.spaces import describe_space, described_space, spaces_alone
from hier.envs.errors import RunFolderError
from hier.envs.tensors import pack, unpack

MEMBER = "controller.safetensors"  # in a checkpoint
_FORMAT = 1
# What SB3 counts between two trainings; each algorithm has some of these.
COUNTERS = (
    "num_timesteps", "_total_timesteps", "_current_progress_remaining", "_episode_num",
    "_n_updates", "_n_calls", "exploration_rate",
)  # fmt: skip


def save_controller(model: BaseAlgorithm, file: Path) -> None:
    """Write a new checkpoint with the state of a controller.

    Kept are the networks, the optimizers, SB3's counters, and the episodes that its running means
    are of. A replay buffer is kept beside it, see :class:`hier.controllers.replay.SavedReplay`.
    """
    networks, variables = _parts_of(model)
    state = {
        "format": _FORMAT,
        "algorithm": type(model).__name__,
        "spaces": [describe_space(model.observation_space), describe_space(model.action_space)],
        "networks": {name: model.get_parameters()[name] for name in networks},
        "variables": {name: recursive_getattr(model, name) for name in variables},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "episodes": list(model.ep_info_buffer or ()),
        "successes": [bool(success) for success in model.ep_success_buffer or ()],
    }
    with zipfile.ZipFile(file, "w"):
        pass
    add_member(file, MEMBER, pack(state))


def _parts_of(model: BaseAlgorithm) -> tuple[list[str], list[str]]:
    """Names of a controller's networks and optimizers, and of its other tensors."""
    return model._get_torch_save_params()


class SavedController:
    """What :func:`save_controller` wrote.

    Args:
        file: the checkpoint.

    Raises:
        RunFolderError: if it is missing or damaged, or in Stable-Baselines3's own format.
    """

    def __init__(self, file: Path):
        self.file = file
        try:
            refuse_sb3_zip(file)
            content = find_member(file, MEMBER)
            if content is None:
                raise KeyError(f"it holds no {MEMBER}")
            self._state = unpack(content)
            if self._state["format"] != _FORMAT:
                raise ValueError(f"its format is {self._state['format']!r} instead of {_FORMAT}")
            self.algorithm = str(self._state["algorithm"])
            self._spaces = [described_space(about) for about in self._state["spaces"]]
        except RunFolderError:
            raise
        except Exception as error:  # whatever a damaged file makes of the reader
            raise RunFolderError(
                f"{file} is not a readable checkpoint ({type(error).__name__}: {error}); use an "
                "older one from the same folder"
            ) from error

    def spaces_alone(self, n_envs: int) -> VecEnv:
        """Environments with nothing but the spaces that the controller was trained with."""
        observation, action = self._spaces
        return spaces_alone(observation, action, n_envs)

    def restore(self, model: BaseAlgorithm) -> None:
        """Give a new controller this state, to act with or to learn on from.

        Raises:
            RunFolderError: if it is of another algorithm, of other spaces or of another shape.
        """
        if type(model).__name__ != self.algorithm:
            raise self._unfit(f"it holds {self.algorithm}, not {type(model).__name__}")
        if [model.observation_space, model.action_space] != self._spaces:
            raise self._unfit("its observations or actions are others")
        try:
            self._restore(model)
        except Exception as error:  # torch names no common class
            raise self._unfit(f"{type(error).__name__}: {str(error)[:200]}") from error

    def _restore(self, model: BaseAlgorithm) -> None:
        state, (networks, variables) = self._state, _parts_of(model)
        if set(state["networks"]) != {*networks} or set(state["variables"]) != {*variables}:
            raise ValueError(f"it holds {sorted(state['networks'])} instead of {sorted(networks)}")
        model.set_parameters(state["networks"], device=model.device)
        for name in variables:  # only their content, for optimizers hold the tensors themselves
            value = state["variables"][name].to(model.device)
            recursive_setattr(model, f"{name}.data", value)
        for name in COUNTERS:
            if hasattr(model, name):
                kind = type(getattr(model, name))
                setattr(model, name, kind(state["counters"][name]))
        size = model._stats_window_size
        for one in state["episodes"]:
            if not all(isinstance(one[key], int | float) for key in ("r", "l")):
                raise ValueError(f"the episode {one}")
        model.ep_info_buffer = deque(state["episodes"], maxlen=size)
        model.ep_success_buffer = deque(map(bool, state["successes"]), maxlen=size)
        if model.use_sde:
            model.policy.reset_noise()  # type: ignore[operator]

    def give_networks(self, model: BaseAlgorithm) -> None:
        """Give a new controller these networks; its optimizer starts anew.

        Raises:
            RunFolderError: if they have another shape.
        """
        try:
            model.set_parameters({"policy": self._state["networks"]["policy"]}, exact_match=False)
        except Exception as error:  # torch names no common class
            raise self._unfit(f"{type(error).__name__}: {str(error)[:200]}") from error

    def _unfit(self, reason: str) -> RunFolderError:
        return RunFolderError(
            f"the controller in {self.file} does not fit this configuration ({reason}); choose the "
            "algorithm, domain and sizes it was trained with"
        )
