"""What every database engine of the benchmark offers, whatever runs underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from atlas.errors import DataError

DATABASE = "env_monitor_db"
"""What the database is called in every statement and message, wherever its rows really are."""

TIME_LIMIT = 30.0
"""Seconds a query may take, by the benchmark's rules."""
MAX_ROWS = 100_000
MAX_CHARACTERS = 200_000_000
"""Rows and characters one result may hold: more would only be cut away, after filling the memory."""
CELL = 8
"""Characters that a cell counts besides its text: millions of empty ones fill the memory too."""

_TEXT = (str, bytes)
Row = tuple[Any, ...]


class SqlError(Exception):
    """A statement that the database refused. The text is what the agent reads: the connector's class, then why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")


class Engine(Protocol):
    """One incident's database, read-only. Asked by one caller at a time, in whatever thread; closed from any."""

    def query(self, sql: str) -> Sequence[Row]:
        """The rows of one statement.

        Raises:
            SqlError: the statement is wrong, forbidden, or took too long; the episode goes on.
            DataError: the database cannot be reached any more, or was closed.
        """
        ...

    def close(self) -> None:
        """End the statement that runs, wait until it has ended, and close. May be called again.

        Who waits for a query in a thread may be cancelled, and the query goes on: nothing may be taken away under it.
        """
        ...


def syntax_error(near: str, line: int = 1) -> SqlError:
    """MySQL's error 1064. It quotes at most 80 characters."""
    return SqlError(
        "ProgrammingError",
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for "
        f"the right syntax to use near '{near[:80]}' at line {line}",
    )


def unknown_table(name: str) -> SqlError:
    return SqlError("ProgrammingError", f"Table '{DATABASE}.{name}' doesn't exist")


def unknown_column(name: str, clause: str) -> SqlError:
    return SqlError("ProgrammingError", f"Unknown column '{name}' in '{clause}'")


def read_only() -> SqlError:
    return SqlError("ProgrammingError", "Cannot execute statement in a READ ONLY transaction")


def denied(what: str) -> SqlError:
    return SqlError("ProgrammingError", f"Access denied: {what} is not allowed here")


def too_slow() -> SqlError:
    return SqlError("DatabaseError", "Query execution was interrupted, maximum statement execution time exceeded")


def too_large() -> SqlError:
    return SqlError("DatabaseError", "The result is too large: select fewer columns, or add a WHERE or a LIMIT")


def lost() -> SqlError:
    """What ran the statement ended under it; another one takes its place."""
    return SqlError("OperationalError", "Lost connection to MySQL server during query")


def closed() -> DataError:
    return DataError("the incident's database was closed: open another environment, each is used once")


def bounded(row: Row, seen: int, characters: int) -> int:
    """Characters in all after another ``row``, ``seen`` being there; SqlError where a result outgrows the limits."""
    characters += CELL * len(row)
    for cell in row:
        if isinstance(cell, _TEXT):
            characters += len(cell)
    if seen >= MAX_ROWS or characters > MAX_CHARACTERS:
        raise too_large()
    return characters
