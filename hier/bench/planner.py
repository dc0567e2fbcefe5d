"""Suite ``planner``: what scoring a closed set of candidates costs, and that it is exact."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from envs.registry import make_env, subgoal_space
from envs.subgoal import Subgoal
from hier.bench import Row
from perception.tracker import make_tracker
from planners.language import VLMPlanner
from planners.processors import quiet
from planners.prompts import question_of
from planners.protocol import PlannerQuery
from planners.scoring import candidate_log_probs, score_naive

ENVIRONMENTS, CANDIDATES = 16, 12
LEVELS = (
    "BabyAI-UnlockPickup-v0", "BabyAI-KeyCorridorS3R3-v0", "BabyAI-BossLevel-v0",
    "BabyAI-PutNextLocal-v0",
)  # fmt: skip
PATCH = 8  # pixels a side, one patch per tile
PIXELS = {"map": 120, "view": 56}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def planner(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Our scoring against generation, one forward pass per candidate, and the prompts alone.

    16 environments with 12 candidates each; a LLaVA of 1.3 M random weights; inputs prepared
    beforehand, but for the row ``planner.score``. Time is the processor's, of one torch thread,
    so that a busy machine does not count. Figures: ``speedup`` over the better of the two peers,
    ``vs_forward`` the time in batched forward passes over the prompts, ``max_error`` against the
    full forward passes, in nats. They are those of the first-person frame (49 patches), and after
    ``map.`` those of the memory map (225): the longer the prompt, the more of all the time it
    takes, and the less there is to gain by not generating.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    rows: list[Row] = []
    try:
        for images in ("view",) if quick else ("view", "map"):
            found, measured = _measure(images, seeds[0], repeats=3 if quick else 9)
            rows += measured
            prefix = "" if images == "view" else f"{images}."
            figures.update({f"{prefix}{name}": value for name, value in found.items()})
    finally:
        torch.set_num_threads(threads)
    return figures, rows


def _measure(images: str, seed: int, repeats: int) -> tuple[dict[str, Any], list[Row]]:
    queries = make_queries(seed)
    with tempfile.TemporaryDirectory() as folder:
        with quiet():
            _write(Path(folder), *tiny_llava(queries, PIXELS[images]))
        ours = VLMPlanner(folder, images=images, device="cpu")
    network = ours.loaded.network
    prompts = [ours.prompt(query) for query in queries]
    answers = [ours.answers(query) for query in queries]
    batch = ours.encode(prompts)
    singles = {id(prompt): ours.encode([prompt]) for prompt in prompts}
    length = round(np.mean([len(answer) for some in answers for answer in some]))

    def tree() -> torch.Tensor:
        return torch.cat(candidate_log_probs(network, lambda _: batch, prompts, answers,
                                             strategy="tree").log_probs)  # fmt: skip

    def expand() -> torch.Tensor:
        return torch.cat(candidate_log_probs(network, lambda _: batch, prompts, answers,
                                             strategy="expand").log_probs)  # fmt: skip

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
        ours.version += 1  # nothing from memory
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
            "images": images,
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


def make_queries(seed: int) -> list[PlannerQuery]:
    """16 questions after short random walks, padded to 12 candidates with others of the domain."""
    space, rng = subgoal_space("gridworld"), np.random.default_rng(seed)
    spare = [
        Subgoal(verb, color, kind)
        for verb in ("go to", "pick up", "put next to")
        for color in ("red", "green", "blue", "yellow")
        for kind in ("ball", "box", "key")
    ]
    queries = []
    for i in range(ENVIRONMENTS):
        env, tracker = make_env(LEVELS[i % len(LEVELS)]), make_tracker("gridworld", 1)
        observation, _ = env.reset(seed=seed + i)
        tracker.reset({key: value[None] for key, value in observation.items()})
        for _ in range(12):
            observation, *_ = env.step(int(rng.choice([0, 1, 2, 2])))
            tracker.update({key: value[None] for key, value in observation.items()})
        percept = tracker.percept(0).snapshot()
        candidates = list(dict.fromkeys([*space.candidates(percept), *spare]))[:CANDIDATES]
        tried = tuple((subgoal, "done") for subgoal in candidates[: i % 3])
        queries.append(PlannerQuery(percept, candidates, space, tried))
    return queries


def learned_tokenizer(queries: Sequence[PlannerQuery], special: Mapping[str, str]) -> Any:
    """A tokenizer that knows the words of ``queries`` and of their candidates.

    Args:
        queries: what will be asked.
        special: further special tokens by the names that a processor asks for.
    """
    words = [question_of(query, scene=True) for query in queries]
    words += [str(candidate) for query in queries for candidate in query.candidates]
    tokens = ["<pad>", "<unk>", "<s>", "<|im_end|>", "<|im_start|>", *special.values()]
    learned = Tokenizer(models.WordLevel(unk_token="<unk>"))
    learned.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=tokens, show_progress=False)
    learned.train_from_iterator([*words, "user assistant"], trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
        eos_token="<|im_end|>", extra_special_tokens=dict(special),
    )  # fmt: skip


def chat_template(image: str) -> str:
    """A chat template that writes ``image`` where a picture goes."""
    return TEMPLATE.replace("<image>", image)


def tiny_llava(queries: Sequence[PlannerQuery], pixels: int) -> tuple[Any, Any]:
    """Configuration and processor of a small LLaVA for pictures of ``pixels`` a side."""
    tokenizer = learned_tokenizer(queries, {"image_token": "<image>"})
    processor = transformers.LlavaProcessor(
        transformers.SiglipImageProcessorPil(size={"height": pixels, "width": pixels}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 128, "intermediate_size": 256,
            "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": pixels,
            "patch_size": PATCH, "vision_use_head": False,
        },
        text_config={
            "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 128,
            "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
            "max_position_embeddings": 1024, "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        image_token_index=tokenizer.get_vocab()["<image>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    return config, processor


def _write(folder: Path, config: Any, processor: Any) -> None:
    """Write a model of random weights that :class:`planners.language.VLMPlanner` reads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
