"""ONLY_FULL_GROUP_BY: what a SELECT that groups may name outside of aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.benchmarks.excytin.engine import SqlError, unknown_column

Named = tuple[str, str]
"""A column: its SQL, and its full name."""


@dataclass(frozen=True)
class Item:
    """One expression of a clause: its SQL, and the columns that it names outside of aggregates."""

    sql: str
    columns: Sequence[Named]


def check_grouped(
    groups: Sequence[str], listed: Sequence[Item], having: Sequence[Named], sorted_by: Sequence[Item]
) -> None:
    """Columns have to be grouped by, or be part of what is. SqlError: one is not.

    Args:
        groups: what is grouped by, as SQL; nothing where there is one group.
        listed: the SELECT list.
        having: columns in HAVING.
        sorted_by: ORDER BY.
    """
    known = set(groups)
    for clause, items in (("SELECT list", listed), ("ORDER BY", sorted_by)):
        for number, item in enumerate(items, 1):
            if item.sql in known:
                continue
            wrong = next((name for sql, name in item.columns if sql not in known), None)
            if wrong is not None:
                raise _not_grouped(number, clause, wrong, grouped=bool(groups))
    shown = known | {item.sql for item in listed}
    for sql, name in having:
        if sql not in shown:
            raise unknown_column(name.rpartition(".")[2], "having clause")


def _not_grouped(number: int, clause: str, column: str, *, grouped: bool) -> SqlError:
    if grouped:
        return SqlError(
            "ProgrammingError",
            f"Expression #{number} of {clause} is not in GROUP BY clause and contains nonaggregated column '{column}' "
            "which is not functionally dependent on columns in GROUP BY clause; this is incompatible with "
            "sql_mode=only_full_group_by",
        )
    return SqlError(
        "ProgrammingError",
        f"In aggregated query without GROUP BY, expression #{number} of {clause} contains nonaggregated column "
        f"'{column}'; this is incompatible with sql_mode=only_full_group_by",
    )
