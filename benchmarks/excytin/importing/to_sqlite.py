"""Tables into a SQLite file of the form that the embedded engine opens.

The file grows under another name, ``incident_N.partial``, a table a transaction: what a killed import leaves is whole
tables, and the next import goes on after them. Only when every table is there does it get its name.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from atlas.benchmarks.excytin.importing.run import Reader
from atlas.benchmarks.excytin.importing.source import Checksum, Manifest, Source, Table, Watch, compare
from atlas.errors import DataError, StoreError

_BOOK = "atlas_imported"
"""Which tables are whole, within the unfinished file; it is gone before agents see the file."""


class SqliteTarget:
    """``folder/db/incident_N.sqlite`` with its manifest ``incident_N.json`` beside it.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path, incident: int) -> None:
        self.path = folder / "db" / f"incident_{incident}.sqlite"
        self.shown = str(self.path)
        self._manifest = self.path.with_suffix(".json")
        self._partial = self.path.with_suffix(".partial")
        self._open: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path.parent} cannot be made ({error.strerror}): choose another with -o") from error

    def finished(self) -> Manifest | None:
        """What was imported before, where all of it is there."""
        if not self._manifest.is_file():
            if self.path.exists():
                raise StoreError(
                    f"{self.path} is there already, and no import wrote it ({self._manifest.name} is missing): move it "
                    "away, or choose another folder with -o"
                )
            return None
        try:
            manifest = Manifest.model_validate_json(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._manifest} is no manifest of an import: remove it and import again") from error
        if self._partial.is_file():
            # Killed while importing, or, where it holds the manifest's tables and nothing else, before its new name.
            with self._connected() as connection:
                names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if names != {table.name for table in manifest.tables}:
                return None
            self.close()
            os.replace(self._partial, self.path)
        return manifest if self.path.is_file() else None

    def done(self) -> dict[str, Table]:
        """The whole tables of an import that was cut off."""
        with self._connected() as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {_BOOK} (name TEXT PRIMARY KEY, record TEXT)")
            records = connection.execute(f"SELECT record FROM {_BOOK}").fetchall()
        found = [Table.model_validate_json(record) for (record,) in records]
        return {table.name: table for table in found}

    def load(self, source: Source, watch: Watch) -> Table:
        """Put a table in, all of it or nothing, in place of an earlier one of its name."""
        count = Checksum()
        fields = ", ".join(f"{_quoted(name)} TEXT COLLATE NOCASE" for name in source.columns)
        marks = ", ".join("?" * len(source.columns))
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(source.name)}")
                connection.execute(f"CREATE TABLE {_quoted(source.name)} ({fields})")
                insert = f"INSERT INTO {_quoted(source.name)} VALUES ({marks})"
                connection.executemany(insert, count.through(source.rows(watch)))
                table = Table(
                    name=source.name,
                    columns=source.columns,
                    rows=count.rows,
                    checksum=count.hex,
                    signature=source.signature,
                )
                connection.execute(
                    f"INSERT OR REPLACE INTO {_BOOK} VALUES (?, ?)", (table.name, table.model_dump_json())
                )
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return table

    def drop(self, name: str) -> None:
        """Remove a table that the source has no more."""
        with self._connected() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {_quoted(name)}")
            connection.execute(f"DELETE FROM {_BOOK} WHERE name = ?", (name,))

    def finish(self, manifest: Manifest) -> None:
        """Give the file its name, now that everything is in it."""
        written = self._manifest.with_suffix(".json.tmp")
        try:
            written.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.replace(written, self._manifest)
            with self._connected() as connection:
                connection.execute(f"DROP TABLE {_BOOK}")
            self.close()
            os.replace(self._partial, self.path)
        except OSError as error:
            raise StoreError(f"{self.path.parent} cannot be written ({error.strerror}): make room there") from error

    def verify(self, manifest: Manifest) -> None:
        """Read every table back. DataError: it does not hold what was imported."""
        try:
            with contextlib.closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as file:
                for table in manifest.tables:
                    count = Checksum()
                    for row in file.execute(f"SELECT * FROM {_quoted(table.name)}"):
                        count.add(row)
                    compare(table, count, str(self.path))
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} is damaged ({error}): import it again") from error

    def reader(self) -> Reader | None:
        return None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._open is None:
                self._open = sqlite3.connect(self._partial, isolation_level=None)
                self._open.execute("PRAGMA synchronous = NORMAL")
                self._open.execute("PRAGMA cache_size = -65536")
            yield self._open
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self._partial} cannot be written ({error}): make room there, or choose another -o"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._partial} is damaged ({error}): remove it and import again") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
