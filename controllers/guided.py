"""Action-level guidance: a controller drawn to a reference policy, as two SB3 extension points.

The controller's objective is ``E[Σ γ^t (r_t - λ_a KL(π(·|s_t) ‖ π_ref(·|s_t, g_t)))]``, the action
level of LINVIT (arXiv 2402.16181). The reference travels in the observation, so any environment
can supply it and every SB3 buffer stores it: the key :data:`REFERENCE` holds ``log π_ref(a|s,g)``,
``(n_actions,)`` float32, normalized and finite.

- *Reward form*, :class:`GuidedRolloutBuffer`: subtracts ``λ_a (log π(a|s) - log π_ref(a|s,g))``
  from the rewards before GAE, so the critic learns the regularized value and the agent also looks
  ahead to where it can follow the reference. λ_a is in units of the controller's reward.
- *Loss form*, :class:`GuidedPolicy` ("kickstarting", arXiv 1803.03835; LLM4Teach, arXiv
  2311.13373): adds ``λ_a D(π, π_ref)`` to the loss; the critic learns the plain value. λ_a is in
  units of the advantage as the algorithm sees it: with ``normalize_advantage`` their standard
  deviation is one, so useful weights begin near 10 and are annealed toward 0.1 or zero
  (:class:`AnnealGuidance`).

Both work with PPO and A2C and neither touches their ``train`` or ``collect_rollouts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import MultiInputActorCriticPolicy

from hier.envs.errors import ConfigError, UnknownNameError

REFERENCE = "reference_log_probs"  # observation key: log π_ref(a|s,g), (n_actions,) float32
FORMS = ("reward", "loss")
DIVERGENCES = ("forward", "reverse")


@dataclass(frozen=True, slots=True)
class Guidance:
    """How a controller is guided, for :func:`hier.controllers.build.build_controller`.

    Attributes:
        form: ``reward`` (:class:`GuidedRolloutBuffer`) or ``loss`` (:class:`GuidedPolicy`).
        lambda_a: weight until :class:`AnnealGuidance` changes it.
        divergence: of the loss form, ``forward`` or ``reverse``.
    """

    form: str
    lambda_a: float
    divergence: str = DIVERGENCES[0]


def reference_space(n_actions: int) -> spaces.Box:
    """The space of the observation key :data:`REFERENCE`."""
    return spaces.Box(-np.inf, 0.0, (n_actions,), np.float32)


def check_log_probs(log_probs: NDArray[np.float32], place: str) -> None:
    """Refuse what is no distribution over actions.

    Args:
        log_probs: ``(..., n_actions)``.
        place: where they come from, for the error.

    Raises:
        ConfigError: if some are not finite or their probabilities do not sum to one.
    """
    totals = np.exp(log_probs.astype(np.float64)).sum(axis=-1)
    wrong = ~(np.isfinite(log_probs).all(axis=-1) & (np.abs(totals - 1.0) < 1e-3))
    if wrong.any():
        raise ConfigError(
            f"{place} holds {log_probs[wrong][0].tolist()}; give finite log-probabilities whose "
            "exponentials sum to one"
        )


class GuidedRolloutBuffer(DictRolloutBuffer):
    """SB3's rollout buffer, whose rewards pay for leaving the reference policy.

    Before GAE, ``r_t ← r_t - λ_a (log π(a_t|s_t) - log π_ref(a_t|s_t, g_t))`` with the log π that
    SB3 stored when it acted: a one-sample estimate of the KL, unbiased, whose own gradient needs
    no further term since ``E_π[∇ log π] = 0``. In a one-step problem the optimum is
    ``π* ∝ π_ref exp(r / λ_a)``. With ``lambda_a = 0`` it is SB3's buffer to the bit. One action may
    cost up to ``-λ_a log min π_ref``, so a reference that is quite sure wants a small weight.

    Give it to an algorithm as ``rollout_buffer_class=GuidedRolloutBuffer`` with
    ``rollout_buffer_kwargs={"lambda_a": 0.1}``.

    Args:
        args, kwargs: of SB3's buffer.
        lambda_a: weight, in units of reward per nat; :class:`AnnealGuidance` may change it.

    Raises:
        ConfigError: if the observation has no reference, the actions are not discrete, or
            ``lambda_a`` is negative; when a rollout is complete, if a stored reference is no
            distribution.
    """

    def __init__(self, *args: Any, lambda_a: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        _check_spaces(self.observation_space, self.action_space)
        self.lambda_a = _checked_weight(lambda_a)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray) -> None:
        """SB3's, on the regularized rewards, which ``rewards`` holds afterward."""
        self.rewards -= np.float32(self.lambda_a) * log_ratios(self)
        super().compute_returns_and_advantage(last_values, dones)


def log_ratios(buffer: RolloutBuffer) -> NDArray[np.float32]:
    """``log π(a|s) - log π_ref(a|s,g)`` of the actions in a full buffer, ``(n_steps, n_envs)``.

    Their mean estimates KL(π ‖ π_ref) on the states visited.

    Raises:
        ConfigError: if a stored reference is no distribution.
    """
    assert isinstance(buffer.observations, dict) and not buffer.generator_ready
    reference = buffer.observations[REFERENCE]
    check_log_probs(reference, f"observation[{REFERENCE!r}] (which VecNormalize must leave alone)")
    actions = buffer.actions.astype(np.int64)
    return buffer.log_probs - np.take_along_axis(reference, actions, axis=-1).squeeze(-1)


class GuidedPolicy(MultiInputActorCriticPolicy):
    """SB3's ``MultiInputPolicy``, whose loss includes ``λ_a D(π, π_ref)``.

    D is the mean over the minibatch of, by ``divergence``,

    - ``forward``: ``KL(π_ref ‖ π) = Σ_a π_ref (log π_ref - log π)``, which covers all that the
      reference does. Its gradient is that of the cross-entropy ``-Σ_a π_ref log π``, since the two
      differ by the reference's own entropy; this is kickstarting's loss;
    - ``reverse``: ``KL(π ‖ π_ref) = Σ_a π (log π - log π_ref)``, exact where the reward form
      samples; it may settle on a part of what the reference does.

    In a one-step problem without advantage normalization the optima are
    ``π(a) = λ_a π_ref(a) / (μ - r(a))`` with μ such that it sums to one (forward; as in arXiv
    2007.12509) and ``π ∝ π_ref exp(r / λ_a)`` (reverse).

    How it enters the loss: ``train`` of PPO and A2C offers no place for a further term, but calls
    ``evaluate_actions`` once per minibatch and derives its loss from what that returns. Smuggling
    the term into the returned entropy would need a division by ``ent_coef``, impossible at its
    default of zero, and would spoil the logged entropy. So the returned log-probabilities carry it
    through the backward pass instead: they are passed on unchanged, and when the gradient comes
    back to them, the gradient of ``λ_a D`` joins in. The parameters get exactly
    ``∇(L + λ_a D)``, before clipping, for every ``ent_coef``; ``train/loss`` shows L alone. With
    ``lambda_a = 0`` it is SB3's policy to the bit.

    Args:
        args, kwargs: of SB3's policy.
        lambda_a: weight, in units of the advantage per nat; :class:`AnnealGuidance` may change it.
        divergence: ``forward`` or ``reverse``.

    Raises:
        ConfigError: if the observation has no reference, the actions are not discrete, or
            ``lambda_a`` is negative.
        UnknownNameError: for an unknown ``divergence``.
    """

    def __init__(
        self, *args: Any, lambda_a: float, divergence: str = DIVERGENCES[0], **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        _check_spaces(self.observation_space, self.action_space)
        if divergence not in DIVERGENCES:
            raise UnknownNameError("divergence", divergence, DIVERGENCES)
        self.divergence = divergence
        self.lambda_a = _checked_weight(lambda_a)

    def evaluate_actions(
        self, obs: Any, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """SB3's values, log-probabilities and entropy; the second carries the guidance."""
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        if self.lambda_a:
            # SB3 keeps the distribution it just evaluated.
            assert isinstance(self.action_dist, CategoricalDistribution)
            log_pi = self.action_dist.distribution.logits
            guidance = kl_divergence(log_pi, obs[REFERENCE], self.divergence).mean()
            log_prob = _WithLoss.apply(log_prob, self.lambda_a * guidance)
        return values, log_prob, entropy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"lambda_a": self.lambda_a, "divergence": self.divergence}
        return {**super()._get_constructor_parameters(), **own}


def kl_divergence(log_pi: torch.Tensor, log_reference: torch.Tensor, kind: str) -> torch.Tensor:
    """KL divergence between two policies in nats, ``(n, n_actions)`` twice to ``(n,)``.

    Args:
        log_pi: log π(a|s), normalized.
        log_reference: log π_ref(a|s,g), normalized and finite.
        kind: ``forward``, KL(π_ref ‖ π), or ``reverse``, KL(π ‖ π_ref).
    """
    log_ratio = log_pi - log_reference
    if kind == "forward":
        return -(log_reference.exp() * log_ratio).sum(dim=-1)
    return (log_pi.exp() * log_ratio).sum(dim=-1)


class _WithLoss(torch.autograd.Function):
    """A tensor as it is, whose backward pass also descends on a further scalar loss."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradients[0], gradients[0].new_ones(())


class AnnealGuidance(BaseCallback):
    """Moves λ_a linearly from ``start`` to ``end``, and logs it.

    ``λ_a = start + (end - start) min(1, num_timesteps / steps)``, set as each rollout begins, for
    whichever of :class:`GuidedRolloutBuffer` and :class:`GuidedPolicy` the algorithm has. It
    depends on the count of environment steps alone, so a resumed training goes on where it was.
    LLM4Teach (arXiv 2311.13373) goes from 10 to 0.1.

    Logs ``guidance/lambda_a`` and ``guidance/kl``, the rollout's estimate of KL(π ‖ π_ref).

    Args:
        start: λ_a at step 0.
        end: λ_a from ``steps`` on.
        steps: environment steps, at least 1.

    Raises:
        ConfigError: for a negative weight or ``steps`` below 1; when training starts, if the
            algorithm is not guided.
    """

    def __init__(self, start: float, end: float, steps: int):
        super().__init__()
        self.start, self.end = _checked_weight(start), _checked_weight(end)
        if steps < 1:
            raise ConfigError(f"guidance is annealed over {steps} steps; give at least 1")
        self.steps = steps

    def _init_callback(self) -> None:
        assert isinstance(self.model, OnPolicyAlgorithm)
        parts = (self.model.rollout_buffer, self.model.policy)
        self._guided = [p for p in parts if isinstance(p, GuidedRolloutBuffer | GuidedPolicy)]
        if not self._guided:
            raise ConfigError(
                f"{type(self.model).__name__} has neither GuidedRolloutBuffer nor GuidedPolicy, "
                "so there is no guidance to anneal; build it with one or leave out AnnealGuidance"
            )

    def _on_rollout_start(self) -> None:
        share = min(1.0, self.num_timesteps / self.steps)
        for part in self._guided:
            part.lambda_a = self.start + (self.end - self.start) * share

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, OnPolicyAlgorithm)
        self.logger.record("guidance/lambda_a", self._guided[0].lambda_a)
        self.logger.record("guidance/kl", float(log_ratios(self.model.rollout_buffer).mean()))

    def _on_step(self) -> bool:
        return True


def _checked_weight(lambda_a: float) -> float:
    if not 0.0 <= lambda_a < np.inf:
        raise ConfigError(f"the guidance's lambda_a is {lambda_a}; it must be finite, at least 0")
    return float(lambda_a)


def _check_spaces(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    if not isinstance(action_space, spaces.Discrete):
        raise ConfigError(
            f"guidance compares discrete actions, and the action space is {action_space}; "
            "leave guidance out for this environment"
        )
    assert isinstance(observation_space, spaces.Dict)
    found = observation_space.spaces.get(REFERENCE)
    shape = (int(action_space.n),)
    if found is None or found.shape != shape:
        what = f"has shape {found.shape}" if found else f"is not among {sorted(observation_space)}"
        raise ConfigError(
            f"guidance reads observation[{REFERENCE!r}], which {what}; let the environment give "
            f"log-probabilities of shape {shape}, see hier.controllers.guided.reference_space"
        )
