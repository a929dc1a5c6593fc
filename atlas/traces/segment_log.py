"""Reading a trace that has segments: its lines, from any place on, and the indexes of its parts."""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from atlas.errors import StoreError
from atlas.traces.heads import Head, Times, Whole, times_of
from atlas.traces.index import Index, index_of
from atlas.traces.index_file import Mark, head_at, sealed, texts_at, told_at, totals_at, unsealed
from atlas.traces.lines import Plain, mend
from atlas.traces.members import Members, Unpacked
from atlas.traces.place import TRACE, Part
from atlas.traces.segments import Segment, Written, closed, drop_folded, lost
from atlas.traces.totals import Names, Totals, totals_of

log = logging.getLogger("atlas.traces")

Source = Plain | Members
_END = 4096
"""Bytes of a segment's end that its index has a hash of."""


@dataclass
class _Piece:
    """A file of the trace as it was when it was looked at."""

    number: int
    base: int
    """Where it begins in the trace."""
    source: Source
    segment: Segment | None
    """None for the one that is written."""


class TraceLog:
    """The trace of the run in ``folder``, as one log."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / TRACE)
        self._folder = folder
        self._pieces: list[_Piece] = []
        self._unpacked = Unpacked()
        self._sources: dict[int, Source] = {}
        self._indexes: dict[int, tuple[object, Index]] = {}
        self._lost: list[int] = []
        """The segments that are not there, as far as that was told."""

    def append(self, *lines: bytes, lasting: bool = True) -> None:
        try:
            with contextlib.closing(Written(self._folder)) as file:
                file.append(b"\n".join(lines) + b"\n")
                if lasting:
                    file.sync()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror}): make it writable") from error

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        number = 0
        for piece in self._look():
            for place, line in self._lines(piece):
                number += 1
                yield number, piece.base + place, line

    def at(self, places: Sequence[int]) -> Iterator[bytes]:
        pieces = self._pieces or self._look()
        bases = [piece.base for piece in pieces]
        for number, group in groupby(places, lambda place: bisect.bisect_right(bases, place) - 1):
            piece = pieces[number]
            with self._reading(), self._opened(piece) as file:
                yield from piece.source.at(file, [place - piece.base for place in group])

    def mend(self) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                mend(self._folder / TRACE)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror}): make it writable") from error

    def tail(self, *, whole: bool = False, told: bool = False) -> TraceTail:
        return TraceTail(self, whole=whole, told=told)

    def indexes(self) -> Iterator[Index]:
        """What a reader wants of each part, in order, without reading closed ones where their index is kept."""
        lines = 0
        for piece in self._look():
            found = self._index(piece)
            found.before = lines, piece.base
            lines += found.lines
            yield found

    def parts(self) -> list[Part]:
        found: list[Part] = []
        lines = 0
        for piece in self._look():
            segment, before = piece.segment, (lines, piece.base)
            head = head_at(segment.index, self._mark(piece)) if segment is not None else None
            if segment is None or head is None:
                made = self._index(piece)
                made.before = before
                part: Part = Whole(made)
            else:
                part = _Closed(self, piece, segment, before, head)
            found.append(part)
            lines += part.head.lines
        return found

    def mark(self) -> list[Mark]:
        """Of which files it is: others whenever something is appended, or taken out."""
        return [self._mark(piece) for piece in self._look()]

    def sizes(self) -> list[tuple[str, int]]:
        """The names of the files, in order, and how many bytes of the trace each holds."""
        return [(piece.source.path.name, piece.source.size) for piece in self._look()]

    def marks(self, number: int) -> list[tuple[int, Mark]]:
        """What tells the closed segments up to that one, as they were when they were looked at last."""
        pieces = self._pieces or self._look()
        return [(p.number, self._mark(p)) for p in pieces if p.segment is not None and p.number <= number]

    def unchanged(self, number: int) -> bool:
        """Whether the files of these are still those."""
        pieces = (piece for piece in self._pieces if piece.number <= number)
        return all(self._is_there(piece) for piece in pieces)

    def damaged(self) -> list[str]:
        """What is wrong with closed segments, reading all of them; what is derived of them and says something else
        is made again."""
        pieces = self._look()
        found = [f"trace.{number:06d}.jsonl is not there" for number in self._lost]
        for piece in pieces:
            if piece.segment is None:
                continue
            with self._reading(), self._opened(piece) as file:
                source = piece.source
                if isinstance(source, Members) and (count := source.damaged(file) + (not source.whole)):
                    found.append(f"{piece.segment.path.name} has {count} damaged part{'s' * (count > 1)}")
            said = _content(piece.segment.index)
            self._kept(piece.segment, piece, self._made(piece, keep=False))
            if said is not None and said != _content(piece.segment.index):
                drop_folded(self._folder)
        return found

    # --- the files ----------------------------------------------------------------------------------------------------

    def _look(self) -> list[_Piece]:
        """The files as they are now."""
        with self._reading():
            while True:
                live = _stat(self._folder / TRACE)
                pieces, base = [], 0
                try:
                    for segment in closed(self._folder):
                        source = self._source(segment)
                        pieces.append(_Piece(segment.number, base, source, segment))
                        base += source.size
                    number = pieces[-1].number + 1 if pieces else 1
                    if live is not None:
                        pieces.append(_Piece(number, base, Plain.at_path(self._folder / TRACE), None))
                except FileNotFoundError:  # packed, or closed, just now
                    continue
                if (gone := lost(self._folder)) != self._lost:
                    self._lost = gone
                    for number in gone:
                        log.warning("%s has no segment %06d: what it held is lost", self.path, number)
                now = _stat(self._folder / TRACE)
                if (live and (live.st_dev, live.st_ino)) == (now and (now.st_dev, now.st_ino)):
                    self._pieces = pieces
                    return pieces

    def _source(self, segment: Segment) -> Source:
        found = os.stat(segment.path)
        known = self._sources.get(segment.number)
        if known is None or known.identity != (found.st_dev, found.st_ino) or known.mtime != found.st_mtime_ns:
            if segment.packed:
                with segment.path.open("rb") as file:
                    known = Members(segment.path, file, self._unpacked)
            else:
                known = Plain.at_path(segment.path)
            self._sources[segment.number] = known
        return known

    def _opened(self, piece: _Piece) -> BinaryIO:
        """Its file, open, which may have been closed or packed since it was looked at."""
        for _ in range(5):
            with contextlib.suppress(FileNotFoundError):
                file = piece.source.path.open("rb")
                found = os.fstat(file.fileno())
                if (found.st_dev, found.st_ino) == piece.source.identity:
                    return file
                file.close()
            segment = next((one for one in closed(self._folder) if one.number == piece.number), None)
            if segment is None:
                break
            with contextlib.suppress(FileNotFoundError):
                source, before = self._source(segment), piece.source
                same = source.identity == before.identity
                packed = isinstance(source, Members) and isinstance(before, Plain)
                if not same and not (packed and source.size >= before.size):
                    break
                piece.source, piece.segment = source, segment
        raise StoreError(f"{self.path} was pruned meanwhile: do it again")

    def _lines(self, piece: _Piece, start: int = 0) -> Iterator[tuple[int, bytes]]:
        with self._reading(), self._opened(piece) as file:
            yield from piece.source.lines(file, start)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror}): make it readable") from error

    # --- their indexes ------------------------------------------------------------------------------------------------

    def _index(self, piece: _Piece) -> Index:
        known = self._known(piece)
        if known is None:
            segment = piece.segment
            known = self._made(piece, keep=True) if segment is None else self._of_segment(segment, piece)
            self._indexes[piece.number] = _which(piece.source), known
        return known

    def _known(self, piece: _Piece) -> Index | None:
        key, known = self._indexes.get(piece.number, (None, None))
        return known if key == _which(piece.source) else None

    def _told(self, piece: _Piece) -> Index | None:
        """What a file tells besides steps; None where all of it would have to be read for that alone. It may lack what
        an index has of steps and texts."""
        if piece.segment is None:
            # It is asked for once, and grows.
            return self._indexes.pop(piece.number)[1] if self._known(piece) is not None else None
        return self._known(piece) or told_at(piece.segment.index, self._mark(piece)) or self._index(piece)

    def _of_segment(self, segment: Segment, piece: _Piece) -> Index:
        try:
            found = unsealed(segment.index.read_bytes(), self._mark(piece))
        except OSError:
            found = None
        if found is None:
            return self._kept(segment, piece, self._made(piece, keep=False))
        index, headed = found
        return index if headed else self._kept(segment, piece, index)

    def _made(self, piece: _Piece, *, keep: bool) -> Index:
        return index_of(((n, place, line) for n, (place, line) in enumerate(self._lines(piece), 1)), keep=keep)

    def _mark(self, piece: _Piece) -> Mark:
        """What an index of this file says that it is of."""
        with self._opened(piece) as file:
            source = piece.source
            end = blake2b(source.tail(file)[-_END:], digest_size=16).digest()
            return source.size, source.mtime, end

    def _kept(self, segment: Segment, piece: _Piece, index: Index) -> Index:
        """Keep the index of a segment beside it, where that can be done and the segment is still what was read."""
        content = sealed(index, self._mark(piece))
        partial = segment.index.with_name(f".{segment.index.name}.writing-{os.getpid()}")
        with contextlib.suppress(OSError):
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                # Not while the run is pruned: what goes from it must not come back in an index.
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if self._is_there(piece):
                    partial.write_bytes(content)
                    partial.replace(segment.index)
            finally:
                partial.unlink(missing_ok=True)
                os.close(folder)
        again = unsealed(content, self._mark(piece))
        return index if again is None else again[0]

    def _is_there(self, piece: _Piece) -> bool:
        found = os.stat(piece.source.path)
        return (found.st_dev, found.st_ino, found.st_mtime_ns) == (*piece.source.identity, piece.source.mtime)


@dataclass
class _Closed:
    """A closed segment whose index has a head."""

    log: TraceLog
    piece: _Piece
    segment: Segment
    before: tuple[int, int]
    head: Head

    def index(self) -> Index:
        found = self.log._index(self.piece)
        found.before = self.before
        return found

    def times(self) -> dict[str, Times]:
        return times_of(self.index())

    def texts(self) -> Mapping[str, str | int]:
        found = texts_at(self.segment.index, self.log._mark(self.piece))
        return self.index().texts if found is None else found

    def totals(self) -> tuple[Totals, Names] | None:
        found = totals_at(self.segment.index, self.log._mark(self.piece))
        return totals_of(self.index()) if found is None else found[0]


class TraceTail:
    """What is appended to a trace, by any process: from now on, or all of it where ``whole``.

    ``told``: steps and texts may be left out, where that is less to read.
    """

    def __init__(self, log: TraceLog, *, whole: bool, told: bool) -> None:
        self.log = log
        self._told = told
        self._number, self._place = 0, 0
        """The file that is read next, and where."""
        if not whole and (pieces := log._look()):
            last = pieces[-1]
            self._number = last.number + (last.segment is not None)
            self._place = last.source.size if last.segment is None else 0

    @property
    def segment(self) -> int:
        """The number that the file has, or will have, which is read next."""
        return self._number

    def begin_behind(self, number: int) -> None:
        """Nothing was read yet, and the segments up to that one are not to be."""
        self._number, self._place = number + 1, 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that have come since the last call. A line that is still being written comes another time."""
        for piece in self.log._look():
            if piece.number < self._number:
                continue
            if piece.number > self._number:
                self._number, self._place = piece.number, 0
            if self._told and not self._place and (told := self.log._told(piece)) is not None:
                end = math.inf if piece.segment is not None else told.whole
                for (_, line), place in zip(told.told(), told.places, strict=True):
                    if place < end:
                        yield line
                self._place = told.whole
            else:
                for place, line in self.log._lines(piece, self._place):
                    if not line.endswith(b"\n"):
                        return
                    self._place = place + len(line)
                    yield line
            if piece.segment is not None:
                self._number, self._place = piece.number + 1, 0


def _which(source: Source) -> object:
    return source.identity, source.mtime, source.size


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
