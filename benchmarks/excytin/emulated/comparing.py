"""Comparing, as MySQL does by the kinds of both sides: as text of a collation, numbers or moments.

Each side becomes a key, and SQLite compares keys. Where all values of a column are known to be plain, SQLite's own
NOCASE gives what the tables' collation gives, and no function is called for a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from atlas.benchmarks.excytin.emulated.collations import key
from atlas.benchmarks.excytin.emulated.conversions import (
    as_datetime,
    as_decimal,
    as_double,
    as_operand,
    as_text,
    digits,
    moment_argument,
    span_argument,
    written,
)
from atlas.benchmarks.excytin.emulated.moments import moment_of, span_of
from atlas.benchmarks.excytin.emulated.terms import (
    BINARY,
    FREE,
    FREE_SECONDS,
    MOMENTS,
    NUMBERS,
    Kind,
    Term,
    call,
    compared_by,
    literal,
    truth,
    unsupported,
)

_PLAIN = re.compile(r"[ -~]*")
_STEADY = re.compile(r"[-. /0-9A-Za-z]*")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d(?:[T ](?:\d\d(?::\d\d(?::\d\d)?)?)?)?")


class Columns(Protocol):
    """What is known of the values of a table's column."""

    def plain(self, origin: tuple[str, str]) -> bool:
        """Whether all are ASCII without control characters, and none ends with a space."""
        ...

    def steady(self, origin: tuple[str, str]) -> bool:
        """Whether they are plain, and NOCASE puts them in the order of the collation."""
        ...

    def stamped(self, origin: tuple[str, str]) -> bool:
        """Whether they are plain and begin with a date and a time."""
        ...


Key = Callable[[Term], str]


class Comparing:
    """Comparisons of one statement."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def compared(self, left: Term, operator: str, right: Term, *, exact: bool = False) -> Term:
        """``left operator right``: 1, 0 or NULL.

        Args:
            exact: DOUBLEs are compared to their last digit, as in a list and in CASE.
        """
        if operator == "IS" and (left.zeros or right.zeros):
            # Text that tells no date is NULL in MySQL and zeros in MariaDB: answered where it comes to the same.
            both = (self._same(side(left), side(right)) for side in (_unread, zeros))
            return truth(call("agreed", *both))
        if Kind.NULL in (left.kind, right.kind):
            return truth(f"({left.sql} {operator} {right.sql})")
        if left.json and right.json:
            # As they are written. MariaDB has it that a string differs from itself, as one side loses its quotes.
            left, right = (side.of(call("json_unquotable", side), json=False) for side in (left, right))
        if operator in ("=", "IS") and left.named != right.named:
            left, right = (side if side.named else _name(side) for side in (left, right))
        if not exact:
            left, right = counted(left, right), counted(right, left)
        if not exact and (known := near(left, right)):
            found = call("near", as_double(left), as_double(right), str(known))
            if operator == "IS":
                return truth(f"COALESCE({found} = 0, {left.sql} IS NULL AND {right.sql} IS NULL)")
            return truth(f"({found} {operator} 0)")
        side = self.keys([left, right], ordered=operator not in ("=", "<>", "IS"))
        found = f"({side(left)} {operator} {side(right)})"
        dated = [one.sql for one in (left, right) if one.zeros]
        if not dated:
            return truth(found)
        # Where it is so by zeros, MySQL says otherwise.
        return truth(f"(CASE {found} WHEN 1 THEN {call('dated', *dated)} WHEN 0 THEN 0 END)")

    def _same(self, left: Term, right: Term) -> str:
        """``left <=> right`` of moments that are what they are, and none of text."""
        return self.compared(_unread(left), "IS", _unread(right)).sql

    def keys(self, terms: Sequence[Term], *, ordered: bool, alone: bool = False) -> Key:
        """What makes of each of ``terms`` the key by which it is compared with the others.

        Args:
            alone: they are values of one expression, as in GROUP BY, and not the sides of a comparison.
        """
        kinds = {term.kind for term in terms} - {Kind.NULL}
        if kinds & MOMENTS:
            own = _binary(_moments(kinds, terms))
            return own if len(terms) == 1 else lambda term: own(zeros(term))
        if kinds == {Kind.TEXT}:
            return self._texts([scalar(term) for term in terms], ordered=ordered, alone=alone)
        if kinds <= {Kind.INT}:
            return _itself
        if kinds <= {Kind.INT, Kind.DECIMAL}:
            return _binary(_decimal_key)
        return lambda term: as_double(term).sql

    def sorted(self, term: Term) -> str:
        """The key by which rows are sorted."""
        return self._own(term, ordered=True)

    def grouped(self, term: Term) -> str:
        """The key by which rows are grouped."""
        return self._own(term, ordered=False)

    def _own(self, term: Term, *, ordered: bool) -> str:
        # What is found in JSON is told apart as it is written: 5 from "5".
        term = written(term)
        return self.keys([term], ordered=ordered, alone=True)(term)

    def distinct(self, term: Term, *, among: Sequence[Term] = ()) -> str:
        """The value itself, told as MySQL tells it from others, or from those of ``among``."""
        if term.kind is not Kind.TEXT or term.blob:
            return f"{term.sql} COLLATE BINARY"
        how = compared_by([term, *among], alone=not among)
        if how != BINARY and all(map(self._is_plain, among or [term])):
            return f"{term.sql} COLLATE NOCASE"
        return f"{term.sql} COLLATE my_{how}"

    def greatest(self, term: Term) -> str:
        """The value itself, whose MIN and MAX are found as MySQL finds them."""
        if term.kind is Kind.TEXT and not term.blob:
            how = compared_by([term])
            return f"{term.sql} COLLATE " + ("NOCASE" if how != BINARY and self._is_steady(term) else f"my_{how}")
        if term.kind is Kind.DECIMAL:
            return f"{term.sql} COLLATE my_decimal"
        return f"{term.sql} COLLATE my_time" if term.kind is Kind.TIME else term.sql

    def like(self, value: Term, pattern: Term, escape: str = "\\") -> Term:
        """``value LIKE pattern``. Every character is compared by itself, without case and accents."""
        value, pattern = as_text(value), as_text(pattern)
        how = compared_by([value, pattern])
        if len(escape) != 1:
            raise unsupported("LIKE with an ESCAPE of other than one character")
        ours = call("like", value, pattern, literal(escape), literal(how))
        if how == BINARY or not isinstance(pattern.value, str) or not _PLAIN.fullmatch(pattern.value):
            return truth(ours)
        if pattern.value.endswith(escape) or (escape != "\\" and escape in "%_"):
            return truth(ours)
        native = f"{value.sql} LIKE {pattern.sql} ESCAPE {literal(escape)}"
        if self._is_plain(value):
            return truth(f"({native})")
        # Only what is beyond ASCII can match though SQLite sees no match.
        return truth(f"({native} OR ({value.sql} GLOB {literal('*[^ -~]*')} AND {ours}))")

    def _texts(self, terms: Sequence[Term], *, ordered: bool, alone: bool) -> Key:
        how = compared_by(terms, alone=alone)
        if how == BINARY:
            # Bytes are compared to their end, text of utf8mb4_bin as if spaces followed.
            if any(term.blob for term in terms):
                return _binary(lambda term: f"CAST({scalar(term).sql} AS BLOB)")
            return _binary(lambda term: call("key_b", scalar(term)))
        native = all(map(self._is_steady if ordered else self._is_plain, terms))
        if ordered and not native and len(terms) > 1:
            native = all(map(self._is_stamp, terms))
        if native:
            return lambda term: _padded(term) + " COLLATE NOCASE"
        return _binary(lambda term: _text_key(term, how))

    def _is_plain(self, term: Term) -> bool:
        if isinstance(term.value, str):
            return _PLAIN.fullmatch(term.value) is not None
        return term.origin is not None and self._columns.plain(term.origin)

    def _is_steady(self, term: Term) -> bool:
        if isinstance(term.value, str):
            return _STEADY.fullmatch(term.value) is not None
        return term.origin is not None and self._columns.steady(term.origin)

    def _is_stamp(self, term: Term) -> bool:
        """A column of moments, or a literal that every such column is told from within its first 19 characters."""
        if isinstance(term.value, str):
            return _STAMP.fullmatch(term.value.rstrip(" ")) is not None
        return term.origin is not None and self._columns.stamped(term.origin)


def _binary(own: Key) -> Key:
    """SQLite compares what a function returns by a collation that is named anywhere in its arguments, unless told."""
    return lambda term: f"{own(term)} COLLATE BINARY"


def dated(term: Term, *, always: bool = True) -> Term:
    """A moment that is an error, and not NULL, where the text that it is read from tells none."""
    return term.of(call("dated_or_null", term, term.zeros)) if term.zeros and always else term


def zeros(term: Term) -> Term:
    """A moment as MariaDB compares it: zeros where the text that it is read from tells none."""
    return term.of(term.zeros) if term.zeros else term


def counted(term: Term, other: Term) -> Term:
    """Text beside a number, where servers take it for a whole one."""
    return as_operand(term) if term.counted and other.kind in NUMBERS else term


def near(left: Term, right: Term) -> int:
    """Digits to which two numbers are compared, one of them a DOUBLE; 0 where to the last one."""
    known = digits(left), digits(right)
    return 0 if FREE in known or Kind.DOUBLE not in (left.kind, right.kind) else max(known)


def _name(term: Term) -> Term:
    """A constant by which a table's name is looked up. Columns' names stand in double quotes."""
    return term if term.kind is not Kind.TEXT or '"' in term.sql else term.of(call("name", term))


def _unread(term: Term) -> Term:
    """A moment as MySQL compares it: NULL where the text that it is read from tells none."""
    return replace(term, zeros="")


def _itself(term: Term) -> str:
    return term.sql


def _padded(term: Term) -> str:
    # Spaces at the end do not count.
    return literal(term.value.rstrip(" ")) if isinstance(term.value, str) else scalar(term).sql


def _text_key(term: Term, how: str) -> str:
    if term.kind is Kind.NULL:
        return term.sql
    return literal(key(term.value, how)) if isinstance(term.value, str) else call(f"key_{how}", scalar(term))


def scalar(term: Term) -> Term:
    """What is found in JSON is compared without its quotes."""
    return term.of(call("json_scalar", term), json=False) if term.json else term


def _decimal_key(term: Term) -> str:
    return term.sql if term.kind is Kind.NULL else call("decimal_key", as_decimal(term))


def _moments(kinds: set[Kind], terms: Sequence[Term]) -> Key:
    """Text and numbers beside a moment are read as moments."""
    for term in terms:
        _check_moment(term, time=Kind.TIME in kinds)
    if Kind.TIME in kinds:
        if kinds & {Kind.DATE, Kind.DATETIME}:
            raise unsupported("a comparison of a time of day with a date")
        if kinds == {Kind.TIME}:
            return lambda term: call("time_key", term)
        return lambda term: term.sql if term.kind is Kind.NULL else call("time_key", span_argument(term))
    scales = {term.scale for term in terms if term.kind in kinds}
    if len(kinds) == 1 and len(scales) == 1 and FREE_SECONDS not in scales:
        return _itself
    if kinds <= {Kind.DATE, Kind.TEXT} and all(
        term.kind is not Kind.TEXT or isinstance(term.value, str) for term in terms
    ):
        return _by_day
    return _by_moment


def _by_moment(term: Term) -> str:
    if term.kind is Kind.NULL:
        return term.sql
    found = as_datetime(moment_argument(term) if term.kind in NUMBERS else term).sql
    if term.kind is not Kind.TEXT:
        return found
    # Servers compare text that tells no moment as one of zeros.
    return f"COALESCE({found}, CASE WHEN {term.sql} IS NOT NULL THEN '0000-00-00 00:00:00.000000' END)"


def _check_moment(term: Term, *, time: bool) -> None:
    """What is no moment is compared with one in a way of each server's own."""
    if term.kind in MOMENTS or term.kind is Kind.NULL:
        return
    if term.value is None and (time or term.kind is not Kind.TEXT or '"' not in term.sql):
        raise unsupported("a comparison of a moment with something computed that is none: cast it")
    value = term.value if term.kind is not Kind.DECIMAL else float(term.value)
    if value is not None and (span_of(value) if time else moment_of(value)) is None:
        raise unsupported(f"a comparison of a moment with {str(term.value)[:40]!r}, which is none")


def _by_day(term: Term) -> str:
    """A literal beside days needs no time of day, where it has none: days need not be made moments in every row."""
    if term.kind is not Kind.TEXT:
        return term.sql
    found = moment_of(term.value)
    if found is None:
        return "NULL"
    day = f"{found.year:04}-{found.month:02}-{found.day:02}"
    # A time of day makes it later than its day and earlier than the next, as text does.
    return literal(day if found[3:] == (0, 0, 0, 0) else day + " ")
