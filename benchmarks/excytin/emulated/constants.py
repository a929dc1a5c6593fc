"""Numbers that are computed of constants alone, before a statement runs: some types depend on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from atlas.benchmarks.excytin.emulated.terms import Term
from atlas.benchmarks.excytin.engine import SqlError


def constant(term: Term) -> int | None:
    """The whole number that a term is; None where it reads a column or a query, is NULL or fails."""
    # Columns' names stand in double quotes, and a query calls its columns by such names.
    if '"' in term.sql or "COUNT(" in term.sql:
        return None
    from atlas.benchmarks.excytin.emulated.functions import Functions

    with closing(sqlite3.connect(":memory:")) as connection:
        Functions().install(connection)
        try:
            found = connection.execute(f"SELECT {term.sql}").fetchone()[0]
        except (sqlite3.Error, SqlError):
            return None
    return None if found is None else int(found)
