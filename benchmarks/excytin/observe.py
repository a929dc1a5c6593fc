"""What an agent reads: rows as Python prints them, cut only where they are many and long."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.benchmarks.excytin.engine import Row

MAX_TEXT = 100_000
"""Characters up to which a result is shown whole."""
SHOWN = 15
"""Rows shown of a longer one; a result of fewer rows is shown whole, however long."""


def observation(rows: Sequence[Row]) -> str:
    """``str`` of the list of rows, by the benchmark's rule for truncation."""
    rows = list(rows)
    # A text in a row is no shorter when it is printed: hundreds of megabytes are not printed to be thrown away.
    if len(rows) > SHOWN:
        long = sum(len(cell) for row in rows for cell in row if isinstance(cell, str | bytes)) > MAX_TEXT
        if long or len(str(rows)) > MAX_TEXT:
            return f"Retrieved {len(rows)} entries. Displaying first {SHOWN} entries.\n{rows[:SHOWN]}"
    return str(rows)
