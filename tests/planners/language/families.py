"""Tiny, randomly initialized checkpoints of many model families, built without a network.

They know nothing; they stand for the hub's models because they take the same code path: the Auto
classes, the family's own processor, its chat template, its cache and its attention.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hier.planners.language.processors import VideoStandIn, stills_only

WORDS = """
Mission : You are an agent in a grid world use the key to open door and then pick up box it red
green blue purple yellow grey ball toggle explore drop put next reach goal go on your left right in
front of behind you after carry hands free remember ahead behind nothing note There unseen places
Tried so far done failed timeout Notes Which subgoal should pursue now ? . ; , ( ) 1 2 3 4 5 6 7 8 9
0 here closed locked user assistant USER ASSISTANT advantage was + - image images shows what agent
sees map seen looks one answer with Answer Question It Its from above as The a is first person view
"""
SPECIAL = {  # names by which the families' processors ask for them
    "llava": {"image_token": "<image>"},
    "idefics3": {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "end_of_utterance_token": "<end_of_utterance>",
        "global_image_token": "<global-img>",
    },
    "paligemma": {"image_token": "<image>"},
    "gemma3": {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    },
    "qwen2_5_vl": {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
}
TURNS = """
{%- for message in messages -%}
<|im_start|>{{ message.role }} {% if message.content is string %}{{ message.content }}{% else %}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}IMAGE{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant {% endif -%}
"""


def chat_template(image: str = "") -> str:
    """A ChatML-like template that writes ``image`` where a picture goes."""
    return TURNS.strip().replace("IMAGE", image)


def make_tokenizer(
    named: dict[str, str] | None = None, template: str | None = None
) -> hf.PreTrainedTokenizerFast:
    """A word-level tokenizer with the special tokens ``named``."""
    special = ["<pad>", "<unk>", "<s>", "<|im_end|>", "<|im_start|>"]
    special += [token for token in (named or {}).values() if token not in special]
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([WORDS], trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        extra_special_tokens=dict(named or {}),
        chat_template=template,
    )


def make_bpe_tokenizer(
    named: dict[str, str] | None = None, template: str | None = None
) -> hf.Qwen2Tokenizer:
    """A byte-level tokenizer whose words take several tokens, blanks included."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(
        [WORDS], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    state = json.loads(learned.to_str())["model"]
    tokenizer = hf.Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        extra_special_tokens=dict(named or {}),
        chat_template=template,
    )
    tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
    return tokenizer


def text_config(family: str, tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Keyword arguments every small language model shares."""
    return {
        "model_type": family,
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 8,
    "vision_use_head": False,
}


def _llava() -> tuple[Any, Any]:
    tokenizer = make_tokenizer(SPECIAL["llava"])
    processor = hf.LlavaProcessor(
        hf.SiglipImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    config = hf.LlavaConfig(
        vision_config=SIGLIP,
        text_config=text_config("llama", tokenizer),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return config, processor


def _idefics3() -> tuple[Any, Any]:
    tokenizer = make_tokenizer(SPECIAL["idefics3"])
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=16,
        chat_template=chat_template("<image>"),
    )
    config = hf.Idefics3Config(
        vision_config={**SIGLIP, "model_type": "idefics3_vision", "image_size": 64},
        text_config=text_config("llama", tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
    )
    return config, processor


def _paligemma() -> tuple[Any, Any]:
    tokenizer = make_tokenizer(SPECIAL["paligemma"])
    images = hf.SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 49
    processor = hf.PaliGemmaProcessor(images, tokenizer)
    config = hf.PaliGemmaConfig(
        vision_config={**SIGLIP, "projection_dim": 32},
        text_config=text_config("gemma", tokenizer),
        image_token_id=processor.image_token_id,
        projection_dim=32,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return config, processor


def _gemma3() -> tuple[Any, Any]:
    tokenizer = make_tokenizer(SPECIAL["gemma3"])
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(size={"height": 64, "width": 64}),
        tokenizer,
        image_seq_length=16,
        chat_template=chat_template("<start_of_image>"),
    )
    config = hf.Gemma3Config(
        vision_config={**SIGLIP, "image_size": 64},
        text_config=text_config("gemma3_text", tokenizer, sliding_window=512),
        image_token_id=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        mm_tokens_per_image=16,
    )
    return config, processor


def _mllama() -> tuple[Any, Any]:
    tokenizer = make_tokenizer({"image_token": "<|image|>"})
    processor = hf.MllamaProcessor(
        hf.MllamaImageProcessorPil(size={"height": 56, "width": 56}, max_image_tiles=1),
        tokenizer,
        chat_template=chat_template("<|image|>"),
    )
    config = hf.MllamaConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 56,
            "patch_size": 8,
            "max_num_tiles": 1,
            "vision_output_dim": 48,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1]],
        },
        text_config=text_config(
            "mllama_text_model", tokenizer, num_hidden_layers=3, cross_attention_layers=[1]
        ),
        image_token_index=tokenizer.image_token_id,
    )
    return config, processor


def _aya_vision() -> tuple[Any, Any]:
    named = {
        "image_token": "<image>",
        "start": "<|START_OF_IMG|>",
        "end": "<|END_OF_IMG|>",
        "patch": "<|IMG_PATCH|>",
        "tile": "TILE",
        "tile_global": "TILE_GLOBAL",
        "newline": "<|IMG_LINE_BREAK|>",
    }
    tokenizer = make_tokenizer(named)
    processor = hf.AyaVisionProcessor(
        hf.GotOcr2ImageProcessorPil(size={"height": 64, "width": 64}, crop_to_patches=False),
        tokenizer,
        patch_size=8,
        img_size=64,
        downsample_factor=2,
        chat_template=chat_template("<image>"),
    )
    config = hf.AyaVisionConfig(
        vision_config={**SIGLIP, "image_size": 64},
        text_config=text_config("cohere2", tokenizer, sliding_window=64),
        image_token_id=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        vision_feature_layer=-1,
        downsample_factor=2,
        adapter_layer_norm_eps=1e-5,
    )
    return config, processor


def _qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = make_bpe_tokenizer(
        {**SPECIAL["qwen2_5_vl"], "start": "<|vision_start|>", "end": "<|vision_end|>"}
    )
    processor = stills_only(hf.Qwen2_5_VLProcessor)(
        hf.Qwen2VLImageProcessorPil(
            patch_size=8, merge_size=2, size={"shortest_edge": 64 * 64, "longest_edge": 64 * 64}
        ),
        tokenizer,
        VideoStandIn(),
        chat_template=chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "out_hidden_size": 32,
        },
        text_config=text_config("qwen2_5_vl_text", tokenizer, rope_parameters=rope),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    return config, processor


def _internvl() -> tuple[Any, Any]:
    tokenizer = make_bpe_tokenizer(SPECIAL["internvl"])
    processor = stills_only(hf.InternVLProcessor)(
        hf.GotOcr2ImageProcessorPil(size={"height": 64, "width": 64}, crop_to_patches=False),
        tokenizer,
        VideoStandIn(),
        image_seq_length=16,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    config = hf.InternVLConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [64, 64],
            "patch_size": [8, 8],
        },
        text_config=text_config("qwen2", tokenizer),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=16,
    )
    return config, processor


def _llama() -> tuple[Any, Any]:
    tokenizer = make_tokenizer(template=chat_template())
    return hf.LlamaConfig(**text_config("llama", tokenizer)), tokenizer


def _qwen2() -> tuple[Any, Any]:
    tokenizer = make_bpe_tokenizer(template=chat_template())
    return hf.Qwen2Config(**text_config("qwen2", tokenizer)), tokenizer


def _lfm2() -> tuple[Any, Any]:
    # Convolutions besides attention: a tree of tokens in one row cannot work.
    tokenizer = make_tokenizer(template=chat_template())
    layers = {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48}
    return hf.Lfm2Config(**text_config("lfm2", tokenizer, **layers)), tokenizer


VLM: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": _llava,
    "idefics3": _idefics3,
    "paligemma": _paligemma,
    "gemma3": _gemma3,
    "qwen2_5_vl": _qwen2_5_vl,
    "internvl": _internvl,
    "aya_vision": _aya_vision,
    "mllama": _mllama,
}
LLM: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "lfm2": _lfm2,
}


def build_checkpoint(family: str, folder: Path) -> Path:
    """Write a random checkpoint of ``family`` to ``folder``, weights drawn large enough to matter.

    With a family's own initialization the outputs of such a small network hardly depend on what it
    attends to, and a wrong mask would pass.
    """
    config, processor = {**VLM, **LLM}[family]()
    torch.manual_seed(0)
    auto = hf.AutoModelForImageTextToText if family in VLM else hf.AutoModelForCausalLM
    model = auto.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.normal_(0.0, 0.25)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
