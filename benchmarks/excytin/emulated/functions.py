"""The functions of a connection under the names by which :mod:`scalars` calls them: ``my_`` and MySQL's name."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from atlas.benchmarks.excytin.emulated import calendars, collations, formats, jsons, moments, numbers, texts
from atlas.benchmarks.excytin.emulated.aggregates import AGGREGATES
from atlas.benchmarks.excytin.emulated.patterns import Patterns, like
from atlas.benchmarks.excytin.engine import SqlError

Function = Callable[..., Any]


class Functions:
    """The functions of one connection. What they complain about stands in ``failure``: SQLite drops the reason."""

    def __init__(self) -> None:
        self.failure: SqlError | None = None
        self.patterns = Patterns()

    def install(self, connection: sqlite3.Connection) -> None:
        for name, function in _FUNCTIONS.items():
            wrapped = self._kept(function, with_null=name in _WITH_NULL)
            connection.create_function(f"my_{name}", -1, wrapped, deterministic=name not in _CLOCK)
        for name in ("matches", "instr", "substr", "replace"):
            wrapped = self._kept(getattr(self.patterns, name), with_null=False)
            connection.create_function(f"my_regexp_{name}", -1, wrapped, deterministic=True)
        for name, aggregate in AGGREGATES.items():
            kept = type(name, (aggregate,), {"keep": self._keep})
            connection.create_aggregate(f"my_{name}", -1, kept)
        for how in ("u", "g", "b"):
            connection.create_collation(f"my_{how}", partial(collations.compare, how=how))
        connection.create_collation("my_decimal", numbers.compare)
        connection.create_collation("my_time", _compare_times)

    def _keep(self, error: SqlError) -> None:
        self.failure = error

    def _kept(self, function: Function, *, with_null: bool) -> Function:
        def called(*values: Any) -> Any:
            if not with_null and None in values:
                return None
            try:
                return function(*values)
            except SqlError as error:
                self.failure = error
                raise
            except (ArithmeticError, ValueError, OverflowError) as error:
                self.failure = SqlError(
                    "DataError", "A value is out of range for a function: compute with smaller ones"
                )
                raise self.failure from error

        return called


def _compare_times(left: str, right: str) -> int:
    first, last = moments.span_of(left) or 0, moments.span_of(right) or 0
    return (first > last) - (first < last)


def _dated(compute: Callable[[moments.Moment], Any]) -> Function:
    def called(value: Any) -> Any:
        found = moments.moment_of(value)
        return None if found is None else compute(found)

    return called


def _known(*moments: Any) -> int:
    """1, where all are moments."""
    if None in moments:
        raise SqlError(
            "NotSupportedError",
            "The embedded engine does not decide this for text that tells no date or time, as servers answer "
            "otherwise: leave those rows out, with T REGEXP '^[0-9]{4}-' say, before it is read as a date",
        )
    return 1


def _name(text: str) -> str:
    """By which a table is looked up in information_schema."""
    if text.endswith(" "):
        raise SqlError(
            "NotSupportedError",
            "The embedded engine does not look up a name with a space at its end, which servers do in ways of their "
            "own: leave out the space",
        )
    return text


def _agreed(null: int, zeros: int) -> int:
    """What it is by NULLs and by zeros, where that is the same."""
    return null if null == zeros else _known(None)


def _known_or_none(moment: Any, zeros: Any) -> Any:
    return moment if zeros is None or _known(moment) else None


def _clocked(unit: str) -> Function:
    def called(value: Any) -> Any:
        found = moments.span_of(value)
        return None if found is None else calendars.clock_part(found, unit)

    return called


def _hours(unit: str) -> Function:
    """HOUR and its like have no sign."""
    inner = _clocked(unit)
    return lambda value: None if (found := inner(value)) is None else abs(found)


def _extract(unit: str, value: Any) -> Any:
    found = moments.moment_of(value)
    if unit.startswith("DAY_"):
        if found is None:
            return None
        rest = calendars.clock_part(found.clock, unit)
        power = 100 ** (["HOUR", "MINUTE", "SECOND"].index(unit[4:]) + 1) if unit != "DAY_MICROSECOND" else 10**12
        return found.day * power + rest
    return None if found is None else calendars.part(unit)(found)


def _extract_time(unit: str, value: Any) -> Any:
    """Of a date's text, its midnight's."""
    if isinstance(value, str) and "-" in value.lstrip(" -") and (found := moments.moment_of(value)) is not None:
        return calendars.clock_part(found.clock, unit)
    return _clocked(unit)(value)


def _date(value: Any) -> str | None:
    # Rows are many and days are few.
    if isinstance(value, str) and value[10:11] in ("T", " ") and value[4:5] == value[7:8] == "-" and len(value) >= 19:
        found = moments.moment_of(value)
        return value[:10] if found and found[:3] == moments._day(value[:10]) else _written_day(found)
    return _written_day(moments.moment_of(value))


def _written_day(found: moments.Moment | None) -> str | None:
    return None if found is None else moments.written_day(found)


def _datetime(value: Any, scale: int) -> str | None:
    found = moments.moment_of(value)
    return None if found is None else moments.written(found, scale)


def _today_at(value: str, scale: int) -> str | None:
    day = calendars.micros(moments.moment_of(calendars.today()) or moments.Moment(0, 0, 0))
    found = calendars.from_micros((day or 0) + (moments.span_of(value) or 0))
    return None if found is None else moments.written(found, scale)


def _time(value: Any, scale: int) -> str | None:
    found = moments.span_of(value)
    return None if found is None else moments.written_span(found, scale)


def _moment_number(value: str, scale: int) -> str:
    digits = "".join(char for char in value if char.isdigit() or char == ".")
    return ("-" if value.startswith("-") else "") + (digits if scale else digits.partition(".")[0])


def _unix(value: Any, scale: int) -> Any:
    since = calendars.to_unix(value)
    if since is None:
        return None if moments.moment_of(value) is None else 0
    return since // 1_000_000 if not scale else f"{since // 1_000_000}.{since % 1_000_000:06}"[: -6 + scale or None]


def _from_unix(value: Any, scale: int) -> str | None:
    found = calendars.from_unix(value)
    if found is None:
        return None
    return moments.written(found, scale if scale <= 6 else 6 if found.micro else 0)


def _seconds(value: Any, scale: int) -> Any:
    span = moments.span_of(value)
    if span is None:
        return None
    sign, span = "-" if span < 0 else "", abs(span)
    if not scale:
        return int(f"{sign}{span // 1_000_000}")
    return f"{sign}{span // 1_000_000}.{span % 1_000_000:06}"


def _to_seconds(moment: moments.Moment) -> int | None:
    number = moments.number_of_day(moment)
    return None if number is None else number * 86_400 + moment.clock // 1_000_000


def _from_days(number: int) -> str | None:
    found = moments.day_of_number(number)
    return moments.written_day(moments.Moment(*found)) if found else "0000-00-00"


def _last_day(moment: moments.Moment) -> str | None:
    if not moment.month:
        return None
    return f"{moment.year:04}-{moment.month:02}-{moments.days_in(moment.year, moment.month):02}"


def _period(value: int) -> int:
    year, month = divmod(value, 100)
    if year < 100:
        year += 2000 if year < 70 else 1900
    return year * 12 + month - 1


def _period_add(period: int, months: int) -> int:
    total = _period(period) + months
    return total // 12 * 100 + total % 12 + 1


_WITH_NULL = frozenset(
    {
        "concat_ws",
        "dated",
        "dated_or_null",
        "elt",
        "field",
        "char",
        "quote",
        "json_array",
        "json_object",
        "json_search",
        "grouping_key",
    }
)
_CLOCK = frozenset({"now", "curdate", "curtime", "today_at"})
_FUNCTIONS: dict[str, Function] = {
    **jsons.FUNCTIONS,
    "add_time": calendars.add_time,
    "agreed": _agreed,
    "ascii": texts.ascii_code,
    "atan": numbers.guarded(math.atan),
    "atan2": numbers.guarded(math.atan2),
    "acos": numbers.guarded(math.acos),
    "asin": numbers.guarded(math.asin),
    "bit_count": lambda value: (int(value) & (1 << 64) - 1).bit_count(),
    "bit_invert": numbers.inverted,
    **{
        f"bit_{name}": numbers.bits(sign)
        for name, sign in {"and": "&", "or": "|", "xor": "^", "left": "<<", "right": ">>"}.items()
    },
    "cast_decimal": numbers.cast_decimal,
    "ceiling": numbers.ceiling,
    "char": texts.char,
    "concat": texts.concat,
    "concat_ws": texts.concat_ws,
    "conv": numbers.in_base,
    "convert_tz": calendars.convert_tz,
    "counted": numbers.counted,
    "cos": numbers.guarded(math.cos),
    "cot": numbers.guarded(lambda x: 1 / math.tan(x), strict=True),
    "crc32": texts.crc32,
    "curdate": calendars.today,
    "curtime": lambda scale=0: calendars.now(scale)[11:],
    "date": _date,
    "date_add": calendars.add,
    "date_format": formats.date_format,
    "datediff": calendars.datediff,
    "dated": _known,
    "dated_or_null": _known_or_none,
    "datetime": _datetime,
    "day": _dated(lambda m: m.day),
    "dayname": formats.day_name,
    "dayofweek": _dated(lambda m: None if (day := calendars.weekday(m)) is None else (day + 1) % 7 + 1),
    "dayofyear": _dated(
        lambda m: (
            None
            if (n := moments.number_of_day(m)) is None
            else n - (moments.number_of_day(moments.Moment(m.year, 1, 1)) or 0) + 1
        )
    ),
    "decimal": numbers.rounded,
    **{f"decimal_{name}": numbers.arithmetic(sign) for name, sign in {"add": "+", "sub": "-", "mul": "*"}.items()},
    "decimal_abs": lambda value: numbers.plain(abs(numbers.decimal_of(value))),
    "decimal_neg": lambda value: numbers.plain(numbers._zero(-numbers.decimal_of(value))),
    "decimal_div": numbers.divided,
    "decimal_key": numbers.sort_key,
    "decimal_mod": numbers.remainder,
    "decimal_round": numbers.round_decimal,
    "decimal_whole": numbers.whole_of_decimal,
    "double_mod": numbers.double_remainder,
    "double_round": numbers.round_double,
    "double_text": numbers.double_text,
    "double_whole": numbers.whole_of_double,
    "elt": texts.elt,
    "exp": numbers.guarded(math.exp),
    "extract": _extract,
    "extract_time": _extract_time,
    "field": texts.field,
    "find_in_set": texts.find_in_set,
    "floor": numbers.floor,
    "format": numbers.grouped,
    "from_base64": texts.from_base64,
    "from_days": _from_days,
    "from_unixtime": _from_unix,
    "get_format": formats.get_format,
    "hex": texts.hexed,
    "hour": _hours("HOUR"),
    "inet_aton": texts.inet_aton,
    "inet_ntoa": texts.inet_ntoa,
    "insert": texts.insert,
    **{f"int_{name}": numbers.checked(sign, False) for name, sign in {"add": "+", "sub": "-", "mul": "*"}.items()},
    **{f"unsigned_{name}": numbers.checked(sign, True) for name, sign in {"add": "+", "sub": "-", "mul": "*"}.items()},
    "int_div": numbers.quotient,
    "int_round": numbers.round_whole,
    "is_ipv4": texts.is_ipv4,
    "is_ipv6": texts.is_ipv6,
    "key_b": partial(collations.key, how="b"),
    "key_g": partial(collations.key, how="g"),
    "key_u": partial(collations.key, how="u"),
    "last_day": _dated(_last_day),
    "left": texts.left,
    "length": lambda value: len(texts.data(value)),
    "like": like,
    "locate": texts.locate,
    "log": numbers.guarded(lambda x: math.log(x) if x > 0 else math.nan),
    "log_base": numbers.guarded(lambda b, x: math.log(x) / math.log(b) if b > 0 and b != 1 and x > 0 else math.nan),
    "log10": numbers.guarded(lambda x: math.log10(x) if x > 0 else math.nan),
    "log2": numbers.guarded(lambda x: math.log(x) / math.log(2) if x > 0 else math.nan),
    "lower": texts.lower,
    "makedate": calendars.day_of_year,
    "maketime": calendars.span,
    "md5": texts.md5,
    "microsecond": _hours("MICROSECOND"),
    "minute": _hours("MINUTE"),
    "moment_number": _moment_number,
    "month": _dated(lambda m: m.month),
    "monthname": formats.month_name,
    "name": _name,
    "near": numbers.near,
    "now": calendars.now,
    "ord": texts.ord_code,
    "pad": texts.pad,
    "period_add": _period_add,
    "period_diff": lambda first, last: _period(first) - _period(last),
    "pow": numbers.guarded(math.pow, strict=True),
    "quarter": _dated(lambda m: (m.month + 2) // 3),
    "quote": texts.quoted,
    "repeat": texts.repeat,
    "replace": texts.replace,
    "reverse": lambda value: value[::-1],
    "right": texts.right,
    "sec_to_time": lambda value, scale: moments.written_span(moments.bounded(round(float(value) * 1_000_000)), scale),
    "second": _hours("SECOND"),
    "sha1": texts.sha1,
    "sha2": texts.sha2,
    "sin": numbers.guarded(math.sin),
    "soundex": texts.soundex,
    "sqrt": numbers.guarded(math.sqrt),
    "str_to_date": formats.str_to_date,
    "strcmp": texts.strcmp,
    "substring": texts.substring,
    "substring_index": texts.substring_index,
    "tan": numbers.guarded(math.tan),
    "time": _time,
    "time_format": formats.time_format,
    "time_key": moments.span_of,
    "time_to_sec": _seconds,
    "timediff": calendars.timediff,
    "timestampdiff": calendars.timestampdiff,
    "today_at": _today_at,
    "to_base64": texts.to_base64,
    "to_days": _dated(moments.number_of_day),
    "to_seconds": _dated(_to_seconds),
    "trim": texts.trim,
    "unhex": texts.unhex,
    "unix_timestamp": _unix,
    "upper": texts.upper,
    "week": calendars.week,
    "weekday": _dated(calendars.weekday),
    "year": _dated(lambda m: m.year),
    "yearweek": calendars.yearweek,
}
