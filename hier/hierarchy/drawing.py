"""Decisions as pictures: the domain's scene with candidates, probabilities and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain, Scene
from hier.hierarchy.lanes import Hierarchy
from hier.planners.protocol import PlannerQuery, PlannerReply


def draw_lane(domain: Domain, hierarchy: Hierarchy, env: Any, caption: str) -> NDArray[np.uint8]:
    """What the first lane knows, pursues and chose from, ``(height, width, 3)`` uint8.

    Args:
        domain: of the environment.
        hierarchy: after planning.
        env: the simulator, which draws the level.
        caption: one short line.
    """
    active = hierarchy.lanes[0].active
    decision = active.decision
    return domain.draw_scene(
        Scene(
            hierarchy.tracker.percept(0),
            active.subgoal,
            active.candidates,
            log_probs=decision.log_probs if decision else None,
            advantages=decision.advantages if decision else None,
            caption=caption,
            level=env.render(),
        )
    )


def draw_side_by_side(
    domain: Domain, query: PlannerQuery, replies: Sequence[tuple[str, PlannerReply]]
) -> NDArray[np.uint8]:
    """Several planners' replies to one question, ``(height, width, 3)`` uint8, side by side.

    Args:
        domain: of the question.
        query: the question.
        replies: a caption and a reply each.
    """
    pictures = [
        domain.draw_scene(
            Scene(
                query.percept,
                query.candidates[int(np.argmax(reply.log_probs))],
                query.candidates,
                log_probs=reply.log_probs,
                caption=caption,
            )
        )
        for caption, reply in replies
    ]
    return np.concatenate(pictures, axis=1)
