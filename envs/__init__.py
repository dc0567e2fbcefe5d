"""Simulators behind one interface: environments, observations, percepts and subgoal vocabularies.

A domain's ``percept.py`` lies here and not in :mod:`hier.perception`, because its subgoal space and
its expert, which lie here too, are defined on percepts. How a percept comes out of an observation
is perception.
"""

from hier.envs.domain import Domain, Scene, batched
from hier.envs.errors import (
    ConfigError,
    PerceptionError,
    RunFolderError,
    SimulatorError,
    UnknownNameError,
    UserError,
)
from hier.envs.registry import domain_named, domain_of, env_ids, make_env
from hier.envs.subgoal import Expert, Percept, Subgoal, SubgoalSpace, SubgoalSyntaxError, normalized

__all__ = [
    "ConfigError",
    "Domain",
    "Expert",
    "Percept",
    "PerceptionError",
    "RunFolderError",
    "Scene",
    "SimulatorError",
    "Subgoal",
    "SubgoalSpace",
    "SubgoalSyntaxError",
    "UnknownNameError",
    "UserError",
    "batched",
    "domain_named",
    "domain_of",
    "env_ids",
    "make_env",
    "normalized",
]
