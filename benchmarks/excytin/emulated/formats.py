"""DATE_FORMAT, TIME_FORMAT and STR_TO_DATE: text with ``%`` before each part."""

from __future__ import annotations

from typing import Any

from atlas.benchmarks.excytin.emulated.calendars import FULL, MONDAY, YEARLY, weekday, year_and_week
from atlas.benchmarks.excytin.emulated.moments import (
    Moment,
    bounded,
    day_of_number,
    is_day,
    moment_of,
    number_of_day,
    span_of,
    written,
    written_day,
    written_span,
)

_MONTHS = (
    "January February March April May June July August September October November December".split()
)  # fmt: skip
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_WEEKS = {"U": FULL, "u": MONDAY, "V": YEARLY | FULL, "v": YEARLY | MONDAY, "X": YEARLY | FULL, "x": YEARLY | MONDAY}
_FORMATS = {
    **{"DATE": ("%m.%d.%Y", "%Y-%m-%d", "%Y-%m-%d", "%d.%m.%Y", "%Y%m%d")},
    **{
        "DATETIME": ("%Y-%m-%d %H.%i.%s", "%Y-%m-%d %H:%i:%s", "%Y-%m-%d %H:%i:%s", "%Y-%m-%d %H.%i.%s", "%Y%m%d%H%i%s")
    },
    **{"TIME": ("%h:%i:%s %p", "%H:%i:%s", "%H:%i:%s", "%H.%i.%s", "%H%i%s")},
}
_STYLES = ("USA", "JIS", "ISO", "EUR", "INTERNAL")


def day_name(value: Any) -> str | None:
    found = moment_of(value)
    day = weekday(found) if found else None
    return None if day is None else _DAYS[day]


def month_name(value: Any) -> str | None:
    found = moment_of(value)
    return _MONTHS[found.month - 1] if found and found.month else None


def get_format(kind: str, style: Any) -> str | None:
    name = str(style).upper()
    return _FORMATS[kind][_STYLES.index(name)] if name in _STYLES else None


def date_format(value: Any, form: Any) -> str | None:
    found = moment_of(value)
    return None if found is None else _formatted(found, found.hour, str(form))


def time_format(value: Any, form: Any) -> str | None:
    """Of a time of day, whose date is of zeros; hours may be many."""
    span = span_of(value)
    if span is None:
        return None
    seconds, micro = divmod(abs(span), 1_000_000)
    hours = seconds // 3600
    text = _formatted(Moment(0, 0, 0, hours % 24, seconds // 60 % 60, seconds % 60, micro), hours, str(form))
    return f"-{text}" if text is not None and span < 0 else text


def _formatted(moment: Moment, hours: int, form: str) -> str | None:
    if not form:
        return None
    parts: list[str] = []
    at = 0
    while at < len(form):
        char = form[at]
        if char == "%" and at + 1 < len(form):
            at += 1
            part = _part(form[at], moment, hours)
            if part is None:
                return None
            parts.append(part)
        else:
            parts.append(char)
        at += 1
    return "".join(parts)


def _part(code: str, m: Moment, hours: int) -> str | None:
    twelve = hours % 24 % 12 or 12
    if code in "MbaWwjDUuVvXx":
        return _named(code, m)
    clock = f"{twelve:02}:{m.minute:02}:{m.second:02} {'AM' if hours % 24 < 12 else 'PM'}"
    return {
        "Y": f"{m.year:04}", "y": f"{m.year % 100:02}", "m": f"{m.month:02}", "c": str(m.month), "d": f"{m.day:02}",
        "e": str(m.day), "H": f"{hours:02}", "k": str(hours), "h": f"{twelve:02}", "I": f"{twelve:02}",
        "l": str(twelve), "i": f"{m.minute:02}", "s": f"{m.second:02}", "S": f"{m.second:02}", "f": f"{m.micro:06}",
        "p": clock[-2:], "r": clock, "T": f"{hours:02}:{m.minute:02}:{m.second:02}",
    }.get(code, code)  # fmt: skip


def _named(code: str, m: Moment) -> str | None:
    """What is told of a whole date; None where that has a zero in it."""
    if code in "Mb":
        return None if not m.month else _MONTHS[m.month - 1][: None if code == "M" else 3]
    if code == "D":
        ending = "th" if 10 <= m.day <= 19 else {1: "st", 2: "nd", 3: "rd"}.get(m.day % 10, "th")
        return f"{m.day}{ending}"
    number, day = number_of_day(m), weekday(m)
    if number is None or day is None:
        return None
    if code in "aW":
        return _DAYS[day][: None if code == "W" else 3]
    if code == "w":
        return str((day + 1) % 7)
    if code == "j":
        return f"{number - (number_of_day(Moment(m.year, 1, 1)) or 0) + 1:03}"
    year, week = year_and_week(m, _WEEKS[code]) or (0, 0)
    return f"{year:04}" if code in "Xx" else f"{week:02}"


DATED, TIMED = frozenset("aWwDdeMmbcjYyUuVvXx"), frozenset("HhIiklpSsTfr")


def kind_of(form: str) -> tuple[str, int]:
    """Which kind STR_TO_DATE has with a format: DATE, TIME or DATETIME, and its digits of a second."""
    codes = {form[at + 1] for at, char in enumerate(form[:-1]) if char == "%"}
    scale = 6 if "f" in codes else 0
    if codes & DATED and not codes & TIMED:
        return "DATE", 0
    if codes & TIMED and not codes & DATED:
        return "TIME", scale
    return "DATETIME", scale


class _Unread(Exception):
    """The text is not as the format says."""


def str_to_date(text: Any, form: Any, kind: str, scale: int) -> str | None:
    """The moment told by a text in a format, written as ``kind``; None where it is none."""
    try:
        moment, days = _Parsed(str(text)).read(str(form))
    except _Unread:
        return None
    if kind == "TIME":
        return written_span(bounded(days * 86_400_000_000 + moment.clock), scale)
    return written_day(moment) if kind == "DATE" else written(moment, scale)


class _Parsed:
    """Reads a text along a format."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._found: dict[str, int] = {}
        self._afternoon: bool | None = None

    def read(self, form: str) -> tuple[Moment, int]:
        at = 0
        while at < len(form) and self._at < len(self._text):
            if form[at] == "%" and at + 1 < len(form):
                self._part(form[at + 1])
                at += 2
            elif form[at].isspace():
                at += 1
                self._skip()
            else:
                self._skip()
                if self._text[self._at : self._at + 1] != form[at]:
                    raise _Unread
                self._at, at = self._at + 1, at + 1
        return self._moment()

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _number(self, most: int) -> int:
        begun = self._at
        while self._at < len(self._text) and self._at - begun < most and self._text[self._at] in "0123456789":
            self._at += 1
        if begun == self._at:
            raise _Unread
        return int(self._text[begun : self._at])

    def _name(self, names: list[str], short: bool = False) -> int:
        rest = self._text[self._at :].lower()
        for number, name in enumerate(names, 1):
            wanted = name[:3].lower() if short else name.lower()
            if rest.startswith(wanted):
                self._at += len(wanted)
                return number
        raise _Unread

    def _part(self, code: str) -> None:
        self._skip()
        found = self._found
        begun = self._at
        if code in "Yy":
            year = self._number(4 if code == "Y" else 2)
            if self._at - begun <= 2:
                year += 2000 if year < 70 else 1900
            found["year"] = year
        elif code in "mc":
            found["month"] = self._number(2)
        elif code in "Mb":
            found["month"] = self._name(_MONTHS, code == "b")
        elif code in "deD":
            found["day"] = self._number(2)
            self._at = min(len(self._text), self._at + 2) if code == "D" else self._at
        elif code in "HkhIl":
            found["hour"] = self._number(2)
            if code in "hIl":
                found["twelve"] = 1
        elif code in "isS":
            found["minute" if code == "i" else "second"] = self._number(2)
        elif code == "f":
            micro = self._number(6)
            found["micro"] = micro * 10 ** (6 - (self._at - begun))
        elif code == "p":
            half = self._text[self._at : self._at + 2].upper()
            if half not in ("AM", "PM") or "twelve" not in found:
                raise _Unread
            self._afternoon, self._at = half == "PM", self._at + 2
        elif code == "j":
            found["yearday"] = self._number(3)
        elif code in "aW":
            self._name(_DAYS, code == "a")
        elif code in "Tr":
            for inner in "%H:%i:%s" if code == "T" else "%I:%i:%s %p":
                self._inner(inner)
        elif code in "wUuVvXx" or code != self._text[self._at]:
            raise _Unread
        else:
            self._at += 1

    def _inner(self, char: str) -> None:
        if char.isalpha():
            self._part(char)
        elif char == ":":
            if self._text[self._at : self._at + 1] != ":":
                raise _Unread
            self._at += 1

    def _moment(self) -> tuple[Moment, int]:
        found = self._found
        hour = found.get("hour", 0)
        if "twelve" in found:
            if not 1 <= hour <= 12:
                raise _Unread
            hour = hour % 12 + (12 if self._afternoon else 0)
        year, month, day = found.get("year", 0), found.get("month", 0), found.get("day", 0)
        if found.get("yearday"):
            begun = number_of_day(Moment(year, 1, 1)) or 0
            year, month, day = day_of_number(begun + found["yearday"] - 1) or (0, 0, 0)
        minute, second = found.get("minute", 0), found.get("second", 0)
        if hour > 23 or minute > 59 or second > 59 or not is_day(year, month, day):
            raise _Unread
        return Moment(year, month, day, hour, minute, second, found.get("micro", 0)), 0
