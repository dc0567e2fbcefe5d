"""Before a run goes on: what may change, and what came after its checkpoint is dropped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from hier.config import HierConfig
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.files import atomic_write
from hier.run.folder import RunFolder

_FRAME = 16  # bytes around each record of an event file: its length and two checksums


def resumed_config(
    run: RunFolder, step: int, overrides: Sequence[str] = (), *, trust_code: bool = False
) -> HierConfig:
    """The configuration that a run goes on with.

    Args:
        run: what goes on.
        step: of the checkpoint that it goes on from.
        overrides: ``total_timesteps=N``, and keys that do not change what is learned.
        trust_code: run code that its configuration names.

    Raises:
        ConfigError: for a key that cannot change in the middle of a run, or too small an N.
        RunFolderError: if the run is finished.
        UntrustedCodeError: if it names code that is not trusted.
    """
    free = ("total_timesteps", *HierConfig.bookkeeping_keys)
    for key in (text.partition("=")[0].strip() for text in overrides):
        if key not in free:
            raise ConfigError(
                f"{key} cannot change in the middle of a run, only {', '.join(free)} can; to go on "
                f"from its controller in a new run: hier train PRESET controller.start={run.path}"
            )
    config = run.config(overrides, trust_code=trust_code)
    extended = config.total_timesteps != run.config(trust_code=trust_code).total_timesteps
    if extended and config.total_timesteps <= step:
        raise ConfigError(
            f"total_timesteps is {config.total_timesteps}, but {run.path} has already learned from "
            f"{step} steps; give more than that"
        )
    judged = max((entry["env_steps"] for entry in run.evaluations()), default=0)
    if step >= config.total_timesteps <= judged:
        raise RunFolderError(
            f"{run.path} is finished after {step} steps; to extend it: "
            f"hier train --resume {run.path} total_timesteps={2 * step}"
        )
    return config


def rewind(run: RunFolder, step: int) -> None:
    """Drop evaluations, videos and TensorBoard events after ``step``, and what a killed process
    left.

    TensorBoard's own way, ``purge_step``, hides them only from some of its readers.
    """
    run.clear_partial()
    if not step:  # all is begun anew
        for folder in (run.tensorboard, run.planner, run.lessons):
            shutil.rmtree(folder, ignore_errors=True)
    for video in run.videos.glob("step-*-seed-*.gif"):
        number = video.name.split("-")[1]
        if number.isdecimal() and int(number) > step:
            video.unlink()
    with atomic_write(run.evaluations_file) as file:
        kept = [entry for entry in run.evaluations() if entry["env_steps"] <= step]
        file.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
    for events in run.tensorboard.glob("events.out.tfevents.*"):
        _drop_events(events, step)


def _drop_events(events: Path, step: int) -> None:
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    records = RawEventFileLoader(str(events)).Load()  # up to one that was cut off
    kept = []
    for record in records:
        try:
            if Event.FromString(record).step <= step:
                kept.append(record)
        except DecodeError:  # its checksum is right, but it is no event
            continue
    if sum(len(record) + _FRAME for record in kept) == events.stat().st_size:
        return
    with atomic_write(events) as file, open(file, "wb") as target:
        writer = RecordWriter(target)
        for record in kept:
            writer.write(record)
