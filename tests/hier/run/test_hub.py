"""Runs on the Hub, against a small server that stands for it."""

import base64
import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest

from hier import HierConfig, planners
from hier.cli import main
from hier.envs.errors import RunFolderError, UserError
from hier.run.evaluation import evaluate
from hier.run.folder import RunFolder
from hier.run.hub import load, package, push
from hier.run.training import train

SMALL = [
    "total_timesteps=512", "env.n_envs=4", "planner.type=vlm", "eval.every=0", "eval.episodes=4",
    "eval.videos=1", "torch_threads=1", "controller.options={n_steps: 64, batch_size: 64}",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = HierConfig.load("demo", SMALL)
    return train(config, folder=tmp_path_factory.mktemp("runs") / "mine", progress=False).folder


@pytest.fixture(scope="module")
def hub():
    """Files by repository, and the server's address."""
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, Response

    app, files = FastAPI(), dict[str, dict[str, bytes]]()

    def refused(repo):
        words = {"X-Error-Code": "RepoNotFound", "X-Error-Message": f"no repository {repo}"}
        return JSONResponse({"error": "no"}, status_code=404, headers=words)

    @app.post("/api/repos/create")
    async def create(request: Request):
        body = await request.json()
        repo = f"{body.get('organization') or 'me'}/{body['name']}"
        files.setdefault(repo, {})
        return {"url": f"https://huggingface.co/{repo}"}

    @app.post("/api/validate-yaml")
    async def validate():
        return {"errors": [], "warnings": []}

    @app.post("/api/models/{org}/{name}/preupload/{revision}")
    async def preupload(org, name, revision, request: Request):
        body = await request.json()
        return {
            "files": [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for f in body["files"]
            ]
        }

    @app.post("/api/models/{org}/{name}/commit/{revision}")
    async def commit(org, name, revision, request: Request):
        for line in (await request.body()).splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                files[f"{org}/{name}"][entry["value"]["path"]] = content
        return {"commitUrl": f"https://huggingface.co/{org}/{name}/commit/1", "commitOid": "1" * 40}

    @app.get("/api/models/{org}/{name}")
    @app.get("/api/models/{org}/{name}/revision/{revision}")
    async def info(org, name, revision="main"):
        repo = f"{org}/{name}"
        if repo not in files:
            return refused(repo)
        return {
            "id": repo, "sha": "1" * 40, "tags": [], "downloads": 0, "private": False,
            "siblings": [{"rfilename": path} for path in files[repo]],
        }  # fmt: skip

    @app.get("/api/models/{org}/{name}/tree/{revision}")
    async def tree(org, name, revision):
        found = files[f"{org}/{name}"].items()
        return [{"type": "file", "path": p, "size": len(c), "oid": "2" * 40} for p, c in found]

    @app.api_route("/{org}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(org, name, revision, path):
        content = files[f"{org}/{name}"][path]
        headers = {"X-Repo-Commit": "1" * 40, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        return Response(content, headers=headers, media_type="application/octet-stream")

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    yield files, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def online(hub, monkeypatch):
    """The files of a Hub that the library reaches."""
    files, address = hub
    for module in ("huggingface_hub.constants", "huggingface_hub.hf_api"):
        monkeypatch.setattr(f"{module}.ENDPOINT", address, raising=False)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: "hf_x", raising=False)
    return files


@pytest.mark.slow
def test_a_run_that_was_pushed_is_loaded_and_played(run, online, tmp_path, monkeypatch, capsys):
    assert "commit" in push(run, "lab/agent")
    stored = online["lab/agent"]
    assert {"config.yaml", "README.md", "run.json", "evaluations.jsonl"} <= set(stored)
    assert len([path for path in stored if path.startswith("checkpoints/")]) == 1
    assert b"command" not in stored["run.json"]
    stored["evil.py"] = b"raise SystemExit"  # nobody asked for it
    monkeypatch.chdir(tmp_path)
    assert main(["load", "lab/agent"]) == 0
    assert "hier eval runs/agent" in capsys.readouterr().out
    assert not list(tmp_path.rglob("evil.py")) and not list(tmp_path.rglob(".cache"))
    before, after = (evaluate(path, episodes=4, progress=False) for path in (run, "runs/agent"))
    assert before.summary() == after.summary()
    with pytest.raises(RunFolderError, match="already holds a run"):
        load("lab/agent", "runs/agent")


@pytest.mark.slow
def test_the_card_says_what_it_is_and_how_good(run, tmp_path):
    from huggingface_hub import ModelCard

    package(run, tmp_path / "out", "lab/agent")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    (result,) = card.data.eval_results
    assert result.dataset_type == "BabyAI-UnlockPickup-v0" and 0 <= result.metric_value <= 1
    assert "hier load lab/agent" in card.text and "512 environment steps" in card.text
    (video,) = (tmp_path / "out" / "videos").glob("*.gif")
    assert f"videos/{video.name}" in card.text


@pytest.mark.slow
def test_a_planner_of_this_machine_goes_along(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    own = tmp_path / "own"
    shutil.copytree(Path(planners.__path__[0]) / "checkpoints" / "gridworld", own)
    config = RunFolder.open(run).config([f"planner.model={own}"])
    (tmp_path / "run" / "config.yaml").write_text(config.to_yaml())
    package(tmp_path / "run", tmp_path / "out", "lab/agent")
    shutil.rmtree(own)
    assert str(tmp_path) not in (tmp_path / "out" / "config.yaml").read_text()
    assert evaluate(tmp_path / "out", episodes=2, progress=False).episodes


def test_a_part_of_a_gated_planner_that_this_machine_has_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    kept, model = RunFolder(tmp_path / "run"), planners.__path__[0] + "/checkpoints/gridworld"
    lines = ["planner.type=gated", "planner.options.big.type=vlm"]
    config = kept.config().override(*lines, f"planner.options.big.model={model}")
    kept.config_file.write_text(config.to_yaml())
    with pytest.raises(RunFolderError, match=r"planner\.options\.big\.model .* push that model"):
        package(kept.path, tmp_path / "out", "lab/agent")


def test_what_is_not_there_is_said_in_a_line(online, tmp_path):
    with pytest.raises(UserError, match="the Hub refuses lab/none"):
        load("lab/none", tmp_path / "a")
    with pytest.raises(UserError, match="check its name"):
        load("a/b/c", tmp_path / "b")
    online["lab/other"] = {"README.md": b"a planner"}
    with pytest.raises(RunFolderError, match="lab/other holds no run"):
        load("lab/other", tmp_path / "c")


def test_a_hub_that_cannot_be_reached_is_said_in_a_line(online, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        load("lab/agent", tmp_path / "run")
