"""Muon in single precision."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Jordan et al. 2024), with steps of the size of AdamW's.

    Equals ``torch.optim.Muon(nesterov=True, adjust_lr_fn="match_rms_adamw")`` except for the
    precision. PyTorch's orthogonalizes in bfloat16; on a CPU without that type this takes longer
    than the rest of a gradient step.

    Args:
        params: matrices of hidden layers.
        lr: learning rate, of the size usual for AdamW.
        weight_decay: decoupled from the gradient.
        momentum: in [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                average = state["momentum"].lerp_(weight.grad, 1 - momentum)
                update = orthogonal(weight.grad.lerp(average, momentum))
                weight.mul_(1 - lr * group["weight_decay"])
                weight.add_(update, alpha=-0.2 * lr * max(weight.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximately the nearest orthogonal matrix; its singular values are between 0.7 and 1.2.

    Five Newton-Schulz iterations with the quintic polynomial of the paper.

    Args:
        matrix: ``(m, n)``.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
