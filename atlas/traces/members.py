"""A file of gzip members, each of which tells in its header how long it is.

Any gzip unpacks the whole file. Who wants one line walks over the headers and unpacks the one member that holds it.
"""

from __future__ import annotations

import bisect
import logging
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger("atlas.traces")

MEMBER = 256 * 1024
"""Bytes of lines in a member, at the least: smaller ones pack worse, larger ones take longer for one line."""
KEPT = 128
"""Unpacked members that are kept: the steps of episodes that ran side by side lie in the same ones."""
_LEVEL = 6

_HEAD = struct.Struct("<4sIBBH2sHII")
"""What gzip wants, and an extra field of our own: bytes of the member, and of what it holds."""
_MAGIC, _OURS, _UNIX = b"\x1f\x8b\x08\x04", b"AT", 255
_TAIL = struct.Struct("<II")


def member(content: bytes) -> bytes:
    """``content`` as a member."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(content) + packer.flush()
    head = _HEAD.pack(_MAGIC, 0, 0, _UNIX, 12, _OURS, 8, _HEAD.size + len(body) + _TAIL.size, len(content))
    return head + body + _TAIL.pack(zlib.crc32(content), len(content))


def members(lines: Iterable[bytes]) -> Iterator[bytes]:
    """``lines`` as members of whole lines; one that holds nothing where there are none."""
    part: list[bytes] = []
    size = 0
    first = True
    for line in lines:
        part.append(line)
        size += len(line)
        if size >= MEMBER:
            yield member(b"".join(part))
            part, size, first = [], 0, False
    if part or first:
        yield member(b"".join(part))


class Unpacked:
    """The members that were unpacked last, of any files."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, int], bytes] = OrderedDict()

    def of(self, source: Members, file: BinaryIO, number: int) -> bytes:
        key = (source.identity, number)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = source.content(file, number)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


class Members:
    """The members of a file that is open as ``file``. Places are those of what they hold."""

    def __init__(self, path: Path, file: BinaryIO, unpacked: Unpacked) -> None:
        self.path = path
        found = os.fstat(file.fileno())
        self.identity = found.st_dev, found.st_ino
        self.mtime = found.st_mtime_ns
        self.size = 0
        self.whole = found.st_size > 0
        """Whether its headers lead from one to the next to the end of the file."""
        self._unpacked = unpacked
        self._starts: list[int] = []
        """Where the content of each begins."""
        self._places: list[tuple[int, int]] = []
        """Where each is in the file, and how long."""
        place = 0
        while place < found.st_size:
            head = os.pread(file.fileno(), _HEAD.size, place)
            if len(head) < _HEAD.size or not head.startswith(_MAGIC) or head[12:14] != _OURS:
                self.whole = False
                break
            *_, packed, size = _HEAD.unpack(head)
            if packed <= _HEAD.size or place + packed > found.st_size:
                self.whole = False
                break
            self._starts.append(self.size)
            self._places.append((place, packed))
            self.size += size
            place += packed
        if not self.whole:
            log.warning("%s is damaged at byte %d: what follows there cannot be read", path, place)

    def content(self, file: BinaryIO, number: int) -> bytes:
        """What a member holds. Raises ValueError where it is damaged."""
        place, packed = self._places[number]
        raw = os.pread(file.fileno(), packed, place)
        crc, size = _TAIL.unpack(raw[-_TAIL.size :])
        try:
            content = zlib.decompress(raw[_HEAD.size : -_TAIL.size], -zlib.MAX_WBITS)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(content) != size or zlib.crc32(content) != crc:
            raise ValueError("its checksum is another")
        return content

    def lines(self, file: BinaryIO, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """(place, line) from ``start`` on, which is where a line begins. A damaged member is left out, and told of."""
        for number in range(max(0, bisect.bisect_right(self._starts, start) - 1), len(self._starts)):
            try:
                content = self.content(file, number)
            except ValueError as error:
                log.warning("%s is damaged at byte %d (%s): lines are lost", self.path, self._places[number][0], error)
                continue
            place = self._starts[number]
            for line in content.split(b"\n"):
                if place >= start and (place - self._starts[number]) < len(content):
                    yield place, line + b"\n"
                place += len(line) + 1

    def at(self, file: BinaryIO, places: Sequence[int]) -> Iterator[bytes]:
        """The lines at these places; an empty one for a place in a damaged member."""
        for place in places:
            number = max(0, bisect.bisect_right(self._starts, place) - 1)
            try:
                content = self._unpacked.of(self, file, number)
            except (ValueError, IndexError):
                yield b""
                continue
            begin = place - self._starts[number]
            end = content.find(b"\n", begin)
            yield content[begin : end + 1] if end >= 0 else content[begin:]

    def damaged(self, file: BinaryIO) -> int:
        """How many members cannot be unpacked."""
        found = 0
        for number in range(len(self._starts)):
            try:
                self.content(file, number)
            except ValueError:
                found += 1
        return found

    def tail(self, file: BinaryIO) -> bytes:
        """What its last member holds; nothing where that is damaged."""
        try:
            return self.content(file, len(self._starts) - 1) if self._starts else b""
        except ValueError:
            return b""
