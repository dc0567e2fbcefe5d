"""Questions for planners, from the first moment of a level."""

from hier.envs import make_env
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.perception.gridworld.tracker import GridTracker
from hier.planners import PlannerQuery

SPACE = GridworldSubgoals()


def first_question(env_id, seed):
    """The question at the start of a level, with its expert."""
    env = make_env(env_id)
    observation, _ = env.reset(seed=seed)
    tracker = GridTracker(1)
    tracker.reset({key: value[None] for key, value in observation.items()})
    percept = tracker.percept(0)
    return PlannerQuery(percept, SPACE.candidates(percept), SPACE, expert=env.expert())
