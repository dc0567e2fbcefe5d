"""Loading the processor or tokenizer of any model, with clear errors and without log output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from transformers.models.auto import processing_auto
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    PushToHubMixin,
    cached_file,
    logging,
)

from hier.planners.protocol import PlannerError

_WITH_VIDEO = ("image_processor", "tokenizer", "video_processor")
# How transformers and others name a missing package.
_PACKAGE = re.compile(
    r"requires (?:the )?`?([\w-]+)`? (?:library|to be installed)"
    r"|(?:[Pp]ackage|install(?: -U)?) `([\w-]+)`"
    r"|[Mm]issing optional dependencies: ([\w-]+)",
)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of hub id or folder ``name``."""
    return transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def load_processor(name: str, config: Any) -> Any:
    """The processor of hub id or folder ``name``.

    Without torchvision, transformers uses its image processors for Pillow, and no processor at all
    for families that also read videos. Those get a processor for still images here.
    """
    try:
        return transformers.AutoProcessor.from_pretrained(name, trust_remote_code=False)
    except (ImportError, ValueError) as error:
        cls: Any = _class_of(config)
        parts = () if cls is None else cls.get_attributes()
        if "torchvision" not in str(error).lower() or sorted(parts) != sorted(_WITH_VIDEO):
            raise
    found = {
        "image_processor": transformers.AutoImageProcessor.from_pretrained(
            name, trust_remote_code=False
        ),
        "tokenizer": load_tokenizer(name),
        "video_processor": VideoStandIn(),
    }
    settings, _ = cls.get_processor_dict(name)
    return stills_only(cls).from_args_and_dict([found[part] for part in parts], settings)


def refuse_kernels(name: str, config: Any) -> None:
    """Refuse a model whose configuration names compiled code on the hub for its attention.

    Raises:
        PlannerError: if transformers would download and run it.
    """
    parts = [config, *(getattr(config, part, None) for part in config.sub_configs)]
    for part in parts:
        attention = getattr(part, "_attn_implementation", None)
        if attention is not None and "/" in str(attention):
            raise PlannerError(
                f"the config.json of planner model {name!r} names code to download, "
                f"attn_implementation={str(attention)!r}; take that entry out, or choose another "
                "model"
            )


def refuse_pickles(name: str, config: Any) -> None:
    """Refuse a model whose index or configuration names weights that are not safetensors.

    Transformers would read such a file although it was asked for safetensors alone.

    Raises:
        PlannerError: naming the file.
    """
    named = {str(getattr(config, "transformers_weights", None) or SAFE_WEIGHTS_NAME)}
    for index in (SAFE_WEIGHTS_INDEX_NAME, *named):
        if index.endswith(".index.json"):
            with translate_errors(name):
                file = cached_file(name, index, _raise_exceptions_for_missing_entries=False)
                known = {} if file is None else json.loads(Path(file).read_text())
                named |= {str(part) for part in known.get("weight_map", {}).values()}
    for file in sorted(named):
        if not file.endswith((".safetensors", ".safetensors.index.json")):
            raise PlannerError(
                f"planner model {name!r} names the weights {file!r}, which are not safetensors; "
                "pickled weights are not read, ask for a copy in safetensors"
            )


def _class_of(config: Any) -> Any:
    name = processing_auto.PROCESSOR_MAPPING_NAMES.get(config.model_type)
    cls = getattr(transformers, name, None) if name else None
    return None if getattr(cls, "is_dummy", False) else cls


class VideoStandIn(PushToHubMixin):
    """Takes the place of a video processor where torchvision is absent; processes nothing."""

    model_input_names: tuple[str, ...] = ()
    _auto_class = None

    def to_dict(self) -> dict[str, Any]:
        """Nothing to save."""
        return {}


def stills_only(cls: type[Any]) -> type[Any]:
    """A subclass of the processor class ``cls`` that accepts a :class:`VideoStandIn`."""

    def check_argument_for_proper_class(self: Any, name: str, argument: Any) -> Any:
        if isinstance(argument, VideoStandIn):
            return VideoStandIn
        return cls.check_argument_for_proper_class(self, name, argument)

    body = {"check_argument_for_proper_class": check_argument_for_proper_class}
    return type(cls.__name__, (cls,), {**body, "__module__": cls.__module__})


@contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Silence transformers' log output and, unless ``bars``, its progress bars."""
    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn errors of the libraries while they load ``name`` into a :class:`PlannerError`."""
    try:
        yield
    except PlannerError:
        raise
    except SafetensorError as error:
        raise PlannerError(
            f"planner model {name!r} has damaged weights ({error}); copy the checkpoint again"
        ) from error
    except Exception as error:  # tokenizers raises nothing more definite
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        package = _PACKAGE.search(str(error))
        if package or isinstance(error, ImportError):
            needed = next(filter(None, package.groups())).lower() if package else reason
            raise PlannerError(
                f"planner model {name!r} needs {needed}, which is not installed; pip install "
                f"{needed}, or choose another model"
            ) from error
        raise PlannerError(
            f"planner model {name!r} cannot be loaded ({type(error).__name__}: {reason[:200]}); "
            "check the name or folder, and the network for a hub id"
        ) from error
