"""Where a run is logged, and what TensorBoard's tab of custom scalars shows of it."""

from __future__ import annotations

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat, configure

from hier.config import HierConfig
from hier.run.folder import RunFolder
from hier.run.trackers import build_trackers

Charts = dict[str, tuple[str, list[str]]]  # as add_custom_scalars takes them


def run_logger(run: RunFolder, config: HierConfig) -> Logger:
    """SB3's logger to TensorBoard and to the configuration's trackers.

    A new run's TensorBoard page gets its dashboard.

    Raises:
        ConfigError: if a tracker cannot begin.
    """
    new = not run.tensorboard.exists()
    trackers = build_trackers(run, config)
    logger = configure(str(run.tensorboard), ["tensorboard"])
    logger.output_formats += trackers
    for output in logger.output_formats if new else ():
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.add_custom_scalars(layout(config))
    return logger


def layout(config: HierConfig) -> dict[str, Charts]:
    """Charts by category, without what the run does not have.

    Args:
        config: of the run.
    """
    found = {
        "Outcome": {
            "success": _lines("eval/success_rate", "rollout/success_rate"),
            "return: evaluation": _lines("eval/mean_return"),
            "return: training, with subgoal rewards": _lines("rollout/ep_rew_mean"),
        },
        "Share of the wall time": {
            "where it goes": _lines(
                *(f"time/share_{part}" for part in ("planner", "env", "perception", "learning"))
            ),
        },
    }
    if config.planner.type == "none":
        return found
    found["Planner"] = {
        "subgoals completed": _lines("subgoal/completion_rate"),
        "queries per episode": _lines("planner/queries_per_episode"),
    }
    if config.effective_guidance.needs_critic:
        found["Guidance"] = {
            "choices that differ from the planner's": _lines("guidance/overruled"),
            "divergence from the planner": _lines("guidance/kl"),
            "advantage of the choice": _lines("guidance/advantage"),
            "variance that the critic explains": _lines("guidance/critic_explained"),
        }
    if config.feedback.objective != "none":
        found["Feedback"] = {
            "return of subgoals": _lines("feedback/return"),
            "versions and rollbacks": _lines("feedback/version", "feedback/rollbacks"),
            "share of the wall time": _lines("feedback/share"),
        }
    return found


def _lines(*tags: str) -> tuple[str, list[str]]:
    return "Multiline", list(tags)
