"""What is shown while a command runs, and that no figure is cut, on a narrow terminal or in a file."""

from __future__ import annotations

import io
import itertools
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text

from atlas.benchmarks.perf.__main__ import show
from atlas.benchmarks.perf.table import Table
from atlas.cli.bench import _live_table, fitting
from atlas.cli.progress import ENOUGH, Pace, to_go
from atlas.tables import arms_table, console, pairs_table
from atlas.testing.runs import write_run
from atlas.traces import Run
from atlas.traces.account import ArmRow, arm_rows, pair


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(write_run(tmp_path / "run"))


def screen(width: int = 80, height: int = 24) -> Any:
    out = console()
    out.file = io.StringIO()
    out.size = (width, height)
    return out


def many(run: Run, count: int) -> list[ArmRow]:
    row = arm_rows(run.results())[-1]
    return [row.model_copy(update={"arm": f"arm-{number:03}"}) for number in range(count)]


# --- more rows than the terminal has --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 8, 19, 20, 21, 40, 120])
@pytest.mark.parametrize("size", [(80, 24), (120, 12)])
def test_the_newest_rows_are_those_that_are_seen(run: Run, count: int, size: tuple[int, int]) -> None:
    rows, out = many(run, count), screen(*size)
    view = fitting(out, rows, {}, Text("cascade: 40 episodes   so far: 3 episodes   about 12 min to go " * 2))
    lines = ["".join(part.text for part in line) for line in out.render_lines(view, pad=False)]
    assert len(lines) <= size[1]
    text = "\n".join(lines)
    assert f"arm-{count - 1:03}" in text and "go" in lines[-1]
    hidden = [number for number in range(count) if f"arm-{number:03}" not in text]
    assert hidden == list(range(len(hidden))) and (f"{len(hidden)} arms before these" in text) == bool(hidden)
    assert not hidden or len(lines) >= size[1] - 2, "no more is hidden than has to be"


def test_how_many_episodes_an_arm_will_have_stands_beside_those_it_has(run: Run) -> None:
    rows, out = arm_rows(run.results()), screen()
    out.print(fitting(out, rows, {row.arm: 40 for row in rows}, Text("")))
    assert f"{rows[0].scored}/40" in out.file.getvalue()


@pytest.mark.parametrize(("takes", "looks"), [(0.0, 40), (0.5, 1), (0.05, 10)])
def test_a_table_that_takes_long_is_made_anew_rarely(
    run: Run, monkeypatch: pytest.MonkeyPatch, takes: float, looks: int
) -> None:
    now, made = 100.0, 0

    def slow(episodes: Any) -> list[ArmRow]:
        nonlocal now, made
        now, made = now + takes, made + 1
        return arm_rows(episodes)

    monkeypatch.setattr("atlas.cli.bench.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("atlas.traces.account.arm_rows", slow)
    with _live_table(screen(), dict) as seen:
        while now < 110.0:
            seen("cascade", run.results())
            now += 0.0625
    assert made == looks


# --- figures ----------------------------------------------------------------------------------------------------------

COLUMNS = ("data", "windows", "search", "queries", "build_s", "p50_ms", "p95_ms", "recall", "memory_mb", "disk_mb")


@pytest.mark.parametrize("columns", ["", "80", "40"])
def test_a_measurement_is_told_in_whole_figures(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a file they were cut to ``0.4...``, where a table had more columns than 120 characters hold."""
    monkeypatch.setenv("COLUMNS", columns)
    row = ("homes, of 40 kinds", *(1234567.1234 + n for n in range(len(COLUMNS) - 1)))
    show(Table(name="retrieval", title="Retrieval", columns=COLUMNS, rows=(row,), aims=(), note="A note."))
    said = capsys.readouterr().out
    assert "…" not in said and all(f"{1234567.1234 + n:,}" in said for n in range(len(COLUMNS) - 1))
    assert all(name in said for name in COLUMNS)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_table_cuts_a_figure_or_loses_its_names(run: Run, width: int) -> None:
    episodes = run.results()
    arms = [row.arm for row in arm_rows(episodes)]
    compared = [pair(episodes, first, second) for first, second in itertools.permutations(arms, 2)]
    out = screen(width)
    out.print(arms_table(arm_rows(episodes)))
    out.print(pairs_table(compared))
    said = out.file.getvalue()
    assert "…" not in said
    together = "".join(said.split())
    for one in compared:
        assert f"{one.only_first}:{one.only_second}" in together
    for arm in arms:
        assert arm[:10] in said
    if width >= 80:
        assert max(map(len, said.splitlines())) <= width


# --- the time to go ---------------------------------------------------------------------------------------------------


def pace() -> tuple[Pace, Callable[[float], None]]:
    now = [100.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    return Pace(lambda: now[0]), wait


def played(run: Run, **counts: int) -> list[Any]:
    (one, *_) = run.results()
    return [one.model_copy(update={"arm": arm}) for arm, count in counts.items() for _ in range(count)]


def test_an_arm_goes_on_at_its_own_pace_and_what_was_there_before_counts_for_nothing(run: Run) -> None:
    following, wait = pace()
    planned = {"fast": 30, "slow": 20}
    assert following.left(played(run, fast=10), planned) is None
    assert following.left(played(run, fast=10), planned) is None, "nothing was played yet"
    wait(10)
    # 10 more in 10 seconds: 10 of this arm are left, and 20 of one that nobody has seen.
    assert following.left(played(run, fast=20), planned) == pytest.approx(10 + 20)
    wait(10)
    assert following.left(played(run, fast=30), planned) == pytest.approx(20)
    wait(50)
    assert following.left(played(run, fast=30, slow=5), planned) == pytest.approx(15 * 10)
    wait(4)
    assert following.left(played(run, fast=30, slow=5), planned) == pytest.approx(15 * 10 - 4), "it passes"


def test_a_time_is_told_when_it_rests_on_something(run: Run) -> None:
    following, wait = pace()
    following.left([], {"a": 100})
    for count in range(1, ENOUGH):
        wait(1)
        assert following.left(played(run, a=count), {"a": 100}) is None
    wait(1)
    assert following.left(played(run, a=ENOUGH), {"a": 100}) == pytest.approx(95)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.2, "about 5 s to go"),
        (52, "about 50 s to go"),
        (100, "about 2 min to go"),
        (4000, "about 67 min to go"),
        (9000, "about 2.5 h to go"),
    ],
)
def test_a_time_is_no_more_exact_than_it_is_known(seconds: float | None, said: str) -> None:
    assert to_go(seconds) == said


def test_training_tells_steps_only_where_they_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line was ``step 1/0``."""
    pytest.importorskip("torch", reason="needs the extra train")
    from atlas.cli.train import _lines
    from atlas.train.trainer import Progress

    first = Progress(epoch=1, step=1, steps=None, loss=2.5, tokens_per_second=900, seconds=0, left=float("inf"))
    later = Progress(epoch=2, step=1200, steps=4000, loss=0.5, tokens_per_second=900, seconds=20, left=600)
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal, raising=False)
        seen = _lines()
        seen(first)
        seen(later)
        one, two = capsys.readouterr().err.splitlines()
        assert one == "epoch 1, step 1: loss 2.500, 900 tokens/s"
        assert two.startswith("epoch 2, step 1,200 of about 4,000: loss 0.500, 900 tokens/s")
        assert ("about 10 min to go" in two) == terminal


# --- a real terminal --------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str, seconds: float = 300) -> str:
    """What a command writes to a terminal of 80 columns and 24 lines."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")} | {"TERM": "xterm"}
    subprocess.run(["stty", "cols", "80", "rows", "24"], stdin=theirs, check=True)
    running = subprocess.Popen(
        [sys.executable, "-m", "atlas", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    said, until = b"", time.monotonic() + seconds
    while time.monotonic() < until:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            said += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    assert running.wait(timeout=60) == 0
    os.close(ours)
    return said.decode()


def test_a_terminal_sees_a_bar_and_a_file_does_not(run: Run, tmp_path: Path) -> None:
    folder = str(run.folder)
    seen = on_a_terminal("regrade", folder, "--judge", "outcome")
    assert "━" in seen and "/" in seen and "…" not in seen
    again = [sys.executable, "-m", "atlas", "regrade", folder, "--judge", "answer", "--retry"]
    piped = subprocess.run(again, capture_output=True, text=True, timeout=300)
    assert "━" not in piped.stderr and "\x1b" not in piped.stdout + piped.stderr


@pytest.mark.slow
def test_a_bench_on_a_terminal_tells_the_time_to_go(tmp_path: Path) -> None:
    arms = "student,icd,cascade,icd@1,icd@2,icd@3,icd@4,icd@5,icd@6,icd@7,icd@8,teacher"
    seen = on_a_terminal(
        *("bench", "alfworld", "--n", "6", "--demos", "8", "--embedder", "hash", "--arms", arms),
        *("-o", str(tmp_path / "run")),
    )
    assert "to go" in seen and "/6" in seen and "…" not in seen
