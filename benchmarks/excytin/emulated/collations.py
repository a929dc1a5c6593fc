"""Keys of texts: two are equal, or one is less, as their keys are.

``u`` is utf8mb4_unicode_ci, by the weights of the Unicode Collation Algorithm 4.0.0 on the first level; ``g`` is
utf8mb4_general_ci, by code points of capitals without their accents. Spaces at the end do not count. The weights of
what has one of its own stand in ``resources/weights.txt.xz``, a line for each collation, as WEIGHT_STRING gives them.
"""

from __future__ import annotations

import lzma
from functools import lru_cache
from pathlib import Path

from atlas.benchmarks.excytin.emulated.terms import BINARY, COLUMN

_WEIGHTS = Path(__file__).parent.parent / "resources" / "weights.txt.xz"
_IDEOGRAPHS = ((0x4E00, 0x9FC0), (0xF900, 0xFB00))
_OTHER = 0xFFFD
"""The weight of all characters beyond the first plane: they are equal."""


def key(value: object, how: str) -> str:
    """The key of a text in a collation. What is no text is compared as it is printed."""
    text = value if isinstance(value, str) else _printed(value)
    if how == COLUMN:
        if text.isascii():
            codes, ignored = _ascii()
            return text.encode().translate(codes, ignored).rstrip(b"\x0c").decode("latin-1") + "\x0c"
        return "".join(map(_column_key, text)).rstrip("\x0c") + "\x0c"
    if how == BINARY:
        return text.rstrip(" ") + " "
    if text.isascii():
        return text.upper().rstrip(" ") + " "
    return "".join(map(_literal_key, text)).rstrip(" ") + " "


def weights(text: str, how: str) -> str:
    """The key of a text whose spaces at the end count, as they do within another text."""
    return text if how == BINARY else "".join(_character(char, how) for char in text)


def _character(char: str, how: str) -> str:
    """The key of one character, without what :func:`key` puts at the end."""
    return _column_key(char) if how == COLUMN else _literal_key(char)


def compare(left: str, right: str, how: str) -> int:
    """-1, 0 or 1, as a collation of SQLite's has it."""
    if left == right:
        return 0
    first, last = key(left, how), key(right, how)
    return (first > last) - (first < last)


def _printed(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@lru_cache(1)
def _tables() -> dict[str, dict[int, str]]:
    """By collation and code point: weights in hexadecimal, four digits each."""
    found: dict[str, dict[int, str]] = {}
    for line in lzma.decompress(_WEIGHTS.read_bytes()).decode().splitlines():
        how, *entries = line.split(" ")
        table = found.setdefault(how, {})
        at = -1
        for entry in entries:
            place, colon, weights = entry.rpartition(":")
            at = int(place, 16) if colon else at + 1
            table[at] = "" if weights == "-" else weights
    return found


@lru_cache(1)
def _ranks() -> list[int]:
    """Weights that ASCII characters have, in order: the rank of one is a byte, twice its place and 2."""
    table = _tables()[COLUMN]
    return sorted({int(table[at], 16) for at in range(128) if table[at]})


@lru_cache(1)
def _ascii() -> tuple[bytes, bytes]:
    """For ``bytes.translate``: the rank of each character, and the characters that do not count."""
    table = _tables()[COLUMN]
    ranks = {weight: 2 * place + 2 for place, weight in enumerate(_ranks())}
    codes = bytes(ranks[int(table[at], 16)] if at < 128 and table[at] else 0 for at in range(256))
    return codes, bytes(at for at in range(128) if not table[at])


@lru_cache(4096)
def _column_key(char: str) -> str:
    code = ord(char)
    if code > 0xFFFF:
        return _weighed(_OTHER)
    weights = _tables()[COLUMN].get(code)
    if weights is None:
        if any(first <= code < end for first, end in _IDEOGRAPHS):
            base = 0xFB40
        else:
            base = 0xFB80 if 0x3400 <= code < 0x4DC0 else 0xFBC0
        return _weighed(base + (code >> 15)) + _weighed(code & 0x7FFF | 0x8000)
    return "".join(_weighed(int(weights[at : at + 4], 16)) for at in range(0, len(weights), 4))


@lru_cache(8192)
def _weighed(weight: int) -> str:
    """One character for a weight that an ASCII character has, two for others, which lie between."""
    ranks = _ranks()
    below = sum(one < weight for one in ranks)
    if below < len(ranks) and ranks[below] == weight:
        return chr(2 * below + 2)
    # No half of a surrogate pair: SQLite keeps text as UTF-8.
    return chr(2 * below + 1) + chr(weight if weight < 0xD800 else weight + 0x800)


@lru_cache(4096)
def _literal_key(char: str) -> str:
    code = ord(char)
    if code > 0xFFFF:
        return chr(_OTHER)
    weight = _tables()["g"].get(code)
    return char if weight is None else chr(int(weight, 16))


def folded(text: str, how: str) -> str:
    """The text with one character for all that the collation holds equal: as long as it was."""
    if how == BINARY:
        return text
    return text.lower() if text.isascii() else text.translate(_folds(how))


class _Folded(dict[int, str]):
    """For ``str.translate``: of all characters that a collation holds equal, one."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._known: dict[str, str] = {}
        for code in range(128):
            self[code] = self._known.setdefault(_character(chr(code), how), chr(code).lower())

    def __missing__(self, code: int) -> str:
        self[code] = found = self._known.setdefault(_character(chr(code), self._how), chr(code))
        return found


@lru_cache(3)
def _folds(how: str) -> _Folded:
    return _Folded(how)
