"""The hierarchical agent: configure, train, evaluate, watch.

Everything the command line does is one call here:

>>> from hier import HierConfig, train, evaluate, record, load
>>> result = train(HierConfig.load("demo", ["total_timesteps=20000"]))  # doctest: +SKIP
>>> evaluate(result.folder).success_rate  # doctest: +SKIP

Names are imported when first used, so that ``import hier`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hier.agent import Agent, load
    from hier.config import HierConfig
    from hier.evaluation import Evaluation, evaluate
    from hier.pretraining import PretrainConfig, PretrainResult, pretrain, resume_pretraining
    from hier.recording import propose, record
    from hier.training import TrainResult, resume, train

_HOME = {
    "Agent": "agent",
    "Evaluation": "evaluation",
    "HierConfig": "config",
    "PretrainConfig": "pretraining",
    "PretrainResult": "pretraining",
    "TrainResult": "training",
    "evaluate": "evaluation",
    "load": "agent",
    "pretrain": "pretraining",
    "propose": "recording",
    "record": "recording",
    "resume": "training",
    "resume_pretraining": "pretraining",
    "train": "training",
}
__all__ = [
    "Agent",
    "Evaluation",
    "HierConfig",
    "PretrainConfig",
    "PretrainResult",
    "TrainResult",
    "evaluate",
    "load",
    "pretrain",
    "propose",
    "record",
    "resume",
    "resume_pretraining",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hier' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hier.{_HOME[name]}"), name)
