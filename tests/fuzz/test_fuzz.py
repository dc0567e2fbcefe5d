"""Whatever a user, a server or a stranger's file holds: it is read, or refused in one line."""

import io
import json
import tarfile
import tempfile
import zipfile
from contextlib import redirect_stderr
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hier import HierConfig
from hier.cli import main
from hier.controllers.replay import SavedReplay
from hier.controllers.saved import MEMBER, SavedController, save_controller
from hier.envs.errors import UserError
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.tensors import pack, unpack
from hier.feedback.lessons import lesson_of, read_lessons, write_lessons, written_of
from hier.feedback.saved import lessons_state, restored_lessons
from hier.guidance.critic import Features
from hier.planners.endpoint.answer_cache import AnswerCache
from hier.planners.endpoint.answers import ChatAnswer, answer_log_probs
from hier.planners.language.pictures import as_png
from hier.planners.protocol import PlannerReply, ask
from tests.controllers.test_replay import model_of
from tests.fuzz.strategies import changed, damaged, leaves, refusal, scratch, trees
from tests.hier.feedback.test_feedback import lesson
from tests.planners.test_planners import queries  # noqa: F401  (a fixture)

KEYS = [key for key, _, _ in HierConfig.key_table()]


def data_of(config):
    return yaml.safe_load(config.to_yaml())


class TestConfiguration:
    @given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode(errors="replace")))
    def test_any_file(self, content):
        with scratch() as folder, refusal():
            (folder / "a.yaml").write_bytes(content)
            HierConfig.load(folder / "a.yaml")

    @given(changed(data_of(HierConfig.load("demo"))))
    def test_any_value(self, data):
        with scratch() as folder, refusal():
            (folder / "config.yaml").write_text(json.dumps(data))
            HierConfig.of_run(folder / "config.yaml")

    @given(st.sampled_from(KEYS), st.text(max_size=20) | trees.map(json.dumps))
    def test_any_override(self, key, value):
        with refusal():
            HierConfig.load("demo", [f"{key}={value}"])

    @given(st.lists(st.text(max_size=20), max_size=3))
    def test_any_words(self, words):
        shown = io.StringIO()
        with redirect_stderr(shown):
            status = main(["envs", *[word.replace("\0", "") for word in words], "--coverag"])
        assert status in (0, 2)
        assert len(shown.getvalue().strip().splitlines()) <= 1


class TestWords:
    @given(st.text(max_size=80))
    def test_missions(self, text):
        with refusal():
            MISSION_CODEC.encode(text)

    @given(st.text(max_size=40) | st.sampled_from(["pick up the red key", "explore", "open the"]))
    def test_subgoals(self, text):
        with refusal():
            GridworldSubgoals().parse(text)


class TestReplies:
    @given(st.data())
    def test_of_planners(self, queries, data):  # noqa: F811
        class Planner:
            privileged, version = False, 0

            def score(self, asked):
                return data.draw(st.lists(replies, max_size=len(asked)) | leaves)

        arrays = st.lists(st.floats(), max_size=4).map(np.array)
        replies = st.builds(PlannerReply, arrays | leaves, leaves) | leaves
        with refusal():
            ask(Planner(), queries)

    @given(
        changed(
            {
                "choices": [
                    {
                        "message": {"content": "go to the red ball"},
                        "logprobs": {
                            "content": [
                                {"token": "go to", "logprob": -0.1, "top_logprobs": []},
                                {"token": " the red ball", "logprob": -0.1, "top_logprobs": [
                                    {"token": " the", "logprob": -2.0}]},
                            ]
                        },
                    }
                ],
                "usage": {"prompt_tokens": 5},
            }
        )
    )  # fmt: skip
    def test_of_servers(self, data):
        try:
            answer = ChatAnswer.from_completion(json.loads(json.dumps(data)))
        except ValueError:
            return
        sentences = ["go to the red ball", "go to the key", "explore"]
        found = answer_log_probs(answer.tokens or (), sentences, 0)
        assert found is None or np.isfinite(found).all()
        assert ChatAnswer.from_json(json.loads(json.dumps(answer.to_json()))) == answer

    @given(st.data())
    def test_in_a_cache(self, data):
        whole = {"model": "m", "answer": ChatAnswer("explore", None, 3).to_json()}
        whole["answer"]["tokens"] = [["explore", -0.1, [["go", -3.0]]]]
        content = data.draw(
            changed(whole).map(lambda tree: json.dumps(tree).encode())
            | damaged(json.dumps(whole).encode())
        )
        with scratch() as folder:
            cache = AnswerCache(folder)
            cache.file_of({}).parent.mkdir()
            cache.file_of({}).write_bytes(content)
            assert isinstance(cache.get({}), ChatAnswer | None)


PNG = as_png(np.zeros((2, 3, 3), np.uint8))


def a_lesson(pictures=()):
    rng = np.random.default_rng(0)
    features = Features(rng.random((2, 3), np.float32), rng.random(4, np.float32))
    return lesson(features=features, reference=rng.random(2, np.float32), pictures=pictures)


class TestLessons:
    @given(changed(written_of(a_lesson())))
    def test_any_values(self, values):
        with scratch() as folder, tarfile.open(folder / "lessons-00000.tar", "w") as archive:
            content = json.dumps(values).encode()
            member = tarfile.TarInfo("00000000.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            archive.close()
            with refusal():
                for one in read_lessons(folder):
                    assert one.choice < len(one.candidates)

    @given(st.data())
    def test_any_damage(self, data):
        with scratch() as folder, refusal():
            write_lessons([a_lesson()] * 3, folder)
            (file,) = folder.iterdir()
            file.write_bytes(data.draw(damaged(file.read_bytes())))
            read_lessons(folder)

    @given(damaged(PNG))
    def test_any_picture(self, png):
        try:
            lesson_of(written_of(a_lesson()), [png])
        except ValueError:
            return

    @given(changed(unpack(pack(lessons_state([a_lesson(), a_lesson()])))))
    def test_in_a_checkpoint(self, state):
        try:
            found = restored_lessons(state)
        except Exception:  # FeedbackLearning.load names the checkpoint, whatever it is
            return
        for one in found:
            assert one.features is None or len(one.features.candidates) == len(one.candidates)


@lru_cache
def controllers():
    """A trained controller with its checkpoint's states, and another one to restore."""
    model, file = model_of("dqn", 40), Path(tempfile.mkdtemp()) / "step-1.zip"
    save_controller(model, file)
    SavedReplay(model.replay_buffer).save(None, file)
    with zipfile.ZipFile(file) as archive:
        states = {name: unpack(archive.read(name)) for name in archive.namelist()}
    return states, file.read_bytes(), model_of("dqn")


class TestCheckpoints:
    @given(st.data())
    def test_any_state(self, data):
        states, _, model = controllers()
        name = data.draw(st.sampled_from(sorted(states)))
        state = data.draw(changed(states[name]))
        with scratch() as folder, refusal():
            file = folder / "step-1.zip"
            with zipfile.ZipFile(file, "w") as archive:
                for member, whole in states.items():
                    archive.writestr(member, pack(state if member == name else whole))
            SavedController(file).restore(model)
            SavedReplay(model.replay_buffer).load(None, file)
            if model.replay_buffer.size():
                model.replay_buffer.sample(4)

    @given(st.data())
    def test_any_damage(self, data):
        _, content, model = controllers()
        with scratch() as folder, refusal():
            (folder / "step-1.zip").write_bytes(data.draw(damaged(content)))
            SavedController(folder / "step-1.zip").restore(model)

    @given(st.data())
    def test_any_damage_of_a_member(self, data):
        states, _, model = controllers()
        with scratch() as folder, refusal():
            with zipfile.ZipFile(folder / "step-1.zip", "w") as archive:
                archive.writestr(MEMBER, data.draw(damaged(pack(states[MEMBER]))))
            SavedController(folder / "step-1.zip").restore(model)


def test_the_strategies_reach_what_they_should():
    assert "env.id" in KEYS and len(KEYS) > 50
    with pytest.raises(UserError):
        HierConfig.load("demo", ["env.n_envs=0"])
