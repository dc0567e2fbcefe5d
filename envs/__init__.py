"""Simulators behind one interface: environments, observations and subgoal vocabularies."""

from envs.errors import (
    ConfigError,
    PerceptionError,
    RunFolderError,
    SimulatorError,
    UnknownNameError,
    UserError,
)
from envs.registry import domain_of, env_ids, make_env, register, subgoal_space
from envs.subgoal import Expert, Percept, Subgoal, SubgoalSpace, SubgoalSyntaxError

__all__ = [
    "ConfigError",
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
    "domain_of",
    "env_ids",
    "make_env",
    "register",
    "subgoal_space",
]
