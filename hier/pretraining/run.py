"""Pre-training makes a small planner that looks at pixels from a domain's expert.

It plays and stores demonstrations, trains a tiny LLaVA on them, and measures the result on unseen
seeds and on levels that were held out. After an interruption it goes on where it stopped.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.files import atomic_write
from hier.envs.tensors import pack, unpack
from hier.planners.accuracy import Accuracy, measure_accuracy, success_rate
from hier.planners.language.models import PlannerModel, load_model
from hier.planners.language.pictures import check_images
from hier.planners.language.planner import VLMPlanner
from hier.planners.language.prompts import PromptFormat
from hier.planners.play import NO_MISTAKES, Mistakes, Player
from hier.planners.pretraining.demonstrations import (
    collect_demonstrations,
    load_demonstrations,
)
from hier.planners.pretraining.examples import Examples, labeled_questions
from hier.planners.pretraining.learner import Learner
from hier.planners.pretraining.sight import MapReader, tokens_a_side
from hier.planners.pretraining.tiny_vlm import TinyVLM, build_tiny_vlm
from hier.planners.scripted import OraclePlanner
from hier.pretraining.config import ON_THE_WAY, PretrainConfig
from hier.pretraining.model_card import model_card
from hier.run.folder import RunFolder
from hier.run.lock import locked
from hier.run.saving import StopOnSignal

STATE = "training.safetensors"
_PICKLED = "training.pt"  # what it was once


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """The result of a pre-training.

    Attributes:
        folder: folder of the run.
        planner: folder of the planner, for ``planner.model`` and for transformers.
        accuracy: on unseen seeds of the levels trained on; ``None`` after an interruption.
        steps: gradient steps so far, earlier parts of the run included.
        seconds: wall time since the start or the resumption.
    """

    folder: Path
    planner: Path
    accuracy: Accuracy | None
    steps: int
    seconds: float


def pretrain(
    config: PretrainConfig, *, folder: str | Path | None = None, progress: bool = True
) -> PretrainResult:
    """Make a planner from scratch.

    Args:
        config: levels, sizes, steps.
        folder: where the run goes; ``runs/NAME-sSEED-DATE-TIME`` when omitted.
        progress: show bars.

    Raises:
        RunFolderError: if the folder already holds a run.
        ConfigError: for sizes that do not fit together.
    """
    _check(config)
    run = RunFolder.create(config, folder)
    with locked(run.path):
        return _run(config, run, progress)


def resume_pretraining(
    folder: str | Path, *, progress: bool = True, trust_code: bool = False
) -> PretrainResult:
    """Go on with an interrupted pre-training, from its last checkpoint.

    Stored demonstrations are used again. The order of the examples is drawn anew.

    Args:
        folder: the run.
        progress: show bars.
        trust_code: run code that the run's configuration names.

    Raises:
        RunFolderError: if the folder is not that of a pre-training.
        UntrustedCodeError: if it names code that is not trusted.
    """
    run = RunFolder.open(folder)
    config = PretrainConfig.of_run(run.config_file, trust_code=trust_code)
    with locked(run.path):
        return _run(config, run, progress)


def _check(config: PretrainConfig) -> None:
    sizes, domain = config.model, config.domain
    if config.sight_steps >= config.steps:
        raise ConfigError(
            f"sight_steps is {config.sight_steps} of {config.steps} steps; leave steps in which "
            "the planner learns answers"
        )
    if config.own_episodes and config.start is None:
        raise ConfigError(
            f"own_episodes is {config.own_episodes}, but start names no planner; set start, or "
            "own_episodes=0"
        )
    check_images("", domain)
    side, tile = _sides(config)
    maps = domain.variations().maps
    if maps is None and config.sight_steps:
        raise ConfigError(
            f"sight_steps is {config.sight_steps}, but the pictures of the domain {domain.name!r} "
            "are not maps; set sight_steps=0"
        )
    if side % sizes.patch or sizes.patch % tile:
        whole = f" and a multiple of {tile}, so that a patch holds whole cells" if maps else ""
        raise ConfigError(
            f"model.patch is {sizes.patch}; choose a divisor of {side}, the side of the domain's "
            f"pictures in pixels{whole}"
        )
    for name in ("vision_size", "text_size"):
        if getattr(sizes, name) % sizes.heads:
            raise ConfigError(
                f"model.{name} is {getattr(sizes, name)}; choose a multiple of {sizes.heads} heads"
            )


def _sides(config: PretrainConfig) -> tuple[int, int]:
    """Sides of the domain's pictures and of a map's cell, in pixels; 1 where there is no map.

    Raises:
        ConfigError: for pictures that are not square.
    """
    height, width = Player(config.levels[0]).first_picture().shape[:2]
    if height != width:
        raise ConfigError(
            f"pictures of the domain {config.domain.name!r} have {width} x {height} pixels, but "
            "pre-training needs squares; change the picture() of the domain"
        )
    maps = config.domain.variations().maps
    return height, height // maps.cells if maps else 1


def _run(config: PretrainConfig, run: RunFolder, progress: bool) -> PretrainResult:
    started = time.perf_counter()
    torch.set_num_threads(config.torch_threads)
    files: list[Path] = []
    played = 0
    for episodes, variation, planner in (
        (config.episodes, config.variation, None),
        (config.plain_episodes, 0.0, None),
        (config.own_episodes, config.variation, config.start),
    ):
        files += collect_demonstrations(
            run.path / "demonstrations",
            config.levels,
            episodes=episodes,
            seed=played,
            variation=variation,
            gamma=config.gamma,
            planner=planner,
            workers=config.workers,
            progress=progress,
        )
        played += episodes
    training = _Training(config, run, [load_demonstrations(file) for file in files])
    stopped = training.learn(progress)
    accuracy = None if stopped else training.report()
    return PretrainResult(
        folder=run.path,
        planner=run.path / "planner",
        accuracy=accuracy,
        steps=training.learner.steps_done,
        seconds=time.perf_counter() - started,
    )


class _Training:
    """The networks and examples of one pre-training."""

    def __init__(self, config: PretrainConfig, run: RunFolder, shards: list[list[Any]]):
        self.config, self.run = config, run
        demonstrations = [d for shard in shards for d in shard]
        actions = config.domain.scripted_controller().actions
        ways = config.domain.variations()
        if config.start is None:
            texts = {
                text
                for d in demonstrations
                for asked in labeled_questions(d, actions)
                for text in (asked.question, *asked.answers)
            }
            sizes = TinyVLM(_sides(config)[0], **config.model.model_dump())
            network, processor = build_tiny_vlm([*texts, *ways.words], sizes, seed=config.seed)
            torch.manual_seed(config.seed)
            value_head = torch.nn.Linear(config.model.text_size, 1)
            self.model = PlannerModel(network, processor, "scratch", value_head)
        else:
            self.model = load_model(config.start, images=True, device="cpu")
            network, processor = self.model.module, self.model.processor
            value_head = self.model.add_value_head()
        self.form = PromptFormat(processor, 1, network.config.model_type)
        rng = np.random.default_rng(config.seed)
        draw = ways.symmetry
        symmetries = [draw(rng) for _ in range(config.symmetries)] if draw else []
        self.examples = Examples(demonstrations, actions, self.form, ways.maps, symmetries)
        torch.manual_seed(config.seed)
        reader = None
        if ways.maps is not None:
            reader = MapReader(
                network.config.text_config.hidden_size,
                ways.maps.cells,
                tokens_a_side(network),
                self.examples.frequencies(),
                ways.maps.words,
                processor.tokenizer.get_vocab(),
            )
        self.learner = Learner(
            network,
            value_head,
            reader,
            steps=config.steps,
            sight_steps=config.sight_steps,
            learning_rate=config.learning_rate,
        )
        self.counts = {
            "demonstrations": len(demonstrations),
            "parameters": sum(p.numel() for p in network.parameters()),
            "pixels": network.config.vision_config.image_size,
        }
        if (run.path / STATE).is_file():
            _restore(self.learner, run.path / STATE)
        elif (run.path / _PICKLED).is_file():
            raise RunFolderError(
                f"{run.path / _PICKLED} is a pickle of an older version, which is not read any "
                "more; delete it to train anew on the demonstrations already played"
            )

    def learn(self, progress: bool) -> bool:
        """Train to the end or until a signal; returns whether a signal came."""
        config, learner = self.config, self.learner
        rng = np.random.default_rng([config.seed, learner.steps_done])
        epochs = (
            self.examples.batches(config.batch_size, config.task_shares, rng) for _ in count()
        )
        batches = chain.from_iterable(epochs)
        stop = StopOnSignal()
        writer = SummaryWriter(self.run.tensorboard)
        bar = tqdm(
            total=config.steps, initial=learner.steps_done, desc="pretrain", unit="step",
            disable=not progress,
        )  # fmt: skip
        recent: list[dict[str, float]] = []
        last = time.perf_counter()
        with stop.listening(), bar:
            while learner.steps_done < config.steps and not stop.stopped:
                recent.append(learner.step(next(batches)))
                bar.update()
                done = learner.steps_done
                if not math.isfinite(recent[-1]["loss"]):
                    raise ConfigError(
                        f"the loss is {recent[-1]['loss']} at step {done}; lower "
                        f"learning_rate (now {config.learning_rate}) in a new run"
                    )
                if done % 20 == 0:
                    now = time.perf_counter()
                    means = _means(recent)
                    means["samples_per_second"] = 20 * config.batch_size / (now - last)
                    last, recent = now, []
                    for name, value in means.items():
                        writer.add_scalar(f"pretrain/{name}", value, done)
                    bar.set_postfix(
                        loss=f"{means['loss']:.3f}",
                        subgoal=f"{means.get('loss_subgoal', math.nan):.3f}",
                    )
                if done % config.checkpoint_every == 0:
                    self.checkpoint()
                if config.eval_every and done % config.eval_every == 0 and done < config.steps:
                    self.save()
                    accuracy = self.measure(config.levels, config.eval_states, ON_THE_WAY)
                    writer.add_scalar("eval/accuracy", accuracy.mean, done)
                    if progress:
                        bar.write(f"step {done}: accuracy {accuracy.mean:.3f}")
                    last = time.perf_counter()
        self.checkpoint()
        writer.close()
        return stop.stopped

    def checkpoint(self) -> None:
        """Save the state that training resumes from, and the present planner."""
        with atomic_write(self.run.path / STATE) as file:
            file.write_bytes(pack(self.learner.state_dict()))
        self.save()

    def save(self, card: str = "") -> None:
        """Write the planner's folder."""
        self.model.save(self.run.path / "planner", card)

    def measure(
        self, levels: list[str], states: int, first_seed: int, mistakes: Mistakes = NO_MISTAKES
    ) -> Accuracy:
        """Accuracy of the planner last saved, with ``states`` shared out over the source levels."""
        each = math.ceil(states / len(self.config.levels))
        return measure_accuracy(
            self.planner, levels, each, first_seed=first_seed, mistakes=mistakes
        )

    @property
    def planner(self) -> VLMPlanner:
        """The planner last saved."""
        folder = str(self.run.path / "planner")
        return VLMPlanner(folder, device="cpu", domain=self.config.domain)

    def report(self) -> Accuracy:
        """Measure at the end, and write the results into the model card."""
        config = self.config
        found = [
            (
                kind,
                self.measure(levels, config.final_states, config.first_seed),
                self.measure(levels, config.final_states, config.first_seed, Mistakes()),
            )
            for kind, levels in (("source", config.levels), ("held out", config.held_out))
            if levels
        ]
        with SummaryWriter(self.run.tensorboard) as writer:
            for kind, plain, after in found:
                name = kind.replace(" ", "_")
                writer.add_scalar(f"final/accuracy_{name}", plain.mean, self.learner.steps_done)
                writer.add_scalar(
                    f"final/accuracy_{name}_after_mistakes", after.mean, self.learner.steps_done
                )
        self.save(model_card(config, self.counts, found, self.solved()))
        return found[0][1]

    def solved(self) -> dict[str, tuple[float, float]]:
        """Success rates per level, of the planner and of the oracle; see ``final_episodes``."""
        config, planner, oracle = self.config, self.planner, OraclePlanner()
        episodes, first = config.final_episodes, config.first_seed
        levels = [*config.levels, *config.held_out] if episodes else []
        return {
            level: (
                success_rate(planner, level, episodes, first_seed=first),
                success_rate(oracle, level, episodes, first_seed=first),
            )
            for level in levels
        }


def _means(reports: list[dict[str, float]]) -> dict[str, float]:
    names = {name for report in reports for name in report}
    return {
        name: float(np.mean([report[name] for report in reports if name in report]))
        for name in sorted(names)
    }


def _restore(learner: Learner, file: Path) -> None:
    try:
        learner.load_state_dict(unpack(file.read_bytes()))
    except Exception as error:
        raise RunFolderError(
            f"{file} is damaged ({type(error).__name__}); delete it to train anew on the "
            "demonstrations already played"
        ) from error
