"""What feedback has in mind, in checkpoints: the planner's weights, its optimizer, the lessons.

A planner folder is replaced whenever the planner has changed, a checkpoint a moment later. What a
run goes on with is therefore in the checkpoint alone. Anchors follow from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hier.feedback.discriminator import Discriminator
from hier.feedback.learner import PlannerLearner
from hier.feedback.lessons import Lesson, lesson_of, written_of
from hier.guidance.critic import Features

MEMBER = "feedback.safetensors"  # in a checkpoint, beside the controller


def lessons_state(lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Lessons as :func:`hier.envs.tensors.pack` takes them."""
    seen = [one.features for one in lessons if one.features is not None]
    return {
        "written": [written_of(one) for one in lessons],
        "half": [one.half for one in lessons],
        "pictures": [len(one.pictures) for one in lessons],
        "png": _joined(np.frombuffer(png, np.uint8) for one in lessons for png in one.pictures),
        "with_features": [one.features is not None for one in lessons],
        "candidates": _joined(features.candidates for features in seen),
        "state": _joined(features.state for features in seen),
        "with_reference": [one.reference is not None for one in lessons],
        "reference": _joined(one.reference for one in lessons if one.reference is not None),
    }


def restored_lessons(state: dict[str, Any]) -> list[Lesson]:
    """The lessons of :func:`lessons_state`.

    Raises:
        ValueError, KeyError, TypeError, StopIteration: if they are damaged.
    """
    png, reference = _parted(state["png"]), _parted(state["reference"])
    candidates, states = _parted(state["candidates"]), _parted(state["state"])
    lessons = []
    for written, half, pictures, seen, referred in zip(
        *(state[key] for key in ("written", "half", "pictures", "with_features", "with_reference")),
        strict=True,
    ):
        one = lesson_of(written, [next(png).tobytes() for _ in range(pictures)])
        one.half, n = int(half), len(one.candidates)
        if seen:
            one.features = Features(next(candidates), next(states))
            if one.features.candidates.shape[:-1] != (n,) or one.features.state.ndim != 1:
                raise ValueError("the features of a lesson are not those of its candidates")
        if referred:
            one.reference = next(reference)
            if one.reference.shape != (n,):
                raise ValueError("the reference of a lesson is not that of its candidates")
        lessons.append(one)
    return lessons


def learner_state(learner: PlannerLearner) -> dict[str, Any]:
    """Weights, optimizer, draws and discriminator, as :func:`hier.envs.tensors.pack` takes them."""
    return {
        "weights": learner.weights(),
        "optimizer": learner.optimizer.state_dict(),
        "draws": learner.draws.bit_generator.state,
        "discriminator": _discriminator_state(learner.discriminator),
    }


def restore_learner(learner: PlannerLearner, state: dict[str, Any]) -> None:
    """Go on from :func:`learner_state`.

    Raises:
        ValueError, KeyError, TypeError, RuntimeError: if it is damaged or of another planner.
    """
    require_alike(state["weights"], learner.weights())
    learner.restore(state["weights"])
    _restore_optimizer(learner.optimizer, state["optimizer"])
    learner.draws.bit_generator.state = state["draws"]
    discriminator, saved = learner.discriminator, state["discriminator"]
    if discriminator is not None and saved is not None:
        network = discriminator.build(int(saved["width"]))
        network.load_state_dict(saved["network"])
        _restore_optimizer(discriminator.optimizer, saved["optimizer"])
        discriminator.draws.bit_generator.state = saved["draws"]


def require_alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Raise ValueError unless two lists of tensors have the same shapes and types."""
    if [(w.shape, w.dtype) for w in some] != [(w.shape, w.dtype) for w in others]:
        raise ValueError("its weights are those of another planner")


def _discriminator_state(discriminator: Discriminator | None) -> dict[str, Any] | None:
    if discriminator is None or discriminator.network is None:
        return None
    norm = next(part for part in discriminator.network.modules() if isinstance(part, nn.LayerNorm))
    return {
        "width": norm.normalized_shape[0],
        "network": discriminator.network.state_dict(),
        "optimizer": discriminator.optimizer.state_dict(),
        "draws": discriminator.draws.bit_generator.state,
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state, with the shapes of its moments checked, which torch does not do."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, moments in state["state"].items():
        for name, moment in moments.items():
            if name != "step" and moment.shape != weights[number].shape:
                raise ValueError(f"the optimizer's {name} of weight {number} has another shape")
    optimizer.load_state_dict(state)


def _joined(arrays: Iterable[NDArray]) -> dict[str, Any]:
    """Arrays as one: a file of safetensors names each tensor, and there are thousands."""
    some = list(arrays)
    flat = np.concatenate([array.ravel() for array in some]) if some else np.zeros(0, np.float32)
    return {"values": torch.from_numpy(flat.copy()), "shapes": [list(one.shape) for one in some]}


def _parted(joined: dict[str, Any]) -> Any:
    """An iterator over the arrays that :func:`_joined` joined."""
    flat, shapes = joined["values"].numpy(), [tuple(shape) for shape in joined["shapes"]]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if sum(sizes) != flat.size or min(sizes, default=0) < 0:
        raise ValueError(f"{flat.size} numbers do not make {len(shapes)} arrays")
    parts = np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []
    return (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
