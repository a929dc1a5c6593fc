"""Responses that are kept for a while, so that a client may go on from one by its id."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from atlas.errors import ConfigError
from atlas.wire.kept_file import NAME, KeptFile

Item = Mapping[str, Any]

MOST = 1000
LARGEST = 64 << 20


class KeptElsewhere(Protocol):
    """Where responses are that outlive this process."""

    def put(self, owner: str, id: str, talk: Sequence[Item], own: Iterable[str], size: int) -> None: ...

    def talk(self, owner: str, id: str) -> tuple[Item, ...] | None: ...

    def item(self, owner: str, id: str) -> Item | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Response:
    talk: tuple[Item, ...]
    """The items that led to it, and its own."""
    own: tuple[str, ...]
    """The ids of its own."""
    size: int


class Kept:
    """The last ``most`` responses, of ``largest`` bytes in all at the most. Safe from many threads.

    A response is found by who was given it alone. What one went on from is shared with it, not copied. Where there is a
    ``folder`` they are kept there too, with the same bounds, for a server that is started again; or ``elsewhere``, for
    several servers.
    """

    def __init__(
        self,
        most: int = MOST,
        largest: int = LARGEST,
        folder: Path | None = None,
        elsewhere: KeptElsewhere | None = None,
    ) -> None:
        self._most, self._largest = most, largest
        self._folder = folder
        self._file: KeptElsewhere | None = elsewhere
        if folder is not None and (folder / NAME).exists():
            self._file = KeptFile(folder / NAME, most, largest)
        self._lock = threading.Lock()
        self._responses: OrderedDict[tuple[str, str], _Response] = OrderedDict()
        self._items: dict[tuple[str, str], Item] = {}
        self._size = 0

    def shelf(self, owner: str) -> Shelf:
        """The responses of one client, or of one key that clients share."""
        return Shelf(self, owner)

    def put(self, owner: str, id: str, items: Iterable[Item], output: Sequence[Item], size: int) -> None:
        """Keep a response: the items it was asked with, whole, and its output. ``size`` is in bytes: of the request."""
        mine = {str(item["id"]): item for item in output if item.get("id")}
        if (file := self._opened()) is not None:
            file.put(owner, id, (*items, *output), mine, size)
        with self._lock:
            self._drop((owner, id))
            self._responses[owner, id] = _Response((*items, *output), tuple(mine), size)
            self._items.update({(owner, name): item for name, item in mine.items()})
            self._size += size
            while len(self._responses) > 1 and (len(self._responses) > self._most or self._size > self._largest):
                self._drop(next(iter(self._responses)))

    def talk(self, owner: str, id: str) -> tuple[Item, ...]:
        """The conversation up to a response and with it."""
        with self._lock:
            found = self._responses.get((owner, id))
            if found is not None:
                self._responses.move_to_end((owner, id))
                return found.talk
        before = self._file.talk(owner, id) if self._file is not None else None
        if before is None:
            raise ConfigError(
                f"no response {id!r} is kept here (it had store=false, or was forgotten): send the whole "
                "conversation as 'input'"
            )
        return before

    def item(self, owner: str, id: str) -> Item:
        """An item of a response's output."""
        with self._lock:
            found = self._items.get((owner, id))
        if found is None and self._file is not None:
            found = self._file.item(owner, id)
        if found is None:
            raise ConfigError(f"no item {id!r} is kept here: send the item itself, not a reference to it")
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self) -> KeptElsewhere | None:
        """The file, made by the first response that is kept: most servers are never asked for any."""
        with self._lock:
            if self._file is None and self._folder is not None:
                self._file = KeptFile(self._folder / NAME, self._most, self._largest)
            return self._file

    def _drop(self, key: tuple[str, str]) -> None:
        gone = self._responses.pop(key, None)
        if gone is not None:
            self._size -= gone.size
            for name in gone.own:
                self._items.pop((key[0], name), None)


@dataclass(frozen=True)
class Shelf:
    """The responses that one owner may go on from."""

    kept: Kept
    owner: str

    def put(self, id: str, items: Iterable[Item], output: Sequence[Item], size: int) -> None:
        self.kept.put(self.owner, id, items, output, size)

    def talk(self, id: str) -> tuple[Item, ...]:
        return self.kept.talk(self.owner, id)

    def item(self, id: str) -> Item:
        return self.kept.item(self.owner, id)
