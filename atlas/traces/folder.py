"""A run in a folder: ``run.json``, ``trace.jsonl`` with its closed segments, and what is kept beside them.

A line is written by one ``write`` to a file opened for appending, under a lock, so several processes of one machine may
share a run. A line that a killed process left unfinished is closed before the next one is written; readers skip it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import ConfigError, StoreError
from atlas.folders import check_named, check_writable, write_whole
from atlas.jsontext import read_json
from atlas.records import Usage
from atlas.traces.claims import FileClaims
from atlas.traces.folder_prune import FolderAlone, alone, finish, hold, responses
from atlas.traces.format import GROWN
from atlas.traces.heads import Whole
from atlas.traces.index import Index, index_of
from atlas.traces.lines import FileTail, append_line, mend
from atlas.traces.manifest import read_manifest as read_manifest
from atlas.traces.manifest import replace_manifest
from atlas.traces.open_log import OPEN, used
from atlas.traces.open_state import OpenState, read_open, write_open
from atlas.traces.place import MANIFEST, TRACE, Decides, Log, Manifest, Part, late
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import Written, closed

if TYPE_CHECKING:
    from atlas.traces.reader import StoredEpisode

COPYING = "copying"
"""The file that says that a folder is a half copy, and of which run."""
SYNC_EVERY = 1.0
"""Seconds between two fsyncs of a trace that is being written."""


class FolderRun:
    """The run in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.name
        self.path = str(folder)

    def manifest(self) -> Manifest:
        self._not_half()
        finish(self._folder)
        if not (self._folder / MANIFEST).is_file():
            raise StoreError(f"{self._folder} holds no run ({MANIFEST} is missing): list runs with 'atlas traces ls'")
        return read_manifest(self._folder / MANIFEST)

    def open(self, decide: Decides) -> FileTrace:
        check_named(self._folder)
        self._not_half()
        _check_own(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            trace = FileTrace(self._folder)
            try:
                # Locked, so that of two processes that begin the same run one writes the manifest and one checks it.
                with trace.locked():
                    path = self._folder / MANIFEST
                    made = decide((lambda: read_manifest(path)) if path.exists() else None, trace.begun)
                    if made is not None:
                        replace_manifest(path, made)
            except BaseException:
                trace.close()
                raise
        except OSError as error:
            raise StoreError(
                f"the run folder {self._folder} cannot be written ({error.strerror}): make it writable, or choose "
                "another"
            ) from error
        return trace

    def log(self, name: str) -> Log:
        return TraceLog(self._folder) if name == TRACE else FileLog(self._folder / name)

    def held(self, spent: Callable[[], Usage] | None) -> FileClaims:
        return FileClaims(self._folder, spent)

    def alone(self) -> AbstractContextManager[FolderAlone]:
        return alone(self._folder)

    def memory(self, name: str) -> str:
        return str(self._folder / f"{name}.sqlite")

    def unended(self) -> Mapping[str, Iterable[Any]]:
        return used(self._folder / OPEN)

    def beside(self) -> Iterator[tuple[str, bytes]]:
        return (("", text) for text in responses(self._folder))

    def folder(self) -> Path:
        return self._folder

    # --- copies -------------------------------------------------------------------------------------------------------

    def open_states(self) -> Mapping[str, OpenState]:
        return read_open(self._folder)

    def keep_open(self, those: Mapping[str, OpenState], episodes: Mapping[str, StoredEpisode]) -> None:
        try:
            write_open(self._folder, those)
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be written ({error.strerror}): free disk space") from error

    def found(self) -> tuple[Manifest | None, str | None]:
        path, mark = self._folder / MANIFEST, self._folder / COPYING
        becomes = mark.read_text(encoding="utf-8") if mark.is_file() else None
        return (read_manifest(path) if path.is_file() else None), becomes

    def begin(self, manifest: Manifest, becomes: str) -> None:
        check_named(self._folder)
        if not (self._folder / COPYING).is_file():
            _check_own(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / COPYING, becomes)
        except OSError as error:
            raise StoreError(
                f"the run folder {self._folder} cannot be written ({error.strerror}): name another"
            ) from error

    def finish(self, manifest: Manifest) -> None:
        if closed(self._folder):
            manifest = {**manifest, "schema": max(GROWN, manifest["schema"])}
        try:
            replace_manifest(self._folder / MANIFEST, manifest)
            (self._folder / COPYING).unlink()
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be written ({error.strerror}): free disk space") from error

    def _not_half(self) -> None:
        if (self._folder / COPYING).is_file():
            raise StoreError(f"{self._folder} is a half copy: the same 'atlas traces copy' finishes it")


class FileTrace:
    """The trace of a run, open for appending. Shared by threads. It is forced to the disk (fsync) about once a second
    and on closing: a thousand episodes that end together would otherwise wait for the disk in turn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = hold(folder)
        try:
            finish(folder)
            self._written = Written(folder)
        except BaseException:
            os.close(self._held)
            raise
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        self._open = True

    @property
    def begun(self) -> bool:
        """Whether anything is recorded."""
        return self._written.begun

    def locked(self) -> AbstractContextManager[None]:
        """While no other process writes."""
        return self._written.locked()

    def append(self, lines: Sequence[bytes], *, ends: bool) -> None:
        try:
            with self._lock:
                if not self._open:
                    # Its file's number may be another file's by now.
                    raise late(self._folder)
                self._written.append(b"\n".join(lines) + b"\n")
                if (now := time.monotonic()) - self._synced >= SYNC_EVERY:
                    self._synced = now
                    self._written.sync()
        except OSError as error:
            raise StoreError(
                f"the trace in {self._folder} cannot be written ({error.strerror}): free disk space"
            ) from error

    def close(self) -> None:
        with self._lock:
            if not self._open:
                return
            self._open = False
            with contextlib.suppress(OSError):  # it was written; a disk that fails now must not keep the file open
                self._written.sync()
            self._written.close()
            os.close(self._held)


class FileLog:
    """A file of lines."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self.path = str(path)
        self._read = (0, 0)
        """The file that was read last: places are of no other."""

    def append(self, *lines: bytes, lasting: bool = True) -> None:
        append_line(self._file, b"\n".join(lines), lasting=lasting)

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        if not self._file.exists():
            return
        offset = 0
        try:
            with self._file.open("rb") as file:
                self._read = _which(file.fileno())
                for number, line in enumerate(file, 1):
                    yield number, offset, line
                    offset += len(line)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror}): make it readable") from error

    def at(self, places: Sequence[int]) -> Iterator[bytes]:
        with self._file.open("rb") as file:
            if self._read not in ((0, 0), _which(file.fileno())):
                raise StoreError(f"{self.path} was pruned meanwhile: do it again")
            for place in places:
                file.seek(place)
                yield file.readline()

    def mend(self) -> None:
        if not self._file.exists():
            return
        try:
            mend(self._file)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror}): make it writable") from error

    def indexes(self) -> Iterator[Index]:
        yield index_of(self.lines())

    def parts(self) -> list[Part]:
        return [Whole(index) for index in self.indexes()]

    def damaged(self) -> list[str]:
        return []

    def tail(self, *, whole: bool = False, told: bool = False) -> FileTail:
        return FileTail(self._file, whole=whole)


def _which(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def check_run_folder(folder: Path) -> None:
    """Raises ConfigError where ``folder`` is no place for a run, StoreError where nothing can be written there."""
    check_named(folder)
    _check_own(folder)
    check_writable(folder)


def _check_own(folder: Path) -> None:
    """Raises ConfigError where ``folder`` holds other things than a run: they would be mixed up, or written over."""
    if not folder.is_dir():
        return
    path = folder / MANIFEST
    if path.exists():
        try:
            own = {"schema", "config", "settings"} <= read_json(path.read_text(encoding="utf-8")).keys()
        except (OSError, ValueError, AttributeError):
            # Damage to a run is told of where its manifest is read.
            own = (folder / TRACE).exists() or bool(closed(folder))
        if not own:
            raise ConfigError(f"{path} is of another program: choose another folder")
        return
    begun = {TRACE} if (folder / TRACE).is_file() and not (folder / TRACE).stat().st_size else set()
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")} - begun
    if (strange := min((name for name in names if not _BEFORE.fullmatch(name)), default=None)) is not None:
        raise ConfigError(f"{folder} holds {strange} and no run: choose another folder")


_BEFORE = re.compile(r"run\.tmp|.+\.(?:sqlite|db)(?:-wal|-shm|-journal)?")
"""What may be in a run's folder before its manifest: what another process has just begun, and a memory."""
