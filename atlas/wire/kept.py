"""Responses that are kept for a while, so that a client may go on from one by its id."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atlas.errors import ConfigError


class Kept:
    """The last ``most`` responses: the items that led to each, and its own. One for each tenant; safe from many
    threads. What a response went on from is shared with it, not copied."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._talks: OrderedDict[str, tuple[Mapping[str, Any], ...]] = OrderedDict()
        self._own: dict[str, list[str]] = {}
        self._items: dict[str, Mapping[str, Any]] = {}

    def put(self, id: str, items: Iterable[Mapping[str, Any]], output: Sequence[Mapping[str, Any]]) -> None:
        """Keep a response: the items it was asked with, whole, and its output."""
        with self._lock:
            self._talks[id] = (*items, *output)
            self._own[id] = [str(item["id"]) for item in output if item.get("id")]
            self._items.update({str(item["id"]): item for item in output if item.get("id")})
            while len(self._talks) > self._most:
                oldest, _ = self._talks.popitem(last=False)
                for item in self._own.pop(oldest):
                    self._items.pop(item, None)

    def talk(self, id: str) -> tuple[Mapping[str, Any], ...]:
        """The conversation up to a response and with it."""
        with self._lock:
            if id not in self._talks:
                raise ConfigError(
                    f"no response {id!r} is kept here (it had store=false, or was forgotten): send the whole "
                    "conversation as 'input'"
                )
            self._talks.move_to_end(id)
            return self._talks[id]

    def item(self, id: str) -> Mapping[str, Any]:
        """An item of a response's output."""
        with self._lock:
            if id not in self._items:
                raise ConfigError(f"no item {id!r} is kept here: send the item itself, not a reference to it")
            return self._items[id]
