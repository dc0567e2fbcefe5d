"""Exact log-probabilities of a closed set of answers, without generating anything.

The model reads the prompts of all queries once, left-padded, and keeps a key/value cache. The
answers are then scored on that cache in one of three ways that give the same numbers:

- ``tree``: the answers of a query form a token trie, packed into one row. Every shared prefix is
  computed once; an attention mask lets each token see the prompt and its own ancestors, and its
  position is the length of the prompt plus its depth (tree attention as in SpecInfer, Miao et al.
  2023, arXiv 2305.09781). A last token is never fed, only predicted.
- ``expand``: the cache is repeated for each answer. For models whose layers carry more than keys
  and values, and where a sliding window ends inside the prompt.
- ``plain``: the model reads prompt and answer together, one answer at a time. For other models.

A measurement shows which one a model supports, see :func:`strategy_for`. Prompts and answers pass
through the hooks that ``generate`` itself uses (``prepare_inputs_for_generation`` and the two
beside it), so positions, token types and cross-attention follow each family's own rules.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from hier.envs.errors import UserError
from hier.planners.language.prompts import Prompt
from hier.planners.language.token_tree import TokenTree, pack_trees, token_tree
from hier.planners.protocol import PlannerError

Answer = Sequence[int]  # token ids, the end of the turn included
Encode = Callable[[Sequence[Prompt]], Mapping[str, Any]]

STRATEGIES = ("tree", "expand", "plain")
_AGREEMENT = 1e-4  # between strategies, per token
# bfloat16 keeps two to three digits: of logits around 10, and of the sums of unlikely answers.
_AGREEMENT_HALF, _AGREEMENT_HALF_RELATIVE = 0.1, 0.05
_ROWS = 512  # rows of logits normalized at a time, in float32
_strategies: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


class Scores(NamedTuple):
    """The scores of a batch of queries.

    Attributes:
        log_probs: per query ``(n_answers,)`` float32: log p(answer | prompt), the sum over its
            tokens of natural logarithms; not normalized over the answers.
        hidden: ``(n_queries, hidden_size)``, the last hidden state of each prompt's last token,
            if requested.
        states: per query ``(n_answers, hidden_size)``, the last hidden state that predicts each
            answer's last token, the end of the turn, if requested.
    """

    log_probs: list[Tensor]
    hidden: Tensor | None = None
    states: list[Tensor] | None = None


def candidate_log_probs(
    model: Any,
    encode: Encode,
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[Answer]],
    *,
    strategy: str = "auto",
    grad: bool = False,
    hidden: bool = False,
    max_rows: int = 64,
) -> Scores:
    """Score every answer to every prompt.

    Args:
        model: a decoder-only transformers model, without a PEFT wrapper around it.
        encode: from prompts to the model's inputs, left-padded.
        prompts: one per query.
        answers: per query, per candidate, the answer's token ids, none empty.
        strategy: one of :data:`STRATEGIES`, or ``auto`` for the fastest the model supports.
        grad: keep the graph, for fine-tuning; the caller chooses ``train()`` or ``eval()``.
        hidden: also return the last hidden states of prompts and answers.
        max_rows: answers that ``expand`` scores at a time.
    """
    if strategy == "auto":
        strategy = strategy_for(model, encode, prompts[0], answers[0])
    if strategy == "plain":
        return score_naive(model, encode, prompts, answers, grad=grad, hidden=hidden)
    with torch.set_grad_enabled(grad):
        prefix = _read_prompts(model, encode(prompts), hidden)
        trees = [token_tree(tuple(map(tuple, some))) for some in answers]
        if strategy == "tree" and _sees_all(prefix.cache, max(t.depth for t in trees)):
            totals, states = _score_trees(model, prefix, trees)
        else:
            totals, states = _score_expanded(model, prefix, answers, max_rows)
    counts = [len(some) for some in answers]
    by_query = None if states is None else list(states.split(counts))
    return Scores(list(totals.split(counts)), prefix.hidden, by_query)


def score_naive(
    model: Any,
    encode: Encode,
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[Answer]],
    *,
    grad: bool = False,
    hidden: bool = False,
) -> Scores:
    """Score by one full forward pass per answer, without cache and padding: the slow reference."""
    log_probs, at_prompt, at_end = [], [], []
    with torch.set_grad_enabled(grad):
        for prompt, some in zip(prompts, answers, strict=True):
            inputs = dict(encode([prompt]))
            ids = inputs.pop("input_ids")
            length, totals, ends = ids.shape[1], [], []
            for answer in some:
                new = torch.tensor([list(answer)], device=ids.device)
                outputs = model(
                    input_ids=torch.cat([ids, new], dim=1),
                    **_extended(model, inputs, len(answer)),
                    use_cache=False,
                    output_hidden_states=hidden,
                    return_dict=True,
                )
                logits = outputs.logits[0, length - 1 : -1]
                chosen = logits.gather(1, new.T).squeeze(1).float()
                totals.append((chosen - _normalizer(logits)).sum())
                if hidden:
                    ends.append(outputs.hidden_states[-1][0, -2])
            log_probs.append(torch.stack(totals))
            if hidden:
                at_prompt.append(outputs.hidden_states[-1][0, length - 1])
                at_end.append(torch.stack(ends))
    return Scores(log_probs, torch.stack(at_prompt), at_end) if hidden else Scores(log_probs)


def strategy_for(model: Any, encode: Encode, prompt: Prompt, answers: Sequence[Answer]) -> str:
    """The fastest strategy that agrees with :func:`score_naive`; measured once per model object.

    The measurement scores ``prompt`` beside a longer one, so that there is padding, with answers
    that share prefixes and contain one another.

    Raises:
        PlannerError: if :func:`score_naive` fails.

    Warns:
        RuntimeWarning: if the model does not support ``tree``, with the reason.
    """
    known = _strategies.get(model)
    if known is not None:
        return known
    longer = Prompt.single(f"{prompt.question}\n{prompt.question}", prompt.images)
    first, last = tuple(answers[0]), tuple(answers[-1])
    if first == last:  # a single candidate: the trie must branch, or a wrong mask would pass
        last = first[::-1]
    probe = [first, last, first + last, first + first]
    questions, answers_to_each = [prompt, longer], [probe, probe]
    exact = model.dtype in (torch.float32, torch.float64)
    tolerance = max(map(len, probe)) * (_AGREEMENT if exact else _AGREEMENT_HALF)
    relative = 0.0 if exact else _AGREEMENT_HALF_RELATIVE
    try:
        truth = torch.cat(score_naive(model, encode, questions, answers_to_each).log_probs)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise PlannerError(
            f"{type(model).__name__} cannot read its processor's prompts "
            f"({type(error).__name__}: {error}); the folder mixes files of different models"
        ) from error
    found, faults = "plain", []
    for strategy in ("tree", "expand"):
        try:
            scores = candidate_log_probs(
                model, encode, questions, answers_to_each, strategy=strategy
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            faults.append(f"{strategy!r} fails ({type(error).__name__}: {str(error)[:80]})")
            continue
        difference = float((torch.cat(scores.log_probs) - truth).abs().max())
        if difference <= max(tolerance, relative * float(truth.abs().max())):  # false for NaN
            found = strategy
            break
        faults.append(f"{strategy!r} is off by {difference:.2g}")
    if faults:
        warnings.warn(
            f"{type(model).__name__} scores candidates by {found!r}, which is slower: "
            + ", ".join(faults),
            RuntimeWarning,
            stacklevel=3,
        )
    _strategies[model] = found
    return found


class _Prefix(NamedTuple):
    """What a pass over the answers needs of the pass over the prompts."""

    logits: Tensor  # (B, V) for the next token
    hidden: Tensor | None  # (B, hidden_size)
    cache: Any
    mask: Tensor  # (B, L)
    last: Tensor | None  # (..., B, 1) position of the last token, None for models without
    inputs: dict[str, Any]  # the model's other inputs


def _read_prompts(model: Any, inputs: Mapping[str, Any], hidden: bool) -> _Prefix:
    rest = dict(inputs)
    ids = rest.pop("input_ids")
    if _takes(model, "position_ids"):
        rest["position_ids"] = model._prepare_position_ids_for_generation(ids, dict(rest))
    prepared = model.prepare_inputs_for_generation(
        ids, is_first_iteration=True, use_cache=True, **rest
    )
    if _takes(model, "logits_to_keep"):
        # As an index: of a slice, torch would repeat a frozen vocabulary's weights for every row.
        prepared["logits_to_keep"] = torch.tensor([-1], device=ids.device)
    outputs = model(**prepared, output_hidden_states=hidden, return_dict=True)
    positions = rest.pop("position_ids", None)
    return _Prefix(
        logits=outputs.logits[:, -1],
        hidden=outputs.hidden_states[-1][:, -1] if hidden else None,
        cache=outputs.past_key_values,
        mask=rest.pop("attention_mask"),
        last=None if positions is None else positions[..., -1:],
        inputs=rest,
    )


def _go_on(
    model: Any, prefix: _Prefix, cache: Any, ids: Tensor, mask: Tensor, behind: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Logits ``(B, N, V)`` after the tokens ``ids`` ``(B, N)``, ``behind`` places after the prompt.

    ``mask`` is ``(B, L + N)``, or additive and ``(B, 1, N, L + N)``. The last hidden states
    ``(B, N, hidden_size)`` come with them if those of the prompts were requested.
    """
    prepared = model.prepare_inputs_for_generation(
        ids,
        next_sequence_length=ids.shape[1],
        past_key_values=cache,
        attention_mask=mask,
        position_ids=None if prefix.last is None else prefix.last + behind,
        use_cache=True,
        is_first_iteration=False,
        **_extended(model, prefix.inputs, ids.shape[1]),
    )
    hidden = prefix.hidden is not None
    outputs = model(**prepared, output_hidden_states=hidden, return_dict=True)
    return outputs.logits, outputs.hidden_states[-1] if hidden else None


def _score_trees(
    model: Any, prefix: _Prefix, trees: Sequence[TokenTree]
) -> tuple[Tensor, Tensor | None]:
    # Attention mask: a fed token sees the prompt, its ancestors and itself.
    packed = pack_trees(trees)
    n = packed.ids.shape[1]
    device = prefix.mask.device
    sees_prompt = prefix.mask[:, None, :].bool().expand(-1, n, -1)
    allowed = torch.cat([sees_prompt, torch.from_numpy(packed.sees).to(device)], dim=-1)
    mask = torch.zeros(allowed.shape, dtype=model.dtype, device=device)
    mask.masked_fill_(~allowed, torch.finfo(model.dtype).min)
    logits, hidden = _go_on(
        model,
        prefix,
        prefix.cache,
        torch.from_numpy(packed.ids).to(device),
        mask[:, None],
        torch.from_numpy(packed.behind).to(device),
    )
    # Log-probability of every edge: its token's, given the prompt or the fed token before it.
    query, source, token = torch.from_numpy(packed.edges).to(device)
    chosen = torch.where(
        source == 0,
        prefix.logits[query, token],
        logits[query, (source - 1).clamp(min=0), token],
    )
    normalizer = torch.cat([_normalizer(prefix.logits)[:, None], _normalizer(logits)], dim=1)
    log_probs = chosen.float() - normalizer[query, source]
    # An answer's is the sum over its edges.
    answer, edge = torch.from_numpy(packed.steps).to(device)
    totals = torch.zeros(sum(packed.counts), dtype=torch.float32, device=device)
    totals = totals.index_add(0, answer, log_probs[edge])
    if hidden is None or prefix.hidden is None:
        return totals, None
    # An answer's last edge leads from the state that predicts its end.
    last = edge[torch.cat([answer[1:] != answer[:-1], answer.new_ones(1, dtype=torch.bool)])]
    sources = torch.cat([prefix.hidden[:, None], hidden], dim=1)
    return totals, sources[query[last], source[last]]


def _score_expanded(
    model: Any, prefix: _Prefix, answers: Sequence[Sequence[Answer]], max_rows: int
) -> tuple[Tensor, Tensor | None]:
    device = prefix.mask.device
    # The first token of every answer is predicted at the end of its prompt.
    flat = [(i, list(answer)) for i, some in enumerate(answers) for answer in some]
    query = torch.tensor([i for i, _ in flat], device=device)
    first = torch.tensor([answer[0] for _, answer in flat], device=device)
    totals = prefix.logits[query, first].float() - _normalizer(prefix.logits)[query]
    parts, states = [], list[Tensor]()
    for start in range(0, len(flat), max_rows):
        rows = query[start : start + max_rows]
        chunk = [answer for _, answer in flat[start : start + max_rows]]
        n = max(1, max(map(len, chunk)) - 1)
        # Feed all tokens but the last; padding comes last, so no token of an answer sees it.
        fed = torch.tensor([[*answer[:-1], *[0] * (n + 1 - len(answer))] for answer in chunk])
        wanted = torch.tensor([[*answer[1:], *[-1] * (n + 1 - len(answer))] for answer in chunk])
        fed, wanted = fed.to(device), wanted.to(device)
        # Repeat the prompt's row, cache included, for every answer.
        repeated = prefix._replace(
            last=None if prefix.last is None else prefix.last[..., rows, :],
            inputs={
                key: value[rows]
                if isinstance(value, Tensor) and len(value) == len(prefix.mask)
                else value
                for key, value in prefix.inputs.items()
            },
        )
        mask = torch.cat([prefix.mask[rows], prefix.mask.new_ones(len(rows), n)], dim=1)
        behind = torch.arange(1, n + 1, device=device).expand(len(rows), n)
        cache = _repeated(prefix.cache, rows)
        logits, hidden = _go_on(model, repeated, cache, fed, mask, behind)
        chosen = logits.gather(2, wanted.clamp(min=0)[..., None]).squeeze(2).float()
        parts.append(((chosen - _normalizer(logits)) * (wanted >= 0)).sum(dim=1))
        if hidden is not None and prefix.hidden is not None:
            sources = torch.cat([prefix.hidden[rows, None], hidden], dim=1)
            ends = torch.tensor([len(answer) - 1 for answer in chunk], device=device)
            states.append(sources[torch.arange(len(chunk), device=device), ends])
    return totals + torch.cat(parts), torch.cat(states) if states else None


def _repeated(cache: Any, rows: Tensor) -> Any:
    """A cache with row ``rows[i]`` of ``cache`` as its row ``i``; ``cache`` stays as it is."""
    new = copy.copy(cache)
    new.layers = []
    for layer in cache.layers:
        layer = copy.copy(layer)
        # Linear-attention layers keep their states in containers.
        for name, value in vars(layer).items():
            if isinstance(value, dict | list):
                setattr(layer, name, copy.copy(value))
        new.layers.append(layer)
    new.reorder_cache(rows)
    return new


def _sees_all(cache: Any, n: int) -> bool:
    """Whether every layer's window holds the whole prompt and ``n`` more tokens."""
    windows = [(layer, getattr(layer, "sliding_window", None)) for layer in cache.layers]
    return all(not window or layer.get_seq_length() + n <= window for layer, window in windows)


def _extended(model: Any, inputs: dict[str, Any], n: int) -> dict[str, Any]:
    """The model's other inputs after ``n`` more tokens, by the rule of its family."""
    inputs = dict(inputs)
    for _ in range(n):
        inputs = model._update_model_kwargs_for_generation(
            outputs=ModelOutput(), model_kwargs=inputs, is_encoder_decoder=False, num_new_tokens=1
        )
    return inputs


def _normalizer(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials over the vocabulary in float32, ``(..., V)`` to ``(...)``."""
    rows = logits.flatten(0, -2).split(_ROWS)
    return torch.cat([row.float().logsumexp(-1) for row in rows]).view(logits.shape[:-1])


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters
