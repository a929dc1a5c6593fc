"""Appending to a file of JSON lines that several processes write and any of them may be killed at."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas.errors import StoreError


def append_line(path: Path, content: str) -> None:
    """Append ``content`` as a line in one write under a lock; a line that a killed process left unfinished is closed
    first. Raises StoreError where the file cannot be written."""
    raw = content.encode() + b"\n"
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
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): make it writable") from error


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The line numbers, from 1, and values of all whole lines; none where there is no file. A line that a kill cut off
    is left out. Raises StoreError where the file cannot be read."""
    if not path.exists():
        return
    try:
        raw = path.read_bytes().splitlines()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    for number, text in enumerate(raw, 1):
        try:
            yield number, json.loads(text)
        except ValueError:
            continue


class Tail:
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

    def new(self) -> list[dict[str, Any]]:
        """The records in these lines."""
        found = []
        for line in self.lines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return [value for value in found if isinstance(value, dict)]
