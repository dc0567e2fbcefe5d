"""Configuration: presets, overrides, and errors that name the remedy."""

import pytest
import yaml

from hier.config import HierConfig
from hier.envs.errors import ConfigError


def test_every_preset_loads_and_survives_a_round_trip(tmp_path):
    for name in HierConfig.preset_names():
        config = HierConfig.load(name)
        file = tmp_path / f"{name}.yaml"
        file.write_text(config.to_yaml())
        assert HierConfig.load(file) == config


def test_overrides_reach_nested_keys_with_yaml_values():
    config = HierConfig.load(
        "demo",
        ["seed=3", "controller.options.learning_rate=3e-4", "controller.net_arch=[32, 32]",
         "planner.type=noisy", "planner.options.accuracy=0.5", "env.max_steps=null"],
    )  # fmt: skip
    assert config.seed == 3
    assert config.controller.options == {"learning_rate": 3e-4}
    assert config.controller.net_arch == [32, 32]
    assert config.planner.options == {"accuracy": 0.5}


def test_override_leaves_the_original_alone():
    config = HierConfig.load("demo")
    assert config.override("seed=9").seed == 9 and config.seed == 0


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("sed=3", r"unknown key 'sed'; did you mean 'seed'"),
        ("env.idd=x", r"unknown key 'env.idd'; did you mean 'env.id'"),
        ("subgoal.bonsu=1", r"did you mean 'subgoal.bonus'"),
        ("gamma=0.9", r"unknown key 'gamma'; did you mean 'controller.gamma'"),
        ("seed=abc", r"seed is 'abc': input should be a valid integer"),
        ("env.n_envs=1.5", r"env.n_envs is 1.5"),
        ("env.n_envs=0", r"env.n_envs is 0: .*greater than or equal to 1"),
        ("controller.gamma=2", r"controller.gamma is 2: .*less than or equal to 1"),
        ("env.id=BabyAI-UnlockPickp-v0", r"did you mean 'BabyAI-UnlockPickup-v0'"),
        ("env.id=[]", r"name at least one"),
        ("planner.options.model=x", "the model is a key of its own: planner.model=x"),
        ("planner.type=orcale", r"unknown planner 'orcale'; did you mean 'oracle'"),
        ("planner.type=no.such.Planner", r"cannot be imported"),
        ("controller.algorithm=pppo", r"unknown algorithm 'pppo'; did you mean 'ppo'"),
        ("seed", r"not of the form dotted.key=value"),
        ("seed.x=1", r"'seed' is a value, not a section"),
    ],
)
def test_a_wrong_override_is_one_line_with_the_remedy(override, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        HierConfig.load("demo", [override] if "seed.x" not in override else ["seed=1", override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("- a\n- b\n", "holds a list"), ("a: [1\n", "not valid YAML"), ("env: 3\n", "env is 3")],
)
def test_a_wrong_file_says_so(tmp_path, text, complaint):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        HierConfig.load(file)


def test_missing_files_and_presets():
    with pytest.raises(ConfigError, match=r"no configuration file 'nowhere\.yaml'"):
        HierConfig.load("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"unknown preset 'dem'; did you mean 'demo'"):
        HierConfig.load("dem")


def test_every_key_is_documented_and_settable():
    for key, default, meaning in HierConfig.key_table():
        assert meaning, key
        text = yaml.safe_dump(default, default_flow_style=True).splitlines()[0]
        assert HierConfig.load("demo", [f"{key}={text}"])


def test_flat_covers_every_key():
    flat = HierConfig.load("demo").flat()
    assert set(flat) >= {key for key, _, _ in HierConfig.key_table()}
