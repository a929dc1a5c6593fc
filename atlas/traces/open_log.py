"""What open episodes of a run in a folder have beyond their traces: lines of ``open.jsonl``, beside it.

A line says whose it is at its beginning; what else it says is its writer's affair, but for what the episode has used.
The file is written anew, with the lines of open episodes alone, when it has become large, and when it is opened.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from atlas.jsontext import read_json

OPEN = "open.jsonl"
LARGE = 32 << 20
"""Bytes from which on it is looked whether most of the file is of episodes that are over."""
_GROWN = 4
"""How many times as large it is by then as when it was written anew."""
_LINE = re.compile(rb'\{"type":"(open|had|over)","episode":"([^"\\]+)"')


class OpenLog:
    """The file, for appending. Several processes may write one. What is written survives this process at once, and a
    power cut once it is forced to the disk by :meth:`sync`. Raises OSError where nothing can be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self._end = -1
        """Size of the file after what was written here last."""
        self._small = self._synced = 0
        with self._locked():
            self._anew()

    def append(self, line: bytes) -> None:
        line += b"\n"
        with self._locked() as size:
            # What this process wrote last is whole; what others wrote may have been cut off.
            if size and size != self._end and os.pread(self._file, 1, size - 1) != b"\n":
                line = b"\n" + line
            self._end = -1
            _write(self._file, line)
            self._end = size + len(line)
            if self._end > max(LARGE, _GROWN * self._small):
                self._anew()

    def sync(self) -> None:
        """Force it to the disk."""
        if self._synced != (end := self._end):
            os.fsync(self._file)
            self._synced = end

    def close(self) -> None:
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """It is this process's inside. Gives its size."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        while not (found := os.fstat(self._file)).st_nlink:
            # Another process has written it anew.
            os.close(self._file)
            self._file = _opened(self._path)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        held = self._file
        try:
            yield found.st_size
        finally:
            with suppress(OSError):  # it was replaced, and with it the lock
                fcntl.flock(held, fcntl.LOCK_UN)

    def _anew(self) -> None:
        """Leave in it what is open. Whole or not at all: a process that is killed leaves the file as it was."""
        lines = [line for lines in open_lines(self._path).values() for line in lines]
        if sum(map(len, lines)) < os.fstat(self._file).st_size:
            made = self._path.with_name(f"{OPEN}.new")
            file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _write(file, b"".join(lines))
            finally:
                os.close(file)
            # Who waits for the lock of the old one looks whether it is still there.
            os.replace(made, self._path)
            os.close(self._file)
            self._file = _opened(self._path)
        self._end = self._small = os.fstat(self._file).st_size


def open_lines(path: Path) -> dict[str, list[bytes]]:
    """The lines of the episodes that are not over, by id."""
    found: dict[str, list[bytes]] = {}
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            said = _LINE.match(line)
            if said is None or not line.endswith(b"}\n"):
                continue  # a line that a kill cut off
            if said[1] == b"over":
                found.pop(said[2].decode(), None)
            else:
                found.setdefault(said[2].decode(), []).append(line)
    return found


def owner_of(lines: Iterable[bytes]) -> str:
    """Whose an open episode is; empty where its lines do not say."""
    for line in lines:
        if line.startswith(b'{"type":"open"'):
            with suppress(ValueError, KeyError, TypeError):
                return str(read_json(line)["owner"])
    return ""


def used(path: Path) -> Mapping[str, Iterable[Any]]:
    """What open episodes have used by now, as their newest lines say it."""
    found = {}
    for id, lines in open_lines(path).items():
        newest = next((line for line in reversed(lines) if line.startswith(b'{"type":"open"')), b"")
        with suppress(ValueError, KeyError, TypeError):
            found[id] = list(read_json(newest)["state"]["spend"])
    return found


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)


def _write(file: int, content: bytes) -> None:
    written = os.write(file, content)
    while written < len(content):
        written += os.write(file, content[written:])
