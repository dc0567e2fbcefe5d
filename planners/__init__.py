"""Who proposes subgoals: the planner protocol, and planners by name."""

from hier.planners.protocol import Planner, PlannerError, PlannerQuery, PlannerReply
from hier.planners.registry import build_planner, planner_names

__all__ = [
    "Planner",
    "PlannerError",
    "PlannerQuery",
    "PlannerReply",
    "build_planner",
    "planner_names",
]
