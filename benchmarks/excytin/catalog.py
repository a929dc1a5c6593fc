"""The schema as MySQL tells it: DESCRIBE, SHOW and information_schema, emulated over SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.benchmarks.excytin.engine import DATABASE, Row, syntax_error, unknown_table
from atlas.benchmarks.excytin.sqltext import Piece

_NAME = r"(?:env_monitor_db\s*\.\s*)?(\w+)"
_FILTER = r"(?:\s+LIKE\s+'(?P<like>(?:[^']|'')*)')?\s*"
_TABLES = re.compile(rf"SHOW\s+(FULL\s+)?TABLES(?:\s+(?:FROM|IN)\s+(\w+))?{_FILTER}", re.IGNORECASE)
_TABLES_WHERE = re.compile(r"SHOW\s+TABLES\s+WHERE\s+(?P<condition>.+)", re.IGNORECASE | re.DOTALL)
_COLUMNS = re.compile(
    rf"SHOW\s+(FULL\s+)?(?:COLUMNS|FIELDS)\s+(?:FROM|IN)\s+{_NAME}(?:\s+(?:FROM|IN)\s+\w+)?{_FILTER}", re.IGNORECASE
)
_DESCRIBE = re.compile(rf"(?:DESCRIBE|DESC|EXPLAIN)\s+{_NAME}(?:\s+(\w+|'[^']*'))?\s*", re.IGNORECASE)
_DATABASES = re.compile(rf"SHOW\s+(?:DATABASES|SCHEMAS){_FILTER}", re.IGNORECASE)
RESERVED = frozenset({"USAGE"})
"""Names of tables that are reserved words: without the backticks that the rules remove, they cannot be named."""

NUMBERED = frozenset({"ORDINAL_POSITION", "CHARACTER_MAXIMUM_LENGTH", "VERSION"})
"""Its columns that are numbers."""
CASED = frozenset({"TABLE_NAME", "TABLE_SCHEMA", "SCHEMA_NAME"})
"""What information_schema compares with its case, as the file system keeps it."""
INFORMATION: dict[str, tuple[str, ...]] = {
    "tables": tuple(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION ROW_FORMAT TABLE_ROWS AVG_ROW_LENGTH "
        "DATA_LENGTH MAX_DATA_LENGTH INDEX_LENGTH DATA_FREE AUTO_INCREMENT CREATE_TIME UPDATE_TIME CHECK_TIME "
        "TABLE_COLLATION CHECKSUM CREATE_OPTIONS TABLE_COMMENT".split()
    ),
    "columns": (
        "TABLE_CATALOG",
        "TABLE_SCHEMA",
        "TABLE_NAME",
        "COLUMN_NAME",
        "ORDINAL_POSITION",
        "COLUMN_DEFAULT",
        "IS_NULLABLE",
        "DATA_TYPE",
        "CHARACTER_MAXIMUM_LENGTH",
        "COLUMN_TYPE",
        "COLUMN_KEY",
        "EXTRA",
        "COLUMN_COMMENT",
    ),
    "schemata": ("CATALOG_NAME", "SCHEMA_NAME", "DEFAULT_CHARACTER_SET_NAME", "DEFAULT_COLLATION_NAME"),
}
"""The views of information_schema that agents read, and the columns of each that are emulated."""


class Catalog:
    """Tables and their columns, in the order in which MySQL lists them."""

    def __init__(self, tables: Mapping[str, Sequence[str]]) -> None:
        self.tables = {name: tuple(columns) for name, columns in tables.items()}

    def install(self, connection: sqlite3.Connection) -> None:
        """Make the views of information_schema queryable as temporary tables."""
        text = "utf8mb4", "utf8mb4_0900_ai_ci"
        rows: dict[str, list[tuple[Any, ...]]] = {"tables": [], "columns": []}
        rows["schemata"] = [("def", DATABASE, *text), ("def", "information_schema", *text)]
        for name, columns in self.tables.items():
            sizes = ("InnoDB", 10, "Dynamic", *[None] * 10)
            rows["tables"].append(("def", DATABASE, name, "BASE TABLE", *sizes, text[1], None, "", ""))
            for number, column in enumerate(columns, 1):
                place = ("def", DATABASE, name, column, number, None)
                rows["columns"].append((*place, "YES", "text", 65535, "text", "", "", ""))
        for view, columns in INFORMATION.items():
            fields = ", ".join(
                f"{c} INTEGER" if c in NUMBERED else f"{c} TEXT" if c in CASED else f"{c} TEXT COLLATE NOCASE"
                for c in columns
            )
            connection.execute(f"CREATE TEMP TABLE information_schema_{view} ({fields})")
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO information_schema_{view} VALUES ({marks})", rows[view])

    def answer(self, word: str, parts: Sequence[Piece]) -> list[Row] | str:
        """The rows of SHOW or DESCRIBE; a SELECT in their place where they have a condition of their own."""
        text = "".join("'" + p.text.replace("'", "''") + "'" if p.is_string else p.text for p in parts).strip()
        if found := _TABLES.fullmatch(text):
            rows = [(name,) for name in self.tables if like(name, found["like"], re.DOTALL)]
            return [(*row, "BASE TABLE") for row in rows] if found[1] else rows
        if found := _TABLES_WHERE.fullmatch(text):
            condition = re.sub(rf"\bTables_in_{DATABASE}\b", "TABLE_NAME", found["condition"], flags=re.IGNORECASE)
            return f"SELECT TABLE_NAME FROM information_schema.tables WHERE {condition}"
        if found := _DATABASES.fullmatch(text):
            return [(name,) for name in (DATABASE, "information_schema") if like(name, found["like"])]
        if found := _COLUMNS.fullmatch(text):
            rows = [row for row in self._described(found[2], text) if like(row[0], found["like"])]
            return [_full(row) for row in rows] if found[1] else rows
        if word in ("DESCRIBE", "DESC", "EXPLAIN") and (found := _DESCRIBE.fullmatch(text)):
            pattern = found[2].strip("'") if found[2] else None
            return [row for row in self._described(found[1], text) if like(row[0], pattern)]
        raise syntax_error(text.split(None, 1)[1] if " " in text else "")

    def _described(self, table: str, text: str) -> list[Row]:
        if table.upper() in RESERVED:
            raise syntax_error(text[text.index(table) :])
        if table not in self.tables:
            raise unknown_table(table)
        return [(column, "text", "YES", "", None, "") for column in self.tables[table]]


def _full(row: Row) -> Row:
    name, kind, null, key, default, extra = row
    return (name, kind, "utf8mb4_0900_ai_ci", null, key, default, extra, "select,insert,update,references", "")


def like(value: str, pattern: str | None, flags: int = re.IGNORECASE | re.DOTALL) -> bool:
    """LIKE. Names of tables are matched with their case, names of columns without."""
    if pattern is None:
        return True
    parts = [""]
    for part in re.split(r"(\\.|%|_)", pattern):
        if part == "%":
            parts.append("")
        else:
            parts[-1] += "." if part == "_" else re.escape(part[1:] if part[:1] == "\\" else part)
    first, *rest = parts
    # What stands between two "%" is taken where it first stands, for good: else there are endless ways to cut a name.
    regex = first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + "".join(f".*{part}" for part in rest[-1:])
    return re.fullmatch(regex, value, flags) is not None
