"""The measurements of reliability themselves, in small: that they find what is lost, and say what they did."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.benchmarks.perf.remembering import demonstration
from atlas.benchmarks.reliability import children, machine, poison, works
from atlas.benchmarks.reliability.__main__ import main
from atlas.benchmarks.reliability.kills import differing
from atlas.benchmarks.reliability.plan import Plan
from atlas.memory import Memory
from atlas.testing.runs import MadeUpArm, write_run


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    """The measurements keep quiet about what they make fail; the tests after them do not."""
    names = ("atlas", "atlas.models")
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)


def test_a_command_is_killed_and_comes_to_the_same() -> None:
    done = run("kills", "--n", "1", "--only", "data excytin import")
    assert done.exit_code == 0, done.output
    (table,) = json.loads(done.stdout)["tables"]
    ((name, _, kills, finished, wrong, _, _),) = table["rows"]
    assert (name, kills, wrong) == ("data excytin import", 1, 0) and finished >= 1 and table["met"] == [True]


def test_a_provider_fails_and_the_account_is_its_bill() -> None:
    done = run("provider", "--n", "2", "--only", "a cut answer")
    (table,) = json.loads(done.stdout)["tables"]
    assert len(table["rows"]) == 1 and table["met"] == [True, True], table
    assert all(row[1] == row[2] == 2 for row in table["rows"])


def test_a_memory_that_is_deleted_is_refused() -> None:
    table = machine.measure(Plan(n=1, only=("a memory file that is deleted",)))
    assert table.rows == (("a memory file that is deleted", 1, 1, 0, 0, ""),) and table.aims[0].met


def test_texts_are_told_apart() -> None:
    table = poison.measure(Plan(n=1, only=("a few of ours",)))
    observed = {row[1]: row[4:] for row in table.rows if row[2] == poison.OBSERVED}
    assert observed == {"attacks": (1, 0, 0), "honest": (0, 1, 0)}


def test_what_is_lost_is_found(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"icd": MadeUpArm(3, 0.5)})
    whole = works.played(tmp_path / "run")
    trace = tmp_path / "run" / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    step = next(i for i, line in enumerate(lines) if line.startswith('{"type":"step"'))
    trace.write_text("".join(lines[:step] + lines[step + 1 :]))
    with pytest.raises(works.Wrong, match="steps are lost"):
        works.played(tmp_path / "run")
    assert differing(whole, whole[1:]) == "2 parts in place of 3"
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        memory.add(demonstration(1, True))
        assert len(works.held(tmp_path / "m.sqlite")) == 1
        with memory.database.transaction():
            memory.database.backend.execute("DELETE FROM versions")
            memory.database.backend.execute("INSERT INTO versions VALUES (7, 0.0, 'a', 'b', 'write')")
    with pytest.raises(works.Wrong, match="gaps"):
        works.held(tmp_path / "m.sqlite")


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(children.Failed, match=r"ended with 2, saying .atlas: "):
        children.run(children.command(["report", "nowhere"]), tmp_path, tmp_path / "said")


def test_a_part_whose_time_is_over_begins_nothing_and_says_so() -> None:
    plan = Plan(seconds=-1.0)
    assert plan.late and plan.part(3).seconds == 0.0
    table = machine.measure(replace(plan, only=("a trace that is cut: run",)))
    assert not table.rows and "a trace that is cut: run: not measured, the time was over" in table.note


def test_a_set_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_POISON", str(tmp_path))
    done = run("poison", "--n", "1")
    assert done.exit_code == 2 and "is no list of texts" in done.stderr
