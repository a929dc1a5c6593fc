"""What an agent was to learn when its process was killed: the next one of the run learns it, once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.benchmarks.reliability import children
from atlas.memory import Memory
from atlas.testing import ScriptedModel
from atlas.traces import Run, server_connection
from atlas.traces.claims import Claims
from atlas.traces.place import place_of
from atlas.wrap import due
from atlas.wrap.due import DUE, Due
from tests.postgres_server import drop, fresh
from tests.wrap_fixtures import user


@pytest.fixture(params=["folder", "server"])
def places(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """(run, memory)"""
    monkeypatch.setattr(server_connection, "GRACE", 0.3)
    monkeypatch.setattr(due, "PAUSE", 0.1)
    if request.param == "folder":
        yield str(tmp_path / "run"), str(tmp_path / "memory.sqlite")
    else:
        made = fresh()
        yield f"{made}&run=desk", made
        drop(made)


def agent(run: str, memory: str) -> atlas.Agent:
    return atlas.Agent(ScriptedModel("Done.", name="clerk"), run=run, memory=memory, embedder="hash", expect=None)


def learned(agent: atlas.Agent, demonstrations: int = 1) -> None:
    """Wait until that is known which a process that is gone had left."""
    until = time.monotonic() + 300
    while len(agent.memory) < demonstrations and time.monotonic() < until:  # type: ignore[arg-type]
        time.sleep(0.02)
    assert len(agent.memory) == demonstrations  # type: ignore[arg-type]


def serve(agent: atlas.Agent, score: float | None, task: str = "t") -> str:
    with agent.episode("do it", task=task) as episode:
        episode.client.chat.completions.create(model="m", messages=user())
        if score is not None:
            episode.score(score)
    return episode.id


def killed(when: str, places: tuple[str, str], folder: Path) -> None:
    """An agent is killed once its episode's end is in the trace: before its memory takes it, or just after."""
    keep = Memory.keep

    def dies(*given: Any, **more: Any) -> None:
        if when == "after":
            keep(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        Memory.keep = dies  # type: ignore[method-assign, assignment]
        serve(agent(*places), 1.0)

    child = children.begin(work, folder, folder / "said")
    assert children.ended(child, 300) == -signal.SIGKILL, (folder / "said").read_text()
    assert [result.score for result in Run(places[0]).results()] == [1.0]


def until_free(run: str, key: object) -> None:
    """Wait until it is known that the process which was killed has let go of what it was at."""
    claims, until = Claims(place_of(run)), time.monotonic() + 300
    while not claims.claim(key) and time.monotonic() < until:
        time.sleep(0.02)
    claims.release(key)
    claims.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_to_be_learned_is_learned_by_the_next_once(places: tuple[str, str], when: str, tmp_path: Path) -> None:
    killed(when, places, tmp_path)
    for _ in range(2):
        with agent(*places) as served:
            learned(served)
    with Memory(places[1], "hash") as memory:
        (demo,) = memory.demonstrations.all()
        assert demo.source.episode == Run(places[0]).results()[0].id
        assert len(memory.log()) == 1
    assert Due(place_of(places[0]), "agent")._left == {}


def test_another_arm_leaves_it_and_one_at_work_keeps_it(places: tuple[str, str], tmp_path: Path) -> None:
    killed("before", places, tmp_path)
    with atlas.Agent(ScriptedModel("x"), arm="other", run=places[0], memory=places[1], embedder="hash") as other:
        other.flush()
        assert len(other.memory) == 0  # type: ignore[arg-type]
    id = Run(places[0]).results()[0].id
    until_free(places[0], ("after", id))
    at_work = Due(place_of(places[0]), "agent")
    at_work.mark(id)
    with agent(*places) as second:
        second.flush()
        assert len(second.memory) == 0, "another process learns it"  # type: ignore[arg-type]
    at_work.close()
    with agent(*places) as third:
        learned(third)


def test_what_ends_well_leaves_nothing_and_what_nobody_scored_is_not_due(tmp_path: Path) -> None:
    with agent(str(tmp_path / "run"), str(tmp_path / "memory.sqlite")) as served:
        serve(served, None)
        assert not (tmp_path / "run" / DUE).exists()
        id = serve(served, 1.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / DUE).read_text().splitlines()]
    assert [(line["episode"], line["over"]) for line in lines] == [(id, False), (id, True)]


def test_what_two_processes_are_at_is_due_until_both_are_done(places: tuple[str, str]) -> None:
    """It ended in one, and while that learned from it, it got another score in the other."""
    with agent(*places) as served:
        id = serve(served, 1.0)
    for first_done in (0, 1):
        both = Due(place_of(places[0]), "agent"), Due(place_of(places[0]), "agent")
        for one in both:
            one.mark(id)
        both[first_done].over(id)
        assert list(Due(place_of(places[0]), "agent")._left) == [id]
        both[1 - first_done].over(id)
        assert Due(place_of(places[0]), "agent")._left == {}
        for one in both:
            one.close()


def test_who_learns_it_again_learns_what_was_left_with_it(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    with agent(run, str(tmp_path / "memory.sqlite")) as served:
        id = serve(served, 1.0)
    gone = Due(place_of(run), "agent")
    gone.mark(id)
    gone.close()
    scored = Due(place_of(run), "agent")
    scored.mark(id)
    scored.over(id)
    assert Due(place_of(run), "agent")._left == {}


def test_lines_of_before_say_that_all_is_over(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    agent(run, str(tmp_path / "memory.sqlite")).close()
    lines = [{"episode": "a", "arm": "agent", "over": over} for over in (False, True, False)]
    for count, left in ((1, {"a": {""}}), (2, {}), (3, {"a": {""}})):
        (tmp_path / "run" / DUE).write_text("".join(json.dumps(line) + "\n" for line in lines[:count]))
        assert Due(place_of(run), "agent")._left == left


def test_one_that_never_ended_is_due_no_more(tmp_path: Path) -> None:
    run, memory = str(tmp_path / "run"), str(tmp_path / "memory.sqlite")
    with agent(run, memory) as served:
        begun = Due(place_of(run), "agent")
        begun.mark("0123456789ab")
        begun.close()
    with agent(run, memory) as served:
        served.flush()
        assert len(served.memory) == 0  # type: ignore[arg-type]
    assert Due(place_of(run), "agent")._left == {}


def test_what_fails_again_stays_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = str(tmp_path / "run"), str(tmp_path / "memory.sqlite")
    killed("before", places, tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(Memory, "keep", lambda *_, **__: (_ for _ in ()).throw(atlas.errors.StoreError("no room")))
        with agent(*places):
            pass
    with agent(*places) as served:
        learned(served)
