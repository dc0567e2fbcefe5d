"""Runs on the Hugging Face Hub: push one with its planner and a card, load one to play it.

What is loaded is data: safetensors, YAML and JSON. Code that its configuration names is run only if
the user's own command says so (docs/security.md).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hier.config import HierConfig
from hier.envs.errors import RunFolderError, UserError, in_one_line
from hier.envs.files import atomic_write
from hier.planners.registry import GATED, PARTS, part_arguments
from hier.run.folder import RunFolder

# Nothing else is taken from a repository.
_FILES = (
    *("config.yaml", "run.json", "evaluations.jsonl", "README.md"),
    *("checkpoints/*.zip", "planner/*", "videos/*.gif"),
)
_CARD = """\
# {title}

A hierarchical agent: a planner proposes subgoals, and a Stable-Baselines3 controller ({algorithm})
pursues them. {planner}

```sh
hier load {repo} --run runs/{name}
hier eval runs/{name}
hier record runs/{name}
```
{video}
## Evaluation

{evaluation}

`config.yaml` holds the whole configuration: `hier train config.yaml` trains it anew.
"""


def push(run: str | Path, repo: str, *, private: bool = False, trust_code: bool = False) -> str:
    """Publish a run: newest controller, planner, configuration, evaluations, and a card.

    Args:
        run: its folder.
        repo: ``organization/name`` on the Hub; made if it is not there.
        private: make it visible to its owners alone.
        trust_code: run code that the run's configuration names.

    Returns:
        The address of what was published.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
        UserError: if the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        package(run, folder, repo, trust_code=trust_code)
        with _answered(repo):
            api = HfApi(library_name="hier")
            api.create_repo(repo, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=f"The run {Path(run).name}"
            )
    return str(done.commit_url)


def load(repo: str, folder: str | Path) -> RunFolder:
    """Download what :func:`push` published.

    Args:
        repo: ``organization/name`` on the Hub.
        folder: where the run goes; it must not hold one yet.

    Raises:
        RunFolderError: if the folder holds a run already, or the repository holds none.
        UserError: if the Hub refuses or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    run = RunFolder(folder)
    run.require_new()
    with tempfile.TemporaryDirectory() as temporary:
        with _answered(repo):
            snapshot_download(
                repo, local_dir=temporary, allow_patterns=list(_FILES), library_name="hier"
            )
        if not (Path(temporary) / "config.yaml").is_file():
            raise RunFolderError(
                f"{repo} holds no run of hier (it has no config.yaml); hier push RUN {repo} would "
                "publish one"
            )
        shutil.rmtree(Path(temporary) / ".cache", ignore_errors=True)
        shutil.copytree(temporary, run.path, dirs_exist_ok=True)
    return run


def package(run: str | Path, folder: Path, repo: str, *, trust_code: bool = False) -> None:
    """Write what :func:`push` publishes: a run folder that stands by itself.

    Args:
        run: the run's folder.
        folder: where it goes.
        repo: for the card.
        trust_code: see :func:`push`.

    Raises:
        RunFolderError: see :func:`push`, and for a gated planner with a model of this machine.
        UntrustedCodeError: see :func:`push`.
    """
    source, target = RunFolder.open(run), RunFolder(folder)
    checkpoint, config = source.latest_checkpoint(), source.config(trust_code=trust_code)
    for part in PARTS if config.planner.type == GATED else ():
        given = config.planner.options.get(part)
        model = None if given is None else part_arguments(part, given)[1].get("model")
        if model and Path(model).is_dir():
            raise RunFolderError(
                f"planner.options.{part}.model of {source.path} is {model}, a folder of "
                "this machine, which a published run cannot take along; push that model by itself "
                "and name its repository there"
            )
    target.checkpoints.mkdir(parents=True)
    shutil.copy2(checkpoint, target.checkpoints)
    # A planner that this machine alone has goes along, where a learned one would be.
    own = Path(config.planner.model or "")
    planner = source.planner if source.planner.exists() else own
    if config.planner.model and own.is_dir():
        config = config.override("planner.model=null")
    if planner.is_dir() and planner != Path():
        shutil.copytree(planner, target.planner)
    config = config.override("controller.start=null")
    with atomic_write(target.config_file) as file:
        file.write_text(config.to_yaml())
    about = source.about()
    about.pop("command", None)  # it may hold paths
    (target.path / "run.json").write_text(json.dumps(about, indent=1) + "\n")
    for entry in source.evaluations():
        target.append_evaluation(entry)
    videos = sorted(source.videos.glob("*.gif"))[-1:]
    for video in videos:
        target.videos.mkdir(exist_ok=True)
        shutil.copy2(video, target.videos)
    _card(config, source, repo, videos, has_planner=target.planner.exists()).save(
        target.path / "README.md"
    )


def _card(
    config: HierConfig, run: RunFolder, repo: str, videos: list[Path], *, has_planner: bool
) -> Any:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    levels, name = ", ".join(config.env.ids), repo.rpartition("/")[2]
    found, words = [], "It has not been evaluated."
    for last in run.evaluations()[-1:]:
        found.append(
            EvalResult(
                task_type="reinforcement-learning",
                dataset_type=config.env.ids[0],
                dataset_name=levels,
                metric_type="success_rate",
                metric_name="success rate",
                metric_value=round(last["success_rate"], 4),
            )
        )
        episodes = f"{last['episodes']:.0f} " if "episodes" in last else ""
        words = (
            f"Success in {last['success_rate']:.0%} of {episodes}unseen episodes of "
            f"{levels} after {last['env_steps']:,} environment steps."
        )
    data = ModelCardData(
        library_name="hier",
        tags=["reinforcement-learning", "hierarchical-reinforcement-learning", *config.env.ids],
        model_name=name,
        eval_results=found or None,
    )
    kind = f"`{config.planner.type}`" + (" (in `planner/`)" if has_planner else "")
    text = _CARD.format(
        title=name,
        algorithm=config.controller.algorithm,
        planner="It has no planner." if config.planner.type == "none" else f"Planner: {kind}.",
        repo=repo,
        name=name,
        video=f"\n![An episode](videos/{videos[0].name})\n" if videos else "",
        evaluation=words,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


@contextmanager
def _answered(repo: str) -> Iterator[None]:
    """What the Hub and the way to it may raise, in one line with a remedy."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except Exception as error:  # of several libraries, by the version that is installed
        reason = in_one_line(error)
        if isinstance(error, HfHubHTTPError | LocalTokenNotFoundError | ValueError):
            raise UserError(
                f"the Hub refuses {repo} ({reason}); check its name (organization/name) and your "
                "rights, and log in: hf auth login"
            ) from error
        raise UserError(
            f"the Hub cannot be reached for {repo} ({reason}); check the network, or set "
            "HF_ENDPOINT to another address"
        ) from error
