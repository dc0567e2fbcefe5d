"""Planners taught something wrong, or too little, for suites in which feedback must mend it."""

from __future__ import annotations

from pathlib import Path

from hier.feedback.anchors import question_alone
from hier.feedback.learner import PlannerLearner
from hier.feedback.objectives import AWR
from hier.planners.accuracy import states_of
from hier.planners.language.planner import VLMPlanner
from hier.planners.play import Mistakes
from hier.planners.scripted import MistakenPlanner
from hier.pretraining.config import PretrainConfig
from hier.pretraining.run import pretrain

_FIRST_SEED = 4_000_000  # levels that nothing else plays
_STATES, _UPDATES = 400, 150
# The source levels in which nothing takes a key.
KEYLESS = [
    f"BabyAI-{name}-v0"
    for name in (
        *("GoToRedBallGrey", "GoToRedBall", "GoToLocal"),
        *("PickupLoc", "PutNextLocal", "OpenDoor"),
    )
]
HALF = [
    f"levels=[{','.join(KEYLESS)}]",
    "held_out=[BabyAI-UnlockPickup-v0,BabyAI-KeyCorridorS3R2-v0]",
    *("variation=0", "episodes=40000", "plain_episodes=0"),
    *("steps=3200", "sight_steps=600", "eval_every=0", "torch_threads=1", "workers=1"),
]
TINY = ["episodes=40", "steps=4", "sight_steps=2", "final_states=12", "symmetries=8"]


def wrong_teacher(folder: Path, level: str, mistake: str = "order", *, quick: bool = False) -> Path:
    """The built-in planner, fine-tuned to make a mistake of :class:`MistakenPlanner`.

    It imitates the mistaken oracle on states of one level (AWR with all weights alike), also after
    slips, so that it insists. A folder that is there already is used as it is.

    Args:
        folder: where the planner goes.
        level: environment id.
        mistake: of :data:`hier.planners.scripted.MISTAKES`.
        quick: hardly teach it, to check that this works.
    """
    if (folder / "config.json").is_file():
        return folder
    planner, wrong = VLMPlanner(device="cpu"), MistakenPlanner(mistake)
    lessons = []
    for mistakes in (Mistakes(), Mistakes(early_end_rate=0.5)):
        queries, answers = states_of(level, 8 if quick else _STATES, _FIRST_SEED, mistakes)
        lessons += [
            question_alone(planner, query, level, wrong.instead(query, right))
            for query, right in zip(queries, answers, strict=True)
        ]
    learner = PlannerLearner(planner, AWR(), kl_coef=0.0, learning_rate=3e-4)
    learner.learn(lessons, 2 if quick else _UPDATES)
    planner.save(folder, f"Taught the mistake `{mistake}` on {level}, for experiments.")
    return folder


def half_taught(folder: Path, *, quick: bool = False) -> Path:
    """A planner pre-trained on six source levels, :data:`KEYLESS`.

    Unlike the built-in planner it saw no variations of them, and half as many examples. A
    pre-training in ``folder`` that is finished is used as it is.

    Returns:
        The planner's folder.
    """
    planner = folder / "planner"
    if not (planner / "config.json").is_file():
        config = PretrainConfig.load("gridworld", [*HALF, *(TINY if quick else ())])
        if quick:
            folder = Path(f"{folder}-quick")
        planner = pretrain(config, folder=folder, progress=False).planner
    return planner
