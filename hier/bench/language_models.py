"""Suite ``language-models``: general language models as planners, and how to ask them.

They come from packages of PyPI (:data:`hier.planners.language.gguf.PACKAGES`); one whose package is
not installed gets a row that says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import torch

from hier.bench.planner import make_queries
from hier.bench.scale import Meter
from hier.config import HierConfig
from hier.envs.registry import domain_named
from hier.planners.accuracy import measure_accuracy
from hier.planners.language.gguf import PACKAGES, package_files
from hier.planners.language.planner import LanguagePlanner, LLMPlanner, VLMPlanner
from hier.planners.language.prompts import WHICH_SUBGOAL, Prompt, question_of
from hier.planners.language.scoring import strategy_for
from hier.planners.protocol import Planner, PlannerError, PlannerQuery, PlannerReply
from hier.pretraining.config import PretrainConfig
from hier.run.sweep import Row
from hier.run.tuning import teach_planner

FIRST_SEED = 3_000_000  # of the states, as in the suite planner-accuracy
BUILT_IN = "built-in"
DEFAULT = "scene, mission last"
TAUGHT, ANSWERS = "smollm2-135m", 128
_ASK = WHICH_SUBGOAL
_EXAMPLES = (
    ("Your hands are free. You remember: the green box 2 ahead; the red key 1 to the left.",
     "pick up the green box", "pick up the green box"),
    ("Your hands are free. You remember: the locked red door 3 ahead; the red key 1 to the left.",
     "open the red door", "pick up the red key"),
    ("Your hands are free. You remember: the grey key 4 ahead. There are unseen places to explore.",
     "go to the blue ball", "explore"),
    ("You carry the red key. You remember: the locked red door 3 ahead.",
     "open the red door", "open the red door"),
)  # fmt: skip


def _listed(query: PlannerQuery) -> str:
    options = "; ".join(map(str, query.candidates))
    return question_of(query, scene=True, mission_last=True, ask=f"Options: {options}\n{_ASK}")


def _mission_alone(query: PlannerQuery) -> str:
    """Neither scene nor history: what is likely to be answered without looking."""
    return f"Mission: {query.percept.mission}\n{_ASK}"


def _with_examples(query: PlannerQuery) -> str:
    shown = [
        f"{scene}\nMission: {mission}\n{_ASK}\nAnswer: {answer}\n"
        for scene, mission, answer in _EXAMPLES
    ]
    return "\n".join([*shown, question_of(query, scene=True, mission_last=True)])


_LAST = partial(question_of, scene=True, mission_last=True)  # what LLMPlanner asks by default
# Each question, and how much of the score under the mission alone is subtracted: all of it would be
# pointwise mutual information (Holtzman et al. 2021, arXiv 2104.08315), half of it was better.
QUESTIONS: dict[str, tuple[Callable[[PlannerQuery], str], float]] = {
    DEFAULT: (_LAST, 0.0),
    "mission first": (partial(question_of, scene=True), 0.0),
    "mission alone": (_mission_alone, 0.0),
    "candidates listed": (_listed, 0.0),
    "four examples": (_with_examples, 0.0),
    "less half of the score under mission alone": (_LAST, 0.5),
}
COUNTS = (2, 4, 8, 16, 32, 42)  # of candidates; lamorel's plot goes from 2 to 42
_PROMPTS, _REPEATS = 4, 3  # in a measurement of the scoring curve, and the best of how many


@dataclass(eq=False)
class Asked:
    """A language planner that asks another question.

    Args:
        planner: scores.
        question: of a query.
        less: weight of the score under the mission alone, which is subtracted.
    """

    planner: LanguagePlanner
    question: Callable[[PlannerQuery], str]
    less: float
    privileged: ClassVar[bool] = False
    version: ClassVar[int] = 0

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`."""
        totals = self._totals(queries, self.question)
        if self.less:
            without = self._totals(queries, _mission_alone)
            totals = [a - self.less * b for a, b in zip(totals, without, strict=True)]
        return [PlannerReply(row.double().log_softmax(0).float().numpy()) for row in totals]

    def _totals(
        self, queries: Sequence[PlannerQuery], question: Callable[[PlannerQuery], str]
    ) -> list[torch.Tensor]:
        prompts = [Prompt.single(question(query)) for query in queries]
        answers = [self.planner.answers(query) for query in queries]
        return self.planner.candidate_scores(prompts, answers).log_probs


def language_models(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """How often each model names the expert's subgoal, by question; its time and memory.

    240 states of the source levels, and one of every other level that the subgoal vocabulary
    covers, from seeds that nothing was trained on; questions other than the planner's own are
    compared on 48 of the source states. Time is the processor's, on one thread: ``s_per_16`` for
    the 16 questions with 12 candidates of the suite ``planner``, and in the rows ``curve`` for one
    question by its number of candidates. Memory is the peak meanwhile, with the weights. The last
    model is :func:`taught`; it learned in the source levels.

    Figures: besides those, ``curve`` is the time with 42 candidates in that with 2.
    """
    rows: list[Row] = []
    for names in (lambda: [BUILT_IN, *sorted(PACKAGES)], lambda: taught(quick)):
        for name in names():  # teaching takes longest, so it comes last
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows += pool.submit(_measure, name, quick, seeds[0]).result()
    figures = {
        f"{row['model']}.{row['question']}.{key}": row[key]
        for row in rows
        for key in ("source", "held_out", "s_per_16", "memory_gb")
        if row.get(key) is not None
    }
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["question"] == "curve":
            curves.setdefault(row["model"], {})[row["candidates"]] = row["s_per_question"]
    for name, curve in curves.items():
        figures[f"{name}.curve"] = curve[max(curve)] / curve[min(curve)]
    return figures, rows


def taught(quick: bool) -> list[str]:
    """SmolLM2-135M with a LoRA adapter, after 128 answers of the expert, each seen twice.

    It is kept in ``runs/language-models`` and used again. Empty where its weights are missing.
    """
    folder = Path("runs", "language-models", "quick" if quick else f"{TAUGHT}-lora-{ANSWERS}")
    try:
        package_files(TAUGHT)
    except PlannerError:
        return []
    if not folder.is_dir():
        config = HierConfig.load(
            "source-levels",
            [
                "planner.type=llm", f"planner.model={TAUGHT}", "planner.options.lora=8",
                "feedback.batch_size=8", "feedback.learning_rate=0.0005",
            ],
        )  # fmt: skip
        teach_planner(config, 8 if quick else ANSWERS, out=folder)
    return [str(folder)]


def _levels(quick: bool) -> dict[str, tuple[list[str], int]]:
    """The levels of each group, and how many states of each."""
    from hier.envs.gridworld.coverage import coverage

    made = PretrainConfig.load("gridworld")
    if quick:
        return {"source": (list(made.levels[:2]), 2), "held_out": (list(made.held_out[:2]), 2)}
    found = coverage(domain_named("gridworld").env_ids())
    others = [row.env_id for row in found if row.covered and row.env_id not in made.levels]
    return {"source": (list(made.levels), 20), "held_out": (others, 1)}


def _measure(name: str, quick: bool, seed: int) -> list[Row]:
    torch.set_num_threads(1)
    empty = dict.fromkeys(
        ("source", "held_out", "s_per_16", "memory_gb", "parameters", "dtype", "strategy", "why")
    )
    meter = Meter("cpu")
    try:
        planner = VLMPlanner() if name == BUILT_IN else LLMPlanner(name, device="cpu")
    except PlannerError as error:
        return [{"model": name, "question": "", **empty, "why": str(error)}]
    network, queries = planner.loaded.network, make_queries(seed)
    prompt, answers = planner.prompt(queries[0]), planner.answers(queries[0])
    about = {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "dtype": str(network.dtype).removeprefix("torch."),
        "strategy": strategy_for(network, planner.encode, prompt, answers),
    }
    asked: dict[str, Planner] = {DEFAULT if name in PACKAGES else "as taught": planner}
    if name in PACKAGES:
        asked |= {key: Asked(planner, *how) for key, how in QUESTIONS.items() if key != DEFAULT}
    rows = []
    for question, who in asked.items():
        row: Row = {"model": name, "question": question, **empty, **about}
        for group, (levels, states) in _levels(quick).items():
            if who is planner:
                row[group] = _accuracy(who, levels, states)
            elif group == "source":
                row[group] = _accuracy(who, levels, max(1, states // 5))
        ms, row["memory_gb"] = meter.run(partial(_afresh, planner, who, queries))
        row["s_per_16"] = ms / 1000
        print(f"{Path(name).name}, {question}: {row['source']:.0%} of source states", flush=True)
        rows.append(row)
    return rows + _curve(name, planner, seed)


def _accuracy(planner: Planner, levels: Sequence[str], states: int) -> float:
    return measure_accuracy(planner, levels, states, first_seed=FIRST_SEED, batch=16).mean


def _curve(name: str, planner: LanguagePlanner, seed: int) -> list[Row]:
    """Seconds of one question by its number of candidates, in a batch of four."""
    rows: list[Row] = []
    for count in COUNTS:
        queries = make_queries(seed, count)[:_PROMPTS]
        seconds = []
        for _ in range(_REPEATS):
            began = time.process_time()
            _afresh(planner, planner, queries)
            seconds.append(time.process_time() - began)
        rows.append(
            {
                "model": name, "question": "curve", "candidates": count,
                "s_per_question": min(seconds) / _PROMPTS,
            }
        )  # fmt: skip
    return rows


def _afresh(planner: LanguagePlanner, who: Any, queries: Sequence[PlannerQuery]) -> None:
    planner.forget_answers()
    who.score(queries)
