"""A run on a PostgreSQL server: what a folder holds, as rows. Processes on many machines may write it."""

from __future__ import annotations

import os
import re
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import ConfigError, StoreError
from atlas.jsontext import read_json
from atlas.memory.postgres_url import read, renamed
from atlas.records import Usage
from atlas.traces import server_connection
from atlas.traces.claims import most, summed
from atlas.traces.heads import Whole
from atlas.traces.index import Index, index_of
from atlas.traces.open_state import OpenState
from atlas.traces.place import MANIFEST, TRACE, Decides, Manifest, Part, checked, late, written
from atlas.traces.server_connection import RunConnection
from atlas.traces.server_copy import beside, read_open, states, write_open
from atlas.traces.server_prune import ServerAlone
from atlas.traces.server_schema import CLAIM, OTHERS, RELEASE, SPEND

if TYPE_CHECKING:
    from atlas.traces.reader import StoredEpisode


class _NoRun(StoreError):
    """There is no such run."""


class ServerRun:
    """The run that a URL names (what stands after ``postgresql://``). It connects when it is first asked for anything,
    and is shared by all that one process does with the run: the connection is closed when nothing holds it."""

    def __init__(self, place: str) -> None:
        where = read(place)
        if where.run is None:
            raise ConfigError(f"{where.path} names no run: add &run=NAME (?run=NAME where nothing stands before it)")
        self.name = where.run
        self.path = where.path
        self._place = place
        self._schema = where.schema
        self._lock = threading.Lock()
        self._connection: RunConnection | None = None
        self._pid = 0
        self._parents: list[RunConnection] = []
        """Of the process that this one was forked from: it goes on with them."""
        self._using = 0

    def connection(self, *, make: bool = False) -> RunConnection:
        """The connection. Raises StoreError where there is no such run, unless it is to be made."""
        with self._lock:
            if self._connection is not None and self._pid != os.getpid():
                self._parents.append(self._connection)
                self._connection = None
            if self._connection is None:
                self._connection, self._pid = RunConnection(self._place), os.getpid()
                weakref.finalize(self, _closed, self._connection, os.getpid())
            found = self._connection
            if not found.run:
                there = found.prepare(make=make)
                rows = found.rows("SELECT run FROM {s}.runs WHERE name = %s", [self.name]) if there else []
                found.run = int(rows[0][0]) if rows else 0
            if not found.run and not make:
                raise _NoRun(f"there is no run {self.path}: list those of its schema with 'atlas traces ls'")
            return found

    @property
    def generation(self) -> int:
        """Grows when the connection is made anew."""
        return self._connection.generation if self._connection is not None else 0

    def use(self) -> RunConnection:
        """The connection, for writing, until :meth:`leave`."""
        found = self.connection()
        with self._lock:
            self._using += 1
        return found

    def leave(self) -> None:
        with self._lock:
            self._using -= 1
        if not self._using and self._connection is not None and self._pid == os.getpid():
            self._connection.leave()
            self._connection.close()
            self._connection = None

    def manifest(self) -> Manifest:
        found = self.connection()
        kept, copying = found.rows("SELECT manifest, copying FROM {s}.runs WHERE run = %s", [found.run])[0]
        if copying:
            raise StoreError(f"{self.path} is a half copy: the same 'atlas traces copy' finishes it")
        return _parsed(kept, self.path)

    def open(self, decide: Decides) -> ServerTrace:
        found = self.connection(make=True)

        def opening() -> None:
            with found.transaction():
                rows = found.rows("SELECT run, manifest, copying FROM {s}.runs WHERE name = %s", [self.name])
                if rows and rows[0][2]:
                    raise StoreError(f"{self.path} is a half copy: the same 'atlas traces copy' finishes it")
                number = rows[0][0] if rows else 0
                query = "SELECT lines FROM {s}.run_logs WHERE run = %s AND log = %s"
                begun = bool(number and found.rows(query, [number, TRACE]))
                made = decide((lambda: _parsed(rows[0][1], self.path)) if rows else None, begun)
                if made is not None:
                    query = (
                        "INSERT INTO {s}.runs (name, manifest) VALUES (%s, %s) "
                        "ON CONFLICT (name) DO UPDATE SET manifest = excluded.manifest RETURNING run"
                    )
                    number = found.written(query, [self.name, written(made)])[0][0]
                found.run = int(number)

        found.whole(opening)
        return ServerTrace(self)

    def log(self, name: str) -> ServerLog:
        return ServerLog(self, name)

    def held(self, spent: Callable[[], Usage] | None) -> ServerClaims:
        return ServerClaims(self, spent)

    @contextmanager
    def alone(self) -> Iterator[ServerAlone]:
        yield ServerAlone(self)

    def memory(self, name: str) -> str:
        said = f"{self._schema}/{self.name}/{name}"
        slug = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self._schema}_{self.name}_{name}")[:50]
        return "postgresql://" + renamed(self._place, f"{slug}_{blake2b(said.encode(), digest_size=4).hexdigest()}")

    def unended(self) -> Mapping[str, Iterable[Any]]:
        return {id: read_json(state)["spend"] for id, state in states(self.connection())}

    def beside(self) -> Iterator[tuple[str, bytes]]:
        yield from beside(self.connection())

    # --- copies -------------------------------------------------------------------------------------------------------

    def open_states(self) -> Mapping[str, OpenState]:
        return read_open(self.connection())

    def keep_open(self, those: Mapping[str, OpenState], episodes: Mapping[str, StoredEpisode]) -> None:
        write_open(self.connection(), those, episodes)

    def found(self) -> tuple[Manifest | None, str | None]:
        with suppress(_NoRun):
            found = self.connection()
            text, becomes = found.rows("SELECT manifest, copying FROM {s}.runs WHERE run = %s", [found.run])[0]
            return _parsed(text, self.path), becomes
        return None, None

    def begin(self, manifest: Manifest, becomes: str) -> None:
        found = self.connection(make=True)
        query = (
            "INSERT INTO {s}.runs (name, manifest, copying) VALUES (%s, %s, %s) "
            "ON CONFLICT (name) DO UPDATE SET copying = excluded.copying RETURNING run"
        )
        found.run = int(found.rows(query, [self.name, written(manifest), becomes])[0][0])

    def finish(self, manifest: Manifest) -> None:
        found = self.connection()
        query = "UPDATE {s}.runs SET manifest = %s, copying = NULL WHERE run = %s RETURNING run"
        found.rows(query, [written(manifest), found.run])

    def folder(self) -> Path:
        raise ConfigError(
            f"{self.path} is on a server, and this is done in a run's folder: copy it to one with 'atlas traces copy'"
        )


def runs_in(place: str) -> list[ServerRun]:
    """The runs of a schema, by name. Raises ConfigError for a URL that names one."""
    where = read(place)
    if where.run is not None:
        raise ConfigError(f"{where.path} names one run: leave out run={where.run} to list those of its schema")
    found = RunConnection(place)
    try:
        names = found.rows("SELECT name FROM {s}.runs ORDER BY run") if found.prepare(make=False) else []
    finally:
        found.close()
    sign = "&" if "?" in place else "?"
    return [ServerRun(f"{place}{sign}run={name}") for (name,) in names]


def _parsed(text: str, path: str) -> Manifest:
    try:
        content = read_json(text)
    except ValueError as error:
        raise StoreError(f"the {MANIFEST} of {path} is no JSON ({error}): restore a copy of its schema") from error
    return checked(content, path)


def _closed(connection: RunConnection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()


class ServerTrace:
    """The trace, for writing. Shared by threads."""

    def __init__(self, run: ServerRun) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._open = True
        run.use()

    def append(self, lines: Sequence[bytes], *, ends: bool) -> None:
        with self._lock:
            if not self._open:
                # It would be a member of the run again, which nobody ends.
                raise late(self._run.path)
            self._run.connection().append(TRACE, lines, lasting=ends)

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                self._run.leave()


class ServerLog:
    """The rows of a log."""

    def __init__(self, run: ServerRun, name: str) -> None:
        self.run = run
        self.name = name
        self.path = f"{name} of {run.path}"
        self._read: tuple[int, Index] | None = None
        """What was read of it last, and by which connection."""

    def append(self, *lines: bytes, lasting: bool = True) -> None:
        self.run.connection().append(self.name, lines, lasting=lasting)

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        for number, line in self.run.connection().lines(self.name, 0):
            yield number, number, line

    def at(self, places: Sequence[int]) -> Iterator[bytes]:
        return self.run.connection().at(self.name, places)

    def mend(self) -> None:
        """Lines are whole here."""

    def indexes(self) -> Iterator[Index]:
        yield index_of(self.lines())

    def parts(self) -> list[Part]:
        before = self.run.connection().generation
        (index,) = self.indexes()
        self._read = (before, index) if before == self.run.generation else None
        return [Whole(index)]

    def damaged(self) -> list[str]:
        return []

    def tail(self, *, whole: bool = False, told: bool = False) -> ServerTail:
        known, self._read = self._read, None
        return ServerTail(self, whole=whole, known=known if whole and told else None)


class ServerTail:
    """The rows that come."""

    def __init__(self, log: ServerLog, *, whole: bool, known: tuple[int, Index] | None = None) -> None:
        """``known``: what need not be read again of it, as long as the connection is that one."""
        self._log = log
        self._known = known
        self._after, self._generation = 0, -1
        if not whole:
            connection = log.run.connection()
            query = "SELECT lines FROM {s}.run_logs WHERE run = %s AND log = %s"
            found = connection.rows(query, [connection.run, log.name])
            self._after, self._generation = (int(found[0][0]) if found else 0), connection.generation

    def lines(self) -> Iterator[bytes]:
        connection = self._log.run.connection()
        if connection.generation != self._generation:
            # A server that crashed may have lost lines that were seen, and has others in their places.
            self._after = 0 if self._generation >= 0 else self._after
            self._generation = connection.generation
        known, self._known = self._known, None
        if known is not None and known[0] == connection.generation:
            for _, line in known[1].told():
                yield line
            self._after = known[1].lines
        for number, line in connection.lines(self._log.name, self._after):
            self._after = number
            yield line


class ServerClaims:
    """:class:`atlas.traces.claims.Claims` on the server: rows that are a process's as long as it is there."""

    def __init__(self, run: ServerRun, spent: Callable[[], Usage] | None) -> None:
        self._run = run
        self._holder = secrets.randbits(62)
        self._ledger = spent is not None
        self._connection = run.use()
        if spent is not None:
            self._join(self._connection, spent)

    @property
    def lag(self) -> float:
        return server_connection.GRACE + 1.0

    def claim(self, key: object) -> bool:
        found, text = self._run.connection(), repr(key)
        with found._lock:
            me = found.member()
            for _ in range(2):
                given = [found.run, text, me, found.run, text, self._holder, me]
                if found.rows(CLAIM, given):
                    found.held.add((self._holder, text))
                    return True
                if not found.rows("SELECT gone FROM {s}.run_members WHERE member = %s AND gone", [me]):
                    break
                found.present()
            return False

    def release(self, key: object) -> None:
        found, text = self._run.connection(), repr(key)
        given = [found.run, text, found.member(), self._holder]
        found.held.discard((self._holder, text))
        found.rows(RELEASE, given)

    def post(self, dollars: float | None, tokens: int) -> None:
        found = self._run.connection()
        used = float("nan") if dollars is None else dollars
        found.rows(SPEND, [found.run, found.member(), self._holder, used, tokens])

    def total(self) -> tuple[float | None, int]:
        found = self._run.connection()
        dollars, tokens = summed(_ledger(found))
        return (None if dollars != dollars else dollars), tokens

    def close(self) -> None:
        try:
            found = self._run.connection()
            query = "DELETE FROM {s}.run_claims WHERE member = %s AND holder = %s RETURNING 1"
            found.rows(query, [found.member(), self._holder])
            found.held = {one for one in found.held if one[0] != self._holder}
        finally:
            self._run.leave()

    def _join(self, found: RunConnection, spent: Callable[[], Usage]) -> None:
        others = [found.run, found.member(), self._holder]
        # Read before its turn, as it takes its time: the run has used that at the least, whoever joins meanwhile.
        used = None if found.rows(OTHERS, others)[0][0] else spent()

        def joining() -> None:
            with found.transaction():
                if used is not None and not found.rows(OTHERS, others)[0][0]:
                    dollars, tokens = most(summed(_ledger(found)), used)
                    found.write("DELETE FROM {s}.run_spend WHERE run = %s", [found.run])
                    found.write("INSERT INTO {s}.run_spend VALUES (%s, 0, 0, %s, %s)", [found.run, dollars, tokens])
                found.write("INSERT INTO {s}.run_spend VALUES (%s, %s, %s, 0, 0)", others)

        found.whole(joining)


def _ledger(found: RunConnection) -> list[tuple[float, int]]:
    rows = found.rows("SELECT dollars, tokens FROM {s}.run_spend WHERE run = %s", [found.run])
    return [(float(dollars), int(tokens)) for dollars, tokens in rows]
