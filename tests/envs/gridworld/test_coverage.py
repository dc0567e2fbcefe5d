"""The table of what the vocabulary covers, on a handful of levels of every sort."""

import pytest

from hier.envs import UnknownNameError
from hier.envs.gridworld.coverage import coverage, to_markdown

IDS = (
    "BabyAI-BossLevel-v0",
    "BabyAI-PutNextLocal-v0",
    "BabyAI-UnlockPickup-v0",
    "MiniGrid-Empty-5x5-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-Playground-v0",
    "MiniGrid-WFC-MazeSimple-v0",
)


@pytest.fixture(scope="module")
def rows():
    return {row.env_id: row for row in coverage(IDS, seeds=4)}


def test_every_level_asked_for_has_a_row_in_order(rows):
    assert tuple(rows) == IDS


def test_what_is_covered_was_found_by_running_it(rows):
    assert {name for name, row in rows.items() if row.buildable} == set(IDS[:-1])
    assert {name for name, row in rows.items() if row.covered} == set(IDS[:5])


def test_verbs_of_missions_and_of_the_expert(rows):
    assert rows["BabyAI-UnlockPickup-v0"].mission_verbs == ("pick up",)
    assert rows["BabyAI-PutNextLocal-v0"].mission_verbs == ("pick up", "put next to")
    assert "pick up" in rows["BabyAI-PutNextLocal-v0"].expert_verbs
    assert set(rows["BabyAI-BossLevel-v0"].mission_verbs) >= {"go to", "pick up", "open"}
    empty = rows["MiniGrid-Empty-5x5-v0"]
    assert empty.mission_verbs == ("reach",) and empty.expert_verbs[-1] == "reach"
    assert not rows["MiniGrid-Playground-v0"].mission_verbs


def test_the_experts_share(rows):
    for row in rows.values():
        assert row.expert_share == 0.0 if not row.covered else 0.8 <= row.expert_share <= 1.0
        assert bool(row.expert_verbs) == row.covered


def test_whatever_is_not_covered_has_its_reason(rows):
    assert all(row.note for row in rows.values() if not row.covered)
    assert "no mission" in rows["MiniGrid-Playground-v0"].note
    assert "`done`" in rows["MiniGrid-GoToDoor-5x5-v0"].note
    assert "install minigrid from its repository" in rows["MiniGrid-WFC-MazeSimple-v0"].note


def test_the_page_counts_and_lists_every_level(rows):
    page = to_markdown(list(rows.values()))
    assert "Of 8 levels, 7 can be built" in page and "and 5 of these" in page
    table = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0].strip("| ") for line in table] == list(IDS)
    assert all(line.count("|") == 7 for line in table)
    assert "| BabyAI-UnlockPickup-v0 | yes | pick up |" in page
    assert "| MiniGrid-WFC-MazeSimple-v0 | not built |" in page


def test_the_same_seeds_give_the_same_rows(rows):
    assert coverage(IDS[:3], seeds=4) == [rows[name] for name in IDS[:3]]


def test_an_unknown_level_is_an_error():
    with pytest.raises(UnknownNameError, match="did you mean 'BabyAI-Open-v0'"):
        coverage(["BabyAI-Opne-v0"])
