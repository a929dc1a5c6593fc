"""One memory: what it keeps of an episode, once and whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import atlas
from atlas.asking import Desk
from atlas.errors import ConfigError, FrozenMemory
from atlas.memory import DemonstrationStore, HashEmbedder, Kept, Memory
from atlas.memory.evidence import trials_of
from atlas.memory.gate import Rule
from atlas.memory.history import History, unaided
from atlas.memory.pamphlet import Entry
from atlas.policies import Recall, Solo
from atlas.records import Citation, Episode, Step, Stop
from atlas.testing import ScriptedModel
from tests.memory_fixtures import ME, demo, view
from tests.test_memory_demonstration import STEPS, episode, step

HOT = Entry(cue="an apple is to be heated", action="use the microwave in the kitchen", effect="it is hot")


@pytest.fixture
def memory() -> Memory:
    return Memory(":memory:", "hash")


def cited(*found: Citation, at: int = 0) -> list[Step]:
    """The steps of an episode, of which one cites entries."""
    one = STEPS[at]
    return [*STEPS[:at], one.model_copy(update={"decision": one.decision.model_copy(update={"guidance": found})})]


def played(number: int, score: float) -> Episode:
    """One more episode: of another seed, so that its coins are its own."""
    changes = {"id": f"e{number}", "seed": number, "score": score, "success": score >= 1.0, "started": float(number)}
    return episode(True).model_copy(update=changes)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_success_is_kept_once(memory: Memory) -> None:
    assert memory.keep(episode(True), STEPS) == Kept(outcome=True, demonstration=True)
    assert memory.keep(episode(True), STEPS) == Kept()
    assert (len(memory.demonstrations), len(memory.outcomes), memory.database.head()) == (1, 1, 1)
    (only,) = memory.outcomes.all()
    assert (only.episode, only.success) == ("e", True)


def test_a_failure_is_an_outcome_and_no_demonstration(memory: Memory) -> None:
    assert memory.keep(episode(False), STEPS) == Kept(outcome=True)
    assert memory.keep(episode(None).model_copy(update={"id": "e2"}), STEPS) == Kept(outcome=True)
    assert len(memory.demonstrations) == 0


def test_who_learns_nothing_keeps_the_outcome(memory: Memory) -> None:
    assert memory.keep(episode(True), STEPS, learn=False) == Kept(outcome=True)


def test_a_success_in_which_nothing_was_done_is_no_demonstration(memory: Memory) -> None:
    idle = [step(0, "a room", "wave", "Nothing happens.")]
    assert memory.keep(episode(True), idle) == Kept(outcome=True)
    assert memory.keep(episode(True).model_copy(update={"id": "e2"}), []) == Kept(outcome=True)


@pytest.mark.parametrize("stop", [Stop.CANCELLED, Stop.RUN_BUDGET])
def test_what_was_interrupted_says_nothing(memory: Memory, stop: Stop) -> None:
    assert memory.keep(episode(True).model_copy(update={"stop": stop}), STEPS) == Kept()
    assert len(memory.outcomes) == 0


def test_a_frozen_memory_takes_nothing_and_says_so(memory: Memory) -> None:
    memory.freeze(author=ME, reason="as it is")
    with pytest.raises(FrozenMemory):
        memory.keep(episode(True), STEPS)
    assert (len(memory.outcomes), len(memory.demonstrations)) == (0, 0)


def test_an_episode_is_kept_whole_or_not_at_all(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bool:
        raise OSError("no space left")

    monkeypatch.setattr(memory.demonstrations, "add", full)
    with pytest.raises(OSError, match="no space"):
        memory.keep(episode(True), cited(Citation(id=HOT.id, randomised=True)))
    assert (len(memory.outcomes), memory.trials.all()) == (0, {})


def test_coins_become_evidence_and_evidence_a_status(memory: Memory) -> None:
    memory.entries.add_many([HOT], author=ME, reason="known")
    changed: dict[str, str] = {}
    for number in range(60):
        shown = number % 2 == 0
        steps = cited(Citation(id=HOT.id, shown=shown, randomised=True, p=0.5))
        kept = memory.keep(played(number, float(shown)), steps, learn=False)
        changed |= {entry: said.status for entry, said in kept.settled.items()}
    assert changed == {HOT.id: "admitted"} and memory.trials.of(HOT.id).trials == 60
    assert memory.log()[-1].version.author == "rule:evidence"


def test_the_rule_is_the_memorys() -> None:
    memory = Memory(":memory:", "hash", rule=Rule(patience=4))
    memory.entries.add_many([HOT], author=ME, reason="known")
    for number in range(4):
        memory.keep(played(number, 1.0), cited(Citation(id=HOT.id, shown=number % 2 == 0, randomised=True)))
    assert memory.database.rows("entry")[0].status == "quarantined"


def test_a_reward_that_changed_changes_the_trial_and_adds_none(memory: Memory) -> None:
    steps = cited(Citation(id=HOT.id, randomised=True))
    memory.keep(played(1, 0.0), steps)
    memory.keep(played(1, 1.0), steps)
    assert [trial.reward for trial in memory.trials.trials(HOT.id)] == [1.0]


# --- coins ------------------------------------------------------------------------------------------------------------


def test_the_chance_of_a_coin_is_the_one_in_its_citation() -> None:
    steps = cited(
        Citation(id="a", randomised=True, p=0.9), Citation(id="b", shown=False, randomised=True), Citation(id="c")
    )
    assert [(t.entry, t.shown, t.p) for t in trials_of(episode(True), steps)] == [("a", True, 0.9), ("b", False, 0.5)]


@pytest.mark.parametrize(
    "later",
    [
        Citation(id="a", shown=False, randomised=True),
        Citation(id="a"),
        Citation(id="a", randomised=True, p=0.9),
    ],
    ids=["withheld", "without a coin", "another coin"],
)
def test_a_coin_that_turned_within_an_episode_is_void(later: Citation) -> None:
    good = Citation(id="b", randomised=True)
    first, second = cited(Citation(id="a", randomised=True), good)[0], cited(later, good)[0]
    assert [t.entry for t in trials_of(episode(True), [first, first])] == ["a", "b"]
    assert [t.entry for t in trials_of(episode(True), [first, second])] == ["b"]
    assert [t.entry for t in trials_of(episode(True), [second, first])] == ["b"]


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_what_the_teacher_did_is_not_what_the_student_can() -> None:
    """Episodes that a teacher collected say nothing of the student, or lanes would leave it alone at once."""
    collected = episode(True)
    assert collected.teacher_steps and unaided(collected, STEPS) is None
    alone = collected.model_copy(update={"teacher_steps": 0})
    assert unaided(alone, STEPS) == 1.0
    assert unaided(collected.model_copy(update={"lane": "auto"}), STEPS) == 1.0


def test_an_outcome_that_another_adds_meanwhile_is_found_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with Memory(path, "hash") as other:
        other.keep(played(1, 1.0), STEPS)

        class Slow(HashEmbedder):
            def embed(self, texts):  # type: ignore[no-untyped-def]
                other.keep(played(2, 1.0), STEPS)
                return super().embed(texts)

        with DemonstrationStore(path, embedder="hash") as store:
            history = History(store.database, Slow())
            assert [outcome.episode for outcome in history.all()] == ["e1"]
            assert [outcome.episode for outcome in history.all()] == ["e1", "e2"]


# --- opening and closing ----------------------------------------------------------------------------------------------


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux says is open")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: Memory(path, "hash", cap=0),
        lambda path: Memory(path, "hash", keys=("colour",)),
        lambda path: Memory(path, "hash", index="best"),
        lambda path: Memory(path, "hash", window=-1),
        lambda path: Memory(path, "no such embedder"),
    ],
)
def test_a_memory_that_cannot_be_made_leaves_nothing_open(make: Callable[[Path], Memory], tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError) as told:
        make(tmp_path / "m.sqlite")
    assert set(os.listdir("/proc/self/fd")) == before
    assert told.value  # the frames of the failure are still held


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux says is open")
def test_who_is_interrupted_while_opening_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.memory.sqlite.create", interrupted)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt) as told:
        Memory(tmp_path / "m.sqlite", "hash")
    assert len(os.listdir("/proc/self/fd")) == before
    assert told.tb is not None


def test_it_closes_what_it_opened_and_nothing_else(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path / "m.sqlite", embedder="hash") as store:
        with Memory.around(store) as memory:
            assert memory.demonstrations is store
            memory.keep(episode(True), STEPS)
        assert len(store) == 1, "it is still open"
    with Memory(tmp_path / "m.sqlite", "hash", window=1) as memory:
        assert len(memory.demonstrations) == 1 and memory.demonstrations.window == 1


async def test_it_is_read_as_demonstrations_are(memory: Memory) -> None:
    memory.add(demo(1))
    asked = view("other", demo(1).goal, demo(1).steps[0].observation)
    assert [w.task_id for w in memory.search(asked, 3)] == [w.task_id for w in memory.similar(asked, 3)] == ["task-1"]
    decided = await Recall(Solo(ScriptedModel(lambda ask: "Action: look")), memory, k=1).decide(asked, Desk())
    assert [hit.demo_id for hit in decided.retrieved] == [demo(1).id]
    assert memory.config() == memory.demonstrations.config()


def test_an_agent_takes_one(memory: Memory) -> None:
    with atlas.Agent(ScriptedModel(lambda ask: "There are two."), memory=memory) as agent, agent.episode("count") as e:
        e.client.chat.completions.create(model="any", messages=[{"role": "user", "content": "count"}])
        e.succeed()
    assert len(memory.demonstrations) == 1
