"""Language models for planning: any hub id or local folder, with or without image input."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.models.auto import modeling_auto

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError
from hier.envs.files import partial_folder, recover_folder, replace_folder
from hier.planners.language.gguf import PACKAGES, converted, names_gguf
from hier.planners.language.processors import (
    load_processor,
    load_tokenizer,
    quiet,
    refuse_kernels,
    refuse_pickles,
    translate_errors,
)
from hier.planners.protocol import PlannerError

VALUE_HEAD = "value_head.safetensors"
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
BUILT_IN = Path(__file__).parent.parent / "checkpoints"  # one folder per built-in planner
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(eq=False)
class PlannerModel:
    """A language model with the processor that makes its inputs.

    Attributes:
        module: the transformers model, or the PEFT model around it.
        processor: its processor, or its tokenizer if it reads text only.
        source: hub id, folder or name that the model was asked for by.
        value_head: linear layer from the prompt's last hidden state to a value; ``None`` without.
        folder: folder or hub id with its files; empty for a model that was made in memory.
        base: what a saved adapter names as its base model; empty for where PEFT found it.
    """

    module: Any
    processor: Any
    source: str
    value_head: nn.Linear | None = None
    folder: str = ""
    base: str = ""
    _copy: Any = field(default=None, repr=False)

    @property
    def network(self) -> Any:
        """The transformers model itself; a LoRA adapter, if any, acts inside it."""
        return self.module.get_base_model() if self.adapted else self.module

    @property
    def adapted(self) -> bool:
        """Whether training changes a LoRA adapter instead of the whole model."""
        return hasattr(self.module, "peft_config")

    @property
    def device(self) -> torch.device:
        """The device of the weights, to which inputs are moved."""
        return self.network.device

    @property
    def family(self) -> str:
        """``model_type`` of the configuration."""
        return str(self.network.config.model_type)

    def add_value_head(self) -> nn.Linear:
        """The value head; where there is none, a new one that answers zero."""
        if self.value_head is None:
            size = self.network.config.get_text_config().hidden_size
            self.value_head = nn.Linear(size, 1, device=self.device)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
        return self.value_head

    def keep_reference(self) -> None:
        """Keep a frozen copy of the present weights for :meth:`reference`.

        With LoRA nothing is copied: the unchanged base model is the reference.
        """
        if not self.adapted:
            self._copy = copy.deepcopy(self.module).requires_grad_(False).eval()

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The frozen reference, for the KL term of fine-tuning; do not change it.

        Raises:
            PlannerError: without LoRA and before :meth:`keep_reference`.
        """
        if self.adapted:
            with self.module.disable_adapter():
                yield self.network
        elif self._copy is not None:
            yield self._copy
        else:
            raise PlannerError(
                f"planner model {self.source!r} has no frozen reference; call keep_reference() "
                "before training, or train a LoRA adapter (planner.options.lora)"
            )

    def take_weights(self, folder: str | Path) -> None:
        """Load into this model the weights that :meth:`save` wrote, of the adapter or of all.

        Raises:
            PlannerError: if the weights are missing, damaged or those of another model.
        """
        if self.adapted:
            from peft import set_peft_model_state_dict

            with translate_errors(str(folder)):
                state = load_file(Path(folder) / ADAPTER_WEIGHTS, str(self.device))
                set_peft_model_state_dict(self.module, state)
            return
        images = hasattr(self.processor, "image_processor")
        other = load_model(folder, images=images, device=str(self.device))
        try:
            self.module.load_state_dict(other.module.state_dict())
        except RuntimeError as error:
            raise PlannerError(
                f"{folder} holds another model than {self.source!r} ({str(error)[:120]}); name "
                "the folder of this run's planner"
            ) from error

    @contextmanager
    def mixed_precision(self) -> Iterator[None]:
        """Let an adapter, whose weights are float32, multiply in its base model's precision.

        PEFT by itself would multiply in float32, which takes longer wherever half precision is
        fast; the weights that learn stay in float32.
        """
        dtype = self.network.dtype
        if not self.adapted or dtype not in (torch.bfloat16, torch.float16):
            yield
            return
        from peft.helpers import disable_input_dtype_casting

        with (
            disable_input_dtype_casting(self.module),
            torch.autocast(self.device.type, dtype=dtype),
        ):
            yield

    def save(
        self, folder: str | Path, card: str = "", more: Mapping[str, str] | None = None
    ) -> None:
        """Write a folder that :func:`load_model` reads, and without LoRA also the Auto classes.

        It holds the weights (safetensors), the processor, the value head and the model card. With
        LoRA it holds the adapter only, which names its base model. An existing folder is replaced
        as a whole; after a failure it is unchanged.

        Args:
            folder: the folder to write.
            card: Markdown text of the model card: command, data, scores, limits.
            more: texts of further files, by file name.

        Raises:
            PlannerError: if the folder cannot be written.
        """
        folder = Path(folder)
        temporary = partial_folder(folder)
        try:
            with quiet():
                self.module.save_pretrained(temporary)
                self.processor.save_pretrained(temporary)
            if self.adapted and self.base:  # as the user named it, not where it was put
                config = json.loads((temporary / ADAPTER).read_text())
                config["base_model_name_or_path"] = self.base
                (temporary / ADAPTER).write_text(json.dumps(config, indent=2))
            if self.value_head is not None:
                state = {k: v.detach().cpu() for k, v in self.value_head.state_dict().items()}
                save_file(state, temporary / VALUE_HEAD)
            for name, text in {"README.md": self._card(card), **(more or {})}.items():
                (temporary / name).write_text(text)
            for file in temporary.rglob("*"):
                if file.is_file():
                    file.chmod(0o644)  # safetensors lets only the owner read its files
                    with open(file, "rb") as written:
                        os.fsync(written.fileno())
            temporary.chmod(0o755)
            replace_folder(temporary, folder)
        except (OSError, SafetensorError) as error:
            raise PlannerError(
                f"the planner cannot be written to {folder} ({error}); what was saved there before "
                "is untouched. Free some disk space, or choose another folder"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _card(self, text: str) -> str:
        sees = hasattr(self.processor, "image_processor")
        return (
            "---\n"
            f"library_name: {'peft' if self.adapted else 'transformers'}\n"
            f"pipeline_tag: {'image-text-to-text' if sees else 'text-generation'}\n"
            f"tags: [planner, hierarchical-reinforcement-learning, {self.family}]\n"
            "---\n\n"
            f"# Subgoal planner ({self.family})\n\n"
            f"{text or f'Saved from {self.source}.'}\n"
        )


def built_in_planner(domain: Domain) -> str:
    """Name of a domain's built-in planner, for :func:`load_model`.

    Raises:
        ConfigError: if the domain has none.
    """
    if not domain.planner:
        raise ConfigError(
            f"the domain {domain.name!r} has no built-in planner; set planner.model to a folder or "
            "a hub id, make a planner with hier pretrain, or choose another planner.type"
        )
    return domain.planner


def folder_of(source: str | Path) -> str:
    """Where the files of a model are: ``source`` itself, unless it names something to look up.

    That is a built-in planner, a package that carries weights, or a GGUF file, which is dequantized
    at its first use. A folder of this name in the working directory takes precedence.

    Raises:
        PlannerError: see :func:`hier.planners.language.gguf.converted`.
        UnknownNameError: for what is nearly a name.
    """
    name = str(source)
    if Path(name).is_dir():
        return name
    if names_gguf(name):
        return str(converted(name))
    built_in = BUILT_IN / name
    if built_in.parent == BUILT_IN and built_in.is_dir():
        return name if Path(name).exists() else str(built_in)
    names = [*PACKAGES, *(folder.name for folder in BUILT_IN.iterdir() if folder.is_dir())]
    if "/" not in name and not Path(name).exists() and get_close_matches(name, names, cutoff=0.7):
        raise UnknownNameError("planner model", name, names)
    return name


def load_model(
    source: str | Path,
    *,
    images: bool,
    dtype: str = "auto",
    device: str = "auto",
    lora: int | str | Mapping[str, Any] | None = None,
    quantization: Mapping[str, Any] | None = None,
) -> PlannerModel:
    """Load a model in ``eval`` mode, with its processor.

    Weights come from safetensors only: nothing is unpickled, and no code from the hub is run.

    Args:
        source: hub id, local folder, folder of a LoRA adapter that names its base model, name of
            a built-in planner (:func:`built_in_planner`), or weights in GGUF: a file, one on the
            hub, or a name of :data:`hier.planners.language.gguf.PACKAGES`.
        images: whether images will be shown (``vlm``) or text only (``llm``).
        dtype: ``auto`` (the checkpoint's own, but ``float32`` on a CPU that would have to emulate
            bfloat16), ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto`` (the GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` ...
        lora: rank of a new adapter on the language model's linear layers, keyword arguments of
            ``peft.LoraConfig``, or a folder with an adapter.
        quantization: keyword arguments of a transformers quantization configuration, such as
            ``{"load_in_4bit": True}``.

    Raises:
        PlannerError: if the model is missing, damaged, of the wrong kind, or needs a package that
            is not installed.
        ConfigError: for an unknown ``dtype`` or ``device``.
    """
    if dtype not in _DTYPES:
        raise UnknownNameError("dtype", dtype, _DTYPES)
    place = _device(device)
    if dtype == "auto" and quantization is None and place.type == "cpu" and not _has_bfloat16():
        dtype = "float32"  # emulated bfloat16 takes four times as long
    recover_folder(Path(source))
    asked, name = str(source), folder_of(source)
    own = folder = Path(name)
    if lora is None and (folder / ADAPTER).is_file() and not (folder / "config.json").is_file():
        lora, asked = name, _base_of(name)
        name = folder_of(asked)
        folder = Path(name)
    config = _load_config(name)
    auto = _auto_class(name, config, images)
    with translate_errors(name):
        processor = load_processor(name, config) if images else load_tokenizer(name)
        if images and not hasattr(processor, "image_processor"):
            raise PlannerError(
                f"planner model {name!r} has no image processor beside its tokenizer; add its "
                "preprocessor_config.json to the folder"
            )
        options: dict[str, Any] = {}
        if quantization is not None:
            from transformers.quantizers.auto import AutoQuantizationConfig

            options["quantization_config"] = AutoQuantizationConfig.from_dict(dict(quantization))
        if place.type != "cpu":
            options["device_map"] = {"": place}
        with quiet(bars=not folder.is_dir()):
            network, report = auto.from_pretrained(
                name,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, together with missing weights
                **options,
            )
    lost = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if lost:
        raise PlannerError(
            f"planner model {name!r} lacks {len(lost)} of its weights or has them in other "
            f"sizes, such as {lost[0]!r}; the folder mixes files of different models, copy the "
            "whole checkpoint again"
        )
    module = network
    if lora is not None:
        module = add_adapter(network, lora)
        if place.type == "cpu":  # where the gradient of torch's fused attention is slower
            network.set_attn_implementation("eager")
    model = PlannerModel(module.eval(), processor, str(source), folder=str(own), base=asked)
    _load_value_head(model, Path(lora if isinstance(lora, str) else name))
    return model


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        raise ConfigError(
            f"planner.options.device is {device!r}; use auto, cpu, cuda or cuda:0"
        ) from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise PlannerError(
            f"planner.options.device is {device!r} but torch {torch.__version__} sees no GPU; "
            "use cpu, or install torch with CUDA"
        )
    return place


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; no where torch is too old to say."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _base_of(folder: str) -> str:
    try:
        base = json.loads((Path(folder) / ADAPTER).read_text())["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        base = None
    if not base:
        raise PlannerError(
            f"{folder}/{ADAPTER} names no base model; give the base as planner.model and "
            "this folder as planner.options.lora"
        )
    return str(base)


def _load_config(name: str) -> Any:
    path = Path(name).expanduser()
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if not path.is_dir() and (looks_local or path.exists()):
        raise PlannerError(
            f"planner model {name!r} is no folder; give a folder saved by save_pretrained, a .gguf "
            "file, or a hub id such as 'HuggingFaceTB/SmolVLM-256M-Instruct'"
        )
    if path.is_dir() and not (path / "config.json").is_file():
        raise PlannerError(
            f"planner model {name!r} holds no config.json, so it is no transformers checkpoint; "
            "give a folder saved by save_pretrained"
        )
    with translate_errors(name):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    refuse_kernels(name, config)
    refuse_pickles(name, config)
    return config


def _auto_class(name: str, config: Any, images: bool) -> Any:
    sees = type(config) in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    writes = type(config) in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    kind = config.model_type
    if images and not sees:
        raise PlannerError(
            f"planner model {name!r} is of type {kind!r}, which takes no images"
            + ("; use planner.type=llm" if writes else ", nor does it write text")
        )
    if not images and not writes:
        raise PlannerError(
            f"planner model {name!r} is of type {kind!r}, which is no text-only model"
            + ("; use planner.type=vlm" if sees else "")
        )
    if getattr(config, "is_encoder_decoder", False):
        raise PlannerError(
            f"planner model {name!r} ({kind}) is an encoder-decoder; candidates are scored with "
            "decoder-only models, choose one of those"
        )
    return transformers.AutoModelForImageTextToText if images else transformers.AutoModelForCausalLM


def add_adapter(network: Any, lora: int | str | Mapping[str, Any]) -> Any:
    """A PEFT model around ``network``; ``lora`` and errors as in :func:`load_model`."""
    try:
        import peft
    except ImportError:
        raise PlannerError("planner.options.lora needs peft; pip install peft") from None
    if isinstance(lora, str):
        if Path(lora).is_dir() and not (Path(lora) / ADAPTER_WEIGHTS).is_file():
            raise PlannerError(
                f"the adapter {lora} holds no {ADAPTER_WEIGHTS}; save it as safetensors, for "
                "pickled weights are not read"
            )
        with translate_errors(lora):
            return peft.PeftModel.from_pretrained(network, lora, is_trainable=True)
    options: dict[str, Any] = (
        {"r": lora, "lora_alpha": 2 * lora} if isinstance(lora, int) else dict(lora)
    )
    options.setdefault("target_modules", _linear_layers(network))
    try:
        return peft.get_peft_model(network, peft.LoraConfig(**options))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"planner.options.lora={lora!r} is refused by peft ({error}); give a rank such as 8, "
            "or keyword arguments of peft.LoraConfig"
        ) from error


def _linear_layers(network: Any) -> str:
    """Regular expression for the linear layers of the text decoder, not the vision encoder."""
    decoder = network.get_decoder()
    prefix = next(name for name, module in network.named_modules() if module is decoder)
    leaves = {
        name.rpartition(".")[2]
        for name, module in decoder.named_modules()
        if isinstance(module, nn.Linear)
    }
    return rf"{re.escape(prefix)}\..*\.({'|'.join(sorted(leaves))})"


def _load_value_head(model: PlannerModel, folder: Path) -> None:
    file = folder / VALUE_HEAD
    if not file.is_file():
        return
    with translate_errors(str(file)):
        model.add_value_head().load_state_dict(load_file(file, str(model.device)))
