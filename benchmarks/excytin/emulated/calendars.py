"""What MySQL computes with dates: parts, weeks, intervals, differences."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from atlas.benchmarks.excytin.emulated.moments import (
    Moment,
    bounded,
    day_of_number,
    days_in,
    is_dated,
    moment_of,
    number_of_day,
    span_of,
    written,
    written_day,
    written_span,
)

DAY = 86_400_000_000
"""Microseconds."""
_MICROSECONDS = {"MICROSECOND": 1, "SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": DAY}
_MICROSECONDS["WEEK"] = 7 * DAY
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_FIELDS = ("DAY", "HOUR", "MINUTE", "SECOND", "MICROSECOND")
UNITS = frozenset(_MICROSECONDS) | frozenset(MONTHS) | {"YEAR_MONTH"}
UNITS |= {f"{_FIELDS[first]}_{_FIELDS[last]}" for first in range(5) for last in range(first + 1, 5)}
"""What may stand behind INTERVAL."""
DAYS = frozenset({"DAY", "WEEK", "YEAR_MONTH", *MONTHS})
"""Units by which a date stays a date."""
MONDAY, YEARLY, FULL = 1, 2, 4
"""How weeks are counted: from Mondays, with the year that a week belongs to, the first one being whole."""
EPOCH = 719_528
"""The day 1970-01-01, as TO_DAYS counts."""
_NUMBER = re.compile(r"\d+")


def weekday(moment: Moment) -> int | None:
    """0 on Mondays; None where there is no such day."""
    number = number_of_day(moment)
    return None if number is None else (number + 5) % 7


def year_and_week(moment: Moment, how: int) -> tuple[int, int] | None:
    """Args: ``how``: MONDAY, YEARLY and FULL, put together. None: there is no such day."""
    number = number_of_day(moment)
    if number is None:
        return None
    first, yearly, full, year = number_of_day(Moment(moment.year, 1, 1)) or 0, how & YEARLY, how & FULL, moment.year
    begins = (first + 5 + (not how & MONDAY)) % 7

    def later(day: int) -> bool:
        """Whether the week of a first of January belongs to the year before."""
        return day != 0 if full else day >= 4

    if moment.month == 1 and moment.day <= 7 - begins:
        if not yearly and later(begins):
            return year, 0
        yearly, year = YEARLY, year - 1
        length = 366 if days_in(year, 2) == 29 else 365
        first, begins = first - length, (begins + 53 * 7 - length) % 7
    days = number - (first + 7 - begins if later(begins) else first - begins)
    if yearly and days >= 52 * 7:
        begins = (begins + (366 if days_in(year, 2) == 29 else 365)) % 7
        if not later(begins):
            return year + 1, 1
    return year, days // 7 + 1


def week_mode(mode: int) -> int:
    """WEEK's second argument as MONDAY, YEARLY and FULL."""
    mode &= 7
    return mode if mode & MONDAY else mode ^ FULL


def week(value: Any, mode: int = 0) -> int | None:
    found = moment_of(value)
    counted = year_and_week(found, week_mode(mode)) if found else None
    return counted[1] if counted else None


def yearweek(value: Any, mode: int = 0) -> int | None:
    found = moment_of(value)
    counted = year_and_week(found, week_mode(mode) | YEARLY) if found else None
    return counted[0] * 100 + counted[1] if counted else None


def shifted(moment: Moment, amount: Any, unit: str, sign: int) -> Moment | None:
    """``moment + sign * INTERVAL amount unit``; None outside the years 0 to 9999."""
    span = _span_of_interval(amount, unit)
    if span is None:
        return None
    months, micros = span
    if months or unit in MONTHS or unit == "YEAR_MONTH":
        if not moment.month or not moment.day:
            return None
        year, month = divmod(moment.year * 12 + moment.month - 1 + sign * months, 12)
        if not 0 <= year <= 9999:
            return None
        return moment._replace(year=year, month=month + 1, day=min(moment.day, days_in(year, month + 1)))
    number = number_of_day(moment)
    if number is None:
        return None
    return from_micros(number * DAY + moment.clock + sign * micros)


def from_micros(value: int) -> Moment | None:
    """The moment so many microseconds after the year 0; None where it is none of the years 1 to 9999."""
    day = day_of_number(value // DAY)
    seconds, micro = divmod(value % DAY, 1_000_000)
    return None if day is None else Moment(*day, seconds // 3600, seconds // 60 % 60, seconds % 60, micro)


def micros(moment: Moment) -> int | None:
    number = number_of_day(moment)
    return None if number is None else number * DAY + moment.clock


def _span_of_interval(amount: Any, unit: str) -> tuple[int, int] | None:
    """Months, and microseconds."""
    if "_" not in unit:
        if unit == "SECOND":
            return 0, _seconds(amount)
        whole = _whole(amount)
        if abs(whole) > 10**12:
            return None
        return (whole * MONTHS[unit], 0) if unit in MONTHS else (0, whole * _MICROSECONDS[unit])
    text = amount if isinstance(amount, str) else str(amount)
    parts = _NUMBER.findall(text)
    sign = -1 if text.lstrip().startswith("-") else 1
    names = ("YEAR", "MONTH") if unit == "YEAR_MONTH" else _between(unit)
    if len(parts) > len(names) or any(len(part) > 12 for part in parts):
        return None
    if unit.endswith("MICROSECOND") and parts:
        parts[-1] = parts[-1].ljust(6, "0") if len(parts[-1]) < 6 else parts[-1]
    found = [0] * (len(names) - len(parts)) + [int(part) for part in parts]
    if unit == "YEAR_MONTH":
        return sign * (found[0] * 12 + found[1]), 0
    return 0, sign * sum(number * _MICROSECONDS[name] for number, name in zip(found, names, strict=True))


def _between(unit: str) -> tuple[str, ...]:
    first, _, last = unit.partition("_")
    return _FIELDS[_FIELDS.index(first) : _FIELDS.index(last) + 1]


def _whole(amount: Any) -> int:
    if isinstance(amount, str):
        found = re.match(r"\s*[-+]?\d{1,18}", amount)
        return int(found[0]) if found else 0
    # Half goes away from zero.
    return int(amount + 0.5) if amount >= 0 else -int(-amount + 0.5)


def _seconds(amount: Any) -> int:
    if isinstance(amount, str):
        found = re.match(r"\s*([-+]?)(\d{0,15})(?:\.(\d{0,6}))?", amount)
        if found is None:
            return 0
        value = int(found[2] or 0) * 1_000_000 + int((found[3] or "").ljust(6, "0") or 0)
        return -value if found[1] == "-" else value
    whole: int = round(amount * 1_000_000)
    return whole


def add(value: Any, amount: Any, unit: str, sign: int, kind: str) -> str | None:
    """DATE_ADD. Args: ``kind``: of the result, DATE, or DATETIME, TIME or TEXT and its digits of a second."""
    if kind.startswith("TIME"):
        span, step = span_of(value), _span_of_interval(amount, unit)
        if span is None or step is None or step[0]:
            return None
        total = span + sign * step[1]
        return written_span(total, int(kind[4:])) if bounded(total) == total else None
    found = moment_of(value)
    found = shifted(found, amount, unit, sign) if found else None
    if found is None:
        return None
    if kind == "DATE":
        return written_day(found)
    if not kind.startswith("TEXT"):
        return written(found, int(kind[8:]))
    text = str(value)
    if unit in DAYS and len(text.strip()) <= 10 and ":" not in text:
        return written_day(found)
    # Of what is no literal, all digits of a second are shown; of one that is computed, those that it has.
    scale = int(kind[4:])
    return written(found, _digits(text) if scale < 0 else scale)


def _digits(text: str) -> int:
    found = re.search(r":\d+\.(\d{1,6})", text)
    return len(found[1]) if found else 0


def timestampdiff(unit: str, begin: Any, end: Any) -> int | None:
    first, last = moment_of(begin), moment_of(end)
    if first is None or last is None:
        return None
    start, stop = micros(first), micros(last)
    if start is None or stop is None:
        return None
    if unit in _MICROSECONDS:
        whole = abs(stop - start) // _MICROSECONDS[unit]
        return whole if stop >= start else -whole
    early, late = (first, last) if start <= stop else (last, first)
    months = (late.year - early.year) * 12 + late.month - early.month
    if (late.day, late.clock) < (early.day, early.clock):
        months -= 1
    return (months if start <= stop else -months) // MONTHS[unit] if start <= stop else -(months // MONTHS[unit])


def timediff(left: Any, right: Any, scale: int) -> str | None:
    """Of two moments, or of two spans of time; NULL of one of each."""
    dated = [is_dated(value) for value in (left, right)]
    if dated[0] != dated[1]:
        return None
    if dated[0]:
        first, last = moment_of(left), moment_of(right)
        start, stop = (micros(first) if first else None), (micros(last) if last else None)
    else:
        start, stop = span_of(left), span_of(right)
    return None if start is None or stop is None else written_span(bounded(start - stop), scale)


def add_time(value: Any, span: Any, sign: int, kind: str) -> str | None:
    """ADDTIME and SUBTIME. Args: ``kind``: as in :func:`add`."""
    more = span_of(span)
    if more is None or (isinstance(span, str) and is_dated(span)):
        return None
    if kind.startswith("TIME") or (kind == "TEXT" and not is_dated(value)):
        begun = span_of(value)
        if begun is None:
            return None
        total = bounded(begun + sign * more)
        return written_span(total, int(kind[4:]) if kind.startswith("TIME") else 6 if total % 1_000_000 else 0)
    found = moment_of(value)
    start = micros(found) if found else None
    found = from_micros(start + sign * more) if start is not None else None
    if found is None:
        return None
    return written(found, (6 if found.micro else 0) if kind == "TEXT" else int(kind[8:]))


def datediff(last: Any, first: Any) -> int | None:
    end, begin = moment_of(last), moment_of(first)
    stop, start = (number_of_day(end) if end else None), (number_of_day(begin) if begin else None)
    return None if start is None or stop is None else stop - start


def to_unix(value: Any) -> int | None:
    """Microseconds since 1970, in UTC."""
    found = moment_of(value)
    number = micros(found) if found else None
    if number is None:
        return None
    since = number - EPOCH * DAY
    return since if 0 <= since < 2**31 * 1_000_000 else None


def from_unix(value: Any) -> Moment | None:
    seconds = float(value)
    if not 0 <= seconds < 2**31:
        return None
    return from_micros(EPOCH * DAY + round(seconds * 1_000_000))


_ZONE = re.compile(r"([-+])(\d{1,2}):(\d\d)")


def convert_tz(value: Any, source: Any, target: Any, scale: int) -> str | None:
    """By offsets, or the system's zone, which is UTC here. Zones by name are not known, as on a server without them."""
    found, before, after = moment_of(value), _offset(source), _offset(target)
    start = micros(found) if found else None
    if start is None or before is None or after is None:
        return None
    # What is no TIMESTAMP, before 1970 or after January 2038, stays as it is.
    stays = not 0 < start - before - EPOCH * DAY < 2**31 * 1_000_000
    moved = found if stays else from_micros(start + after - before)
    return written(moved, scale) if moved else None


def _offset(zone: Any) -> int | None:
    text = str(zone)
    if text.upper() in ("SYSTEM", "UTC"):
        return 0 if text.upper() == "SYSTEM" else None
    found = _ZONE.fullmatch(text)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    if int(found[3]) > 59 or not -13 * 60 < (minutes if found[1] == "+" else -minutes) <= 14 * 60:
        return None
    return (minutes if found[1] == "+" else -minutes) * 60_000_000


def now(scale: int = 0) -> str:
    """The moment, in UTC."""
    found = datetime.now(UTC)
    return written(Moment(*found.timetuple()[:6], found.microsecond), scale)


def today() -> str:
    return now()[:10]


def part(unit: str) -> Callable[[Moment], int | None]:
    """A part of a date, as EXTRACT and the function of its name give it."""
    return _PARTS[unit]


_PARTS: dict[str, Callable[[Moment], int | None]] = {
    "YEAR": lambda m: m.year,
    "QUARTER": lambda m: (m.month + 2) // 3,
    "MONTH": lambda m: m.month,
    "WEEK": lambda m: (year_and_week(m, FULL) or (0, None))[1],
    "DAY": lambda m: m.day,
    "YEAR_MONTH": lambda m: m.year * 100 + m.month,
}


def clock_part(span: int, unit: str) -> int:
    """A part of a time of day."""
    seconds, micro = divmod(abs(span), 1_000_000)
    fields = {"HOUR": seconds // 3600, "MINUTE": seconds // 60 % 60, "SECOND": seconds % 60, "MICROSECOND": micro}
    if unit in fields:
        return fields[unit] if span >= 0 else -fields[unit]
    found = 0
    for name in _between(unit):
        if name == "DAY":
            continue
        found = found * (1_000_000 if name == "MICROSECOND" else 100) + fields[name]
    return found if span >= 0 else -found


def span(hours: Any, minutes: Any, seconds: Any, scale: int) -> str | None:
    """MAKETIME."""
    hour, minute, second = int(hours), int(minutes), float(seconds)
    if not (0 <= minute < 60 and 0 <= second < 60):
        return None
    total = (abs(hour) * 60 + minute) * 60_000_000 + round(second * 1_000_000)
    return written_span(bounded(-total if hour < 0 else total), scale)


def day_of_year(year: Any, day: Any) -> str | None:
    """MAKEDATE."""
    number, days = int(year), int(day)
    if not (0 <= number <= 9999 and days > 0):
        return None
    if number < 100:
        number += 2000 if number < 70 else 1900
    found = day_of_number((number_of_day(Moment(number, 1, 1)) or 0) + days - 1)
    return written_day(Moment(*found)) if found else None
