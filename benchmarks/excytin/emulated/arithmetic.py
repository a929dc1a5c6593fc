"""Operators and functions on numbers, by the kinds of their operands."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.benchmarks.excytin.emulated.constants import constant
from atlas.benchmarks.excytin.emulated.conversions import (
    as_decimal,
    as_double,
    as_number,
    as_operand,
    as_whole,
    digits,
)
from atlas.benchmarks.excytin.emulated.terms import (
    BIG,
    FREE,
    NULL,
    WIDE,
    Kind,
    Term,
    call,
    decimal,
    double,
    unsupported,
    whole,
)

_NAMES = {"+": "add", "-": "sub", "*": "mul"}
_SMALL = 10
"""Digits of the longest whole number that servers keep in 32 bits."""
_BITS = {"&": "and", "|": "or", "^": "xor", "<<": "left", ">>": "right"}


def computed(left: Term, sign: str, right: Term) -> Term:
    """``left sign right``: + - * / % DIV and those on bits."""
    if sign in _BITS:
        return whole(call(f"bit_{_BITS[sign]}", bits(left), bits(right)), BIG, unsigned=True)
    if sign == "DIV":
        sides = [as_number(side) for side in (left, right)]
        return whole(call("int_div", *sides), unsigned=any(side.unsigned for side in sides))
    first, last = as_operand(left), as_operand(right)
    if Kind.DOUBLE in (first.kind, last.kind):
        return _doubles(first, sign, last)
    if sign == "/":
        sql = call("decimal_div", as_decimal(first), as_decimal(last), str(_scale(first)), str(_scale(last)))
        return decimal(sql, _scale(first) + 4)
    if Kind.DECIMAL in (first.kind, last.kind):
        return _decimals(as_decimal(first), sign, as_decimal(last))
    return _wholes(first, sign, last)


def _scale(term: Term) -> int:
    return term.scale if term.kind is Kind.DECIMAL else 0


def _doubles(left: Term, sign: str, right: Term) -> Term:
    known = digits(left), digits(right)
    scale = FREE if FREE in known else min(FREE, max(known) + 4 * (sign == "/"))
    left, right = as_double(left), as_double(right)
    if sign == "%":
        return double(call("double_mod", left, right), scale)
    # SQLite gives NULL by zero too.
    return double(f"({left.sql} {sign} {right.sql})", scale)


def _decimals(left: Term, sign: str, right: Term) -> Term:
    fixed = left.fixed and right.fixed
    if sign == "%":
        return decimal(call("decimal_mod", left, right), max(left.scale, right.scale), fixed=fixed)
    scale = left.scale + right.scale if sign == "*" else max(left.scale, right.scale)
    return decimal(call(f"decimal_{_NAMES[sign]}", left, right), scale, fixed=fixed)


def _wholes(left: Term, sign: str, right: Term) -> Term:
    if sign == "%":
        digits = max(left.digits, right.digits)
        return whole(f"({left.sql} % {right.sql})", digits + (digits == _SMALL), unsigned=left.unsigned)
    digits = left.digits + right.digits if sign == "*" else max(left.digits, right.digits) + 1
    unsigned = left.unsigned or right.unsigned
    if digits <= 18 and not unsigned:
        return whole(f"({left.sql} {sign} {right.sql})", digits)
    name = f"{'unsigned' if unsigned else 'int'}_{_NAMES[sign]}"
    known = WIDE not in (left.digits, right.digits)
    return whole(call(name, left, right), BIG if known else WIDE, unsigned=unsigned)


def negative(term: Term) -> Term:
    number = as_operand(term)
    if number.kind is Kind.DECIMAL:
        return number.of(call("decimal_neg", number))
    changed = f"(- {number.sql})"
    if number.kind is Kind.INT and number.value is None and (known := constant(number)) is not None and known < 0:
        # Both servers keep in a DECIMAL what comes of a number below zero that was computed of constants.
        return decimal(f"CAST({changed} AS TEXT)", 0)
    return number.of(changed, truth=False, unsigned=False, digits=min(number.digits + 1, BIG))


def bits(term: Term) -> Term:
    """The whole number whose bits are looked at."""
    if term.json or term.moment:
        # Half a number is rounded up there, as a DECIMAL is.
        return whole(call("decimal_whole", as_double(term)))
    return as_whole(as_operand(term) if term.counted else term)


def inverted(term: Term) -> Term:
    return whole(call("bit_invert", bits(term)), BIG, unsigned=True)


def rounded(name: str, given: Sequence[Term]) -> Term:
    """ROUND and TRUNCATE."""
    if given[0].kind in (Kind.DATETIME, Kind.TIME):
        raise unsupported(f"{name} of a moment")
    number, cut = as_number(given[0]), str(int(name == "TRUNCATE"))
    digits = as_whole(given[1]) if len(given) > 1 else whole("0", value=0)
    known = digits.value
    if number.kind is Kind.INT:
        if len(given) == 1:
            return number.of(number.sql)
        return _rounded_whole(number, digits, cut)
    if number.kind is Kind.DECIMAL:
        if known is None:
            return decimal(call("decimal_round", number, digits, str(number.scale), cut), number.scale)
        scale = max(0, known)
        return decimal(call("decimal_round", number, str(min(known, number.scale)), str(scale), cut), scale, fixed=True)
    scale = FREE if known is None else max(0, known) if known <= 30 else FREE
    return double(call("double_round", number, digits, cut), scale)


def _rounded_whole(number: Term, digits: Term, cut: str) -> Term:
    """To tens and more a whole number may become longer: one of 64 bits becomes a DECIMAL."""
    sql = call("int_round", number, digits, cut)
    if cut == "1" or (digits.value is not None and digits.value >= 0):
        return whole(sql, number.digits, unsigned=number.unsigned)
    if digits.value is None or number.digits == WIDE:
        raise unsupported("ROUND to tens of a whole number of which the size is not known (of a DECIMAL it does)")
    if number.digits > _SMALL or (number.digits == _SMALL and number.value is not None):
        return decimal(call("decimal_round", number, digits, "0", cut), 0)
    return whole(sql, number.digits + 1, unsigned=number.unsigned)


def absolute(term: Term) -> Term:
    number = as_operand(term)
    if number.kind is Kind.DECIMAL:
        return number.of(call("decimal_abs", number))
    return number.of(f"ABS({number.sql})", truth=False)


def floored(name: str, term: Term) -> Term:
    """FLOOR and CEILING: a DECIMAL becomes a whole number, a DOUBLE does not."""
    number = as_number(term)
    if number.kind is Kind.INT:
        return number.of(number.sql)
    own = call("floor" if name == "FLOOR" else "ceiling", number)
    return whole(own) if number.kind is Kind.DECIMAL else double(f"CAST({own} AS REAL)", 0)


def extreme(terms: Sequence[Term], keys: Sequence[str], *, greatest: bool) -> str:
    """SQL of the greatest or least of terms by their keys; NULL where one is NULL."""
    if len(terms) < 2:
        raise unsupported("GREATEST or LEAST of one value")
    sign = ">" if greatest else "<"
    nulls = " OR ".join(f"{term.sql} IS NULL" for term in terms)
    parts = []
    for number, (term, own) in enumerate(zip(terms, keys, strict=True)):
        wins = " AND ".join(
            f"{own} {sign if other < number else sign + '='} {key}" for other, key in enumerate(keys) if other != number
        )
        parts.append(f"WHEN {wins} THEN {term.sql}")
    return f"(CASE WHEN {nulls} THEN {NULL.sql} {' '.join(parts)} END)"
