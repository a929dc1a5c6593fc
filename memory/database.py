"""What a memory holds, in whatever database: items, every version of them, freezing, and embeddings of texts.

An item is a demonstration or a pamphlet entry. It has a status, and one write of some items is one version: with an
author, a reason, and what it takes to go back. The modules above turn records into items and read versions; the one
below (:mod:`atlas.memory.backend`) keeps them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, get_args

from atlas.errors import ConfigError, FrozenMemory, StoreError
from atlas.given import shown, whole
from atlas.jsontext import read_json
from atlas.memory import rows
from atlas.memory.backend import KINDS, SEARCHED, Changed, ConnectionLost, open_backend
from atlas.memory.backend import STATUSES as STATUSES
from atlas.memory.backend import Backend as Backend
from atlas.memory.backend import Item as Item
from atlas.memory.backend import Kind as Kind
from atlas.memory.backend import Status as Status
from atlas.memory.backend import Version as Version
from atlas.memory.turns import Turns
from atlas.record import Record
from atlas.redact import scrub

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Closes(Protocol):
    """What is open as long as a memory is."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closes)

AUTHORS = "trace:RUN/EPISODE, person:NAME, rule:NAME or import:FILE"
_AUTHOR = re.compile(r"(trace|person|rule|import):.+", re.DOTALL)
_ROLLBACK = "rollback to "
_TRIES = 5


class Write(NamedTuple):
    """What is to be written of an item. A record or status of None stays as it is; a new item is ``admitted``."""

    kind: Kind
    id: str
    status: Status | None = None
    record: str | None = None
    only_new: bool = False
    """Leave an item that is there already as it is."""


class State(NamedTuple):
    """An item at one version; ``absent`` where it was not there."""

    status: Status
    record: str


class Change(NamedTuple):
    """What a version did to an item."""

    kind: Kind
    id: str
    before: State
    after: State


class Freeze(NamedTuple):
    """Why a memory may not be written."""

    author: str
    reason: str
    time: float


def check_place(given: object) -> None:
    """Raises ConfigError for what is neither a path nor a database: a file would be made that is named so."""
    if not isinstance(given, str | Path | Database):
        raise ConfigError(f"a memory is at a path or a URL, not at {shown(given)}: name a file, such as memory.sqlite")


class Database(Turns):
    """A memory that is open; many may be open on it at once, in this process and in others.

    What is not about versions is read from :attr:`backend`, and written to it inside of a :meth:`transaction`.

    A transaction or a reading is a turn: :mod:`atlas.memory.turns` has the order of locks.
    """

    def __init__(self, where: str | Backend) -> None:
        """
        where: a path, ``":memory:"``, the URL of another database (:data:`atlas.memory.backend.BACKENDS`), or one that
            is open, which is closed with this.
        """
        super().__init__()
        self.backend = open_backend(where) if isinstance(where, str) else where
        self.path = self.backend.path
        self._depth = 0
        """Transactions that are under way, one within the other."""
        self._beside: dict[str, Closes] = {}

    @property
    def read_only(self) -> bool:
        """Whether the database cannot be written. Those of others need not say: they are then taken to be writable."""
        return bool(getattr(self.backend, "read_only", False))

    @property
    def _unwritable(self) -> str:
        """Why it is read-only."""
        return str(getattr(self.backend, "unwritable", "its file or the folder around it cannot be written"))

    def close(self) -> None:
        for beside in self._beside.values():
            beside.close()
        self._beside.clear()
        self.backend.close()

    def beside(self, name: str, make: Callable[[], C]) -> C:
        """What ``make`` gives, once for all who ask for ``name``; it is closed with this."""
        with self.turn():
            if name not in self._beside:
                self._beside[name] = make()
            return self._beside[name]  # type: ignore[return-value]

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As :meth:`Backend.transaction`; raises FrozenMemory when the memory is frozen, or cannot be written."""
        self.check_writable()
        with self._written():
            frozen = self.frozen()
            if frozen:
                raise FrozenMemory(
                    f"the memory {self.path} is frozen by {frozen.author} ({frozen.reason}): "
                    f"'atlas memory freeze {self.path} --off' lets it be written again"
                )
            yield

    def check_writable(self) -> None:
        """Raises FrozenMemory where nothing can be written, for whoever it is."""
        if self.read_only:
            raise FrozenMemory(
                f"the memory {self.path} is used as it is, as {self._unwritable}: copy it to where it can be"
            )

    @contextmanager
    def _written(self) -> Iterator[None]:
        with self.turn():
            wrote = False
            self._depth += 1
            try:
                with self.backend.transaction():
                    before = self.backend.stamp()
                    try:
                        yield
                    finally:
                        wrote = self.backend.stamp() != before
            except BaseException:
                self.undone += wrote  # also where it failed at its very end
                raise
            finally:
                self._depth -= 1

    @property
    def settled(self) -> bool:
        """Whether no transaction is under way, of which what is read may yet be undone."""
        return not self._depth

    def whole(self, do: Callable[[], T]) -> T:
        """What ``do`` returns, which writes all or nothing. It is called again where the connection to a server broke:
        nothing was written then. Inside of a transaction that is its owner's affair."""
        for _ in range(_TRIES - 1):
            try:
                return do()
            except ConnectionLost:
                with self.turn():
                    if self._depth:
                        raise
        return do()

    def write(self, writes: Sequence[Write], *, author: str, reason: str, action: str = "write") -> list[bool]:
        """Write all or nothing, as one version; True for each that changed something.

        author: ``trace:RUN/EPISODE``, ``person:NAME``, ``rule:NAME`` or ``import:FILE``.
        reason: why, in words for the log.

        Where nothing changes no version is made. Raises FrozenMemory when the memory is frozen, and StoreError for an
        item that is not there when no record is given.
        """
        _check_author(author)
        return self.whole(lambda: self._write(writes, author, reason, action))

    def _write(self, writes: Sequence[Write], author: str, reason: str, action: str) -> list[bool]:
        with self.transaction():
            return self.write_within(writes, author=author, reason=reason, action=action)

    def write_within(self, writes: Sequence[Write], *, author: str, reason: str, action: str = "write") -> list[bool]:
        """As :meth:`write`, inside of a :meth:`transaction` that ends with whatever this raises."""
        _check_author(author)
        number = 0
        done = []
        for write in writes:
            if write.status is not None and write.status not in get_args(Status):
                raise ConfigError(f"there is no status {shown(write.status)}: choose among {', '.join(STATUSES)}")
            item = self.backend.item(write.kind, write.id)
            before = item.status if item else "absent"
            changed = not (write.only_new and before != "absent")
            record = write.record if write.record is not None else item.record if item else None
            if record is None:
                raise StoreError(f"there is no {write.kind} {write.id} in {self.path}")
            status = write.status or ("admitted" if before == "absent" else before)
            replaced = item.record if item and item.record != record else None
            changed = changed and (status != before or replaced is not None)
            if changed:
                number = number or self._new_version(author, reason, action)
                self.backend.put(Item(0, write.kind, write.id, status, record, number), before, replaced)
            done.append(changed)
        return done

    def new_version(self, author: str, reason: str) -> int:
        """Begin a version of which the caller tells what it changed; inside of a :meth:`transaction`."""
        _check_author(author)
        return self._new_version(author, reason, "write")

    def rollback(self, to: int, *, author: str, reason: str) -> list[Change]:
        """Bring back the memory as it was at version ``to``, as a new version; what that changed.

        Items that were added later stay, as if they were not there. Raises StoreError when the memory is frozen, or has
        no such version.
        """
        return self.whole(lambda: self._rollback(to, author, reason))

    def _rollback(self, to: int, author: str, reason: str) -> list[Change]:
        with self.transaction():
            head = self.head()
            writes = [Write(kind, name, then.status, then.record) for (kind, name), then in self.since(to).items()]
            self.write(writes, author=author, reason=reason, action=f"{_ROLLBACK}{to}")
            return self.version(self.head())[1] if self.head() > head else []

    # --- reading ------------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read inside is as it was at the first look."""
        with self.turn(), self.backend.reading():
            yield

    def stamp(self) -> object:
        """Compares unequal once anybody has written; a few microseconds to read."""
        return self.backend.stamp()

    def get(self, kind: Kind, item_id: str) -> Item | None:
        """The item, whatever its status; None where there is none."""
        item = self.backend.item(kind, item_id) if isinstance(item_id, str) else None
        return None if item is None or item.status == "absent" else item

    def rows(self, kind: Kind, after: int = 0) -> list[Item]:
        """The items that changed after version ``after``, of whatever status (also ``absent``), in insertion order.

        Writers take turns, so what was read up to the highest version among the rows never has to be read again.
        """
        return self.backend.items(kind, after)

    def marks(self, kind: Kind, after: int = 0) -> list[Item]:
        """As :meth:`rows`, without the records where the database can leave them out: of a great memory they are more
        than is held at once. :meth:`whole_rows` reads them."""
        listed = getattr(self.backend, "marks", None)
        return list(listed(kind, after)) if listed is not None else self.backend.items(kind, after)

    def whole_rows(self, marks: Iterable[Item]) -> list[Item]:
        """Those that :meth:`marks` gave, with their records as they are now."""
        found = (mark if mark.record else self.backend.item(mark.kind, mark.id) for mark in marks)
        return [item for item in found if item is not None]

    def find(self, beginning: str) -> list[Item]:
        """The items, of any kind, whose id begins so."""
        return [item for item in self.backend.beginning(beginning) if item.status != "absent"]

    def count(self, kind: Kind, statuses: Collection[Status] = SEARCHED) -> int:
        return self.backend.count(kind, statuses)

    # --- versions -----------------------------------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        return self.backend.versions()

    def head(self) -> int:
        """The number of the newest version; 0 for an empty memory."""
        return self.backend.head()

    def version(self, number: int) -> tuple[Version, list[Change]]:
        """A version and what it did. Raises StoreError for a number that is not there."""
        with self.reading():
            found = self.backend.version(number)
            if found is None:
                raise StoreError(self._no_version(number))
            later = _replaced(self.backend.changes(number))
            done: list[tuple[int, Change]] = []
            for change in self.backend.changes(number - 1, number):
                item = self.backend.item(change.kind, change.id)
                if item is None:
                    continue
                left = later.get((change.kind, change.id), item.record)
                was = State(change.before, left if change.replaced is None else change.replaced)
                done.append((item.seq, Change(change.kind, change.id, was, State(change.after, left))))
        return found, [change for _, change in sorted(done, key=lambda one: one[0])]

    def history(self, kind: Kind, item_id: str) -> list[tuple[Version, Change]]:
        """The versions that changed an item, oldest first, and what each did to it."""
        with self.reading():
            item = self.backend.item(kind, item_id)
            past = []
            record = item.record if item else ""
            for change in reversed(self.backend.changes(item=(kind, item_id))):
                left, record = record, record if change.replaced is None else change.replaced
                version = self.backend.version(change.version)
                if version is not None:
                    past.append(
                        (version, Change(kind, item_id, State(change.before, record), State(change.after, left)))
                    )
        return past[::-1]

    def since(self, number: int) -> dict[tuple[Kind, str], State]:
        """How the items that changed after version ``number`` were at that version."""
        with self.reading():
            if not whole(number) or not 0 <= number <= self.head():
                raise StoreError(self._no_version(number))
            changes = self.backend.changes(number)
            items = sorted(item for kind in KINDS for item in self.backend.items(kind, number))
        before: dict[tuple[Kind, str], Status] = {}
        for change in changes:
            before.setdefault((change.kind, change.id), change.before)
        records = _replaced(changes)
        keys = {(item.kind, item.id): item.record for item in items}
        return {key: State(before[key], records.get(key, record)) for key, record in keys.items()}

    def rolled_back(self, number: int) -> bool:
        """Whether a rollback since has undone version ``number``."""
        later = self.backend.versions(number, _ROLLBACK)
        return any(int(version.action.removeprefix(_ROLLBACK)) < number for version in later)

    # --- facts about the whole ----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Tells this memory from others, wherever its file is moved or copied."""
        return self.backend.fact("id") or ""

    def frozen(self) -> Freeze | None:
        """Who froze it and why; None where it may be written. What cannot be written is as good as frozen."""
        found = self.backend.fact("frozen")
        if found:
            try:
                return Freeze(**read_json(found))
            except (ValueError, TypeError):
                return Freeze("rule:unknown", "who froze it, and why, cannot be read", 0.0)
        return Freeze("rule:read-only", self._unwritable, 0.0) if self.read_only else None

    def set_frozen(self, on: bool, *, author: str, reason: str) -> bool:
        """Freeze the memory, or let it be written again; False where it was so already."""
        _check_author(author)
        self.check_writable()
        return self.whole(lambda: self._set_frozen(on, author, reason))

    def _set_frozen(self, on: bool, author: str, reason: str) -> bool:
        with self._written():
            if on == (self.frozen() is not None):
                return False
            self._new_version(author, reason, "freeze" if on else "unfreeze")
            said = json.dumps(Freeze(_storable(author), _storable(reason), time.time())._asdict())
            self.backend.set_fact("frozen", said if on else None)
            return True

    # --- embeddings ---------------------------------------------------------------------------------------------------

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """The stored embeddings among ``hashes``, as float32 bytes."""
        return self.backend.vectors(embedder, hashes)

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep embeddings for the next process; a frozen memory keeps none, nor does a file that was deleted or
        replaced while it was open."""
        if self.frozen() or getattr(self.backend, "gone", False):
            return
        given = list(rows)
        self.whole(lambda: self._put_vectors(embedder, given))

    def _put_vectors(self, embedder: str, rows: Sequence[tuple[str, bytes]]) -> None:
        with self._written():
            if self.frozen() is None:  # it may have been frozen while this waited for its turn
                self.backend.put_vectors(embedder, rows)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _new_version(self, author: str, reason: str, action: str) -> int:
        # Both in one look; a line between them, so that nothing is read across.
        author, _, reason = _storable(f"{author}\0\n{reason}").partition("\0\n")
        return self.backend.new_version(author, reason, action)

    def _no_version(self, number: int) -> str:
        return f"there is no version {number} in {self.path}: it has versions 0 (empty) to {self.head()}"


def _replaced(changes: Iterable[Changed]) -> dict[tuple[Kind, str], str]:
    """The records as they were before ``changes``, of the items whose record one of them replaced."""
    # Going back is what is stored, so the record that a version left is the one that the next replaced.
    found: dict[tuple[Kind, str], str] = {}
    for change in changes:
        if change.replaced is not None:
            found.setdefault((change.kind, change.id), change.replaced)
    return found


def parsed(item: Item, model: type[R], path: str) -> R:
    """The record of an item. Raises StoreError where the file at ``path`` holds something else in its place."""
    return rows.record(model, item.record, f"the {item.kind} {item.id}", path)


def _check_author(author: str) -> None:
    if not isinstance(author, str) or not _AUTHOR.fullmatch(author):
        raise StoreError(f"{author!r} is no author of a change: write {AUTHORS}")


def _storable(text: str) -> str:
    """As text, which names of files need not be, and without secrets: goals are quoted in reasons."""
    if not isinstance(text, str):
        raise ConfigError(f"the reason of a change is a text, not {shown(text)}: say why in words")
    return scrub(text.encode("utf-8", "replace").decode())
