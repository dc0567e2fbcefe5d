"""The suite that measures planners by size: what it computes is so, and what it trains is LoRA."""

from __future__ import annotations

import pytest
import torch

from hier.bench import scale


@pytest.fixture(scope="module")
def tiny():
    return scale.build("tiny", 0, "cpu", "float32")


@pytest.mark.slow
def test_quick(capsys):
    figures, rows = scale.scale(True, [0])
    assert not figures["cuda"] or torch.cuda.is_available()
    (row,) = rows
    assert row["measured"] and row["why"] == "" and row["strategy"] == "tree"
    assert figures["tiny.measured"] and figures["tiny.parameters"] == row["parameters"]
    for key in ("encode_ms", "score_ms", "lora_step_ms", "tokens_per_s", "lora_tokens_per_s"):
        assert row[key] > 0
    assert row["score_ms"] > row["encode_ms"]
    assert 25 < row["tokens"] < 100  # 25 patches of the map, and the words
    assert 0.9 * row["weights_gb"] < row["memory_gb"] < 2
    assert "M parameters" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_from_the_parameters_is_that_of_the_model(dtype):
    expected = scale.computed("tiny", 0, dtype)
    built = scale.build("tiny", 0, "cpu", dtype).model
    layers = [w for name, w in built.module.named_parameters() if "lora_" not in name]
    adapter = [w for name, w in built.module.named_parameters() if "lora_" in name]
    assert expected["parameters"] == sum(w.numel() for w in layers) > 1_000_000
    weights = sum(w.numel() * w.element_size() for w in layers)
    assert expected["weights_gb"] == expected["memory_gb"] == weights / 1e9
    # The optimizer's own account of an adapter's weights, gradients and moments.
    optimizer = torch.optim.AdamW(adapter)
    for weight in adapter:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    trained = sum(t.nbytes for w in adapter for t in (w, w.grad)) + sum(t.nbytes for t in moments)
    assert expected["lora_parameters"] == sum(w.numel() for w in adapter)
    assert expected["lora_memory_gb"] == pytest.approx((weights + trained) / 1e9)


@pytest.mark.parametrize(
    ("name", "parameters"), [("256M", 256_484_928), ("1B", 938_193_024), ("3B", 3_754_622_976)]
)
def test_sizes_are_those_of_the_published_models(name, parameters):
    assert scale.computed(name, 0, "bfloat16")["parameters"] == parameters


def test_a_lora_step_changes_the_adapter_alone(tiny):
    module = tiny.model.module
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=scale.LEARNING_RATE)
    for _ in range(2):  # the first moves one factor of each product only, the other being zero
        scale.lora_step(tiny, optimizer, "tree")
    moved = {
        name
        for name, weight in module.state_dict().items()
        if not torch.equal(weight, before[name])
    }
    assert moved == {name for name in before if "lora_" in name}


@pytest.mark.parametrize(
    ("name", "limits", "why"),
    [
        ("256M", {"free": 2e9}, "GB are free"),
        ("256M", {"free": 1e12, "cost": 1e-6}, "would take about 256 CPU seconds"),
        ("3B", {"free": 1e12}, "needs a GPU"),
    ],
)
def test_what_does_not_fit_is_computed_and_says_so(name, limits, why):
    row = scale.size_row(name, 0, "cpu", **limits)
    assert not row["measured"] and why in row["why"]
    assert row["score_ms"] is None and row["lora_step_ms"] is None
    assert row["memory_gb"] == row["weights_gb"] < row["lora_memory_gb"]
    assert row["weights_gb"] == row["parameters"] * (4 if name == "256M" else 2) / 1e9
