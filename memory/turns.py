"""Whose turn it is at a memory, among the threads of a process.

The order of locks: first a store's lock for embedding, then the turn, then locks inside of a backend, an index or an
embedder. What a store remembers of the memory it changes in its turn, under no lock of its own, so that any store may
be called inside a transaction; and who has the turn does not wait for those who embed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Shared by all that use one open memory."""

    def __init__(self) -> None:
        self.undone = 0
        """Transactions that had written and were rolled back: what was read inside of them never was."""
        self._turn = threading.RLock()
        self._turns, self._owner = 0, 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """No other thread of this process looks or writes meanwhile. May be nested."""
        with self._turn:
            self._turns, self._owner = self._turns + 1, threading.get_ident()
            try:
                yield
            finally:
                self._turns -= 1
                self._owner = self._owner if self._turns else 0

    @contextmanager
    def embedding(self, lock: threading.Lock) -> Iterator[None]:
        """Hold ``lock``, so that one thread embeds what is new and the others wait for it, unless this thread has the
        turn: who embeds takes turns as well, and would wait for it in vain."""
        if self._turns and self._owner == threading.get_ident():
            yield
            return
        with lock:
            yield
