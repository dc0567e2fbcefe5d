"""Run folders are listed as they stand, the damaged ones among them."""

import json
import os

from hier import HierConfig
from hier.cli import main
from hier.run.folder import RunFolder
from hier.run.listing import list_runs
from hier.run.lock import locked
from hier.run.status import Progress


def made(path, *overrides, checkpoint=0, success=None):
    run = RunFolder.create(HierConfig.load("demo", ["total_timesteps=1000", *overrides]), path)
    run.checkpoints.mkdir()
    if checkpoint:
        (run.checkpoints / f"step-{checkpoint:010d}.zip").touch()
    if success is not None:
        run.append_evaluation({"env_steps": checkpoint, "success_rate": success})
    return run


def test_states_steps_and_success(tmp_path, capsys):
    made(tmp_path / "a", "seed=3", checkpoint=1024, success=0.75)
    made(tmp_path / "deep" / "b", "env.id=[BabyAI-GoTo-v0, BabyAI-Open-v0]", checkpoint=512)
    made(tmp_path / "c", "planner.type=none", checkpoint=1024)  # stopped in its last evaluation
    running = made(tmp_path / "d", checkpoint=256, success=0.5)
    Progress(700, 1000, 0.9, 10.0).save(running)
    (tmp_path / "a" / "videos").mkdir()
    os.utime(tmp_path / "a" / "config.yaml", (0, 0))
    with locked(running.path):
        a, c, d, b = list_runs(tmp_path)
        assert main(["runs", str(tmp_path), "--sort", "success"]) == 0
    assert (a.level, a.planner, a.seed) == ("BabyAI-UnlockPickup-v0", "vlm", 3)
    assert (a.steps, a.total, a.success, a.state) == (1024, 1000, 0.75, "finished")
    assert (b.level, b.success) == ("BabyAI-GoTo-v0, BabyAI-Open-v0", None)
    assert (c.planner, c.state) == ("none", "interrupted")
    assert (b.steps, b.state) == (512, "interrupted")
    assert (d.steps, d.success, d.state) == (700, 0.5, "running")
    assert all(0 <= run.age < 60 for run in (a, b, c, d))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].rsplit("/")[-1] for line in lines[1:3]] == ["a", "d"]
    assert "75%" in lines[1] and "700/1,000" in lines[2]
    assert [run.state for run in list_runs(tmp_path / "d")] == ["interrupted"]


def test_damaged_runs_say_what_is_wrong(tmp_path, capsys):
    for name, text in (("a", "name: [1"), ("b", ""), ("c", "total_timesteps: 5\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    good = made(tmp_path / "d", checkpoint=1000, success=0.5)
    with open(good.evaluations_file, "a") as file:
        file.write('{"env_st')
    assert main(["runs", str(tmp_path), "--json"]) == 0
    a, b, c, d = json.loads(capsys.readouterr().out)
    assert a["state"].startswith("broken: while parsing")
    assert b["state"] == "broken: config.yaml holds no keys"
    assert c["state"] == "broken: there is no 'env'"
    assert (d["state"], d["success"], d["total"]) == ("finished", 0.5, 1000)


def test_a_folder_without_runs(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert "hier train demo" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "none")]) == 2
    assert "is not a folder" in capsys.readouterr().err
