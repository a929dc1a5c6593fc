"""``atlas traces ls`` reads a run once: what it says of it is kept, and is never said of another state of the run."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.testing.runs import MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces import summary as kept
from atlas.traces.folder_prune import SUMMARY
from atlas.traces.open_log import OPEN
from atlas.traces.packing import pack
from atlas.traces.place import TRACE, place_of
from atlas.traces.prune import Choice, prune
from atlas.traces.segments import LIMIT, closed

ARMS = {"collect": MadeUpArm(4, 0.9, teacher=1.0), "cascade": MadeUpArm(8, 0.8, teacher=0.3, retrieves=True)}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in segments, which is large enough to be kept."""
    monkeypatch.setattr(kept, "KEPT_ABOVE", 1)
    monkeypatch.setenv(LIMIT, "0.02")
    monkeypatch.chdir(tmp_path)
    made = write_run(tmp_path / "run", ARMS)
    assert len(closed(made)) > 2
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The runs whose episodes were read."""
    found: list[str] = []
    episodes = Run.episodes

    def reading(self: Run, *given: Any, **more: Any) -> Any:
        found.append(self.name)
        return episodes(self, *given, **more)

    monkeypatch.setattr(Run, "episodes", reading)
    yield found


@pytest.fixture
def ls(capsys: pytest.CaptureFixture[str], read: list[str]) -> Callable[[], tuple[dict[str, Any], int]]:
    """What the list says of the run, and how often its episodes were read for that."""

    def call() -> tuple[dict[str, Any], int]:
        read.clear()
        capsys.readouterr()
        main(["traces", "ls", ".", "--json"])
        return json.loads(capsys.readouterr().out), len(read)

    return call


Ls = Callable[[], tuple[dict[str, Any], int]]


def test_a_run_is_read_once(run: Path, ls: Ls) -> None:
    first, read = ls()
    assert read == 1 and first["episodes"] == 12 and first["arms"].keys() == ARMS.keys() and first["dollars"] > 0
    assert ls() == (first, 0)
    pack(place_of(run))
    assert ls() == (first, 0), "a packed run is the same"


def test_what_was_written_since_counts(run: Path, ls: Ls) -> None:
    before, _ = ls()
    with RunWriter(run, Run(run).settings) as writer:
        begun = write_episode(writer, "cascade", ARMS["cascade"], 20, random.Random(5))
        now, read = ls()
        assert read == 1 and now["episodes"] == 13 and now["dollars"] > before["dollars"]
        writer.end(begun.replace(success=not begun.success))
        writer.start("open", "cascade", begun.task, 0, "made-up")
    again, read = ls()
    assert read == 1 and again["open"] == 1 and again["arms"] != now["arms"]
    assert ls() == (again, 0)
    (run / OPEN).write_text("{}\n", encoding="utf-8")
    assert ls() == (again, 1) and ls() == (again, 0)


def test_what_was_pruned_is_not_counted(run: Path, ls: Ls) -> None:
    before, _ = ls()
    prune(place_of(run), Choice(episodes=(Run(run).results()[-1].id,)), by="person:me", reason="asked for")
    assert not (run / SUMMARY).exists()
    now, read = ls()
    assert read == 1 and now["episodes"] == 11 and now["dollars"] == pytest.approx(before["dollars"])


@pytest.mark.parametrize("said", ["", "{", "\n{}", '0\n{"build":1}'])
def test_a_damaged_summary_is_made_anew(said: str, run: Path, ls: Ls) -> None:
    whole, _ = ls()
    good = (run / SUMMARY).read_text(encoding="utf-8")
    (run / SUMMARY).write_text(said or good.replace('"episodes":4', '"episodes":5'), encoding="utf-8")
    assert ls() == (whole, 1)
    assert (run / SUMMARY).read_text(encoding="utf-8") == good


def test_of_a_run_that_has_lost_lines_this_is_said_each_time(
    run: Path, ls: Ls, caplog: pytest.LogCaptureFixture
) -> None:
    segment = closed(run)[1].path
    lines = segment.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith(b'{"type":"step"'))
    segment.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    for _ in range(2):
        caplog.clear()
        assert ls()[1] == 1 and "has lost lines" in caplog.text
    assert not (run / SUMMARY).exists()


@pytest.mark.parametrize("limit", ["0.02", "64"])
@pytest.mark.parametrize("damage", ["a success", "a step"])
def test_what_a_check_finds_changed_is_not_said_any_more(
    damage: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ls: Ls
) -> None:
    """Of files whose size, time and end are what they were: a restored copy, or a disk that forgets."""
    monkeypatch.setattr(kept, "KEPT_ABOVE", 1)
    monkeypatch.setenv(LIMIT, limit)
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "run", ARMS)
    before, _ = ls()
    file = closed(run)[1].path if closed(run) else run / TRACE
    stat, raw = file.stat(), file.read_bytes()
    good, bad = (b'"success":true', b'"success":null') if damage == "a success" else (b'{"type":"step"', b"\0" * 14)
    assert good in raw[:-5000]
    file.write_bytes(raw.replace(good, bad, 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ls() == (before, 0)
    with contextlib.suppress(SystemExit):
        main(["traces", "check", "run"])
    assert not (run / SUMMARY).exists()
    now, read = ls()
    assert read == 1 and (now != before or damage == "a step")


def test_what_a_check_finds_as_it_was_stays(run: Path, ls: Ls) -> None:
    before, _ = ls()
    main(["traces", "check", "run"])
    assert ls() == (before, 0)


def test_where_nothing_can_be_kept_the_run_is_read(run: Path, ls: Ls, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(kept, "write_whole", full)
    assert ls() == ls() and not (run / SUMMARY).exists()


def test_a_small_run_has_nothing_beside_it(tmp_path: Path, ls: Ls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", ARMS)
    assert ls() == ls()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.json", TRACE]
