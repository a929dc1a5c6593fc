"""What an investigation teaches of queries: what was refused, what showed nothing or too much, and what helped then.

Values are left out, and so is what was asked for: these entries are about the query language and the tables alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atlas.benchmarks.excytin.actions import Execute, Submit, parse
from atlas.benchmarks.excytin.judge import found_nothing
from atlas.memory.pamphlet import Entry, Kind
from atlas.records import Step

SETTING = "you answer a question about an incident by querying its logs"
"""The cue of what holds for every question: its words are those of the instructions."""
SCOPE = ("execute[",)
REFUSED = re.compile(r"^\w+Error: ")
_SELECT = re.compile(r"SELECT\b.+?(?<!\s)\s++FROM\s++(?P<table>\w++)(?P<rest>.*)", re.I | re.S)
_CONDITION = re.compile(
    r"(?<!\w)(?:\w++\.)?(\w++)\s*+(=|[<>]=?|LIKE\b|REGEXP\b|BETWEEN\b|IN\s*\()\s*(?:'([^']*)'|\"([^\"]*)\"|\d)", re.I
)
_NO_TABLE = re.compile(r"Table '[\w.]+' doesn't exist")
_NO_COLUMN = re.compile(r"Unknown column '(?:\w+\.)?(\w+)' in '([\w ]+)'")
_CUT = re.compile(r"Retrieved \d+ entries\.")
_TIME = re.compile(r"time|date", re.IGNORECASE)
_EMPTY = 'you observe "[]"'


@dataclass(frozen=True)
class _Query:
    table: str
    by: tuple[tuple[str, str, str], ...]
    """Column, comparison and value of each condition."""
    long: bool
    """Whether it asked for all columns, or for many."""
    observed: str

    @property
    def found(self) -> bool:
        return not REFUSED.match(self.observed) and self.observed.strip() not in ("", "[]")

    @property
    def empty(self) -> bool:
        return self.observed.strip() in ("", "[]")


def worked(step: Step) -> bool:
    """Whether a step is worth showing: False for a query that the database refused."""
    return not REFUSED.match(step.outcome.text)


def mistakes(steps: Sequence[Step], *, success: bool) -> Iterator[Entry]:
    """Entries about the queries of an investigation; what helped is told of those that succeeded alone."""
    yield from _guards(steps)
    if success:
        queries = [query for step in steps if (query := _query(step))]
        for place, query in enumerate(queries):
            later = next((q for q in queries[place + 1 :] if q.table == query.table and q.found and q.by), None)
            if later is not None:
                yield from _mended(query, later)
    else:
        yield from _endings(steps)


def _query(step: Step) -> _Query | None:
    asked = parse(step.decision.action)
    found = _SELECT.match(asked.sql.strip()) if isinstance(asked, Execute) else None
    if found is None:
        return None
    by = tuple((m[1], m[2].upper().strip("( "), m[3] or m[4] or "") for m in _CONDITION.finditer(found["rest"]))
    return _Query(found["table"], by, "*" in found[0][: found.start("table")], step.outcome.text)


def _guards(steps: Sequence[Step]) -> Iterator[Entry]:
    """How a refusal is gone on from."""
    for step in steps:
        observed = step.outcome.text
        if not REFUSED.match(observed):
            continue
        if _NO_TABLE.search(observed):
            yield Entry(
                cue="you observe \"ProgrammingError: Table '{table}' doesn't exist\"",
                action="list the tables that there are, and query one of them",
                pattern=("execute[SHOW TABLES]",),
                kind=Kind.GUARD,
            )
        elif found := _NO_COLUMN.search(observed):
            yield Entry(
                cue=f"you observe \"ProgrammingError: Unknown column '{{column}}' in '{found[2]}'\"",
                action="describe the table of that query, and use the columns that it has",
                pattern=("execute[DESCRIBE {table}]",),
                kind=Kind.GUARD,
            )


def _mended(query: _Query, later: _Query) -> Iterator[Entry]:
    """What a query taught that showed no rows, or not all, by the next one of its table that did."""
    wrong = _NO_COLUMN.search(query.observed)
    if wrong and wrong[1] not in {column for column, _, _ in later.by}:
        yield Entry(
            cue=f"you want the column {wrong[1]} of {query.table}",
            action=f"{query.table} has no {wrong[1]}: search it by {later.by[0][0]}",
            kind=Kind.FAILURE,
        )
    if _CUT.match(query.observed) and not _CUT.match(later.observed):
        yield Entry(
            cue="retrieved entries, displaying first entries",
            action="ask for DISTINCT rows of short columns, and read the long column of one row afterwards",
            effect="all rows are shown",
            kind=Kind.GUARD,
        )
    if not query.empty:
        return
    before, after = {column: value for column, _, value in query.by}, {column: value for column, _, value in later.by}
    exact = {column for column, test, _ in query.by if test == "="}
    like = {column for column, test, _ in later.by if test == "LIKE"}
    if any(after[c].strip("%") != before[c] and after[c].strip("%") in before[c] for c in before.keys() & after.keys()):
        yield _empty("search by a part of the value, such as a name without its domain")
    if exact & like:
        yield _empty("compare with LIKE '%...%' in place of =")
    dropped = before.keys() - after.keys()
    if any(map(_TIME.search, dropped)) and not any(map(_TIME.search, after)):
        yield _empty("leave out the bounds on time: what was asked about may be logged at another hour")
    elif dropped and after.keys() < before.keys():
        yield _empty("leave out a condition, and search by one value alone")


def _empty(action: str) -> Entry:
    return Entry(cue=_EMPTY, action=action, effect="rows are found", kind=Kind.GUARD)


def _endings(steps: Sequence[Step]) -> Iterator[Entry]:
    """How an investigation ended that came to nothing."""
    last = parse(steps[-1].decision.action) if steps else None
    if isinstance(last, Submit) and found_nothing(last.answer):
        action = "do not submit that nothing was found: search the alerts by the longest words of the question first"
    elif not isinstance(last, Submit) and len(steps) > 1:
        action = "submit the likeliest value before the last step: without an answer all is lost"
    else:
        return
    yield Entry(cue=SETTING, action=action, kind=Kind.STOP, scope=SCOPE)
