"""Domains by name and by path: found, made once, refused in words where something is missing."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from hier import envs
from hier.config import HierConfig
from hier.envs import ConfigError, Domain, Scene, UnknownNameError
from hier.envs.domain import Domain as Base
from hier.envs.registry import env_ids

PATH = "tests.envs.test_domain:Corridor"


class Walk(gym.Env):
    """Five cells in a row; the last one pays."""

    observation_space = spaces.Dict({"mission": spaces.Box(0, 1, (1,), np.int64)})
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)


class Corridor(Domain):
    """As little as a domain may be."""

    name = "corridor"

    def env_ids(self):
        return ("long", "short")

    def make_env(self, env_id, *, max_steps=None):
        env = Walk()
        env.made_as = (env_id, max_steps)
        return env

    def subgoal_space(self):
        raise NotImplementedError

    def tracker(self, n):
        raise NotImplementedError


class Unfinished(Base):
    name = "unfinished"

    def env_ids(self):
        return ()


def test_a_domain_of_ones_own_is_named_by_its_path():
    domain = envs.domain_of(f"{PATH}/long")
    assert isinstance(domain, Corridor) and domain is envs.domain_named(PATH)
    assert envs.make_env(f"{PATH}/short", max_steps=7).made_as == ("short", 7)
    config = HierConfig.load("demo", [f"env.id=[{PATH}/long, {PATH}/short]"])
    assert config.env.ids == [f"{PATH}/long", f"{PATH}/short"]


def test_only_the_domain_that_is_asked_for_is_imported():
    code = (
        "import sys; from hier import envs; envs.make_env('BabyAI-GoToRedBall-v0')\n"
        "parts = [f'hier.{f}.{d}' for f in ('envs', 'perception') for d in "
        "('fetch', 'pointmaze', 'rooms')]\n"
        "others = (*parts, 'mujoco', 'miniworld', 'torch')\n"
        "print([name for name in sys.modules if name.startswith(others)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_id_belongs_to_the_domain_that_lists_it():
    for name in env_ids():
        assert name in envs.domain_of(name).env_ids()
    assert envs.domain_of("privileged/FetchPush-v4").name == "fetch-privileged"


def test_one_run_plays_one_domain():
    with pytest.raises(ConfigError, match=r"mixes the domains \['corridor', 'gridworld'\]"):
        HierConfig.load("demo", [f"env.id=[{PATH}/long, BabyAI-GoToRedBall-v0]"])


def test_ids_of_other_peoples_domains_are_not_listed():
    envs.domain_of(f"{PATH}/long")
    assert not any("long" in name for name in env_ids() if ":" in name)


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        (f"{PATH}/lnog", "level of .*Corridor 'lnog'; did you mean 'long'"),
        (f"{PATH}", "level of .*Corridor ''.*long, short"),
        ("no_such_module:Corridor/long", "no_such_module:Corridor.*cannot be imported"),
        ("tests.envs.test_domain:Coridor/long", "Coridor.*cannot be imported"),
        ("tests.envs.test_domain:Walk/long", "Walk' is no domain; name a subclass of Domain"),
        ("tests.envs.test_domain:Unfinished/x", "lacks make_env, subgoal_space, tracker"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(env_id, words):
    with pytest.raises(ConfigError, match=words):
        envs.make_env(env_id)


def test_an_unknown_domain_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'gridworld'"):
        envs.domain_named("gridwrold")


@pytest.mark.parametrize("what", ["scripted_controller", "relabeling"])
def test_what_a_domain_does_not_supply_is_told_with_a_remedy(what):
    domain = envs.domain_named(PATH)
    with pytest.raises(ConfigError, match=r"the domain 'corridor' has no .*; .*Corridor$"):
        getattr(domain, what)()
    with pytest.raises(ConfigError, match=r"has no pictures; set eval\.videos=0"):
        domain.draw_scene(Scene(None))
    assert domain.coverage(["long"]) == "" and domain.hazards == ()
    assert not any(domain.variations()) and domain.planner == ""


def test_aimless_play_draws_from_the_action_space_and_can_be_repeated():
    domain, env = envs.domain_named(PATH), Walk()
    draws = [domain.random_action(env, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert env.action_space.contains(draws[0])
    assert draws[0] == draws[1] != draws[2]
