"""What a run costs by where it is: a folder beside the PostgreSQL server that ``ATLAS_POSTGRES`` names, in one run.

Wall time, as a server and a disk are waited for. The places take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from atlas.benchmarks.perf.table import Cell, Table, quantile
from atlas.traces import Run, RunWriter
from atlas.traces.claims import Claims
from atlas.traces.copying import copy
from atlas.traces.place import place_of

SERVER = "ATLAS_POSTGRES"
FOLDER, POSTGRES, MOVING = "folder", "PostgreSQL", "two servers, in turn"
LINE = json.dumps({"type": "noise", "text": "x" * 1500}).encode()
CLERK = """
from atlas.testing import ScriptedModel

def clerk():
    return ScriptedModel("done", name="clerk")
"""


def measure(lines: int = 300, turns: int = 20, talks: int = 5) -> Table:
    """``lines`` written one by one, and ``talks`` conversations of ``turns`` calls with ``atlas serve``."""
    url = os.environ.get(SERVER)
    rows: list[tuple[Cell, ...]] = []

    def told(what: str, seconds: dict[str, list[float]]) -> None:
        for share in (0.5, 0.99):
            cells = [1e3 * quantile(seconds[n], share) if n in seconds else None for n in (FOLDER, POSTGRES, MOVING)]
            rows.append((f"{what}, p{100 * share:.0f} ms", *(None if c is None else round(c, 3) for c in cells)))

    with _places(url) as places, ExitStack() as opened:
        writers = {name: opened.enter_context(RunWriter(where)) for name, where in places.items()}
        claims = {name: opened.enter_context(Claims(writer.place)) for name, writer in writers.items()}
        writes = {name: partial(writer._write, LINE) for name, writer in writers.items()}
        told("a step's line", _turns(writes, lines))
        told("an episode's end", _turns({n: partial(write, ends=True) for n, write in writes.items()}, lines))
        numbers = count()
        told(
            "an episode is claimed and given back",
            _turns({n: partial(_claimed, claim, numbers) for n, claim in claims.items()}, lines),
        )
        told("all lines are read", _turns({n: partial(_read, where) for n, where in places.items()}, 5))
        if url is not None:
            target = place_of(places[POSTGRES].replace("run=perf", "run=copied"))
            seconds = _seconds(partial(copy, place_of(places[FOLDER]), target))
            rows.append(("they are copied to the server, ms", None, round(1e3 * seconds, 1), None))
    with _places(url) as places:
        told("a call of atlas serve", _calls(places, turns, talks))
    return Table(
        name="runs",
        title="A run by where it is, wall time",
        columns=("what", FOLDER, POSTGRES, MOVING),
        rows=tuple(rows),
        note=""
        if url is not None
        else f"A server is measured where {SERVER} names one: postgresql://USER@HOST/DATABASE",
    )


@contextmanager
def _places(url: str | None) -> Iterator[dict[str, str]]:
    """A new run of each kind, gone after the block."""
    with tempfile.TemporaryDirectory() as folder:
        places = {FOLDER: str(Path(folder) / "perf")}
        schema = f"perf_{uuid.uuid4().hex[:12]}"
        if url is not None:
            places[POSTGRES] = f"{url}{'&' if '?' in url else '?'}schema={schema}&run=perf"
        try:
            yield places
        finally:
            if url is not None:
                import psycopg

                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def _turns(do: Mapping[str, Callable[[], object]], times: int) -> dict[str, list[float]]:
    """Seconds that each takes, in turns."""
    found: dict[str, list[float]] = {name: [] for name in do}
    for _ in range(times):
        for name, each in do.items():
            found[name].append(_seconds(each))
    return found


def _claimed(claims: Claims, numbers: Iterator[int]) -> None:
    key = next(numbers)
    claims.claim(key)
    claims.release(key)


def _read(where: str) -> None:
    Run(where).episodes()


def _calls(places: dict[str, str], turns: int, talks: int) -> dict[str, list[float]]:
    """Seconds of the calls of conversations, which go to each kind of server in turn."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        Path(folder, "mine.py").write_text(CLERK, encoding="utf-8")
        ways: dict[str, list[str]] = {FOLDER: [opened.enter_context(_served(folder, places[FOLDER]))]}
        if POSTGRES in places:
            both = [opened.enter_context(_served(folder, places[POSTGRES])) for _ in range(2)]
            ways |= {POSTGRES: both[:1], MOVING: both}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for talk in range(talks):
            said = [{"role": "user", "content": f"task {talk}"}]
            for turn in range(turns):
                for name, servers in ways.items():
                    where = f"{servers[turn % len(servers)]}/e/{len(servers)}-{talk}/v1/chat/completions"
                    found[name].append(_seconds(partial(_asked, where, said)))
                said = [*said, {"role": "assistant", "content": "done"}, {"role": "user", "content": f"turn {turn}"}]
        return found


@contextmanager
def _served(folder: str, run: str) -> Iterator[str]:
    words = ["--port", "0", "--student", "python:mine.py:clerk", "--expect", "none", "--run", run]
    command = [sys.executable, "-m", "atlas", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3].removesuffix("/v1")
        finally:
            process.terminate()


def _asked(where: str, said: list[dict[str, str]]) -> None:
    body = json.dumps({"model": "m", "messages": said}).encode()
    request = urllib.request.Request(where, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
