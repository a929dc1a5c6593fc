"""A process's connection to the runs of one schema of a PostgreSQL server: what it appends, and that it is there.

A process that writes is a member of the run. What it has appended is counted in its row, so that a statement which is
sent again does nothing again; what the server had not on its disk when it crashed is appended again. As long as its
connection lasts, or has lasted some seconds ago, nobody takes over what it has claimed.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from atlas.errors import ConfigError, StoreError
from atlas.memory.backend import ConnectionLost
from atlas.memory.postgres_connection import PostgresConnection
from atlas.memory.postgres_driver import line
from atlas.memory.postgres_url import Place, read
from atlas.traces.server_schema import APPEND, APPLICATION, LOCK, MADE, OLDEST, RESTORE, SCHEMA_VERSION, TABLES

T = TypeVar("T")

GRACE = 10.0
"""Seconds after which a process that is not heard of any more is taken for gone."""
PING = 2.5
"""Seconds between two words of a process that it is there."""
SYNC_EVERY = 1.0
"""Seconds after which at the latest what was appended is on the server's disk."""
_PART = 500
"""Lines that are read at once."""
_TRIES = 5


class RunConnection(PostgresConnection):
    """Shared by the threads of a process. ``{n}`` in a statement stands for the schema's name in a text."""

    what, look = "run", "atlas traces show"
    table = "run_store"

    def __init__(self, place: str) -> None:
        self.run = 0
        """The number of the run, once it is known."""
        self.held: set[tuple[int, str]] = set()
        """What is claimed: a process that was taken for gone must not write as if nothing had happened."""
        self.generation = 0
        """Grows when a connection is made anew."""
        self._member, self._appended, self._unsure = 0, 0, False
        self._recent: deque[tuple[int, str, tuple[bytes, ...]]] = deque()
        """What may not be on the server's disk yet, by the member's count before it."""
        self._synced = time.monotonic()
        self._locked = False
        self._stop = threading.Event()
        super().__init__(place)

    def _where(self, place: str) -> Place:
        return read(place)

    def _said(self, statement: str) -> str:
        made = super()._said(statement).replace("{n}", self.where.schema)
        return made.replace("{grace}", f"{GRACE:g}")

    def prepare(self, *, make: bool) -> bool:
        """Whether there are tables of runs, which are made where ``make``. Raises StoreError for those of others."""
        server = self._db.info.server_version
        if server < OLDEST * 10_000:
            raise StoreError(
                f"{self.path} is on PostgreSQL {server // 10_000}, and a run needs {OLDEST} or newer: upgrade the "
                "server"
            )
        encoding, closed, there = self.rows(_SERVER, [f"{self.schema}.run_store"])[0]
        if encoding != "UTF8":
            raise StoreError(
                f"the database of {self.path} keeps texts as {encoding}, which loses some: make one with 'createdb -E "
                "UTF8'"
            )
        if closed and make:
            raise StoreError(f"{self.path} cannot be written, as its server lets nothing be: record elsewhere")
        if not there and make:
            self.whole(self._create)
            there = True
        if there:
            self._check()
        return bool(there)

    def _create(self) -> None:
        name = self.where.schema
        first = f"BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('atlas {name}', 0)); "
        with self._lock, self.begun(f"{first}SELECT 0, pg_current_xact_id()::text"):
            if self.rows("SELECT to_regclass(%s) IS NOT NULL", [f"{self.schema}.run_store"])[0][0]:
                return
            taken = self.rows(_TAKEN, [name])[0][0]
            memory = self.rows("SELECT to_regclass(%s) IS NOT NULL", [f"{self.schema}.memory"])[0][0]
            if taken and not memory:
                raise StoreError(
                    f"the schema {name} of {self.path} holds another program's tables: name another with schema=NAME"
                )
            there = self.rows("SELECT count(*) FROM pg_namespace WHERE nspname = %s", [name])[0][0]
            self._wrote = True
            self.plain(
                f"{'' if there else 'CREATE SCHEMA {s};'}{MADE};"
                f"INSERT INTO {{s}}.run_store VALUES ('{APPLICATION}', {SCHEMA_VERSION}, 1)"
            )

    def _check(self) -> None:
        try:
            found = self.rows("SELECT application, schema_version FROM {s}.run_store")
        except StoreError as error:
            if error.__cause__ is None:
                raise
            raise StoreError(
                f"the schema {self.where.schema} of {self.path} holds no runs that its user may read "
                f"({line(error.__cause__, self.where)}): grant the rights, or name another with schema=NAME"
            ) from error
        if len(found) != 1 or found[0][0] != APPLICATION:
            raise StoreError(self.damaged("its table run_store is another program's, or is not as it was"))
        if found[0][1] > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer atlas (runs of schema {found[0][1]}, this one reads "
                f"{SCHEMA_VERSION}): upgrade atlas-cascade, or use another schema"
            )
        self.unmarked = found[0][1] < 2

    def whole(self, do: Callable[[], T]) -> T:
        """What ``do`` returns, a transaction: done again where the connection broke and nothing was written."""
        for _ in range(_TRIES - 1):
            with suppress(ConnectionLost):
                return do()
        return do()

    # --- a member of the run ------------------------------------------------------------------------------------------

    def member(self) -> int:
        """This process's number in the run."""
        with self._lock:
            if not self._member:
                query = "INSERT INTO {s}.run_members (run) VALUES (%s) RETURNING member"
                self._member = int(self.rows(query, [self.run])[0][0])
                self._lock_member()
                threading.Thread(
                    target=_keep, args=(weakref.ref(self), self._stop), name="atlas-run", daemon=True
                ).start()
            return self._member

    def _lock_member(self) -> None:
        self._locked = bool(self.rows(LOCK, [self._member])[0][0])

    def _connected(self) -> None:
        self.generation += 1
        self._locked = False
        if not self._member:
            return
        import psycopg

        keys = [text for _, text in self.held]
        holders = [holder for holder, _ in self.held]
        me, run = self._member, self.run
        try:
            # Where the old connection still has it, it is taken with the next word that this process is there.
            self._locked = bool(self._db.execute(self._said(LOCK), [me]).fetchone()[0])
            self._db.execute(self._said(RESTORE), [keys, holders, run, me, run, me, me, run, me])
        except psycopg.Error as error:
            raise StoreError(f"{self.path} cannot be written ({line(error, self.where)}): check the server") from error

    def ping(self) -> None:
        """Say that this process is there."""
        with self._lock:
            if self._member and not self._closed:
                if not self._locked:
                    self._lock_member()
                self.rows("UPDATE {s}.run_members SET seen = now() WHERE member = %s RETURNING 1", [self._member])

    def present(self) -> None:
        """Raises StoreError where others have taken this process for gone, and it had claimed something."""
        with self._lock:
            gone = self.rows("SELECT gone FROM {s}.run_members WHERE member = %s", [self.member()])
            if not gone or (gone[0][0] and self.held):
                raise StoreError(
                    f"{self.path} was out of reach for more than {GRACE:g} s, and another process has taken over what "
                    "this one was at: the same command again goes on"
                )
            if gone[0][0]:
                self.rows("UPDATE {s}.run_members SET gone = false, seen = now() WHERE member = %s", [self._member])

    def append(self, log: str, lines: Sequence[bytes], *, lasting: bool) -> None:
        """Append lines to a log of the run, exactly once."""
        with self._lock:
            member = self.member()
            if self._unsure:
                self._appended, self._unsure = self._counted(member), False
                self._recent.clear()
            at, now = self._appended, time.monotonic()
            lasting = lasting or now - self._synced >= SYNC_EVERY
            self._recent.append((at, log, tuple(lines)))
            self._unsure = True
            if not self._sent_lines(member, at, log, lines, lasting):
                self._again(member, at)
                lasting = True
            self._unsure = False
            self._appended = at + 1
            if lasting:
                self._recent.clear()
                self._synced = now

    def _sent_lines(self, member: int, at: int, log: str, lines: Sequence[bytes], lasting: bool) -> bool:
        count = len(lines)
        given = [member, at, bool(self.held), log, count, count, "on" if lasting else "off", list(lines)]
        return bool(self.rows(APPEND, given))

    def _again(self, member: int, at: int) -> None:
        """It was not appended: it had been before a connection broke, or the server lost what was before it, or this
        process was taken for gone."""
        self.present()
        there = self._counted(member)
        for number, log, lines in [one for one in self._recent if one[0] >= there]:
            if not self._sent_lines(member, number, log, lines, lasting=True):
                raise StoreError(self.damaged("it counts other lines than were appended"))
        if self._counted(member) != at + 1:
            raise StoreError(self.damaged("lines that were appended are not there any more"))

    def _counted(self, member: int) -> int:
        return int(self.rows("SELECT appended FROM {s}.run_members WHERE member = %s", [member])[0][0])

    def lines(self, log: str, after: int) -> Iterator[tuple[int, bytes]]:
        """(number, line) of the lines of a log after a number."""
        query = "SELECT number, line FROM {s}.run_lines WHERE run = %s AND log = %s AND number > %s ORDER BY number"
        while True:
            found = self.rows(f"{query} LIMIT {_PART}", [self.run, log, after], binary=True)
            for number, text in found:
                yield number, bytes(text) + b"\n"
            if len(found) < _PART:
                return
            after = found[-1][0]

    def at(self, log: str, numbers: Sequence[int]) -> Iterator[bytes]:
        """The lines with these numbers."""
        query = "SELECT number, line FROM {s}.run_lines WHERE run = %s AND log = %s AND number = ANY(%s)"
        for start in range(0, len(numbers), _PART):
            part = list(numbers[start : start + _PART])
            found = dict(self.rows(query, [self.run, log, part], binary=True))
            yield from (bytes(found[number]) + b"\n" for number in part if number in found)

    def leave(self) -> None:
        """This process is no member any more; its claims are free."""
        with self._lock, suppress(StoreError):
            self._stop.set()
            member, self._member = self._member, 0
            if member and not self._closed:
                self.rows("DELETE FROM {s}.run_claims WHERE member = %s RETURNING 1", [member])
                self.rows("DELETE FROM {s}.run_members WHERE member = %s RETURNING 1", [member])

    def close(self) -> None:
        self._stop.set()
        super().close()


def _keep(of: weakref.ref[RunConnection], stop: threading.Event) -> None:
    while not stop.wait(PING):
        connection = of()
        if connection is None:
            return
        with suppress(StoreError, ConfigError):  # told to whoever writes
            connection.ping()
        del connection


_SERVER = """
    SELECT current_setting('server_encoding'),
        pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', to_regclass(%s) IS NOT NULL"""
_TAKEN = f"""
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname NOT IN
    ({", ".join(f"'{name}'" for name in TABLES)})"""
