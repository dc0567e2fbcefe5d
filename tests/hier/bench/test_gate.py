"""What the suite of the gate plays."""

import pytest

from hier.bench import gate
from hier.bench.gate import BIG, CHANCE, GATE, SLIM, ChanceGate, Task


def test_chance_asks_as_often_whatever_the_doubt():
    planner = ChanceGate({"type": "random"}, slim={"type": "random"}, budget=0.3)
    assert {planner._share(entropy) for entropy in (0.0, 0.5, 2.0)} == {0.3}


@pytest.mark.slow
def test_a_damaged_planner_is_another_one_for_each_seed_and_alike_for_equal_seeds():
    task = Task("BabyAI-UnlockPickup-v0", "damaged", "oracle", 1)
    rows = gate._play(task, 0)
    assert [row["variant"] for row in rows] == [SLIM, BIG, GATE, CHANCE]
    assert rows[0]["asked"] == 0 and rows[1]["asked_share"] == 1 and rows[1]["success"] == 1
    weights = [_weights_of(seed) for seed in (0, 0, 1)]
    assert weights[0] == weights[1] != weights[2]


def _weights_of(seed):
    planner = gate.GatedPlanner({"type": "random"})
    gate._damage(planner, seed)
    return float(sum(w.double().abs().sum() for w in planner._slim.loaded.network.parameters()))
