"""What a wrapped agent remembers besides demonstrations: entries of pamphlets, and how its episodes went."""

from __future__ import annotations

from pathlib import Path

import pytest

import atlas
from atlas.memory.database import Database
from atlas.memory.embed import load_embedder
from atlas.memory.evidence import EvidenceTable
from atlas.memory.history import History
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from atlas.testing import ScriptedModel
from atlas.traces import Run

ENTRY = Entry(cue="someone asks how many boxes there are", action="count the boxes twice and compare the two counts")


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path = tmp_path / "memory.sqlite"
    with PamphletStore(path, "hash") as store:
        store.add_many([ENTRY], author="person:me", reason="a rule of the house")
    return path


def serve(agent: atlas.Agent, count: int = 1) -> None:
    for number in range(count):
        goal = f"someone asks how many boxes there are in room {number}"
        with agent.episode(goal) as episode:
            episode.client.chat.completions.create(model="any", messages=[{"role": "user", "content": goal}])
            episode.succeed()


def test_an_entry_reaches_the_prompt_and_is_cited(memory: Path, tmp_path: Path) -> None:
    student = ScriptedModel(lambda ask: "There are two.", name="small")
    store = atlas.DemonstrationStore(memory, embedder="hash")
    with store, atlas.Agent(student, memory=store, run=tmp_path / "run", trials=0.0) as agent:
        serve(agent)
    assert "count the boxes twice" in student.asks[0].prompt.guidance
    (stored,) = Run(tmp_path / "run").episodes()
    assert [c.id for c in stored.steps[0].decision.guidance] == [ENTRY.id]
    assert ENTRY.id in stored.steps[0].decision.prompt.guidance


def test_guidance_can_be_switched_off(memory: Path) -> None:
    student = ScriptedModel(lambda ask: "There are two.")
    with (
        atlas.DemonstrationStore(memory, embedder="hash") as store,
        atlas.Agent(student, memory=store, guidance=0) as a,
    ):
        serve(a)
    assert student.asks[0].prompt.guidance == ""


def test_coins_gather_evidence(memory: Path) -> None:
    student = ScriptedModel(lambda ask: "There are two.")
    with (
        atlas.DemonstrationStore(memory, embedder="hash") as store,
        atlas.Agent(student, memory=store, trials=1.0) as a,
    ):
        serve(a, 12)
    shown = sum(bool(ask.prompt.guidance) for ask in student.asks)
    assert 0 < shown < 12, "a coin decides in each episode"
    database = Database(str(memory))
    trials = EvidenceTable(database).trials(ENTRY.id)
    assert len(trials) == 12 and sum(t.shown for t in trials) == shown
    assert {t.reward for t in trials} == {1.0}
    assert len(History(database, load_embedder("hash"))) == 12
    database.close()


def test_a_frozen_memory_is_read_and_keeps_nothing(memory: Path) -> None:
    database = Database(str(memory))
    database.set_frozen(True, author="person:me", reason="for a test")
    student = ScriptedModel(lambda ask: "There are two.")
    with (
        atlas.DemonstrationStore(memory, embedder="hash") as store,
        atlas.Agent(student, memory=store, trials=1.0) as a,
    ):
        serve(a, 12)
    assert any(ask.prompt.guidance for ask in student.asks)
    assert EvidenceTable(database).trials(ENTRY.id) == []
    database.close()


def test_an_entry_that_helps_is_admitted_and_one_that_harms_is_quarantined(memory: Path) -> None:
    """The loop succeeds if and only if it was told to count twice and not told to guess."""
    harmful = Entry(cue="someone asks how many boxes there are", action="guess a number without looking at anything")
    student = ScriptedModel(lambda ask: "There are two.")
    with atlas.DemonstrationStore(memory, embedder="hash") as m, PamphletStore(m.database, "hash") as pamphlets:
        pamphlets.add_many([harmful], author="person:me", reason="a bad rule")
        with atlas.Agent(student, memory=m, trials=1.0, learn=False) as agent:
            for number in range(160):
                goal = f"someone asks how many boxes there are in room {number}"
                with agent.episode(goal, task=goal) as episode:
                    episode.client.chat.completions.create(model="any", messages=[{"role": "user", "content": goal}])
                    told = student.asks[-1].prompt.guidance
                    episode.score(float("count the boxes twice" in told and "guess" not in told))
        rows = {item.id: item for item in m.database.rows("entry")}
        assert (rows[ENTRY.id].status, rows[harmful.id].status) == ("admitted", "quarantined")
        assert all(version.author.startswith("rule:") for version in m.database.versions()[-2:])
