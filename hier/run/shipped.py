"""The agents that come with this package: run folders, one for each domain that has one."""

from __future__ import annotations

from pathlib import Path

from hier.config import FITTING, HierConfig
from hier.envs.domain import Domain
from hier.envs.errors import ConfigError
from hier.envs.registry import default_domain, domain_of, env_ids
from hier.run.folder import RunFolder

SHIPPED = "shipped"  # names the agent of the levels' domain where a run may be named


def _parent() -> Path:
    import hier.controllers

    return Path(hier.controllers.__path__[0]) / SHIPPED


def is_shipped(run: RunFolder) -> bool:
    """Whether a run folder is one of this package's, where nothing may be written."""
    return run.path.parent == _parent()


def shipped_run(domain: Domain) -> RunFolder:
    """The run folder of a domain's agent.

    Raises:
        ConfigError: if the domain has none.
    """
    parent = _parent()
    folder = parent / domain.name
    if not folder.is_dir():
        others = ", ".join(sorted(path.name for path in parent.iterdir() if path.is_dir()))
        raise ConfigError(
            f"there is no built-in agent for the domain {domain.name!r}, only for {others}; "
            "train one: hier train"
        )
    return RunFolder.open(folder)


def start_of(config: HierConfig) -> RunFolder | None:
    """The run whose controller a training starts from; ``None`` for new weights.

    Raises:
        RunFolderError: if ``controller.start`` is no run.
        ConfigError: if it asks for a built-in agent of a domain that has none.
    """
    start = config.controller.start
    if start == FITTING:
        return _fitting(config)
    return None if start is None else find_run(start, config.env.ids[0])[0]


def _fitting(config: HierConfig) -> RunFolder | None:
    """The built-in agent, if a run's controller is of its kind: its network, under a planner."""
    if config.planner.type == "none" or config.effective_guidance.actions != "none":
        return None
    if not (_parent() / config.domain.name).is_dir():
        return None
    run = shipped_run(config.domain)
    shape = {"algorithm", "features_dim", "channels", "net_arch"}
    mine, its = (one.controller.model_dump(include=shape) for one in (config, run.config()))
    return run if mine == its else None


def find_run(name: str | Path, env_id: str | None = None) -> tuple[RunFolder, str | None]:
    """A run folder, and the level to play if it is not the run's own.

    Args:
        name: a run's folder; or, for the built-in agent, a level's id, or ``shipped``.
        env_id: the level to play; the run's own, or that of ``name``, when omitted.

    Raises:
        RunFolderError: if there is no such run.
        ConfigError: if there is no built-in agent for the level.
    """
    if not Path(name).exists():
        if str(name) in env_ids():
            return shipped_run(domain_of(str(name))), env_id or str(name)
        if str(name) == SHIPPED:
            return shipped_run(domain_of(env_id) if env_id else default_domain()), env_id
    return RunFolder.open(name), env_id
