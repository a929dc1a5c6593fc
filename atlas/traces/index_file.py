"""An index as it is kept beside its segment: a head, the texts' places, what episodes used in totals and whose it is,
the lines that are told, and where steps are, each of which is read alone.

It is derived and never trusted: it says of which file it is (size, time, a hash of its end), has a hash of each of its
pieces, and is made again where anything does not fit. Those of the builds before have no head, or no totals; they are
read, and written anew with all.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

from atlas.traces.heads import Head, head_of
from atlas.traces.index import Index, StepLines
from atlas.traces.totals import Names, Totals, totals_of

SUFFIX = ".index"
Mark = tuple[int, int, bytes]
"""Of which file an index is: its size, the time of its last change, and a hash of its end."""
_HASH = 16
_MAGIC = f"atlas index 3 {sys.byteorder}\n".encode()
_SECOND = f"atlas index 2 {sys.byteorder}\n".encode()
_FIRST = f"atlas index 1 {sys.byteorder}\n".encode()
_SIZES, _SIZES_SECOND = struct.Struct("<6Q"), struct.Struct("<3Q")
"""Bytes of each piece, without its hash, which stands before it."""
_HEAD, _TEXTS, _TOTALS, _NAMES, _TOLD, _STEPS = range(6)
"""The pieces."""


class _KeptHead(msgspec.Struct, array_like=True):
    of: Mark
    head: Head


class _KeptTexts(msgspec.Struct, array_like=True):
    texts: list[str]
    places: bytes


class _KeptTold(msgspec.Struct, array_like=True):
    lines: int
    numbers: bytes
    places: bytes
    told: bytes


class _KeptSteps(msgspec.Struct, array_like=True):
    episodes: list[str]
    counts: bytes
    """How many step lines each episode has."""
    retrieved: list[bool]
    places: bytes
    indexes: bytes


class _KeptBefore(msgspec.Struct, array_like=True):
    """All of it, in an index of the first build; in one of the second all but the head and the texts."""

    of: Mark
    lines: int
    numbers: bytes
    places: bytes
    told: bytes
    episodes: list[str]
    counts: bytes
    retrieved: list[bool]
    step_places: bytes
    step_indexes: bytes
    texts: list[str]
    text_places: bytes


_ENCODE = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(_KeptHead).decode
_texts = msgspec.msgpack.Decoder(_KeptTexts).decode
_totals = msgspec.msgpack.Decoder(Totals | None).decode
_names = msgspec.msgpack.Decoder(Names).decode
_told = msgspec.msgpack.Decoder(_KeptTold).decode
_steps = msgspec.msgpack.Decoder(_KeptSteps).decode
_before = msgspec.msgpack.Decoder(_KeptBefore).decode


def sealed(index: Index, of: Mark) -> bytes:
    """``index`` as a file that says of what it is."""
    steps = index.steps.values()
    totals, names = totals_of(index) or (None, Names([], b""))
    made = (
        _KeptHead(of=of, head=head_of(index)),
        _KeptTexts([*index.texts], array("q", (int(place) for place in index.texts.values())).tobytes()),
        totals,
        names,
        _KeptTold(index.lines, index.numbers.tobytes(), index.places.tobytes(), index.told_packed()),
        _KeptSteps(
            episodes=list(index.steps),
            counts=array("q", (len(found.places) for found in steps)).tobytes(),
            retrieved=[found.retrieved for found in steps],
            places=b"".join(found.places.tobytes() for found in steps),
            indexes=b"".join(found.indexes.tobytes() for found in steps),
        ),
    )
    pieces = [*map(_ENCODE, made)]
    return _MAGIC + _SIZES.pack(*map(len, pieces)) + b"".join(_hashed(piece) + piece for piece in pieces)


def unsealed(content: bytes, of: Mark) -> tuple[Index, bool] | None:
    """The index that ``content`` is, and whether it is of this build; None where it is damaged, or not ``of`` this."""
    try:
        if content.startswith(_FIRST):
            body = _checked(content[len(_FIRST) :])
            kept = _before(body)
            return (_index_before(kept, _KeptTexts(kept.texts, kept.text_places)), False) if kept.of == of else None
        if content.startswith(_SECOND):
            head, texts, rest = _pieces(content, _SECOND, _SIZES_SECOND)
            kept = _before(rest)
            return (_index_before(kept, _texts(texts)), False) if kept.of == of == _head(head).of else None
        pieces = _pieces(content, _MAGIC, _SIZES)
        if _head(pieces[_HEAD]).of != of:
            return None
        return _index(_told(pieces[_TOLD]), _steps(pieces[_STEPS]), _texts(pieces[_TEXTS])), True
    except ValueError:
        return None


def head_at(path: Path, of: Mark) -> Head | None:
    """The head of the index at ``path``, without the rest of it; None as :func:`unsealed`, and where it is not of this
    build."""
    try:
        return _some(path, of)[0]
    except (OSError, ValueError):
        return None


def texts_at(path: Path, of: Mark) -> dict[str, str | int] | None:
    """The places of the texts alone, by hash; None as :func:`head_at`."""
    try:
        return _by_hash(_texts(_some(path, of, _TEXTS)[1][0]))
    except (OSError, ValueError):
        return None


def totals_at(path: Path, of: Mark) -> tuple[tuple[Totals, Names] | None] | None:
    """What episodes used alone, as :func:`atlas.traces.totals.totals_of` has it; None as :func:`head_at`."""
    try:
        totals, names = _some(path, of, _TOTALS, _NAMES)[1]
        found = _totals(totals)
        return ((found, _names(names)) if found is not None else None,)
    except (OSError, ValueError):
        return None


def told_at(path: Path, of: Mark) -> Index | None:
    """An index of the lines that are told alone; None as :func:`head_at`."""
    try:
        return _index(_told(_some(path, of, _TOLD)[1][0]))
    except (OSError, ValueError):
        return None


def _some(path: Path, of: Mark, *which: int) -> tuple[Head, list[bytes]]:
    """The head and these pieces of an index. Raises ValueError where it is not ``of`` this, or damaged."""
    with path.open("rb") as file:
        begin = file.read(len(_MAGIC) + _SIZES.size)
        sizes = _sizes(begin, _MAGIC, _SIZES)
        ends = [*accumulate((_HASH + size for size in sizes), initial=len(begin))]
        if ends[-1] != os.fstat(file.fileno()).st_size:
            raise ValueError("it is damaged")

        def piece(number: int) -> bytes:
            file.seek(ends[number])
            return _checked(file.read(_HASH + sizes[number]))

        kept = _head(piece(_HEAD))
        if kept.of != of:
            raise ValueError("it is of another file")
        return kept.head, [*map(piece, which)]


def _pieces(content: bytes, magic: bytes, form: struct.Struct) -> list[bytes]:
    begin = len(magic) + form.size
    sizes = _sizes(content[:begin], magic, form)
    ends = [*accumulate((_HASH + size for size in sizes), initial=begin)]
    if ends[-1] != len(content):
        raise ValueError("it is damaged")
    return [_checked(content[begin:end]) for begin, end in pairwise(ends)]


def _sizes(begin: bytes, magic: bytes, form: struct.Struct) -> Sequence[int]:
    if len(begin) < len(magic) + form.size or not begin.startswith(magic):
        raise ValueError("it is no index of this build")
    return form.unpack(begin[len(magic) :])


def _checked(raw: bytes) -> bytes:
    piece = raw[_HASH:]
    if raw[:_HASH] != _hashed(piece):
        raise ValueError("it is damaged")
    return piece


def _hashed(piece: bytes) -> bytes:
    return blake2b(piece, digest_size=_HASH).digest()


def _index_before(kept: _KeptBefore, texts: _KeptTexts) -> Index:
    told = _KeptTold(kept.lines, kept.numbers, kept.places, kept.told)
    steps = _KeptSteps(kept.episodes, kept.counts, kept.retrieved, kept.step_places, kept.step_indexes)
    return _index(told, steps, texts)


def _index(told: _KeptTold, steps: _KeptSteps | None = None, texts: _KeptTexts | None = None) -> Index:
    return Index(
        lines=told.lines,
        numbers=_array(told.numbers),
        places=_array(told.places),
        packed=told.told,
        steps=_by_episode(steps) if steps is not None else {},
        texts=_by_hash(texts) if texts is not None else {},
    )


def _by_episode(kept: _KeptSteps) -> dict[str, StepLines]:
    places, indexes = _array(kept.places), _array(kept.indexes)
    ends = pairwise(accumulate(_array(kept.counts), initial=0))
    return {
        name: StepLines(places[begin:end], indexes[begin:end], retrieved)
        for name, retrieved, (begin, end) in zip(kept.episodes, kept.retrieved, ends, strict=True)
    }


def _by_hash(kept: _KeptTexts) -> dict[str, str | int]:
    return dict(zip(kept.texts, _array(kept.places), strict=True))


def _array(content: bytes) -> array[int]:
    found = array("q")
    found.frombytes(content)
    return found
