"""A file of JSON lines that several processes append to, any of which may be killed: written, read, followed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from atlas.errors import StoreError


def append_line(path: Path, content: str | bytes, *, lasting: bool = True) -> None:
    """Append ``content`` as a line in one write under a lock; a line that a killed process left unfinished is closed
    first. It is forced to the disk where it is ``lasting``. Raises StoreError where the file cannot be written."""
    raw = (content.encode() if isinstance(content, str) else content) + b"\n"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                raw = b"\n" + raw
            written = os.write(file, raw)
            while written < len(raw):
                written += os.write(file, raw[written:])
            if lasting:
                os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): make it writable") from error


class FileTail:
    """What is appended to ``path``, by any process: from now on, or all of it where ``whole``."""

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() and not whole else 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that have come since the last call. A line that is still being written comes another time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line


@dataclass(frozen=True)
class Plain:
    """A file of lines as it was when it was looked at. It is handed in open: it may have another name by then."""

    path: Path
    identity: tuple[int, int]
    size: int
    mtime: int

    @classmethod
    def at_path(cls, path: Path) -> Self:
        """Raises FileNotFoundError where there is none."""
        found = os.stat(path)
        return cls(path, (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)

    def lines(self, file: BinaryIO, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """(place, line) from ``start`` on, which is where a line begins; the last one may be cut off."""
        file.seek(start)
        for line in file:
            yield start, line
            start += len(line)

    def at(self, file: BinaryIO, places: Sequence[int]) -> Iterator[bytes]:
        """The lines at these places."""
        for place in places:
            file.seek(place)
            yield file.readline()

    def tail(self, file: BinaryIO) -> bytes:
        """The end of what it held."""
        begin = max(0, self.size - _END)
        return os.pread(file.fileno(), self.size - begin, begin)


_END = 4096


def mend(path: Path) -> None:
    """Cut off a line that a kill left unfinished. Nobody else writes. Raises OSError."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line) if line.endswith(b"\n") else 0
    os.truncate(path, end)
