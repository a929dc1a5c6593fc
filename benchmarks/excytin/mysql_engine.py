"""MySQL and MariaDB by URL, read-only.

The account should be one that may only read its database. The engine does not rely on it: the text of each statement is
judged first, the session's transactions are read-only, and the server itself ends what runs too long.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from atlas.benchmarks.excytin.engine import (
    DATABASE,
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
from atlas.benchmarks.excytin.sqltext import check, pieces, quoted
from atlas.errors import AtlasError, ConfigError, DataError, MissingExtra

if TYPE_CHECKING:
    import pymysql

_KINDS = {1052: "IntegrityError", 3065: "DatabaseError", 3141: "DataError", 1292: "DataError", 1366: "DatabaseError"}
_PROGRAMMING = {1046, 1049, 1054, 1055, 1056, 1060, 1064, 1066, 1109, 1140, 1142, 1146, 1149, 1222, 1235, 1247, 1248}
_PROGRAMMING |= {1305, 1327, 1370, 1582, 1583, 1584, 1630, 1792, 3143}
_SLOW = {1969, 1317, 3024}
_GONE = {2002, 2003, 2006, 2013, 2055, 1927, 1053, 1080, 4031}
_CLAUSES = {"SELECT": "field list", "WHERE": "where clause", "ORDER BY": "order clause", "GROUP BY": "group statement"}
_SHOW = re.compile(
    r"SHOW\s+(?:FULL\s+)?(?:TABLES|COLUMNS|FIELDS|DATABASES|SCHEMAS|INDEX|INDEXES|KEYS|WARNINGS|CREATE\s+TABLE)\b",
    re.IGNORECASE,
)
_INNER = re.compile(r"@@\w*|\bANALYZE\b|\b(?:BENCHMARK|SLEEP|GET_LOCK)\s*\(", re.IGNORECASE)
"""The server's own settings, and calls that only keep it busy."""
_BATCH = 1_000


def connect(url: str, *, timeout: float = 10, database: bool = True) -> pymysql.connections.Connection[Any]:
    """A connection to ``mysql://user:password@host:port/database``, with MySQL's usual meaning of text.

    Raises:
        ConfigError: the URL is no such URL.
        DataError: the server cannot be reached, or refuses the account or the database.
        MissingExtra: pymysql is not installed.
    """
    try:
        import pymysql
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
        return pymysql.connect(
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
        self._connection = connect(url)
        self._connection._read_timeout = time_limit + 10  # Should the server's own limit fail to end a query.
        self._database = urlsplit(url).path.strip("/")
        self._time_limit = time_limit
        try:
            self._prepare(layer)
        except BaseException:
            self._drop()
            raise

    def _prepare(self, layer: Layer) -> None:
        self._ask("SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'")
        self._limit_time()
        tables = [str(row[0]) for row in self._ask("SHOW TABLES")]
        self._hidden = {name.lower() for name in set(tables) - set(visible(tables, layer))}
        self._tables = set(visible(tables, layer))
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
        if word == "SHOW" and not _SHOW.match(code):
            raise denied("this SHOW")
        if found := _INNER.search(code):
            raise denied(found[0])
        if self._hidden & {name.lower() for name in re.findall(r"\w+", code)}:
            raise denied("a table of another layer")
        text = "".join(
            quoted(self._database if part.text == DATABASE else part.text)
            if part.is_string
            else re.sub(rf"\b{DATABASE}\b(\s*\.)", rf"`{self._database}`\1", part.text, flags=re.IGNORECASE)
            for part in parts
        )
        with self._lock:
            if self._closing:
                raise closed()
            self._ask("START TRANSACTION READ ONLY")
            try:
                rows = self._fetched(text.strip().rstrip(";"))
            finally:
                self._end()
        if word == "SHOW" and re.match(r"SHOW\s+(FULL\s+)?TABLES", code, re.IGNORECASE):
            rows = sorted(row for row in rows if row[0] in self._tables)
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

    def _fetched(self, sql: str) -> list[Row]:
        from pymysql.cursors import SSCursor

        rows: list[Row] = []
        characters = 0
        try:
            with self._connection.cursor(SSCursor) as cursor:
                cursor.execute(sql)
                while batch := cursor.fetchmany(_BATCH):
                    characters = bounded(batch, len(rows), characters)
                    rows += batch
        except self._connection.Error as error:
            raise self._told(error) from error
        return rows

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
