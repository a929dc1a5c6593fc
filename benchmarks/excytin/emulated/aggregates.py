"""Aggregates that SQLite does not have, or has otherwise, in Python."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from atlas.benchmarks.excytin.emulated.numbers import carried, decimal_of, plain
from atlas.benchmarks.excytin.emulated.texts import MAX_TEXT
from atlas.benchmarks.excytin.engine import SqlError

_BITS = (1 << 64) - 1


class Aggregate:
    """One group. What it complains about is kept by the connection."""

    keep: Callable[..., None]

    def refuse(self, error: SqlError) -> None:
        self.keep(error)
        raise error


class Single(Aggregate):
    """The value of a query that may have one row."""

    def __init__(self) -> None:
        self.rows = 0
        self.value: Any = None

    def step(self, value: Any) -> None:
        self.rows += 1
        self.value = value
        if self.rows > 1:
            self.refuse(SqlError("DataError", "Subquery returns more than 1 row"))

    def finalize(self) -> Any:
        return self.value


class SumDecimal(Aggregate):
    def __init__(self) -> None:
        self.total: Decimal | None = None

    def step(self, value: Any) -> None:
        if value is not None:
            self.total = (self.total or Decimal(0)) + decimal_of(value)

    def finalize(self) -> str | None:
        return None if self.total is None else plain(self.total)


class Variance(Aggregate):
    """By the recurrence of Welford, as MySQL computes it."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = 0.0
        self.sample = self.root = False

    def step(self, value: Any, sample: int, root: int) -> None:
        self.sample, self.root = bool(sample), bool(root)
        if value is None:
            return
        self.count += 1
        before = self.mean
        self.mean = value if self.count == 1 else before + (value - before) / self.count
        self.squares += (value - before) * (value - self.mean) if self.count > 1 else 0.0

    def finalize(self) -> float | None:
        if self.count <= self.sample:
            return None
        found = self.squares / (self.count - self.sample)
        return math.sqrt(found) if self.root else found


class Bits(Aggregate):
    """BIT_AND, BIT_OR and BIT_XOR."""

    def __init__(self) -> None:
        self.found: int | None = None
        self.how = ""

    def step(self, value: Any, how: str) -> None:
        self.how = how
        if value is None:
            return
        number = int(value) & _BITS
        if self.found is None:
            self.found = number
        elif how == "and":
            self.found &= number
        else:
            self.found = self.found | number if how == "or" else self.found ^ number

    def finalize(self) -> Any:
        return carried(_BITS if self.found is None and self.how == "and" else self.found or 0)


class GroupConcat(Aggregate):
    """GROUP_CONCAT: values with a separator between, some once, in the order of keys."""

    def __init__(self) -> None:
        self.rows: list[tuple[Sequence[Any], str]] = []
        self.seen: set[Any] = set()
        self.separator, self.directions, self.size = ",", "", 0

    def step(self, separator: str, directions: str, value: Any, once: Any, *keys: Any) -> None:
        """Args: ``directions``: a or d for each key. ``once``: what tells values apart, where each counts once."""
        self.separator, self.directions = separator, directions
        if value is None or (once is not None and once in self.seen):
            return
        if once is not None:
            self.seen.add(once)
        self.size += len(value)
        if self.size > MAX_TEXT:
            self.refuse(SqlError("DatabaseError", "The result is too large: add a WHERE to the GROUP_CONCAT"))
        self.rows.append((keys, value))

    def finalize(self) -> str | None:
        if not self.rows:
            return None
        if self.directions:
            self.rows.sort(key=functools.cmp_to_key(self._compare))
        return self.separator.join(value for _, value in self.rows)

    def _compare(self, left: tuple[Sequence[Any], str], right: tuple[Sequence[Any], str]) -> int:
        for direction, before, after in zip(self.directions, left[0], right[0], strict=True):
            if before == after:
                continue
            # NULL comes first.
            less = before is None or (after is not None and before < after)
            return -1 if less == (direction == "a") else 1
        return 0


class JsonArray(Aggregate):
    """JSON_ARRAYAGG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def step(self, kind: str, value: Any) -> None:
        if value is None:
            self.parts.append("null")
        else:
            self.parts.append(str(value) if kind == "n" else json.dumps(value, ensure_ascii=False))

    def finalize(self) -> str | None:
        return f"[{','.join(self.parts)}]" if self.parts else None


class JsonObject(Aggregate):
    """JSON_OBJECTAGG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def step(self, kind: str, name: Any, value: Any) -> None:
        if name is None:
            self.refuse(SqlError("DataError", "JSON documents may not contain NULL member names."))
        shown = "null" if value is None else str(value) if kind == "n" else json.dumps(value, ensure_ascii=False)
        self.parts.append(f"{json.dumps(str(name), ensure_ascii=False)}:{shown}")

    def finalize(self) -> str | None:
        return "{" + ", ".join(self.parts) + "}" if self.parts else None


AGGREGATES: dict[str, type[Aggregate]] = {
    "single": Single,
    "sum_decimal": SumDecimal,
    "variance": Variance,
    "bits": Bits,
    "group_concat": GroupConcat,
    "json_arrayagg": JsonArray,
    "json_objectagg": JsonObject,
}
