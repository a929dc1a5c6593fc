"""An index as it is kept beside its segment: a head, the texts' places, and the rest, each of which is read alone.

It is derived and never trusted: it says of which file it is (size, time, a hash of its end), has a hash of each of its
three pieces, and is made again where anything does not fit. Those of the build before have no head; they are read, and
written anew with one.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import msgspec

from atlas.traces.heads import Head, head_of
from atlas.traces.index import Index, StepLines

SUFFIX = ".index"
Mark = tuple[int, int, bytes]
"""Of which file an index is: its size, the time of its last change, and a hash of its end."""
_HASH = 16
_MAGIC = f"atlas index 2 {sys.byteorder}\n".encode()
_BEFORE = f"atlas index 1 {sys.byteorder}\n".encode()
_SIZES = struct.Struct("<QQQ")
"""Bytes of the head, of the texts, and of the rest, each without its hash, which stands before it."""
_BEGIN = len(_MAGIC) + _SIZES.size


class _KeptHead(msgspec.Struct, array_like=True):
    of: Mark
    head: Head


class _KeptTexts(msgspec.Struct, array_like=True):
    texts: list[str]
    places: bytes


class _Kept(msgspec.Struct, array_like=True):
    of: Mark
    lines: int
    numbers: bytes
    places: bytes
    told: bytes
    episodes: list[str]
    counts: bytes
    """How many step lines each episode has."""
    retrieved: list[bool]
    step_places: bytes
    step_indexes: bytes
    texts: list[str]
    """None of them here but in an index of the build before."""
    text_places: bytes


_ENCODE = msgspec.msgpack.Encoder().encode
_HEAD = msgspec.msgpack.Decoder(_KeptHead).decode
_TEXTS = msgspec.msgpack.Decoder(_KeptTexts).decode
_REST = msgspec.msgpack.Decoder(_Kept).decode


def sealed(index: Index, of: Mark) -> bytes:
    """``index`` as a file that says of what it is."""
    steps = index.steps.values()
    pieces = (
        _ENCODE(_KeptHead(of=of, head=head_of(index))),
        _ENCODE(_KeptTexts([*index.texts], array("q", (int(place) for place in index.texts.values())).tobytes())),
        _ENCODE(
            _Kept(
                of=of,
                lines=index.lines,
                numbers=index.numbers.tobytes(),
                places=index.places.tobytes(),
                told=index.told_packed(),
                episodes=list(index.steps),
                counts=array("q", (len(found.places) for found in steps)).tobytes(),
                retrieved=[found.retrieved for found in steps],
                step_places=b"".join(found.places.tobytes() for found in steps),
                step_indexes=b"".join(found.indexes.tobytes() for found in steps),
                texts=[],
                text_places=b"",
            )
        ),
    )
    return _MAGIC + _SIZES.pack(*map(len, pieces)) + b"".join(_hashed(piece) + piece for piece in pieces)


def unsealed(content: bytes, of: Mark) -> tuple[Index, bool] | None:
    """The index that ``content`` is, and whether it has a head; None where it is damaged, or not ``of`` this."""
    try:
        if content.startswith(_BEFORE):
            body = content[len(_BEFORE) + _HASH :]
            if content[: -len(body)] != _BEFORE + _hashed(body):
                return None
            kept = _REST(body)
            return (_index(kept, _KeptTexts(kept.texts, kept.text_places)), False) if kept.of == of else None
        head, texts, rest = _pieces(content)
        kept = _REST(rest)
        return (_index(kept, _TEXTS(texts)), True) if kept.of == of and _HEAD(head).of == of else None
    except ValueError:
        return None


def head_at(path: Path, of: Mark) -> Head | None:
    """The head of the index at ``path``, without the rest of it; None as :func:`unsealed`."""
    try:
        kept = _HEAD(_piece(path, 0))
    except (OSError, ValueError):
        return None
    return kept.head if kept.of == of else None


def texts_at(path: Path, of: Mark) -> dict[str, str | int] | None:
    """The places of the texts alone, by hash; None as :func:`unsealed`."""
    if head_at(path, of) is None:
        return None
    try:
        return _texts(_TEXTS(_piece(path, 1)))
    except (OSError, ValueError):
        return None


def _piece(path: Path, which: int) -> bytes:
    with path.open("rb") as file:
        sizes = _sizes(file.read(_BEGIN))
        if sum(sizes) > os.fstat(file.fileno()).st_size:
            raise ValueError("it is damaged")
        file.seek(sum(sizes[:which]) + _HASH * which, 1)
        return _checked(file.read(_HASH + sizes[which]), sizes[which])


def _pieces(content: bytes) -> list[bytes]:
    place, found = _BEGIN, []
    for size in _sizes(content[:_BEGIN]):
        found.append(_checked(content[place : place + _HASH + size], size))
        place += _HASH + size
    if place != len(content):
        raise ValueError("there is more")
    return found


def _sizes(begin: bytes) -> tuple[int, ...]:
    if len(begin) < _BEGIN or not begin.startswith(_MAGIC):
        raise ValueError("it is no index of this build")
    return _SIZES.unpack(begin[len(_MAGIC) :])


def _checked(raw: bytes, size: int) -> bytes:
    piece = raw[_HASH:]
    if len(piece) != size or raw[:_HASH] != _hashed(piece):
        raise ValueError("it is damaged")
    return piece


def _hashed(piece: bytes) -> bytes:
    return blake2b(piece, digest_size=_HASH).digest()


def _index(kept: _Kept, texts: _KeptTexts) -> Index:
    ends, places, indexes = [0], _array(kept.step_places), _array(kept.step_indexes)
    for count in _array(kept.counts):
        ends.append(ends[-1] + count)
    steps = {
        name: StepLines(places[begin:end], indexes[begin:end], retrieved)
        for name, retrieved, (begin, end) in zip(kept.episodes, kept.retrieved, pairwise(ends), strict=True)
    }
    return Index(
        lines=kept.lines,
        numbers=_array(kept.numbers),
        places=_array(kept.places),
        packed=kept.told,
        steps=steps,
        texts=_texts(texts),
    )


def _texts(kept: _KeptTexts) -> dict[str, str | int]:
    return dict(zip(kept.texts, _array(kept.places), strict=True))


def _array(content: bytes) -> array[int]:
    found = array("q")
    found.frombytes(content)
    return found
