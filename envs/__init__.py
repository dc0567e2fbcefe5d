"""Simulators behind one interface: environments, observations and subgoal vocabularies."""

from hier.envs.domain import Domain
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
