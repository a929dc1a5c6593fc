"""Tables into a MySQL or MariaDB database.

A table is filled in a database of its own, ``atlas_importing_NAME``, and moved over when it is whole: ``RENAME TABLE``
is atomic, so the incident's database never holds half of one. What is known of a whole table stands in its comment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from atlas.benchmarks.excytin.importing.run import Reader
from atlas.benchmarks.excytin.importing.source import Checksum, Fields, Manifest, Source, Table, Watch, compare
from atlas.benchmarks.excytin.mysql_engine import connect
from atlas.errors import ConfigError, DataError

_MARK = "atlas import "
_BATCH = 500
_COMMIT = 100
"""Batches in a transaction."""
_ROWS = 20_000
"""Rows read back at a time."""
_THERE = 1396
"""The number of the server's complaint that an account is there already."""


class MysqlTarget:
    """The database of the URL, or ``excytin_incident_N`` on its server where the URL names none.

    Raises:
        ConfigError: the URL is none, or its database holds tables that no import made.
        DataError: the server cannot be reached, or does not let the account make a database.
    """

    def __init__(self, url: str, incident: int) -> None:
        parts = urlsplit(url)
        self.name = parts.path.strip("/") or f"excytin_incident_{incident}"
        if not self.name.isidentifier():
            raise ConfigError(f"{self.name!r} is no name for a database: use letters, digits and _")
        self.url = urlunsplit(parts._replace(path=f"/{self.name}"))
        self.shown = f"the database {self.name}"
        self._aside = f"atlas_importing_{self.name}"
        self._incident = incident
        self._table = ""
        self._connection = connect(urlunsplit(parts._replace(path="")), database=False)
        with self._saying():
            self._run(f"CREATE DATABASE IF NOT EXISTS `{self.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
            self._run("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'")
            self._run("SET SESSION net_write_timeout = 3600")

    def finished(self) -> Manifest | None:
        """What was imported before, where it was said to be all; None else."""
        tables = self._tables()
        label = next((t["label"] for t in tables.values() if "label" in t), None)
        if label is None:
            return None
        return Manifest(
            incident=self._incident,
            label=label,
            source=next(t["source"] for t in tables.values() if "label" in t),
            tables=tuple(_record(name, said) for name, said in sorted(tables.items())),
        )

    def done(self) -> dict[str, Table]:
        """The whole tables that are there. What a killed import left aside is removed."""
        with self._saying():
            foreign = self._run(
                f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{self.name}' "
                f"AND TABLE_COMMENT NOT LIKE '{_MARK}%'"
            )
            if foreign:
                raise ConfigError(
                    f"the database {self.name} holds tables that no import made ({foreign[0][0]}): name another one, "
                    "for nothing of yours is overwritten"
                )
            self._run(f"DROP DATABASE IF EXISTS `{self._aside}`")
            self._run(f"CREATE DATABASE `{self._aside}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        return {name: _record(name, said) for name, said in self._tables().items()}

    def load(self, source: Source, watch: Watch) -> Table:
        """Put a table in, all of it or nothing, in place of an earlier one of its name."""
        self._table = source.name
        aside, final = f"`{self._aside}`.{_quoted(source.name)}", f"`{self.name}`.{_quoted(source.name)}"
        fields = ", ".join(f"{_quoted(column)} TEXT" for column in source.columns)
        count = Checksum()
        try:
            with self._saying():
                self._run(f"DROP TABLE IF EXISTS {aside}")
                self._run(f"CREATE TABLE {aside} ({fields}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC")
                self._fill(aside, len(source.columns), count.through(source.rows(watch)))
                table = Table(
                    name=source.name,
                    columns=source.columns,
                    rows=count.rows,
                    checksum=count.hex,
                    signature=source.signature,
                )
                self._comment(aside, table)
                self._run(f"DROP TABLE IF EXISTS {final}")
                self._run(f"RENAME TABLE {aside} TO {final}")
        except BaseException:
            with contextlib.suppress(self._connection.Error):
                self._run(f"DROP TABLE IF EXISTS {aside}")
            raise
        return table

    def drop(self, name: str) -> None:
        """Remove a table that the source has no more."""
        with self._saying():
            self._run(f"DROP TABLE IF EXISTS `{self.name}`.{_quoted(name)}")

    def finish(self, manifest: Manifest) -> None:
        """Note at the first table that the import is complete."""
        with self._saying():
            first = manifest.tables[0]
            about = {"label": manifest.label, "source": manifest.source}
            self._comment(f"`{self.name}`.{_quoted(first.name)}", first, about)
            self._run(f"DROP DATABASE IF EXISTS `{self._aside}`")

    def verify(self, manifest: Manifest) -> None:
        """Read every table back. DataError: it does not hold what was imported."""
        from pymysql.cursors import SSCursor

        with self._saying():
            for table in manifest.tables:
                self._table = table.name
                count = Checksum()
                with self._connection.cursor(SSCursor) as cursor:
                    cursor.execute(f"SELECT * FROM `{self.name}`.{_quoted(table.name)}")
                    while batch := cursor.fetchmany(_ROWS):
                        for row in batch:
                            count.add(row)
                compare(table, count, self.shown)

    def reader(self) -> Reader | None:
        """The account that can read this database alone, made where there is none."""
        name = _reader(self.name)
        password = f"Aa1-{secrets.token_urlsafe(18)}"
        account = f"'{name}'@'%'"
        # In a GRANT, _ stands for any character: other incidents' databases are named alike.
        pattern = self.name.replace("_", "\\_")
        grant = f"GRANT SELECT ON `{pattern}`.* TO {account}"
        made = True
        try:
            try:
                self._run(f"CREATE USER {account} IDENTIFIED BY '{password}'")
            except self._connection.Error as error:
                if error.args[:1] != (_THERE,):
                    raise
                made = False
            self._run(grant)
        except self._connection.Error as error:
            reason = str(error.args[-1] if error.args else error)
            mend = f"CREATE USER {account} IDENTIFIED BY 'a password'; {grant};"
            return Reader(name=name, refused=reason, mend=mend)
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        return Reader(name, urlunsplit(parts._replace(netloc=f"{name}:{password}@{place}")) if made else "")

    def close(self) -> None:
        with contextlib.suppress(self._connection.Error):
            if self._connection.open:
                self._connection.close()

    def _fill(self, table: str, width: int, rows: Iterator[Fields]) -> None:
        insert = f"INSERT INTO {table} VALUES ({', '.join(['%s'] * width)})"
        with self._connection.cursor() as cursor:
            self._connection.begin()
            batch: list[Fields] = []
            filled = 0
            for row in rows:
                batch.append(row)
                if len(batch) == _BATCH:
                    cursor.executemany(insert, batch)
                    batch, filled = [], filled + 1
                    # Nobody sees the table yet, and a transaction of gigabytes takes as long to take back.
                    if filled % _COMMIT == 0:
                        self._connection.commit()
                        self._connection.begin()
            if batch:
                cursor.executemany(insert, batch)
            self._connection.commit()

    def _comment(self, table: str, record: Table, about: dict[str, str] | None = None) -> None:
        said = {"rows": record.rows, "checksum": record.checksum, "signature": record.signature, **(about or {})}
        text = self._connection.escape(_MARK + json.dumps(said, separators=(",", ":")))
        self._run(f"ALTER TABLE {table} COMMENT = {text}")

    def _tables(self) -> dict[str, dict[str, object]]:
        """What is known of the database's tables that an import made, with their columns."""
        with self._saying():
            found = {}
            for name, comment in self._run(
                f"SELECT TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{self.name}'"
            ):
                if str(comment).startswith(_MARK):
                    said = json.loads(str(comment).removeprefix(_MARK))
                    shown = self._run(f"SHOW COLUMNS FROM `{self.name}`.{_quoted(str(name))}")
                    found[str(name)] = {**said, "columns": tuple(str(row[0]) for row in shown)}
            return found

    def _run(self, sql: str) -> tuple[tuple[object, ...], ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn the server's complaints into a sentence."""
        try:
            yield
        except (self._connection.Error, OSError) as error:
            reason = error.args[-1] if error.args and error.args[-1] else type(error).__name__
            while_ = f" while table {self._table} was imported" if self._table else ""
            raise DataError(
                f"the database server refused or dropped the connection{while_} ({reason}): whole tables are kept, "
                "see to the server and run the same command again"
            ) from error


def label_of(url: str) -> str:
    """What an import said of the rows in the database of ``url``; empty where nothing made or said anything.

    Raises:
        ConfigError, DataError: as :func:`atlas.benchmarks.excytin.mysql_engine.connect`.
    """
    with contextlib.closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")
        comments = [str(row[0]) for row in cursor.fetchall()]
    said = [json.loads(text.removeprefix(_MARK)) for text in comments if text.startswith(_MARK)]
    return next((str(one["label"]) for one in said if "label" in one), "")


def _reader(database: str) -> str:
    """The name of a database's account, in MySQL's 32 characters."""
    if len(database) <= 25:
        return f"{database}_reader"
    return f"{database[:16]}_{hashlib.sha256(database.encode()).hexdigest()[:8]}_reader"


def _record(name: str, said: dict[str, object]) -> Table:
    known = {key: value for key, value in said.items() if key in Table.model_fields}
    return Table.model_validate({"name": name, **known})


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
