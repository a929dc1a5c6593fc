"""The seam under a memory: what a database has to do for it, and the table of those that can.

Everything above (versions, freezing, retrieval, evidence) is written against :class:`Backend` and knows no SQL. Another
database is one module with a class that does what this says, and one line in :data:`BACKENDS`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from atlas.errors import ConfigError, StoreError
from atlas.given import check_path
from atlas.redact import scrub

if TYPE_CHECKING:
    from atlas.memory.uplift import Trial

BACKENDS = {
    "sqlite": "atlas.memory.sqlite:SqliteBackend",
    "postgresql": "atlas.memory.postgres:PostgresBackend",
    "postgres": "atlas.memory.postgres:PostgresBackend",
}
"""``module:class`` by the name before ``://``; the class is called with what stands after it. A path is SQLite's."""

Kind = Literal["demonstration", "entry"]
Status = Literal["trial", "admitted", "quarantined", "removed", "absent"]
"""``removed`` stays removed when it is learned again; ``absent`` is what a rollback leaves of an item that was added
later: as if it had never been there."""

KINDS: tuple[Kind, ...] = ("demonstration", "entry")
STATUSES: tuple[Status, ...] = ("trial", "admitted", "quarantined", "removed")
"""Those that a person or a rule may give."""
SEARCHED: tuple[Status, ...] = ("trial", "admitted")
"""Those of items that may reach a prompt."""


class Item(NamedTuple):
    """One thing the memory holds."""

    seq: int
    """Grows with every item added, of whatever kind, and is kept for ever."""
    kind: Kind
    id: str
    status: Status
    record: str
    """JSON."""
    version: int
    """The version that changed it last."""

    @property
    def searched(self) -> bool:
        return self.status in SEARCHED


class Version(NamedTuple):
    """One change of the memory. The first has number 1; the empty memory before it is version 0."""

    number: int
    time: float
    """Unix time."""
    author: str
    reason: str
    action: str
    """``write``, ``rollback to N``, ``freeze`` or ``unfreeze``."""


class Changed(NamedTuple):
    """What a version did to an item, as it is kept."""

    version: int
    kind: Kind
    id: str
    before: Status
    after: Status
    replaced: str | None
    """The record that it replaced, where it did."""


class Count(NamedTuple):
    """How many items a version changed in one way."""

    version: int
    before: Status
    after: Status
    edited: bool
    items: int


class Table(NamedTuple):
    """A table of a memory, as it is moved from one database to another."""

    key: tuple[str, ...]
    """The columns by which its rows are told apart and ordered; texts by their code points."""
    rest: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.rest


TABLES = {
    "notes": Table(("seq",), ("namespace", "key", "value", "fields", "ttl", "expires", "created", "updated")),
    "items": Table(("seq",), ("kind", "id", "status", "record", "version")),
    "versions": Table(("number",), ("time", "author", "reason", "action")),
    "changes": Table(("version", "kind", "id"), ("before", "after", "replaced")),
    "meta": Table(("name",), ("value",)),
    "vectors": Table(("embedder", "text_hash"), ("vector",)),
    "outcomes": Table(("seq",), ("episode", "record")),
    "trials": Table(("entry", "episode"), ("task", "seed", "family", "shown", "p", "reward", "dollars", "started")),
    "learned": Table(("source",), ("version",)),
    "langgraph_keys": Table(("kind", "key"), ("id",)),
}
"""All that a memory holds, by table. ``meta`` has its facts."""

Row = tuple[Any, ...]


class Note(NamedTuple):
    """A value that an agent keeps for itself under a key of its own. It is not learned, and has no versions."""

    namespace: tuple[str, ...]
    key: str
    value: str
    """JSON."""
    fields: str | None = None
    """Of the value, which are compared with a query: a JSON list, empty for none; None where its owner did not say."""
    ttl: float | None = None
    """Seconds that it stays after it was last used."""
    expires: float | None = None
    """Unix time; None for never."""
    created: float = 0.0
    updated: float = 0.0


class ConnectionLost(StoreError):
    """A connection broke in the middle of a transaction, of which nothing was written: it may be done again."""


class Backend(Protocol):
    """A database that holds one memory. The threads of a process share it; other processes may have it open too.

    What was written is durable when its transaction has ended. No item, version or change is ever deleted. Whatever
    goes wrong leaves as :class:`atlas.errors.StoreError`, in a sentence.
    """

    path: str
    """What it is called, in errors and to commands: the path of a file, or a URL."""
    file: Path | None
    """The file it is in, beside which others may be put; None where there is none."""

    def close(self) -> None: ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens at once or, if an exception leaves it, not at all. Writers take turns. May be
        nested: what leaves an inner one undoes that alone. All that writes is called inside of one."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """All that is read inside is as it was at the first look. May be nested."""
        ...

    def stamp(self) -> object:
        """Compares unequal once anybody has written; cheap, as every search asks."""
        ...

    # --- items --------------------------------------------------------------------------------------------------------

    def item(self, kind: Kind, item_id: str) -> Item | None:
        """The item, whatever its status."""
        ...

    def items(self, kind: Kind, after: int = 0) -> list[Item]:
        """Those that changed after version ``after``, whatever their status, in the order they were added."""
        ...

    def beginning(self, text: str) -> list[Item]:
        """Those of any kind whose id begins so, in the order they were added."""
        ...

    def count(self, kind: Kind, statuses: Collection[Status]) -> int: ...

    def put(self, item: Item, before: Status, replaced: str | None) -> None:
        """Write the item (its ``seq`` is given here, at its first time) and that version ``item.version`` changed it
        from status ``before`` and, where its record is another one now, from the record ``replaced``. Twice in one
        version is one change: from the first state to the last."""
        ...

    # --- versions -----------------------------------------------------------------------------------------------------

    def new_version(self, author: str, reason: str, action: str) -> int:
        """Begin a version now; its number is one more than that before."""
        ...

    def head(self) -> int:
        """The number of the newest version; 0 for none."""
        ...

    def version(self, number: int) -> Version | None: ...

    def versions(self, after: int = 0, action: str = "") -> list[Version]:
        """Those after number ``after`` whose action begins so, oldest first."""
        ...

    def changes(self, after: int = 0, upto: int | None = None, item: tuple[Kind, str] | None = None) -> list[Changed]:
        """What the versions after number ``after``, as far as ``upto``, did, oldest first: to all items, or to one."""
        ...

    def counts(self) -> list[Count]:
        """How many changes of which sort each version made, oldest first, the most frequent sort of each first."""
        ...

    def times(self, kind: Kind) -> dict[str, tuple[float, float]]:
        """By id, the times of the versions that changed an item first and last."""
        ...

    # --- facts about the whole, and embeddings ------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """What was kept under a name. ``id`` is there from the beginning: it tells this memory from all others."""
        ...

    def set_fact(self, name: str, value: str | None) -> None:
        """Keep ``value`` under a name; None takes away what is there."""
        ...

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """The embeddings by ``embedder`` that are kept of the texts with these hashes."""
        ...

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep embeddings, by hash of their text; what is there stays."""
        ...

    # --- what episodes said -------------------------------------------------------------------------------------------

    def outcomes(self, after: int = 0) -> list[tuple[int, str]]:
        """(number, record) of the outcomes numbered higher than ``after``, in order."""
        ...

    def outcome_count(self) -> int: ...

    def add_outcome(self, episode: str, record: str) -> bool:
        """Keep an outcome under the next number; False where that episode's is there."""
        ...

    def outcome(self, episode: str) -> str | None:
        """The record of that episode's outcome."""
        ...

    def set_outcome(self, episode: str, record: str) -> None:
        """Let the outcome of an episode, which is there, be another one, under its number."""
        ...

    def trials(self, entry: str) -> list[Trial]:
        """Of one entry, by start and episode."""
        ...

    def tried(self) -> list[str]:
        """The entries that have trials, in order."""
        ...

    def put_trials(self, trials: Iterable[Trial]) -> None:
        """Keep trials; one of the same entry and episode is replaced."""
        ...

    # --- marks --------------------------------------------------------------------------------------------------------

    def learned(self, source: str) -> int | None:
        """The version at which the memory had learned from ``source``; None where it has not."""
        ...

    def set_learned(self, source: str, version: int) -> None: ...

    def keys(self, kind: Kind) -> dict[str, str]:
        """The id of the item under each key that a LangGraph store has used; empty where it was deleted."""
        ...

    def keyed(self, kind: Kind, key: str) -> str | None:
        """As :meth:`keys`, for one key; None for a key that was never used."""
        ...

    def set_key(self, kind: Kind, key: str, item_id: str) -> None: ...

    # --- what agents keep for themselves ------------------------------------------------------------------------------

    def note(self, namespace: tuple[str, ...], key: str) -> Note | None:
        """The note, also where its time is over."""
        ...

    def notes(self, within: tuple[str, ...] = ()) -> list[Note]:
        """Those of all namespaces that begin so, in the order in which they were first put."""
        ...

    def namespaces(self, now: float) -> list[tuple[str, ...]]:
        """Of all notes that have not expired by ``now``, each once."""
        ...

    def put_note(self, note: Note) -> None:
        """Keep a note; one under the same key is replaced, and its place in the order stays."""
        ...

    def drop_note(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete a note, if it is there."""
        ...

    def drop_expired(self, now: float) -> None:
        """Delete the notes that have expired by ``now``."""
        ...


@runtime_checkable
class Movable(Backend, Protocol):
    """A database whose memory can be copied to another, and another's to it, as it is."""

    def size(self, table: str) -> int:
        """How many rows one of :data:`TABLES` has."""
        ...

    def dump(self, table: str, after: Row | None, most: int) -> list[Row]:
        """The first ``most`` rows whose key is higher than ``after``, of all where that is None: their columns in the
        order of :data:`TABLES`, and in the order of their keys."""
        ...

    def replace(self, table: str, after: Row | None, upto: Row | None, rows: Sequence[Row]) -> None:
        """Put ``rows`` in place of those whose key is higher than ``after`` and not higher than ``upto``: None for the
        first and the last."""
        ...


_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


def is_url(where: str) -> bool:
    """Whether ``where`` names a backend, and is no path."""
    return _URL.fullmatch(where) is not None


def open_backend(where: str) -> Backend:
    """The database at a path, or at ``NAME://PLACE``. Raises ConfigError for a name that is not in the table."""
    check_path("the memory", where)
    kind, place = _found(where)
    backend: Backend = kind(place)
    return backend


def there(where: str) -> bool:
    """Whether there is a memory, without making one; True where only opening it would tell."""
    kind, place = _found(where)
    return bool(kind.exists(place)) if hasattr(kind, "exists") else True


def existing(where: str) -> str:
    """``where``. Raises StoreError where there is no memory."""
    if not there(where):
        raise StoreError(f"there is no memory at {told(where)}: name the file or the URL of one")
    return where


def told(where: str) -> str:
    """``where`` as it is told, kept and compared: a URL without its password."""
    if not is_url(where):
        return where
    kind, place = _found(where)
    return str(kind.told(place)) if hasattr(kind, "told") else scrub(where)


def _found(where: str) -> tuple[Any, str]:
    """The class, and what it is called with."""
    found = _URL.fullmatch(where)
    name, place = found.groups() if found else ("sqlite", where)
    if name not in BACKENDS:
        raise ConfigError(
            f"{scrub(where)!r} names no database that a memory can be in: give a path, or one of "
            f"{', '.join(f'{known}://' for known in sorted(BACKENDS))}"
        )
    module, _, kind = BACKENDS[name].partition(":")
    return getattr(import_module(module), kind), place
