"""Students asked at the states that the expert came to."""

from __future__ import annotations

from functools import partial

import pytest

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.forced import Shown, ask, expert_steps, line, states
from atlas.compression import KEEP
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory
from atlas.testing import ScriptedModel
from tests.test_compression import by
from tests.test_reranking import by as choosing


async def test_the_expert_is_good_at_its_own_states_and_a_student_that_waits_is_not() -> None:
    found = await states(Alfworld(), "homes", 2, 3)
    assert len({state.game for state in found}) == 2
    assert all(state.expert in state.good and state.expert in state.view.admissible for state in found)
    right = await ask(ScriptedExpert(), None, found, 1, "episode")
    wrong = await ask(ScriptedModel(["Action: look"] * len(found), name="waits"), None, found, 1, "episode")
    assert all(row.good for row in right) and [row.expert for row in right] == [row.action for row in right]
    assert sum(row.good for row in wrong) < len(found)
    assert "100 %" in line("expert", right, right) and "points against the first" in line("waits", wrong, right)


async def test_states_of_some_families_alone() -> None:
    every = await states(Alfworld(), "homes", 4, 9)
    family = every[0].view.task.family
    assert family is not None
    some = await states(Alfworld(), "homes", 4, 9, [family])
    assert some == [state for state in every if state.view.task.family == family]
    with pytest.raises(ConfigError, match=r"none of the games is of a family 'juggling': name one of .*pick"):
        await states(Alfworld(), "homes", 4, 9, ["juggling"])


async def test_what_is_shown_is_chosen_cut_and_told_in_short() -> None:
    suite = Alfworld()
    found = [state for state in await states(suite, "homes", 2, 3) if state.view.index > 8][:3]
    model = ScriptedModel(["Action: look"] * 12, name="looks")
    with Memory(":memory:", "hash") as memory:
        for ref in suite.tasks("homes", 6):
            task, steps = await expert_steps(ref.environment())
            memory.add(Demonstration(task_id=task.id, goal=task.goal, steps=steps, success=True))
        await ask(model, memory, found, 1, "episode")
        await ask(model, memory, found, 1, "episode", reranker=choosing(rank=1.0))
        await ask(model, memory, found, 1, "episode", by(), 0.5, reranker=choosing(rank=1.0), history=100)
        await ask(model, None, found, 1, "episode", history=100)
    ways = ([one.prompt for one in model.asks[n : n + 3]] for n in (0, 3, 6, 9))
    for whole, chosen, less, bare in zip(*ways, strict=True):
        assert chosen.retrieved != whole.retrieved and len(less.retrieved) < len(chosen.retrieved)
        assert len(less.history) < len(chosen.history) == len(whole.history)
        assert not bare.retrieved and len(bare.history) < len(whole.history)


def test_what_a_student_is_shown_is_read_off_its_name() -> None:
    read = partial(Shown.read, rerank=True, compress=True)
    assert read("hf:a?form=transcript") == Shown("hf:a?form=transcript")
    assert read("a@1") == Shown("a", 1) and read("a@6/step") == Shown("a", 6, "step")
    assert read("a@1~") == Shown("a", 1, keep=KEEP) and read("a@~0.5") == Shown("a", 1, keep=0.5)
    assert read("a@2^~0.5:400") == Shown("a", 2, "episode", True, 0.5, 400)
    assert read("a@:400") == Shown("a", 0, history=400)
    for name in ("a@", "a@x", "a@1~.", "a@0^", "a@1:", "a@1^^"):
        with pytest.raises(ConfigError, match="does not say what is shown"):
            read(name)
    with pytest.raises(ConfigError, match="--compress"):
        Shown.read("a@1~", rerank=True, compress=False)
    with pytest.raises(ConfigError, match="--rerank"):
        Shown.read("a@1^", rerank=False, compress=True)
