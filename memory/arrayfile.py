"""Arrays in one file, each with a checksum: what is derived and takes long to make anew.

A file is whole or it is damaged: one that was cut, or in which a byte changed, is never half believed. It is read into
memory and not mapped, as a file that is cut while it is mapped ends the process.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import DataError
from atlas.jsontext import read_json

_MAGIC = b"ATLSARR1"
_HEAD = struct.Struct("<QI")
"""Length and checksum of what says which arrays follow."""
_LONGEST_HEAD = 1 << 24
_TYPES = ("uint8", "int8", "int32", "int64", "uint64", "float32")
_PART = 1 << 24

About = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def write(path: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file whole or not at all: what was at ``path`` is replaced at the end. Raises OSError."""
    listed = []
    flat = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in flat.items():
        listed.append([name, array.dtype.name, list(array.shape), _checksum(array)])
    head = json.dumps({"about": dict(about), "arrays": listed}).encode()
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(_MAGIC + _HEAD.pack(len(head), zlib.crc32(head)) + head)
            for array in flat.values():
                file.write(_bytes(array))
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read(path: Path, fits: Callable[[About], bool]) -> tuple[About, Arrays] | None:
    """What the file says it is about, and its arrays; None where ``fits`` does not like what it is about.

    Raises OSError, and DataError (with no path in it) for a file that is damaged.
    """
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - len(_MAGIC) - _HEAD.size
        start = file.read(len(_MAGIC) + _HEAD.size)
        if left < 0 or not start.startswith(_MAGIC):
            raise DataError("it is of another kind, or cut off")
        length, checksum = _HEAD.unpack(start[len(_MAGIC) :])
        if length > min(left, _LONGEST_HEAD):
            raise DataError("it is cut off")
        head = file.read(length)
        if zlib.crc32(head) != checksum:
            raise DataError("a byte of it has changed")
        about, listed = _listed(head)
        if not fits(about):
            return None
        if sum(math.prod(shape) * np.dtype(kind).itemsize for _, kind, shape, _ in listed) != left - length:
            raise DataError("it is cut off, or goes on too long")
        arrays: Arrays = {}
        for name, kind, shape, checksum in listed:
            array = np.empty(shape, kind)
            room = _bytes(array)
            if file.readinto(room) != len(room):
                raise DataError("it is cut off")
            if _checksum(array) != checksum:
                raise DataError("a byte of it has changed")
            arrays[name] = array
        return about, arrays


def _listed(head: bytes) -> tuple[About, list[tuple[str, str, list[int], int]]]:
    try:
        said = read_json(head)
        listed = [
            (str(name), str(kind), list(map(int, shape)), int(sum_)) for name, kind, shape, sum_ in said["arrays"]
        ]
        about = dict(said["about"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DataError("what it says of itself cannot be read") from error
    if any(kind not in _TYPES or any(n < 0 for n in shape) for _, kind, shape, _ in listed):
        raise DataError("what it says of itself cannot be read")
    return about, listed


def _checksum(array: NDArray[Any]) -> int:
    found = 0
    data = _bytes(array)
    for start in range(0, len(data), _PART):
        found = zlib.crc32(data[start : start + _PART], found)
    return found


def _bytes(array: NDArray[Any]) -> memoryview:
    """Of an array whose rows follow one another; what is written there is written to it."""
    return array.reshape(-1).view(np.uint8).data
