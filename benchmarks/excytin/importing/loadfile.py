r"""The fields of a table file, read as MySQL's ``LOAD DATA`` reads them.

The benchmark loads its CSV files with ``FIELDS TERMINATED BY '❖' ENCLOSED BY '"' LINES TERMINATED BY '\n'`` and leaves
the escape character at its default, the backslash. So ``C:\Windows`` in an unescaped column becomes ``C:Windows`` in
the published database, and golden answers and logged runs have it so: a reader of plain CSV would give other rows.
The rules are those of ``READ_INFO::read_field`` in the server's source, ``sql/sql_load.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TextIO

SEPARATOR = "❖"
_ENCLOSED = re.compile(rf'"((?:[^"\\]++|\\.|""|"(?![{SEPARATOR}\n"]|\Z))*+)"(?=[{SEPARATOR}\n]|\Z)', re.DOTALL)
_PLAIN = re.compile(rf"(?:[^{SEPARATOR}\n\\]++|\\.)*+", re.DOTALL)
_SPECIAL = re.compile(r'\\(.)|""', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MEANS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}

CHUNK = 1 << 22
"""Characters read at a time."""
LONGEST = 1 << 28
"""Characters of the longest row: more can only be a quote that is never closed."""

Fields = list[str | None]


class Unended(Exception):
    """The file ends within a row: inside quotes that are never closed."""


def rows(file: TextIO, chunk: int = CHUNK) -> Iterator[tuple[int, Fields]]:
    """The rows of a file that was opened with ``newline="\\n"``: the line each begins on, from 1, and its fields.

    A field is None where the file says NULL. The header is a row like any other.

    Raises:
        Unended: as it says; ``args[0]`` is the line on which that row begins.
        UnicodeDecodeError: the file is not UTF-8.
    """
    buffer, place, line, ended = "", 0, 1, False
    while True:
        end = buffer.find("\n", place)
        if end >= 0 or ended:
            if end < 0:
                if place >= len(buffer):
                    return
                end = len(buffer)
            piece = buffer[place:end]
            if '"' not in piece and "\\" not in piece:
                fields = _simple(piece)
                yield line, fields[:-1] if end == len(buffer) and piece.endswith(SEPARATOR) else fields
                place, line = end + 1, line + 1
                continue
            quick = _split(buffer, place, end)
            if quick is not None and end < len(buffer):
                yield line, quick
                place, line = end + 1, line + 1
                continue
            found = _scanned(buffer, place, ended)
            if found is not None:
                fields, after = found
                yield line, fields
                line += buffer.count("\n", place, after)
                place = after
                continue
        if ended or len(buffer) - place > LONGEST:
            raise Unended(line)
        # As much again as is waiting, so that a long row is not scanned over and over.
        more = file.read(max(chunk, len(buffer) - place))
        ended = not more
        buffer, place = buffer[place:] + more, 0


def _simple(piece: str) -> Fields:
    """A row without quotes and escapes."""
    fields: Fields = list(piece.split(SEPARATOR))
    return [None if field == "NULL" else field for field in fields] if "NULL" in piece else fields


def _split(buffer: str, place: int, end: int) -> Fields | None:
    """A row without separators and line ends inside its fields, as most are; None where it may have some."""
    fields: Fields = []
    for part in buffer[place:end].split(SEPARATOR):
        if part.startswith('"'):
            quoted = _ENCLOSED.match(buffer, place)
            if quoted is None or quoted.end() != place + len(part):
                return None
            fields.append(_value(quoted[1], _SPECIAL, _enclosed))
        elif "\\" in part:
            if part.endswith("\\"):
                return None
            value = _value(part, _ESCAPE, _escaped)
            fields.append(None if value == "NULL" else value)
        else:
            fields.append(None if part == "NULL" else part)
        place += len(part) + 1
    return fields


def _scanned(buffer: str, place: int, ended: bool) -> tuple[Fields, int] | None:
    """The row that begins at ``place`` and where the next one begins; None where the buffer does not hold all of it."""
    fields: Fields = []
    size = len(buffer)
    while True:
        quoted = _ENCLOSED.match(buffer, place) if buffer.startswith('"', place) else None
        if quoted:
            fields.append(_value(quoted[1], _SPECIAL, _enclosed))
            place = quoted.end()
        elif buffer.startswith('"', place):
            return None
        else:
            plain = _PLAIN.match(buffer, place)
            text = plain[0] if plain else ""
            place += len(text)
            if ended and place == size - 1 and buffer[place] == "\\":
                text, place = text + "\\\\", size  # an escape that escapes nothing stands for itself
            value = _value(text, _ESCAPE, _escaped)
            fields.append(None if value == "NULL" else value)
        if place >= size:
            if not ended:
                return None
            # As the server has it, a separator that ends the file is followed by nothing, not by an empty field.
            return (fields[:-1] if buffer.endswith(SEPARATOR) and fields[-1] == "" else fields), size
        if buffer[place] == "\n":
            return fields, place + 1
        if buffer[place] != SEPARATOR:
            return None  # half an escape at the end of the buffer
        place += 1


def _value(text: str, pattern: re.Pattern[str], means: Callable[[re.Match[str]], str]) -> str | None:
    if text == "\\N":
        return None
    if "\\" not in text:
        return text.replace('""', '"') if pattern is _SPECIAL else text
    return pattern.sub(means, text)


def _escaped(found: re.Match[str]) -> str:
    return _MEANS.get(found[1], found[1])


def _enclosed(found: re.Match[str]) -> str:
    """An escape, or a quote that was written twice."""
    return '"' if found[1] is None else _MEANS.get(found[1], found[1])
