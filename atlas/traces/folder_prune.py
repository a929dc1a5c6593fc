"""Lines are taken out of the files of a run's folder, all at once.

What is to be is written beside what is. When all of it is there a mark says so, and from then on whoever opens the run
puts it in place; before that it is thrown away.
"""

from __future__ import annotations

import bisect
import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from atlas.errors import StoreError
from atlas.folders import write_whole
from atlas.jsontext import read_json
from atlas.traces.members import Members, Unpacked, members
from atlas.traces.place import MANIFEST, TRACE, Manifest, written
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import FOLDED, drop_leftovers, segment_of

Write = Callable[[bytes], object]

PRUNING = "pruning"
"""The file that says that files of this folder are to be replaced, and by which."""
_RESPONSES = ("responses.sqlite", "responses.sqlite-wal", "responses.sqlite-shm")
"""What clients of a server go on from by its id, see :mod:`atlas.wire.kept_file`."""
SUMMARY = "trace.summary"
"""What the run comes to in a line, see :mod:`atlas.traces.summary`."""


def hold(folder: Path) -> int:
    """Hold the folder as one who writes its run, until what is returned is closed; a pruning is waited for."""
    file = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # a disk that knows no locks of folders: nothing can be pruned there
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


@contextmanager
def alone(folder: Path) -> Iterator[FolderAlone]:
    """The run in ``folder``, while no process has it open for writing."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{folder} cannot be read ({error.strerror}): make it readable") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"{folder} is being written: end what writes it (its next steps may refer to lines that go), and do it "
                "then"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be locked ({error.strerror}): copy the run to a disk that knows locks"
            ) from error
        finish(folder)
        yield FolderAlone(folder)
    finally:
        os.close(file)


class FolderAlone:
    """The run in ``folder``, which nobody else writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rewrite(self, drops: Mapping[str, Sequence[int]], added: Sequence[bytes], manifest: Manifest) -> None:
        mark = secrets.token_hex(4)
        names = [*drops]
        try:
            for left in self._folder.glob("*.pruned-*"):
                left.unlink()
            parts = self._parts(drops)
            names = [*parts]
            for name, gone in parts.items():
                path, target = self._folder / name, self._new(name, mark)
                if (segment := segment_of(path)) is not None and segment.packed:
                    _put(target, partial(_members_without, path, gone))
                elif path.exists() or name == TRACE:
                    _put(target, partial(_without, path, gone, added if name == TRACE else ()))
            _put(self._new(MANIFEST, mark), lambda write: write(written(manifest).encode()))
            folded = [path.name for path in self._folder.glob(f"*{FOLDED}")]
            ready = {"mark": mark, "files": [*names, MANIFEST], "gone": [*_RESPONSES, SUMMARY, *folded]}
            write_whole(self._folder / PRUNING, json.dumps(ready))
        except OSError as error:
            for name in (*names, MANIFEST):
                with suppress(OSError):  # where nothing can be written, nothing was
                    self._new(name, mark).unlink(missing_ok=True)
            raise StoreError(
                f"{self._folder} cannot be written ({error.strerror}): free disk space, or make the folder writable; "
                "the run is as it was"
            ) from error
        finish(self._folder)

    def _parts(self, drops: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
        """The files that are to be replaced, and the places in each whose lines go."""
        drop_leftovers(self._folder)
        parts: dict[str, Sequence[int]] = {name: places for name, places in drops.items() if name != TRACE}
        base, places = 0, sorted(drops.get(TRACE, ()))
        for name, size in TraceLog(self._folder).sizes():
            here = places[bisect.bisect_left(places, base) : bisect.bisect_left(places, base + size)]
            if here or name == TRACE:
                parts[name] = [place - base for place in here]
            base += size
        return {**parts, TRACE: parts.get(TRACE, ())}

    def _new(self, name: str, mark: str) -> Path:
        return self._folder / f"{name}.pruned-{mark}"


def finish(folder: Path) -> None:
    """Put in place what a pruning has made ready, if there is any. Raises StoreError where that cannot be done."""
    path = folder / PRUNING
    if not path.is_file():
        return
    try:
        ready = read_json(path.read_text(encoding="utf-8"))
        for name in ready["files"]:
            with suppress(FileNotFoundError):  # in place already
                (folder / f"{name}.pruned-{ready['mark']}").replace(folder / name)
            if (segment := segment_of(folder / name)) is not None:
                segment.index.unlink(missing_ok=True)
        for name in ready.get("gone", ()):
            (folder / name).unlink(missing_ok=True)
        drop_leftovers(folder)
        path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process has just done it
        return
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{folder} is half pruned and cannot be finished ({error}): make the folder writable, and open the run anew"
        ) from error


def responses(folder: Path) -> Iterator[bytes]:
    """The texts of responses that clients may go on from. Raises StoreError where they cannot be read."""
    path = folder / _RESPONSES[0]
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            for (item,) in database.execute("SELECT item FROM items"):
                yield str(item).encode("utf-8", "surrogatepass")
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} cannot be read ({error}): delete it, and clients send their conversations whole once"
        ) from error


def _without(path: Path, places: Sequence[int], added: Sequence[bytes], write: Write) -> None:
    """Write the lines of ``path`` but those at ``places``, and the ``added`` ones."""
    gone = frozenset(places)
    place, whole = 0, True
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            if place not in gone:
                write(line)
                whole = line.endswith(b"\n")
            place += len(line)
    if added and not whole:
        write(b"\n")
    for line in added:
        write(line + b"\n")


def _members_without(path: Path, places: Sequence[int], write: Write) -> None:
    """The same for a packed segment."""
    gone = frozenset(places)
    with path.open("rb") as file:
        lines = Members(path, file, Unpacked()).lines(file)
        for part in members(line for place, line in lines if place not in gone):
            write(part)


def _put(target: Path, content: Callable[[Write], object]) -> None:
    with target.open("wb") as file:
        content(file.write)
        file.flush()
        os.fsync(file.fileno())
