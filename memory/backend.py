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
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.memory.uplift import Trial

BACKENDS = {"sqlite": "atlas.memory.sqlite:SqliteBackend"}
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


_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


def is_url(where: str) -> bool:
    """Whether ``where`` names a backend, and is no path."""
    return _URL.fullmatch(where) is not None


def open_backend(where: str) -> Backend:
    """The database at a path, or at ``NAME://PLACE``. Raises ConfigError for a name that is not in the table."""
    found = _URL.fullmatch(where)
    name, place = found.groups() if found else ("sqlite", where)
    if name not in BACKENDS:
        raise ConfigError(
            f"{where!r} names no database that a memory can be in: give a path, or one of "
            f"{', '.join(f'{known}://' for known in sorted(BACKENDS))}"
        )
    module, _, kind = BACKENDS[name].partition(":")
    backend: Backend = getattr(import_module(module), kind)(place)
    return backend
