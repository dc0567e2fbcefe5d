"""Questions, and the scripted server that is asked them."""

import pytest

from tests.planners.endpoint.serving import ScriptedServer
from tests.questions import first_question

LEVELS = ("BabyAI-UnlockPickup-v0", "BabyAI-BossLevel-v0", "MiniGrid-DoorKey-8x8-v0")


@pytest.fixture(scope="module")
def queries():
    """Open questions, each with more than one candidate, and their experts."""
    found = []
    for env_id in LEVELS:
        for seed in range(7):
            query = first_question(env_id, seed)
            if len(query.candidates) > 1:
                found.append(query)
    return found


@pytest.fixture(scope="module")
def rich(queries):
    """A question with many candidates."""
    return max(queries, key=lambda query: len(query.candidates))


@pytest.fixture(scope="module")
def started():
    server = ScriptedServer()
    yield server
    server.kill()


@pytest.fixture
def server(started):
    """The scripted server, alive and without a script."""
    if started.process.poll() is not None:
        started.start()
    started.play()
    return started
