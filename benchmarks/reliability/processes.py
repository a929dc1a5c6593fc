"""8 processes on one memory and in one run, while one of them is killed, or connections or the server are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.perf.remembering import demonstration
from atlas.benchmarks.perf.table import Aim, Cell, Table, quantile
from atlas.benchmarks.reliability import children
from atlas.benchmarks.reliability.cluster import Cluster, cluster, programs
from atlas.benchmarks.reliability.plan import SERVER, Plan, schema, scratch, server
from atlas.benchmarks.reliability.works import Wrong, held
from atlas.errors import StoreError
from atlas.memory import Memory
from atlas.memory.pamphlet import Entry
from atlas.testing.runs import ARMS, write_episode
from atlas.traces import Run, RunWriter

USUAL = 10
"""Seconds."""
PROCESSES = 8
SHARED = Entry(cue="an apple is to be heated", action="use the microwave", effect="it is hot")
"""What all of them learn: its support has to be the number of times."""
_BREAKS = 3
"""How often connections or the server are cut off in the time."""


def measure(plan: Plan) -> Table:
    """``plan.n`` seconds for each place and each way to break."""
    seconds = float(plan.size(USUAL))
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for name, (missing, opened) in _ways(seconds, plan).items():
        if not plan.wanted(name):
            continue
        if missing or plan.late:
            notes.append(f"{name}: not measured, {missing or 'the time was over'}")
            continue
        with opened() as (place, breaks):
            rows.append((name, *_row(place, breaks, seconds, plan)))
        plan.said(f"{name}: {rows[-1][1]} adds, {rows[-1][2]} lost")
    lost = sum(int(row[column] or 0) for row in rows for column in (2, 3, 4, 8, 9))
    return Table(
        name="processes",
        title=f"{PROCESSES} processes on one memory and one run, {seconds:g} s each",
        columns=(
            "what",
            "adds",
            "lost",
            "counts off",
            "half versions",
            "add p50 ms",
            "p99 ms",
            "episodes",
            "steps lost",
            "processes that failed",
        ),
        rows=tuple(rows),
        aims=(Aim(what="updates lost or half, steps lost, processes that failed", limit=0, measured=float(lost)),),
        note=". ".join(
            [
                "Each process adds a demonstration, learns an entry that all learn, and writes an episode, in turn",
                "Lost is what was acknowledged and is not there; 'counts off': how far the entry's support is from the "
                "number of times that it was learned, beyond what a killed process had under way",
                *notes,
            ]
        ),
    )


Breaks = Callable[[list[int]], None]
Opened = Callable[[], Any]


def _ways(seconds: float, plan: Plan) -> dict[str, tuple[str, Opened]]:
    """By name: why it cannot be measured, if so, and what opens the place and tells how it is broken."""
    no_server = "" if server() else f"it needs {SERVER}"
    no_cluster = "" if programs() else "it needs the programs of a PostgreSQL server"
    pause = seconds / (_BREAKS + 1)
    return {
        "SQLite, one killed": ("", partial(_on_file, partial(_kill_one, plan, seconds))),
        "PostgreSQL, one killed": (no_server, partial(_on_server, lambda url: partial(_kill_one, plan, seconds))),
        "PostgreSQL, connections cut": (no_server, partial(_on_server, lambda url: partial(_cut, url, pause))),
        "PostgreSQL, restarted": (no_cluster, partial(_on_cluster, lambda it: partial(_again, it.restart, pause))),
        "PostgreSQL, crashed": (no_cluster, partial(_on_cluster, lambda it: partial(_again, it.crash, pause))),
    }


@contextmanager
def _on_file(breaks: Breaks) -> Iterator[tuple[str, Breaks]]:
    with scratch() as folder:
        yield str(folder / "m.sqlite"), breaks


@contextmanager
def _on_server(breaks: Callable[[str], Breaks]) -> Iterator[tuple[str, Breaks]]:
    with schema() as url:
        yield url, breaks(url)


@contextmanager
def _on_cluster(breaks: Callable[[Cluster], Breaks]) -> Iterator[tuple[str, Breaks]]:
    with cluster() as made, schema(made.url) as url:
        yield url, breaks(made)


def _kill_one(plan: Plan, seconds: float, running: list[int]) -> None:
    chance = plan.chance("one killed")
    time.sleep(chance.uniform(0.3, 0.7) * seconds)
    children.kill(running.pop(chance.randrange(len(running))))


def _cut(url: str, pause: float, running: list[int]) -> None:
    """Cut off all connections to the memory, now and then."""
    import psycopg

    base, _, name = url.rpartition("schema=")
    for _ in range(_BREAKS):
        time.sleep(pause)
        with psycopg.connect(base.rstrip("?&"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [f"atlas {name}"]
            )


def _again(breaks: Callable[[], None], pause: float, running: list[int]) -> None:
    for _ in range(_BREAKS):
        time.sleep(pause)
        breaks()


def _row(place: str, breaks: Breaks, seconds: float, plan: Plan) -> tuple[Cell, ...]:
    with scratch() as folder:
        with Memory(place, "hash") as memory:
            memory.entries.learn("the first", [SHARED])
        begin = time.monotonic() + 0.5
        logs = [folder / f"{number}.log" for number in range(PROCESSES)]
        running = []
        for number, log in enumerate(logs):
            work = partial(_writes, place, folder / "run", number, plan.seed, (begin, begin + seconds), log)
            running.append(children.begin(work, folder, folder / f"{number}.said"))
        time.sleep(max(0.0, begin - time.monotonic()))
        breaks(running)
        failed = sum(children.ended(child, seconds + 120) != 0 for child in running)
        told = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line.endswith("}")]
        return (*_kept(place, told), *_played(folder / "run", told), failed)


def _writes(place: str, run: Path, number: int, seed: int, when: tuple[float, float], log: Path) -> None:
    """What one process does; each line of its log is what was acknowledged, or (``tries``) is about to be done."""
    chance = Random(f"{seed} {number}")
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def told(**what: object) -> None:
        os.write(file, json.dumps(what).encode() + b"\n")

    with Memory(place, "hash") as memory, RunWriter(run, {"what": "reliability"}) as writer:
        time.sleep(max(0.0, when[0] - time.monotonic()))
        count = 0
        while time.monotonic() < when[1]:
            made = demonstration(1_000_000 * (number + 1) + count, True)
            began = time.perf_counter()
            if not memory.add(made):
                raise StoreError("a demonstration that was new is said to be there: it was added twice")
            told(added=made.id, seconds=time.perf_counter() - began)
            told(tries=f"{number}/{count}")
            memory.entries.learn(f"{number}/{count}", [SHARED])
            told(learned=f"{number}/{count}")
            episode = write_episode(writer, "cascade", ARMS["cascade"], count, chance)
            told(episode=episode.id, steps=episode.steps)
            count += 1


def _kept(place: str, told: list[dict[str, Any]]) -> tuple[Cell, ...]:
    """(adds, lost ones, how far the count is off, half versions, p50, p99)."""
    added = [line["added"] for line in told if "added" in line]
    learned = sum("learned" in line for line in told)
    tried = sum("tries" in line for line in told)
    half = 0
    try:
        held(place)
    except Wrong:
        half = 1
    with Memory(place, "hash") as memory:
        there = {one.id for one in memory.demonstrations.all()}
        (support,) = [entry.support for entry in memory.entries.all() if entry.cue == SHARED.cue]
    off = max(0, learned + 1 - support, support - tried - 1)
    seconds = [line["seconds"] for line in told if "added" in line] or [0.0]
    p50, p99 = (round(1e3 * quantile(seconds, share), 1) for share in (0.5, 0.99))
    return (len(added), len(set(added) - there), off, half, p50, p99)


def _played(folder: Path, told: list[dict[str, Any]]) -> tuple[Cell, ...]:
    """(episodes, steps that are lost)."""
    said = {line["episode"]: line["steps"] for line in told if "episode" in line}
    stored = {one.id: one for one in Run(folder).episodes()}
    apart = sum(abs(steps - len(stored[id].steps)) if id in stored else steps for id, steps in said.items())
    return (len(said), apart + sum(one.lost for one in stored.values()))
