"""The endpoint planner against real servers: one that works, and one that fails on cue."""

import base64
import importlib.util
import io
import json
import signal
import sys
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hier import HierConfig, train
from hier.envs import UnknownNameError
from hier.envs.errors import ConfigError, UserError
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.map_image import map_image
from hier.planners import PlannerError, PlannerQuery, build_planner
from hier.planners.endpoint.answer_cache import AnswerCache
from hier.planners.endpoint.answers import AnswerToken, ChatAnswer, answer_log_probs
from hier.planners.endpoint.chat_request import COMPLAINT, IMAGE_SIZE, RequestFormat, conversation
from hier.planners.endpoint.constraints import CONSTRAINTS
from hier.planners.endpoint.planner import EndpointPlanner
from hier.planners.language.models import BUILT_IN
from hier.planners.language.planner import VLMPlanner
from hier.planners.protocol import check_reply
from hier.run.build import build_planner_of
from tests.planners.endpoint.serving import (
    MISSING,
    ScriptedServer,
    TransformersServer,
    free_port,
    has_image,
    prompt_of,
    sensible,
    turns_of,
)

KEY = "sk-not-for-your-eyes-42"
EXPLORE = Subgoal("explore")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(MISSING)
    server = TransformersServer(tmp_path_factory.mktemp("served"))
    server.start()
    yield server
    server.signal(signal.SIGKILL)


@pytest.fixture
def real(launched):
    """``transformers serve``, alive; started again if a test killed it."""
    launched.start()
    return launched


def ask(server, **options):
    """A planner at the scripted server that does not wait long."""
    quick = {"backoff": 0.01, "timeout": 5.0, "cooldown": 0.0, "check": False}
    return EndpointPlanner("small", server.url, **{**quick, **options})


def best(query, reply):
    return query.candidates[int(np.argmax(reply.log_probs))]


def expected(query):
    """What the scripted server names for a query."""
    lines = [f"{i}. {c}" for i, c in enumerate(query.candidates, start=1)]
    return sensible("\n".join([f"Mission: {query.percept.mission}", *lines]))


@pytest.mark.slow
class TestTransformersServe:
    def test_contract_with_pictures_read_by_a_vision_language_model(self, real, queries):
        with pytest.warns(RuntimeWarning, match=r"no log-probabilities.*'tiny/seeing'.*gives none"):
            planner = build_planner("endpoint", model="tiny/seeing", base_url=real.url, seed=1)
        replies = planner.score(queries)
        assert len(replies) == len(queries)
        for query, reply in zip(queries, replies, strict=True):
            assert check_reply(reply, query, planner) is reply
            assert best(query, reply) == EXPLORE
            others = np.delete(np.exp(reply.log_probs), query.candidates.index(EXPLORE))
            assert others == pytest.approx((1 - 0.9) / len(others), rel=1e-5)
        stats = planner.stats()
        assert stats["queries"] == len(queries)
        assert stats["requests"] == len(queries) + 2 + len(CONSTRAINTS)
        assert stats["retries"] == stats["unparsed"] == stats["fallbacks"] == 0
        assert stats["seconds"] > 0 and not planner.privileged

    def test_the_planner_that_ships_answers_over_http_as_it_does_here(self, real, queries):
        planner = EndpointPlanner(
            str(BUILT_IN / "gridworld"), real.url, images="map", scale=1, as_trained=True,
            logprobs=False,
        )  # fmt: skip
        here = VLMPlanner("gridworld", device="cpu").score(queries)
        replies = planner.score(queries)
        assert planner.stats()["fallbacks"] <= 0.1 * len(queries)
        # It writes the likeliest word, here the likeliest answer is chosen.
        pairs = zip(queries, replies, here, strict=True)
        same = [best(query, reply) == best(query, local) for query, reply, local in pairs]
        assert np.mean(same) > 0.8

    def test_a_text_model_reads_the_scene(self, real, queries):
        planner = ask_real(real, "tiny/sure")
        replies = planner.score(queries)
        assert all(best(q, r) == EXPLORE for q, r in zip(queries, replies, strict=True))
        assert planner.stats()["fallbacks"] == 0

    def test_a_conversation_with_pictures_is_read(self, real, rich):
        planner = ask_real(real, "tiny/seeing", images="both")
        gone = [subgoal for subgoal in rich.candidates if subgoal != EXPLORE][:2]
        left = [subgoal for subgoal in rich.candidates if subgoal not in gone]
        query = replace(
            rich, candidates=left, rejected=[(g, -0.1) for g in gone], offered=rich.candidates
        )
        assert best(query, *planner.score([query])) == EXPLORE
        assert planner.stats()["unparsed"] == planner.stats()["fallbacks"] == 0

    def test_a_babbling_model_is_counted_and_the_fallback_decides(self, real, queries):
        planner = ask_real(real, "tiny/random", fallback="first")
        with pytest.warns(RuntimeWarning, match="names no candidate, asked twice"):
            replies = planner.score(queries[:6])
        assert [int(np.argmax(reply.log_probs)) for reply in replies] == [0] * 6
        assert planner.stats()["unparsed"] == 12 and planner.stats()["fallbacks"] == 6

    def test_a_wrong_model_name_is_an_error_with_the_nearest(self, real):
        with pytest.raises(
            PlannerError, match=r"'tiny/shure'.*did you mean 'tiny/sure'\? It lists"
        ):
            EndpointPlanner("tiny/shure", real.url, images=False, logprobs=False, retries=0)

    def test_a_model_without_image_input_is_an_error(self, real):
        # This server drops pictures for text models without a word.
        with pytest.raises(
            PlannerError, match=r"'tiny/sure'.*takes no images.*options.images=false"
        ):
            EndpointPlanner("tiny/sure", real.url, logprobs=False)

    def test_a_server_that_hangs_costs_one_timeout_and_is_asked_again_later(self, real, queries):
        ask_real(real, "tiny/sure")  # loads the model
        planner = ask_real(real, "tiny/sure", timeout=0.3, retries=0, cooldown=0.2, check=False)
        real.signal(signal.SIGSTOP)
        try:
            with pytest.warns(RuntimeWarning, match=r"does not answer \(no answer within 0.3 s\)"):
                planner.score(queries[:8])
            started = time.perf_counter()
            planner.score(queries[:8])
            assert time.perf_counter() - started < 0.3
        finally:
            real.signal(signal.SIGCONT)
        assert planner.stats()["fallbacks"] == 16 and planner.stats()["requests"] == 8
        assert answers_again(planner, queries[:1], within=20)

    @pytest.mark.filterwarnings("ignore:.*names no candidate")  # explore is not always one
    def test_training_survives_the_server_being_killed_and_says_so(self, real, tmp_path):
        killer = threading.Thread(target=kill_after, args=(real, real.answered() + 8))
        killer.start()
        config = tiny_run(model="tiny/seeing", base_url=real.url, logprobs=False)
        with pytest.warns(
            RuntimeWarning, match=r"does not answer.*planner.options.fallback=random"
        ):
            result = train(config, folder=tmp_path / "run", progress=False)
        killer.join()
        assert real.process.poll() is not None
        assert result.env_steps == 512 and not result.interrupted
        assert result.evaluation is not None and len(result.evaluation.episodes) == 6


def ask_real(real, model, **options):
    return EndpointPlanner(model, real.url, **{"images": False, "logprobs": False, **options})


def answers_again(planner, queries, within):
    """Whether the server decides all queries at some time in the next ``within`` seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        before = planner.stats()["fallbacks"]
        planner.score(queries)
        if planner.stats()["fallbacks"] == before:
            return True
        time.sleep(0.05)
    return False


def kill_after(real, answers):
    while real.answered() < answers:
        time.sleep(0.05)
    real.signal(signal.SIGKILL)


def tiny_run(**options):
    quick = {"backoff": 0.01, "timeout": 5.0, **options}
    return HierConfig.load(
        "demo",
        [
            "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=512",
            "eval.episodes=6", "eval.every=0", "eval.videos=0", "torch_threads=1",
            "controller.options.n_steps=32", "controller.options.batch_size=64",
            "controller.options.n_epochs=1", "planner.type=endpoint",
            f"planner.model={quick.pop('model')}",
            *(f"planner.options.{name}={json.dumps(value)}" for name, value in quick.items()),
        ],
    )  # fmt: skip


class TestAsking:
    def test_replies_come_in_the_order_of_the_queries(self, server, queries):
        planner = ask(server, concurrency=6)
        # The first asked are the last to answer.
        server.play(*({"sleep": 0.3 - 0.01 * i} for i in range(len(queries))))
        replies = planner.score(queries)
        assert [str(best(q, r)) for q, r in zip(queries, replies, strict=True)] == [
            expected(q) for q in queries
        ]
        assert server.log()["peak"] == 6
        assert planner.stats()["requests"] == len(queries)

    def test_the_request_holds_all_there_is_to_know(self, server, queries):
        query = queries[0]
        query = PlannerQuery(
            query.percept,
            query.candidates,
            query.space,
            recent=((Subgoal("open", "red", "door"), "failed"), (EXPLORE, "done")),
        )
        ask(server).score([query])
        (body,) = server.log()["requests"]
        text = prompt_of(body)
        assert f"Mission: {query.percept.mission}\n" in text
        assert query.space.describe(query.percept) in text
        assert "open the red door (failed); explore (done)" in text
        for i, candidate in enumerate(query.candidates, start=1):
            assert f"\n{i}. {candidate}" in text
        assert body["model"] == "small" and body["temperature"] == 0 and body["max_tokens"] == 24
        assert body["logprobs"] is True and body["top_logprobs"] == 20
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        png = base64.b64decode(url.removeprefix("data:image/png;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(png)))
        factor = IMAGE_SIZE // 56
        assert pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        np.testing.assert_array_equal(pixels[::factor, ::factor], query.percept.frame)
        np.testing.assert_array_equal(pixels[factor - 1 :: factor, 3::factor], query.percept.frame)

    def test_a_planner_of_ours_is_asked_as_it_was_trained(self, server, queries):
        query = queries[0]
        planner = ask(server, images="both", scale=1, as_trained=True)
        planner.score([query])
        (body,) = server.log()["requests"][:1]
        assert prompt_of(body) == VLMPlanner("gridworld", device="cpu").prompt(query).question
        frame, map_ = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"][22:]))))
            for part in body["messages"][0]["content"][:2]
        )
        np.testing.assert_array_equal(frame, query.percept.frame)
        np.testing.assert_array_equal(map_, map_image(query.percept))

    def test_a_planner_of_ours_reads_one_message_a_complaint_included(self, server, queries):
        query = queries[0]
        server.play({"text": "banana"}, {"text": str(query.candidates[0])})
        ask(server, as_trained=True).score([query])
        first, second = (turns_of(body) for body in server.log()["requests"])
        assert second == [("user", f"{first[0][1]}\n\n{COMPLAINT}")]

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"images": "mpa"}, "did you mean 'map'"), ({"scale": 0}, "options.scale is 0")],
    )
    def test_wrong_pictures_are_an_error(self, server, options, words):
        with pytest.raises(UserError, match=words):
            ask(server, **options)

    def test_text_only_sends_no_picture(self, server, queries):
        ask(server, images=False, logprobs=False).score(queries[:1])
        (body,) = server.log()["requests"]
        assert not has_image(body) and "picture" not in prompt_of(body)
        assert "logprobs" not in body and "top_logprobs" not in body

    def test_a_lone_candidate_is_not_asked_about(self, server, queries):
        query = queries[0]
        lone = PlannerQuery(query.percept, query.candidates[:1], query.space)
        planner = ask(server)
        reply, _ = planner.score([lone, query])
        assert reply.log_probs.tolist() == [0.0]
        assert planner.stats()["requests"] == 1 and planner.stats()["queries"] == 2

    def test_fields_of_the_request_can_be_changed_added_and_removed(self, server, queries):
        change = {"max_tokens": None, "max_completion_tokens": 30, "top_logprobs": 5}
        ask(server, request=change).score(queries[:1])
        (body,) = server.log()["requests"]
        assert "max_tokens" not in body and "seed" not in body
        assert body["max_completion_tokens"] == 30 and body["top_logprobs"] == 5

    def test_a_sampling_planner_sends_its_seed_and_evaluates_with_another(self, server, queries):
        planner = ask(server, request={"temperature": 1.0}, seed=3)
        judge = planner.for_evaluation(9)
        planner.score(queries[:1])
        judge.score(queries[:1])
        planner.score(queries[:1])
        assert [body["seed"] for body in server.log()["requests"]] == [3, 9, 3]
        assert planner.stats() == judge.stats() and planner.stats()["queries"] == 3

    def test_the_key_is_sent_and_never_shown(self, server, queries, monkeypatch):
        monkeypatch.setenv("MY_KEY", KEY)
        ask(server, api_key_env="MY_KEY").score(queries[:1])
        assert server.log()["keys"] == [f"Bearer {KEY}"]
        server.play({"key": "another"}, {"key": "another"})
        with pytest.raises(PlannerError, match=r"MY_KEY is not the right one; set it") as raised:
            ask(server, api_key_env="MY_KEY", check=True)
        assert KEY not in str(raised.value) and "Bearer ***" in str(raised.value)
        planner = ask(server, api_key_env="MY_KEY")
        with pytest.warns(RuntimeWarning) as warned:
            planner.score(queries[:1])
        assert KEY not in str(warned[0].message)

    def test_a_key_in_place_of_its_variable_is_refused_unseen(self, server):
        with pytest.raises(ConfigError, match="name of an environment variable") as raised:
            ask(server, api_key_env=KEY)
        assert KEY not in str(raised.value)

    def test_a_key_that_no_header_can_hold_is_refused_unseen(self, server, monkeypatch):
        monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Other: 1")
        with pytest.raises(ConfigError, match="variable MY_KEY holds blanks") as raised:
            ask(server, api_key_env="MY_KEY")
        assert KEY not in str(raised.value)

    def test_without_the_openai_package_the_error_names_it(self, server, monkeypatch):
        monkeypatch.setitem(sys.modules, "openai", None)
        with pytest.raises(PlannerError, match="pip install openai"):
            ask(server)


def rejecting(query, *advantages):
    """The query after as many of its candidates, every second, were rejected."""
    rejected = [(query.candidates[2 * i], gain) for i, gain in enumerate(advantages)]
    gone = [subgoal for subgoal, _ in rejected]
    left = [subgoal for subgoal in query.candidates if subgoal not in gone]
    return replace(query, candidates=left, rejected=rejected, offered=query.candidates)


class TestRejections:
    """ReAd's further questions (arXiv 2405.14314) are further messages."""

    def test_each_is_the_assistants_turn_and_the_users_answer_to_it(self, rich):
        first = conversation(rich, ["what the agent sees now"])
        again = conversation(rejecting(rich, -0.25, -0.0314), ["what the agent sees now"])
        assert again[:1] == first
        _, one, no, two, no_again = again
        assert [one, two] == [str(rich.candidates[0]), str(rich.candidates[2])]
        assert "advantage of that subgoal is -0.250" in no and "is -0.031" in no_again
        numbered = [f"{i}. {candidate}" for i, candidate in enumerate(rich.candidates, start=1)]
        assert no.splitlines()[1:] == numbered[1:]
        assert no_again.splitlines()[1:] == [numbered[1], *numbered[3:]]

    @pytest.mark.parametrize("pictures", [(), ("data:one", "data:two")])
    def test_roles_alternate_and_pictures_come_with_the_first_message(self, rich, pictures):
        turns = conversation(rejecting(rich, -0.25, -0.03))
        messages = RequestFormat("m", False, 24, 0, {}).body(turns, pictures)["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
        assert [message["content"] for message in messages[1:]] == turns[1:]
        shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        text = {"type": "text", "text": turns[0]}
        assert messages[0]["content"] == ([*shown, text] if pictures else turns[0])

    def test_the_server_reads_the_whole_conversation(self, server, rich):
        planner = ask(server)
        planner.score([rich])
        query = rejecting(rich, -0.25, -0.03)
        (reply,) = planner.score([query])
        first, again = server.log()["requests"]
        assert again["messages"][0] == first["messages"][0]
        assert turns_of(again) == [
            ("user" if i % 2 == 0 else "assistant", text)
            for i, text in enumerate(conversation(query, ["what the agent sees now"]))
        ]
        said = [str(subgoal) for subgoal, _ in query.rejected]
        assert str(best(query, reply)) == sensible(prompt_of(again), said)
        assert len(reply.log_probs) == len(query.candidates)
        assert planner.stats()["unparsed"] == planner.stats()["fallbacks"] == 0

    def test_an_answer_that_was_rejected_is_none(self, server, rich):
        planner, query = ask(server, fallback="first"), rejecting(rich, -0.25)
        gone = str(query.rejected[0][0])
        server.play({"text": gone})
        planner.score([query])
        assert planner.stats()["unparsed"] == 1 and planner.stats()["fallbacks"] == 0
        asked = turns_of(server.log()["requests"][-1])
        assert [role for role, _ in asked] == ["user", "assistant"] * 2 + ["user"]
        assert asked[3:] == [("assistant", gone), ("user", COMPLAINT)]
        server.play({"text": gone}, {"text": gone})
        with pytest.warns(RuntimeWarning, match="names no candidate, asked twice"):
            (reply,) = planner.score([query])
        assert int(np.argmax(reply.log_probs)) == 0 and planner.stats()["fallbacks"] == 1

    def test_a_fault_on_the_way_is_tried_again_with_the_same_messages(self, server, rich):
        planner, query = ask(server), rejecting(rich, -0.25)
        server.play({"status": 503}, {"cut": True})
        planner.score([query])
        one, two, three = server.log()["requests"]
        assert one == two == three and len(one["messages"]) == 3
        assert planner.stats()["retries"] == 2 and planner.stats()["fallbacks"] == 0

    def test_another_advantage_is_another_question_to_the_cache(self, server, rich, tmp_path):
        planner = ask(server, cache=tmp_path)
        for query in (rich, rejecting(rich, -0.25), rejecting(rich, -0.5)) * 2:
            planner.score([query])
        assert planner.stats()["requests"] == planner.stats()["cache_hits"] == 3

    def test_a_planner_of_ours_is_asked_the_same_and_judged_by_what_is_left(self, server, rich):
        planner = ask(server, as_trained=True, images=False)
        query = rejecting(rich, -0.25)
        gone, left = str(rich.candidates[0]), str(query.candidates[1])
        said = [{"token": gone, "logprob": np.log(0.7), "top_logprobs": [
            {"token": left, "logprob": np.log(0.2)}]}]  # fmt: skip
        server.play({"text": gone, "tokens": said}, {"text": gone, "tokens": said})
        (first,), (again,) = planner.score([rich]), planner.score([query])
        one, two = server.log()["requests"]
        assert one == two
        assert str(best(rich, first)) == gone and str(best(query, again)) == left
        kept = np.exp(np.delete(first.log_probs, 0))
        np.testing.assert_allclose(np.exp(again.log_probs), kept / kept.sum(), rtol=1e-4)
        assert planner.stats()["unparsed"] == 0


class TestAnswersThatDoNotParse:
    @pytest.mark.parametrize(
        "garbage", ["banana", "1", "1. explore", "explore!", "", "go to the red"]
    )
    def test_they_are_asked_again_once_with_the_complaint(self, server, queries, garbage):
        planner = ask(server)
        server.play({"text": garbage})
        (reply,) = planner.score(queries[:1])
        assert str(best(queries[0], reply)) == expected(queries[0])
        first, second = (turns_of(body) for body in server.log()["requests"])
        said = ("assistant", garbage or "(nothing)")
        assert second == [*first, said, ("user", COMPLAINT)]
        assert planner.stats()["unparsed"] == 1 and planner.stats()["fallbacks"] == 0

    def test_a_subgoal_that_is_no_candidate_does_not_count(self, server, queries):
        query = next(q for q in queries if Subgoal("reach", "green", "goal") not in q.candidates)
        planner = ask(server, fallback="first")
        server.play({"text": "reach the green goal"}, {"text": "reach the green goal"})
        with pytest.warns(RuntimeWarning, match="'reach the green goal'"):
            planner.score([query])
        assert planner.stats()["unparsed"] == 2 and planner.stats()["requests"] == 2

    def test_letter_case_blanks_and_a_full_stop_are_forgiven(self, server, queries):
        planner = ask(server)
        server.play({"text": " Explore.\n"})
        (reply,) = planner.score(queries[:1])
        assert best(queries[0], reply) == EXPLORE
        assert planner.stats()["unparsed"] == 0


class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 500},
            {"status": 429},
            {"status": 408},
            {"raw": '{"choices": [{"mess'},
            {"raw": "[]"},
            {"raw": '{"choices": []}'},
            {"raw": '{"choices": [{"message": {"content": [1]}}]}'},
            {"raw": ""},
            {"raw": "<!DOCTYPE html><html><body>Sign in to the network</body></html>"},
            {"raw": "[" * 100_000},
            {"cut": True},
            {"megabytes": 300},
            {"megabytes": 300, "status": 503},
        ],
        ids=lambda fault: str(fault)[:60],
    )
    def test_what_may_pass_is_tried_again(self, server, queries, fault):
        planner = ask(server)
        server.play(fault, fault)
        (reply,) = planner.score(queries[:1])
        assert str(best(queries[0], reply)) == expected(queries[0])
        stats = planner.stats()
        assert (stats["requests"], stats["retries"], stats["fallbacks"]) == (3, 2, 0)

    def test_a_redirect_is_not_followed(self, server, queries, monkeypatch):
        monkeypatch.setenv("SOME_KEY", "sk-secret")
        other = ScriptedServer()
        try:
            fault = {"status": 307, "headers": {"Location": f"{other.url}/chat/completions"}}
            planner = ask(server, api_key_env="SOME_KEY", fallback="first")
            server.play(fault)
            with pytest.warns(
                RuntimeWarning, match=r"redirects to http://\S+, which is not followed"
            ):
                planner.score(queries[:1])
            assert planner.stats()["fallbacks"] == 1 and planner.stats()["retries"] == 0
            server.play(fault, fault, fault, fault)
            with pytest.raises(PlannerError, match=r"does not answer itself .* name it in planner"):
                ask(server, check=True)
            assert other.log()["keys"] == []
        finally:
            other.kill()

    @pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "7", '"x"', "[1]"])
    def test_numbers_that_cannot_be_are_not_believed(self, server, queries, number):
        planner, text = ask(server, fallback="error"), str(queries[0].candidates[-1])
        token = f'{{"token": "{text}", "logprob": {number}, "top_logprobs": []}}'
        choice = f'{{"message": {{"content": "{text}"}}, "logprobs": {{"content": [{token}]}}}}'
        usage = f'{{"prompt_tokens": {number}}}'
        server.play({"raw": f'{{"choices": [{choice}], "usage": {usage}}}'})
        (reply,) = planner.score(queries[:1])
        assert np.isfinite(reply.log_probs).all() and str(best(queries[0], reply)) == text

    def test_half_a_character_is_asked_about_once_more(self, server, queries):
        planner = ask(server)
        server.play({"text": "\ud83d"}, {})
        (reply,) = planner.score(queries[:1])
        assert planner.stats()["fallbacks"] == 0 and planner.stats()["unparsed"] == 1
        assert str(best(queries[0], reply)) == expected(queries[0])

    @pytest.mark.parametrize("fault", [{"sleep": 3.0}, {"drip": 3.0}], ids=str)
    def test_a_slow_reply_is_given_up_even_if_it_dribbles(self, server, queries, fault):
        planner = ask(server, timeout=0.7, images=False)
        server.play(fault)
        started = time.perf_counter()
        (reply,) = planner.score(queries[:1])
        assert time.perf_counter() - started < 2.5
        assert str(best(queries[0], reply)) == expected(queries[0])
        assert planner.stats()["retries"] >= 1 and planner.stats()["fallbacks"] == 0

    def test_retries_are_bounded_and_back_off(self, server, queries):
        planner = ask(server, retries=3, backoff=0.1)
        server.play(*[{"status": 503}] * 9)
        started = time.perf_counter()
        with pytest.warns(RuntimeWarning, match=r"status 503: on purpose"):
            planner.score(queries[:1])
        waited = time.perf_counter() - started
        assert 0.5 * 0.7 <= waited < 1.5 * 0.7 + 1.0  # 0.1 + 0.2 + 0.4 s and jitter
        assert len(server.log()["requests"]) == 4 and planner.stats()["retries"] == 3

    def test_the_server_may_say_how_long_to_wait(self, server, queries):
        planner = ask(server)
        server.play({"status": 429, "headers": {"Retry-After": "0.5"}})
        started = time.perf_counter()
        planner.score(queries[:1])
        assert time.perf_counter() - started >= 0.5
        assert planner.stats()["fallbacks"] == 0

    def test_a_refusal_is_not_tried_again_and_concerns_one_query_alone(self, server, queries):
        planner = ask(server, concurrency=1)
        server.play({}, {"status": 400})
        with pytest.warns(RuntimeWarning, match="status 400: on purpose"):
            replies = planner.score(queries[:4])
        assert np.ptp(replies[1].log_probs) == 0
        for i in (0, 2, 3):
            assert str(best(queries[i], replies[i])) == expected(queries[i])
        assert planner.stats()["retries"] == 0 and planner.stats()["fallbacks"] == 1

    def test_a_killed_server_is_left_alone_for_a_while_then_asked_again(self, server, queries):
        planner = ask(server, cooldown=0.5, retries=1)
        planner.score(queries)
        before = planner.stats()["requests"]
        server.kill()
        with pytest.warns(RuntimeWarning, match="no connection") as warned:
            for _ in range(3):
                replies = planner.score(queries)
        assert len(warned) == 1
        assert all(np.ptp(reply.log_probs) == 0 for reply in replies)
        assert planner.stats()["fallbacks"] == 3 * len(queries)
        # At most all threads' first and second attempts, not one per query.
        assert planner.stats()["requests"] - before <= 2 * 8
        server.start()
        assert answers_again(planner, queries, within=10)
        replies = planner.score(queries)
        assert [str(best(q, r)) for q, r in zip(queries, replies, strict=True)] == [
            expected(q) for q in queries
        ]

    def test_a_dead_server_is_probed_by_one_query_once(self, server, queries):
        planner = ask(server, cooldown=0.3, retries=2)
        server.play(*[{"status": 500}] * 25)  # for 8 threads' 3 attempts, and one probe
        with pytest.warns(RuntimeWarning, match="status 500"):
            planner.score(queries)
        asked = planner.stats()["requests"]
        assert asked <= 24
        batches = 0
        while planner.stats()["requests"] == asked:
            planner.score(queries)
            batches += 1
        assert planner.stats()["requests"] == asked + 1
        assert planner.stats()["fallbacks"] == (1 + batches) * len(queries)


class TestFallBack:
    @pytest.fixture
    def nowhere(self):
        return f"http://127.0.0.1:{free_port()}/v1"

    def build(self, url, fallback):
        return EndpointPlanner("m", url, fallback=fallback, check=False, retries=0)

    def test_random_has_no_preference(self, nowhere, queries):
        planner = self.build(nowhere, "random")
        with pytest.warns(RuntimeWarning, match=f"'m' at {nowhere} does not answer"):
            replies = planner.score(queries)
        assert all(np.ptp(reply.log_probs) == 0 for reply in replies)
        assert not planner.privileged

    def test_oracle_names_what_the_expert_names_and_is_privileged(self, nowhere, queries):
        planner = self.build(nowhere, "oracle")
        assert planner.privileged
        with pytest.warns(RuntimeWarning, match="fallback=oracle"):
            replies = planner.score(queries)
        oracle = build_planner("oracle").score(queries)
        for mine, theirs in zip(replies, oracle, strict=True):
            np.testing.assert_array_equal(mine.log_probs, theirs.log_probs)

    def test_error_stops(self, nowhere, queries):
        with pytest.raises(PlannerError, match=r"no connection.*planner.options.fallback=random"):
            self.build(nowhere, "error").score(queries)

    def test_an_unknown_one_is_refused(self, nowhere):
        with pytest.raises(UnknownNameError, match="did you mean 'random'"):
            self.build(nowhere, "randon")

    @pytest.mark.slow
    def test_a_training_goes_on_with_it(self, tmp_path, server):
        # Five answers, then nothing but errors to the end.
        server.play(*[{}] * 5, *[{"status": 500}] * 500)
        config = tiny_run(model="small", base_url=server.url, retries=1, check=False)
        with pytest.warns(RuntimeWarning, match=r"status 500.*planner.options.fallback=random"):
            result = train(config, folder=tmp_path / "run", progress=False)
        assert result.env_steps == 512 and result.evaluation is not None
        assert 5 < len(server.log()["requests"]) < 40


class TestStartUp:
    def test_an_unreachable_server_is_an_error_with_the_remedy(self):
        url = f"http://127.0.0.1:{free_port()}/v1"
        with pytest.raises(PlannerError, match=rf"{url} \(no connection: .*start the server"):
            EndpointPlanner("small", url, backoff=0.01)

    def test_a_wrong_path_is_an_error_that_mentions_v1(self, server):
        with pytest.raises(PlannerError, match=r"lists no models; .*ends in /v1"):
            EndpointPlanner("small", server.url.removesuffix("/v1"))

    def test_a_wrong_model_is_an_error_with_the_nearest(self, server):
        with pytest.raises(PlannerError, match=r"'smal' .*does not exist.*did you mean 'small'\?"):
            EndpointPlanner("smal", server.url)

    @pytest.mark.parametrize("status", [400, 500])
    def test_a_server_that_refuses_images_is_an_error(self, server, status):
        server.play(*[{"images": status}] * 9)
        with pytest.raises(PlannerError, match=r"takes no images \(status \d+: image input is not"):
            EndpointPlanner("small", server.url, backoff=0.01, retries=1)
        EndpointPlanner("small", server.url, images=False)

    def test_a_server_that_refuses_log_probabilities_is_not_asked_for_them(self, server, queries):
        server.play(*[{"logprobs": 400}] * 9)
        with pytest.warns(RuntimeWarning, match="refuses them: status 400: logprobs is not supp"):
            planner = EndpointPlanner("small", server.url, confidence=0.7)
        (reply,) = planner.score(queries[:1])
        assert np.exp(reply.log_probs.max()) == pytest.approx(0.7)
        assert "logprobs" not in server.log()["requests"][-1]

    def test_a_healthy_server_is_not_complained_about(self, server, queries):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            planner = EndpointPlanner("small", server.url)
            planner.score(queries)
        assert planner.stats()["requests"] == len(queries) + 2 + len(CONSTRAINTS)

    def test_options_reach_it_through_the_configuration(self, server):
        config = tiny_run(model="small", base_url=server.url, request={"top_p": 0.5})
        build_planner_of(config)
        assert server.log()["requests"][0]["model"] == "small"
        assert server.log()["requests"][0]["top_p"] == 0.5
        with pytest.raises(ConfigError, match=r"does not take 'retrys'; it takes .*retries"):
            build_planner_of(tiny_run(model="small", base_url=server.url, retrys=1))

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"timeout": 0}, "timeout is 0; it must be a number above 0"),
            ({"timeout": "long"}, "timeout is 'long'; it must be a number above 0"),
            ({"retries": 1.5}, r"retries is 1.5; it must be an integer from 0"),
            ({"retries": -1}, "retries is -1"),
            ({"confidence": 1.0}, r"confidence is 1.0; it must be between 0 and 1"),
            ({"concurrency": 0}, "concurrency is 0"),
            ({"base_url": "localhost:8000"}, "base_url is 'localhost:8000'; write http://"),
            ({"base_url": "http://me:secret@host/v1"}, "base_url is 'host/v1'.*without user"),
        ],
    )
    def test_options_out_of_range_are_refused(self, options, complaint):
        with pytest.raises(ConfigError, match=complaint):
            EndpointPlanner(**{"model": "m", "base_url": "http://h/v1", "check": False, **options})


class TestCache:
    def test_the_same_question_is_asked_once(self, server, queries, tmp_path):
        first = ask(server, cache=tmp_path / "answers")
        replies = first.score(queries)
        again = ask(server, cache=tmp_path / "answers")
        server.play()
        for mine, theirs in zip(again.score(queries), replies, strict=True):
            np.testing.assert_array_equal(mine.log_probs, theirs.log_probs)
        assert server.log()["requests"] == []
        assert again.stats()["cache_hits"] == len(queries) and again.stats()["requests"] == 0

    def test_another_request_or_model_is_another_question(self, server, queries, tmp_path):
        ask(server, cache=tmp_path).score(queries[:1])
        for options in ({"images": False}, {"request": {"top_p": 0.5}}, {"logprobs": False}):
            other = ask(server, cache=tmp_path, **options)
            other.score(queries[:1])
            assert other.stats()["cache_hits"] == 0
        request = {"model": "small", "messages": []}
        cache = AnswerCache(tmp_path)
        assert cache.file_of(request) != cache.file_of({**request, "model": "smaller"})

    def test_it_answers_while_the_server_is_dead(self, server, queries, tmp_path):
        ask(server, cache=tmp_path).score(queries)
        server.kill()
        planner = ask(server, cache=tmp_path)
        replies = planner.score(queries)
        assert planner.stats()["fallbacks"] == 0
        assert str(best(queries[0], replies[0])) == expected(queries[0])

    @pytest.mark.parametrize(
        "damage",
        [b"", b"\xff\x00\x80", b'{"answer": {"text": "expl', b"[]", b'{"answer": null}',
         b'{"answer": {"text": 3, "tokens": null, "prompt_tokens": 0}}',
         b'{"answer": {"text": "explore", "tokens": [["explore"]], "prompt_tokens": 0}}'],
    )  # fmt: skip
    def test_a_damaged_entry_is_asked_for_again_and_mended(self, server, queries, tmp_path, damage):
        (whole,) = ask(server, cache=tmp_path).score(queries[:1])
        (file,) = tmp_path.rglob("*.json")
        file.write_bytes(damage)
        planner = ask(server, cache=tmp_path)
        for _ in range(2):
            (reply,) = planner.score(queries[:1])
            np.testing.assert_array_equal(reply.log_probs, whole.log_probs)
        assert planner.stats()["requests"] == 1 and planner.stats()["cache_hits"] == 1

    def test_a_folder_that_cannot_be_is_refused(self, server, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match=r"planner.options.cache is .*cannot be created"):
            ask(server, cache=tmp_path / "file")

    def test_a_folder_lost_on_the_way_costs_a_warning(self, server, queries, tmp_path):
        planner = ask(server, cache=tmp_path / "answers")
        (tmp_path / "answers").rmdir()
        (tmp_path / "answers").write_text("in the way")
        with pytest.warns(RuntimeWarning, match="no longer cached") as warned:
            replies = planner.score(queries)
        assert len(warned) == 1
        assert str(best(queries[0], replies[0])) == expected(queries[0])

    def test_an_answer_comes_back_as_it_was_stored(self, tmp_path):
        tokens = (AnswerToken("go", -0.5, [("go", -0.5), ("pick", -1.25)]),)
        answer = ChatAnswer("go", tokens, 12)
        cache = AnswerCache(tmp_path)
        cache.put({"model": "m"}, answer)
        assert cache.get({"model": "m"}) == answer


def tokens(*steps):
    """``(text, {text: probability})`` pairs as answer tokens."""
    return [
        AnswerToken(text, np.log(listed[text]), [(t, np.log(p)) for t, p in listed.items()])
        for text, listed in steps
    ]


class TestLogProbs:
    SENTENCES = ("explore", "go to the red ball", "go to the blue ball", "pick up the key")
    FIRST = {"explore": 0.4, "go": 0.3, "pick": 0.2, "The": 0.1}  # noqa: RUF012
    COLOR = {" red": 0.6, " blue": 0.3, " green": 0.1}  # noqa: RUF012

    def distribution(self, steps, answer, sentences=SENTENCES):
        log_probs = answer_log_probs(tokens(*steps), sentences, answer)
        assert log_probs.dtype == np.float32
        assert np.exp(log_probs.astype(float)).sum() == pytest.approx(1.0, abs=1e-6)
        return np.exp(log_probs)

    def test_exact_where_each_candidate_parts_with_a_token_of_its_own(self):
        steps = [("go", self.FIRST), (" to", {" to": 1.0}), (" the", {" the": 1.0})]
        found = self.distribution([*steps, (" red", self.COLOR), (" ball", {" ball": 1.0})], 1)
        raw = np.array([0.4, 0.3 * 0.6, 0.3 * 0.3, 0.2])  # 'The' and 'green' lead nowhere
        np.testing.assert_allclose(found, raw / raw.sum(), rtol=1e-5)

    def test_equal_parts_where_candidates_part_from_the_answer_together(self):
        found = self.distribution([("explore", self.FIRST)], 0)
        np.testing.assert_allclose(found, np.array([0.4, 0.15, 0.15, 0.2]) / 0.9, rtol=1e-5)

    def test_what_is_not_listed_shares_the_rest_below_the_least_listed(self):
        listed = {"explore": 0.5, "go": 0.2}  # 0.3 left, yet " pick" cannot have more than 0.2
        found = self.distribution([("explore", listed)], 0)
        np.testing.assert_allclose(found, np.array([0.5, 0.1, 0.1, 0.2]) / 0.9, rtol=1e-5)
        found = self.distribution([("explore", {"explore": 0.97, "go": 0.02})], 0)
        np.testing.assert_allclose(found, [0.97, 0.01, 0.01, 0.01], rtol=1e-5)

    def test_without_alternatives_the_rest_is_shared(self):
        found = self.distribution([("explore", {"explore": 0.7})], 0)
        np.testing.assert_allclose(found, [0.7, 0.1, 0.1, 0.1], rtol=1e-5)

    def test_token_borders_letter_case_and_blanks_do_not_matter(self):
        whole = self.distribution([("explore", self.FIRST)], 0)
        listed = {" Ex": 0.4, "\ngo t": 0.3, "PICK": 0.2, "The": 0.1}
        parts = self.distribution(
            [(" Ex", listed), ("plore", {"plore": 0.5}), (".", {".": 0.1})], 0
        )
        np.testing.assert_allclose(parts, whole, rtol=1e-5)

    def test_several_ways_to_spell_a_candidate_add_up(self):
        listed = {"explore": 0.4, "go": 0.2, "go to the red": 0.1, "pi": 0.1, "pick": 0.1, "x": 0.1}
        found = self.distribution([("explore", listed)], 0)
        np.testing.assert_allclose(found, np.array([0.4, 0.2, 0.1, 0.2]) / 0.9, rtol=1e-5)

    @pytest.mark.parametrize("end", ["<|im_end|>", "</s>", ".", "\n"])
    def test_a_candidate_that_begins_like_another_ends_with_the_turn(self, end):
        sentences = ("go to the key", "go to the key on your left")
        steps = [("go to the key", {"go to the key": 1.0})]
        last = {end: 0.8, " on": 0.2}
        short = self.distribution([*steps, (end, last)], 0, sentences)
        long = self.distribution(
            [*steps, (" on", last), (" your left", {" your left": 1.0})], 1, sentences
        )
        np.testing.assert_allclose(short, [0.8, 0.2], rtol=1e-5)
        np.testing.assert_allclose(long, [0.8, 0.2], rtol=1e-5)

    def test_tokens_that_do_not_spell_the_answer_are_not_believed(self):
        spelled = tokens(("\u2581go", {"\u2581go": 1.0}))
        assert answer_log_probs(spelled, self.SENTENCES, 1) is None

    def test_impossible_tokens_stay_finite(self):
        found = answer_log_probs([AnswerToken("explore", -9999.0, [])], self.SENTENCES, 0)
        assert np.isfinite(found).all()

    def test_a_servers_log_probabilities_reach_the_reply(self, server, queries):
        query = queries[0]
        first, second = (str(candidate) for candidate in query.candidates[:2])
        listed = [
            {"token": text, "logprob": float(np.log(p))}
            for text, p in ((first, 0.75), (second, 0.25))
        ]
        server.play({"text": first, "tokens": [{**listed[0], "top_logprobs": listed}]})
        (reply,) = ask(server).score([query])
        np.testing.assert_allclose(np.exp(reply.log_probs[:2]), [0.75, 0.25], rtol=1e-5)

    @pytest.mark.parametrize(
        "broken", [None, [], [{}], [{"token": "explore", "logprob": None}], "text", [3],
                   [{"token": "explore", "logprob": float("nan"), "top_logprobs": []}]],
    )  # fmt: skip
    def test_unreadable_log_probabilities_leave_a_confident_reply(self, server, queries, broken):
        planner = ask(server)
        server.play({"text": "explore", "tokens": broken})
        (reply,) = planner.score(queries[:1])
        assert best(queries[0], reply) == EXPLORE
        assert np.exp(reply.log_probs.max()) == pytest.approx(0.9)
