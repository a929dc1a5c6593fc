"""What an expression is for MySQL: its kind, and SQL that gives its value to SQLite.

How values of a kind are kept in SQLite: whole numbers as INTEGER; DECIMAL as text with as many digits after the point
as its scale; DOUBLE as REAL; moments as ISO text with as many digits of a second as their scale; text as text, and
bytes as BLOB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import Enum
from typing import Any

from atlas.benchmarks.excytin.engine import SqlError


class Kind(Enum):
    NULL = "NULL"
    INT = "INT"
    DECIMAL = "DECIMAL"
    DOUBLE = "DOUBLE"
    TEXT = "TEXT"
    DATE = "DATE"
    DATETIME = "DATETIME"
    TIME = "TIME"


NUMBERS = frozenset({Kind.INT, Kind.DECIMAL, Kind.DOUBLE})
MOMENTS = frozenset({Kind.DATE, Kind.DATETIME, Kind.TIME})
FREE = 31
"""Scale of a DOUBLE that is printed with as many digits as it needs."""
COLUMN, LITERAL, BINARY = "u", "g", "b"
"""Collations: utf8mb4_unicode_ci of the tables, utf8mb4_general_ci of the connection, and none."""
CAST, QUOTED, MIXED = "i", "q", "n"
"""Collations by where they come from: CAST's is the connection's and yields to no column's; that of JSON_QUOTE and
JSON_UNQUOTE is none and yields to others; text of a CAST's and a column's together has none by which it could be
compared."""
FREE_SECONDS = 39
"""Scale of a moment that shows a fraction of a second where it has one."""
_PRECISE = Context(prec=90)
WIDE = 20
"""Digits of a whole number of which nothing is known."""
BIG = 21
"""Digits of a whole number that is known to be kept in 64 bits."""


@dataclass(frozen=True, slots=True)
class Term:
    """An expression.

    Args:
        sql: it in SQLite, to be put anywhere in an expression.
        kind: as MySQL has it.
        scale: digits after the point of a DECIMAL, DOUBLE or a moment's seconds.
        collation: how text is compared.
        json: whether it is JSON_EXTRACT's, whose value is compared and not its text.
        taken: whether a query beneath took it out of JSON. Servers read a string there as a number by what it says or
            by its text, quotes and all, as they happen to plan the query.
        blob: whether it is bytes.
        origin: the table and column of which every value of it is one.
        value: of a literal.
        digits: the most a whole number has.
        unsigned: a whole number that is not negative, with which subtraction may fail.
        truth: 1 or 0.
        moment: of text that a function of moments made: ``date`` where it tells a date, ``either`` where it may be a
            time of day too. MySQL goes on with the moment then, not with its text.
        zeros: of a moment that is read from text, SQL of what MariaDB compares in its place: zeros where the text tells
            none. Elsewhere it is NULL there too, as it is everywhere in MySQL.
        fixed: every value of a DECIMAL is kept with as many digits after the point as it shows.
        extreme: text of GREATEST or LEAST.
        counted: text that servers count as a whole number where it is one side of a sum: they round or show what is
            behind its point each in a way of its own. ``CAST(x AS CHAR)``, ``DATE_FORMAT`` and a few more.
        named: a column of information_schema that holds names of tables or databases.
    """

    sql: str
    kind: Kind
    scale: int = 0
    collation: str = LITERAL
    json: bool = False
    taken: bool = False
    blob: bool = False
    origin: tuple[str, str] | None = None
    value: Any = None
    digits: int = WIDE
    unsigned: bool = False
    truth: bool = False
    moment: str = ""
    zeros: str = ""
    fixed: bool = False
    extreme: bool = False
    counted: bool = False
    named: bool = False

    def of(self, sql: str, **changes: Any) -> Term:
        """Another expression of the same kind: no literal and no column any more."""
        kept = {"value": None, "origin": None, "moment": "", "zeros": "", "extreme": False, "named": False} | changes
        return replace(self, sql=sql, **kept)


NULL = Term("NULL", Kind.NULL)


def whole(sql: str, digits: int = WIDE, **more: Any) -> Term:
    return Term(sql, Kind.INT, digits=digits, **more)


def truth(sql: str) -> Term:
    """1, 0 or NULL."""
    return Term(sql, Kind.INT, digits=1, truth=True)


def double(sql: str, scale: int = FREE) -> Term:
    return Term(sql, Kind.DOUBLE, scale)


def decimal(sql: str, scale: int, *, fixed: bool = False) -> Term:
    return Term(sql, Kind.DECIMAL, min(scale, 38), fixed=fixed)


def text(sql: str, *like: Term, **more: Any) -> Term:
    """Text that is compared as the texts are of which it is made."""
    return Term(sql, Kind.TEXT, collation=collation(like), **more)


def collation(terms: Iterable[Term]) -> str:
    """Of several texts put together: bytes before columns before literals."""
    found = {term.collation for term in terms if term.kind is Kind.TEXT}
    if BINARY not in found and {CAST, COLUMN} <= found:
        return MIXED
    return next((one for one in (BINARY, MIXED, COLUMN, CAST, QUOTED) if one in found), LITERAL)


def compared_by(terms: Iterable[Term], *, alone: bool = False) -> str:
    """The collation by which texts are compared: COLUMN, LITERAL or BINARY. SqlError: theirs do not go together.

    Args:
        alone: values of one expression are told apart and sorted. Those of no collation are, by their code points.
    """
    found = collation(terms)
    if found == MIXED and alone:
        return BINARY
    if found == MIXED:
        raise SqlError(
            "DatabaseError",
            "Illegal mix of collations (utf8mb4_general_ci,IMPLICIT) and (utf8mb4_unicode_ci,IMPLICIT): text of CAST "
            "AS CHAR is not compared with a column's, leave out the CAST or write COLLATE utf8mb4_unicode_ci behind it",
        )
    return {CAST: LITERAL, QUOTED: BINARY}.get(found, found)


def read(sql: str, kind: Kind, given: Term, scale: int = 0) -> Term:
    """A moment that ``sql`` reads from another term."""
    found = Term(sql, kind, scale)
    if given.kind in MOMENTS or given.kind is Kind.NULL:
        return replace(found, zeros=given.zeros and _zeros(sql, kind, scale, given.zeros))
    return replace(found, zeros=_zeros(sql, kind, scale, given.sql))


def _zeros(sql: str, kind: Kind, scale: int, given: str) -> str:
    zero = {Kind.DATE: "0000-00-00", Kind.TIME: "00:00:00"}.get(kind, "0000-00-00 00:00:00")
    digits = "" if scale in (0, FREE_SECONDS) else "." + "0" * scale
    return f"COALESCE({sql}, CASE WHEN {given} IS NOT NULL THEN '{zero}{digits}' END)"


def call(name: str, *arguments: Term | str) -> str:
    """SQL that calls one of our functions."""
    return f"my_{name}({', '.join(one if isinstance(one, str) else one.sql for one in arguments)})"


def literal(value: str) -> str:
    """A text in SQLite's quotes."""
    if "\0" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def unsupported(what: str) -> SqlError:
    """What MySQL may do and this engine does not."""
    return SqlError("NotSupportedError", f"The embedded engine does not run {what}: write the query without it")


Convert = Callable[[Any], Any]


def converter(term: Term) -> Convert | None:
    """What makes of SQLite's value what a MySQL connector returns; None where it is that already."""
    if term.kind is Kind.DOUBLE and term.scale < FREE:
        # It is printed with so many digits.
        return lambda value: None if value is None else float(f"{_double(value):.{term.scale}f}")
    if term.kind is Kind.DECIMAL:
        shown = Decimal(1).scaleb(-term.scale)
        return lambda value: None if value is None else _shown(Decimal(str(value)), shown)
    return _bytes if term.blob else _CONVERTERS.get(term.kind)


def _shown(value: Decimal, digits: Decimal) -> Decimal:
    found = value.quantize(digits, rounding=ROUND_HALF_UP, context=_PRECISE)
    return abs(found) if found == 0 else found


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _int(value: Any) -> int | None:
    # SQLite leaves whole numbers when they become too large for it; numbers of 64 bits without a sign travel as text.
    if isinstance(value, float):
        raise SqlError("DataError", "BIGINT value is out of range: compute with smaller numbers")
    return None if value is None else int(value)


def _date(value: Any) -> date | str | None:
    # A date with a zero in it is none for Python: connectors hand on the text.
    try:
        return None if value is None else date.fromisoformat(value)
    except ValueError:
        return str(value)


def _datetime(value: Any) -> datetime | str | None:
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError:
        return str(value)


def _double(value: Any) -> float | None:
    if isinstance(value, float) and math.isinf(value):
        raise SqlError("DataError", "DOUBLE value is out of range: compute with smaller numbers")
    # A zero is shown without a sign.
    return None if value is None else float(value) + 0.0


def _time(value: Any) -> timedelta | None:
    if value is None:
        return None
    hours, minutes, seconds = value.removeprefix("-").split(":")
    second, _, fraction = seconds.partition(".")
    found = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(second), microseconds=int(fraction.ljust(6, "0") or 0)
    )
    return -found if value.startswith("-") else found


_CONVERTERS: dict[Kind, Convert] = {
    Kind.INT: _int,
    Kind.DOUBLE: _double,
    Kind.DATE: _date,
    Kind.DATETIME: _datetime,
    Kind.TIME: _time,
}
