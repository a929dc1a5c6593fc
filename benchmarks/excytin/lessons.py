"""Entries of a pamphlet from an investigation, by rule and without a model.

What is read: which table and columns the answer stood in, by the kind of thing that was asked for; which columns do
not exist, and what worked in their place; and how a refused query is gone on from. Values are left out: an entry is of
use in another incident, whose tables are the same and whose values are others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atlas.asking import Desk
from atlas.benchmarks.excytin.actions import Execute, parse
from atlas.benchmarks.excytin.analyst_fields import asked_for
from atlas.benchmarks.excytin.analyst_reading import sentences, table_rows
from atlas.evaluators.answer import normal
from atlas.evaluators.verdict import Case, Verdict
from atlas.memory.distil import DISTILLER, LONGEST_STEP, Distilled, objection, unjudged
from atlas.memory.pamphlet import Entry, Kind, Origin
from atlas.records import Step

_SELECT = re.compile(
    r"SELECT\s++(?:DISTINCT\s++)?(?P<columns>.+?)(?<!\s)\s++FROM\s++(?P<table>\w++)(?P<rest>.*)", re.I | re.S
)
_CONDITION = re.compile(r"(?<!\w)(?:\w++\.)?(\w++)\s*+(?:=|LIKE\b|REGEXP\b|IN\s*\()\s*(?=['\"(\d])", re.I)
_NO_TABLE = re.compile(r"Table '[\w.]+' doesn't exist")
_NO_COLUMN = re.compile(r"Unknown column '(?:\w+\.)?(\w+)' in '([\w ]+)'")
_REFUSED = re.compile(r"^\w+Error: ")
_SHORTEST = 3
"""Characters of a value that is looked for in what was observed: shorter ones stand anywhere."""
_MOST = 3
"""Columns named in a lesson."""


@dataclass(frozen=True)
class _Query:
    """A query and what came of it."""

    table: str
    columns: tuple[str, ...]
    """What it selected, where those are plain columns."""
    by: tuple[str, ...]
    """The columns that it compared with values."""
    observed: str

    @property
    def refused(self) -> bool:
        return bool(_REFUSED.match(self.observed))

    @property
    def found(self) -> bool:
        return not self.refused and self.observed.strip() not in ("", "[]")


def worked(step: Step) -> bool:
    """Whether a step is worth showing: False for a query that the database refused."""
    return not _REFUSED.match(step.outcome.text)


class InvestigationDistiller:
    """The distiller for investigations. ``worth`` is the reward from which one counts as a success."""

    name = "excytin"

    def __init__(self, *, worth: float = 0.4) -> None:
        self.worth = worth

    async def distil(self, case: Case, verdict: Verdict, desk: Desk) -> Distilled:
        if (missing := unjudged(verdict)) is not None:
            return missing
        return self.lessons(case, success=verdict.score is not None and verdict.score >= self.worth)

    def lessons(self, case: Case, *, success: bool) -> Distilled:
        """What the investigation teaches; less where it did not succeed."""
        queries = [query for step in case.steps if (query := _query(step))]
        origin = Origin(task=case.task.id, episode=case.id, actor=DISTILLER, model=self.name)
        made = [*_guards(case.steps), *(_columns(queries) if success else ())]
        if success and (place := _place(case, queries)):
            made.append(place)
        unique = {entry.id: entry.model_copy(update={"origins": (origin,)}) for entry in made}
        objections = {key: objection(entry, case) for key, entry in unique.items()}
        return Distilled(
            entries=tuple(entry for key, entry in unique.items() if not objections[key]),
            dropped=tuple(f"{unique[key].cue}: {why}" for key, why in objections.items() if why),
        )

    def config(self) -> dict[str, object]:
        return {"distiller": self.name, "version": 1, "worth": self.worth}


def _query(step: Step) -> _Query | None:
    asked = parse(step.decision.action)
    found = _SELECT.match(asked.sql.strip()) if isinstance(asked, Execute) else None
    if found is None:
        return None
    columns = [name.strip().rpartition(".")[2] for name in found["columns"].split(",")]
    by = dict.fromkeys(_CONDITION.findall(found["rest"]))
    return _Query(
        table=found["table"],
        columns=tuple(columns) if all(name.isidentifier() for name in columns) else (),
        by=tuple(by),
        observed=step.outcome.text,
    )


def _guards(steps: Sequence[Step]) -> Iterator[Entry]:
    """How a refusal is gone on from."""
    for step in steps:
        observed = step.outcome.text
        if not _REFUSED.match(observed):
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


def _columns(queries: Sequence[_Query]) -> Iterator[Entry]:
    """Columns that do not exist, and those by which rows of their table were found later."""
    for place, query in enumerate(queries):
        wrong = _NO_COLUMN.search(query.observed)
        later = next((q for q in queries[place + 1 :] if q.table == query.table and q.found and q.by), None)
        if wrong and later and wrong[1] not in later.by:
            yield Entry(
                cue=f"you want the column {wrong[1]} of {query.table}",
                action=f"{query.table} has no {wrong[1]}: search it by {later.by[0]}",
                kind=Kind.FAILURE,
            )


def _place(case: Case, queries: Sequence[_Query]) -> Entry | None:
    """Where an answer of this kind stood."""
    fields = asked_for((sentences(case.task.goal) or [""])[-1])
    found = next((q for q in queries if q.found and q.by and _holds(q.observed, case.answer)), None)
    if not fields or found is None:
        return None
    stood = _columns_of(found, case.answer)
    shown = ", ".join(stood) or "*"
    # By which column it was found differs from question to question: left open, the same lesson is learned more often.
    pattern = f"execute[SELECT {shown} FROM {found.table} WHERE {{column}} LIKE '%{{value}}%']"
    return Entry(
        cue=f"what is the {fields[0].name}",
        action=f"search {found.table} for values that the question names",
        effect=f"the answer stood in {_listed(stood)}" if stood else "the answer stood there",
        pattern=(pattern,) if len(pattern) <= LONGEST_STEP else (),
        kind=Kind.SCHEMA,
    )


def _holds(observed: str, answer: str) -> bool:
    """Whether the answer, or what it names among other words, stands in what was observed."""
    said = normal(observed)
    return any(value in said for value in _values(answer))


def _values(answer: str) -> list[str]:
    """The answer as a whole, and the words of it that look like values: with digits, dots, slashes or marks."""
    whole = normal(answer)
    words = [word.strip("'\"`(),;:").rstrip(".") for word in whole.split()]
    marked = [word for word in words if re.search(r"[\d@\\/._-]", word)]
    return [value for value in dict.fromkeys([whole, *marked]) if len(value) >= _SHORTEST]


def _columns_of(query: _Query, answer: str) -> tuple[str, ...]:
    """The selected columns in which the answer stood."""
    rows = table_rows(query.observed) or ()
    values = _values(answer)
    found: dict[str, None] = {}
    for row in rows:
        for name, cell in zip(query.columns, row, strict=False):
            said = normal(str(cell))
            if any(value in said for value in values):
                found[name] = None
    return tuple(found)[:_MOST]


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names[:_MOST])
