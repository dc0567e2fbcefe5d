"""Errors a user can act on: each text names the value, the place and the remedy."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from typing import Any


def place_of(error: BaseException) -> str:
    """The file and line that an error comes from."""
    trace = traceback.extract_tb(error.__traceback__)
    return f"{trace[-1].filename}:{trace[-1].lineno}" if trace else "at an unknown place"


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class UserError(Exception):
    """Base of every error that better input would have avoided.

    The command line prints such an error as one line and exits with status 2.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes an error travels as its text, whatever it was made from.
        return _rebuilt, (type(self), self.args, vars(self))


def _rebuilt(kind: type[UserError], args: tuple[Any, ...], state: dict[str, Any]) -> UserError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class ConfigError(UserError, ValueError):
    """A configuration key or value is wrong."""


class UnknownNameError(ConfigError):
    """A name is not registered; the text gives the nearest that is.

    >>> raise UnknownNameError("planner", "orcale", ["oracle", "random"])
    Traceback (most recent call last):
    ...
    hier.envs.errors.UnknownNameError: unknown planner 'orcale'; did you mean 'oracle'? Known: ...
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, remedy: str = ""):
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        if not remedy:
            remedy = "Known: " + ", ".join(names) if len(names) <= 12 else f"{len(names)} are known"
        super().__init__(f"unknown {what} {name!r}{hint} {remedy}")
        self.nearest = close[0] if close else None


class SimulatorError(UserError, RuntimeError):
    """A simulator could not be built or broke its contract."""


class PerceptionError(UserError, RuntimeError):
    """A frame or an odometry reading is not one the perception understands."""


class NotFiniteError(UserError, FloatingPointError):
    """A reward, a value or a weight is infinite or NaN; the run stops before it spreads."""


class RunFolderError(UserError, RuntimeError):
    """A run folder is missing, incomplete or damaged."""


class UntrustedCodeError(RunFolderError):
    """A run folder names code to be run, or a server to be sent a key, that nobody permitted."""
