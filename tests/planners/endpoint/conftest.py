"""Questions, and the scripted server that is asked them."""

import pytest

from hier.envs import make_env
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.perception.gridworld.tracker import GridTracker
from hier.planners import PlannerQuery
from tests.planners.endpoint.serving import ScriptedServer

LEVELS = ("BabyAI-UnlockPickup-v0", "BabyAI-BossLevel-v0", "MiniGrid-DoorKey-8x8-v0")


@pytest.fixture(scope="module")
def queries():
    """Open questions, each with more than one candidate, and their experts."""
    space, found = GridworldSubgoals(), []
    for env_id in LEVELS:
        for seed in range(7):
            env = make_env(env_id)
            observation, _ = env.reset(seed=seed)
            tracker = GridTracker(1)
            tracker.reset({key: value[None] for key, value in observation.items()})
            percept = tracker.percept(0)
            query = PlannerQuery(percept, space.candidates(percept), space, expert=env.expert())
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
