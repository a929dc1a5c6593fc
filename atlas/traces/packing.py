"""Closed segments of a run are packed: each becomes a file of gzip members, which readers read as they did.

A segment is packed beside itself, read back and compared, and only then takes its own place. Whoever is killed leaves
it as it was or packed; the same command goes on. The run may be read and written meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path

from atlas.errors import StoreError
from atlas.records import Record
from atlas.traces.claims import Claims
from atlas.traces.folder_prune import hold
from atlas.traces.members import Members, Unpacked, members
from atlas.traces.place import TRACE, Place
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import PACKED, PACKING, Segment, Written, closed, drop_leftovers, sync_folder

Seen = Callable[[int, int], None]


class Packed(Record):
    """What came of packing a run."""

    run: str
    path: str
    segments: int
    """Closed ones, all of them packed now."""
    packed: int
    """Those that were packed by this call."""
    bytes: int
    """What these hold, as lines."""
    became: int
    """Bytes of their packed files."""
    open: int
    """Bytes of the file that is still written, which is left as it is."""


def pack(place: Place, *, everything: bool = False, seen: Seen = lambda done, of: None) -> Packed:
    """Pack the closed segments of the run; with ``everything`` the file that is written is closed before.

    Raises ConfigError for a run on a server, and StoreError where nothing can be written or another process packs.
    """
    folder = place.folder()
    place.manifest()
    try:
        held = hold(folder)
        try:
            with Claims(place) as claims:
                if not claims.claim("pack"):
                    raise StoreError(f"another process packs {place.path} now: wait until it is done")
                return _packed(place, folder, everything, seen)
        finally:
            os.close(held)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}): free disk space, or make it writable; the run is whole"
        ) from error


def _packed(place: Place, folder: Path, everything: bool, seen: Seen) -> Packed:
    drop_leftovers(folder)
    if everything:
        with closing(Written(folder)) as file:
            file.roll()
    todo = [segment for segment in closed(folder) if not segment.packed]
    sizes = [segment.path.stat().st_size for segment in todo]
    became, done = 0, 0
    for segment, size in zip(todo, sizes, strict=True):
        became += _pack(segment, lambda read, before=done: seen(before + read, sum(sizes)))  # type: ignore[misc]
        done += size
    for _ in TraceLog(folder).indexes():
        pass  # those that are missing are made
    left = 0
    with suppress(FileNotFoundError):
        left = (folder / TRACE).stat().st_size
    return Packed(
        run=place.name,
        path=place.path,
        segments=len(closed(folder)),
        packed=len(todo),
        bytes=sum(sizes),
        became=became,
        open=left,
    )


def _pack(segment: Segment, seen: Callable[[int], None]) -> int:
    """Pack one; the bytes of its packed file."""
    path = segment.path
    target = path.with_name(path.name + PACKED)
    partial = target.with_name(target.name + PACKING)
    read, hashed = 0, blake2b()

    def lines() -> Iterator[bytes]:
        nonlocal read
        with path.open("rb") as file:
            for line in file:
                read += len(line)
                hashed.update(line)
                yield line

    before = path.stat()
    try:
        with partial.open("w+b") as file:
            for part in members(lines()):
                file.write(part)
                seen(read)
            file.flush()
            again, written = blake2b(), Members(partial, file, Unpacked())
            for _, line in written.lines(file):
                again.update(line)
            if again.digest() != hashed.digest() or written.size != before.st_size:
                raise StoreError(f"{path} did not come back as it was from its packed file: look at the disk")
            # Its index tells of the time, and holds for the packed one too.
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(file.fileno())
            became = os.fstat(file.fileno()).st_size
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    path.unlink()
    return became
