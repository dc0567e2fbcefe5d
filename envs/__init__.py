"""Simulators behind one interface: environments, observations and subgoal vocabularies."""

from envs.domain import Domain
from envs.errors import (
    ConfigError,
    PerceptionError,
    RunFolderError,
    SimulatorError,
    UnknownNameError,
    UserError,
)
from envs.registry import domain_named, domain_of, env_ids, make_env
from envs.subgoal import Expert, Percept, Subgoal, SubgoalSpace, SubgoalSyntaxError

__all__ = [
    "ConfigError",
    "Domain",
    "Expert",
    "Percept",
    "PerceptionError",
    "RunFolderError",
    "SimulatorError",
    "Subgoal",
    "SubgoalSpace",
    "SubgoalSyntaxError",
    "UnknownNameError",
    "UserError",
    "domain_named",
    "domain_of",
    "env_ids",
    "make_env",
]
