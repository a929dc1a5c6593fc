"""An import from its source to its target: what is there is kept, the rest is loaded table by table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.benchmarks.excytin.importing.source import Manifest, Source, Table, Watch


@dataclass(frozen=True)
class Reader:
    """An account that can read what was imported and nothing else."""

    name: str
    url: str = ""
    """How to use it, its password in it; empty where it was there before, or could not be made."""
    refused: str = ""
    """Why it could not be made."""
    mend: str = ""
    """What an administrator runs in that case."""


class Target(Protocol):
    """A database that tables are put into."""

    shown: str
    """What it is called in a sentence."""

    def finished(self) -> Manifest | None: ...

    def done(self) -> dict[str, Table]: ...

    def load(self, source: Source, watch: Watch) -> Table: ...

    def drop(self, name: str) -> None: ...

    def finish(self, manifest: Manifest) -> None: ...

    def verify(self, manifest: Manifest) -> None: ...

    def reader(self) -> Reader | None:
        """The account to read it with, made where there is none; None where none is needed."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Progress:
    """How far an import is."""

    table: str
    number: int
    of: int
    rows: int | None
    """None while the table is being read."""
    read: int
    """Bytes of this table, unpacked."""
    seconds: float
    """Since this table was begun."""

    @property
    def megabytes_a_second(self) -> float:
        return self.read / 1e6 / max(self.seconds, 1e-9)


Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """What an import did."""

    manifest: Manifest
    target: str
    loaded: int
    """Tables that were loaded now; the others were there."""
    read: int
    seconds: float


def import_incident(
    incident: int, sources: Sequence[Source], target: Target, *, label: str, kind: str, show: Show
) -> Outcome:
    """Put all tables of an incident into ``target``. What an import before this one completed is kept.

    Raises:
        DataError: a file is damaged, or the server refuses; the tables loaded so far are kept, none of them is half.
        StoreError: the target cannot be written.
    """
    began = time.perf_counter()
    wanted = {source.name: source for source in sources}
    there = target.finished()
    if there is not None and {t.name: t.signature for t in there.tables} == {s.name: s.signature for s in sources}:
        return Outcome(manifest=there, target=target.shown, loaded=0, read=0, seconds=0.0)
    done = target.done()
    for name in [name for name in done if name not in wanted]:
        target.drop(name)
    tables: list[Table] = []
    loaded = read = 0
    for number, source in enumerate(sources, 1):
        table = done.get(source.name)
        if table is None or table.signature != source.signature or table.columns != source.columns:
            watched = _Watched(source.name, number, len(sources), show)
            table = target.load(source, watched)
            watched.finished(table.rows)
            loaded, read = loaded + 1, read + watched.read
        tables.append(table)
    manifest = Manifest(incident=incident, label=label, source=kind, tables=tuple(tables))
    target.finish(manifest)
    return Outcome(
        manifest=manifest, target=target.shown, loaded=loaded, read=read, seconds=time.perf_counter() - began
    )


class _Watched:
    """Counts what is read of a table, and shows it."""

    def __init__(self, table: str, number: int, of: int, show: Show) -> None:
        self.read = 0
        self._table, self._number, self._of, self._show = table, number, of, show
        self._began = time.perf_counter()

    def __call__(self, size: int) -> None:
        self.read += size
        self._tell(None)

    def finished(self, rows: int) -> None:
        self._tell(rows)

    def _tell(self, rows: int | None) -> None:
        seconds = time.perf_counter() - self._began
        self._show(Progress(self._table, self._number, self._of, rows, self.read, seconds))
