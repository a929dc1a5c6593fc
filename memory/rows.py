"""What a database hands out is looked at before it is believed: files at rest are cut, edited and rot.

SQLite keeps any kind of value in any column, so a row may hold bytes where a number belongs. Whatever does not fit is
told in one sentence that names the table and the file, and nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.memory.backend import KINDS, STATUSES, Changed, Count, Item, Note, Status, Version
from atlas.record import Record

R = TypeVar("R", bound=Record)

_STATUSES = frozenset((*STATUSES, *get_args(Status)))


def items(rows: Iterable[tuple[Any, ...]], path: str) -> list[Item]:
    """Rows of ``seq, kind, id, status, record, version``."""
    found = []
    for row in rows:
        seq, kind, name, status, record, version = row
        if not (
            type(seq) is int
            and kind in KINDS
            and type(name) is str
            and status in _STATUSES
            and type(record) is str
            and type(version) is int
        ):
            raise wrong("items", path, row[:4])
        found.append(Item(seq, kind, name, status, record, version))
    return found


def versions(rows: Iterable[tuple[Any, ...]], path: str) -> list[Version]:
    """Rows of ``number, time, author, reason, action``."""
    found = []
    for row in rows:
        number, time, *words = row
        if type(number) is not int or type(time) not in (int, float) or not all(type(word) is str for word in words):
            raise wrong("versions", path, row[:2])
        found.append(Version(*row))
    return found


def changes(rows: Iterable[tuple[Any, ...]], path: str) -> list[Changed]:
    """Rows of ``version, kind, id, before, after, replaced``."""
    found = []
    for row in rows:
        version, kind, name, before, after, replaced = row
        if not (
            type(version) is int
            and kind in KINDS
            and type(name) is str
            and before in _STATUSES
            and after in _STATUSES
            and (replaced is None or type(replaced) is str)
        ):
            raise wrong("changes", path, row[:5])
        found.append(Changed(*row))
    return found


def counts(rows: Iterable[tuple[Any, ...]], path: str) -> Iterator[Count]:
    """Rows of ``version, before, after, edited, items``."""
    for row in rows:
        version, before, after, edited, number = row
        if type(version) is not int or before not in _STATUSES or after not in _STATUSES:
            raise wrong("changes", path, row[:3])
        yield Count(version, before, after, bool(edited), number)


def notes(rows: Iterable[tuple[Any, ...]], path: str) -> list[Note]:
    """Rows of ``namespace, key, value, fields, ttl, expires, created, updated``."""
    found = []
    for row in rows:
        space, key, value, fields, *times = row
        last = times[2:]
        if (
            type(value) is not str
            or type(fields) not in (str, type(None))
            or not all(type(time) in (int, float, type(None)) for time in times)
            or None in last
        ):
            raise wrong("notes", path, row[:2])
        found.append(Note(namespace(space, path), _loaded(key, str, path), value, fields, *times))
    return found


def namespace(text: Any, path: str) -> tuple[str, ...]:
    """The namespace of a note."""
    labels: list[Any] = _loaded(text, list, path)
    if not all(type(label) is str for label in labels):
        raise wrong("notes", path, (text,))
    return tuple(labels)


def _loaded(text: Any, kind: type[Any], path: str) -> Any:
    try:
        value = read_json(text)
    except (TypeError, ValueError) as error:
        raise wrong("notes", path, (text,)) from error
    if type(value) is not kind:
        raise wrong("notes", path, (text,))
    return value


def texts(rows: Iterable[tuple[Any, ...]], table: str, path: str) -> list[tuple[Any, ...]]:
    """Rows that hold texts alone."""
    found = list(rows)
    for row in found:
        if not all(type(value) is str for value in row):
            raise wrong(table, path, row)
    return found


def number(value: Any, table: str, path: str) -> int:
    """A whole number."""
    if type(value) is not int:
        raise wrong(table, path, (value,))
    return value


def record(model: type[R], text: Any, what: str, path: str) -> R:
    """The record in a row. ``what`` names the row."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise unread(what, path, error) from error


def fitting(model: type[R], row: dict[str, Any], what: str, path: str) -> R:
    """The record that a row is."""
    try:
        return model.model_validate(row)
    except ValidationError as error:
        raise unread(what, path, error) from error


def unread(what: str, path: str, error: ValidationError) -> StoreError:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "all of it"
    return StoreError(f"{what} in {path} cannot be read ({where}: {first['msg']}): restore a copy of the file")


def wrong(table: str, path: str, row: Iterable[Any]) -> StoreError:
    shown = ", ".join(repr(value)[:40] for value in row)
    return StoreError(f"the table {table} of {path} is damaged (it holds {shown}): restore a copy of the file")
