"""The part of an investigation that its answer came from, with slots in place of its values.

Read backwards: the answer is a value of an observation; the query that it answered holds values of the task, or of
observations before it; and so on to a query that holds none but the task's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from atlas.benchmarks.excytin.actions import Execute, parse
from atlas.copying.asked import question
from atlas.copying.slots import ANSWER, ASKED, NAMED, TOLD, WORD, columns, name
from atlas.copying.values import Leaf, Shown, kind_of, ranks, sentences, shown, stems, told
from atlas.evaluators.answer import normal
from atlas.records import Step

_QUOTED = re.compile(r"'((?:[^'\\]|\\[\s\S]?|'')*+)(?:'|\Z)|\"((?:[^\"\\]|\\[\s\S]?)*+)(?:\"|\Z)")
"""One that is not closed goes to the end: looked for from each quote anew, many of them took seconds."""
_SELECT = re.compile(r"SELECT\s++(?:DISTINCT\s++)?(?P<columns>.+?)(?<!\s)\s++(?P<rest>FROM\b.*)", re.I | re.S)
_LIMIT = re.compile(r"(?<!\s)\s++LIMIT\s++\d++(?:\s*+(?:,|OFFSET)\s*+\d++)?+\s*+$", re.IGNORECASE)
_REFUSED = re.compile(r"^\w+Error: ")
_PLAIN = re.compile(r"[%A-Za-z_ .-]{0,24}")
_SHORTEST = 3
_LONG = 12
"""Characters of a value that says something also where it stands in a long answer."""
_TELLING = ("guid", "sid", "mail", "ip", "url", "file", "name")
_MOST = 6
"""Steps of a slice."""


@dataclass(frozen=True)
class Asked:
    """A query and what it showed."""

    sql: str
    names: tuple[str, ...]
    seen: Shown


@dataclass(frozen=True)
class Slice:
    """How an answer was come to."""

    steps: tuple[str, ...]
    """Queries with slots, in order."""
    answer: str
    """What was submitted, as slots of the last of them."""


def asked_before(steps: Sequence[Step]) -> list[Asked]:
    """The queries of an investigation that were not refused."""
    found = []
    for step in steps:
        asked = parse(step.decision.action)
        if isinstance(asked, Execute) and not _REFUSED.match(step.outcome.text):
            sql = _LIMIT.sub("", " ".join(asked.sql.split()))
            found.append(Asked(sql, columns(sql), shown(step.outcome.text)))
    return found


def slice_of(goal: str, steps: Sequence[Step], answer: str) -> Slice | None:
    """The slice that ``answer`` came from; None where it stands in nothing that was seen, or in the task itself."""
    queries = asked_before(steps)
    for place in range(len(queries) - 1, -1, -1):
        given = _answer(goal, queries[place], answer)
        if given:
            chain = _chain(goal, queries, place, ASKED)
            return Slice(tuple(chain), given) if chain is not None else None
    return None


def _answer(goal: str, query: Asked, answer: str) -> str:
    """The slots that ``answer`` is made of; empty where the query did not show it."""
    said = normal(answer)
    whole = [leaf for leaf in query.seen.leaves if normal(leaf.text) == said]
    for leaf in whole:
        if text := name(leaf, query.names):
            return f"{{{text}}}"
    first, mark, rest = answer.strip().strip("'\"`").partition("@")
    if mark:
        for leaf in query.seen.leaves:
            if leaf.text.casefold() == first.casefold():
                for other in query.seen.leaves:
                    same = (other.row, other.marks) == (leaf.row, leaf.marks)
                    if same and other.text.casefold() == rest.casefold():
                        parts = name(leaf, query.names), name(other, query.names)
                        return f"{{{parts[0]}}}@{{{parts[1]}}}" if all(parts) else ""
    # Who answers in a sentence gives the value among other words.
    within = [
        leaf
        for leaf in query.seen.leaves
        if len(leaf.text) >= _SHORTEST
        and leaf.text.casefold() not in goal.casefold()
        and re.search(rf"(?<!\w){re.escape(normal(leaf.text))}(?!\w)", said)
    ]
    for leaf in sorted(within, key=lambda one: -len(one.text)):
        telling = 3 * len(leaf.text) >= len(said) or len(leaf.text) >= _LONG or kind_of(leaf.text) in _TELLING
        if telling and (text := name(leaf, query.names)):
            return f"{{{text}}}"
    return ""


def _chain(goal: str, queries: Sequence[Asked], place: int, by: str) -> list[str] | None:
    """The queries up to ``place`` that it took, with slots; None where a value of one of them came from nowhere."""
    query, at = queries[place], 0
    parts: list[str] = []
    before: list[str] = []
    for found in _QUOTED.finditer(query.sql):
        start, end = found.span(found.lastindex or 0)
        raw = query.sql[start:end]
        value = raw.strip("%")
        if not value:
            continue
        start += len(raw) - len(raw.lstrip("%"))
        end = start + len(value)
        slot, chain = _origin(goal, queries, place, value)
        if slot is None:
            if not _PLAIN.fullmatch(value):
                return None
            continue
        if chain:
            if before and before != chain:
                return None
            before = chain
        parts += [query.sql[at:start], f"{{{slot}}}"]
        at = end
    text = "".join([*parts, query.sql[at:]])
    if len(before) >= _MOST:
        return None
    return [*before, f"execute[{text if by == ASKED else _brief(text, query)}]"]


def _brief(sql: str, query: Asked) -> str:
    """A query whose rows are only gone on from, without what made them long: columns that hold structures."""
    found = _SELECT.match(sql)
    if found is None or not query.names:
        return sql
    deep = {leaf.path[0] for leaf in query.seen.leaves if len(leaf.path) > 1}
    listed = [part.strip() for part in found["columns"].split(",")]
    if len(listed) != len(query.names):
        return sql
    kept = [part for place, part in enumerate(listed) if place not in deep]
    return f"SELECT DISTINCT {', '.join(kept)} {found['rest']}" if kept else sql


def _origin(goal: str, queries: Sequence[Asked], place: int, value: str) -> tuple[str | None, list[str]]:
    """The slot for a value of a query and the queries that led to it; none for a word of the language."""
    low = value.casefold()
    if any(low in one.text.casefold() and 2 * len(low) >= len(one.text.partition("@")[0]) for one in told(goal)):
        return NAMED, []
    for earlier in range(place):
        query = queries[earlier]
        for leaf in query.seen.by_text.get(value, ()):
            slot = name(leaf, query.names)
            if not slot:
                continue
            chain = _chain(goal, queries, earlier, TOLD)
            if chain is not None and len(query.seen.rows) > 1 and len(leaf.path) == 1:
                slot = f"{slot} {_reading(goal, query.seen, leaf, place == len(queries) - 1)}"
            if chain is not None:
                return slot, chain
    if len(low) >= _SHORTEST and re.search(rf"(?<!\w){re.escape(low)}", question(goal).casefold()):
        return WORD[ASKED], []
    if len(low) >= _SHORTEST and re.search(rf"(?<!\w){re.escape(low)}", goal.casefold()):
        return WORD[TOLD], []
    return None, []


def _reading(goal: str, seen: Shown, leaf: Leaf, last: bool) -> str:
    """By which words of the task the row of ``leaf`` is the one that was meant: the question's, or those before."""
    said = sentences(goal)
    readings = ((ASKED, stems(said[-1] if said else goal)), (TOLD, stems(" ".join(said[:-1]))))
    places = {by: ranks(words, seen.rows)[leaf.row] if words else len(seen.rows) for by, words in readings}
    if places[ASKED] == places[TOLD]:
        return ASKED if last else TOLD
    return min(places, key=lambda by: places[by])


def tail(found: Slice) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A slice as a procedure, which serves other questions too, and as the answer to one like this.

    Where its last query is by a value that another entity of the row gave, that query belongs to the answer.
    """
    steps, cut = found.steps, len(found.steps)
    while cut > 1 and re.search(r"\{[\w.]+ of [\w-]+\}", steps[cut - 1]):
        cut -= 1
    return (*steps[:cut], f"submit[{{{ANSWER}}}]"), (*steps[cut:], f"submit[{found.answer}]")
