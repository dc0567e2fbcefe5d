"""The hierarchical agent: configure, train, evaluate, watch.

Everything the command line does is one call here:

>>> from hier import HierConfig, train, evaluate, record, load
>>> result = train(HierConfig.load("demo", ["total_timesteps=20000"]))  # doctest: +SKIP
>>> evaluate(result.folder).success_rate  # doctest: +SKIP

Names are imported when first used, so that ``import hier`` stays fast. The folders ``envs``,
``perception``, ``planners`` and ``controllers`` beside this one are imported as ``hier.envs`` etc.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hier.config import HierConfig
    from hier.envs.domain import Domain, Tracker
    from hier.envs.errors import (
        ConfigError,
        PerceptionError,
        RunFolderError,
        SimulatorError,
        UnknownNameError,
        UserError,
    )
    from hier.envs.registry import domain_named, domain_of, env_ids, make_env
    from hier.envs.subgoal import Expert, Percept, Subgoal, SubgoalSpace, SubgoalSyntaxError
    from hier.planners.protocol import Planner, PlannerError, PlannerQuery, PlannerReply
    from hier.planners.registry import build_planner
    from hier.pretraining.config import PretrainConfig
    from hier.pretraining.run import PretrainResult, pretrain, resume_pretraining
    from hier.run.agent import Agent, load
    from hier.run.evaluation import Evaluation, evaluate
    from hier.run.proposals import propose
    from hier.run.recording import record
    from hier.run.training import TrainResult, resume, train

_HOMES = {
    "config": "HierConfig",
    "envs.domain": "Domain Tracker",
    "envs.errors": "ConfigError PerceptionError RunFolderError SimulatorError "
    "UnknownNameError UserError",
    "envs.registry": "domain_named domain_of env_ids make_env",
    "envs.subgoal": "Expert Percept Subgoal SubgoalSpace SubgoalSyntaxError",
    "planners.protocol": "Planner PlannerError PlannerQuery PlannerReply",
    "planners.registry": "build_planner",
    "pretraining.config": "PretrainConfig",
    "pretraining.run": "PretrainResult pretrain resume_pretraining",
    "run.agent": "Agent load",
    "run.evaluation": "Evaluation evaluate",
    "run.proposals": "propose",
    "run.recording": "record",
    "run.training": "TrainResult resume train",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hier' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hier.{_HOME[name]}"), name)
