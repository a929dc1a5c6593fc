"""The download as the archive it comes in: only the wanted incidents are unpacked, once, and removed when imported."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, cast

from atlas.benchmarks.excytin.importing.source import LEFT_OUT
from atlas.errors import DataError, StoreError

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
_MEMBER = re.compile(r"(?:.*/)?incident_(?P<incident>\d+)/(?P<table>[^/.][^/]*?)(?:/[^/.][^/]*|\.[^/]+)")
_END = 1024
"""Zero bytes that end a tar archive."""
_SCHEMA = re.compile(r"(?:.*/)?schema\.json")


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith(_SUFFIXES)


def unpack(archive: Path, aside: Path, incidents: Collection[int], progress: Callable[[int], None]) -> Path:
    """Unpack the tables of ``incidents`` (of all where there are none) below ``aside``, and return the folder.

    What was unpacked whole before is used again. ``progress`` is told the bytes of each file.

    Raises:
        DataError: the archive is truncated or damaged, or holds no incident.
        StoreError: there is no room to unpack.
    """
    stat = archive.stat()
    chosen = "-".join(map(str, sorted(incidents))) or "all"
    target = aside / f"unpacked-{stat.st_size:x}-{stat.st_mtime_ns:x}-{chosen}"
    if target.is_dir():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with _opened(archive) as stream:
            ending = _Ending(stream)
            with tarfile.open(fileobj=cast(BinaryIO, ending), mode="r|") as packed:
                for member in packed:
                    place = _wanted(member, incidents)
                    if place is None:
                        continue
                    (partial / place).parent.mkdir(parents=True, exist_ok=True)
                    source = packed.extractfile(member)
                    if source is not None:
                        with source, (partial / place).open("wb") as file:
                            shutil.copyfileobj(source, file, 1 << 20)
                    progress(member.size)
            ending.check()
        os.replace(partial, target)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"the archive {archive} is truncated or corrupt ({error}): get it again") from error
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        # gzip's complaint about a bad checksum has no number; all others are the file system's.
        if error.errno is None:
            raise DataError(f"the archive {archive} is truncated or corrupt ({error}): get it again") from error
        raise StoreError(f"{archive} cannot be unpacked into {aside} ({error.strerror}): make room there") from error
    return target


class _Ending:
    """A stream that can say whether it ended as a tar archive does: one that was cut between two members reads well."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._last = (self._last + data[-_END:])[-_END:]
        return data

    def check(self) -> None:
        while self.read(1 << 20):
            pass
        if self._last != bytes(_END):
            raise EOFError("it ends between two files")


def _opened(archive: Path) -> BinaryIO:
    if archive.name.endswith("gz"):
        return cast(BinaryIO, gzip.open(archive))
    return cast(BinaryIO, lzma.open(archive)) if archive.name.endswith("xz") else archive.open("rb")


def _wanted(member: tarfile.TarInfo, incidents: Collection[int]) -> Path | None:
    """Where a member goes, made of nothing but what its name was recognised by; None where it is not wanted."""
    if not member.isfile():
        return None
    name = member.name.removeprefix("./")
    if _SCHEMA.fullmatch(name):
        return Path("schema.json")
    found = _MEMBER.fullmatch(name)
    if not found or found["table"] in LEFT_OUT or (incidents and int(found["incident"]) not in incidents):
        return None
    parts = name.split("/")
    inner = parts[parts.index(f"incident_{found['incident']}") :]
    return Path("incidents", *inner) if ".." not in inner else None
