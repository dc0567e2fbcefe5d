"""A planner folder from elsewhere runs nothing, whatever its files name; see docs/security.md."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from functools import cache

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file

from hier.planners import PlannerError, build_planner
from hier.planners.language.models import load_model
from tests.planners.language.families import build_checkpoint

CALLS_OUT = (
    "{{ cycler.__init__.__globals__.os.mkdir('MARKER') }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ raise_exception.__globals__['os'].mkdir('MARKER') }}",
    "{{ messages.__class__.__init__.__globals__ }}{{ lipsum.__globals__.os.mkdir('MARKER') }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').mkdir('MARKER') }}",
    "{{ (messages|attr('__class__')|attr('__mro__'))[1]|attr('__subclasses__') }}"
    "{{ namespace|attr('__init__')|attr('__globals__') }}{{ namespace.__init__.__globals__.os }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}{{ os.mkdir('MARKER') }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% from '/etc/passwd' import root %}",
    "{% import 'os' as os %}{{ os.mkdir('MARKER') }}",
    "{{ messages.append('more') }}",
    "{% for a in range(100001) %}{% endfor %}",
)
CODE = "import os\nos.mkdir({marker!r})\nclass Mine: pass\n"
AUTO = (
    "AutoConfig", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoTokenizer",
    "AutoProcessor", "AutoImageProcessor", "AutoVideoProcessor", "AutoFeatureExtractor",
)  # fmt: skip
NAMES_A_CLASS = {  # keys that name a class, by file
    "config.json": ("model_type", "architectures"),
    "tokenizer_config.json": ("tokenizer_class", "processor_class"),
    "processor_config.json": ("processor_class", "image_processor"),
    "preprocessor_config.json": ("image_processor_type", "processor_class"),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Neither the network nor the user is asked, and no pickle is read."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("was asked"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was read"))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    return cache(lambda family: build_checkpoint(family, root / family))


@pytest.fixture
def marker(tmp_path):
    """What an attack makes; it is not there at the end."""
    yield tmp_path / "harm"
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def copy_of(original, tmp_path, marker, monkeypatch):
    """A copy of a model, with code beside it that could be imported by its name."""

    def copied(family):
        folder = shutil.copytree(original(family), tmp_path / "copy")
        (folder / "mine.py").write_text(CODE.format(marker=str(marker)))
        monkeypatch.syspath_prepend(folder)
        return folder

    return copied


def edit(file, **changes):
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **changes}))


def refusal(kind, folder, **options):
    """The one line with which a planner is refused."""
    with pytest.raises(PlannerError) as caught:
        build_planner(kind, model=str(folder), **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def loaded_or_refused(kind, folder):
    """Whether a planner is built, by classes of transformers alone; or it is refused in a line."""
    try:
        planner = build_planner(kind, model=str(folder))
    except PlannerError as error:
        assert len(str(error).splitlines()) == 1
        return False
    parts = [planner.loaded.network, planner.loaded.processor, planner.format.tokenizer]
    assert all(type(part).__module__.startswith("transformers.") for part in parts)
    return True


class TestTemplates:
    @pytest.mark.parametrize("template", CALLS_OUT)
    def test_one_that_calls_out_runs_nothing(self, template, copy_of, marker):
        folder = copy_of("llama")
        (folder / "chat_template.jinja").write_text(template.replace("MARKER", str(marker)))
        assert "chat template cannot be rendered" in refusal("llm", folder)

    @pytest.mark.parametrize("family", ["llama", "llava"])
    def test_nor_does_one_among_a_tokenizers_settings(self, family, copy_of, marker):
        folder = copy_of(family)
        (folder / "chat_template.jinja").unlink()
        template = CALLS_OUT[0].replace("MARKER", str(marker))
        edit(folder / "tokenizer_config.json", chat_template=template)
        line = refusal({"llama": "llm", "llava": "vlm"}[family], folder)
        assert "chat template cannot be rendered" in line

    def test_nor_does_one_of_several(self, copy_of, marker):
        folder = copy_of("llama")
        (folder / "additional_chat_templates").mkdir()
        template = CALLS_OUT[0].replace("MARKER", str(marker))
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text(template)
        loaded_or_refused("llm", folder)


class TestCode:
    @pytest.mark.parametrize("family", ["llama", "llava"])
    @pytest.mark.parametrize("file", [*NAMES_A_CLASS, "generation_config.json"])
    def test_beside_a_model_is_not_run(self, file, family, copy_of):
        """What every ``auto_map`` names, even where the file itself says that it is trusted."""
        folder = copy_of(family)
        edit(folder / file, auto_map=dict.fromkeys(AUTO, "mine.Mine"), trust_remote_code=True)
        kind = {"llama": "llm", "llava": "vlm"}[family]
        assert loaded_or_refused(kind, folder)  # by the classes of transformers

    @pytest.mark.parametrize("file", NAMES_A_CLASS)
    def test_is_not_run_for_a_class_that_only_it_has(self, file, copy_of):
        folder = copy_of("llava")
        for key in NAMES_A_CLASS[file]:
            known = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
            mine = {"architectures": ["Mine"], "model_type": "mine"}.get(key, "mine.Mine")
            if key == "image_processor":
                mine = {"image_processor_type": "mine.Mine"}
            edit(folder / file, **{key: mine}, auto_map=dict.fromkeys(AUTO, "mine.Mine"))
            loaded_or_refused("vlm", folder)
            (folder / file).write_text(json.dumps(known))

    def test_of_another_repository_is_not_fetched(self, copy_of):
        folder = copy_of("llama")
        edit(folder / "config.json", auto_map=dict.fromkeys(AUTO, "evil/repository--mine.Mine"))
        edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil/r--m.M"]})
        assert loaded_or_refused("llm", folder)

    def test_for_decoding_is_not_run(self, copy_of, marker):
        folder = copy_of("llama")
        (folder / "custom_generate").mkdir()
        text = CODE.format(marker=str(marker))
        (folder / "custom_generate" / "generate.py").write_text(text)
        edit(folder / "generation_config.json", custom_generate=str(folder))
        loaded_or_refused("llm", folder)

    @pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
    def test_for_attention_is_not_fetched(self, key, copy_of):
        folder = copy_of("llama")
        edit(folder / "config.json", **{key: "a/kernel"})
        if not loaded_or_refused("llm", folder):
            assert "'a/kernel'" in refusal("llm", folder)

    def test_that_an_adapter_names_is_not_imported(self, original, copy_of, tmp_path):
        copy_of("llama")  # so that the module could be imported
        load_model(original("llama"), images=False, lora=2).save(tmp_path / "adapter")
        edit(
            tmp_path / "adapter" / "adapter_config.json",
            megatron_config={"tensor_model_parallel_size": 1}, megatron_core="mine",
            auto_mapping={"base_model_class": "Mine", "parent_library": "mine"},
        )  # fmt: skip
        assert "mine" in refusal("llm", original("llama"), lora=str(tmp_path / "adapter"))

    def test_the_attack_would_work(self, copy_of, marker):
        copy_of("llama")
        importlib.import_module("mine")
        sys.modules.pop("mine")
        marker.rmdir()


class TestPickles:
    def test_weights_are_not_read(self, copy_of):
        folder = copy_of("llama")
        state = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        assert "safetensors" in refusal("llm", folder)

    def test_nor_where_an_index_names_them(self, copy_of):
        folder = copy_of("llama")
        state = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model-00001-of-00001.bin")
        index = {
            "metadata": {},
            "weight_map": dict.fromkeys(state, "pytorch_model-00001-of-00001.bin"),
        }
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        assert "safetensors" in refusal("llm", folder)
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        line = refusal("llm", folder)
        assert "'pytorch_model-00001-of-00001.bin', which are not safetensors" in line

    def test_nor_where_the_configuration_names_them(self, copy_of):
        folder = copy_of("llama")
        torch.save(load_file(folder / "model.safetensors"), folder / "mine.bin")
        edit(folder / "config.json", transformers_weights="mine.bin")
        assert "'mine.bin', which are not safetensors" in refusal("llm", folder)

    def test_nor_those_of_an_adapter_beside_a_whole_model(self, original, copy_of, tmp_path):
        folder = copy_of("llama")
        load_model(original("llama"), images=False, lora=2).save(tmp_path / "adapter")
        state = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        shutil.copy(tmp_path / "adapter" / "adapter_config.json", folder)
        torch.save(state, folder / "adapter_model.bin")
        loaded_or_refused("llm", folder)

    def test_adapters_are_not_read(self, original, tmp_path):
        load_model(original("llama"), images=False, lora=2).save(tmp_path / "adapter")
        weights = tmp_path / "adapter" / "adapter_model.safetensors"
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
        line = refusal("llm", original("llama"), lora=str(tmp_path / "adapter"))
        assert "holds no adapter_model.safetensors" in line
        assert "pickled weights are not read" in line
