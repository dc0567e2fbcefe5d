"""The model card of a pre-trained planner: the README of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hier.planners.accuracy import Accuracy

if TYPE_CHECKING:
    from hier.pretraining.config import PretrainConfig

_HEAD = """\
A LLaVA of {parameters:,} parameters for the domain {domain}. It sees a picture of
{pixels} x {pixels} pixels, reads the mission and the subgoals tried so far, and names the next
subgoal. The picture shows {shown}.

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
```

## Training

`hier pretrain {preset}`, seed {seed}: {steps:,} steps of {batch_size} examples. The examples come
from {demonstrations:,} states in which the domain's expert was asked for a subgoal{start}.{sight}

The states come from {episodes:,} episodes of the source levels below (level seeds from
0 on){plain}.
{varied}15 % of the pursued subgoals were drawn by chance, and in every other episode 10 % of the
actions, so that the planner also learned what to do after mistakes.
{own}
It learned several tasks at once: {tasks}. The value head (`value_head.safetensors`) learned the
discounted return of the scripted controller.

{held_out}

## Accuracy

*Accuracy* is the share of states in which the planner's likeliest subgoal is the expert's.
*Probability* is the mean probability that it gives the expert's subgoal. Level seeds start at
{first_seed:,}. The states are those in which a planner is asked while a scripted controller pursues
the expert's subgoals. The last column is the accuracy in episodes with mistakes, as in training.

| level | kind | states | accuracy | probability | accuracy after mistakes |
|---|---|---|---|---|---|
{rows}
"""
_SIGHT = """ In the
first {sight_steps:,} steps only the encoder learned: to recognize the code of every cell in each
patch of the map, and the words for it."""
_VARIED = """\
The first group was changed before it was played, {variation:g} times as often as the domain's
variations allow: clutter, another locked door with its key, a mission composed by the domain's own
grammar (also of two or three clauses, or about a goal square), other words. Colors, balls and
boxes, and left and right were exchanged at random. """
_OWN = """
In {own_episodes:,} further episodes the planner that training started from pursued its own
subgoals, and the expert answered only (DAgger, Ross et al. 2011).
"""
_SOLVED = """
## Success

Share of {episodes} episodes per level, on the same seeds, that end in success when a scripted
controller pursues the planner's subgoals.

| level | this planner | oracle |
|---|---|---|
{rows}
"""
_LIMITS = """
## Limits

The planner knows only the words of its domain and the look of its levels. The expert is not always
right, and where two subgoals are equally good one of them counts as wrong.
"""


def model_card(
    config: PretrainConfig,
    counts: Mapping[str, int],
    measured: Sequence[tuple[str, Accuracy, Accuracy]],
    solved: Mapping[str, tuple[float, float]],
) -> str:
    """The Markdown text of a planner's card: command, data, scores, limits.

    Args:
        config: of the pre-training.
        counts: ``parameters``, ``demonstrations``, and ``pixels`` a side of the picture.
        measured: per kind of levels, accuracy without mistakes and with them.
        solved: per level the success of this planner and of the oracle; empty if not measured.
    """
    domain, settings = config.domain, config.model_dump()
    rows = "\n".join(
        f"| {plain.level} | {kind} | {plain.states} | {plain.accuracy:.1%} "
        f"| {plain.probability:.1%} | {after.accuracy:.1%} |"
        for kind, *pair in measured
        for plain, after in zip(*(accuracy.levels for accuracy in pair), strict=True)
    )
    held_out = (
        "No demonstration and no choice of a setting comes from a held-out level."
        if config.held_out
        else "No level is held out: accuracy is measured on unseen seeds of the training levels."
    )
    varied = domain.variations().vary is not None and config.variation > 0
    plain = f" and\n{config.plain_episodes:,} more of the levels as they are"
    start = "" if config.start is None else ", after an earlier stage of the same kind"
    card = _HEAD.format(
        **{**settings, **counts, "start": start, "held_out": held_out},
        domain=domain.name,
        preset=config.name.removeprefix("pretrain-"),
        shown=next(iter(domain.pictures.values())),
        sight=_SIGHT.format(**settings) if config.sight_steps else "",
        plain=plain if config.plain_episodes else "",
        varied=_VARIED.format(**settings) if varied else "",
        own=_OWN.format(**settings) if config.own_episodes else "",
        tasks=_tasks(config),
        rows=rows,
    )
    if solved:
        rows = "\n".join(f"| {level} | {us:.0%} | {it:.0%} |" for level, (us, it) in solved.items())
        card += _SOLVED.format(episodes=config.final_episodes, rows=rows)
    return card + _LIMITS


def _tasks(config: PretrainConfig) -> str:
    names = ["the subgoal", "the action that serves a subgoal", "a description of the scene"]
    shares = list(config.task_shares)
    if not config.domain.scripted_controller().actions:
        del names[1], shares[1]
    parts = [
        f"{share / sum(shares):.0%} {name}"
        for name, share in zip(names, shares, strict=True)
        if share
    ]
    return ", ".join(parts)
