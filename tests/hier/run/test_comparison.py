"""Groups of seeds: their interquartile mean, its interval, and the picture."""

import json

import numpy as np
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from hier import HierConfig
from hier.cli import main
from hier.envs.errors import RunFolderError
from hier.run.comparison import groups_of, interquartile_mean, interval
from hier.run.folder import RunFolder
from hier.run.plotting import common_points


def made(path, seed, final, planner="vlm", speed=1.0, label="demo", total=1000):
    """A run whose training success rises in a straight line to ``final``."""
    lines = [
        f"seed={seed}",
        f"total_timesteps={total}",
        f"planner.type={planner}",
        "env.max_steps=8",
        "env.n_envs=4",
    ]
    config = HierConfig.load("demo", [*lines, f"name={label}", f"eval.every={seed}"])
    run = RunFolder.create(config, path)
    with SummaryWriter(run.tensorboard) as writer:
        for step in range(0, 1001, 20):
            value = final * min(1.0, speed * step / 1000)
            writer.add_scalar("rollout/success_rate", value, step)
    for step in (500, 1000):
        rate = final * step / 1000
        run.append_evaluation({"env_steps": step, "success_rate": rate})
    return str(path)


def test_the_interquartile_mean_drops_a_quarter_on_each_side():
    values = np.array([0.0, 100.0, 2.0, 4.0, 3.0, 5.0, 1.0, 6.0])
    assert interquartile_mean(values) == np.mean([2, 3, 4, 5])
    assert interquartile_mean(np.array([9.0, 1.0, 2.0])) == 4.0  # too few to drop any
    assert interquartile_mean(np.array([0.0, 1.0, 3.0, 50.0])) == 2.0
    np.testing.assert_array_equal(interquartile_mean(np.stack([values, values + 1])), [3.5, 4.5])


def test_the_interval_is_that_of_the_bootstrap_distribution():
    np.testing.assert_array_equal(interval(np.full(5, 0.75)), [0.75, 0.75])
    # The mean of two draws from {0, 1} is 0 or 1 in a quarter of the cases each.
    np.testing.assert_array_equal(interval(np.array([0.0, 1.0])), [0, 1])
    # Three draws from {0, 0, 1} hold three ones in 1/27 = 3.7% of the cases, none in 30%.
    np.testing.assert_array_equal(interval(np.array([0.0, 0.0, 1.0])), [0, 1])
    # Three draws from {0, 3, 6}: each end is the mean in 1/27 of the cases, more than 2.5%.
    np.testing.assert_array_equal(interval(np.array([[0.0, 3.0, 6.0]] * 2)), [[0, 0], [6, 6]])


def test_curves_are_compared_where_all_of_them_are():
    steps, values = common_points([[[0, 0.0], [4, 4.0]], [[2, 1.0], [3, 1.0], [6, 4.0]]])
    np.testing.assert_array_equal(steps, [2, 3, 4])
    np.testing.assert_array_equal(values, [[2, 1], [3, 1], [4, 2]])
    assert len(common_points([[], [[1, 1.0]]])[0]) == 0


def test_runs_that_differ_in_the_seed_alone_are_one_group(tmp_path, capsys):
    runs = [made(tmp_path / f"vlm-{s}", s, f) for s, f in enumerate([0.5, 1.0, 0.9])]
    runs.append(made(tmp_path / "none", 0, 0.25, planner="none"))
    assert main(["compare", *runs, runs[0], "--json"]) == 0  # one named twice counts once
    vlm, none = json.loads(capsys.readouterr().out)
    assert (vlm["group"], none["group"]) == ("demo planner.type=vlm", "demo planner.type=none")
    assert vlm["runs"] == runs[:3] and vlm["steps"] == 1000
    assert vlm["iqm"] == pytest.approx(0.8) and (vlm["low"], vlm["high"]) == (0.5, 1.0)
    assert (vlm["median"], vlm["worst"]) == (0.9, 0.5)
    # 90% is reached at step 900, at step 1000, and never.
    assert vlm["steps_to_90"] == 1000 and none["steps_to_90"] is None
    assert none["low"] is none["high"] is None
    assert main(["compare", *runs]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "group" and "steps to 90%" in header
    assert first.split()[2:] == ["3", "1,000", "80%", "50%", "to", "100%", "90%", "50%", "1,000"]
    assert second.split()[2:] == ["1", "1,000", "25%", "–", "25%", "25%", "–"]


def test_groups_with_names_of_their_own_are_called_by_them(tmp_path):
    runs = [made(tmp_path / "a", 0, 0.5, label="mine"), made(tmp_path / "b", 0, 0.5, "none")]
    assert [group.label for group in groups_of(runs)] == ["mine", "demo"]


def test_a_run_that_goes_on_is_named(tmp_path, capsys):
    run = made(tmp_path / "a", 0, 0.5, total=2000)
    assert main(["compare", run]) == 0
    assert capsys.readouterr().out.endswith(f"\n{run} is not finished: its last evaluation so far "
                                            "counts\n")  # fmt: skip


def test_a_run_without_an_evaluation_is_named(tmp_path, capsys):
    run = RunFolder.create(HierConfig.load("demo"), tmp_path / "a")
    with pytest.raises(RunFolderError, match=r"has no evaluation yet; .* hier train --resume"):
        groups_of([run.path])
    assert main(["compare"]) == 2
    assert "name at least one run folder; hier runs lists them" in capsys.readouterr().err


def test_a_plot_shows_both_groups_in_their_colors(tmp_path, capsys):
    runs = [made(tmp_path / f"vlm-{s}", s, f, speed=2) for s, f in enumerate([0.7, 1.0, 0.9])]
    runs += [made(tmp_path / f"none-{s}", s, f, "none") for s, f in enumerate([0.2, 0.3])]
    out = tmp_path / "success.png"
    assert main(["plot", *runs, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"picture: {out}\n"
    pixels = np.asarray(Image.open(out).convert("RGB")).reshape(-1, 3)
    for color in ("0072b2", "d55e00"):
        assert (pixels == list(bytes.fromhex(color))).all(axis=1).sum() > 500
