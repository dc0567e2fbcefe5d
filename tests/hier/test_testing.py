"""The shipped contracts find what is broken and name the method to mend."""

import re

import numpy as np
import pytest

from hier.envs.errors import ConfigError, UserError
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.registry import domain_named
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.domain import Gridworld
from hier.perception.gridworld.tracker import GridTracker
from hier.planners.protocol import PlannerReply, uniform_over
from hier.testing import ContractError, check_domain, check_planner

LEVEL = "BabyAI-GoToRedBall-v0"


class Broken(Gridworld):
    """The gridworld with one part in place of another."""

    def __init__(self, space=None, tracker=None, **methods):
        self._space, self._tracker = space, tracker
        for name, method in methods.items():
            setattr(self, name, method)

    def env_ids(self):
        return (LEVEL,)

    def subgoal_space(self):
        return self._space or super().subgoal_space()

    def tracker(self, n):
        return self._tracker(n) if self._tracker else super().tracker(n)


def but(base, **methods):
    """A subclass with other methods."""
    return type(f"Other{base.__name__}", (base,), methods)


def space_but(**methods):
    return Broken(space=but(GridworldSubgoals, **methods)())


def tracker_but(**methods):
    return Broken(tracker=but(GridTracker, **methods))


_S, _T = GridworldSubgoals, GridTracker


class Forgetful:
    """A percept whose snapshots are itself."""

    def __init__(self, tracker, i):
        self._tracker, self._i = tracker, i

    def snapshot(self):
        return self

    def __getattr__(self, name):
        return getattr(_T.percept(self._tracker, self._i), name)


def env_but(**methods):
    """The level with other methods."""

    def make_env(env_id, *, max_steps=None):
        env = domain_named("gridworld").make_env(env_id, max_steps=max_steps)
        for name, method in methods.items():
            setattr(env, name, method.__get__(env))
        return env

    return Broken(make_env=make_env)


def without_success(self, action):
    *rest, _ = type(self).step(self, action)
    return *rest, {}


def unseeded(self, *, seed=None, options=None):
    return type(self).reset(self, options=options)


def flat_image(self, action):
    observation, *rest = type(self).step(self, action)
    return {**observation, "image": observation["image"][0]}, *rest


class NoExpert:
    def subgoal(self, percept, candidates):
        return Subgoal("fly")


DOMAINS = {
    "candidates() is empty": space_but(candidates=lambda self, p: []),
    "candidates() holds one twice": space_but(
        candidates=lambda self, p: _S.candidates(self, p) * 2
    ),
    "not in verbs": space_but(verbs=("go to",)),
    "target_mask() points nowhere": space_but(
        target_mask=lambda self, p, g: np.zeros((3, 3), bool)
    ),
    "describe() must give a text": space_but(describe=lambda self, p: ""),
    "describe() does not mention": space_but(describe=lambda self, p: "a room"),
    ". ') refuses a candidate": space_but(
        parse=lambda self, text: _S.parse(self, text if text.islower() else "fly")
    ),
    "encode(None) must be zeros": space_but(
        encode=lambda self, g: np.ones(self.encoding_size, np.float32)
    ),
    "two subgoals one encoding": space_but(
        encode=lambda self, g: np.full(self.encoding_size, float(g is not None), np.float32)
    ),
    "must be True or False": space_but(is_complete=lambda self, *_: None),
    "it must raise SubgoalSyntaxError": space_but(
        parse=lambda self, text: _S.parse(self, text) if text.strip() else Subgoal("explore")
    ),
    "percept.snapshot() must copy": tracker_but(percept=lambda self, i: Forgetful(self, i)),
    "finds no target": tracker_but(pursue=lambda self, i, g: None),
    "controller_spaces()": tracker_but(controller_spaces=lambda self, space: {}),
    "is not in its space": tracker_but(
        controller_entries=lambda self, o: {
            key: value * 9.0 for key, value in _T.controller_entries(self, o).items()
        }
    ),
    "tracker.unsafe_actions()": tracker_but(unsafe_actions=lambda self, actions, kinds: actions),
    "tracker.imagine()": tracker_but(imagine=lambda self, p, g: (p, 1)),
    "disturb each other": tracker_but(percept=lambda self, i: _T.percept(self, 0)),
    "changes what is known of environment 1": tracker_but(
        reset=lambda self, o, which=None: _T.reset(self, o)
    ),
    "is_success=None": env_but(step=without_success),
    "another observation in each environment": env_but(reset=unseeded),
    "'image' is not in the observation_space": env_but(step=flat_image),
    "'fly', which is no candidate": env_but(expert=lambda self: NoExpert()),
    "render() must give": env_but(render=lambda self: None),
    "random_action() gives 7.5": Broken(random_action=lambda env, rng: 7.5),
    "env_ids() names no level": Broken(env_ids=lambda: ()),
    "picture(percept, 'map')": Broken(picture=lambda percept, name: percept.frame[0]),
    "draw_scene() must always give one size": Broken(
        draw_scene=lambda scene: np.zeros((4 + 2 * (scene.subgoal is None), 4, 3), np.uint8)
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", DOMAINS)
def test_what_a_domain_breaks_is_named(words):
    with pytest.raises(ContractError, match=re.escape(words)) as caught:
        check_domain(DOMAINS[words], episodes=1, steps=12)
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, UserError)


def test_a_simulator_that_no_seed_fixes_may_be_told():
    class Restless(Gridworld):
        def env_ids(self):
            return (LEVEL,)

        def make_env(self, env_id, *, max_steps=None):
            env = super().make_env(env_id, max_steps=max_steps)
            plain, moves = env.step, np.random.default_rng()
            env.step = lambda action: plain(int(moves.integers(3)))
            return env

    check_domain(Restless(), repeatable=False)
    with pytest.raises(ContractError, match="pass repeatable=False"):
        check_domain(Restless())


def test_a_domain_may_lack_what_only_some_features_need():
    def lacks(*_):
        raise ConfigError("not here")

    check_domain(Broken(scripted_controller=lacks, draw_scene=lacks), episodes=1, steps=5)


class Planner:
    privileged, version = False, 0

    def score(self, queries):
        return [uniform_over(len(query.candidates)) for query in queries]


def planner_but(**methods):
    return but(Planner, **methods)()


def spoils(self, queries):
    queries[0].candidates.reverse()
    return Planner.score(self, queries)


def by_batch(self, queries):
    return [PlannerReply(_toward(len(q.candidates), len(queries) > 1)) for q in queries]


def by_chance(self, queries):
    return [PlannerReply(_toward(len(q.candidates), self.rng.integers(2))) for q in queries]


def _toward(n, last):
    chances = np.ones(n) + np.eye(n)[n - 1 if last else 0]
    return np.log(chances / chances.sum()).astype(np.float32)


PLANNERS = {
    "lacks one of: score(), privileged, version": object(),
    "privileged is no bool": planner_but(privileged=None),
    "version is 1.5": planner_but(version=1.5),
    "one reply per query": planner_but(score=lambda self, queries: []),
    "normalize log_probs": planner_but(
        score=lambda self, queries: [
            PlannerReply(np.zeros(len(q.candidates), np.float32)) for q in queries
        ]
    ),
    "must be float32": planner_but(
        score=lambda self, queries: [
            PlannerReply(np.full(len(q.candidates), -np.log(len(q.candidates)))) for q in queries
        ]
    ),
    "changes its queries": planner_but(score=spoils),
    "otherwise alone than in a batch": planner_but(score=by_batch),
    "for_evaluation(seed) must fix": planner_but(
        score=by_chance, rng=np.random.default_rng(1), for_evaluation=lambda self, seed: self
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", PLANNERS)
def test_what_a_planner_breaks_is_named(words):
    with pytest.raises(ContractError, match=re.escape(words)):
        check_planner(PLANNERS[words])


def test_a_planner_is_named_or_built():
    check_planner(Planner())
    check_planner("noisy", seed=3)
    with pytest.raises(ContractError, match="'none' proposes nothing"):
        check_planner("none")
