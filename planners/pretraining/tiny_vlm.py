"""A tiny vision-language model with random weights: a LLaVA with a word-level tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

PAD, UNKNOWN, START = "<pad>", "<unk>", "<s>"
TURN, END, IMAGE = "<|im_start|>", "<|im_end|>", "<image>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyVLM:
    """The sizes of a tiny model.

    Attributes:
        pixels: side of the picture.
        patch: side of a patch, a divisor of ``pixels``; each patch is one token.
        vision_size, vision_layers: width and depth of the SigLIP encoder.
        text_size, text_layers: width and depth of the Llama decoder.
        heads: attention heads, in the encoder and in the decoder.
    """

    pixels: int = 120
    patch: int = 24
    vision_size: int = 160
    vision_layers: int = 2
    text_size: int = 128
    text_layers: int = 4
    heads: int = 4


def word_tokenizer(
    texts: Iterable[str], more: Mapping[str, str] | None = None
) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words and punctuation of ``texts``, in sorted order.

    Args:
        texts: everything to be read or written.
        more: further special tokens, by the names that the processor uses for them.
    """
    named = dict(more or {})
    pattern = r"\w+|[^\w\s]+"
    words = {word for text in {*texts, "user assistant"} for word in re.findall(pattern, text)}
    special = [PAD, UNKNOWN, START, END, TURN, *named.values()]
    vocabulary = {word: i for i, word in enumerate([*special, *sorted(words - set(special))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, unk_token=UNKNOWN, bos_token=START, eos_token=END,
        extra_special_tokens={"turn_token": TURN, **named},
    )  # fmt: skip


def build_tiny_vlm(texts: Iterable[str], sizes: TinyVLM, *, seed: int = 0) -> tuple[Any, Any]:
    """A LLaVA with random weights that knows the words of ``texts``.

    Args:
        texts: everything it will read or write.
        sizes: of the networks.
        seed: of the weights.

    Returns:
        Model and processor, as ``AutoModelForImageTextToText`` and ``AutoProcessor`` load them.
    """
    config, processor = tiny_config(word_tokenizer(texts, {"image_token": IMAGE}), sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForImageTextToText.from_config(config)
    return model, processor


def tiny_config(tokenizer: Any, sizes: TinyVLM) -> tuple[Any, Any]:
    """Configuration and processor of a LLaVA of these sizes around a tokenizer."""
    side = {"height": sizes.pixels, "width": sizes.pixels}
    processor = transformers.LlavaProcessor(
        transformers.SiglipImageProcessorPil(size=side),
        tokenizer,
        patch_size=sizes.patch,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": sizes.vision_size,
            "intermediate_size": 2 * sizes.vision_size,
            "num_hidden_layers": sizes.vision_layers, "num_attention_heads": sizes.heads,
            "image_size": sizes.pixels, "patch_size": sizes.patch, "vision_use_head": False,
        },
        text_config={
            "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": sizes.text_size,
            "intermediate_size": 3 * sizes.text_size, "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.heads, "max_position_embeddings": 1024,
            "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    return config, processor
