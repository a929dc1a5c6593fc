"""MySQL's functions on moments, whose kind and digits of a second come from their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atlas.benchmarks.excytin.emulated import formats
from atlas.benchmarks.excytin.emulated.calendars import DAYS, UNITS
from atlas.benchmarks.excytin.emulated.conversions import (
    as_double,
    as_number,
    as_operand,
    as_text,
    as_whole,
    day_argument,
    moment_argument,
    span_argument,
)
from atlas.benchmarks.excytin.emulated.scalars import Scalar, argument_error
from atlas.benchmarks.excytin.emulated.terms import (
    FREE_SECONDS,
    MOMENTS,
    WIDE,
    Kind,
    Term,
    call,
    decimal,
    literal,
    read,
    text,
    unsupported,
    whole,
)

_PARTS = {
    "YEAR": 4, "MONTH": 2, "DAY": 2, "HOUR": 3, "MINUTE": 2, "SECOND": 2, "MICROSECOND": 6, "QUARTER": 1,
    "DAYOFWEEK": 1, "DAYOFYEAR": 3, "WEEKDAY": 1, "TO_DAYS": 7, "TO_SECONDS": 12,
}  # fmt: skip
_TIMES = frozenset({"HOUR", "MINUTE", "SECOND", "MICROSECOND"})


def seconds_scale(term: Term) -> int:
    """Digits of a second that a moment read from a term has: of a literal as many as are written, of text all."""
    if term.kind in (Kind.DATETIME, Kind.TIME, Kind.DECIMAL):
        return min(6, term.scale)
    if term.moment == "date" and term.scale >= 0:
        return term.scale
    if term.kind is Kind.DOUBLE:
        return 6
    if term.kind is not Kind.TEXT:
        return 0
    if _is_computed(term):
        raise unsupported("a moment computed of literals alone: write it as a literal")
    if isinstance(term.value, str):
        _, point, digits = term.value.partition(".")
        size = len(digits) - len(digits.lstrip("0123456789"))
        return min(6, size) if point else 0
    return 6


def _is_computed(term: Term) -> bool:
    """Whether text is computed of literals alone: no column's name, which stands in double quotes, is in it."""
    return term.kind is Kind.TEXT and term.value is None and '"' not in term.sql


def _part(name: str) -> Scalar:
    def build(given: list[Term]) -> Term:
        return whole(call(name.lower(), *given), _PARTS[name])

    return Scalar("c" if name in _TIMES else "m", build)


def _moment(name: str, kind: Kind) -> Callable[[list[Term]], Term]:
    def build(given: list[Term]) -> Term:
        scale = seconds_scale(given[0])
        argument = span_argument(given[0]) if kind is Kind.TIME else day_argument(given[0])
        return read(call(name, argument, str(scale)), kind, given[0], scale)

    return build


def _timestamp(given: list[Term]) -> Term:
    if len(given) == 2:
        return added_time("ADDTIME", [_timestamp(given[:1]), given[1]])
    return _moment("datetime", Kind.DATETIME)(given)


def _now(name: str, kind: Kind) -> Callable[[list[Term]], Term]:
    def build(given: list[Term]) -> Term:
        scale = given[0].value if given else 0
        if not isinstance(scale, int) or not 0 <= scale <= 6:
            raise unsupported("NOW with other digits than 0 to 6")
        return Term(call(name, str(scale)), kind, scale)

    return build


def added_time(name: str, given: Sequence[Term]) -> Term:
    """ADDTIME and SUBTIME."""
    first, last = given
    scale = max(seconds_scale(first), seconds_scale(last))
    sign = "1" if name == "ADDTIME" else "-1"
    arguments = (span_argument(first), span_argument(last), sign)
    if first.kind is Kind.TEXT or first.kind not in MOMENTS:
        return text(call("add_time", *arguments, literal("TEXT")), moment="either")
    kind = Kind.TIME if first.kind is Kind.TIME else Kind.DATETIME
    return Term(call("add_time", *arguments, literal(f"{kind.value}{scale}")), kind, scale)


def shifted(term: Term, amount: Term, unit: str, sign: int) -> Term:
    """DATE_ADD and its like."""
    unit = unit.upper()
    if unit not in UNITS:
        raise unsupported(f"INTERVAL with the unit {unit}")
    if amount.json:
        raise unsupported("an INTERVAL of JSON_EXTRACT: put JSON_VALUE in its place")
    if amount.kind is Kind.DECIMAL:
        # Seconds keep their fraction, other units are rounded.
        scale = min(6, amount.scale) if unit == "SECOND" else 0
        amount = as_double(amount) if unit == "SECOND" else as_whole(amount)
    else:
        scale = 6 if "MICROSECOND" in unit else 0
        if unit == "SECOND" and amount.kind in (Kind.TEXT, Kind.DOUBLE):
            scale = seconds_scale(amount) if amount.value is not None else 6
    given = (span_argument(term) if term.kind is Kind.TIME else moment_argument(term), amount, literal(unit), str(sign))
    if term.kind is Kind.DATE and unit in DAYS:
        return Term(call("date_add", *given, literal("DATE")), Kind.DATE)
    if term.kind in (Kind.DATE, Kind.DATETIME):
        scale = max(scale, term.scale)
        return Term(call("date_add", *given, literal(f"DATETIME{scale}")), Kind.DATETIME, scale)
    if term.kind is Kind.TIME:
        if unit in DAYS - {"DAY"}:
            raise unsupported("a time of day plus months or years")
        scale = max(scale, term.scale)
        return Term(call("date_add", *given, literal(f"TIME{scale}")), Kind.TIME, scale)
    digits = -1 if _is_computed(term) else max(scale, seconds_scale(term))
    return text(call("date_add", *given, literal(f"TEXT{digits}")), moment="date", scale=digits)


def extracted(unit: str, term: Term) -> Term:
    """EXTRACT."""
    unit = unit.upper()
    if unit not in UNITS:
        raise unsupported(f"EXTRACT of {unit}")
    timed = unit in _TIMES or (unit.partition("_")[0] in _TIMES and "_" in unit)
    if timed and isinstance(term.value, str) and not set(term.value) & set(":-"):
        raise unsupported("EXTRACT of a time from a literal without marks between its parts")
    argument = span_argument(term) if timed else moment_argument(term)
    digits = _PARTS.get(unit, WIDE if "DAY_" in unit else 7)
    return whole(call("extract_time" if timed else "extract", literal(unit), argument), digits)


def _str_to_date(given: list[Term]) -> Term:
    form = given[1].value
    kind, scale = formats.kind_of(form) if isinstance(form, str) else ("DATETIME", 6)
    sql = call("str_to_date", *given, literal(kind), str(scale))
    return Term(sql, Kind[kind], scale)


def _unix_timestamp(given: list[Term]) -> Term:
    if not given:
        return whole("CAST(my_unix_timestamp(my_now(0), 0) AS INTEGER)", 17)
    scale = seconds_scale(given[0])
    sql = call("unix_timestamp", *given, str(scale))
    return decimal(sql, scale) if scale else whole(sql, 17)


def _from_unixtime(given: list[Term]) -> Term:
    number = as_number(given[0])
    scale = min(6, number.scale) if number.kind is Kind.DECIMAL else 0 if number.kind is Kind.INT else FREE_SECONDS
    found = Term(call("from_unixtime", as_double(number), str(scale)), Kind.DATETIME, scale)
    return text(call("date_format", found, as_text(given[1])), counted=True) if len(given) > 1 else found


def _sec_to_time(given: list[Term]) -> Term:
    number = as_operand(given[0])
    scale = min(6, number.scale) if number.kind is not Kind.INT else 0
    return Term(call("sec_to_time", number, str(scale)), Kind.TIME, scale)


def _time_to_sec(given: list[Term]) -> Term:
    scale = seconds_scale(given[0])
    sql = call("time_to_sec", *given, str(scale))
    return decimal(sql, scale) if scale else whole(sql, 17)


def _timediff(given: list[Term]) -> Term:
    scale = max(map(seconds_scale, given))
    return Term(call("timediff", *given, str(scale)), Kind.TIME, scale)


def _maketime(given: list[Term]) -> Term:
    seconds = as_number(given[2])
    scale = min(6, seconds.scale) if seconds.kind is not Kind.INT else 0
    return Term(
        call("maketime", as_whole(given[0]), as_whole(given[1]), as_double(seconds), str(scale)), Kind.TIME, scale
    )


def _convert_tz(given: list[Term]) -> Term:
    for zone in given[1:]:
        if not isinstance(zone.value, str) or (zone.value[:1] not in "+-" and zone.value.upper() != "SYSTEM"):
            raise unsupported("CONVERT_TZ with other zones than offsets such as '+02:00'")
    scale = seconds_scale(given[0])
    return Term(call("convert_tz", *given, str(scale)), Kind.DATETIME, scale)


def _week(name: str) -> Callable[[list[Term]], Term]:
    return lambda given: whole(call(name, *given), 6)


def _format(name: str) -> Callable[[list[Term]], Term]:
    def build(given: list[Term]) -> Term:
        return text(call(name, *given), counted=True)

    return build


def _weekofyear(given: list[Term]) -> Term:
    return whole(call("week", *given, "3"), 2)


MOMENT_FUNCTIONS: dict[str, Scalar] = {
    **{name: _part(name) for name in _PARTS},
    **{name: Scalar("", lambda _: Term(call("curdate"), Kind.DATE))
       for name in ("CURDATE", "CURRENT_DATE", "UTC_DATE")},
    **{name: Scalar("x?", _now("now", Kind.DATETIME)) for name in
       ("NOW", "SYSDATE", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "UTC_TIMESTAMP")},
    **{name: Scalar("x?", _now("curtime", Kind.TIME)) for name in ("CURTIME", "CURRENT_TIME", "UTC_TIME")},
    "DATE": Scalar("y", lambda given: read(call("date", *given), Kind.DATE, given[0])),
    "DATEDIFF": Scalar("mm", lambda given: whole(call("datediff", *given), 8)),
    "DATE_FORMAT": Scalar("mt", _format("date_format")),
    "DAYNAME": Scalar("m", _format("dayname")),
    "DAYOFMONTH": Scalar("m", lambda given: whole(call("day", *given), 2)),
    "FROM_DAYS": Scalar("i", lambda given: Term(call("from_days", *given), Kind.DATE)),
    "FROM_UNIXTIME": Scalar("xx?", _from_unixtime),
    "LAST_DAY": Scalar("m", lambda given: Term(call("last_day", *given), Kind.DATE)),
    "MAKEDATE": Scalar("ii", lambda given: Term(call("makedate", *given), Kind.DATE)),
    "MAKETIME": Scalar("iix", _maketime),
    "MONTHNAME": Scalar("m", _format("monthname")),
    "PERIOD_ADD": Scalar("ii", lambda given: whole(call("period_add", *given), 6)),
    "PERIOD_DIFF": Scalar("ii", lambda given: whole(call("period_diff", *given), 6)),
    "SEC_TO_TIME": Scalar("x", _sec_to_time),
    "STR_TO_DATE": Scalar("tt", _str_to_date),
    "TIME": Scalar("x", _moment("time", Kind.TIME)),
    "TIMEDIFF": Scalar("cc", _timediff),
    "TIMESTAMP": Scalar("xx?", _timestamp),
    "TIME_FORMAT": Scalar("ct", _format("time_format")),
    "TIME_TO_SEC": Scalar("c", _time_to_sec),
    "UNIX_TIMESTAMP": Scalar("m?", _unix_timestamp),
    "CONVERT_TZ": Scalar("mtt", _convert_tz),
    "WEEK": Scalar("mi?", _week("week")),
    "WEEKOFYEAR": Scalar("m", _weekofyear),
    "YEARWEEK": Scalar("mi?", _week("yearweek")),
    "ADDTIME": Scalar("xx", lambda given: added_time("ADDTIME", given)),
    "SUBTIME": Scalar("xx", lambda given: added_time("SUBTIME", given)),
}  # fmt: skip


def timestampdiff(unit: str, given: Sequence[Term]) -> Term:
    unit = unit.upper().removeprefix("SQL_TSI_")
    if len(given) != 2:
        raise argument_error("TIMESTAMPDIFF")
    if unit not in UNITS or "_" in unit:
        raise unsupported(f"TIMESTAMPDIFF in the unit {unit}")
    return whole(call("timestampdiff", literal(unit), *map(moment_argument, given)), 19)
