"""A reference policy quick enough for every step, distilled from a budget of planner answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from stable_baselines3.common.preprocessing import (
    preprocess_obs,
)
from stable_baselines3.common.utils import get_device
from torch import nn

from hier.controllers.features import INPUTS, SubgoalFeatures
from hier.controllers.guided import check_log_probs, kl_divergence
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.files import atomic_write

_HELD_OUT = 10  # one answer in so many is never trained on
_TARGETS = "log_probs"


class DistillationReport(NamedTuple):
    """How a distillation went, on the answers held out.

    Attributes:
        epochs: passes over the other answers until it stopped.
        kl: mean KL(planner ‖ network) in nats of the weights kept.
        agreement: share of answers whose likeliest action is the network's too.
    """

    epochs: int
    kl: float
    agreement: float


class ReferencePolicy(nn.Module):
    """``π_ref(a|s,g)``: a network like the controller's, distilled from the planner.

    A large planner cannot answer at every step. It answers :attr:`budget` times at most, and this
    network, trained by cross-entropy on those answers, stands in for it everywhere (policy
    distillation, arXiv 1511.06295). Answers may come in portions, with a :meth:`fit` after each,
    so that later ones are about the states that the controller really visits (DAgger, arXiv
    1011.0686). Until the first :meth:`fit` it is near uniform.

    Args:
        observation_space: of the controller; only :data:`.INPUTS` are read.
        n_actions: of the controller.
        budget: most answers it takes, at least 2. About 1 kB of memory each.
        features: keyword arguments of :class:`hier.controllers.features.SubgoalFeatures`.
        seed: of weights and of the order of training.
        device: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        fitted: answers that there were at the last :meth:`fit`.

    Raises:
        ConfigError: for a ``budget`` below 2.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        n_actions: int,
        *,
        budget: int,
        features: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "auto",
    ):
        super().__init__()
        if budget < 2:
            raise ConfigError(f"the reference policy's budget is {budget}; give at least 2 answers")
        self.n_actions, self.budget, self.seed = n_actions, budget, seed
        self.fitted = 0
        self.options = dict(features or {})
        self._space = spaces.Dict({key: observation_space[key] for key in INPUTS})
        self._kept: dict[str, list[NDArray]] = {key: [] for key in (*INPUTS, _TARGETS)}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = SubgoalFeatures(self._space, **self.options)
            self.head = nn.Linear(self.features.features_dim, n_actions)
            nn.init.zeros_(self.head.bias)
            nn.init.orthogonal_(self.head.weight, gain=0.01)  # as SB3's action head
        self._device = get_device(device)
        self.to(self._device)

    @property
    def answers(self) -> int:
        """How many answers it was given."""
        return len(self._kept[_TARGETS])

    @property
    def remaining(self) -> int:
        """How many more it takes."""
        return self.budget - self.answers

    def add(self, observation: Mapping[str, NDArray], log_probs: NDArray[np.float32]) -> None:
        """Take planner answers for the next :meth:`fit`.

        Args:
            observation: batched, as the controller's environment gives it; copied.
            log_probs: ``(n, n_actions)`` log-probabilities of the planner, one row each.

        Raises:
            ConfigError: if there are more than :attr:`remaining`, or they are no distributions.
        """
        log_probs = np.asarray(log_probs, np.float32)
        if log_probs.ndim != 2 or log_probs.shape[1] != self.n_actions:
            raise ConfigError(
                f"planner answers have shape {log_probs.shape}; the reference policy takes (n, "
                f"{self.n_actions}), one log-probability per action"
            )
        check_log_probs(log_probs, "a planner answer for the reference policy")
        if len(log_probs) > self.remaining:
            raise ConfigError(
                f"{len(log_probs)} more planner answers exceed the reference policy's budget of "
                f"{self.budget}, {self.answers} of which are used; ask less or raise the budget"
            )
        for key, batch in (*self._inputs(observation).items(), (_TARGETS, log_probs)):
            assert len(batch) == len(log_probs), key
            self._kept[key].extend(np.array(batch))

    def fit(
        self,
        *,
        max_epochs: int = 100,
        patience: int = 5,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
    ) -> DistillationReport:
        """Train on all answers so far, from the present weights on.

        Every tenth answer is held out. Training stops when the KL on those has not improved for
        ``patience`` epochs, and goes back to the weights that had the lowest. Neighboring answers
        of one episode are alike, so this KL flatters a little.

        Args:
            max_epochs: most passes over the answers.
            patience: epochs without improvement before it stops.
            batch_size: answers per gradient step.
            learning_rate: of Adam.

        Raises:
            ConfigError: with fewer than two answers.
        """
        if self.answers < 2:
            raise ConfigError(
                f"the reference policy has {self.answers} planner answers; add at least 2 first"
            )
        data = {key: torch.from_numpy(np.stack(rows)) for key, rows in self._kept.items()}
        held_out = torch.arange(self.answers) % _HELD_OUT == 0
        held, rest = held_out.nonzero().squeeze(1), (~held_out).nonzero().squeeze(1)
        order = torch.Generator().manual_seed(self.seed)
        optimizer = torch.optim.Adam(self.parameters(), learning_rate)
        best, since, epoch = self._judge(data, held, batch_size), 0, 0
        weights = {key: value.clone() for key, value in self.state_dict().items()}
        while epoch < max_epochs and since < patience:
            epoch, since = epoch + 1, since + 1
            for batch in rest[torch.randperm(len(rest), generator=order)].split(batch_size):
                # Up to the planner's own entropy, which is constant, this is the cross-entropy.
                loss = self._kl(data, batch)[0].mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            now = self._judge(data, held, batch_size)
            if now[0] < best[0]:
                best, since = now, 0
                weights = {key: value.clone() for key, value in self.state_dict().items()}
        self.load_state_dict(weights)
        self.fitted = self.answers
        return DistillationReport(epoch, *best)

    def log_probs(self, observation: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """Log π_ref(a|s,g), ``(n, n_actions)``, for :data:`hier.controllers.guided.REFERENCE`.

        Args:
            observation: batched, as the controller's environment gives it.
        """
        inputs = {key: torch.from_numpy(x) for key, x in self._inputs(observation).items()}
        with torch.no_grad():
            return self(inputs).cpu().numpy()

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """``(n, n_actions)`` log-probabilities from batched raw inputs, channels first."""
        on_device = {key: inputs[key].to(self._device) for key in INPUTS}
        observation = preprocess_obs(on_device, self._space)
        return self.head(self.features(observation)).log_softmax(dim=-1)

    def _inputs(self, observation: Mapping[str, NDArray]) -> dict[str, NDArray]:
        return {key: np.ascontiguousarray(observation[key]) for key in INPUTS}

    def _kl(
        self, data: dict[str, torch.Tensor], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Per row: KL(planner ‖ network), and whether their likeliest actions agree."""
        ours = self({key: data[key][rows] for key in INPUTS})
        planner = data[_TARGETS][rows].to(self._device)
        return kl_divergence(ours, planner, "forward"), ours.argmax(1) == planner.argmax(1)

    def _judge(
        self, data: dict[str, torch.Tensor], rows: torch.Tensor, batch_size: int
    ) -> tuple[float, float]:
        with torch.no_grad():
            parts = [self._kl(data, batch) for batch in rows.split(batch_size)]
        kl, same = (torch.cat(column) for column in zip(*parts, strict=True))
        return float(kl.mean()), float(same.float().mean())

    def save(self, file: str | Path) -> None:
        """Write weights, answers and their count as one safetensors file, whole or not at all."""
        tensors = {
            f"weights.{key}": value.detach().cpu().contiguous()
            for key, value in self.state_dict().items()
        }
        if self.answers:
            for key, rows in self._kept.items():
                tensors[f"answers.{key}"] = torch.from_numpy(np.stack(rows))
        settings = {
            "n_actions": self.n_actions,
            "budget": self.budget,
            "features": self.options,
            "seed": self.seed,
        }
        about = {"settings": json.dumps(settings), "fitted": str(self.fitted)}
        with atomic_write(Path(file)) as temporary:
            save_file(tensors, temporary, about)

    @classmethod
    def load(
        cls, file: str | Path, observation_space: spaces.Dict, device: str = "auto"
    ) -> ReferencePolicy:
        """Read what :meth:`save` wrote; its answers still count against its budget.

        Raises:
            RunFolderError: if the file is missing, damaged, or of another observation space.
        """
        try:
            with safe_open(file, framework="pt") as opened:
                about = opened.metadata()
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            policy = cls(observation_space, **json.loads(about["settings"]), device=device)
            policy.fitted = int(about["fitted"])
            policy.load_state_dict(
                {
                    key.removeprefix("weights."): value
                    for key, value in tensors.items()
                    if key.startswith("weights.")
                }
            )
        except (OSError, SafetensorError, TypeError, KeyError, ValueError, RuntimeError) as error:
            raise RunFolderError(
                f"{file} is no readable reference policy for this observation space "
                f"({type(error).__name__}: {error}); delete it to distill anew"
            ) from error
        for key, kept in policy._kept.items():
            kept.extend(tensors.get(f"answers.{key}", torch.empty(0)).numpy())
        return policy
