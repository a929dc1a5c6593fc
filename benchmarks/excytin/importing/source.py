"""Where tables come from: one table of one incident at a time, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.benchmarks.excytin.layers import SKIPPED
from atlas.errors import DataError
from atlas.records import Record

Fields = Sequence[str | None]
Watch = Callable[[int], None]
"""Told the bytes that were read since the last time."""

LEFT_OUT = SKIPPED
"""Tables that the benchmark never loads."""


class Source(Protocol):
    """One table that can be read from its beginning, as often as need be."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def signature(self) -> str:
        """Changes when its files change."""
        ...

    def rows(self, watch: Watch) -> Iterator[Fields]:
        """All rows, each with as many fields as there are columns. DataError: a file is damaged."""
        ...


class Table(Record):
    """A table as it was imported: what ``--verify`` compares the database with."""

    name: str
    columns: tuple[str, ...]
    rows: int
    checksum: str
    """Of all rows in any order: see :class:`Checksum`."""
    signature: str
    """Of the files it was read from."""


class Manifest(Record):
    """What was imported, beside the database."""

    incident: int
    label: str
    """Said wherever the rows are shown; empty where they are all of them."""
    source: str
    """The kind of source: ``download`` or ``recorded subset``."""
    tables: tuple[Table, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@dataclass
class Checksum:
    """The content of a table, whatever the order of its rows: how many, and the sum of their hashes.

    A row's hash is 128 bits of BLAKE2b over its fields; the sum is taken modulo 2**128. It tells damage, not malice.
    """

    rows: int = 0
    _sum: int = 0

    def through(self, rows: Iterable[Fields]) -> Iterator[Fields]:
        """The same rows, counted as they pass."""
        for row in rows:
            self.add(row)
            yield row

    def add(self, row: Fields) -> None:
        text = "\x1f".join("\x00" if field is None else field for field in row)
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._sum += int.from_bytes(digest)
        self.rows += 1

    @property
    def hex(self) -> str:
        return f"{self._sum % (1 << 128):032x}"


def compare(expected: Table, found: Checksum, where: str) -> None:
    """DataError where a table does not hold what was imported."""
    if found.rows != expected.rows:
        raise DataError(
            f"{where} has {found.rows:,} rows in table {expected.name}, of {expected.rows:,} imported: import it again"
        )
    if found.hex != expected.checksum:
        raise DataError(f"{where} has other rows in table {expected.name} than were imported: import it again")
