"""Dates and times as MySQL reads them from text and numbers, and writes them.

What follows a date that can be read does not count, as MySQL gives a warning at most, which nobody reads. Months and
days may be zero. Everything is read from the left in one pass.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_SPACES = frozenset(" \t\n\v\f\r")
_DIGITS = frozenset("0123456789")
MAX_HOURS = 838


class Moment(NamedTuple):
    """A date with its time of day."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    micro: int = 0

    @property
    def date(self) -> date | None:
        """None: it has a zero in it."""
        return date(*self[:3]) if all(self[:3]) else None

    @property
    def clock(self) -> int:
        """Microseconds of the day."""
        return ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.micro


def moment_of(value: Any) -> Moment | None:
    """The moment that a text or a number tells; None where it is none."""
    if isinstance(value, int | float):
        return _of_number(value)
    text = value if isinstance(value, str) else str(value)
    # Most are written in full, and days are fewer than rows.
    if len(text) >= 19 and text[4] == text[7] == "-" and text[13] == text[16] == ":" and text[10] in " T":
        day, clock = _day(text[:10]), text[11:13] + text[14:16] + text[17:19]
        if day is not None and clock.isdecimal() and clock.isascii():
            hour, minute, second = int(clock[:2]), int(clock[2:4]), int(clock[4:])
            if hour < 24 and minute < 60 and second < 60 and text[19:20] not in _DIGITS:
                return Moment(*day, hour, minute, second, _fraction(text, 19)[0])
    return _read(text)


@lru_cache(4096)
def _day(text: str) -> tuple[int, int, int] | None:
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        return None
    year, month, day = map(int, parts)
    return (year, month, day) if year and is_day(year, month, day) and month and day else None


def is_day(year: int, month: int, day: int) -> bool:
    """Whether there is such a day, zeros allowed."""
    if month > 12 or day > 31 or year > 9999:
        return False
    if month == 0:
        return True
    return day <= days_in(year, month)


def days_in(year: int, month: int) -> int:
    if month != 2:
        return 30 if month in (4, 6, 9, 11) else 31
    return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28


def _fraction(text: str, at: int) -> tuple[int, int]:
    """Microseconds behind a point that stands at ``at``, and where they end."""
    if text[at : at + 1] != ".":
        return 0, at
    end = at + 1
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    return int(text[at + 1 : end][:6].ljust(6, "0")), end


class _NoTime(Exception):
    """A date with a time that is none: no time of day either."""


class _Reader:
    """Fields, one after the other."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at
        self.fields: list[int] = []
        self.width = 0
        """Characters of the first field."""

    def number(self, most: int) -> bool:
        begun = self.at
        while self.at < len(self.text) and self.at - begun < most and self.text[self.at] in _DIGITS:
            self.at += 1
        if self.at == begun:
            return False
        self.width = self.width or self.at - begun
        # Longer ones are no year either.
        self.fields.append(int(self.text[begun : self.at][-9:]) if self.at - begun < 10 else 10**9)
        return True

    def mark(self) -> bool:
        if self.text[self.at : self.at + 1] in _PUNCTUATION:
            self.at += 1
            return True
        return False

    def clock_follows(self, *, strict: bool) -> bool:
        rest = self.text[self.at : self.at + 2]
        if rest[:1] == "T":
            self.at += 1
            return rest[1:] in _DIGITS
        if rest[:1] in _PUNCTUATION and not strict:
            self.at += 1
            return True
        if rest[:1] not in _SPACES or not rest:
            return False
        while self.at < len(self.text) and self.text[self.at] in _SPACES:
            self.at += 1
        return True


def _read(text: str, *, strict: bool = False) -> Moment | None:
    """Args: ``strict``: for a text that may be a time of day: a mark does not part date and time, a day may be none."""
    begun = len(text) - len(text.lstrip(" \t\n\v\f\r"))
    if text[begun : begun + 1] not in _DIGITS or begun == len(text):
        return None
    end = begun
    while end < len(text) and (text[end] in _DIGITS or text[end] == "T"):
        end += 1
    reader, digits = _Reader(text, begun), len(text[begun:end].partition("T")[0])
    if end == len(text) or text[end] not in _PUNCTUATION or (text[end] == "." and end - begun >= 12):
        if strict and end - begun < 12:
            return None
        year = 4 if digits in (4, 8) or digits >= 14 else 2
        if reader.number(year) and reader.number(2) and reader.number(2):
            reader.at += text[reader.at : reader.at + 1] == "T"
            _ = reader.number(2) and reader.number(2) and reader.number(2)
        width = year
    else:
        whole = reader.number(99) and reader.mark() and reader.number(99) and reader.mark() and reader.number(99)
        whole = whole and reader.clock_follows(strict=strict) and reader.number(99)
        _ = whole and reader.mark() and reader.number(99) and reader.mark() and reader.number(99)
        width = reader.width
    fields = [*reader.fields, 0, 0, 0, 0, 0, 0][:6]
    micro = _fraction(text, reader.at)[0] if len(reader.fields) == 6 else 0
    year, month, day, hour, minute, second = fields
    wrong = year > 9999 or month > 12 or day > 31 or hour > 23 or minute > 59 or second > 59
    dated = len(text) >= 12 and text[begun + reader.width : begun + reader.width + 1] != ":"
    dated = dated and text[reader.at : reader.at + 1] not in _PUNCTUATION
    if len(reader.fields) < 3 or (strict and len(reader.fields) < 4 and not dated):
        return None
    if strict and wrong:
        raise _NoTime
    if width == 2 and any((*fields, micro)):
        year += 2000 if year < 70 else 1900
    if wrong or not (strict or is_day(year, month, day)):
        return None
    return Moment(year, month, day, hour, minute, second, micro)


def _of_number(value: float) -> Moment | None:
    number, micro = int(value), round((value - int(value)) * 1_000_000)
    if number < 0:
        return None
    if number == 0:
        return Moment(0, 0, 0)
    if number < 101:
        return None
    if number <= 691231:
        number = (number + 20_000_000) * 1_000_000
    elif number < 700101:
        return None
    elif number <= 991231:
        number = (number + 19_000_000) * 1_000_000
    elif number < 1_000_101:
        return None
    elif number <= 99_991_231:
        number *= 1_000_000
    elif number < 101_000_000:
        return None
    elif number <= 691_231_235_959:
        number += 20_000_000_000_000
    elif number < 700_101_000_000:
        return None
    elif number <= 991_231_235_959:
        number += 19_000_000_000_000
    day, clock = divmod(number, 1_000_000)
    found = Moment(
        day // 10_000, day // 100 % 100, day % 100, clock // 10_000, clock // 100 % 100, clock % 100, max(0, micro)
    )
    right = found.hour < 24 and found.minute < 60 and found.second < 60
    return found if right and is_day(*found[:3]) else None


def span_of(value: Any) -> int | None:
    """Microseconds of a time of day or a span of time, from text or a number; None where it is none."""
    if isinstance(value, int | float):
        return _span_of_number(value)
    text = value if isinstance(value, str) else str(value)
    begun = len(text) - len(text.lstrip(" \t\n\v\f\r"))
    negative = text[begun : begun + 1] == "-"
    at = begun + negative
    try:
        found = _read(text[at:], strict=True)
    except _NoTime:
        return None
    if found is not None:
        return -found.clock if negative else found.clock
    size, ended = len(text), at
    while ended < size and text[ended] in _DIGITS:
        ended += 1
    value, at = int(text[at:ended][:18] or 0), ended
    if at == begun + negative:
        return None
    while at < size and text[at] in _SPACES:
        at += 1
    parts = [value]
    if size - at > 1 and at != ended and text[at] in _DIGITS:
        days = True
    elif size - ended > 1 and text[ended] == ":" and text[ended + 1] in _DIGITS:
        days, at = False, ended + 1
    else:
        if size - at == 1 and at != ended:
            at = ended
        return _span((0, value // 10_000, value // 100 % 100, value % 100), _fraction(text, ended)[0], negative)
    while True:
        begun = at
        while at < size and text[at] in _DIGITS:
            at += 1
        parts.append(int(text[begun:at][:9] or 0))
        if len(parts) == 4 - (not days) or size - at < 2 or text[at] != ":" or text[at + 1] not in _DIGITS:
            break
        at += 1
    whole = parts if days else [0, *parts]
    whole += [0] * (4 - len(whole))
    return _span((whole[0], whole[1], whole[2], whole[3]), _fraction(text, at)[0], negative)


def is_dated(value: Any) -> bool:
    """Whether a value tells a moment, where it may tell a time of day."""
    if isinstance(value, int | float):
        return abs(value) > 9_999_999
    try:
        return _read(str(value).strip(" \t\n\v\f\r").lstrip("-"), strict=True) is not None
    except _NoTime:
        return False


def _span_of_number(value: float) -> int | None:
    number = abs(int(value))
    if number > 9_999_999:
        found = _of_number(value)
        return found.clock if found else None
    micro = round((abs(value) - number) * 1_000_000)
    return _span((0, number // 10_000, number // 100 % 100, number % 100), micro, value < 0)


def _span(parts: tuple[int, int, int, int], micro: int, negative: bool) -> int | None:
    days, hours, minutes, seconds = parts
    if minutes > 59 or seconds > 59:
        return None
    found = bounded((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000 + micro)
    return -found if negative else found


def bounded(span: int) -> int:
    """As long as a TIME may be."""
    most = ((MAX_HOURS * 60 + 59) * 60 + 59) * 1_000_000 + 999_999
    return max(-most, min(most, span))


def written(moment: Moment, scale: int) -> str:
    """A DATETIME with ``scale`` digits of a second; further ones are cut."""
    year, month, day, hour, minute, second, micro = moment
    whole = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    return whole + (f".{micro:06}"[: 1 + scale] if scale else "")


def written_day(moment: Moment) -> str:
    return f"{moment.year:04}-{moment.month:02}-{moment.day:02}"


def written_span(span: int, scale: int) -> str:
    """A TIME."""
    seconds, micro = divmod(abs(span), 1_000_000)
    if scale < 6:
        micro -= micro % 10 ** (6 - scale)
    negative = span < 0 and (seconds or micro)
    whole = f"{'-' if negative else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return whole + (f".{micro:06}"[: 1 + scale] if scale else "")


def number_of_day(moment: Moment) -> int | None:
    """Days since the year 0, as TO_DAYS counts them; None where there is no such day."""
    if moment.month == 0 or moment.day == 0:
        return None
    if moment.year == 0:
        before = sum(days_in(0, month) for month in range(1, moment.month))
        return before + moment.day
    return date(*moment[:3]).toordinal() + 365


def day_of_number(number: int) -> tuple[int, int, int] | None:
    """The day back from :func:`number_of_day`; None where it is none of the years 1 to 9999."""
    if not 366 <= number <= 3_652_424:
        return None
    found = date.fromordinal(number - 365)
    return found.year, found.month, found.day
