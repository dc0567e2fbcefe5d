"""The built-in agent, as suites play it."""

from __future__ import annotations

from hier.run.evaluation import Evaluation, evaluate

PLANNER, ORACLE = "built-in planner", "oracle"
TYPE = {PLANNER: "vlm", ORACLE: "oracle"}  # planner.type by variant


def play(level: str, episodes: int, variant: str = PLANNER) -> Evaluation:
    """Unseen episodes of a level, on one thread.

    Args:
        level: environment id.
        episodes: how many.
        variant: of :data:`TYPE`; who plans for the built-in controller.
    """
    lines = [f"planner.type={TYPE[variant]}", "torch_threads=1"]
    return evaluate(
        "shipped", env_id=level, episodes=episodes, overrides=lines, progress=False, trust_code=True
    )
