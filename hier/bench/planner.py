"""Suite ``planner``: what scoring a closed set of candidates costs, and that it is exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from hier.envs.domain import batched
from hier.envs.registry import domain_named, make_env
from hier.envs.subgoal import Outcome, Subgoal
from hier.planners.language.planner import VLMPlanner
from hier.planners.language.scoring import candidate_log_probs, score_naive
from hier.planners.protocol import PlannerQuery
from hier.run.sweep import Row

ENVIRONMENTS, CANDIDATES = 16, 12
LEVELS = (
    "BabyAI-UnlockPickup-v0", "BabyAI-KeyCorridorS3R3-v0", "BabyAI-BossLevel-v0",
    "BabyAI-PutNextLocal-v0",
)  # fmt: skip


def planner(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Our scoring against generation, one forward pass per candidate, and the prompts alone.

    16 environments with 12 candidates each, the built-in planner; inputs prepared beforehand, but
    for the row ``planner.score``. Time is the processor's, of one torch thread, so that a busy
    machine does not count. Figures: ``speedup`` over the better of the two peers, ``vs_forward``
    the time in batched forward passes over the prompts, ``max_error`` against the full forward
    passes, in nats.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(seeds[0], repeats=3 if quick else 9)
    finally:
        torch.set_num_threads(threads)


def _measure(seed: int, repeats: int) -> tuple[dict[str, Any], list[Row]]:
    queries = make_queries(seed)
    ours = VLMPlanner(device="cpu")
    network = ours.loaded.network
    prompts = [ours.prompt(query) for query in queries]
    answers = [ours.answers(query) for query in queries]
    batch = ours.encode(prompts)
    singles = {id(prompt): ours.encode([prompt]) for prompt in prompts}
    length = round(np.mean([len(answer) for some in answers for answer in some]))

    def ours_by(strategy: str) -> torch.Tensor:
        scores = candidate_log_probs(network, lambda _: batch, prompts, answers, strategy=strategy)
        return torch.cat(scores.log_probs)

    tree, expand = partial(ours_by, "tree"), partial(ours_by, "expand")

    def each() -> torch.Tensor:
        return torch.cat(score_naive(network, lambda some: singles[id(some[0])], prompts,
                                     answers).log_probs)  # fmt: skip

    @torch.no_grad()
    def generate() -> None:
        for prompt in prompts:
            network.generate(**singles[id(prompt)], do_sample=False, min_new_tokens=length,
                             max_new_tokens=length)  # fmt: skip

    @torch.no_grad()
    def forward() -> None:
        network(**batch, use_cache=False, logits_to_keep=1)

    def whole() -> None:
        ours.forget_answers()
        ours.score(queries)

    variants: dict[str, Callable[[], Any]] = {
        "prompts alone, one batched forward": forward,
        "ours (token tree)": tree,
        "ours (repeated cache)": expand,
        "planner.score, pictures and words to replies": whole,
        "one generate per environment": generate,
        "one forward per candidate": each,
    }
    error = float((tree() - each()).abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for call in (forward, expand, whole, generate):
        call()  # the first call is slower
    for repeat in range(repeats):
        for name, call in variants.items():
            if call is not each or repeat < 3:
                start = time.process_time()
                call()
                seconds[name].append(time.process_time() - start)
    typical = {name: median(values) for name, values in seconds.items()}
    base = typical["prompts alone, one batched forward"]
    rows = [
        {
            "variant": name,
            "seed": seed,
            "environments": ENVIRONMENTS,
            "candidates": CANDIDATES,
            "tokens": int(batch["input_ids"].shape[1]),
            "cpu_ms": 1000 * value,
            "vs_forward": value / base,
        }
        for name, value in typical.items()
    ]
    peer = min(typical["one generate per environment"], typical["one forward per candidate"])
    ours_s = typical["ours (token tree)"]
    return {"speedup": peer / ours_s, "vs_forward": ours_s / base, "max_error": error}, rows


def make_queries(seed: int, candidates: int = CANDIDATES) -> list[PlannerQuery]:
    """16 questions after short random walks, padded with other subgoals of the domain.

    Args:
        seed: of levels and walks.
        candidates: of each question, at most 54.
    """
    domain = domain_named("gridworld")
    space, rng = domain.subgoal_space(), np.random.default_rng(seed)
    spare = [
        Subgoal(verb, color, kind)
        for colors in (("red", "green", "blue", "yellow"), ("purple", "grey"))
        for verb in ("go to", "pick up", "put next to")
        for color in colors
        for kind in ("ball", "box", "key")
    ]
    queries = []
    for i in range(ENVIRONMENTS):
        env, tracker = make_env(LEVELS[i % len(LEVELS)]), domain.tracker(1)
        observation, _ = env.reset(seed=seed + i)
        tracker.reset(batched(observation))
        for _ in range(12):
            observation, *_ = env.step(int(rng.choice([0, 1, 2, 2])))
            tracker.update(batched(observation))
        percept = tracker.percept(0).snapshot()
        offered = list(dict.fromkeys([*space.candidates(percept), *spare]))[:candidates]
        tried = tuple((subgoal, Outcome.DONE) for subgoal in offered[: i % 3])
        queries.append(PlannerQuery(percept, offered, space, tried))
    return queries
