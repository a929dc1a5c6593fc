"""What the processes that share a run tell each other: who plays which episode, and what each of them has used.

In a folder it is one small file beside the trace. A claim is a lock on one byte of it, and so is a process's row in the
ledger. The system gives both back when the process is gone, however it went: nothing has to expire, and nothing is
cleaned up. On a server see :class:`atlas.traces.server.ServerClaims`.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from atlas.errors import StoreError
from atlas.records import Usage
from atlas.traces.place import Held, Place, late, place_of

CLAIMS = "claims"
WAIT = 0.2
"""Seconds between two looks at what others are at."""

_ROW = struct.Struct("=dq")
"""Dollars (not a number where they are unknown) and tokens. The first row is what was used before any of the processes
that have the others."""
_FLOCK = struct.Struct("hhqqi0q")
"""``struct flock`` of 64-bit Linux."""

_USUAL = 64 * _ROW.size
"""Bytes that are read at once: few runs have more processes."""

_GUARD, _ROWS, _KEYS = 1 << 40, 1 << 41, 1 << 62
"""The bytes, far behind the content, whose locks say that somebody joins, has a row, or plays an episode."""


class Claims:
    """This process's part in a run. Shared by threads; a forked child takes a row of its own.

    ``spent`` tells what the trace says was used, and is asked where no other process is at work: the run has used that
    at the least, also where the ledger is lost. None takes no row in the ledger, and posts nothing.
    """

    def __init__(self, folder: str | Path | Place, spent: Callable[[], Usage] | None = None) -> None:
        place = place_of(folder)
        self._path = place.path
        self._held = place.held(spent)
        self._lock = threading.Lock()
        self._closed = False

    def claim(self, key: object) -> bool:
        """Whether the episode ``key`` is this process's to play: nobody else is playing it."""
        with self._lock:
            return self._opened().claim(key)

    def claim_of_the_living(self, key: object) -> bool:
        """As :meth:`claim`, but one that a process may have left which is gone is waited for: False says that a process
        has it which is there."""
        deadline = time.monotonic() + self._held.lag
        while not self.claim(key):
            if time.monotonic() > deadline:
                return False
            time.sleep(WAIT)
        return True

    def release(self, key: object) -> None:
        with self._lock:
            if not self._closed:
                self._held.release(key)

    @asynccontextmanager
    async def turn(self, key: object) -> AsyncIterator[None]:
        """``key`` is this process's inside the block; it is waited for."""
        while True:
            if self.claim(key):
                break
            await asyncio.sleep(WAIT)
        try:
            yield
        finally:
            self.release(key)

    def post(self, dollars: float | None, tokens: int) -> None:
        """This process has used so much so far; None where a model has no price."""
        with self._lock:
            self._opened().post(dollars, tokens)

    def total(self) -> tuple[float | None, int]:
        """Dollars and tokens that the run has used, by all of its processes."""
        with self._lock:
            return self._opened().total()

    def close(self) -> None:
        """Everything that was claimed is free. What was used stays in the ledger."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._held.close()

    def _opened(self) -> Held:
        """Raises StoreError once it is closed: its file's number may be another file's by then."""
        if self._closed:
            raise late(self._path)
        return self._held

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileClaims:
    """:class:`Claims` in the run in ``folder``: asked for one thing at a time."""

    lag = 0.0

    def __init__(self, folder: str | Path, spent: Callable[[], Usage] | None = None) -> None:
        self._path = Path(folder) / CLAIMS
        self._ledger = spent is not None
        self._posted = (0.0, 0)
        self._file, self._row, self._offset = self._join(spent)
        self._pid = os.getpid()

    def claim(self, key: object) -> bool:
        self._forked()
        return self._locked(self._file, _byte(key))

    def release(self, key: object) -> None:
        self._locked(self._file, _byte(key), fcntl.F_UNLCK)

    def post(self, dollars: float | None, tokens: int) -> None:
        self._forked()
        self._posted = (math.nan if dollars is None else dollars), tokens
        row = self._posted[0] + self._offset[0], self._posted[1] + self._offset[1]
        os.pwrite(self._file, _ROW.pack(*row), self._row * _ROW.size)

    def total(self) -> tuple[float | None, int]:
        dollars, tokens = summed(self._read(self._file))
        return (None if math.isnan(dollars) else dollars), tokens

    def close(self) -> None:
        os.close(self._file)

    def _join(self, spent: Callable[[], Usage] | None) -> tuple[int, int, tuple[float, int]]:
        """The file, the row that is ours, and what stands in it of a process that is gone."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not self._ledger:
                    return file, 0, (0.0, 0)
                self._locked(file, _GUARD, wait=True)
                rows = self._read(file) or [(0.0, 0)]
                free = [i for i in range(1, len(rows)) if self._free(file, i)]
                if spent is not None and len(free) == len(rows) - 1:
                    # Nobody reads it now: the rows of those that are gone become one.
                    rows, free = [most(summed(rows), spent())], []
                    os.ftruncate(file, 0)
                    os.pwrite(file, _ROW.pack(*rows[0]), 0)
                mine = free[0] if free else len(rows)
                self._locked(file, _ROWS + mine)
                before = rows[mine] if free else (0.0, 0)
                os.pwrite(file, _ROW.pack(*before), mine * _ROW.size)
                self._locked(file, _GUARD, fcntl.F_UNLCK)
            except BaseException:
                os.close(file)
                raise
        except OSError as error:
            raise StoreError(
                f"what the processes of a run share cannot be kept in {self._path} ({error.strerror}): make the "
                "folder writable, or choose another, on a disk that knows locks"
            ) from error
        return file, mine, before

    def _forked(self) -> None:
        if self._pid != os.getpid():
            # The parent's row stays the parent's, and so do its claims: they end with its own descriptor.
            with suppress(OSError):
                os.close(self._file)
            self._file, self._row, before = self._join(None)
            self._offset = before[0] - self._posted[0], before[1] - self._posted[1]
            self._pid = os.getpid()

    def _free(self, file: int, row: int) -> bool:
        """Whether the process of ``row`` is gone."""
        free = self._locked(file, _ROWS + row)
        if free:
            self._locked(file, _ROWS + row, fcntl.F_UNLCK)
        return free

    @staticmethod
    def _read(file: int) -> list[tuple[float, int]]:
        content = os.pread(file, _USUAL, 0)
        if len(content) == _USUAL:
            content = os.pread(file, os.fstat(file).st_size, 0)
        return list(_ROW.iter_unpack(content[: len(content) - len(content) % _ROW.size]))

    @staticmethod
    def _locked(file: int, byte: int, kind: int = fcntl.F_WRLCK, *, wait: bool = False) -> bool:
        if hasattr(fcntl, "F_OFD_SETLK"):
            # Of the open file, not of the process: two of one process exclude each other, and each frees its own.
            how = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
            try:
                fcntl.fcntl(file, how, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
            except BlockingIOError:
                return False
            return True
        how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.lockf(file, how, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _byte(key: object) -> int:
    """The byte whose lock is the claim of ``key``: the same in every process."""
    return _KEYS + int.from_bytes(blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big")


def summed(rows: list[tuple[float, int]]) -> tuple[float, int]:
    return math.fsum(dollars for dollars, _ in rows), sum(tokens for _, tokens in rows)


def most(ledger: tuple[float, int], spent: Usage) -> tuple[float, int]:
    """What was used by ``ledger`` and by the trace: a killed process may have told the one and not the other."""
    dollars = math.nan if spent.at_most is None else spent.at_most
    if not math.isnan(ledger[0]):
        dollars = max(ledger[0], dollars) if not math.isnan(dollars) else dollars
    return dollars, max(ledger[1], spent.tokens)
