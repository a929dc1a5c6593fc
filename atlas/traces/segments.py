"""A trace that grows, in a run's folder: closed segments, and behind them the file that is written.

    trace.000001.jsonl.gz    closed, and packed (:mod:`atlas.traces.packing`)
    trace.000001.index       what readers want of it (:mod:`atlas.traces.index`)
    trace.000002.jsonl       closed
    trace.jsonl              written now: a run that stays below ``ATLAS_TRACE_MB`` has only this one

Together they are one trace, whose places are counted over all of them as if nothing were packed. A segment is closed by
giving the file that is written a number; whoever had it open finds that out when he next holds its lock.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import ConfigError
from atlas.traces.index_file import SUFFIX
from atlas.traces.manifest import mark_grown
from atlas.traces.place import MANIFEST, TRACE

LIMIT = "ATLAS_TRACE_MB"
"""The environment variable that says how large a segment may become, in millions of bytes."""
USUAL = 256.0
PACKED = ".gz"
PACKING = ".packing"
FOLDED = ".folded"
"""How the names end of what was made of closed segments, see :mod:`atlas.traces.folded`."""
_NAME = re.compile(r"trace\.(\d{6,})\.jsonl(\.gz)?")
_INDEX = re.compile(r"trace\.(\d{6,})\.index")


def limit() -> float:
    """Bytes of a segment. Raises ConfigError where the environment says no number."""
    said = os.environ.get(LIMIT) or USUAL
    try:
        found = float(said)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise ConfigError(f"{LIMIT}={said} is no size of a segment: set it to megabytes, such as 256 or 0.5")
    return found * 1e6


@dataclass(frozen=True)
class Segment:
    """A closed one."""

    number: int
    path: Path

    @property
    def packed(self) -> bool:
        return self.path.suffix == PACKED

    @property
    def index(self) -> Path:
        """Where its index is kept."""
        return self.path.with_name(f"trace.{self.number:06d}{SUFFIX}")


def closed(folder: Path) -> list[Segment]:
    """The closed segments, oldest first. One that is there packed and as it was has just been packed."""
    found: dict[int, Segment] = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if (known := _NAME.fullmatch(name)) and (known[2] or int(known[1]) not in found):
                found[int(known[1])] = Segment(int(known[1]), folder / name)
    return [found[number] for number in sorted(found)]


def lost(folder: Path) -> list[int]:
    """The numbers of closed segments that were there and are not: a pruning leaves those that it empties."""
    with suppress(FileNotFoundError):
        names = os.listdir(folder)
        there = {int(known[1]) for name in names if (known := _NAME.fullmatch(name))}
        indexed = {int(known[1]) for name in names if (known := _INDEX.fullmatch(name))}
        left = set(range(1, max(there | indexed, default=0))) | indexed
        # Of one that is packed just now the listing may have neither name.
        plain = {number: str(folder / f"trace.{number:06d}.jsonl") for number in sorted(left - there)}
        return [n for n, path in plain.items() if not os.path.exists(path) and not os.path.exists(path + PACKED)]
    return []


def segment_of(path: Path) -> Segment | None:
    """The segment that a file is; None where it is none."""
    known = _NAME.fullmatch(path.name)
    return Segment(int(known[1]), path) if known else None


def drop_leftovers(folder: Path) -> None:
    """Remove what a kill left: segments as they were beside their packed ones, half packed ones, half indexes."""
    for segment in closed(folder):
        if segment.packed:
            segment.path.with_suffix("").unlink(missing_ok=True)
    for half in (f"trace.*{PACKED}{PACKING}", f".trace.*{SUFFIX}.writing-*", f".*{FOLDED}.writing-*"):
        for left in folder.glob(half):
            left.unlink(missing_ok=True)


def drop_folded(folder: Path) -> None:
    """Remove what was made of closed segments, where that can be done."""
    for path in folder.glob(f"*{FOLDED}"):
        with suppress(OSError):
            path.unlink()


class Written:
    """The file that the lines of a trace are appended to, by any number of processes, any of which may be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = str(folder / TRACE)
        self._limit = limit()
        self._file = self._opened()
        self._end = -1
        """Size of the file after the last line that was written here."""

    @property
    def begun(self) -> bool:
        """Whether the trace holds anything."""
        return os.fstat(self._file).st_size > 0 or bool(closed(self._folder))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While nobody else writes it, or closes it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        while not self._is_newest():
            os.close(self._file)  # gives back the lock of what another process has closed
            self._file, self._end = self._opened(), -1
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, line: bytes) -> None:
        while not self._appended(line):
            pass

    def sync(self) -> None:
        os.fsync(self._file)

    def roll(self) -> bool:
        """Close the file as a segment, however small it is; whether it held anything."""
        with self.locked():
            size = os.lseek(self._file, 0, os.SEEK_END)
            if size:
                self._close_segment(size)
            return size > 0

    def close(self) -> None:
        os.close(self._file)

    def _appended(self, line: bytes) -> bool:
        with self.locked():
            size = os.lseek(self._file, 0, os.SEEK_END)
            if size and size + len(line) > self._limit:
                self._close_segment(size)
                return False
            # What this writer wrote last is whole; what others wrote may have been cut off.
            if size and size != self._end and self._torn(size):
                line = b"\n" + line
            self._end = -1
            self._write(line)
            self._end = size + len(line)
            return True

    def _close_segment(self, size: int) -> None:
        if self._torn(size):
            self._write(b"\n")
        os.fsync(self._file)
        mark_grown(self._folder / MANIFEST)
        number = max((segment.number for segment in closed(self._folder)), default=0) + 1
        # A kill from here on leaves no file that is written: the next writer makes it.
        (self._folder / TRACE).rename(self._folder / f"trace.{number:06d}.jsonl")
        sync_folder(self._folder)

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def _is_newest(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _torn(self, size: int) -> bool:
        return os.pread(self._file, 1, size - 1) != b"\n"

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        while written < len(line):
            written += os.write(self._file, line[written:])


def sync_folder(folder: Path) -> None:
    """Force what was renamed in a folder to the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
