"""A memory that is carried over to other incidents, frozen, with its controls."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.benchmarks import transfer
from atlas.benchmarks.arms import ARMS
from atlas.benchmarks.library import Library
from atlas.benchmarks.transfer import ARMS as PLAYED
from atlas.benchmarks.transfer import Transfer, main, rows, stratified
from atlas.benchmarks.whole import WholeDemonstrations
from atlas.distil import Lesson
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory
from atlas.memory.distil import Distilled
from atlas.memory.pamphlet import Entry, Origin
from atlas.records import DemoStep, Task, View
from tests.excytin_fixtures import write_folder


def view(task: str = "t9") -> View:
    return View(task=Task(id=task, goal="nothing like any entry"), opening="a room")


def test_every_run_is_a_command_and_each_target_has_a_frozen_copy(tmp_path: Path) -> None:
    jobs = Transfer(tmp_path, 5, (34, 38), (0, 1), data=tmp_path).make()
    assert list(jobs)[:3] == ["5-order0", "freeze-34-order0", "34-order0"] and len(jobs) == 10
    seeding, freezing, playing = (jobs[name] for name in list(jobs)[:3])
    assert "seed-then-evaluate" in seeding.argv and seeding.argv[seeding.argv.index("--arms") + 1].endswith(",teacher")
    assert freezing.needs == ("5-order0",) and freezing.copies is not None
    assert freezing.copies[0] == tmp_path / "runs" / "5-order0" / "memory.sqlite"
    assert playing.needs == (freezing.name,) and str(freezing.copies[1]) in playing.argv
    assert jobs["34-order1"].argv[jobs["34-order1"].argv.index("--tasks-seed") + 1] == "1"
    assert set(PLAYED) <= set(ARMS)


def test_a_memory_that_is_there_is_not_seeded(tmp_path: Path) -> None:
    jobs = Transfer(tmp_path, 5, (34,), (0,), memory=tmp_path / "m.sqlite").make()
    assert list(jobs) == ["freeze-34-order0", "34-order0"] and not jobs["freeze-34-order0"].needs


def test_an_incident_is_no_transfer_to_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave it out of --to"):
        Transfer(tmp_path, 5, (5, 34), (0,)).make()
    said = CliRunner().invoke(main, ["-o", str(tmp_path), "--to", "5"])
    assert said.exit_code == 2 and "leave it out of --to" in said.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "nowhere", "--to", "7"], "nowhere holds neither questions/ nor db/"),
        (["--data", "data", "--from", "7", "--to", "99,8"], "there are no test questions on incident 99"),
        (["--data", "data", "--from", "8", "--to", "7"], "there are no train questions on incident 8"),
        (["--data", "data", "--from", "7", "--to", "8"], "there is no database of incident 8"),
        (["--from", "10000", "--to", "9999", "--data", "data"], "there are no train questions on incident 10000"),
    ],
)
def test_data_that_is_not_there_is_told_before_any_work(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlglot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "work", lambda *given: pytest.fail("a job was begun"))
    questions = write_folder(tmp_path / "data") / "questions"
    shutil.copytree(questions / "test", questions / "train")
    shutil.copy(questions / "test" / "incident_7_qa.json", questions / "test" / "incident_8_qa.json")
    found = CliRunner().invoke(main, ["-o", "out", *given])
    assert (found.exit_code, found.output.count("\n")) == (2, 1) and said in found.output
    assert not (tmp_path / "out").exists()


def test_data_is_looked_for_where_something_is_to_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlglot")
    begun: list[object] = []
    monkeypatch.setattr(transfer, "work", lambda jobs, at_once: begun.append(jobs) or {})
    data = write_folder(tmp_path / "data")
    Memory(tmp_path / "m.sqlite", "hash").close()
    seeded = ["-o", str(tmp_path / "out"), "--memory", str(tmp_path / "m.sqlite"), "--arms", "student"]
    generated = CliRunner().invoke(main, [*seeded, "--to", "10050"])
    there = CliRunner().invoke(main, [*seeded, "--to", "7", "--data", str(data)])
    assert (generated.exit_code, there.exit_code, len(begun)) == (0, 0, 2), generated.output + there.output
    done = Transfer(tmp_path / "out", 5, (34,), (0,), data=tmp_path / "gone", memory=tmp_path / "m.sqlite")
    for job in done.make().values():
        job.made.parent.mkdir(parents=True)
        job.made.touch()
    done.check()


def test_incidents_count_alike_and_questions_are_paired() -> None:
    small = {"student": {"a": 0.0, "b": 0.0}, "pamphlets": {"a": 1.0, "b": 0.0}}
    large = {
        "student": {str(n): 0.0 for n in range(40)},
        "pamphlets": {str(n): float(n < 10) for n in range(40)},
        "both": {str(n): 1.0 for n in range(40)},
    }
    found = {row.arm: row for row in rows({"38": small, "34": large})}
    assert set(found) == {"student", "pamphlets"}, "an arm that was not played everywhere has no mean"
    row = found["pamphlets"]
    assert row.by_incident == {"38": 0.5, "34": 0.25} and row.mean.mean == pytest.approx(0.375)
    assert row.gain is not None and row.gain.mean == pytest.approx(0.375)
    assert row.gain.low < 0.375 < row.gain.high and row.questions == 42
    assert found["student"].gain is None and found["student"].mean.high > 0, "what all say alike has an interval"
    assert rows({}) == []


def test_an_interval_is_drawn_within_groups() -> None:
    apart = stratified([[0.0] * 20, [1.0] * 20])
    assert (apart.low, apart.mean, apart.high) == (0.5, 0.5, 0.5), "the groups themselves are not drawn"


@pytest.fixture
def memory() -> Memory:
    held = Memory(":memory:", "hash")
    entries = [
        Entry(cue=f"you see a {thing}", action=f"open the {thing}", origins=(Origin(task=task, episode=task),))
        for thing, task in (("box", "t1"), ("door", "t2"), ("jar", "t9"))
    ]
    held.entries.add_many([*entries, entries[1]], author="person:ann", reason="test")
    return held


def test_the_whole_memory_is_in_every_prompt(memory: Memory) -> None:
    library = Library(memory, ())
    assert not library.entries().search(view(), 300), "nothing in it fits"
    whole = library.entries(whole=True)
    found = whole.search(view(), 1)
    assert {entry.cue for entry in found} == {"you see a box", "you see a door"}, "but what the task itself taught"
    assert len(whole.search(view("other"), 1)) == 3
    assert json.dumps(whole.config())


def test_all_demonstrations_but_the_tasks_own(memory: Memory) -> None:
    steps = (DemoStep(observation="a room", action="open the box"),)
    demo = Demonstration(task_id="t1", goal="open it", steps=steps, success=True)
    memory.demonstrations.add_many([demo], author="person:ann", reason="test")
    whole = WholeDemonstrations(memory.demonstrations)
    (window,) = whole.search(view(), 0)
    assert window.steps and whole.similar(view(), 0) == [window]
    assert not whole.search(view("t1"), 0)


def test_failures_teach_beside_the_demonstrations_that_count(memory: Memory) -> None:
    """``pamphlets@N`` knows what N demonstrations taught, and the failures among them."""

    def lesson(episode: str) -> Lesson:
        entry = Entry(cue=f"you see {episode}", action=f"leave the {episode}", origins=(Origin(episode=episode),))
        return Lesson(
            episode=episode, arm="collect", task=episode, config="c", time=0, distilled=Distilled(entries=(entry,))
        )

    lessons = [lesson(name) for name in ("lost", "won", "missed", "found")]
    library = Library(memory, lessons, frozenset(("won", "found")))
    first = library.entries(1, whole=True).search(view(), 1)
    assert {entry.cue for entry in first} == {"you see lost", "you see won", "you see missed"}
    assert len(library.entries(2, whole=True).search(view(), 1)) == 4
