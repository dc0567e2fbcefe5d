"""Replay buffers in checkpoints, as arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer

from hier.controllers.checkpoint import add_member, read_member, reading
from hier.envs.tensors import pack, unpack

MEMBER = "replay.safetensors"  # in a checkpoint, beside the controller
LARGEST = 512 * 2**20  # bytes of transitions that are kept; a larger buffer is left out


class SavedReplay:
    """Keeps an off-policy algorithm's transitions (:class:`hier.run.folder.Checkpointed`).

    Episodes that were going on are not: their last transitions stay as they are, without an end.

    Args:
        buffer: SB3's, or one with more arrays by step and environment.
        largest: bytes of transitions, before compression, above which nothing is kept.
    """

    def __init__(self, buffer: ReplayBuffer, largest: int = LARGEST):
        self.buffer, self.largest = buffer, largest

    def save(self, run: Any, checkpoint: Path) -> None:
        """Add the transitions so far to a controller's checkpoint."""
        arrays = {name: array[: self.buffer.size()] for name, array in self._arrays().items()}
        size = sum(array.nbytes for array in arrays.values())
        if size > self.largest:
            warnings.warn(
                "the replay buffer has grown too large for checkpoints and is left out of them; a "
                "resumed run fills it anew (lower controller.options.buffer_size to keep it)",
                stacklevel=2,
            )
            return
        state = {
            "position": self.buffer.pos,
            "full": self.buffer.full,
            "arrays": {name: torch.from_numpy(array) for name, array in arrays.items()},
        }
        add_member(checkpoint, MEMBER, pack(state))

    def load(self, run: Any, checkpoint: Path) -> None:
        """Go on from :meth:`save`; a checkpoint without it leaves all as it is, with a warning.

        Raises:
            RunFolderError: if it cannot be read or does not fit this buffer.
        """
        content = read_member(checkpoint, MEMBER, "a replay buffer; it is filled anew")
        if content is None:
            return
        with reading("the replay buffer", checkpoint):
            self._restore(unpack(content))

    def _restore(self, state: dict[str, Any]) -> None:
        buffer, mine = self.buffer, self._arrays()
        position, full = int(state["position"]), bool(state["full"])
        rows = buffer.buffer_size if full else position
        if not 0 <= position < buffer.buffer_size:
            raise ValueError(f"position {position} of {buffer.buffer_size}")
        saved = {name: tensor.numpy() for name, tensor in state["arrays"].items()}
        if set(saved) != set(mine):
            raise ValueError(f"it holds {sorted(saved)} instead of {sorted(mine)}")
        for name, array in saved.items():
            fitting = (rows, *mine[name].shape[1:])
            if (array.shape, array.dtype) != (fitting, mine[name].dtype):
                raise ValueError(f"{name} is {array.dtype} {array.shape} instead of {fitting}")
        for name, array in saved.items():
            mine[name][:rows] = array
        buffer.pos, buffer.full = position, full

    def _arrays(self) -> dict[str, NDArray]:
        """All arrays by step and environment: observations by key, actions, rewards and so on."""
        shape, found = (self.buffer.buffer_size, self.buffer.n_envs), {}
        for name, value in vars(self.buffer).items():
            for key, array in (value if isinstance(value, dict) else {"": value}).items():
                if isinstance(array, np.ndarray) and array.shape[:2] == shape:
                    found[f"{name}.{key}" if key else name] = array
        return found
