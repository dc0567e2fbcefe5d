"""Checkpoints that cannot plan say so: one line with the value, the place and the remedy."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache

import huggingface_hub.constants
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hier.envs.errors import ConfigError, UnknownNameError, UserError
from hier.planners import PlannerError, build_planner
from hier.planners.language.models import VALUE_HEAD, load_model
from hier.planners.language.prompts import Prompt, PromptFormat
from tests.planners.language.families import (
    LLM,
    VLM,
    build_checkpoint,
    chat_template,
    make_tokenizer,
)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    return cache(lambda family: build_checkpoint(family, root / family))


@pytest.fixture
def copy_of(original, tmp_path):
    def copied(family, name="copy"):
        return shutil.copytree(original(family), tmp_path / name)

    return copied


def refusal(folder, images=True, kind=PlannerError, **options):
    """The text of the error that loading raises; it is one line and names the folder."""
    with pytest.raises(kind) as caught:
        load_model(folder, images=images, **options)
    assert isinstance(caught.value, UserError)
    text = str(caught.value)
    assert "\n" not in text
    return text


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_no_such_folder(tmp_path):
    text = refusal(tmp_path / "nowhere")
    assert "nowhere" in text and "is no folder" in text
    assert "is no folder" in refusal("./nowhere")
    (tmp_path / "file").write_text("hello")
    assert "is no folder" in refusal(tmp_path / "file")


def test_no_such_hub_model_and_no_network():
    text = refusal("nobody/no-such-model")
    assert "'nobody/no-such-model' cannot be loaded" in text and "network" in text


def test_a_folder_of_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "holds no config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("not JSON {")
    assert "cannot be loaded" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "robot-brain"}))
    assert "robot-brain" in refusal(tmp_path)


def test_truncated_weights(copy_of):
    folder = copy_of("llava")
    weights = (folder / "model.safetensors").read_bytes()
    for size in (0, 100, len(weights) // 2):
        (folder / "model.safetensors").write_bytes(weights[:size])
        text = refusal(folder)
        assert str(folder) in text and "damaged" in text and "copy the checkpoint again" in text


def test_weights_of_another_model(copy_of, original, capsys):
    folder, other = copy_of("llava"), original("llama")
    capsys.readouterr()
    shutil.copy(other / "model.safetensors", folder)
    assert re.search(r"lacks \d+ of its weights .* such as '", refusal(folder))
    state = load_file(original("llava") / "model.safetensors")
    name = next(key for key in state if key.endswith("multi_modal_projector.linear_1.bias"))
    del state[name]
    for wrong in ({}, {name: torch.zeros(7)}):
        save_file({**state, **wrong}, folder / "model.safetensors", {"format": "pt"})
        text = refusal(folder)
        assert "lacks 1 of its weights or has them in other sizes" in text and name in text
    assert not capsys.readouterr().err


def test_a_text_model_takes_no_images(original):
    text = refusal(original("llama"))
    assert "'llama', which takes no images; use planner.type=llm" in text


def test_an_image_model_is_no_text_only_model(original):
    text = refusal(original("llava"), images=False)
    assert "which is no text-only model; use planner.type=vlm" in text


def test_an_encoder_decoder_is_refused(tmp_path):
    transformers.T5Gemma2Config().save_pretrained(tmp_path)
    assert "encoder-decoder" in refusal(tmp_path)


def test_no_image_processor(copy_of):
    folder = copy_of("llava")
    (folder / "processor_config.json").unlink()
    text = refusal(folder)
    assert "image processor" in text or "preprocessor_config.json" in text


def test_no_tokenizer(copy_of):
    folder = copy_of("llama")
    (folder / "tokenizer.json").unlink()
    assert str(folder) in refusal(folder, images=False)


@pytest.mark.parametrize("family", ["llava", "llama", "qwen2"])
def test_no_chat_template(family, copy_of):
    folder = copy_of(family)
    (folder / "chat_template.jinja").unlink()
    name = "vlm" if family in VLM else "llm"
    with pytest.raises(PlannerError, match=r"no chat template; add its.*options\.plain=true"):
        build_planner(name, model=str(folder))
    planner = build_planner(name, model=str(folder), plain=True)
    assert planner.format.answer_tokens("drop")


def test_a_broken_chat_template(copy_of):
    folder = copy_of("llama")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only tools, please') }}")
    with pytest.raises(PlannerError, match=r"cannot be rendered.*only tools, please"):
        build_planner("llm", model=str(folder))
    (folder / "chat_template.jinja").write_text("hello")
    with pytest.raises(PlannerError, match="drops the user's words"):
        build_planner("llm", model=str(folder))


def test_a_template_that_does_not_place_the_image(copy_of):
    folder = copy_of("llava")
    (folder / "chat_template.jinja").write_text(chat_template(""))
    planner = build_planner("vlm", model=str(folder))
    image = torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()
    with pytest.raises(PlannerError, match=r"refuses.*chat template and processor files"):
        planner.encode([Prompt.single("Which?", (image,))])


@pytest.mark.parametrize(
    ("template", "lead", "end"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
         "{% if add_generation_prompt %}assistant:{% endif %}", " ", "<|im_end|>"),
        # What thinks before it answers is asked for the answer.
        ("{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
         "{% if add_generation_prompt %}<|im_start|>assistant <think>{% if enable_thinking is "
         "defined and not enable_thinking %}</think>{% endif %}{% endif %}", "", "<|im_end|>"),
        # Nothing marks the end of the turn: the end-of-sequence token does.
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
         "{% if add_generation_prompt %}assistant: {% endif %}", "", "<|im_end|>"),
    ],
)  # fmt: skip
def test_lead_and_end_of_an_answer_come_from_the_template(template, lead, end):
    tokenizer = make_tokenizer(template=template)
    asked = PromptFormat(tokenizer, 0, "llama")
    assert asked.answer_tokens("drop")[-1] == tokenizer.convert_tokens_to_ids(end)
    assert asked._lead == lead
    assert "<think>" not in template or asked.text(Prompt.single("Which?")).endswith("</think>")


def test_a_tokenizer_of_another_model(copy_of):
    folder = copy_of("llama")
    alien = make_tokenizer(template=chat_template())
    alien.backend_tokenizer.model = type(alien.backend_tokenizer.model)(
        {"<pad>": 0, "<unk>": 1, "<s>": 2, "<|im_end|>": 3, "<|im_start|>": 4}, unk_token="<unk>"
    )
    alien.save_pretrained(folder)
    planner = build_planner("llm", model=str(folder))
    query = type("Query", (), {"candidates": ("explore", "drop")})()
    with pytest.raises(PlannerError, match="writes some of explore, drop alike"):
        planner.answers(query)


def without_weights(folder, family, config):
    """A folder that names the processor, image processor and video processor of ``family``."""
    config.save_pretrained(folder)
    make_tokenizer({"image_token": "<image>"}, chat_template("<image>")).save_pretrained(folder)
    settings = {
        "processor_class": f"{family}Processor",
        "image_processor": {"image_processor_type": f"{family}ImageProcessor"},
        "video_processor": {"video_processor_type": f"{family}VideoProcessor"},
    }
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.skipif(
    transformers.utils.is_torchvision_available(), reason="torchvision is installed"
)
def test_a_family_that_needs_torchvision_says_so(tmp_path):
    text = refusal(without_weights(tmp_path, "Lfm2Vl", transformers.Lfm2VlConfig()))
    assert "needs torchvision, which is not installed; pip install torchvision" in text


@pytest.mark.skipif(transformers.utils.is_num2words_available(), reason="num2words is installed")
def test_a_family_that_needs_num2words_says_so(tmp_path):
    text = refusal(without_weights(tmp_path, "SmolVLM", transformers.SmolVLMConfig()))
    assert "needs num2words, which is not installed; pip install num2words" in text


def test_quantization_without_its_library_says_so(original):
    text = refusal(original("llama"), images=False, quantization={"load_in_4bit": True})
    assert "bitsandbytes" in text and "pip install" in text
    assert "cannot be loaded" in refusal(original("llama"), False, quantization={"bits": 3})


def test_wrong_dtype_and_device(original):
    text = refusal(original("llama"), images=False, kind=UnknownNameError, dtype="flaot32")
    assert "did you mean 'float32'" in text
    text = refusal(original("llama"), images=False, kind=ConfigError, device="gpu")
    assert "planner.options.device is 'gpu'; use auto, cpu, cuda" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(original):
    assert "sees no GPU" in refusal(original("llama"), images=False, device="cuda")


def test_adapters_that_do_not_fit(original, copy_of, tmp_path):
    llama = original("llama")
    assert "cannot be loaded" in refusal(llama, images=False, lora=str(tmp_path / "none"))
    text = refusal(llama, images=False, kind=ConfigError, lora={"rnak": 4})
    assert "refused by peft" in text and "rank such as 8" in text
    assert "refused by peft" in refusal(llama, images=False, kind=ConfigError, lora=0)
    folder = tmp_path / "adapter"
    load_model(llama, images=False, lora=2).save(folder)
    edit(folder / "adapter_config.json", base_model_name_or_path=None)
    assert "names no base model" in refusal(folder, images=False)
    assert load_model(llama, images=False, lora=str(folder)).adapted
    edit(folder / "adapter_config.json", base_model_name_or_path=str(tmp_path / "gone"))
    assert "gone' is no folder" in refusal(folder, images=False)
    weights = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "damaged" in refusal(llama, images=False, lora=str(folder))


def test_damaged_extras_beside_a_model(copy_of):
    folder = copy_of("llama")
    (folder / VALUE_HEAD).write_bytes(b"not safetensors")
    assert VALUE_HEAD in refusal(folder, images=False)
    (folder / VALUE_HEAD).unlink()
    (folder / "planner.json").write_text("{}")
    with pytest.raises(PlannerError, match=r"planner\.json is damaged"):
        build_planner("llm", model=str(folder))


def test_a_save_that_fails_leaves_the_old_folder(original, copy_of, monkeypatch):
    folder = copy_of("llama")
    model = load_model(folder, images=False)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(type(model.processor), "save_pretrained", fail)
    with pytest.raises(PlannerError, match="no space left"):
        model.save(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    monkeypatch.undo()
    model.save(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"images": "maps"}, r"unknown value of planner\.options\.images 'maps'; did you mean"),
        ({"temperature": 0.0}, r"planner\.options\.temperature is 0\.0; it must be at least"),
        ({"scale": 0}, r"planner\.options\.scale is 0; it must be at least 1"),
        ({"batch_size": 0}, r"planner\.options\.batch_size is 0"),
        ({"model_name": "x"}, r"does not take 'model_name'; it takes .*dtype.*images.*model"),
    ],
)
def test_wrong_options(options, complaint, original):
    with pytest.raises(ConfigError, match=complaint):
        build_planner("vlm", **{"model": str(original("llava")), **options})


def test_every_family_loads_by_the_auto_classes_alone(original):
    # What is saved is an ordinary checkpoint; nothing of this project is needed to use it.
    for family in ("llava", *LLM):
        auto = (
            transformers.AutoModelForImageTextToText
            if family in VLM
            else transformers.AutoModelForCausalLM
        )
        theirs = auto.from_pretrained(original(family))
        ours = load_model(original(family), images=family in VLM).network
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.equal(one, other)
