"""Architectures by size, with the published dimensions of models on the hub and random weights.

Each comes with a processor of its family whose tokenizer knows the words it will meet, so that the
whole way from pixels and words to log-probabilities can run without a download.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import transformers

from hier.planners.language.processors import VideoStandIn, stills_only
from hier.planners.language.prompts import question_of
from hier.planners.pretraining.tiny_vlm import IMAGE, TEMPLATE, TinyVLM, tiny_config, word_tokenizer
from hier.planners.protocol import PlannerQuery


@dataclass(frozen=True, slots=True)
class Size:
    """A model to build.

    Attributes:
        like: whose dimensions it has.
        parts: from the queries to its configuration and its processor.
        scale: screen pixels per pixel of the memory map, as in
            :class:`hier.planners.language.planner.VLMPlanner`.
        on_cpu: whether to measure it without a GPU, then in float32.
    """

    like: str
    parts: Callable[[Sequence[PlannerQuery]], tuple[Any, Any]]
    scale: int = 1
    on_cpu: bool = False


def learned_tokenizer(queries: Sequence[PlannerQuery], special: Mapping[str, str]) -> Any:
    """A tokenizer that knows the words of ``queries`` and of their candidates.

    Args:
        queries: what will be asked.
        special: further special tokens by the names that a processor asks for.
    """
    words = [question_of(query, scene=True) for query in queries]
    words += [str(candidate) for query in queries for candidate in query.candidates]
    return word_tokenizer(words, special)


def chat_template(image: str) -> str:
    """A chat template that writes ``image`` where a picture goes."""
    return TEMPLATE.replace(IMAGE, image)


def _tiny(queries: Sequence[PlannerQuery]) -> tuple[Any, Any]:
    return tiny_config(learned_tokenizer(queries, {"image_token": IMAGE}), TinyVLM())


def _smolvlm(
    queries: Sequence[PlannerQuery], text: Mapping[str, int], *, tiles: bool = False
) -> tuple[Any, Any]:
    """SmolVLM's small models: 64 tokens for 512 x 512 pixels.

    Args:
        queries: whose words to know.
        text: dimensions of the language model.
        tiles: as on the hub: the picture is enlarged to 2048 pixels and cut into 16 tiles.
    """
    special = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "end_of_utterance_token": "<end_of_utterance>",
        "global_image_token": "<global-img>",
        **{f"tile_{i}": f"<row_{i // 4 + 1}_col_{i % 4 + 1}>" for i in range(16)},
    }
    tokenizer = learned_tokenizer(queries, special)
    processor = transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessorPil(
            size={"longest_edge": 2048 if tiles else 512},
            max_image_size={"longest_edge": 512},
            do_image_splitting=tiles,
        ),
        tokenizer,
        image_seq_len=64,
        chat_template=chat_template("<image>"),
    )
    config = transformers.Idefics3Config(
        vision_config={
            "model_type": "idefics3_vision", "hidden_size": 768, "intermediate_size": 3072,
            "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 512,
            "patch_size": 16,
        },
        text_config={
            "model_type": "llama", "vocab_size": 49280, "max_position_embeddings": 8192,
            **_ids(tokenizer), **text,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=4,
        tie_word_embeddings=False,
    )  # fmt: skip
    return config, processor


def _internvl3_1b(queries: Sequence[PlannerQuery]) -> tuple[Any, Any]:
    """256 tokens for 448 x 448 pixels; tiles only for pictures larger than that."""
    special = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = learned_tokenizer(queries, special)
    processor = stills_only(transformers.InternVLProcessor)(
        transformers.GotOcr2ImageProcessorPil(
            size={"height": 448, "width": 448}, crop_to_patches=False
        ),
        tokenizer,
        VideoStandIn(),
        image_seq_length=256,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    config = transformers.InternVLConfig(
        vision_config={
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
            "num_attention_heads": 16, "image_size": [448, 448], "patch_size": [14, 14],
            "attention_bias": True,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": 151674, "hidden_size": 896,
            "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "max_position_embeddings": 32768, **_ids(tokenizer),
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=256,
        tie_word_embeddings=False,
    )  # fmt: skip
    return config, processor


def _qwen2_5_vl_3b(queries: Sequence[PlannerQuery]) -> tuple[Any, Any]:
    """One token for 28 x 28 pixels of the picture as it is."""
    special = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "start": "<|vision_start|>",
        "end": "<|vision_end|>",
    }
    tokenizer = learned_tokenizer(queries, special)
    processor = stills_only(transformers.Qwen2_5_VLProcessor)(
        transformers.Qwen2VLImageProcessorPil(
            patch_size=14,
            merge_size=2,
            size={"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28},
        ),
        tokenizer,
        VideoStandIn(),
        chat_template=chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    tokens = {key: tokenizer.convert_tokens_to_ids(token) for key, token in special.items()}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31], "out_hidden_size": 2048,
        },
        text_config={
            "model_type": "qwen2_5_vl_text", "vocab_size": 151936, "hidden_size": 2048,
            "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "max_position_embeddings": 32768, "rope_parameters": rope,
            **_ids(tokenizer),
        },
        image_token_id=tokens["image_token"],
        video_token_id=tokens["video_token"],
        vision_start_token_id=tokens["start"],
        vision_end_token_id=tokens["end"],
        tie_word_embeddings=True,
    )  # fmt: skip
    return config, processor


def _ids(tokenizer: Any) -> dict[str, int]:
    return {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")
    }


_SMOL_135M = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3,
}  # fmt: skip
_SMOL_360M = {
    "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
    "num_attention_heads": 15, "num_key_value_heads": 5,
}  # fmt: skip
SIZES: dict[str, Size] = {
    "tiny": Size("the built-in LLaVA, untrained", _tiny, on_cpu=True),
    "256M": Size(
        "SmolVLM-256M, one tile", lambda queries: _smolvlm(queries, _SMOL_135M), on_cpu=True
    ),
    "500M": Size(
        "SmolVLM-500M, one tile", lambda queries: _smolvlm(queries, _SMOL_360M), on_cpu=True
    ),
    "256M-tiles": Size(
        "SmolVLM-256M, 17 tiles", lambda queries: _smolvlm(queries, _SMOL_135M, tiles=True)
    ),
    "1B": Size("InternVL3-1B", _internvl3_1b),
    "3B": Size("Qwen2.5-VL-3B, map scaled by 4", _qwen2_5_vl_3b, scale=4),
}
