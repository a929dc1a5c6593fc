"""Running statements on both engines, and judging what they answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from atlas.benchmarks.excytin.comparison.statements import Statement
from atlas.benchmarks.excytin.engine import Engine, Row, SqlError

EQUAL, REFUSED, MORE, DIFFERENT = "equal", "refused", "only here", "different"
"""The same rows or both an error; only the server answers; only the embedded engine does; other rows."""
SHOWN_DIGITS = 13
"""Digits to which doubles are compared: mathematical libraries differ in the last ones."""


@dataclass(frozen=True)
class Judged:
    """One statement, and what the engines made of it: rows, or an error."""

    statement: Statement
    verdict: str
    ours: list[Row] | str
    theirs: list[Row] | str


@dataclass
class Tally:
    """Verdicts by kind of statement."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    equal: list[Judged] = field(default_factory=list)
    others: list[Judged] = field(default_factory=list)
    """All that are not equal."""

    def add(self, judged: Judged) -> None:
        self.counts.setdefault(judged.statement.kind, Counter())[judged.verdict] += 1
        (self.equal if judged.verdict == EQUAL else self.others).append(judged)

    def total(self) -> Counter[str]:
        return sum(self.counts.values(), Counter())

    @property
    def share(self) -> float:
        """Of all statements, those with the same answer."""
        total = self.total()
        return total[EQUAL] / max(1, sum(total.values()))


def judged(statement: Statement, ours: list[Row] | str, theirs: list[Row] | str) -> Judged:
    """What two answers are to each other."""
    if isinstance(ours, str) or isinstance(theirs, str):
        if isinstance(ours, str) and isinstance(theirs, str):
            verdict = EQUAL
        else:
            verdict = REFUSED if isinstance(ours, str) else MORE
    else:
        verdict = EQUAL if shown(ours, statement.ordered) == shown(theirs, statement.ordered) else DIFFERENT
    return Judged(statement, verdict, ours, theirs)


def shown(rows: Sequence[Row], ordered: bool) -> list[str]:
    """As an agent reads them, one by one; sorted where their order is not said."""
    found = [repr(tuple(map(_shown, row))) for row in rows]
    return found if ordered else sorted(found)


def _shown(cell: object) -> object:
    if isinstance(cell, float):
        return float(f"{cell:.{SHOWN_DIGITS}g}")
    return cell


def digest(rows: Sequence[Row], ordered: bool) -> str:
    """By which an answer can be told again."""
    return hashlib.sha256("\n".join(shown(rows, ordered)).encode()).hexdigest()[:16]


def answer(engine: Engine, sql: str) -> list[Row] | str:
    """Rows, or the error."""
    try:
        return list(engine.query(sql))
    except SqlError as error:
        return str(error)


def compare(statements: Iterable[Statement], ours: Engine, theirs: Engine) -> Tally:
    """Each statement on both."""
    tally = Tally()
    for one in statements:
        tally.add(judged(one, answer(ours, one.sql), answer(theirs, one.sql)))
    return tally
