"""How large a measurement is, how long it may take, and who is told how far it is."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from atlas.memory.database import Database

SERVER = "ATLAS_POSTGRES"
"""Names the server that memories are measured on besides files: ``postgresql://USER@HOST/DATABASE``."""


@dataclass(frozen=True)
class Plan:
    """What a part is told."""

    n: int | None = None
    """Its size, in its own unit; None for a moderate one."""
    seed: int = 0
    seconds: float = 900.0
    """After which it begins nothing further, and its table tells how far it has come."""
    only: tuple[str, ...] = ()
    """The rows that are wanted, by name; all where empty."""
    said: Callable[[str], object] = field(default=lambda text: None)
    log: Path | None = None
    """A file of what was tried before, which is gone on with; None where nothing is kept."""
    rows: dict[str, None] = field(default_factory=dict)
    """All that was asked for so far, whether it is wanted or not."""
    began: float = field(default_factory=time.monotonic)

    def size(self, usual: int) -> int:
        return usual if self.n is None else self.n

    def chance(self, *what: object) -> Random:
        """A source of numbers for one thing: it does not depend on what was drawn for others."""
        return Random(f"{self.seed} {what}")

    def wanted(self, name: str) -> bool:
        self.rows[name] = None
        return not self.only or name in self.only

    def part(self, of: int) -> Plan:
        """One of so many that are still to come: it may take its part of the time that is left."""
        now = time.monotonic()
        return replace(self, seconds=max(0.0, self.began + self.seconds - now) / of, began=now)

    @property
    def late(self) -> bool:
        """Whether nothing further may begin."""
        return time.monotonic() - self.began > self.seconds


@contextmanager
def scratch(prefix: str = "atlas-reliability-") -> Iterator[Path]:
    """A folder, gone after the block."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def schema(url: str | None = None) -> Iterator[str]:
    """The URL of a memory that is not there yet on the server ``url``, or on that which ``ATLAS_POSTGRES`` names; gone
    after the block."""
    base = url or os.environ[SERVER]
    place = f"{base}{'&' if '?' in base else '?'}schema=rel_{uuid.uuid4().hex[:12]}"
    try:
        yield place
    finally:
        with closing(Database(place)) as database:
            backend: Any = database.backend
            backend.plain("DROP SCHEMA {s} CASCADE")


def server() -> str | None:
    """The PostgreSQL server to measure on, or None."""
    return os.environ.get(SERVER)
