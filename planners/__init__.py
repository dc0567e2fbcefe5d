"""Who proposes subgoals: the planner protocol, and planners by name."""

from planners.protocol import Planner, PlannerError, PlannerQuery, PlannerReply
from planners.registry import build_planner, planner_names

__all__ = [
    "Planner",
    "PlannerError",
    "PlannerQuery",
    "PlannerReply",
    "build_planner",
    "planner_names",
]
