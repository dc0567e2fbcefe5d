"""Suite ``planner-scale``: what a planner of each size takes, in memory and in time.

The models have the published dimensions of models on the hub, and random weights: memory and speed
do not depend on what the weights are, so nothing is downloaded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median
from typing import Any, NamedTuple

import psutil
import torch
import transformers

from hier.bench.architectures import SIZES, Size
from hier.bench.planner import CANDIDATES, ENVIRONMENTS, make_queries
from hier.perception.gridworld.map_image import map_image
from hier.planners.language.models import BUILT_IN, PlannerModel, add_adapter
from hier.planners.language.planner import VLMPlanner
from hier.planners.language.processors import quiet
from hier.planners.language.prompts import Prompt, PromptFormat, question_of
from hier.planners.language.scoring import candidate_log_probs, strategy_for
from hier.planners.protocol import PlannerQuery
from hier.run.sweep import Row

RANK = 8  # of the LoRA adapter
STEP_QUERIES = 4  # in one optimizer step; what it keeps for the backward pass grows with them
LEARNING_RATE = 1e-4
BUDGET_S = 120.0  # CPU seconds for a further size where there is no GPU
GB = 1e9
ADAMW_BYTES = 16  # a trained weight in float32, its gradient and two moments
SHIPPED = "shipped"
SHIPPED_FOLDER = BUILT_IN / "gridworld"
_SAMPLE_S = 0.01
_COUNTED = ("parameters", "weights_gb", "lora_parameters")
_HEADLINES = (
    "score_ms", "tokens_per_s", "memory_gb", "lora_step_ms", "lora_tokens_per_s", "lora_memory_gb",
)  # fmt: skip


def scale(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Memory and time of scoring and of a LoRA step, by model size.

    Every size is measured in a process of its own, through
    :func:`.candidate_log_probs`: ``score_ms`` for 16 environments with 12
    candidates and one memory map each, from pixels and words to log-probabilities (of which
    ``encode_ms`` before the network); ``lora_step_ms`` for forward, backward and AdamW on 4 of
    them. Tokens per second are those of the prompts. Memory is the most in use, weights included:
    what torch allocated on the GPU, or what the process grew by. Time is the wall's on a GPU, where
    all sizes run in bfloat16. Without one it is the processor's, of one torch thread, and only the
    sizes marked ``on_cpu`` run, the second only if the first predicts that it takes no more than
    two minutes.

    A size that does not run, or does not fit, has a row with ``measured`` false, the reason under
    ``why``, and the memory that follows from its parameters alone: the weights, and for the LoRA
    step 16 bytes for each weight of the adapter, without what the forward pass keeps.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: list[Row] = []
    cost = 0.0  # CPU seconds per parameter
    for name in ("tiny",) if quick else (SHIPPED, *[name for name in SIZES if name != "tiny"]):
        if name == SHIPPED and not SHIPPED_FOLDER.is_dir():
            continue
        row = size_row(name, seeds[0], device, cost=cost)
        if device == "cpu" and row["measured"] and name != SHIPPED:
            cost = row["cost_s"] / row["parameters"]
        rows.append(row)
        print(f"{name}: {_summary(row)}", flush=True)
    figures: dict[str, Any] = {"cuda": device == "cuda"}
    for row in rows:
        keys = ("measured", *_COUNTED, *(_HEADLINES if row["measured"] else ()))
        figures.update({f"{row['variant']}.{key}": row[key] for key in keys})
    return figures, rows


def size_row(
    name: str, seed: int, device: str, *, cost: float = 0.0, free: float | None = None
) -> Row:
    """The result for one size, measured where it can be.

    Args:
        name: a key of :data:`SIZES`, or :data:`SHIPPED`.
        seed: of the levels asked about, and of the weights.
        device: ``cpu`` or ``cuda``.
        cost: CPU seconds that a smaller size took per parameter.
        free: bytes that may be used; by default what the device has free.
    """
    row: Row = dict.fromkeys(
        (
            "variant", "like", "measured", "device", "dtype", "seed", "environments", "candidates",
            "tokens", *_COUNTED, "strategy", "encode_ms", *_HEADLINES, "lora_rank", "lora_queries",
            "clock", "cost_s", "why",
        )
    )  # fmt: skip
    row |= {
        "variant": name,
        "measured": False,
        "device": device,
        "seed": seed,
        "environments": ENVIRONMENTS,
        "candidates": CANDIDATES,
        "lora_rank": RANK,
        "lora_queries": STEP_QUERIES,
        "why": "",
    }
    if name != SHIPPED:
        size = SIZES[name]
        dtype = "float32" if device == "cpu" and size.on_cpu else "bfloat16"
        row |= {"like": size.like, "dtype": dtype, **computed(name, seed, dtype)}
        row["why"] = _obstacle(row, size, _free(device) if free is None else free, cost)
        if row["why"]:
            return row
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            row |= pool.submit(measure, name, seed, device, row["dtype"]).result()
    except RuntimeError as error:  # also for memory that was not enough, and a process that died
        row["why"] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    return row


def _obstacle(row: Row, size: Size, free: float, cost: float) -> str:
    """Why a size is not measured; empty if it is."""
    # Beside the weights there is what scoring holds, which matters most for small models. What is
    # not enough even so ends in an error on a GPU, but on a CPU in the end of other processes.
    needed = 1.5 * row["weights_gb"] + 2.0
    if needed * GB > free:
        return f"needs about {needed:.1f} GB, {free / GB:.1f} GB are free"
    if row["device"] == "cpu" and not size.on_cpu:
        return "needs a GPU"
    if row["device"] == "cpu" and cost * row["parameters"] > BUDGET_S:
        return f"would take about {cost * row['parameters']:.0f} CPU seconds"
    return ""


def computed(name: str, seed: int, dtype: str) -> dict[str, float]:
    """Prompt, parameters, and the memory that follows from them; no weight is allocated."""
    queries = make_queries(seed)
    config, processor = SIZES[name].parts(queries)
    with torch.device("meta"):
        counts = _counts(_adapted(config, dtype))
    asked = PromptFormat(processor, 1, config.model_type)
    cpu = torch.device("cpu")
    lengths = [
        asked.encode([prompt], cpu, torch.float32)["input_ids"].shape[1]
        for prompt in _prompts(name, queries)
    ]
    adapter = ADAMW_BYTES * counts["lora_parameters"] / GB
    return {
        "tokens": max(lengths),
        **counts,
        "memory_gb": counts["weights_gb"],
        "lora_memory_gb": counts["weights_gb"] + adapter,
    }


def _counts(module: Any) -> dict[str, float]:
    """Parameters of a model and of the adapter in it, which alone is trained."""
    frozen = [weight for weight in module.parameters() if not weight.requires_grad]
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    return {
        "parameters": sum(weight.numel() for weight in frozen),
        "weights_gb": sum(weight.nbytes for weight in frozen) / GB,
        "lora_parameters": sum(weight.numel() for weight in trained),
    }


def _adapted(config: Any, dtype: str) -> Any:
    """A model with random weights and a new adapter, on the device of the context."""
    with quiet():
        network = transformers.AutoModelForImageTextToText.from_config(
            config, dtype=getattr(torch, dtype)
        )
    return add_adapter(network, RANK).eval()


class Subject(NamedTuple):
    """A model with an adapter, and what it is asked.

    Attributes:
        model: the model and its processor.
        encode: from prompts to the model's inputs.
        prompts: one per environment.
        answers: the candidates of each as tokens.
    """

    model: PlannerModel
    encode: Callable[[Sequence[Prompt]], dict[str, Any]]
    prompts: list[Prompt]
    answers: list[tuple[tuple[int, ...], ...]]


def build(name: str, seed: int, device: str, dtype: str | None) -> Subject:
    """A size of :data:`SIZES` with random weights made on ``device``, or the built-in planner.

    Args:
        name, seed, device: see :func:`size_row`.
        dtype: ``float32`` or ``bfloat16``; ``None`` for that of the built-in planner.
    """
    queries = make_queries(seed)
    if name == SHIPPED:
        planner = VLMPlanner(str(SHIPPED_FOLDER), device=device, lora=RANK)
        prompts = [planner.prompt(query) for query in queries]
        answers = [planner.answers(query) for query in queries]
        return Subject(planner.loaded, planner.encode, prompts, answers)
    assert dtype is not None
    torch.manual_seed(seed)
    config, processor = SIZES[name].parts(queries)
    with torch.device(device):
        model = PlannerModel(_adapted(config, dtype), processor, name)
    asked = PromptFormat(processor, 1, model.family)
    return Subject(
        model,
        lambda prompts: asked.encode(prompts, model.device, model.network.dtype),
        _prompts(name, queries),
        [tuple(asked.answer_tokens(str(one)) for one in query.candidates) for query in queries],
    )


def _prompts(name: str, queries: Sequence[PlannerQuery]) -> list[Prompt]:
    """What :class:`VLMPlanner` asks, the memory map as large as the size wants it."""
    k = SIZES[name].scale
    return [
        Prompt.single(
            question_of(query, scene=False), (map_image(query.percept).repeat(k, 0).repeat(k, 1),)
        )
        for query in queries
    ]


def lora_step(subject: Subject, optimizer: torch.optim.Optimizer, strategy: str) -> None:
    """One policy-gradient step on the first queries: every other chosen answer was a bad one."""
    scores = candidate_log_probs(
        subject.model.network,
        subject.encode,
        subject.prompts[:STEP_QUERIES],
        subject.answers[:STEP_QUERIES],
        strategy=strategy,
        grad=True,
    )
    gains = [
        (1 - 2 * (i % 2)) * totals.log_softmax(0)[i % len(totals)]
        for i, totals in enumerate(scores.log_probs)
    ]
    optimizer.zero_grad()
    (-torch.stack(gains).mean()).backward()
    optimizer.step()


def measure(name: str, seed: int, device: str, dtype: str | None) -> Row:
    """What one size takes; to be called in a process of its own, see :func:`size_row`."""
    if device == "cpu":
        torch.set_num_threads(1)
    warm = build("tiny", seed, device, "float32")  # the libraries' own memory comes before
    score(warm, "auto")
    meter = Meter(device)
    subject = build(name, seed, device, dtype)
    network = subject.model.network
    strategy = strategy_for(network, subject.encode, subject.prompts[0], subject.answers[0])
    batch = subject.encode(subject.prompts)
    tokens = batch["attention_mask"].sum(dim=1).tolist()
    row: Row = {
        "measured": True,
        "dtype": str(network.dtype).removeprefix("torch."),
        **_counts(subject.model.module),
        "tokens": max(tokens),
        "strategy": strategy,
        "clock": "wall" if device == "cuda" else "cpu",
    }
    if name == SHIPPED:
        row["like"] = subject.model.family
    row["encode_ms"], _ = meter.run(lambda: subject.encode(subject.prompts))
    row["score_ms"], row["memory_gb"] = meter.run(lambda: score(subject, strategy))
    row["tokens_per_s"] = 1000 * sum(tokens) / row["score_ms"]
    optimizer = torch.optim.AdamW(
        [weight for weight in subject.model.module.parameters() if weight.requires_grad],
        lr=LEARNING_RATE,
    )
    try:
        row["lora_step_ms"], row["lora_memory_gb"] = meter.run(
            lambda: lora_step(subject, optimizer, strategy)
        )
        row["lora_tokens_per_s"] = 1000 * sum(tokens[:STEP_QUERIES]) / row["lora_step_ms"]
    except torch.OutOfMemoryError as error:
        row |= dict.fromkeys(("lora_step_ms", "lora_memory_gb", "lora_tokens_per_s"))
        row["why"] = f"no LoRA step: {str(error).splitlines()[0][:160]}"
    return {**row, "cost_s": time.process_time()}


def score(subject: Subject, strategy: str) -> None:
    """Score all candidates of all environments, pictures and words included."""
    candidate_log_probs(
        subject.model.network, subject.encode, subject.prompts, subject.answers, strategy=strategy
    )


class Meter:
    """Time and peak memory of a call, the latter over what the process held when this was made.

    Args:
        device: ``cuda``: wall time between idle states, median of five calls after two, and the
            bytes torch allocated; ``cpu``: CPU time of one call, and resident bytes, looked at a
            hundred times a second.
    """

    def __init__(self, device: str):
        self._cuda = device == "cuda"
        self._before = torch.cuda.memory_allocated() if self._cuda else _resident()

    def run(self, call: Callable[[], Any]) -> tuple[float, float]:
        """Milliseconds that ``call`` takes, and GB in use at most while it runs."""
        with self._peak() as peak:
            if not self._cuda:
                start = time.process_time()
                call()
                times = [time.process_time() - start]
            else:
                for _ in range(2):
                    call()
                times = [_wall_seconds(call) for _ in range(5)]
        return 1000 * median(times), (peak[0] - self._before) / GB

    @contextmanager
    def _peak(self) -> Iterator[list[int]]:
        found = [0]
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            yield found
            found[0] = torch.cuda.max_memory_allocated()
            return
        over = threading.Event()

        def look() -> None:
            while not over.wait(_SAMPLE_S):
                found[0] = max(found[0], _resident())

        watcher = threading.Thread(target=look, daemon=True)
        found[0] = _resident()
        watcher.start()
        try:
            yield found
        finally:
            over.set()
            watcher.join()
            found[0] = max(found[0], _resident())


def _wall_seconds(call: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _free(device: str) -> float:
    if device == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)


def _summary(row: Row) -> str:
    size = f"{row['parameters'] / 1e6:,.1f} M parameters, " if row["parameters"] else ""
    if not row["measured"]:
        return f"{size}not measured ({row['why']})"
    return f"{size}{row['score_ms']:,.0f} ms to score, {row['memory_gb']:.2f} GB"
