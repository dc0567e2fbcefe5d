"""The application, and the arguments that several commands take.

Cyclopts makes help, checks, errors with the nearest name and shell completion from the signatures
and docstrings of the commands. Typer has no ``--seeds 0 1 2`` and took more code; argparse has no
completion.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.types import NonNegativeInt

EXIT_INTERRUPTED = 130

app = App(
    name="hier",
    help="Train, evaluate and watch hierarchical agents: a planner proposes subgoals, and an SB3 "
    "controller pursues them from pixels.",
    help_formatter="plain", help_format="plaintext", version_flags=[], result_action="return_value",
    # One line of error, from main, instead of a box; --seeds 0 1 2; no --no-quiet.
    exit_on_error=False, print_error=False, suppress_keyboard_interrupt=False,
    default_parameter=Parameter(consume_multiple=1, negative=(), show_default=lambda x: x or None),
)  # fmt: skip
app.register_install_completion_command(help="Install completion for your shell.")


def settings_of(command: str) -> Any:
    """The class of the configurations that a command takes."""
    if command == "pretrain":
        return import_module("hier.pretraining.config").PretrainConfig
    return import_module("hier.config").HierConfig


def presets(command: str, text: str) -> Parameter:
    """A parameter that is completed with a command's presets."""
    return Parameter(help=text, completer=lambda _: settings_of(command).preset_names())


def keys_of(command: str) -> Parameter:
    """A parameter that is completed with the keys of a command's configuration."""
    return Parameter(
        help="Changed keys of the configuration, written dotted.key=value.",
        completer=lambda _: [f"{key}=" for key, *_ in settings_of(command).key_table()],
    )


def run_folders(_: Any) -> Iterable[str]:
    """Completions of a run."""
    return (str(file.parent) for file in Path().glob("runs/*/config.yaml"))


def level_ids(_: Any) -> Iterable[str]:
    """Completions of a level."""
    return import_module("hier.envs.registry").env_ids()


# What several commands take; the rest is described where it is taken.
Preset = Annotated[str, presets("train", "A preset's name, or a YAML file.")]
Domain = Annotated[str, presets("pretrain", "A domain such as gridworld, or a YAML file.")]
Overrides = Annotated[str, keys_of("train")]
Run = Annotated[
    str,
    Parameter(
        help="A run folder, which hier train made; or a level, for the built-in agent.",
        completer=run_folders,
    ),
]
NewRun = Annotated[str | None, Parameter(help="Run folder to make (runs/NAME-sSEED-TIME).")]
Resume = Annotated[
    str | None, Parameter(help="Run folder to continue, or to extend.", completer=run_folders)
]
Keys = Annotated[bool, Parameter(help="List every key of the configuration, and stop.")]
Quiet = Annotated[bool, Parameter(help="Show no progress.")]
TrustCode = Annotated[
    bool, Parameter(help="Run the code that the run folder names (docs/security.md).")
]
Level = Annotated[str | None, Parameter(help="Play another level.", completer=level_ids)]
FirstSeed = Annotated[NonNegativeInt | None, Parameter(help="First level seed (eval.first_seed).")]
