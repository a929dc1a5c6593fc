"""What a memory costs by where it is: a file beside the PostgreSQL server that ``ATLAS_POSTGRES`` names, in one run.

Wall time, as a server and a disk are waited for. The places take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from atlas.benchmarks.perf.remembering import demonstration
from atlas.benchmarks.perf.retrieval import Remembering, queries
from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.benchmarks.perf.table import Aim, Cell, Table, quantile
from atlas.memory import DemonstrationStore, HashEmbedder
from atlas.memory.copying import copy
from atlas.memory.database import Database

T = TypeVar("T")

SERVER = "ATLAS_POSTGRES"
K = 6
PROCESSES = 8
ROUNDS = 5
FILE, POSTGRES = "SQLite", "PostgreSQL"
Places = dict[str, str]


def measure(added: int = 200, windows: int = 100_000, asked: int = 200, each: int = 100) -> Table:
    """``added`` demonstrations by one process, ``each`` by each of many; ``asked`` searches among ``windows``."""
    url = os.environ.get(SERVER)
    rows: list[tuple[Cell, ...]] = []
    aims: list[Aim] = []

    def told(what: str, figures: dict[str, float]) -> None:
        rows.append((what, *(round(figures[name], 3) if name in figures else None for name in (FILE, POSTGRES))))

    def percentiles(what: str, seconds: dict[str, list[float]]) -> None:
        for share in (0.5, 0.99):
            told(f"{what}, p{100 * share:.0f} ms", {n: 1e3 * quantile(s, share) for n, s in seconds.items()})

    with ExitStack() as opened:
        places = opened.enter_context(_places(url))
        stores = {n: opened.enter_context(DemonstrationStore(where, "hash")) for n, where in places.items()}
        made = [demonstration(number, True) for number in range(added + 20)]
        percentiles("adding a demonstration", _turns({n: store.add for n, store in stores.items()}, made, 20))
        percentiles("adding what is known", _turns({n: store.add for n, store in stores.items()}, made, 20))
        percentiles(
            "an idle look",
            _turns({n: _looked(store) for n, store in stores.items()}, range(added), min(20, added // 2)),
        )
    with _places(url) as places:
        found = {name: _many(where, each) for name, where in places.items()}
        percentiles(f"adding by {PROCESSES} processes at once", {n: seconds for n, (seconds, _, _) in found.items()})
        told("the same, adds a second", {name: rate for name, (_, rate, _) in found.items()})
        told("the same, updates lost", {name: float(lost) for name, (_, _, lost) in found.items()})
    with ExitStack() as opened:
        places = opened.enter_context(_places(url))
        what, seconds = f"{windows:,} household windows", _filled(places, windows)
        if seconds is not None:
            told(f"copying {what} to the server, s", {POSTGRES: seconds})
        embedder = Remembering(HashEmbedder(384))
        stores = {n: opened.enter_context(DemonstrationStore(where, embedder)) for n, where in places.items()}
        told(f"opening {what}, s", {name: _seconds(store.warm) for name, store in stores.items()})
        demos = next(iter(stores.values())).all()
        views = queries(demos, asked)
        search: dict[str, Callable[[Any], object]] = {n: _searched(store) for n, store in stores.items()}
        _turns(search, views, 0)  # the queries are embedded beforehand
        spent = _turns(search, views * ROUNDS, 0)
        percentiles(f"search among {what}", spent)
    if url is not None:
        middle = {name: quantile(seconds, 0.5) for name, seconds in spent.items()}
        ratio = round(middle[POSTGRES] / middle[FILE], 2)
        aims.append(Aim(what=f"search among {what}, server to file", limit=3, measured=ratio))
        aims.append(Aim(what="updates lost", limit=0, measured=float(sum(lost for _, _, lost in found.values()))))
    return Table(
        name="stores",
        title="A memory by where it is, wall time",
        columns=("what", FILE, POSTGRES),
        rows=tuple(rows),
        aims=tuple(aims),
        note=""
        if url is not None
        else f"A server is measured where {SERVER} names one: postgresql://USER@HOST/DATABASE",
    )


@contextmanager
def _places(url: str | None) -> Iterator[Places]:
    """A new memory of each kind, gone after the block."""
    with tempfile.TemporaryDirectory() as folder:
        places = {FILE: str(Path(folder) / "m.sqlite")}
        if url is not None:
            places[POSTGRES] = f"{url}{'&' if '?' in url else '?'}schema=perf_{uuid.uuid4().hex[:12]}"
        try:
            yield places
        finally:
            if url is not None:
                with closing(Database(places[POSTGRES])) as database:
                    backend: Any = database.backend
                    backend.plain("DROP SCHEMA {s} CASCADE")


def _turns(do: dict[str, Callable[[T], object]], given: Sequence[T], warming: int) -> dict[str, list[float]]:
    """Seconds that each takes with each of ``given``, less the first few: in turns."""
    found: dict[str, list[float]] = {name: [] for name in do}
    for one in given:
        for name, each in do.items():
            found[name].append(_seconds(lambda each=each, one=one: each(one)))  # type: ignore[misc]
    return {name: seconds[warming:] for name, seconds in found.items()}


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _looked(store: DemonstrationStore) -> Callable[[int], object]:
    """Whether anybody has written: what every search asks first."""
    return lambda _: store.database.stamp()


def _searched(store: DemonstrationStore) -> Callable[[Any], object]:
    return lambda view: store.search(view, K)


def _filled(places: Places, windows: int) -> float | None:
    """Fill the file, embedded; and copy it to the server, if there is one: in so many seconds."""
    with DemonstrationStore(places[FILE], Remembering(HashEmbedder(384))) as store:
        store.add_many(DATA["household"](windows))
        store.warm()
        if POSTGRES not in places:
            return None
        with closing(Database(places[POSTGRES])) as target:
            return _seconds(lambda: copy(store.database, target))


def _many(where: str, each: int) -> tuple[list[float], float, int]:
    """Seconds of each add by many processes at once, adds a second, and how many are not there afterwards."""
    context = multiprocessing.get_context("spawn")
    ready, said = context.Barrier(PROCESSES + 1), context.Queue()
    parts = range(PROCESSES)
    processes = [context.Process(target=_adds, args=(where, part * each, each, ready, said)) for part in parts]
    for process in processes:
        process.start()
    ready.wait(300)
    began = time.perf_counter()
    spent = [second for _ in processes for second in said.get(timeout=600)]
    rate = len(spent) / (time.perf_counter() - began)
    for process in processes:
        process.join()
    with closing(Database(where)) as database:
        return spent, rate, PROCESSES * each - database.count("demonstration")


def _adds(where: str, first: int, count: int, ready: Any, said: Any) -> None:
    made = [demonstration(number, True) for number in range(first, first + count)]
    with DemonstrationStore(where, "hash") as store:
        ready.wait(300)
        said.put([_seconds(lambda one=one: store.add(one)) for one in made])  # type: ignore[misc]
