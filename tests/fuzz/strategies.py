"""What is tried, and what is let through."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from hypothesis import strategies as st

from hier.envs.errors import UserError

numbers = st.integers() | st.floats() | st.sampled_from([-1, 0, 2**31, 2**63, 2**64, 10**400])
leaves = st.none() | st.booleans() | numbers | st.text(max_size=12)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)  # fmt: skip


@contextmanager
def scratch():
    """A folder for one example."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def refusal():
    """The one kind of error that the block may raise, with text that fits a line."""
    try:
        yield
    except UserError as error:
        assert str(error).strip()


@st.composite
def changed(draw, tree):
    """A tree with one value replaced by another, or left out."""
    if draw(st.booleans()) or not isinstance(tree, dict | list) or not tree:
        if isinstance(tree, torch.Tensor) and draw(st.booleans()):
            return tree.flatten()[: draw(st.integers(0, 3))]
        return draw(trees)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key = draw(st.sampled_from(list(copy))) if isinstance(copy, dict) else len(copy) // 2
    if draw(st.integers(0, 4)) == 0:
        del copy[key]
    else:
        copy[key] = draw(changed(copy[key]))
    return copy


@st.composite
def damaged(draw, content):
    """Bytes cut off, overwritten, with some put in, or with a bit flipped."""
    at, some = draw(st.integers(0, len(content))), draw(st.binary(max_size=9))
    kind = draw(st.sampled_from(["cut", "over", "in", "flip"]))
    if kind == "flip":
        bit = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in content[at : at + 1])
        return content[:at] + bit + content[at + 1 :]
    return content[:at] + {"cut": b"", "over": some + content[at + len(some) :],
                           "in": some + content[at:]}[kind]  # fmt: skip
