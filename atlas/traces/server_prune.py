"""Lines are taken out of a run on a PostgreSQL server, in one transaction.

Lines keep their numbers, and those of what went are not given again: whoever follows a log goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from atlas.errors import StoreError
from atlas.traces.place import TRACE, Manifest, written
from atlas.traces.server_connection import RunConnection
from atlas.traces.server_schema import WRITERS

if TYPE_CHECKING:
    from atlas.traces.server import ServerRun

_NOT_OPEN = """
DELETE FROM {s}.run_open o WHERE run = %s AND NOT EXISTS (
    SELECT 1 FROM {s}.run_lines l, convert_to('{"type":"start","episode":"' || o.episode || '"', 'UTF8') AS began
    WHERE l.run = o.run AND l.log = %s AND substring(l.line FROM 1 FOR length(began)) = began)"""
_PART = 5000
"""Lines that are taken out by one statement."""


class ServerAlone:
    """The run while nobody else writes it. Others are not kept from beginning to: what they wrote is noticed."""

    def __init__(self, run: ServerRun) -> None:
        self._path = run.path
        self._connection = run.connection()
        self._connection.whole(self._check)
        self._lines = self._counted(self._connection)

    def rewrite(self, drops: Mapping[str, Sequence[int]], added: Sequence[bytes], manifest: Manifest) -> None:
        found = self._connection

        def rewriting() -> None:
            with found.transaction():
                # Whoever appends waits from here on.
                if self._counted(found, " FOR UPDATE") != self._lines:
                    raise StoreError(f"{self._path} was written meanwhile: do it again when nothing writes it")
                self._check()
                query = "DELETE FROM {s}.run_lines WHERE run = %s AND log = %s AND number = ANY(%s)"
                for name, places in drops.items():
                    for start in range(0, len(places), _PART):
                        found.write(query, [found.run, name, list(places[start : start + _PART])])
                number = self._lines.get(TRACE, 0)
                for line in added:
                    number += 1
                    found.write("INSERT INTO {s}.run_lines VALUES (%s, %s, %s, %s)", [found.run, TRACE, number, line])
                query = "UPDATE {s}.run_logs SET lines = %s WHERE run = %s AND log = %s"
                found.write(query, [number, found.run, TRACE])
                # Of an open episode whose beginning went nothing is to be gone on with.
                found.write(_NOT_OPEN, [found.run, TRACE])
                found.write("DELETE FROM {s}.run_responses WHERE run = %s", [found.run])
                query = "UPDATE {s}.runs SET manifest = %s WHERE run = %s"
                found.write(query, [written(manifest), found.run])
                # One that was taken for gone must not go on as if its lines were there.
                found.write("DELETE FROM {s}.run_members WHERE run = %s", [found.run])

        found.whole(rewriting)

    def _check(self) -> None:
        if self._connection.rows(WRITERS, [self._connection.run])[0][0]:
            raise StoreError(
                f"{self._path} is being written: end what writes it (its next steps may refer to lines that go), and "
                "do it then"
            )

    def _counted(self, found: RunConnection, how: str = "") -> dict[str, int]:
        rows = found.rows(f"SELECT log, lines FROM {{s}}.run_logs WHERE run = %s ORDER BY log{how}", [found.run])
        return {str(name): int(lines) for name, lines in rows}
