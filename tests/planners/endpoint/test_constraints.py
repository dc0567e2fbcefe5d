"""A server that can be held to the candidates answers with one of them, whatever it would say.

The scripted server stands for real ones: it heeds one field and ignores or refuses the others.
"""

from dataclasses import replace

import numpy as np
import pytest

from hier.planners.endpoint.answers import AnswerToken, ChatAnswer, answer_log_probs
from hier.planners.endpoint.constraints import CONSTRAINTS
from tests.planners.endpoint.serving import ScriptedServer
from tests.planners.endpoint.test_endpoint import ask, best


@pytest.fixture(params=["grammar", "guided_choice", "structured_outputs", "response_format"])
def heeds(request):
    return request.param


@pytest.fixture(params=[None, 400, 422])
def holding(request, heeds):
    strict = {} if request.param is None else {"strict": request.param}
    if request.param and heeds in ("guided_choice", "structured_outputs"):
        pytest.skip("vLLM refuses no field")
    server = ScriptedServer(heeds=heeds, **strict)
    yield server
    server.kill()


def test_a_babbler_names_candidates(holding, heeds, queries):
    planner = ask(holding, check=True, fallback="error")
    holding.play(*[{"text": "I would rather not say."}] * 4)
    replies = planner.score(queries[:4])
    assert [best(*pair) for pair in zip(queries, replies, strict=False)] == [
        query.candidates[-1] for query in queries[:4]
    ]
    assert planner.stats()["unparsed"] == 0
    assert all(heeds in body for body in holding.log()["requests"])


def test_rejected_candidates_are_not_among_them(holding, rich):
    planner = ask(holding, check=True, fallback="error")
    again = replace(
        rich,
        candidates=rich.candidates[:-1],
        offered=rich.candidates,
        rejected=[(rich.candidates[-1], -0.1)],
    )
    holding.play({"text": str(rich.candidates[-1])})
    assert best(again, *planner.score([again])) == again.candidates[-1]


def test_a_server_that_cannot_be_held_is_asked_as_before(server, queries):
    planner = ask(server, check=True)
    server.play()
    planner.score(queries[:2])
    (body, *_) = server.log()["requests"]
    assert not {"grammar", "guided_choice", "structured_outputs", "response_format"} & set(body)


def test_the_tokens_of_json_give_the_probabilities():
    # Tokens that begin before the sentence, and end after it.
    tokens = [
        ('{"sub', 0.0, []),
        ('goal": "go', -0.1, [('goal": "explore"}', -2.4), ("x", -5.0)]),
        (" to the red ball", 0.0, []),
        ('"}', np.log(0.75), [(" on", np.log(0.25))]),
    ]
    text = "".join(token for token, *_ in tokens)
    answer = ChatAnswer(text, tuple(AnswerToken(*token) for token in tokens))
    read = CONSTRAINTS[-1].read(answer)
    assert read.text == "go to the red ball"
    sentences = ["explore", "go to the red ball", "go to the red ball on your left"]
    found = np.exp(answer_log_probs(read.tokens, sentences, 1))
    expected = np.array([np.exp(-2.4), np.exp(-0.1) * 0.75, np.exp(-0.1) * 0.25])
    assert np.allclose(found, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"subgoal": 5}', '{"goal": "explore"}'])
def test_what_is_no_such_json_is_left_as_it_is(text):
    answer = ChatAnswer(text)
    assert CONSTRAINTS[-1].read(answer) == answer
