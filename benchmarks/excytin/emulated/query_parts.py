"""What queries are made of, and small parts of writing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.fullgroup import Item
from atlas.benchmarks.excytin.emulated.scopes import Column
from atlas.benchmarks.excytin.emulated.terms import FREE, Kind, Term, compared_by, unsupported
from atlas.benchmarks.excytin.engine import SqlError, syntax_error


@dataclass(frozen=True)
class Query:
    """One written for SQLite, its columns called c1, c2 and so on."""

    sql: str
    columns: tuple[Column, ...]
    single: bool = False
    """Whether it can have one row at most."""


def limited(node: exp.Expr) -> str:
    """LIMIT and OFFSET in SQL."""
    parts = []
    for part, word in (("limit", "LIMIT"), ("offset", "OFFSET")):
        clause = node.args.get(part)
        if clause is None:
            continue
        value = clause.expression
        if not isinstance(value, exp.Literal) or value.is_string or not value.this.isdigit():
            raise syntax_error(clause.sql(dialect="mysql"))
        parts.append(f" {word} {min(int(value.this), 2**63 - 1)}")
    return "".join(parts)


def check_distinct_order(columns: Sequence[Column], sorted_by: Sequence[Item]) -> None:
    """MySQL sorts distinct rows only by what is selected."""
    shown = {column.term.sql for column in columns}
    for number, item in enumerate(sorted_by, 1):
        wrong = next((name for sql, name in item.columns if sql not in shown), None)
        if item.sql not in shown and wrong is not None:
            raise SqlError(
                "DatabaseError",
                f"Expression #{number} of ORDER BY clause is not in SELECT list, references column '{wrong}' which is "
                "not in SELECT list; this is incompatible with DISTINCT",
            )


def check_united(model: Term, terms: Sequence[Term]) -> None:
    """The columns of a UNION's branches that become one: servers print numbers into text each in its own way."""
    if model.kind is not Kind.TEXT:
        return
    compared_by(terms)
    if len({term.blob for term in terms if term.kind is Kind.TEXT}) > 1:
        raise unsupported("a UNION of bytes and text: cast one of them")
    for term in terms:
        uneven = term.kind is Kind.DECIMAL and term.scale > 0 and not term.fixed
        if uneven or (term.kind is Kind.DOUBLE and term.scale < FREE):
            raise unsupported(
                "a UNION of text and a computed number with a point (one of ROUND or CAST AS DECIMAL it does)"
            )


def has_end(node: exp.Expr) -> bool:
    """Whether ORDER BY or LIMIT stand behind it."""
    return any(node.args.get(part) for part in ("order", "limit", "offset"))


def family(sign: str) -> str:
    """UNION, EXCEPT or INTERSECT."""
    return sign.split()[0]


def place(node: exp.Expr) -> int | None:
    """The number of a column in the SELECT list, where a key is one."""
    if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
        return int(node.this)
    return None


def shown_name(node: exp.Expr) -> str:
    """What a column without an alias is called."""
    return node.name if isinstance(node, exp.Column) else node.sql(dialect="mysql", comments=False).replace("MY_", "")


def renamed(columns: tuple[Column, ...], names: Sequence[str]) -> tuple[Column, ...]:
    """With the names that stand behind an alias."""
    if not names:
        return columns
    if len(names) != len(columns):
        raise SqlError("ProgrammingError", "In definition of view, derived table or common table expression, SELECT "
                       "list and column names list have different column counts")  # fmt: skip
    return tuple(Column(name, column.term) for name, column in zip(names, columns, strict=True))


def check_twice(columns: Sequence[Column]) -> None:
    """Columns of a table have names of their own."""
    seen: set[str] = set()
    for column in columns:
        if column.name.lower() in seen:
            raise SqlError("ProgrammingError", f"Duplicate column name '{column.name}'")
        seen.add(column.name.lower())


def different_columns() -> SqlError:
    return SqlError("ProgrammingError", "The used SELECT statements have a different number of columns")
