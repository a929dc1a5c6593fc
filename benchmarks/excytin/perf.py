"""Milliseconds a query: the embedded engine beside the server that ATLAS_MYSQL names, on the same rows.

Two sets of rows: a generated incident of a million rows, and, where the data is there, the recorded subset with the
queries that logged runs made on it. No table has an index, as in the benchmark.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from statistics import fmean, median

from atlas.benchmarks.excytin.data import database, folder
from atlas.benchmarks.excytin.engine import Engine, SqlError
from atlas.benchmarks.excytin.incidents import Incident, Spec, incident
from atlas.benchmarks.excytin.load_mysql import drop, load
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine
from atlas.benchmarks.excytin.recorded_queries import recorded_queries
from atlas.benchmarks.excytin.replay import distinct
from atlas.benchmarks.excytin.sqlite_engine import Database, SqliteEngine
from atlas.benchmarks.perf.table import Aim, Cell, Table, quantile
from atlas.errors import DataError

ROUNDS = 3
TURNS = 200
"""Queries of which the cost of a process is the median."""
RECORDED = 100
"""Recorded queries of each incident."""
_LIMIT = 300.0
"""Seconds a query may take here, so that a slow engine is measured and not interrupted."""


def measure(rows: int = 1_000_000) -> Table:
    """The least of three rounds of each query, on a generated incident and on the recorded rows."""
    url = os.environ.get("ATLAS_MYSQL")
    made = incident(Spec(split="test", index=0, rows=rows))
    queries = _queries(made)
    columns = _on(made.database, list(queries.values()), url, ROUNDS)
    table: list[tuple[Cell, ...]] = [
        (what, *(round(column[number], 1) for column in columns)) for number, what in enumerate(queries)
    ]
    table += _summed("all of these", columns)
    added, first = _added(made.database, queries["the first rows of a log"])
    blank = [None] * (len(columns) - 1)
    table += [("added by a process of its own: median", round(added, 2), *blank)]
    table += [("added once, where no process waits", round(first, 1), *blank)]
    recorded = _recorded(url)
    table += _summed(f"{len(recorded[0]):,} recorded queries" if recorded else "", recorded)
    size = made.database.stat().st_size / 1e6
    return Table(
        name="excytin",
        title=f"Queries on a generated incident of {_count(made.database):,} rows ({size:,.0f} MB), milliseconds",
        columns=("query", "SQLite", "server")[: 1 + len(columns)],
        rows=tuple(table),
        aims=(Aim(what="added to a query by a process of its own: ms", limit=3, measured=round(added, 2)),),
        note="Recorded queries run on the recorded subset. A server is measured where ATLAS_MYSQL names one.",
    )


def _queries(made: Incident) -> dict[str, str]:
    """Of the shapes that analysts' queries have, about what this incident holds."""
    with closing(sqlite3.connect(made.database)) as connection:
        alert, entities = connection.execute("SELECT SystemAlertId, CompromisedEntity FROM SecurityAlert").fetchone()
        address, user = connection.execute("SELECT IPAddress, UserPrincipalName FROM SigninLogs LIMIT 1").fetchone()
        device = connection.execute("SELECT DeviceName FROM DeviceProcessEvents LIMIT 1").fetchone()[0]
    return {
        "SHOW TABLES": "SHOW TABLES",
        "the first rows of a log": "SELECT * FROM DeviceProcessEvents LIMIT 10",
        "alerts with an entity, LIKE": (
            f"SELECT SystemAlertId, AlertName, Entities FROM SecurityAlert WHERE Entities LIKE '%{entities or alert}%'"
        ),
        "alerts of an incident, JOIN": (
            "SELECT a.SystemAlertId, a.AlertName FROM SecurityAlert a JOIN SecurityIncident i "
            f"ON i.AlertIds LIKE CONCAT('%', a.SystemAlertId, '%') WHERE i.AlertIds LIKE '%{alert}%'"
        ),
        "sign-ins from an address": f"SELECT TimeGenerated, Identity FROM SigninLogs WHERE IPAddress = '{address}'",
        "sign-ins of a user, the newest": (
            f"SELECT * FROM SigninLogs WHERE UserPrincipalName LIKE '%{user}%' ORDER BY TimeGenerated DESC LIMIT 10"
        ),
        "processes of a device, LIKE": f"SELECT COUNT(*) FROM DeviceProcessEvents WHERE DeviceName LIKE '%{device}%'",
        "command lines, LIKE, none": "SELECT * FROM DeviceProcessEvents WHERE ProcessCommandLine LIKE '%lsass.dmp%'",
        "connections by address, GROUP BY": (
            "SELECT RemoteIP, COUNT(*) AS n FROM DeviceNetworkEvents GROUP BY RemoteIP ORDER BY n DESC LIMIT 5"
        ),
        "files by hash": f"SELECT FileName FROM DeviceFileEvents WHERE SHA256 = '{'0' * 64}'",
        "a day of sign-ins, DATE()": "SELECT COUNT(*) FROM SigninLogs WHERE DATE(TimeGenerated) = '2025-03-03'",
    }


def _on(path: Path, queries: Sequence[str], url: str | None, rounds: int) -> list[list[float]]:
    """Milliseconds of each query on the file, and on a server's copy of it where there is a server."""
    columns = [_timed(SqliteEngine(path, time_limit=_LIMIT), queries, rounds)]
    if url:
        name = f"atlas_perf_{os.getpid()}"
        try:
            columns.append(_timed(MysqlEngine(load(path, url, name), time_limit=_LIMIT), queries, rounds))
        finally:
            drop(url, name)
    return columns


def _timed(engine: Engine, queries: Sequence[str], rounds: int) -> list[float]:
    found = []
    for sql in queries:
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            # Agents make mistakes: an answer that is an error takes its time too.
            with suppress(SqlError):
                engine.query(sql)
            taken.append(1000 * (time.perf_counter() - began))
        found.append(min(taken))
    engine.close()
    return found


def _added(path: Path, sql: str) -> tuple[float, float]:
    """Milliseconds that a process of its own adds to a query, the two taken in turn; and to a first one."""
    within, engine = Database(path), SqliteEngine(path)
    began = time.perf_counter()
    engine.query(sql)
    first = 1000 * (time.perf_counter() - began)
    added = []
    for _ in range(TURNS):
        taken = []
        for one in (within, engine):
            began = time.perf_counter()
            one.query(sql)
            taken.append(1000 * (time.perf_counter() - began))
        added.append(taken[1] - taken[0])
    engine.close()
    within.close()
    return median(added), first


def _recorded(url: str | None) -> list[list[float]]:
    """The same of queries that logged runs made, on the rows that they brought to light; empty without the data."""
    try:
        root = folder()
        queries = distinct(recorded_queries(root), selects=True)
    except DataError:
        return []
    columns: list[list[float]] = []
    for number in sorted({query.incident for query in queries}):
        chosen = [query.sql for query in queries if query.incident == number][:RECORDED]
        for column, more in enumerate(_on(database(number, root), chosen, url, ROUNDS)):
            columns[column : column + 1] = [[*(columns[column] if column < len(columns) else ()), *more]]
    return columns


def _summed(what: str, columns: Sequence[Sequence[float]]) -> list[tuple[Cell, ...]]:
    if not columns:
        return []
    return [
        (f"{what}: mean", *(round(fmean(column), 2) for column in columns)),
        (f"{what}: p95", *(round(quantile(column, 0.95), 2) for column in columns)),
        (f"{what}: queries/s", *(round(1000 / fmean(column), 1) for column in columns)),
    ]


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(int(connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]) for name in names)
