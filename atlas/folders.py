"""Folders that a command may write to: new ones, empty ones, and its own. What somebody else put there is never lost.

Looked at before any work is done, so that a wrong ``-o`` costs nothing. And files that are there whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from atlas.errors import ConfigError, StoreError


def check_named(folder: Path) -> None:
    """Raises ConfigError for a folder that is named by dots alone: it has no name of its own to go by."""
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(folder)) and not folder.exists():
        kind = str(folder).partition(":")[0]
        raise ConfigError(f"a {kind}: URL names no folder, and this is written to one: name a folder")
    if folder.name in ("", ".."):
        raise ConfigError(f"{folder} names no folder of its own: name one in it, such as {folder / 'out'}")


def check_replaceable(folder: Path) -> None:
    """As :func:`check_named`; and ConfigError for the present folder and those around it."""
    check_named(folder)
    if Path.cwd().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{folder} is the present folder, or one around it, and is not replaced as a whole: name another"
        )


def check_writable(folder: Path) -> None:
    """Make a file where ``folder`` is or will be, and remove it. Raises StoreError where that cannot be done."""
    # Tried, not asked for: a mount that is read-only lets root through os.access on some systems.
    near = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=near):
            pass
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}): choose another folder, or make this one writable"
        ) from error


def check_own(folder: Path, own: Collection[str], wrote: str) -> None:
    """Raises ConfigError where ``folder`` holds anything but the files ``own``, and where it is a file."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder")
    if (strange := next((path for path in _within(folder) if path not in own), None)) is not None:
        raise ConfigError(f"{folder} holds {strange}, which {wrote}: choose another folder")


def _within(folder: Path) -> Iterator[str]:
    """The files in a folder, by their paths in it, and its empty folders: found one by one, as there may be many."""
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        yield from ((inside / name).as_posix() for name in sorted(files) if name not in _MARKS)
        if not folders and not files and inside != Path():
            yield inside.as_posix()
        folders.sort()


_MARKS = (".DS_Store", ".gitignore", ".gitkeep", "Thumbs.db")
"""What desktops and version control leave."""


def write_whole(path: Path, text: str) -> None:
    """Write a file as a whole or not at all: on a full disk what was there before is as it was. Raises OSError."""
    if path.exists() and not path.is_file():
        # A pipe or a device, which has no before.
        path.write_text(text, encoding="utf-8")
        return
    # Through a link, as writing goes.
    place = path.resolve()
    partial = place.with_name(f".{place.name}.writing-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, partial)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
