"""A folder that is there as a whole or not at all.

Everything is written beside it under a hidden name and put in its place at the end, so that a killed command or a full
disk leaves what was there before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from atlas.errors import ConfigError, StoreError
from atlas.folders import check_replaceable
from atlas.jsontext import read_json

MANIFEST = "manifest.json"


class Folder:
    """Use as ``with Folder(path) as folder:``; at the end of the block, without an error, ``path`` is what was written.

    An export that is there already is replaced; a folder with anything else in it raises ConfigError. Raises StoreError
    where the disk cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        place = self.path.absolute()
        self._work = place.parent / f".{place.name}.writing-{os.getpid()}"
        self._old = place.parent / f".{place.name}.replaced"
        self._open: dict[str, BinaryIO] = {}
        self._hashes: dict[str, hashlib._Hash] = {}

    def __enter__(self) -> Self:
        check_replaceable(self.path)
        with self.told():
            self._heal()
            if (found := self._strange()) is not None:
                raise ConfigError(f"{self.path} holds {found}, which no export wrote: choose another folder with -o")
            self._work.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with self.told():
                    self._finish()
        finally:
            for file in self._open.values():
                with contextlib.suppress(OSError):  # on a full disk closing fails as writing did
                    file.close()
            shutil.rmtree(self._work, ignore_errors=True)

    def write(self, name: str, content: bytes) -> None:
        """Append to the file ``name`` (which may be in a subfolder)."""
        with self.told():
            if name not in self._open:
                self.reserve(name)
                self._open[name] = (self._work / name).open("wb")
                self._hashes[name] = hashlib.sha256()
            self._open[name].write(content)
            self._hashes[name].update(content)

    def whole(self, name: str, content: bytes) -> None:
        """Write the file ``name`` and close it: for exports of many files."""
        self.write(name, content)
        with self.told():
            self._open.pop(name).close()

    def reserve(self, name: str) -> Path:
        """The path under which another library may write the file ``name``."""
        path = self._work / name
        with self.told():
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def files(self) -> dict[str, tuple[int, str]]:
        """Name -> (bytes, sha256) of all files so far, in order of their names."""
        with self.told():
            for file in self._open.values():
                file.flush()
            found = {}
            for path in sorted(p for p in self._work.rglob("*") if p.is_file()):
                name = path.relative_to(self._work).as_posix()
                digest = self._hashes[name].hexdigest() if name in self._hashes else file_hash(path)
                found[name] = (path.stat().st_size, digest)
            return found

    def _finish(self) -> None:
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        place = self.path.absolute()
        if place.exists():
            place.rename(self._old)
        self._work.rename(place)
        shutil.rmtree(self._old, ignore_errors=True)

    def _heal(self) -> None:
        """Put right what a killed export left: the folder it was replacing comes back, its own leavings go."""
        place = self.path.absolute()
        if self._old.exists():
            if place.exists():
                shutil.rmtree(self._old, ignore_errors=True)
            else:
                self._old.rename(place)
        for left in place.parent.glob(f".{place.name}.writing-*"):
            if not _alive(left.name.rpartition("-")[2]):
                shutil.rmtree(left, ignore_errors=True)

    def _strange(self) -> str | None:
        """Something at the path that is not of an earlier export; None where there is nothing of the kind."""
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            return "a file"
        files = {p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if not p.is_dir()}
        return min(files - self._written(), default=None)

    def _written(self) -> set[str]:
        """The files that an earlier export wrote, by its manifest."""
        try:
            manifest = read_json((self.path / MANIFEST).read_text(encoding="utf-8"))
            return {MANIFEST, *manifest["files"]} if {"atlas", "format"} <= manifest.keys() else set()
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return set()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What fails to be written here is told in one sentence (StoreError)."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the export cannot be written to {self.path} ({error.strerror or error}): free disk space or choose "
                "another folder with -o; what was there before is as it was"
            ) from error


def file_hash(path: Path) -> str:
    """sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _alive(pid: str) -> bool:
    """Whether a process of that number is there; True also where it is another user's."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
