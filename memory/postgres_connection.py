"""One connection to a PostgreSQL server: turns of writers, errors in words, and what is done when it breaks.

A transaction holds the lock on the one row of the table ``memory``, so that writers take turns, as they do on a file,
and number versions without gaps. A connection that breaks is made anew. What was under way goes on where that is the
same as if nothing had happened: nothing was written yet, and nobody else has written since. Where the answer to a
commit was lost the server is asked what became of it. Everything else leaves as :class:`atlas.errors.StoreError`:
nothing was written.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from atlas.errors import ConfigError, StoreError
from atlas.memory.backend import ConnectionLost
from atlas.memory.postgres_driver import connect, keepable, kept, line, shutdowns
from atlas.memory.postgres_url import Place, read

TURN_SECONDS = 60
"""How long a writer waits for its turn."""
BACK_SECONDS = 30.0
"""How long a server that was there is waited for, as when it is restarted."""
_TURN = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '{TURN_SECONDS}s'; "
    "SELECT writes, pg_current_xact_id()::text FROM {t} FOR UPDATE"
)
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT writes, '' FROM {t}"
ENDS = 128
"""How many of the newest transactions have left their mark in the one row."""
_COUNT = f"UPDATE {{t}} SET writes = writes + 1, ended = (%d::bigint || ended)[1:{ENDS}]"
MARKS = "ended bigint[] NOT NULL DEFAULT '{}'"
"""Their column, in the table of one row."""
_MADE, _UNDONE, _UNKNOWN = "made", "undone", "unknown"
_SENT = -1
_NO_ROW = "it has no row that counts what is written"


class _Broken(Exception):
    """The connection broke during a statement."""


class PostgresConnection:
    """Shared by the threads of a process, which take turns. ``{s}`` in a statement stands for the memory's schema, and
    ``{t}`` for the table of one row in it."""

    what, look = "memory", "atlas memory log"
    """What is there, in errors, and the command that shows it."""
    table = "memory"
    """Its row says whose turn it is to write."""
    file = None
    read_only = False
    """Whether nothing can be written: it is used as it is."""
    unwritable = "its server, or the rights of its user there, let nothing be written"

    def __init__(self, place: str) -> None:
        self.where = self._where(place)
        self.path = self.where.path
        self.schema = f'"{self.where.schema}"'
        self._lock = threading.RLock()
        self._depth = 0
        self._queue: list[tuple[str, Sequence[object]]] = []
        """Statements that write and return nothing: they are sent with the next question, or with the commit."""
        self.known: dict[str, str | None] = {}
        """Facts that were read or written in the transaction that is under way: nobody else changes them meanwhile."""
        self._saved: list[int | None] = []
        """For each nested transaction where its savepoint stands in the queue, ``_SENT`` where the server has it, None
        where there is none: only what writes has to be undone by itself."""
        self._mode = ""
        self._seen, self._transaction, self._mark = 0, "", 0
        """Of the transaction: the count of writes at its beginning, its number, and what it leaves in the row."""
        self._wrote, self._dead, self._closed = False, False, False
        self._own = 0
        """Statements of this connection that wrote."""
        self.unmarked = False
        """Whether its tables were made by a build that left no marks: they get their column when they are written."""
        self._db: Any = connect(self.where)

    def _where(self, place: str) -> Place:
        where = read(place)
        if where.run is not None:
            raise ConfigError(f"{where.path} names a run, and a memory is asked for: leave out run={where.run}")
        return where

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    @property
    def inside(self) -> bool:
        """Whether a transaction is under way, or a reading."""
        return self._depth > 0

    # --- statements ---------------------------------------------------------------------------------------------------

    def rows(self, statement: str, given: Sequence[object] = (), *, binary: bool = False) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._lock:
            return self._asked(lambda: self._executed(statement, given, binary))

    def write(self, statement: str, given: Sequence[object] = ()) -> None:
        """A statement that writes and returns nothing. For the inside of a :meth:`transaction` alone."""
        with self._lock:
            self._begin_writing()
            self._queue.append((statement, given))

    def written(self, statement: str, given: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement returns which writes."""
        with self._lock:
            self._begin_writing()
            found = self._asked(lambda: self._executed(statement, given))
            self._wrote = True
            return found

    def write_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """A statement that writes and returns nothing, for many rows of what is given to it."""
        made = [[keepable(value) for value in row] for row in rows]

        def ask() -> list[tuple[Any, ...]]:
            self._flush()
            with self._db.cursor() as cursor:
                cursor.executemany(self._said(statement), made)
            return []

        with self._lock:
            self._begin_writing()
            self._asked(ask)
            self._wrote = True

    def stamp(self) -> tuple[int, int]:
        """Changes when this or another connection writes; one small question to the server, none in a transaction."""
        with self._lock:
            if self._depth:
                return self._seen, self._own
            if found := self.rows("SELECT writes FROM {t}"):
                return int(found[0][0]), self._own
            raise StoreError(self.damaged(_NO_ROW))

    def plain(self, statements: str) -> list[tuple[Any, ...]]:
        """What the last of some statements finds, to which nothing is given: all of them in one message."""
        with self._lock:
            return self._asked(lambda: self._sent(statements))

    def _said(self, statement: str) -> str:
        return statement.replace("{t}", f"{{s}}.{self.table}").replace("{s}", self.schema)

    def _executed(self, statement: str, given: Sequence[object], binary: bool = False) -> list[tuple[Any, ...]]:
        made = [keepable(value) for value in given]
        if self._queue:
            # In one message, with one answer.
            with self._db.pipeline():
                self._send_queue()
                found = self._db.execute(self._said(statement), made, binary=binary)
            self._flushed()
        else:
            found = self._db.execute(self._said(statement), made, binary=binary)
        return [tuple(kept(value) for value in row) for row in found] if found.description else []

    def _send_queue(self) -> None:
        for statement, given in self._queue:
            self._db.execute(self._said(statement), [keepable(value) for value in given])

    def _flush(self) -> None:
        if self._queue:
            with self._db.pipeline():
                self._send_queue()
            self._flushed()

    def _flushed(self) -> None:
        self._queue = []
        self._saved = [None if place is None else _SENT for place in self._saved]
        self._wrote = True

    def _sent(self, statements: str) -> list[tuple[Any, ...]]:
        cursor = self._db.execute(self._said(statements), prepare=False)
        while cursor.nextset():
            pass
        return list(cursor) if cursor.description else []

    def _begin_writing(self) -> None:
        if self._mode != _TURN:
            raise RuntimeError("a statement that writes belongs inside a transaction")
        for level, place in enumerate(self._saved):
            if place is None:
                self._saved[level] = len(self._queue)
                self._queue.append((f"SAVEPOINT nested_{level}", ()))
        self._own += 1

    def _asked(self, ask: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        if self._dead:
            raise self._lost()
        try:
            with self._errors():
                return ask()
        except _Broken as error:
            self._back(error)
            with self._unbroken():
                return ask()

    # --- transactions -------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens at once or, if an exception leaves it, not at all. May be nested."""
        with self._lock:
            if self._depth and self._mode != _TURN:
                raise RuntimeError("a transaction does not begin while a memory is being read")
            if self.unmarked and not self._depth:
                self._upgrade()
            with self.begun(_TURN):
                yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All queries inside see the memory as it was at the beginning."""
        with self._lock, self.begun(self._mode or _READ):
            yield

    @contextmanager
    def begun(self, mode: str) -> Iterator[None]:
        """Statements that begin a transaction, the last of which finds the count of writes and the transaction's
        number; what is inside is a part of it."""
        if self._depth:
            with self._nested():
                yield
            return
        # Nothing is under way yet, so that this is done again where the connection breaks.
        try:
            self._began(mode, self.plain(mode))
            self._depth = 1
            yield
            self._commit()
        except BaseException:
            self._rollback()
            raise
        finally:
            self._depth, self._mode, self._dead, self._wrote = 0, "", False, False
            self._queue, self.known = [], {}

    @contextmanager
    def _nested(self) -> Iterator[None]:
        self._depth += 1
        self._saved.append(None)
        name = f"nested_{len(self._saved) - 1}"
        try:
            yield
            if self._saved[-1] is not None:
                self._queue.append((f"RELEASE {name}", ()))
        except BaseException:
            self.known = {}
            place = self._saved[-1]
            if place is not None:
                self._queue = [] if place == _SENT else self._queue[:place]
            if place == _SENT and not self._dead:
                self.plain(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        finally:
            self._saved.pop()
            self._depth -= 1

    def _began(self, mode: str, found: list[tuple[Any, ...]]) -> None:
        if not found:
            raise StoreError(self.damaged(_NO_ROW))
        self._mode, self._seen, self._transaction = mode, int(found[0][0]), str(found[0][1])
        self._mark = secrets.randbits(63)

    def _commit(self) -> None:
        if self._dead:
            raise self._lost()
        writes = bool(self._wrote or self._queue)
        try:
            with self._errors():
                if self._queue:
                    with self._db.pipeline():
                        self._send_queue()
                        self._db.execute(self._said(_COUNT % self._mark))
                        self._db.execute("COMMIT")
                else:
                    # A rollback waits for no disk.
                    self._sent(f"{_COUNT % self._mark}; COMMIT" if writes else "ROLLBACK")
        except _Broken as error:
            # What read alone has read all that it wanted.
            if writes:
                self._settle(error)

    def _rollback(self) -> None:
        if self._db.closed:
            return
        try:
            with self._errors():
                self._sent("ROLLBACK")
        except _Broken:
            pass  # the server undoes what is under way when a connection breaks

    # --- when it breaks -----------------------------------------------------------------------------------------------

    def _back(self, error: _Broken) -> None:
        """Connect again, and be where this was. Raises StoreError where that cannot be."""
        if not self._depth:
            self._reconnect()
            return
        self._dead = True
        if self._wrote:
            raise self._lost() from error
        self._reconnect()
        seen = self._seen
        with self._unbroken():
            self._began(self._mode, self._sent(self._mode))
            if self._seen != seen:
                raise self._lost() from error
        self._dead = False

    def _settle(self, error: _Broken) -> None:
        """Find out what became of a commit whose answer was lost."""
        self._queue = []
        made, deadline = None, time.monotonic() + BACK_SECONDS
        while made is None and time.monotonic() < deadline:
            with suppress(StoreError, _Broken):
                self._reconnect()
                with self._errors():
                    made = self._became()
            time.sleep(0.05 * (made is None))
        if made == _MADE:
            return
        if made == _UNDONE:
            raise self._lost() from error
        raise StoreError(
            f"the connection to {self.path} broke at the end of a write, and whether it was made is not known: look "
            f"at it with '{self.look} {self.path}'"
        ) from error

    def _became(self) -> str | None:
        """What became of the transaction whose connection broke; None while it is under way.

        Where its number says that it was made, the mark that it leaves decides: a number that had not reached the disk
        when the server crashed is given out again, and what was made under it is another's.
        """
        from psycopg.errors import InvalidParameterValue

        try:
            state = self._executed("SELECT pg_xact_status(%s::xid8)", [self._transaction])[0][0]
        except InvalidParameterValue:
            return _UNDONE  # nobody has got the number since the crash
        if state in ("in progress", "aborted"):
            return _UNDONE if state == "aborted" else None
        found = self._executed("SELECT writes, %s = ANY(ended) FROM {t}", [self._mark])
        if not found:
            raise StoreError(self.damaged(_NO_ROW))
        writes, marked = found[0]
        if marked:
            return _MADE
        return _UNDONE if writes - self._seen < ENDS else _UNKNOWN

    def _upgrade(self) -> None:
        """Make of the tables of schema 1, which had no marks, those of schema 2: at once, or not at all. Raises
        StoreError where only their owner may."""
        from psycopg.errors import InsufficientPrivilege

        try:
            self.plain(
                f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'; ALTER TABLE {{t}} ADD COLUMN IF NOT EXISTS {MARKS}; "
                "UPDATE {t} SET schema_version = 2 WHERE schema_version = 1"
            )
        except StoreError as error:
            if not isinstance(error.__cause__, InsufficientPrivilege):
                raise
            raise StoreError(
                f"the {self.what} {self.path} was made by an earlier atlas, and its tables lack a column that only "
                "their owner may add: write to it once as that user"
            ) from error
        self.unmarked = False

    def _reconnect(self) -> None:
        """Connect again, and wait for a server that is being restarted."""
        if self._closed:
            raise StoreError(f"the {self.what} {self.path} was closed: open it again")
        self._db.close()
        deadline, pause = time.monotonic() + BACK_SECONDS, 0.05
        while True:
            try:
                self._db = connect(self.where)
                self._connected()
                return
            except StoreError:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _connected(self) -> None:
        """A connection was made anew: what was the old one's is gone."""

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(
            f"the connection to {self.path} broke in the middle of something, of which nothing was written: do it again"
        )

    # --- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """A connection that breaks once more is one too many."""
        try:
            with self._errors():
                yield
        except _Broken as error:
            self._dead = bool(self._depth)
            raise self._lost() from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            # A connection that breaks in the middle of several statements is not known to be closed yet.
            if self._db.closed or self._db.pgconn.pipeline_status or isinstance(error, shutdowns()):
                self._db.close()
                raise _Broken(str(error)) from error
            raise self._told(error) from error

    def _told(self, error: Any) -> StoreError:
        from psycopg import errors

        said = line(error, self.where)
        if isinstance(error, errors.LockNotAvailable):
            return StoreError(
                f"the {self.what} {self.path} has been written by another process for {TURN_SECONDS} s: try again when "
                "that is done"
            )
        if isinstance(error, errors.InsufficientPrivilege | errors.ReadOnlySqlTransaction):
            return StoreError(
                f"the {self.what} {self.path} cannot be used so ({said}): grant its user the rights on the schema "
                f"{self.where.schema}, or name another user"
            )
        if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
            return StoreError(self.damaged(said))
        return StoreError(
            f"the {self.what} {self.path} cannot be read or written ({said}): check the server, its free space and its "
            "log"
        )

    def damaged(self, why: str) -> str:
        return f"the {self.what} {self.path} is damaged ({why}): restore a copy of the schema {self.where.schema}"
