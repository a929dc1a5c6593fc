"""What a memory learned while a run went on, from its own log: versions, with what each did to how many items."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from atlas.errors import StoreError
from atlas.memory.backend import there, told
from atlas.memory.database import Database
from atlas.memory.map import MemoryMap, memory_map
from atlas.records import Record

GONE = ("removed", "absent")


class MemoryVersion(Record):
    """One version of the memory."""

    number: int
    time: float
    """Unix time."""
    author: str
    reason: str
    demonstrations: int
    """Added by it."""
    entries: int
    """Added by it, on trial or not."""
    other: dict[str, int]
    """Everything else it did, by words: ``entries admitted``, ``demonstrations removed``."""


class MemoryLog(Record):
    """The versions of one memory since a moment."""

    path: str
    before: int
    """How many versions were older."""
    versions: tuple[MemoryVersion, ...]


def memory_log(path: str | Path, since: float) -> MemoryLog:
    """What happened to the memory at ``path`` since a Unix time; it is only read. Raises StoreError where there is
    none."""
    if not there(str(path)):
        raise StoreError(f"there is no memory {told(str(path))}: name the one that the agent had with --memory")
    database = Database(str(path))
    try:
        with database.reading():
            versions = database.versions()
            new = [version for version in versions if version.time >= since]
            done: dict[int, dict[str, int]] = {}
            for change in database.backend.changes(new[0].number - 1) if new else ():
                words = done.setdefault(change.version, {})
                word = f"{'demonstrations' if change.kind == 'demonstration' else 'entries'} {_word(*change[3:6])}"
                words[word] = words.get(word, 0) + 1
    finally:
        database.close()
    return MemoryLog(
        path=database.path,
        before=len(versions) - len(new),
        versions=tuple(
            MemoryVersion(
                number=version.number,
                time=version.time,
                author=version.author,
                reason=version.reason,
                demonstrations=done.get(version.number, {}).pop("demonstrations added", 0),
                entries=done.get(version.number, {}).pop("entries added", 0),
                other={version.action: 1} if version.action != "write" else done.get(version.number, {}),
            )
            for version in new
        ),
    )


def map_of(path: str | Path) -> MemoryMap:
    """What the memory at ``path`` has learned; it is only read. Raises StoreError where there is none."""
    if not there(str(path)):
        raise StoreError(f"there is no memory {told(str(path))}: name the one that the agent had with --memory")
    with closing(Database(str(path))) as database:
        return memory_map(database)


def _word(before: str, after: str, replaced: str | None) -> str:
    if before in GONE and after in ("admitted", "trial"):
        return "added"
    if after in GONE:
        return "removed"
    return "edited" if before == after and replaced is not None else after
