"""A machine that is not what it should be: a full disk, few files, a clock that goes back, files cut or replaced."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.perf.remembering import demonstration
from atlas.benchmarks.perf.table import Aim, Cell, Table
from atlas.benchmarks.reliability import children
from atlas.benchmarks.reliability.children import Failed
from atlas.benchmarks.reliability.kills import differing, missing, own_settings
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.benchmarks.reliability.works import BENCH, WORKS, Work, Wrong, copied, played
from atlas.errors import AtlasError
from atlas.memory import Memory

USUAL = 3
FILES = 64
_PAGE = 4096
_PLAIN = Work(
    name="run", words=lambda folder: [*BENCH, "--arms", "icd,cascade"], outcome=lambda folder: played(folder / "run")
)
"""A run whose arms learn nothing while they play: of a trace that is cut, episodes are played again."""

Breaks = Callable[[Work, Path, float, Random], None]


def measure(plan: Plan) -> Table:
    """``plan.n`` trials of each."""
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    works = [work for work in WORKS if not missing(work) and "psycopg" not in work.needs]
    ways: list[tuple[str, Work, Breaks]] = []
    for work in works:
        ways += [
            (f"a full disk: {work.name}", work, _full),
            (f"{FILES} files: {work.name}", work, _few),
            (f"a clock that goes back: {work.name}", work, _back),
        ]
    ways.append(("a trace that is cut: run", _PLAIN, _cut))
    mounts = _can_mount()
    for name, work, breaks in ways:
        if not plan.wanted(name) and not plan.wanted(name.partition(":")[0]):
            continue
        if breaks is _full and not mounts:
            notes.append(f"{name}: not measured, only root may make a small disk")
        elif plan.late:
            notes.append(f"{name}: not measured, the time was over")
        else:
            rows.append((name, *_row(work, breaks, plan.size(USUAL), plan.chance(name))))
            plan.said(f"{name}: {rows[-1][2]} refused, {rows[-1][4]} wrong")
    for name, replaces in _REPLACED.items():
        if plan.wanted(name) or plan.wanted("a memory file that is replaced"):
            rows.append((name, *_held(replaces, plan.size(USUAL))))
    wrong = sum(int(row[4] or 0) for row in rows)
    return Table(
        name="machine",
        title="A machine that is not what it should be",
        columns=("what", "trials", "refused", "right", "wrong", "first of the wrong ones"),
        rows=tuple(rows),
        aims=(Aim(what="trials with another outcome, a traceback, or something lost", limit=0, measured=float(wrong)),),
        note=". ".join(
            [
                "Refused: in one sentence, exit code 2, and whole once the same command was called again on a machine "
                "that is well; right: what an undisturbed command leaves",
                *notes,
            ]
        ),
    )


def _row(work: Work, breaks: Breaks, wanted: int, chance: Random) -> tuple[Cell, ...]:
    refused = right = 0
    wrong: list[str] = []
    with scratch() as root, own_settings():
        template = root / "template"
        template.mkdir()
        (template / "place").touch()
        children.load(work.loads)
        work.prepare(template)
        plain = copied(template, root / "plain", None)
        seconds = children.run(work.work(plain), plain, root / "plain.said", work.codes)
        outcome = work.outcome(plain)
        for number in range(wanted):
            folder = root / f"at-{number}"
            folder.mkdir()
            with _disk(folder, breaks is _full) as bigger:
                shutil.copytree(template, folder, dirs_exist_ok=True)
                if breaks is _full:
                    taken, whole = _size(template), _size(plain)
                    bigger(taken + round(chance.uniform(0.05, 0.9) * (whole - taken)))
                try:
                    breaks(work, folder, seconds, chance)
                    said = False
                except Failed as error:
                    said = True
                    if not _one_sentence(root / f"at-{number}.said", error):
                        wrong.append(str(error))
                        continue
                finally:
                    bigger(1 << 30)
                try:
                    again = root / f"at-{number}.again"
                    if said or breaks is _cut:
                        children.run(work.work(folder), folder, again, work.codes)
                    left = work.outcome(folder)
                    if left != outcome:
                        raise Wrong(differing(outcome, left))
                    refused += said
                    right += not said
                except (Failed, Wrong, AtlasError) as error:
                    wrong.append(str(error))
    return (wanted, refused, right, len(wrong), wrong[0][:300] if wrong else "")


def _one_sentence(said: Path, error: Failed) -> bool:
    """Whether a command that was refused said why in one sentence, and nothing of its inside."""
    text = said.read_text(encoding="utf-8", errors="replace")
    last = (text.strip().splitlines() or [""])[-1]
    return error.code == 2 and last.startswith("atlas: ") and "Traceback" not in text


# --- the ways ---------------------------------------------------------------------------------------------------------


def _full(work: Work, folder: Path, seconds: float, chance: Random) -> None:
    """The disk is full by now, or will be."""
    children.run(work.work(folder), folder, folder.with_suffix(".said"), work.codes)


def _few(work: Work, folder: Path, seconds: float, chance: Random) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
        work.work(folder)()

    children.run(limited, folder, folder.with_suffix(".said"), work.codes)


def _back(work: Work, folder: Path, seconds: float, chance: Random) -> None:
    """The clock is set back by an hour at some moment, and by another one later."""
    moments = sorted(chance.uniform(0, seconds) for _ in range(2))

    def turned() -> None:
        true, began = time.time, time.monotonic()

        def told() -> float:
            return true() - 3600 * sum(time.monotonic() - began > moment for moment in moments)

        time.time = told
        work.work(folder)()

    children.run(turned, folder, folder.with_suffix(".said"), work.codes)


def _cut(work: Work, folder: Path, seconds: float, chance: Random) -> None:
    """A run that was whole loses the end of its trace, as after a power cut."""
    children.run(work.work(folder), folder, folder.with_suffix(".said"), work.codes)
    trace = folder / "run" / "trace.jsonl"
    os.truncate(trace, chance.randrange(1, trace.stat().st_size))


# --- a memory that is not there any more ------------------------------------------------------------------------------


def _held(replaces: Callable[[Path, Path], object], wanted: int) -> tuple[Cell, ...]:
    """A memory is open while its file becomes another one: what is acknowledged afterwards has to be in the file."""
    refused = right = 0
    wrong: list[str] = []
    for _ in range(wanted):
        with scratch() as folder:
            path, other = folder / "m.sqlite", folder / "other.sqlite"
            with Memory(other, "hash") as memory:
                memory.add(demonstration(1, True))
            with Memory(path, "hash") as memory:
                memory.add(demonstration(2, True))
                replaces(path, other)
                added = demonstration(3, True)
                try:
                    memory.add(added)
                except AtlasError as error:
                    refused += 1
                    if "\n" in str(error):
                        wrong.append(str(error))
                    continue
            try:
                with Memory(path, "hash") as memory:
                    there = added.id in {one.id for one in memory.demonstrations.all()}
            except AtlasError as error:
                wrong.append(f"added and acknowledged, and the file is no memory any more: {error}")
                continue
            right += there
            if not there:
                wrong.append("what was added and acknowledged is not in the file")
    return (wanted, refused, right, len(wrong), wrong[0][:300] if wrong else "")


def _notes(path: Path, other: Path) -> None:
    other.write_text("notes\n" * 2000, encoding="utf-8")
    other.replace(path)


_REPLACED: dict[str, Callable[[Path, Path], object]] = {
    "a memory file that is replaced by another": lambda path, other: other.replace(path),
    "a memory file that is deleted": lambda path, other: path.unlink(),
    "a memory file that is replaced by another program's": _notes,
}


# --- disks ------------------------------------------------------------------------------------------------------------


def _can_mount() -> bool:
    with scratch() as folder:
        try:
            with _disk(folder, True):
                return True
        except (OSError, subprocess.SubprocessError):
            return False


@contextmanager
def _disk(folder: Path, small: bool) -> Iterator[Callable[[int], Any]]:
    """Where ``small``, the folder is a disk of its own while the block lasts; what makes it so many bytes large."""
    if not small:
        yield lambda size: None
        return
    _call("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder))
    try:
        yield partial(_resize, folder)
    finally:
        # Lazily: something may still have a file open there.
        _call("umount", "-l", str(folder))


def _resize(folder: Path, size: int) -> None:
    _call("mount", "-o", f"remount,size={max(size, 16 * _PAGE) // 1024}k", str(folder))


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _size(folder: Path) -> int:
    """Bytes of all files, by the page."""
    return sum((path.stat().st_size // _PAGE + 1) * _PAGE for path in folder.rglob("*"))
