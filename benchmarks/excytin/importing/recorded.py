"""The recorded subset as a source: the tables of ``db/incident_N.sqlite.xz``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from atlas.benchmarks.excytin.importing.source import LEFT_OUT, Fields, Watch
from atlas.errors import DataError


@dataclass(frozen=True)
class SqliteTable:
    """A table of a SQLite file."""

    path: Path
    name: str
    columns: tuple[str, ...]
    signature: str

    def rows(self, watch: Watch) -> Iterator[Fields]:
        try:
            with closing(_connected(self.path)) as connection:
                for row in connection.execute(f'SELECT * FROM "{self.name}" ORDER BY rowid'):
                    watch(sum(len(field) for field in row if field is not None))
                    yield row
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} cannot be read ({error}): get it again") from error


def tables(path: Path, signature: str) -> list[SqliteTable]:
    """The tables of a SQLite file, but for those that the benchmark never loads. DataError: it is no database."""
    try:
        with closing(_connected(path)) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [
                SqliteTable(
                    path=path,
                    name=name,
                    columns=tuple(row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')),
                    signature=signature,
                )
                for name in sorted(names)
                if name not in LEFT_OUT and not name.startswith("sqlite_")
            ]
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no database ({error}): get it again") from error


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
