"""MySQL and MariaDB by URL, read-only.

The account should be one that may only read its database, as the importer makes one. The engine does not rely on it:
each statement is parsed and may name the incident's own tables alone, the session's transactions are read-only, the
server itself ends what runs too long, and where it does not, or a result is too large, the connection is given up.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from atlas.benchmarks.excytin.engine import (
    DATABASE,
    MAX_CHARACTERS,
    TIME_LIMIT,
    Row,
    SqlError,
    bounded,
    closed,
    denied,
    too_large,
    too_slow,
)
from atlas.benchmarks.excytin.layers import Layer, visible
from atlas.benchmarks.excytin.sqltext import Piece, check, pieces, quoted
from atlas.errors import AtlasError, ConfigError, DataError, MissingExtra

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.mysql_connection import BoundedConnection

_KINDS = {1052: "IntegrityError", 3065: "DatabaseError", 3141: "DataError", 1292: "DataError", 1366: "DatabaseError"}
_PROGRAMMING = {1046, 1049, 1054, 1055, 1056, 1060, 1064, 1066, 1109, 1140, 1142, 1146, 1149, 1222, 1235, 1247, 1248}
_PROGRAMMING |= {1305, 1327, 1370, 1582, 1583, 1584, 1630, 1792, 3143}
_SLOW = {1969, 1317, 3024}
_GONE = {2002, 2003, 2006, 2013, 2055, 1927, 1053, 1080, 4031}
_CLAUSES = {"SELECT": "field list", "WHERE": "where clause", "ORDER BY": "order clause", "GROUP BY": "group statement"}
_INNER = re.compile(r"@@\w*|\bANALYZE\b|\b(?:BENCHMARK|SLEEP|GET_LOCK)\s*\(", re.IGNORECASE)
"""The server's own settings, and calls that only keep it busy."""
GRACE = 2.0
"""Seconds beyond a query's limit after which the server is no longer waited for."""
_SYNTAX = 1064


def need_packages() -> None:
    """Raise MissingExtra where the packages for a server are not installed."""
    if not (find_spec("pymysql") and find_spec("sqlglot")):
        raise MissingExtra("MySQL and MariaDB", "mysql")


def connect(url: str, *, timeout: float = 10, database: bool = True) -> BoundedConnection:
    """A connection to ``mysql://user:password@host:port/database``, with MySQL's usual meaning of text.

    Raises:
        ConfigError: the URL is no such URL.
        DataError: the server cannot be reached, or refuses the account or the database.
        MissingExtra: pymysql is not installed.
    """
    try:
        import pymysql

        from atlas.benchmarks.excytin.mysql_connection import BoundedConnection
    except ImportError as error:
        raise MissingExtra("MySQL and MariaDB", "mysql") from error
    try:
        parts = urlsplit(url)
        host, port, name = parts.hostname, parts.port or 3306, parts.path.strip("/")
    except ValueError as error:
        raise ConfigError(
            f"the MySQL URL is no URL ({error}): write mysql://user:password@host:port/database"
        ) from error
    if not parts.scheme.startswith(("mysql", "mariadb")) or not host or (database and not name):
        raise ConfigError("the MySQL URL is incomplete: write mysql://user:password@host:port/database")
    try:
        return BoundedConnection(
            host=host,
            port=port,
            user=unquote(parts.username or "root"),
            password=unquote(parts.password or ""),
            database=name or None,
            charset="utf8mb4",
            connect_timeout=int(timeout),
            local_infile=False,
            autocommit=True,
        )
    except (pymysql.MySQLError, OSError) as error:
        reason = error.args[-1] if error.args else error
        raise DataError(f"the database server {host}:{port} refuses the connection ({reason}): is it up?") from error


class MysqlEngine:
    """One incident's database on a server.

    Args:
        url: ``mysql://user:password@host:port/database``.
        layer: which tables are visible.
        time_limit: seconds a query may take.

    Raises:
        ConfigError, DataError, MissingExtra: as :func:`connect`.
    """

    def __init__(self, url: str, *, layer: Layer = "alert", time_limit: float = TIME_LIMIT) -> None:
        self._url = url
        self._closing = False
        self._lock = Lock()
        """Held while a statement runs and while the connection is closed."""
        self._database = urlsplit(url).path.strip("/")
        self._layer: Layer = layer
        self._time_limit = time_limit
        self._open()

    def _open(self) -> None:
        self._connection = connect(self._url)
        # Should the server's own limit fail to end a query.
        self._connection._read_timeout = self._time_limit + GRACE
        try:
            self._prepare()
        except BaseException:
            self._drop()
            raise

    def _prepare(self) -> None:
        try:
            from atlas.benchmarks.excytin.mysql_names import Names
        except ImportError as error:
            raise MissingExtra("MySQL and MariaDB", "mysql") from error
        self._ask("SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'")
        self._limit_time()
        tables = [str(row[0]) for row in self._ask("SHOW TABLES")]
        shown = visible(tables, self._layer)
        hidden = {name.lower() for name in set(tables) - set(shown)}
        cased = not self._ask("SELECT @@lower_case_table_names")[0][0]
        self._names = Names(self._database, shown, hidden, cased)
        self._ask("SET SESSION TRANSACTION READ ONLY")

    def _limit_time(self) -> None:
        version = str(self._ask("SELECT VERSION()")[0][0])
        if "mariadb" in version.lower():
            self._ask(f"SET SESSION max_statement_time = {self._time_limit}")
        else:
            self._ask(f"SET SESSION max_execution_time = {int(self._time_limit * 1000)}")

    def query(self, sql: str) -> list[Row]:
        """The rows of one statement. SqlError: it is wrong, forbidden, too slow or too large.

        Raises:
            DataError: the server cannot be reached any more, or the engine was closed.
        """
        parts = pieces(sql)
        word = check(parts)
        if word == "USE":
            return []
        code = "".join(" '' " if part.is_string else part.text for part in parts).strip()
        if found := _INNER.search(code):
            raise denied(found[0])
        if self._names.hidden & {name.lower() for name in re.findall(r"\w+", code)}:
            raise denied("a table of another layer")
        with self._lock:
            if self._closing:
                raise closed()
            text = self._names.statement(parts, word)
            if text is None:
                self._complain(parts)
                raise denied("this statement")
            self._ask("START TRANSACTION READ ONLY")
            try:
                rows = self._fetched(text)
            finally:
                self._end()
        if word == "SHOW" and re.match(r"SHOW\s+(FULL\s+)?TABLES", code, re.IGNORECASE):
            rows = sorted(row for row in rows if row[0] in self._names.tables)
        elif word == "SHOW" and re.match(r"SHOW\s+(DATABASES|SCHEMAS)", code, re.IGNORECASE):
            rows = [row for row in rows if row[0] in (self._database, "information_schema")]
        return [tuple(DATABASE if cell == self._database else cell for cell in row) for row in rows]

    def close(self) -> None:
        self._closing = True
        if not self._lock.acquire(blocking=False):
            self._kill()
            self._lock.acquire()
        try:
            self._drop()
        finally:
            self._lock.release()

    def _kill(self) -> None:
        """End the statement that another thread waits for, at the server; its wait alone where that is out of reach."""
        import pymysql

        try:
            other = connect(self._url)
            try:
                with other.cursor() as cursor:
                    cursor.execute(f"KILL {self._connection.thread_id()}")
            finally:
                other.close()
        except (pymysql.MySQLError, AtlasError):
            # What shuts down is no descriptor that a thread still reads from: the reader sees the end of the stream.
            with suppress(OSError, AttributeError):
                self._connection._sock.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._connection.open:
            self._connection.close()

    def _end(self) -> None:
        if self._connection.open:
            try:
                self._connection.rollback()
            except self._connection.Error as error:
                raise self._told(error) from error

    def _ask(self, sql: str) -> list[Row]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        except self._connection.Error as error:
            raise self._told(error) from error

    def _complain(self, parts: list[Piece]) -> None:
        """Raise what the server finds wrong with the syntax of a statement, which it is not asked to run."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"PREPARE atlas FROM {quoted(self._names.text(parts))}")
                cursor.execute("DEALLOCATE PREPARE atlas")
        except self._connection.Error as error:
            told = self._told(error)
            # Its other complaints are about what there is, elsewhere too.
            if isinstance(told, DataError) or (error.args and error.args[0] == _SYNTAX):
                raise told from error

    def _fetched(self, sql: str) -> list[Row]:
        from pymysql.cursors import SSCursor

        rows: list[Row] = []
        characters = 0
        until = time.monotonic() + self._time_limit + GRACE
        self._connection.left = MAX_CHARACTERS
        try:
            with self._connection.cursor(SSCursor) as cursor:
                try:
                    cursor.execute(sql)
                    while (row := cursor.fetchone()) is not None:
                        characters = bounded(row, len(rows), characters)
                        rows.append(row)
                        if time.monotonic() > until:
                            raise too_slow()
                except (SqlError, KeyboardInterrupt):
                    # Before the cursor is closed, which reads what is still to come to its end.
                    self._restart()
                    raise
        except self._connection.Error as error:
            if time.monotonic() > until and not self._closing:
                self._restart()
                raise too_slow() from error
            raise self._told(error) from error
        finally:
            self._connection.left = sys.maxsize
        return rows

    def _restart(self) -> None:
        """A new connection in place of one whose statement goes on."""
        self._kill()
        self._connection.abandon()
        if self._closing:
            raise closed()
        self._open()

    def _told(self, error: Exception) -> SqlError | AtlasError:
        """The server's complaint in the words of MySQL and its connector."""
        number, message = (*error.args, "", "")[:2] if error.args else (0, str(error))
        if number in _GONE or not self._connection.open or isinstance(error, self._connection.InterfaceError):
            self._drop()
            if self._closing:
                return closed()
            return DataError(f"the database server is gone ({message or error}): start it again and resume the run")
        if number in _SLOW:
            return too_slow()
        if number in (1038, 1041, 1153):
            return too_large()
        text = str(message).replace("MariaDB server", "MySQL server").replace(f"{self._database}.", f"{DATABASE}.")
        text = re.sub(r"in '(SELECT|WHERE|ORDER BY|GROUP BY)'$", lambda m: f"in '{_CLAUSES[m[1]]}'", text)
        default = "ProgrammingError" if number in _PROGRAMMING else "DatabaseError"
        return SqlError(_KINDS.get(number, default), text)
