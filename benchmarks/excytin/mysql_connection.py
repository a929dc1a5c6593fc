"""pymysql's connection with a bound on what one statement may bring."""

from __future__ import annotations

import sys

import pymysql

from atlas.benchmarks.excytin.engine import too_large


class BoundedConnection(pymysql.connections.Connection):  # type: ignore[misc]  # Without types.
    """Refuses to read further where more bytes come than are ``left``: a row is else read whole, however long it is."""

    left: int = sys.maxsize

    def _read_bytes(self, num_bytes: int) -> bytes:
        self.left -= num_bytes
        if self.left < 0:
            raise too_large()
        found: bytes = super()._read_bytes(num_bytes)
        return found

    def abandon(self) -> None:
        """Let go of it at once. What a statement still sends is not read to its end first, which may never come."""
        if self._result is not None:
            self._result.unbuffered_active = False
        if self.open:
            self._force_close()
