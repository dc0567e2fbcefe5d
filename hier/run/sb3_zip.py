"""Controllers to and from Stable-Baselines3's own zip files.

Those hold Python pickles, a format in which a file can carry code that runs when it is read. So a
run writes them on request and never reads them by itself.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file, recursive_setattr

from hier.config import HierConfig
from hier.controllers.checkpoint import is_sb3_zip
from hier.controllers.saved import COUNTERS, save_controller
from hier.controllers.spaces import spaces_alone
from hier.envs.errors import RunFolderError
from hier.envs.files import atomic_write
from hier.run.build import build_env, build_model
from hier.run.folder import RunFolder
from hier.run.setup import open_trained

KEPT_AS = ".sb3"  # what an imported file's name ends with afterward


def export_controller(
    run: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    trust_code: bool = False,
) -> Path:
    """Write a run's controller as the zip file that ``stable_baselines3`` loads.

    Args:
        run: its folder.
        out: the file to write.
        overrides, trust_code: see :func:`hier.run.setup.open_trained`.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
    """
    model = open_trained(run, overrides, trust_code=trust_code).model
    with atomic_write(Path(out)) as file:
        model.save(file)
    return Path(out)


def import_controllers(run: str | Path, *, trust_code: bool = False) -> list[Path]:
    """Convert the checkpoints of an old run, which are Stable-Baselines3's zip files.

    This reads pickles: call it only for files from those whom you trust. It reads no more of them
    than torch's restricted reader does (``weights_only=True``). The hyper-parameters come from the
    run's configuration; the critic of guidance is left behind and starts anew.

    Args:
        run: its folder. Each old file is kept beside the new one, with :data:`KEPT_AS` at the end
            of its name.
        trust_code: run code that the run's configuration names.

    Returns:
        The checkpoints converted.

    Raises:
        RunFolderError: if there is none, or it does not fit the run's configuration.
        UntrustedCodeError: if the configuration names code that is not trusted.
    """
    folder = RunFolder.open(run)
    config = folder.config(trust_code=trust_code)
    old = [file for file in folder.checkpoint_files() if _is_old(file)]
    if not old:
        raise RunFolderError(
            f"{folder.checkpoints} holds no zip file of Stable-Baselines3; there is nothing to "
            "import"
        )
    for file in old:
        model = _read(config, file)
        shutil.copyfile(file, file.with_name(file.name + KEPT_AS))
        with atomic_write(file) as new:
            save_controller(model, new)
    return old


def _is_old(file: Path) -> bool:
    try:
        return is_sb3_zip(file)
    except (OSError, zipfile.BadZipFile):
        return False


def _read(config: HierConfig, file: Path) -> BaseAlgorithm:
    """The controller in an SB3 zip file; of its ``data``, only numbers that are plain JSON."""
    model = _untrained(config)
    try:
        with zipfile.ZipFile(file) as archive:
            data: dict[str, Any] = json.loads(archive.read("data"))
        _, networks, variables = load_from_zip_file(file, device=model.device, load_data=False)
        model.set_parameters(networks, device=model.device)  # type: ignore[arg-type]
        for name, value in (variables or {}).items():
            recursive_setattr(model, f"{name}.data", value.data)  # type: ignore[union-attr]
        for name in COUNTERS:
            if hasattr(model, name):
                setattr(model, name, type(getattr(model, name))(data[name]))
    except Exception as error:  # whatever a damaged file makes of the reader
        raise RunFolderError(
            f"{file} cannot be imported ({type(error).__name__}: {str(error)[:200]}); check that "
            "config.yaml beside its folder is the one that it was trained with"
        ) from error
    return model


def _untrained(config: HierConfig) -> BaseAlgorithm:
    """A new controller of the run; its spaces are those of one of its environments."""
    controller = config.controller.model_copy(update={"hindsight": 0.0, "start": None})
    one = config.model_copy(update={"env": config.env.model_copy(update={"n_envs": 1})})
    env = build_env(one, None)
    spaces = env.observation_space, env.action_space
    env.close()
    return build_model(
        config.model_copy(update={"controller": controller}),
        spaces_alone(*spaces, config.env.n_envs),
    )
