"""What was pursued and what came of it, kept for the planner to learn from."""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.files import atomic_write, check_member
from hier.guidance.critic import Features
from hier.hierarchy.records import discounted_returns
from hier.planners.language.prompts import Prompt

SHARD = 1000  # lessons in a file
_SHARD = re.compile(r"lessons-\d{5,9}\.tar")
_HUGE = 1e30  # no reward and no logarithm of a probability comes near it
_PNG = b"\x89PNG\r\n\x1a\n"  # how a PNG file begins


@dataclass(slots=True)
class Lesson:
    """One closed subgoal as an example for the planner: question, choice and return.

    Attributes:
        question: text that the planner was asked.
        pictures: images that it was shown, as PNG files.
        candidates: sentences that it chose from.
        log_probs: its distribution at that time, log p(g|s) of each candidate.
        choice: index of the one pursued.
        behavior: log-probability with which that was chosen, its own or guidance's.
        reward: R, discounted environment reward over the subgoal's steps.
        discount: γ^τ; 0 if the episode ended with it.
        duration: τ, environment steps.
        outcome: ``done``, ``failed``, ``timeout`` or ``episode end``.
        version: the planner's at that time.
        level: environment id.
        success: whether the episode succeeded.
        group: which episodes it is compared with: those that began alike.
        returned: discounted return from the choice to the episode's end.
        score: discounted return of the whole episode.
        advantage: A(s,g) by the critic of the time, NaN without one.
        features: the choice as the critic sees it; not written to files.
        half: the half of the episodes that it belongs to, 0 or 1; not written either.
        reference: log-probabilities under the frozen reference, once known; not written either.
    """

    question: str
    pictures: tuple[bytes, ...]
    candidates: tuple[str, ...]
    log_probs: tuple[float, ...]
    choice: int
    behavior: float
    reward: float
    discount: float
    duration: int
    outcome: str
    version: int
    level: str = ""
    success: bool = False
    group: str = ""
    returned: float = float("nan")
    score: float = float("nan")
    advantage: float = float("nan")
    features: Features | None = None
    half: int = 0
    reference: NDArray[np.float32] | None = None

    @property
    def prompt(self) -> Prompt:
        """The question with its pictures unpacked."""
        # Of the other formats that Pillow knows, one is a program that it hands to Ghostscript.
        files = (Image.open(io.BytesIO(png), formats=["PNG"]) for png in self.pictures)
        images = tuple(np.asarray(file) for file in files)
        return Prompt.single(self.question, images)


_NOT_IN_JSON = ("pictures", "features", "half", "reference")
_WRITTEN = [field.name for field in fields(Lesson) if field.name not in _NOT_IN_JSON]


class FeedbackBuffer:
    """The newest lessons of whole episodes.

    A lesson waits for its episode to end, for only then is its return known.

    Args:
        capacity: lessons kept.
        staleness: how many versions of the planner a lesson may be old to be drawn; ``None`` for
            any age.

    Raises:
        ConfigError: for a capacity below 1 or a negative staleness.
    """

    def __init__(self, capacity: int, staleness: int | None = None):
        if capacity < 1 or (staleness is not None and staleness < 0):
            raise ConfigError(
                f"a feedback buffer of {capacity} lessons, {staleness} versions old, holds none; "
                "give a capacity of at least 1 and a staleness of at least 0"
            )
        self.staleness = staleness
        self._lessons: deque[Lesson] = deque(maxlen=capacity)
        self._waiting: dict[int, list[Lesson]] = {}

    def __len__(self) -> int:
        return len(self._lessons)

    def __iter__(self) -> Iterator[Lesson]:
        return iter(self._lessons)

    def add(self, lane: int, lesson: Lesson, *, success: bool | None = None) -> list[Lesson]:
        """Take a lesson from an environment; returns the episode's when it ends, else nothing.

        Args:
            lane: the environment.
            lesson: the next of its episode.
            success: how the episode ended with it; ``None`` while it goes on.
        """
        episode = self._waiting.setdefault(lane, [])
        episode.append(lesson)
        if success is None:
            return []
        returns = discounted_returns([(one.reward, one.discount) for one in episode])
        for one, returned in zip(episode, returns, strict=True):
            one.returned, one.score, one.success = returned, returns[0], success
        self._lessons.extend(episode)
        del self._waiting[lane]
        return episode

    def extend(self, lessons: Iterable[Lesson]) -> None:
        """Take lessons of episodes that have ended."""
        self._lessons.extend(lessons)

    def usable(self, version: int) -> list[Lesson]:
        """Lessons young enough for a planner of this version, oldest first."""
        if self.staleness is None:
            return list(self._lessons)
        return [one for one in self._lessons if version - one.version <= self.staleness]


def write_lessons(lessons: Iterable[Lesson], folder: str | Path) -> int:
    """Write lessons as tar files of JSON and PNG members, beside those already there.

    Returns how many files there are now.

    It is the WebDataset layout, so others read it too:
    ``datasets.load_dataset("webdataset", data_files="FOLDER/*.tar")``.
    """
    folder, every = Path(folder), list(lessons)
    first = max((int(name.stem.split("-")[1]) + 1 for name in _shards(folder)), default=0)
    for number, start in enumerate(range(0, len(every), SHARD), first):
        with (
            atomic_write(folder / f"lessons-{number:05d}.tar") as file,
            tarfile.open(file, "w") as archive,
        ):
            for place, lesson in enumerate(every[start : start + SHARD]):
                _put(archive, f"{place:08d}.json", json.dumps(written_of(lesson)).encode())
                for k, png in enumerate(lesson.pictures):
                    _put(archive, f"{place:08d}.{k}.png", png)
    return len(_shards(folder))


def read_lessons(folder: str | Path) -> list[Lesson]:
    """Lessons that :func:`write_lessons` wrote.

    Raises:
        RunFolderError: if there are none, or a file is damaged, or holds links or names that lead
            out of it.
    """
    files = _shards(Path(folder))
    if not files:
        raise RunFolderError(f"{folder} holds no lessons-*.tar; name a folder of stored feedback")
    lessons = []
    for file in files:
        try:
            with tarfile.open(file, "r:") as archive:  # compressed, it could be of any size
                for member in archive:
                    plain = member.isreg() and not member.issparse()
                    check_member(file, member.name, plain=plain)
                lessons += _lessons_of(archive)
        except RunFolderError:
            raise
        except Exception as error:  # whatever a damaged file makes of the reader
            raise RunFolderError(
                f"{file} is damaged ({type(error).__name__}: {error}); delete it to use the others"
            ) from error
    return lessons


def drop_lessons(folder: str | Path, shards: int) -> None:
    """Delete all files of lessons but the first ``shards``."""
    for file in _shards(Path(folder))[shards:]:
        file.unlink()


def _shards(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("lessons-*.tar") if _SHARD.fullmatch(file.name))


def _lessons_of(archive: tarfile.TarFile) -> list[Lesson]:
    about: dict[str, dict[str, Any]] = {}
    pictures: dict[str, list[bytes]] = {}
    for member in archive:
        opened = archive.extractfile(member)
        assert opened is not None
        key, _, kind = member.name.partition(".")
        if kind == "json":
            about[key] = json.loads(opened.read())
        else:
            png = opened.read()
            if not png.startswith(_PNG):
                raise ValueError(f"{member.name} is no PNG file")
            pictures.setdefault(key, []).append(png)
    return [lesson_of(values, pictures.get(key, ())) for key, values in about.items()]


def written_of(lesson: Lesson) -> dict[str, Any]:
    """What files hold of a lesson beside its pictures, as JSON takes it."""
    values = {key: getattr(lesson, key) for key in _WRITTEN}
    return {key: None if value != value else value for key, value in values.items()}  # no NaN


def lesson_of(values: Any, pictures: Iterable[bytes]) -> Lesson:
    """The lesson of :func:`written_of`.

    Args:
        values: what was written.
        pictures: PNG files.

    Raises:
        ValueError, TypeError: if it is not one, or a picture cannot be read.
    """
    if not isinstance(values, dict) or set(values) != set(_WRITTEN):
        raise ValueError("its fields are not those of a lesson")
    for name, value in values.items():
        if not _fits(value, _KINDS[name]):
            raise ValueError(f"{name} is {str(value)[:40]!r}")
    found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    found = {k: math.nan if v is None else v for k, v in found.items()}
    lesson = Lesson(**found, pictures=tuple(pictures))
    if not 0 <= lesson.choice < len(lesson.candidates) == len(lesson.log_probs):
        raise ValueError(f"choice {lesson.choice} of {len(lesson.candidates)} candidates")
    for png in lesson.pictures:
        if not png.startswith(_PNG):
            raise ValueError("a picture is no PNG file")
    try:
        _ = lesson.prompt
    except Exception as error:  # whatever a damaged picture makes of its reader
        raise ValueError(f"a picture cannot be read: {error}") from error
    return lesson


_KINDS = {  # of what is written, by field
    **dict.fromkeys(("question", "outcome", "level", "group"), "text"),
    **dict.fromkeys(("choice", "duration", "version"), "whole"),
    **dict.fromkeys(("behavior", "reward", "discount"), "number"),
    **dict.fromkeys(("returned", "score", "advantage"), "number or none"),
    **{"candidates": "texts", "log_probs": "numbers", "success": "truth"},
}


def _fits(value: Any, kind: str) -> bool:
    if kind in ("texts", "numbers"):
        return isinstance(value, list | tuple) and all(_fits(one, kind[:-1]) for one in value)
    if kind == "number or none" and value is None:
        return True
    if kind.startswith("number"):
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return plain and -math.inf <= float(value) <= _HUGE
    return isinstance(value, {"text": str, "truth": bool, "whole": int}[kind])


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
