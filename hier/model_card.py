"""What is said about a pre-trained planner, in the README of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planners.accuracy import Accuracy

_CARD = """\
A LLaVA of {parameters:,} parameters for the {domain} domain. It sees the memory map (15 x 15 cells
around the agent, 120 x 120 pixels), reads the mission and the subgoals tried so far, and names the
next subgoal.

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
```

## Training

`hier pretrain {domain}`, seed {seed}: {steps:,} steps of {batch_size} examples from
{demonstrations:,} states in which the domain's expert was asked for a subgoal{start}. In the
first {sight_steps:,} steps only its encoder learned, to tell what each patch of the map shows: the
code of every cell, and the words for it as the decoder knows them.

The states come from {episodes:,} episodes of the source levels below (level seeds from 0 on) and
{plain_episodes:,} more of the levels as they are. Those of the first kind were changed before they
were played, {variation:g} times as often as the domain's variations would have it: clutter, another
locked door with its key, a mission composed by the domain's own grammar (also of two or three
clauses, or about a goal square), other words. Colours, balls and boxes, and left and right were
exchanged at random. 15 % of the subgoals pursued were drawn by chance, and in every other episode
10 % of the actions, so that it knows states after mistakes.

Then it learned four things at once: the subgoal, the action that serves a subgoal, a description of
the scene ({task_shares[0]:.0%}, {task_shares[1]:.0%} and {task_shares[2]:.0%} of the examples), and
(in `value_head.safetensors`) the discounted return under a perfect controller.

No demonstration and no choice of a setting comes from a held-out level.

## Accuracy

Share of states in which its likeliest subgoal is the expert's, on level seeds from
{first_seed:,} on, and the mean probability it gives the expert's. The states are those in which a
planner is asked while a perfect controller plays on the expert's subgoals; in the last column with
mistakes on the way, as in training.

| level | | states | accuracy | probability | after mistakes |
|---|---|---|---|---|---|
{rows}

## Limits

It knows the words of its domain and the tiles of its levels, and sees seven cells each way. The
expert is not always right, and where two subgoals are equally good one of them counts as wrong.
"""


def model_card(
    settings: Mapping[str, Any],
    counts: dict[str, int],
    measured: Sequence[tuple[str, Accuracy, Accuracy]],
) -> str:
    """The Markdown text of a planner's card: command, data, scores, limits.

    Args:
        settings: of the pre-training, all keys and its domain.
        counts: ``parameters`` and ``demonstrations``.
        measured: per kind of levels, accuracy without mistakes and with them.
    """
    rows = "\n".join(
        f"| {plain.level} | {kind} | {plain.states} | {plain.accuracy:.1%} "
        f"| {plain.probability:.1%} | {after.accuracy:.1%} |"
        for kind, *pair in measured
        for plain, after in zip(*(accuracy.levels for accuracy in pair), strict=True)
    )
    start = "" if settings["start"] is None else ", after an earlier stage of the same kind"
    return _CARD.format(**{**settings, **counts, "start": start, "rows": rows})
