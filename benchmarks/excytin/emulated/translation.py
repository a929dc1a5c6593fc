"""A statement of MySQL as one of SQLite, with what turns its columns into what a MySQL connector returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from atlas.benchmarks.excytin.catalog import RESERVED
from atlas.benchmarks.excytin.emulated.comparing import Columns
from atlas.benchmarks.excytin.emulated.parsing import parsed
from atlas.benchmarks.excytin.emulated.queries import Queries
from atlas.benchmarks.excytin.emulated.terms import Convert, converter
from atlas.benchmarks.excytin.engine import DATABASE, SqlError, unknown_table
from atlas.benchmarks.excytin.sqltext import Piece


@dataclass(frozen=True)
class Translated:
    """A statement for SQLite, and by number of the column what to make of its values."""

    sql: str
    converters: Mapping[int, Convert]


def translate(parts: Sequence[Piece], tables: Mapping[str, Sequence[str]], columns: Columns) -> Translated:
    """The statement for SQLite.

    Args:
        parts: it, taken apart by :func:`sqltext.pieces`.
        tables: the tables there are, with their columns.
        columns: what is known of their values.

    Raises:
        SqlError: MySQL would not run it, or this engine does not.
    """
    tree = parsed(parts)
    _check_tables(tree, tables)
    _check_limits(tree)
    query = Queries(tables, columns).query(tree, None, {})
    found = {number: convert for number, column in enumerate(query.columns) if (convert := converter(column.term))}
    return Translated(query.sql, found)


def _check_tables(tree: exp.Expr, tables: Mapping[str, Sequence[str]]) -> None:
    """MySQL opens all tables before it looks at columns."""
    named = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or table.db.lower() not in ("", DATABASE):
            continue
        name = table.name
        if name not in tables and name.upper() not in RESERVED | {"DUAL"} and (table.db or name.lower() not in named):
            raise unknown_table(name)


def _check_limits(tree: exp.Expr) -> None:
    for node in tree.find_all(exp.In, exp.Any, exp.All):
        query = node.args.get("query") if isinstance(node, exp.In) else node.this
        if isinstance(query, exp.Query) and query.unnest().args.get("limit") is not None:
            raise SqlError(
                "ProgrammingError",
                "This version of MySQL doesn't yet support 'LIMIT & IN/ALL/ANY/SOME subquery'",
            )
