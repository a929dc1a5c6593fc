"""Students asked at the states that the expert came to."""

from __future__ import annotations

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.forced import ask, line, states
from atlas.testing import ScriptedModel


async def test_the_expert_is_good_at_its_own_states_and_a_student_that_waits_is_not() -> None:
    found = await states(Alfworld(), "homes", 2, 3)
    assert len({state.game for state in found}) == 2
    assert all(state.expert in state.good and state.expert in state.view.admissible for state in found)
    right = await ask(ScriptedExpert(), None, found, 1, "episode")
    wrong = await ask(ScriptedModel(["Action: look"] * len(found), name="waits"), None, found, 1, "episode")
    assert all(row.good for row in right) and [row.expert for row in right] == [row.action for row in right]
    assert sum(row.good for row in wrong) < len(found)
    assert "100 %" in line("expert", right, right) and "points against the first" in line("waits", wrong, right)
