"""The embedded engine: SQLite with MySQL's language and manners, read-only.

Three walls stand between an agent and anything but the rows: the text of a statement is judged before it is translated,
the file is opened read-only, and SQLite's authorizer denies everything except reading tables and calling functions.
"""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

from atlas.benchmarks.excytin.catalog import Catalog
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
from atlas.benchmarks.excytin.functions import Functions
from atlas.benchmarks.excytin.layers import Layer, visible
from atlas.benchmarks.excytin.sqltext import check, pieces
from atlas.errors import DataError, MissingExtra

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FUNCTIONS = frozenset(
    "abs avg ceil ceiling char coalesce count cume_dist date datetime dense_rank exp first_value floor "
    "group_concat hex ifnull iif instr json_array json_group_array json_group_object json_object julianday lag "
    "last_value lead length like ln log log10 log2 lower ltrim max min mod nth_value ntile nullif percent_rank "
    "pow power quote random rank replace round row_number rtrim sign sqrt strftime substr substring sum time "
    "total trim unicode unixepoch upper".split()
)
"""SQLite's own functions that may be called: those into which MySQL's are translated."""
_INSTRUCTIONS = 1_000
"""Instructions of SQLite's machine between two looks at the clock."""
_BATCH = 1_000
_COLUMN = re.compile(r"no such column: (.+)")
_FUNCTION = re.compile(r"(?:no such function|not authorized to use function): (.+)")
_AMBIGUOUS = re.compile(r"ambiguous column name: (.+)")
_NEAR = re.compile(r'near "(.+?)": syntax error', re.DOTALL)


class SqliteEngine:
    """One incident's rows in a SQLite file.

    Args:
        path: the file, with every column as ``TEXT COLLATE NOCASE``.
        layer: which tables are visible.
        time_limit: seconds a query may take.

    Raises:
        DataError: the file is no database.
        MissingExtra: sqlglot or regex is not installed.
    """

    def __init__(self, path: Path | str, *, layer: Layer = "alert", time_limit: float = TIME_LIMIT) -> None:
        try:
            import regex  # noqa: F401
            import sqlglot  # noqa: F401
        except ImportError as error:
            raise MissingExtra("the embedded engine of ExCyTIn", "excytin") from error
        self._time_limit = time_limit
        self._functions = Functions()
        self._deadline = float("inf")
        self._closing = False
        self._lock = Lock()
        """Held while a statement runs and while the connection is closed: SQLite keeps neither from the other."""
        try:
            self._connection = sqlite3.connect(
                f"{Path(path).resolve().as_uri()}?mode=ro&immutable=1",
                uri=True,
                check_same_thread=False,
                isolation_level=None,
            )
        except sqlite3.DatabaseError as error:
            raise _no_database(path, error) from error
        try:
            self._connection.execute("PRAGMA temp_store = MEMORY")
            self.catalog = Catalog(_tables(self._connection, layer))
            self.catalog.install(self._connection)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise _no_database(path, error) from error
        self._functions.install(self._connection)
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CHARACTERS)
        self._connection.set_authorizer(_authorized)
        self._connection.set_progress_handler(self._is_late, _INSTRUCTIONS)

    def query(self, sql: str) -> list[Row]:
        """The rows of one MySQL statement. SqlError: wrong, forbidden, too slow or too large. DataError: closed."""
        parts = pieces(sql)
        word = check(parts)
        if word == "USE":
            return []
        if word not in ("SELECT", "WITH", "VALUES", "TABLE"):
            answer = self.catalog.answer(word, parts)
            if not isinstance(answer, str):
                return answer
            parts = pieces(answer)
        from atlas.benchmarks.excytin.dialect import column_error, translate

        translated = translate(parts, self.catalog.tables)
        with self._lock:
            if self._closing:
                raise closed()
            try:
                rows = self._fetched(translated.sql)
            except sqlite3.Error as error:
                if self._closing:
                    raise closed() from error
                message = str(error)
                if found := _COLUMN.fullmatch(message):
                    raise column_error(found[1], translated) from error
                raise self._worded(message) from error
        if not translated.converters:
            return rows
        same = _itself
        converters = [translated.converters.get(number, same) for number in range(len(rows[0]) if rows else 0)]
        return [tuple(f(cell) for f, cell in zip(converters, row, strict=True)) for row in rows]

    def close(self) -> None:
        # The mark ends a statement at its next look at the clock, also one that is only about to begin.
        self._closing = True
        with suppress(sqlite3.ProgrammingError):  # closed before
            self._connection.interrupt()
        with self._lock:
            self._connection.close()

    def _fetched(self, sql: str) -> list[Row]:
        self._functions.failure = None
        self._deadline = self._functions.deadline = time.monotonic() + self._time_limit
        rows: list[Row] = []
        characters = 0
        cursor = self._connection.execute(sql)
        try:
            while batch := cursor.fetchmany(_BATCH):
                characters = bounded(batch, len(rows), characters)
                rows += batch
        finally:
            cursor.close()
            self._deadline = float("inf")
        return rows

    def _is_late(self) -> int:
        return int(self._closing or time.monotonic() > self._deadline)

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
        if found := _AMBIGUOUS.fullmatch(message):
            return SqlError("IntegrityError", f"Column '{found[1]}' in field list is ambiguous")
        if found := _NEAR.match(message):
            return syntax_error(found[1])
        if "not authorized" in message or "prohibited" in message:
            return denied("this statement")
        return SqlError("ProgrammingError", message[:1].upper() + message[1:])


def _no_database(path: Path | str, error: Exception) -> DataError:
    return DataError(f"{path} is no incident database ({error}): unpack or import it again")


def _itself(cell: object) -> object:
    return cell


def _tables(connection: sqlite3.Connection, layer: Layer) -> dict[str, list[str]]:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (name,))]
        for name in visible((n for n in names if not n.startswith("sqlite_")), layer)
    }


def _authorized(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action not in _ALLOWED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION:
        name = (second or "").lower()
        return sqlite3.SQLITE_OK if name in _FUNCTIONS or name.startswith("my_") else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and (first or "").startswith(("sqlite_", "pragma_")):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
