"""The suite that lets the critic learn while a scripted controller plays."""

import pytest

from hier.bench.critic import ALONE, GUIDED, LEARNING, LEVELS, critic
from hier.envs.errors import UnknownNameError


@pytest.mark.slow
def test_quick():
    figures, rows = critic(True, [0], [LEVELS[0]])
    assert [row["variant"] for row in rows] == [LEARNING, LEARNING, ALONE, GUIDED]
    assert all(0 <= row["success"] <= 1 for row in rows)
    assert {"KeyCorridorS3R3.guided.success", "KeyCorridorS3R3.slope"} <= set(figures)
    with pytest.raises(UnknownNameError, match="level of this suite"):
        critic(True, [0], ["BabyAI-GoToObj-v0"])
