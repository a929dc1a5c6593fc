"""Small tables on which generated statements run: every column is text, as in the benchmark."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

COLUMNS: dict[str, tuple[str, ...]] = {
    "Events": ("Id", "Name", "Num", "Mix", "T", "D", "Js", "Path", "Ip"),
    "Users": ("Uid", "Name", "Dept", "Score", "Joined"),
}
_NAMES = (
    "Nina",
    "nina",
    "NINA",
    "Omar",
    "omar ",
    "Zoë",
    "zoe",
    "Éva",
    "eva",
    "o'Hara",
    "Li_Wei",
    "li-wei",
    "",
    "Straße",
)
_NUMBERS = (
    "7",
    "10",
    "9",
    "07",
    "7.0",
    "-3",
    "3.7",
    "1e2",
    "0",
    "",
    "42abc",
    "  5",
    "abc",
    "2.5",
    "-2.5",
    "100",
    "150",
)
_MIXED = ("a", "A", "b", "B ", "_x", "-x", "+1", ".5", "Z", "z9", "10", "9", "true", "1", "é", "10.50")
_STAMPS = (
    "2024-06-27 14:05:06", "2024-06-27T14:05:06Z", "2024-06-27 14:05:06.123456+00:00", "2024-07-01 00:00:00",
    "2024-07-01", "2024-7-1 3:04:05", "2024-12-31 23:59:59.999", "2023-01-01 00:00:01", "2024-02-29 12:30:00", "",
    "not a date", "20240703101112", "2024-06-30 10:00:00+00:00", "2025-03-09 08:07:06.5",
)  # fmt: skip
_DAYS = ("2024-06-27", "2024-07-01", "2024-01-31", "2024-12-30", "2023-12-31", "2024-02-29", "2021-01-03", "1999-10-20")
_JSON = (
    '{"a": "v", "b": 5, "c": true, "d": null, "e": [1, "x", {"k": 1.50}], "f": {"g": "h"}}',
    '{"a": "V", "b": "5", "c": false, "e": []}',
    '{"a": "w", "b": 4.5, "c": 1, "f": {"g": "C:\\\\Windows\\\\x.exe", "u": "\\u00e9"}}',
    '[{"Type": "ip", "Address": "1.2.3.4"}, {"Type": "host", "Name": "win10"}]',
    "[1, 2, 3, [4]]", '"text"', "17", "{}", "[]",
)  # fmt: skip
_PATHS = (
    "C:\\Windows\\System32\\cmd.exe",
    "c:\\windows\\notepad.EXE",
    "/usr/bin/python3",
    "a,b,c",
    "100% sure",
    "x_y",
    "",
)
_ADDRESSES = ("1.2.3.4", "10.0.0.1", "255.255.255.255", "2a01:110:801b::1", "1.2.3", "", "host")
ROWS = 28


def rows() -> dict[str, list[tuple[str | None, ...]]]:
    """The same every time."""
    events: list[tuple[str | None, ...]] = []
    for number in range(ROWS):

        def one(values: tuple[str, ...], step: int, at: int = number) -> str | None:
            # Each column has NULLs, at rows of its own.
            return None if (at * step + step) % 11 == 5 else values[(at * step) % len(values)]

        events.append(
            (
                str(number + 1), one(_NAMES, 5), one(_NUMBERS, 3), one(_MIXED, 7), one(_STAMPS, 9), one(_DAYS, 3),
                one(_JSON, 2), one(_PATHS, 4), one(_ADDRESSES, 2),
            )
        )  # fmt: skip
    users: list[tuple[str | None, ...]] = [
        ("1", "nina", "IT", "10", "2020-01-05"),
        ("2", "OMAR", "it", "9.5", "2021-11-30"),
        ("3", "zoe", "Sales", None, "2022-02-28"),
        ("4", "Eva", "sales ", "7", None),
        ("5", None, "HR", "100", "2019-07-01"),
        ("6", "Li_Wei", None, "-1", "2024-02-29"),
    ]
    return {"Events": events, "Users": users}


def write(path: Path) -> Path:
    """Them as an incident's SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        for name, columns in COLUMNS.items():
            fields = ", ".join(f'"{column}" TEXT COLLATE NOCASE' for column in columns)
            connection.execute(f'CREATE TABLE "{name}" ({fields})')
            marks = ", ".join("?" * len(columns))
            connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows()[name])
        connection.commit()
    return path
