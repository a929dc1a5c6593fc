"""A success that was none, as is said later: what was learned from it is taken back, with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.cli import main
from atlas.errors import FrozenMemory
from atlas.memory import Memory, from_episode
from atlas.records import Decision, Episode, Observation, Step, Stop, Task
from atlas.testing import ScriptedModel
from atlas.traces import Run
from tests.memory_fixtures import ME


def episode(number: int, score: float, task: str = "") -> Episode:
    return Episode(
        id=f"e{number}", run="r", task=Task(id=task or f"t{number}", goal="open the box"), arm="a", stop=Stop.DONE,
        score=score, success=score >= 1, steps=1, started=float(number), seconds=1.0,
        seed=0, config="c", teacher_steps=0, spend=(),
    )  # fmt: skip


def steps(action: str = "open box") -> list[Step]:
    seen = Observation(text="a box")
    made = Decision(action=action, actor="student", reason="alone")
    done = Observation(text="it is open", score=1.0, done=True)
    return [Step(index=0, observation=seen.text, decision=made, outcome=done, seconds=0.1)]


@pytest.fixture
def memory() -> Any:
    with Memory(":memory:", "hash") as opened:
        yield opened


def test_what_it_alone_gave_is_withdrawn_as_a_version_and_may_come_back(memory: Memory) -> None:
    assert memory.keep(episode(1, 1.0), steps()).demonstration
    (demo,) = memory.demonstrations.all()
    assert memory.keep(episode(1, 0.0), steps()).withdrawn == (demo.id,)
    assert memory.demonstrations.all() == []
    last = memory.log()[-1].version
    assert (last.author, last.reason) == (
        "trace:r/e1",
        "withdrawn: the episode was scored again, 0, and is no success",
    )
    assert memory.keep(episode(1, 0.0), steps()).withdrawn == ()
    assert memory.keep(episode(1, 1.0), steps()).demonstration and memory.demonstrations.all() == [demo]
    memory.keep(episode(1, 0.0), steps())
    assert memory.keep(episode(2, 1.0), steps()).demonstration, "another does the same, and succeeds"
    memory.rollback(1, author=ME, reason="as it was")
    assert [d.id for d in memory.demonstrations.all()] == [demo.id]


def test_what_others_gave_as_well_stays_and_is_counted_without_it(memory: Memory) -> None:
    for number in (1, 2, 3):
        memory.keep(episode(number, 1.0), steps())
    (demo,) = memory.demonstrations.all()
    assert demo.seen == 3
    memory.keep(episode(2, 0.0), steps())
    (left,) = memory.demonstrations.all()
    assert (left.id, left.seen, left.episodes, left.tasks) == (
        demo.id,
        2,
        frozenset({"e1", "e3"}),
        frozenset({"t1", "t3"}),
    )
    memory.keep(episode(1, 0.5), steps())
    (left,) = memory.demonstrations.all()
    assert (left.id, left.seen, left.source.episode, left.tasks) == (demo.id, 1, "", frozenset({"t1", "t3"}))
    assert memory.keep(episode(3, 0.0), steps()).withdrawn == (demo.id,) and len(memory) == 0


def test_what_another_run_or_a_person_gave_is_left(memory: Memory) -> None:
    memory.keep(episode(1, 1.0), steps())
    other = from_episode(episode(1, 1.0).replace(run="s"), steps("push box"))
    memory.demonstrations.add(other)
    memory.keep(episode(1, 0.0), steps())
    assert memory.demonstrations.all() == [other]
    (gone,) = [item for item in memory.database.rows("demonstration") if not item.searched]
    assert gone.status == "absent"


def test_a_frozen_memory_keeps_it(memory: Memory) -> None:
    memory.keep(episode(1, 1.0), steps())
    memory.freeze(author=ME, reason="for the paper")
    with pytest.raises(FrozenMemory):
        memory.keep(episode(1, 0.0), steps())
    assert len(memory) == 1


def test_atlas_score_downwards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(tmp_path / "m.sqlite")
    model = ScriptedModel(lambda ask: "Action: open box")
    with atlas.Agent(model, run=tmp_path / "run", memory=where, embedder="hash", arm="a") as agent:
        with agent.episode(goal="open the box") as wrapped:
            wrapped.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a box"}])
            wrapped.score(1.0)
        assert len(agent.memory or ()) == 1
    (stored,) = Run(tmp_path / "run").episodes()
    main(["score", str(tmp_path / "run"), stored.id, "0"])
    assert "name that with --memory to withdraw it" in capsys.readouterr().out
    main(["score", str(tmp_path / "run"), stored.id, "0", "--memory", where, "--embedder", "hash"])
    assert "withdrawn from the memory: " in capsys.readouterr().out
    with Memory(where, "hash") as memory:
        assert len(memory) == 0 and memory.log()[-1].counts == {"removed": 1}
        (row,) = memory.outcomes.all()
        assert (row.success, row.unaided) == (False, 0.0), "what lanes are chosen by"
    main(["score", str(tmp_path / "run"), stored.id, "1", "--memory", where, "--embedder", "hash"])
    with Memory(where, "hash") as memory:
        assert [(row.success, row.unaided) for row in memory.outcomes.all()] == [(True, 1.0)]
