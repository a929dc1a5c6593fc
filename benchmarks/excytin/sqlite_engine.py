"""The embedded engine: SQLite with MySQL's language and manners, read-only.

Four walls stand between an agent and anything but the rows: the text of a statement is judged before it is translated,
the file is opened read-only, SQLite's authorizer denies everything except reading the layer's tables and calling
functions, and all of it happens in a process of its own that is ended at its limits of time and memory.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Set
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from atlas.benchmarks.excytin.catalog import Catalog
from atlas.benchmarks.excytin.emulated.functions import Functions
from atlas.benchmarks.excytin.engine import (
    MAX_CHARACTERS,
    TIME_LIMIT,
    Row,
    SqlError,
    bounded,
    closed,
    denied,
    syntax_error,
    too_large,
    too_slow,
)
from atlas.benchmarks.excytin.known_columns import KnownColumns
from atlas.benchmarks.excytin.layers import SKIPPED, Layer, visible
from atlas.benchmarks.excytin.sqltext import check, pieces
from atlas.benchmarks.excytin.worker import Request
from atlas.benchmarks.excytin.workers import Worker, Workers
from atlas.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.emulated.terms import Convert

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FUNCTIONS = frozenset(
    "abs avg coalesce count cume_dist dense_rank first_value glob lag last_value lead length like lower max min "
    "nth_value ntile percent_rank quote rank replace row_number sign substr sum upper".split()
)
"""SQLite's own functions that may be called: those into which MySQL's are translated."""
_INSTRUCTIONS = 1_000
"""Instructions of SQLite's machine between two looks at the clock."""
_BATCH = 1_000
_BATCH_CHARACTERS = 1_000_000
"""Rows, or characters in them, that travel together."""
_SKIPPED = frozenset(name.lower() for name in SKIPPED)
_FUNCTION = re.compile(r"(?:no such function|not authorized to use function): (.+)")
_NEAR = re.compile(r'near "(.+?)": syntax error', re.DOTALL)


def need_packages() -> None:
    """Raise MissingExtra where the packages of the embedded engine are not installed."""
    if not (find_spec("regex") and find_spec("sqlglot")):
        raise MissingExtra("the embedded engine of ExCyTIn", "excytin")


class SqliteEngine:
    """One incident's rows in a SQLite file, asked in a process of its own.

    Args:
        path: the file, with every column as ``TEXT COLLATE NOCASE``.
        layer: which tables are visible.
        time_limit: seconds a query may take.
        workers: where the processes are taken from, shared by engines that follow each other. Where not given, the
            engine has its own, which are ended with it.

    Raises:
        DataError: the file is no database.
        MissingExtra: sqlglot or regex is not installed.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        layer: Layer = "alert",
        time_limit: float = TIME_LIMIT,
        workers: Workers | None = None,
    ) -> None:
        need_packages()
        self._path = str(Path(path).resolve())
        try:
            with closing(_connected(path)) as connection:
                _tables(connection, layer)
        except sqlite3.DatabaseError as error:
            raise _no_database(path, error) from error
        self._layer: Layer = layer
        self._time_limit = time_limit
        self._own = workers is None
        self._workers = workers or Workers()
        self._closing = False
        self._running: Worker | None = None
        self._mark = Lock()
        """Around ``_running``: a process that was given back is not ended, for it may be at another engine's query."""
        self._lock = Lock()
        """Held while a statement runs."""

    def query(self, sql: str) -> list[Row]:
        """The rows of one MySQL statement. SqlError: wrong, forbidden, too slow or too large. DataError: closed."""
        with self._lock:
            if self._closing:
                raise closed()
            worker = self._workers.take()
            try:
                with self._mark:
                    self._running = worker
                if self._closing:
                    raise closed()
                return worker.ask(Request(self._path, self._layer, self._time_limit, sql))
            except (SqlError, DataError) as error:
                if self._closing:
                    raise closed() from error
                raise
            finally:
                # One that was left in the middle of a query, by Ctrl-C or at a limit, is ended there.
                with self._mark:
                    self._running = None
                self._workers.give(worker)

    def close(self) -> None:
        self._closing = True
        with self._mark:
            if self._running is not None:
                self._running.kill()
        with self._lock:
            if self._own:
                self._workers.close()


class Database:
    """The file itself, in the process that runs the statements.

    Raises:
        DataError: the file is no database.
    """

    def __init__(self, path: Path | str, *, layer: Layer = "alert") -> None:
        self._functions = Functions()
        self._known = KnownColumns(self._exists)
        self._deadline = self._until = float("inf")
        try:
            self._connection = _connected(path)
        except sqlite3.DatabaseError as error:
            raise _no_database(path, error) from error
        try:
            self._connection.execute("PRAGMA temp_store = MEMORY")
            tables = _tables(self._connection, "alert")
            shown = visible(tables, layer)
            self.catalog = Catalog({name: tables[name] for name in shown})
            self.catalog.install(self._connection)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise _no_database(path, error) from error
        self._functions.install(self._connection)
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CHARACTERS)
        self._connection.set_authorizer(_authorizer({name.lower() for name in set(tables) - set(shown)} | _SKIPPED))
        self._connection.set_progress_handler(self._is_late, _INSTRUCTIONS)

    def batches(self, sql: str, time_limit: float = TIME_LIMIT) -> Iterator[list[Row]]:
        """The rows of one MySQL statement, some at a time. SqlError: wrong, forbidden, too slow or too large."""
        parts = pieces(sql)
        word = check(parts)
        if word == "USE":
            return
        if word not in ("SELECT", "WITH", "VALUES", "TABLE"):
            answer = self.catalog.answer(word, parts)
            if not isinstance(answer, str):
                yield answer
                return
            parts = pieces(answer)
        from atlas.benchmarks.excytin.emulated.translation import translate

        self._begin(time_limit)
        try:
            translated = translate(parts, self.catalog.tables, self._known)
        finally:
            self._deadline = float("inf")
        converters: list[Convert] = []
        try:
            for rows in self._fetched(translated.sql):
                if translated.converters:
                    same = _itself
                    converters = converters or [translated.converters.get(n, same) for n in range(len(rows[0]))]
                    rows = [tuple(f(cell) for f, cell in zip(converters, row, strict=True)) for row in rows]
                yield rows
        except sqlite3.Error as error:
            raise self._worded(str(error)) from error

    def query(self, sql: str) -> list[Row]:
        """All rows of one statement, in this very process: for rows and statements that are ours."""
        return [row for rows in self.batches(sql) for row in rows]

    def close(self) -> None:
        self._connection.close()

    def _begin(self, time_limit: float) -> None:
        self._functions.failure = None
        self._deadline = self._until = self._functions.patterns.deadline = time.monotonic() + time_limit

    def _exists(self, table: str, condition: str) -> bool:
        """Whether a row meets a condition. It is part of the query for which it is asked, and of its time."""
        try:
            sql = f'SELECT EXISTS (SELECT 1 FROM "{table}" WHERE {condition})'
            return bool(self._connection.execute(sql).fetchone()[0])
        except sqlite3.Error as error:
            raise self._worded(str(error)) from error

    def _fetched(self, sql: str) -> Iterator[list[Row]]:
        """Rows in batches that are small however long a row is: the limits are looked at row by row."""
        self._deadline = self._until
        seen = characters = sent = 0
        batch: list[Row] = []
        cursor = self._connection.execute(sql)
        try:
            for row in cursor:
                characters = bounded(row, seen, characters)
                seen += 1
                batch.append(row)
                if len(batch) == _BATCH or characters - sent > _BATCH_CHARACTERS:
                    yield batch
                    batch, sent = [], characters
            if batch:
                yield batch
        finally:
            cursor.close()
            self._deadline = float("inf")

    def _is_late(self) -> int:
        return int(time.monotonic() > self._deadline)

    def _worded(self, message: str) -> SqlError:
        """SQLite's complaint in MySQL's words."""
        if self._functions.failure is not None:
            return self._functions.failure
        if message == "interrupted":
            return too_slow()
        if "too big" in message or "out of memory" in message:
            return too_large()
        if found := _FUNCTION.fullmatch(message):
            name = found[1].removeprefix("MY_")
            return SqlError("ProgrammingError", f"FUNCTION env_monitor_db.{name} does not exist")
        if found := _NEAR.match(message):
            return syntax_error(found[1])
        if "not authorized" in message or "prohibited" in message:
            return denied("this statement")
        return SqlError("ProgrammingError", message[:1].upper() + message[1:])


def _no_database(path: Path | str, error: Exception) -> DataError:
    return DataError(f"{path} is no incident database ({error}): unpack or import it again")


def _itself(cell: object) -> object:
    return cell


def _connected(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
    )


def _tables(connection: sqlite3.Connection, layer: Layer) -> dict[str, list[str]]:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (name,))]
        for name in visible((n for n in names if not n.startswith("sqlite_")), layer)
    }


def _authorizer(hidden: Set[str]) -> Callable[..., int]:
    """What a statement may do: names are judged before, but a name can mean one thing here and another there."""

    def authorized(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action not in _ALLOWED:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION:
            name = (second or "").lower()
            return sqlite3.SQLITE_OK if name in _FUNCTIONS or name.startswith("my_") else sqlite3.SQLITE_DENY
        table = (first or "").lower()
        if action == sqlite3.SQLITE_READ and (table.startswith(("sqlite_", "pragma_")) or table in hidden):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    return authorized
