"""``python -m atlas.benchmarks.excytin.replay --data FOLDER [--mysql URL]``: the recorded queries, run again.

Two comparisons, over each distinct query of an incident once:

- with the recording: whether a query succeeds or fails as it did on the full database. Rows are not compared, the
  recorded subset has fewer of them.
- with ``--mysql``, on the same rows: whether SQLite returns what MySQL or MariaDB returns. Each incident is loaded into
  a database of its own, ``atlas_replay_N_PROCESS``, which is dropped in the end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from atlas.benchmarks.excytin.data import database, folder, incidents, label
from atlas.benchmarks.excytin.engine import Engine, Row, SqlError
from atlas.benchmarks.excytin.load_mysql import drop, load
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine
from atlas.benchmarks.excytin.recorded_queries import RecordedQuery, recorded_queries
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.benchmarks.program import Program
from atlas.errors import DataError
from atlas.figures import figure

_SEVERAL = "all"
_LEGEND = """\
status, error: queries that succeed or fail as recorded; recorded errors with the same text.
rows: results of SQLite that the server returns too, in the same order or in any; information_schema left out."""


@dataclass
class Outcome:
    """What an engine made of a query."""

    rows: Sequence[Row] | None
    error: str
    seconds: float


@dataclass
class Tally:
    """Counts over the distinct queries of one incident."""

    incident: str
    queries: int = 0
    same_status: int = 0
    failed: int = 0
    """Queries that failed in the recording and here."""
    same_error: int = 0
    sqlite_seconds: float = 0.0
    compared: int = 0
    """Queries that were run on both engines."""
    server_same_status: int = 0
    schema: int = 0
    """Queries on information_schema: every server tells of itself there, so their rows are not compared."""
    both: int = 0
    """Other queries with rows, or none, on both engines."""
    same_rows: int = 0
    same_rows_any_order: int = 0
    server_seconds: float = 0.0
    differing: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            if name != "incident":
                setattr(self, name, getattr(self, name) + value)

    def told(self) -> dict[str, object]:
        """Counts, shares and times, for ``--json``."""
        counts = {name: value for name, value in vars(self).items() if not name.endswith("seconds")}
        return counts | {
            "share_same_status": _share(self.same_status, self.queries),
            "share_same_rows": _share(self.same_rows, self.both),
            "sqlite_ms": _share(1000 * self.sqlite_seconds, self.queries),
            "server_ms": _share(1000 * self.server_seconds, self.compared),
        }


def distinct(queries: Iterable[RecordedQuery], *, selects: bool) -> list[RecordedQuery]:
    """Each query of an incident once, in order of first appearance; only SELECTs where asked."""
    found = {(q.incident, q.sql): q for q in reversed(list(queries)) if not selects or _is_select(q.sql)}
    return list(reversed(found.values()))


def _is_select(sql: str) -> bool:
    return sql.lstrip("( \n").upper().startswith(("SELECT", "WITH"))


def replay(queries: Sequence[RecordedQuery], sqlite: Engine, server: Engine | None, name: str) -> Tally:
    """Run the queries of one incident."""
    tally = Tally(name)
    for query in queries:
        ours = run(sqlite, query.sql)
        tally.queries += 1
        tally.sqlite_seconds += ours.seconds
        tally.same_status += (not ours.error) == query.ok
        if ours.error and not query.ok:
            tally.failed += 1
            tally.same_error += ours.error == query.observation
        if server is not None:
            _compare(tally, query, ours, run(server, query.sql))
    return tally


def _compare(tally: Tally, query: RecordedQuery, ours: Outcome, theirs: Outcome) -> None:
    tally.compared += 1
    tally.server_seconds += theirs.seconds
    tally.server_same_status += (not theirs.error) == query.ok
    if "information_schema" in query.sql.lower():
        tally.schema += 1
        return
    if ours.rows is None or theirs.rows is None:
        return
    tally.both += 1
    same = list(ours.rows) == list(theirs.rows)
    tally.same_rows += same
    tally.same_rows_any_order += same or sorted(map(repr, ours.rows)) == sorted(map(repr, theirs.rows))
    if not same:
        tally.differing.append(query.sql)


def run(engine: Engine, sql: str) -> Outcome:
    """A query, timed."""
    began = time.perf_counter()
    try:
        rows, error = engine.query(sql), ""
    except SqlError as refused:
        rows, error = None, str(refused)
    return Outcome(rows, error, time.perf_counter() - began)


@click.command(cls=Program)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with traces/ and db/.")
@click.option("--limit", type=click.IntRange(1), help="At most so many distinct queries of each incident.")
@click.option("--mysql", help="URL of a server on which databases may be made, such as mysql://root@127.0.0.1:3306/.")
@click.option("--all", "every", is_flag=True, help="SHOW, DESCRIBE and text that is no SQL too, not only SELECTs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(data: Path | None, limit: int | None, mysql: str | None, every: bool, as_json: bool) -> None:
    """Run the recorded queries again and compare."""
    tallies = _measured(folder(data), limit, mysql, selects=not every)
    total = Tally(_SEVERAL)
    for tally in tallies:
        total.add(tally)
    if as_json:
        told = {"data": _held(folder(data)), "incidents": [t.told() for t in tallies], "all": total.told()}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show([*tallies, total], _held(folder(data)), with_server=bool(mysql))


def _measured(root: Path, limit: int | None, mysql: str | None, *, selects: bool) -> list[Tally]:
    queries = distinct(recorded_queries(root), selects=selects)
    tallies = []
    for incident in sorted({query.incident for query in queries}):
        path = database(incident, root)
        chosen = [query for query in queries if query.incident == incident][:limit]
        # The process number keeps two replays on one server apart.
        name = f"atlas_replay_{incident}_{os.getpid()}"
        server = None
        try:
            server = MysqlEngine(load(path, mysql, name)) if mysql else None
            tallies.append(replay(chosen, SqliteEngine(path), server, str(incident)))
        finally:
            if server is not None:
                server.close()
            if mysql:
                drop_quietly(mysql, name)
    return tallies


def drop_quietly(url: str, name: str) -> None:
    """Remove a database, if its server is still there."""
    try:
        drop(url, name)
    except DataError:
        click.echo(f"the database {name} could not be dropped", err=True)


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{figure(part / whole, 2)}%" if whole else "-"


def _held(place: Path) -> str:
    """Which rows the databases hold."""
    labels = dict.fromkeys(label(number, place) for number in incidents(place))
    return "; ".join(filter(None, labels)) or "the benchmark's full logs"


def _show(tallies: Sequence[Tally], held: str, *, with_server: bool) -> None:
    from rich.table import Table

    from atlas.tables import console

    table = Table(title="Recorded queries, run again", title_justify="left", caption_justify="left")
    table.caption = f"Database: {held}.\n{_LEGEND}"
    columns = ["incident", "queries", "status", "error", "ms"]
    columns += ["server status", "rows", "any order", "server ms"] if with_server else []
    for column in columns:
        table.add_column(column, justify="right")
    for t in tallies:
        cells = [
            t.incident,
            f"{t.queries:,}",
            _percent(t.same_status, t.queries),
            _percent(t.same_error, t.failed),
            f"{1000 * t.sqlite_seconds / max(1, t.queries):.2f}",
        ]
        if with_server:
            cells += [
                _percent(t.server_same_status, t.compared),
                _percent(t.same_rows, t.both),
                _percent(t.same_rows_any_order, t.both),
                f"{1000 * t.server_seconds / max(1, t.compared):.2f}",
            ]
        table.add_row(*cells)
    console().print(table)


if __name__ == "__main__":
    main()
