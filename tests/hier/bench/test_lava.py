"""The suite on the safety filter, and the count of violations in training."""

import pytest

from hier import HierConfig, train
from hier.bench import run_suite
from tests.hier.hierarchy.test_safety import LAVA


@pytest.mark.slow
@pytest.mark.parametrize("filtered", [False, True])
def test_violations_in_training_are_counted(filtered, tmp_path):
    config = HierConfig.load("demo", [*LAVA, f"safety.filter={str(filtered).lower()}"])
    result = train(config, folder=tmp_path / "run", progress=False)
    if filtered:
        assert result.violations == 0
    else:
        assert 0 < result.violations <= result.episodes  # lava ends an episode


@pytest.mark.slow
def test_quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # runs go to the working folder
    result = run_suite("lava", quick=True, out=tmp_path / "result.json")
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")
    rows = {row["variant"]: row for row in result["rows"]}
    free, guarded = rows["no filter"], rows["filter"]
    later = rows["filter in evaluation only"]
    assert 0 < free["train_violations"] <= 1 and free["prevented"] == 0
    assert guarded["train_violations"] == guarded["violations"] == later["violations"] == 0
    assert later["prevented"] > 0 and "train_violations" not in later
    figures = result["figures"]
    assert figures["MiniGrid-LavaGapS7.no_filter.train_violations"] == free["train_violations"]
    assert figures["MiniGrid-LavaGapS7.filter_in_evaluation_only.success"] == later["success"]
