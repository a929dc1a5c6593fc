"""An expression as another kind, as MySQL converts where a function or an operator wants one."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.benchmarks.excytin.emulated.terms import (
    FREE,
    MOMENTS,
    NUMBERS,
    Kind,
    Term,
    call,
    collation,
    decimal,
    double,
    literal,
    text,
    truth,
    unsupported,
    whole,
)


def as_text(term: Term) -> Term:
    """What is printed of it."""
    if term.kind in (Kind.TEXT, Kind.NULL) or term.kind in MOMENTS:
        sql = term.sql
    elif term.kind is Kind.DECIMAL:
        # A quotient has more digits than it shows.
        sql = call("decimal", term, str(term.scale)) if term.value is None else term.sql
    elif term.kind is Kind.INT:
        sql = literal(str(term.value)) if term.value is not None else f"CAST({term.sql} AS TEXT)"
    else:
        sql = call("double_text", term, str(term.scale))
    if term.kind is Kind.TEXT:
        return term
    return text(sql, value=str(term.value) if term.kind is Kind.INT and term.value is not None else None)


def written(term: Term) -> Term:
    """What is found in JSON as the text that stands there: a string begins with a quote."""
    return term.of(term.sql, json=False) if term.json else term


def as_number(term: Term) -> Term:
    """A whole number, a DECIMAL or a DOUBLE: text counts by the number that it begins with."""
    if term.kind in NUMBERS:
        return term
    if term.kind is Kind.NULL:
        return whole("NULL")
    if term.kind is Kind.DATE:
        return whole(f"CAST(REPLACE({term.sql}, '-', '') AS INTEGER)", 10)
    if term.kind in MOMENTS:
        scale = min(6, term.scale)
        number = call("moment_number", term, str(scale))
        return decimal(number, scale) if scale else whole(f"CAST({number} AS INTEGER)", 14)
    return as_double(term)


def as_operand(term: Term) -> Term:
    """A number that is computed with or compared: what is behind its point is known of some text."""
    if not (term.counted and term.kind is Kind.TEXT):
        return as_number(term)
    return double(call("counted", as_double(term)), 0)


def digits(term: Term) -> int:
    """Digits after the point that a number has, as a DOUBLE made of it shows them: FREE where that is not said."""
    return {Kind.INT: 0, Kind.DECIMAL: term.scale, Kind.DOUBLE: term.scale}.get(term.kind, FREE)


def check_number(term: Term) -> None:
    """Where a number is wanted, servers look for the greatest of texts by their numbers."""
    if term.extreme:
        raise unsupported("a number made of the GREATEST or LEAST of texts: cast the texts first")


def as_double(term: Term) -> Term:
    """Text that begins with no number is 0."""
    if term.kind is Kind.DOUBLE:
        return term
    if term.kind is Kind.TEXT:
        check_number(term)
        if term.json or term.taken:
            return double(call("json_double" if term.json else "taken_double", term))
        if term.moment:
            return double(f"CAST({call('moment_number', term, '6')} AS REAL)")
        return double(f"CAST({term.sql} AS REAL)")
    number = as_number(term)
    return double(f"CAST({number.sql} AS REAL)")


def as_whole(term: Term) -> Term:
    """A whole number: text is cut at the point, numbers are rounded."""
    if term.kind is Kind.INT:
        return term
    if term.kind is Kind.TEXT:
        check_number(term)
        return (
            whole(f"CAST({term.sql} AS INTEGER)")
            if not (term.json or term.taken or term.moment)
            else whole(call("double_whole", as_double(term)))
        )
    if term.kind is Kind.DOUBLE:
        return whole(call("double_whole", term))
    if term.kind is Kind.DECIMAL:
        return whole(call("decimal_whole", term))
    if term.kind in (Kind.DATETIME, Kind.TIME):
        return whole(f"CAST({call('moment_number', term, '0')} AS INTEGER)", 14)
    number = as_number(term)
    return number if number.kind is Kind.INT else as_whole(number)


def as_decimal(term: Term, scale: int | None = None) -> Term:
    """With as many digits after the point as it has, or as are asked for."""
    if term.kind is Kind.DECIMAL and scale in (None, term.scale):
        return term
    if term.kind is Kind.INT and not scale:
        return decimal(f"CAST({term.sql} AS TEXT)", 0, fixed=True)
    wanted = term.scale if scale is None else scale
    return decimal(call("decimal", as_number(term), str(wanted)), wanted)


def as_truth(term: Term) -> Term:
    """1 where it is not zero."""
    if term.truth or term.kind is Kind.NULL:
        return term
    if term.kind in MOMENTS:
        return truth(f"({as_double(term).sql} <> 0)")
    number = as_number(term)
    value = f"CAST({number.sql} AS REAL)" if number.kind is Kind.DECIMAL else number.sql
    return truth(f"({value} <> 0)")


def as_datetime(term: Term, scale: int = 6) -> Term:
    """A moment of text, numbers or another moment; NULL where it is none."""
    if term.kind is Kind.DATETIME and term.scale == scale:
        return term
    if term.kind is Kind.DATE:
        zeros = " 00:00:00" + ("." + "0" * scale if scale else "")
        return Term(f"({term.sql} || '{zeros}')", Kind.DATETIME, scale)
    return Term(call("datetime", moment_argument(term), str(scale)), Kind.DATETIME, scale)


def moment_argument(term: Term) -> Term:
    """For a function that reads moments: text as it is, and numbers so that they are told from text."""
    if term.kind is Kind.TIME or term.moment == "either":
        raise unsupported("a time of day where a date is wanted")
    return as_double(term) if term.kind is Kind.DECIMAL else term


def day_argument(term: Term) -> Term:
    """For DATE and the like: a time of day is one of today's."""
    if term.kind is Kind.TIME:
        return Term(call("today_at", term, str(term.scale)), Kind.DATETIME, term.scale)
    return moment_argument(term)


def span_argument(term: Term) -> Term:
    """For a function that reads times of day: a date is its midnight."""
    if term.kind is Kind.DATE or term.moment == "date":
        shown = term.scale if term.kind is Kind.TEXT and term.scale >= 0 else 6
        return as_datetime(term, 0 if term.kind is Kind.DATE else shown)
    return as_double(term) if term.kind is Kind.DECIMAL else term


def together(terms: Sequence[Term]) -> Term:
    """The kind that a choice between terms has, without SQL: CASE, IF, COALESCE, UNION."""
    given = [term for term in terms if term.kind is not Kind.NULL]
    kinds = {term.kind for term in given}
    if not kinds:
        return Term("", Kind.NULL)
    scale = max(min(term.scale, 38) for term in given)
    if kinds & MOMENTS:
        scale = min(scale, 6)
    if kinds == {Kind.INT} and len({term.unsigned for term in given}) == 2:
        return Term("", Kind.DECIMAL)
    if len(kinds) == 1:
        kind = next(iter(kinds))
        digits, unsigned = max(t.digits for t in given), all(t.unsigned for t in given)
        return Term(
            "", kind, scale, collation(given), digits=digits, unsigned=unsigned, blob=any(t.blob for t in given),
            truth=all(t.truth for t in given),
        )  # fmt: skip
    if kinds <= NUMBERS:
        if Kind.DOUBLE in kinds:
            return Term("", Kind.DOUBLE, min(scale, FREE))
        return Term("", Kind.DECIMAL, scale)
    if kinds == {Kind.DATE, Kind.DATETIME}:
        return Term("", Kind.DATETIME, scale)
    if kinds <= MOMENTS:
        raise unsupported("a choice between a time of day and a date")
    return Term("", Kind.TEXT, collation=collation(given), blob=any(t.blob for t in given))


def turned(term: Term, model: Term) -> str:
    """SQL of a term as the kind that :func:`together` found."""
    if term.kind is Kind.NULL or model.kind is Kind.NULL:
        return term.sql
    if model.kind is Kind.TEXT:
        return as_text(term).sql
    if model.kind is Kind.DOUBLE:
        return as_double(term).sql
    if model.kind is Kind.DECIMAL:
        return as_decimal(term, model.scale).sql
    if model.kind is Kind.DATETIME:
        return as_datetime(term, model.scale).sql
    if model.kind is Kind.TIME and term.scale != model.scale:
        return call("time", term, str(model.scale))
    return term.sql
