"""Recipes of training side by side: the same compute, several seeds, each against its control, on official games.

``python -m atlas.benchmarks.recipes -o runs/recipes --traces runs/teacher``, where ``runs/teacher`` was made by ``atlas
bench alfworld --split train --arms teacher --demos 0 -o runs/teacher``. It calls ``atlas`` for every training and every
run, so each can be repeated by hand; what is there already is not made again.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import click

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.program import Listed, Program
from atlas.errors import DataError
from atlas.folders import check_writable
from atlas.records import Record
from atlas.stats import Interval, paired, wilson
from atlas.traces.reader import Run

READING = ("student", "pamphlets", "pamphlets-shuffled")


@dataclass(frozen=True)
class Entry:
    """A recipe, on what it is trained and with what it is compared."""

    name: str
    recipe: str
    traces: tuple[str, ...]
    base: str = ""
    """The entry whose student of the same seed it goes on from; empty for one that begins from nothing."""
    control: str = ""
    options: tuple[str, ...] = ()
    arms: tuple[str, ...] = ("student",)


ENTRIES = (
    Entry("sft-success", "sft-success", ("teacher",)),
    Entry("rationale", "rationale", ("teacher",), control="sft-success"),
    Entry("kd-whitebox", "kd-whitebox", ("teacher",), control="sft-success"),
    Entry("sft-on-guided", "sft-success", ("pamphlets",)),
    Entry("more-sft", "sft-success", ("teacher",), base="sft-success"),
    Entry("escalations", "escalations", ("teacher", "doubt"), base="sft-success", control="more-sft"),
    Entry("redi", "redi", ("teacher", "own"), base="sft-success", control="more-sft"),
    Entry(
        "select-family",
        "sft-success",
        ("teacher",),
        base="sft-success",
        control="more-sft",
        options=("--select", "family"),
    ),
    Entry(
        "select-uncertain",
        "sft-success",
        ("teacher",),
        base="sft-success",
        control="more-sft",
        options=("--select", "uncertain"),
    ),
    Entry("more-sft-on-guided", "sft-success", ("pamphlets",), base="sft-on-guided"),
    Entry(
        "internalise", "internalise", ("pamphlets",), base="sft-on-guided", control="more-sft-on-guided", arms=READING
    ),
    Entry("more-internalise", "internalise", ("pamphlets",), base="internalise", arms=READING),
    Entry(
        "internalise-joint",
        "internalise",
        ("own-guided",),
        base="internalise",
        control="more-internalise",
        options=("--joint",),
        arms=READING,
    ),
    Entry("on-policy", "on-policy", ("own-guided",), base="internalise", control="more-internalise", arms=READING),
)

OWN = {
    "doubt": ("sft-success", ("--arms", "cascade-nodemos", "--temperature", "1.0", "--demos", "0")),
    "own": ("sft-success", ("--arms", "student", "--demos", "0")),
    "own-guided": ("internalise", ("--arms", "pamphlets-sampled", "--temperature", "1.0", "--demos", "0")),
}
"""Traces that a student made: whose, and how it was played on train games."""


@dataclass(frozen=True)
class Job:
    """One call of ``atlas``."""

    name: str
    argv: tuple[str, ...]
    made: Path
    """What is there once it is done."""
    needs: tuple[str, ...] = ()
    copies: tuple[Path, Path] | None = None
    """A memory and where a copy of it is put first, so that runs side by side do not share one."""


@dataclass
class Study:
    """All jobs of a comparison."""

    out: Path
    traces: Path
    tokens: int
    seeds: Sequence[int]
    split: str
    games: int
    n: int | None = None
    demos: int = 500
    kd_teacher: Path | None = None
    only: Sequence[str] = ()
    jobs: dict[str, Job] = field(default_factory=dict)

    def check(self) -> None:
        """Whether what is given is there, told before hours of work. Raises an error of ours for the first that is
        not."""
        check_writable(self.out)
        Run(self.traces)
        Alfworld().tasks(self.split, 1)
        if self.kd_teacher is not None and not (self.kd_teacher / "student.json").is_file():
            raise DataError(f"{self.kd_teacher} holds no student: give a folder that 'atlas train' wrote")

    def entries(self) -> list[Entry]:
        """Those that are asked for, and what they need."""
        names = set(self.only or [entry.name for entry in ENTRIES])
        if unknown := names - {entry.name for entry in ENTRIES}:
            raise DataError(
                f"there is no entry {', '.join(sorted(unknown))}: choose among {', '.join(e.name for e in ENTRIES)}"
            )
        if self.kd_teacher is None:
            if "kd-whitebox" in self.only:
                raise DataError("kd-whitebox copies a larger student: give its folder as --kd-teacher")
            names.discard("kd-whitebox")
        for entry in reversed(ENTRIES):
            if entry.name in names:
                names |= {entry.base, entry.control, *(OWN[t][0] for t in entry.traces if t in OWN)} - {""}
        return [entry for entry in ENTRIES if entry.name in names]

    def make(self) -> dict[str, Job]:
        """The jobs by name, in an order in which each comes after what it needs."""
        self.jobs = {}
        entries = self.entries()
        if any("pamphlets" in entry.traces for entry in entries):
            # Demonstrations come from train games, so the run that collects them plays a game of another split.
            collect = ("--arms", "pamphlets", "--demos", str(self.demos))
            self._bench("memory", "nearest", "valid_seen", 1, collect, ())
            self._bench("pamphlets", "nearest", "train", self.games, ("--arms", "pamphlets", "--demos", "0"), ())
        for entry in entries:
            for seed in self.seeds:
                self._train(entry, seed)
                # Distilled entries are taken over from the run that made them, each run with a copy of its own.
                own = f"{entry.name}-s{seed}"
                told = ("--arms", ",".join(entry.arms), "--demos", "0")
                self._bench(f"play-{own}", f"scratch:{self.student(own)}", self.split, self.n, told, (own,))
        return self.jobs

    def student(self, name: str) -> Path:
        return self.out / "students" / name

    def run(self, name: str) -> Path:
        return self.out / "runs" / name

    def _train(self, entry: Entry, seed: int) -> None:
        traces, needs = [], []
        for name in entry.traces:
            if name == "teacher":
                traces.append(self.traces)
                continue
            if name in OWN:
                name = self._own(name, seed)
            traces.append(self.run(name))
            needs.append(name)
        name = f"{entry.name}-s{seed}"
        base = f"{entry.base}-s{seed}"
        argv = ["train", entry.recipe, *(part for place in traces for part in ("--data", str(place)))]
        argv += ["--base", str(self.student(base)) if entry.base else "scratch:small", *entry.options]
        # What goes on from a student has half the compute, and does not climb as high again.
        argv += ["--tokens", str(self.tokens // 2 if entry.base else self.tokens)]
        argv += ["--lr", "1.5e-3"] if entry.base else []
        argv += ["--teacher", str(self.kd_teacher)] if entry.recipe == "kd-whitebox" else []
        argv += ["--seed", str(seed), "--threads", "1", "--out", str(self.student(name))]
        needs += [base] if entry.base else []
        self.jobs[name] = Job(name, tuple(argv), self.student(name) / "student.json", tuple(needs))

    def _own(self, name: str, seed: int) -> str:
        whose, how = OWN[name]
        run, student = f"{name}-s{seed}", f"{whose}-s{seed}"
        if run not in self.jobs:
            self._bench(run, f"scratch:{self.student(student)}", "train", self.games, how, (student,))
        return run

    def _bench(
        self, name: str, student: str, split: str, n: int | None, how: tuple[str, ...], needs: tuple[str, ...]
    ) -> None:
        argv = ["bench", "alfworld", "--split", split, "--student", student, *how, "-o", str(self.run(name))]
        argv += ["--n", str(n)] if n else []
        copies = None
        if any("pamphlets" in part for part in how) and name != "memory":
            memory = self.out / "memories" / f"{name}.sqlite"
            argv += ["--memory", str(memory)]
            copies, needs = (self.run("memory") / "memory.sqlite", memory), (*needs, "memory")
        self.jobs[name] = Job(name, tuple(argv), self.run(name) / "done", needs, copies)


def work(jobs: dict[str, Job], at_once: int) -> dict[str, str]:
    """Do all jobs, so many at once; what went wrong, by job. What needs a job that failed is left out and says so.

    An interrupt ends those under way: the same command goes on with them.
    """
    children: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            return _work(jobs, at_once, pool, children)
        except BaseException:
            # The pool waits for its threads, and they for what they began.
            for child in list(children):
                child.terminate()
            raise


def _work(
    jobs: dict[str, Job], at_once: int, pool: ThreadPoolExecutor, children: set[subprocess.Popen[bytes]]
) -> dict[str, str]:
    failed: dict[str, str] = {}
    waiting, running = dict(jobs), dict[Future[str], str]()
    finished: set[str] = set()
    while waiting or running:
        for name, job in list(waiting.items()):
            if broken := [need for need in job.needs if need in failed]:
                failed[name] = f"needs {broken[0]}, which failed"
                del waiting[name]
            elif set(job.needs) <= finished and len(running) < at_once:
                running[pool.submit(_do, job, children)] = name
                del waiting[name]
        for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
            name = running.pop(future)
            if told := future.result():
                failed[name] = told
            else:
                finished.add(name)
            state = told or "done"
            click.echo(f"{name}: {state} ({len(finished)} of {len(jobs)})", err=True)
    return failed


def _do(job: Job, children: set[subprocess.Popen[bytes]]) -> str:
    """What went wrong, or nothing. What runs meanwhile is among ``children``."""
    log = job.made.parent.parent / f"{job.made.parent.name}.log"
    try:
        if other := _made_by_another(job, log.with_suffix(".command")):
            return other
        if job.made.exists():
            return ""
        if job.copies is not None and not job.copies[1].exists():
            _copy(*job.copies)
        more = ["--resume"] if job.argv[0] == "train" else []
        with log.open("a", encoding="utf-8") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", "atlas", *job.argv, *more], stdout=file, stderr=subprocess.STDOUT
            )
            children.add(child)
            code = child.wait()
            children.discard(child)
        if code:
            return f"failed, see {log}"
        job.made.parent.mkdir(parents=True, exist_ok=True)
        job.made.touch()
    except OSError as error:
        return f"failed: {error}"
    return ""


def _made_by_another(job: Job, record: Path) -> str:
    """What to say where the job was done, with other options; its command is kept in ``record``."""
    # Below the folder of all jobs, which may be named in another way the next time.
    command = shlex.join(part.replace(str(record.parent.parent), "OUT") for part in job.argv)
    if job.made.exists():
        if record.exists() and record.read_text(encoding="utf-8") != command:
            return (
                f"{job.made.parent} was made by another command, see {record}: give the same options or another --out, "
                "or remove it to make it again"
            )
        return ""
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(command, encoding="utf-8")
    return ""


def _copy(source: Path, place: Path) -> None:
    """At once or not at all: half a memory would be read as a whole one the next time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".part")
    shutil.copy(source, partial)
    os.replace(partial, place)


class EntryRow(Record):
    """An entry on one arm."""

    entry: str
    arm: str
    success: Interval
    """Over games, seeds at their mean."""
    by_seed: tuple[float, ...]
    control: str = ""
    difference: Interval | None = None
    """Minus the control's arm ``student``, paired by game, seeds at their mean; None where there is no control."""


def rows(study: Study) -> list[EntryRow]:
    """What came of every entry that was played with all seeds."""
    found = []
    for entry in study.entries():
        for arm in entry.arms:
            games = _games(study, entry.name, arm)
            if games is None:
                continue
            own = {task: fmean(runs) for task, runs in games.items()}
            control = _games(study, entry.control, "student") if entry.control else None
            difference = None
            if control is not None:
                difference = paired([own[t] - fmean(control[t]) for t in own if t in control])
            found.append(
                EntryRow(
                    entry=entry.name,
                    arm=arm,
                    success=wilson(sum(own.values()), len(own)),
                    by_seed=tuple(fmean(column) for column in zip(*games.values(), strict=True)),
                    control=entry.control,
                    difference=difference,
                )
            )
    return found


def _games(study: Study, entry: str, arm: str) -> dict[str, list[float]] | None:
    """Success of each game by seed of training; None where a seed was not played."""
    found: dict[str, list[float]] = {}
    for seed in study.seeds:
        folder = study.run(f"play-{entry}-s{seed}")
        if not (folder / "done").exists():
            return None
        for episode in Run(folder).results():
            if episode.arm == arm and episode.success is not None:
                found.setdefault(episode.task.id, []).append(float(episode.success))
    whole = {task: runs for task, runs in found.items() if len(runs) == len(study.seeds)}
    return whole or None


@click.command(cls=Program, help="Train every recipe with the same compute and play the students on official games.")
@click.option("--traces", required=True, type=click.Path(path_type=Path), help="Run of the teacher on train games.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Students and runs; goes on there.")
@click.option("--tokens", default=2_000_000, type=click.IntRange(min=2), show_default=True, help="Of each training.")
@click.option(
    "--seeds", type=Listed(click.INT), default="0,1,2", show_default=True, help="Of training, comma-separated."
)
@click.option("--split", default="valid_unseen", show_default=True, help="Where students are measured.")
@click.option("--n", type=click.IntRange(min=1), help="So many games of it. [default: all]")
@click.option(
    "--games", default=600, type=click.IntRange(min=1), show_default=True, help="Train games of other traces."
)
@click.option("--demos", default=500, type=click.IntRange(min=1), show_default=True, help="Distilled to pamphlets.")
@click.option("--kd-teacher", type=click.Path(path_type=Path), help="A larger student, for kd-whitebox.")
@click.option("--only", type=Listed(), default=(), help="Entries, comma-separated; what they need comes along.")
@click.option("--jobs", default=2, type=click.IntRange(min=1), show_default=True, help="At once, a thread each.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def main(jobs: int, as_json: bool, **options: object) -> None:
    study = Study(**options)  # type: ignore[arg-type]
    made = study.make()
    study.check()
    failed = work(made, jobs)
    found = rows(study)
    if as_json:
        click.echo(json.dumps({"rows": [row.model_dump(mode="json") for row in found], "failed": failed}, indent=2))
    else:
        _print(found, failed)
    if failed:
        sys.exit(1)


def _print(found: Sequence[EntryRow], failed: dict[str, str]) -> None:
    from rich.table import Table

    from atlas.tables import console, percent, percent_interval, points_interval

    table = Table("entry", "arm", "success", "by seed", "control", "minus control, points")
    for row in found:
        table.add_row(
            row.entry,
            row.arm,
            percent_interval(row.success),
            " / ".join(map(percent, row.by_seed)),
            row.control,
            points_interval(row.difference) if row.difference else "",
        )
    out = console()
    out.print(table)
    for name, why in failed.items():
        out.print(f"{name}: {why}", markup=False)


if __name__ == "__main__":
    # Who ends this process means its children as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
