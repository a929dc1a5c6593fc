"""CAST and CONVERT."""

from __future__ import annotations

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.conversions import (
    as_datetime,
    as_double,
    as_number,
    as_text,
    as_whole,
    check_number,
    day_argument,
    span_argument,
)
from atlas.benchmarks.excytin.emulated.terms import CAST, Kind, Term, call, decimal, read, unsupported, whole

_Type = exp.DataType.Type
_SIGNED = frozenset({_Type.BIGINT, _Type.INT})
_UNSIGNED = frozenset({_Type.UBIGINT, _Type.UINT})
_CHARS = frozenset({_Type.CHAR, _Type.VARCHAR, _Type.TEXT, _Type.NCHAR, _Type.CHARACTER_SET})
_MOMENTS = frozenset({_Type.DATETIME, _Type.TIMESTAMP})


def cast(to: exp.DataType, term: Term) -> Term:
    """A term as another type. SqlError: one that this engine does not have."""
    kind, sizes = to.this, [int(one.name) for one in to.expressions if one.name.isdigit()]
    if kind in _SIGNED:
        return whole(as_whole(_cut(term)).sql, 20)
    if kind in _UNSIGNED:
        return _unsigned(term)
    if kind is _Type.DECIMAL:
        precision, scale = (*sizes, 10, 0)[:2] if len(sizes) < 2 else sizes
        if len(sizes) == 1:
            precision, scale = sizes[0], 0
        check_number(term)
        if term.moment:
            number = decimal(call("moment_number", term, "6"), 6)
        else:
            number = term if term.kind is Kind.TEXT and not term.json else as_number(term)
        return decimal(call("cast_decimal", number, str(precision), str(scale)), scale, fixed=True)
    if kind is _Type.DOUBLE:
        return Term(as_double(term).sql, Kind.DOUBLE, 31)
    if kind is _Type.DATE:
        return read(call("date", day_argument(term)), Kind.DATE, term) if term.kind is not Kind.DATE else term
    if kind in _MOMENTS:
        found = as_datetime(day_argument(term), scale := sizes[0] if sizes else 0)
        return read(found.sql, Kind.DATETIME, term, scale) if found is not term else term
    if kind is _Type.TIME:
        scale = sizes[0] if sizes else 0
        return read(call("time", span_argument(term), str(scale)), Kind.TIME, term, scale)
    if kind in _CHARS:
        shown = as_text(term)
        if not sizes:
            return shown.of(
                shown.sql,
                json=False,
                collation=CAST,
                origin=shown.origin,
                value=shown.value,
                counted=kind is not _Type.CHARACTER_SET,
            )
        return Term(call("left", shown, str(sizes[0])), Kind.TEXT, collation=CAST, counted=True)
    if kind in (_Type.BINARY, _Type.VARBINARY) and not sizes:
        shown = as_text(term)
        return shown.of(shown.sql, collation="b", blob=True, json=False, counted=True)
    raise unsupported(f"CAST AS {to.sql(dialect='mysql')}")


def _cut(term: Term) -> Term:
    """Text is cut where its digits end, whatever function it is of."""
    return term.of(term.sql, json=False) if term.kind is Kind.TEXT else term


def _unsigned(term: Term) -> Term:
    """Numbers below zero become very large ones, as their bits are."""
    number = as_whole(_cut(term))
    if number.unsigned or (number.digits < 19 and isinstance(number.value, int) and number.value >= 0):
        return number.of(number.sql, unsigned=True)
    return whole(call("bit_and", number, "-1"), 20, unsigned=True)
