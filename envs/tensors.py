"""Nested states as one safetensors file: tensors, and the plain values around them as JSON.

Unlike a pickle, such a file cannot hold code: to read it is to read numbers and texts.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load, save

_TREE = "tree"  # entry of the file's header that holds the plain values
_TENSOR, _BY_NUMBER = "$tensor", "$by_number"  # what JSON itself has no words for


def pack(tree: Any) -> bytes:
    """A state as the content of a safetensors file.

    Args:
        tree: dicts with text or whole numbers as keys, lists and tuples, whose leaves are tensors,
            numbers, texts and ``None``. Tuples come back as lists. Tensors that share their memory
            are stored once.

    Raises:
        TypeError: for any other leaf.
    """
    tensors: dict[str, torch.Tensor] = {}
    plain = _split(tree, "", tensors, {})
    return save(tensors, {_TREE: json.dumps(plain)})


def unpack(content: bytes) -> Any:
    """The state that :func:`pack` packed, with its tensors in the CPU's memory.

    Raises:
        safetensors.SafetensorError, ValueError, KeyError, TypeError: if it is damaged.
    """
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return _join(json.loads(header["__metadata__"][_TREE]), tensors)


def _split(tree: Any, name: str, tensors: dict[str, torch.Tensor], known: dict[Any, str]) -> Any:
    """The plain values of ``tree``; its tensors go to ``tensors``, under the way to them."""
    if isinstance(tree, torch.Tensor):
        memory = (tree.data_ptr(), tuple(tree.shape), tree.stride(), tree.dtype)
        if not tree.numel() or memory not in known:
            known[memory] = name
            tensors[name] = tree.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: known[memory]}
    if isinstance(tree, dict):
        parts = {
            key: _split(value, f"{name}/{key}" if name else str(key), tensors, known)
            for key, value in tree.items()
        }
        numbered = bool(parts) and all(isinstance(key, int) for key in parts)
        return {_BY_NUMBER: parts} if numbered else parts
    if isinstance(tree, list | tuple):
        return [_split(value, f"{name}/{i}", tensors, known) for i, value in enumerate(tree)]
    return tree


def _join(plain: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(plain, list):
        return [_join(value, tensors) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if set(plain) == {_TENSOR}:
        return tensors[plain[_TENSOR]]
    if set(plain) == {_BY_NUMBER}:
        return {int(key): _join(value, tensors) for key, value in plain[_BY_NUMBER].items()}
    return {key: _join(value, tensors) for key, value in plain.items()}
