"""Whether a search that PostgreSQL does itself, by pgvector, finds what this memory's own search finds, and how soon.

    python -m atlas.benchmarks.perf.pgvector postgresql://USER@HOST/DATABASE [--windows 100000] [--data household]

Needs a server that has the extension, and a user who may make it and a schema. Two ways that a server can help:

- ``texts``: an index (HNSW over ``halfvec``) for each key names its 512 nearest texts; what these score is gathered to
  all windows in this process, as for Chroma, and the windows of the 64 best trajectories are scored exactly.
- ``rows``: a row for each window holds its four keys side by side, scaled so that one inner product is its score. The
  index names the nearest rows that may be shown, and those are scored exactly. Windows without a thought are
  weighed differently, and have an index of their own.

``exact`` is a product of all windows with the query in this process, in numpy; what it finds is what is to be found.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import click
import numpy as np

from atlas.benchmarks.perf.retrieval import KEYS, K, Remembering, queries, recall
from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.benchmarks.perf.table import machine, quantile
from atlas.benchmarks.program import Program
from atlas.errors import ConfigError, MissingExtra
from atlas.memory import Demonstration, HashEmbedder
from atlas.memory.backend import told
from atlas.memory.index import demo_texts, query_texts
from atlas.memory.vectors import Floats, Ints, inner
from atlas.records import View

DIM = 384
NEAREST = 512
LEADERS = 64
Search = Callable[[View], list[float]]


class Windows(NamedTuple):
    """All windows of a memory as arrays."""

    owner: Ints
    tasks: Sequence[str]
    texts: dict[str, Floats]
    """The distinct texts of each key; row 0 is the missing one."""
    places: dict[str, Ints]
    """Which of them each window has."""

    @property
    def bare(self) -> Any:
        """Which have no thought."""
        return self.places["thought"] == 0

    def rows(self, places: Ints) -> Floats:
        """Their keys side by side, scaled so that the product with :func:`asked` is their score."""
        parts = [self.texts[key][self.places[key][places]] / 2 for key in KEYS]
        parts[3] = parts[3] * np.where(self.bare[places], 2, 1)[:, None]
        return np.concatenate(parts, axis=1)


def gathered(demos: Sequence[Demonstration], embed: Callable[[list[str]], Floats]) -> Windows:
    """The arrays of ``demos``."""
    lengths = np.array([len(demo.steps) for demo in demos])
    texts, places = {}, {}
    for key in KEYS:
        known = {"": 0}
        found: list[int] = []
        for demo, length in zip(demos, lengths, strict=True):
            said = demo_texts(demo, key)
            rows = [known.setdefault(text, len(known)) for text in said]
            found += rows if len(rows) == length else rows * int(length)
        table = np.zeros((len(known), DIM), np.float32)
        if len(known) > 1:
            table[1:] = embed(list(known)[1:])
        texts[key], places[key] = table, np.array(found, np.intp)
    owner = np.repeat(np.arange(len(demos)), lengths)
    return Windows(owner, [demo.task_id for demo in demos], texts, places)


def asked(query: dict[str, Floats], bare: bool) -> Floats:
    """What rows are multiplied with: the mean over the keys that both sides have."""
    none = np.zeros(DIM, np.float32)
    alone = "thought" not in query and not bare
    parts = [query["goal"], query["plan"], none if bare else query.get("thought", none)]
    return np.concatenate([*parts, query["observation"] * np.float32(2 if alone else 1)])


def best(windows: Windows, places: Ints, scores: Floats, blocked: int) -> list[float]:
    """The scores of the best trajectories among ``places``, but for one."""
    found = np.full(len(windows.tasks), -np.inf, np.float32)
    np.maximum.at(found, windows.owner[places], scores)
    found[blocked] = -np.inf
    return [float(score) for score in np.sort(found)[::-1][:K]]


def scored(windows: Windows, places: Ints, query: dict[str, Floats], blocked: int) -> list[float]:
    """The same, of exact scores."""
    rows, bare = windows.rows(places), windows.bare[places]
    scores = np.where(bare, inner(rows, asked(query, True)), inner(rows, asked(query, False)))
    return best(windows, places, scores, blocked)


class Server:
    """A schema of a server, gone afterwards."""

    def __init__(self, url: str) -> None:
        """Raises MissingExtra without psycopg, ConfigError where the server at ``url`` cannot be used for this."""
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("a server of PostgreSQL", "postgres") from None

        self.schema = f"pgvector_{uuid.uuid4().hex[:8]}"
        try:
            self._db = psycopg.connect(url, autocommit=True)
            self.do("CREATE EXTENSION IF NOT EXISTS vector")
            self.do(f"CREATE SCHEMA {self.schema}")
        except psycopg.Error as error:
            raise ConfigError(
                f"the server {told(url)} cannot be used ({' '.join(str(error).split())}): name one that runs, has "
                "pgvector, and lets its user make that extension and a schema"
            ) from error
        self.version = str(self.do("SELECT extversion FROM pg_extension WHERE extname = 'vector'")[0][0])

    def do(self, statement: str, given: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        found = self._db.execute(statement, given or None, prepare=bool(given))
        return found.fetchall() if found.description else []

    def fill(self, table: str, columns: str, width: int, rows: Any) -> None:
        self.do(f"CREATE UNLOGGED TABLE {self.schema}.{table} ({columns}, v halfvec({width}))")
        with self._db.cursor() as cursor, cursor.copy(f"COPY {self.schema}.{table} FROM STDIN") as out:
            for *first, vector in rows:
                out.write_row((*first, text(vector)))

    def close(self) -> None:
        self.do(f"DROP SCHEMA {self.schema} CASCADE")
        self._db.close()


def text(vector: Floats) -> str:
    return "[" + ",".join(np.char.mod("%.4g", vector)) + "]"


def by_texts(server: Server, windows: Windows) -> Callable[[dict[str, Floats], int], list[float]]:
    """An index of the texts of each key."""
    for key in KEYS:
        server.fill(f"t_{key}", "row int", DIM, ((i, v) for i, v in enumerate(windows.texts[key]) if i))
        server.do(f"CREATE INDEX ON {server.schema}.t_{key} USING hnsw (v halfvec_ip_ops)")
        server.do(f"ANALYZE {server.schema}.t_{key}")
    server.do(f"SET hnsw.ef_search = {NEAREST}")

    def search(query: dict[str, Floats], blocked: int) -> list[float]:
        above = [np.zeros(len(windows.owner), np.float32) for _ in range(2)]
        below = [np.zeros(len(windows.owner), np.float32) for _ in range(2)]
        for key, vector in query.items():
            statement = f"SELECT row, v <#> %s::halfvec AS d FROM {server.schema}.t_{key} ORDER BY d LIMIT {NEAREST}"
            found = server.do(statement, [text(vector)])
            products = -np.array([product for _, product in found], np.float32)
            scores = np.full(len(windows.texts[key]), products.min(initial=1.0), np.float32)
            scores[[row for row, _ in found]] = products
            scores[0] = 0
            side = key in ("thought", "observation")
            above[side] += scores[windows.places[key]]
            below[side] += windows.places[key] > 0
        totals = sum(a / np.maximum(b, 1) for a, b in zip(above, below, strict=True))
        leads = np.full(len(windows.tasks), -np.inf, np.float32)
        np.maximum.at(leads, windows.owner, totals)
        leads[blocked] = -np.inf
        chosen = np.argsort(leads)[::-1][:LEADERS]
        return scored(windows, np.flatnonzero(np.isin(windows.owner, chosen)), query, blocked)

    return search


def by_rows(server: Server, windows: Windows) -> None:
    """An index of whole windows."""
    every = np.arange(len(windows.owner))
    rows = (
        (int(place), int(windows.owner[place]), bool(windows.bare[place]), row)
        for start in range(0, len(every), 4096)
        for place, row in zip(every[start : start + 4096], windows.rows(every[start : start + 4096]), strict=True)
    )
    server.fill("windows", "place int, owner int, bare bool", DIM * len(KEYS), rows)
    for name in ("NOT bare", "bare"):
        server.do(f"CREATE INDEX ON {server.schema}.windows USING hnsw (v halfvec_ip_ops) WHERE {name}")
    server.do(f"ANALYZE {server.schema}.windows")


def rows_near(server: Server, windows: Windows, count: int) -> Callable[[dict[str, Floats], int], list[float]]:
    server.do(f"SET hnsw.ef_search = {min(count, 1000)}")
    server.do(f"SET hnsw.iterative_scan = {'off' if count <= 1000 else 'strict_order'}")

    def search(query: dict[str, Floats], blocked: int) -> list[float]:
        found: list[int] = []
        for name, bare in (("NOT bare", False), ("bare", True)):
            statement = (
                f"SELECT place FROM {server.schema}.windows WHERE {name} AND owner <> %s "
                f"ORDER BY v <#> %s::halfvec LIMIT {count}"
            )
            found += [place for (place,) in server.do(statement, [blocked, text(asked(query, bare))])]
        return scored(windows, np.array(found, np.intp), query, blocked)

    return search


@click.command(cls=Program)
@click.argument("url")
@click.option("--windows", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--data", type=click.Choice(list(DATA)), default="household", show_default=True)
@click.option("--queries", "count", type=click.IntRange(1), default=100, show_default=True)
def main(url: str, windows: int, data: str, count: int) -> None:
    """Search by pgvector on the server at URL, beside exact search."""
    with closing(Server(url)) as server:
        _compare(server, DATA[data](windows), f"{data} {windows:,}", count)


def _compare(server: Server, demos: list[Demonstration], name: str, count: int) -> None:
    embedder = Remembering(HashEmbedder(DIM))
    views = queries(demos, count)
    held = gathered(demos, lambda texts: np.concatenate([HashEmbedder(DIM).embed(texts)]))
    place = {task: number for number, task in enumerate(held.tasks)}
    given = []
    for view in views:
        said = query_texts(view, KEYS)
        given.append((dict(zip(said, embedder.embed(list(said.values())), strict=True)), place[view.task.id]))
    every = np.arange(len(held.owner))
    exact: list[list[float]] = []

    def tell(what: str, search: Callable[[dict[str, Floats], int], list[float]], built: float = 0.0) -> None:
        for query, blocked in given[:5]:
            search(query, blocked)
        found, spent = [], []
        for query, blocked in given:
            began = time.perf_counter()
            found.append(search(query, blocked))
            spent.append((time.perf_counter() - began) * 1e3)
        exact.extend(found if not exact else [])
        click.echo(
            f"{name}  {what:28} p50 {quantile(spent, 0.5):8.1f} ms  p99 {quantile(spent, 0.99):8.1f} ms  "
            f"recall {recall(found, exact):.3f}  built in {built:.0f} s"
        )

    rows, bare = held.rows(every), held.bare

    def all_of_them(query: dict[str, Floats], blocked: int) -> list[float]:
        scores = np.where(bare, rows @ asked(query, True), rows @ asked(query, False))
        return best(held, every, scores, blocked)

    tell("exact, numpy", all_of_them)
    click.echo(f"pgvector {server.version}, {len(demos):,} trajectories, {count} queries, on {machine()}")
    began = time.perf_counter()
    search = by_texts(server, held)
    tell(f"texts, {NEAREST} a key", search, time.perf_counter() - began)
    began = time.perf_counter()
    by_rows(server, held)
    built = time.perf_counter() - began
    for many in (100, 400, 1000, 4000):
        tell(f"rows, {many}", rows_near(server, held, many), built)


if __name__ == "__main__":
    main()
