"""Pre-training through the command line, and the planner that ships."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from hier import HierConfig, PretrainConfig, pretrain, resume_pretraining
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.registry import domain_named
from hier.planners.accuracy import measure_accuracy
from hier.planners.language.models import BUILT_IN
from hier.planners.language.planner import VLMPlanner

TINY = [
    "levels=[BabyAI-GoToObj-v0, BabyAI-UnlockPickup-v0]", "held_out=[BabyAI-GoToLocal-v0]",
    "episodes=12", "plain_episodes=6", "steps=20", "sight_steps=6",
    "batch_size=8", "eval_every=10", "eval_states=4", "final_states=8",
    "symmetries=4", "workers=1", "torch_threads=1", "checkpoint_every=5", "model.vision_size=16",
    "model.vision_layers=1", "model.text_size=16", "model.text_layers=1", "model.heads=2",
]  # fmt: skip


def start(folder, *overrides):
    command = [sys.executable, "-m", "hier.cli", "pretrain", "gridworld", *TINY, *overrides]
    return subprocess.Popen(
        [*command, "--run", str(folder), "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "made"
    return pretrain(PretrainConfig.load("gridworld", TINY), folder=folder, progress=False)


@pytest.mark.slow
def test_it_leaves_a_planner_that_plain_transformers_loads(made):
    assert made.steps == 20 and made.accuracy is not None
    model = transformers.AutoModelForImageTextToText.from_pretrained(made.planner)
    processor = transformers.AutoProcessor.from_pretrained(made.planner)
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "go"}]}],
        add_generation_prompt=True,
    )
    image = torch.zeros(120, 120, 3, dtype=torch.uint8).numpy()
    inputs = processor(text=[prompt], images=[image], return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=3).shape[1] > inputs["input_ids"].shape[1]
    card = (made.planner / "README.md").read_text()
    for words in ("hier pretrain gridworld", "| BabyAI-GoToObj-v0 | source", "GoToLocal-v0 | held"):
        assert words in card
    again = measure_accuracy(
        VLMPlanner(str(made.planner)), ["BabyAI-GoToObj-v0"], 4, first_seed=3_000_000
    )
    assert again.levels[0] == made.accuracy.levels[0]


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path):
    process = start(tmp_path / "run", "steps=100000")
    state = tmp_path / "run" / "training.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "hier pretrain --resume" in out
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(config.replace("steps: 100000", "steps: 1"))
    result = resume_pretraining(tmp_path / "run", progress=False)
    assert result.steps >= 5 and result.accuracy is not None


@pytest.mark.slow
def test_a_damaged_state_is_named(made, tmp_path):
    import shutil

    shutil.copytree(made.folder, tmp_path / "run")
    (tmp_path / "run" / "training.safetensors").write_bytes(b"no")
    with pytest.raises(RunFolderError, match=r"training\.safetensors is damaged"):
        resume_pretraining(tmp_path / "run", progress=False)


@pytest.mark.slow
def test_a_folder_with_a_run_is_not_overwritten(made):
    with pytest.raises(RunFolderError, match="already holds a run"):
        pretrain(PretrainConfig.load("gridworld", TINY), folder=made.folder, progress=False)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("model.patch=50", "choose a divisor of 120"),
        ("model.text_size=18", "choose a multiple of 4 heads"),
        ("levels=[BabyAI-GoToObjj-v0]", "did you mean 'BabyAI-GoToObj-v0'"),
        ("model.patch=20", "multiple of 8"),
        ("sight_steps=6400", "leave steps in which"),
        ("stepps=3", "did you mean 'steps'"),
        ("own_episodes=5", "start names no planner"),
        ("variation=2", "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_played(override, complaint, tmp_path):
    with pytest.raises(ConfigError, match=complaint):
        pretrain(PretrainConfig.load("gridworld", [override]), folder=tmp_path / "no")
    assert not (tmp_path / "no").exists()


class TestShippedPlanner:
    def test_it_is_small_and_documented(self):
        folder = BUILT_IN / "gridworld"
        size = sum(file.stat().st_size for file in folder.iterdir())
        assert size < 8_000_000
        assert all(weight.dtype == torch.float32 for weight in _weights(folder).values())
        card = (folder / "README.md").read_text()
        assert "held out" in card and "hier pretrain" in card
        assert str(Path.cwd()) not in "".join(
            file.read_text() for file in folder.iterdir() if file.suffix in (".md", ".json")
        )

    def test_it_is_right_where_the_demo_plays(self):
        found = measure_accuracy(
            VLMPlanner(), ["BabyAI-UnlockPickup-v0"], 150, first_seed=3_000_000
        )
        assert found.mean > 0.95

    @pytest.mark.slow
    def test_a_folder_of_the_same_name_goes_first(self, made, tmp_path, monkeypatch):
        (tmp_path / "gridworld").symlink_to(made.planner)
        monkeypatch.chdir(tmp_path)
        assert VLMPlanner("gridworld").loaded.network.config.text_config.hidden_size == 16
        os.unlink(tmp_path / "gridworld")
        assert VLMPlanner().loaded.network.config.text_config.hidden_size > 16


def _weights(folder):
    return load_file(folder / "model.safetensors")


def test_presets_use_the_domains_source_levels():
    source = list(domain_named("gridworld").source_levels)
    assert PretrainConfig.load("gridworld").levels == source
    assert HierConfig.load("source-levels").env.ids == source
