"""A scripted analyst: it explores the schema, finds the alert a question tells of, and pivots to the one it asks for.

It knows what security analysts know, which tables there usually are and what their columns mean, and of the incident
only what its queries have shown. It is a function of the history: what was asked before is read there, by whomever it
was asked, and the first query that nobody has made yet is its next action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.benchmarks.excytin.actions import Execute, parse
from atlas.benchmarks.excytin.analyst_fields import Field, asked_for, halves
from atlas.benchmarks.excytin.analyst_reading import (
    Found,
    alerts,
    clues,
    distances,
    likeness,
    mentions,
    searchable,
    sentences,
    stems,
    table_rows,
)

MOST_CLUES = 4
"""Values of a question that are looked for at most."""
_ALERTS = "SELECT SystemAlertId, AlertName, Description, Entities FROM SecurityAlert"
_MENTION = 2.5
"""What an alert gains per value of the question that it holds, when the alert told of is looked for."""
_FAR = 0.1
"""What an alert loses per step away from the one that is told of, when the one asked for is looked for."""
_BEFORE = 0.5
"""How much the sentence before the question counts beside it."""


@dataclass(frozen=True)
class Move:
    """What to do next, and why."""

    action: str
    reason: str


class _NextError(Exception):
    """Nobody has made this query yet."""

    def __init__(self, move: Move) -> None:
        super().__init__(move.action)
        self.move = move


class Analyst:
    """One investigation, from its question and what was done so far ((action, observation) pairs)."""

    def __init__(self, question: str, history: Sequence[tuple[str, str]]) -> None:
        self._question = question
        self._seen: dict[str, str] = {}
        for action, observation in history:
            asked = parse(action)
            if isinstance(asked, Execute):
                self._seen.setdefault(_key(asked.sql), observation)

    def act(self) -> Move:
        """The next query, or the answer."""
        try:
            return self._investigate()
        except _NextError as wanted:
            return wanted.move

    def _ask(self, sql: str, reason: str) -> str:
        seen = self._seen.get(_key(sql))
        if seen is None:
            raise _NextError(Move(f"execute[{sql}]", reason))
        return seen

    def _investigate(self) -> Move:
        tables = {row[0] for row in table_rows(self._ask("SHOW TABLES", "First I look which tables there are.")) or ()}
        if "SecurityAlert" not in tables:
            return Move("submit[unknown]", "There are no alerts here, and without them I do not know where to begin.")
        self._ask("DESCRIBE SecurityAlert", "The alerts are in SecurityAlert: I look at its columns.")
        first = self._told()
        if first is None:
            return Move("submit[unknown]", "Nothing that the question names is in any alert.")
        others = self._of_incident(first) if "SecurityIncident" in tables else []
        if not any(alert.id == first.id for alert in others):
            others = [first, *others]
        ranked = self._ranked(first, others)
        return self._answer(ranked, tables)

    def _told(self) -> Found | None:
        """The alert that the question tells of."""
        values = clues(self._question)
        found: dict[str, Found] = {}
        for value in values[:MOST_CLUES]:
            # What is written with a domain may be kept without it.
            for part in dict.fromkeys((searchable(value), searchable(value).partition("@")[0])):
                sql = f"{_ALERTS} WHERE Entities LIKE '%{part}%'"
                seen = alerts(self._ask(sql, f"I look for alerts that have to do with {part}."))
                found.update({alert.id: alert for alert in seen})
                if seen:
                    break
            # As soon as one alert holds most of what is told, more searching changes nothing.
            if any(mentions(alert, values) >= min(2, len(values)) for alert in found.values()):
                break
        if not found:
            found = {alert.id: alert for alert in self._by_words()}
        among = list(found.values())
        if not among:
            return None
        context = " ".join(sentences(self._question)[:-1]) or self._question
        scores = [
            like + _MENTION * mentions(alert, values)
            for like, alert in zip(likeness(context, among), among, strict=True)
        ]
        return among[scores.index(max(scores))]

    def _by_words(self) -> tuple[Found, ...]:
        """Alerts whose title has the longest words of the question, where no value of it leads anywhere."""
        words = sorted(stems(self._question), key=lambda word: (-len(word), self._question.casefold().index(word)))
        for word in words[:MOST_CLUES]:
            seen = alerts(self._ask(f"{_ALERTS} WHERE AlertName LIKE '%{word}%'", f"I look for alerts about {word}..."))
            if seen:
                return seen
        return ()

    def _of_incident(self, first: Found) -> list[Found]:
        sql = (
            "SELECT a.SystemAlertId, a.AlertName, a.Description, a.Entities "
            "FROM SecurityAlert a JOIN SecurityIncident i "
            f"ON i.AlertIds LIKE CONCAT('%', a.SystemAlertId, '%') WHERE i.AlertIds LIKE '%{first.id}%'"
        )
        return list(
            alerts(self._ask(sql, f"The alert '{first.title}' is part of an incident: I read its other alerts."))
        )

    def _ranked(self, first: Found, among: list[Found]) -> list[Found]:
        """The alerts by how well the question's last sentences speak of them, and by how near they are to the first."""
        *before, last = sentences(self._question)
        head, rest = halves(last)
        scores = likeness(rest or head, among)
        # A sentence that names values tells of the alert that is known already.
        if before and not clues(before[-1]):
            scores = [a + _BEFORE * b for a, b in zip(scores, likeness(before[-1], among), strict=True)]
        steps = distances(first, among)
        order = sorted(range(len(among)), key=lambda n: (_FAR * steps[n] - scores[n], among[n].id != first.id, n))
        return [among[n] for n in order]

    def _answer(self, ranked: Sequence[Found], tables: set[str]) -> Move:
        question = sentences(self._question)[-1]
        for field in asked_for(question):
            if field.lookup is not None and field.lookup.table not in tables:
                continue
            for alert in ranked:
                values = dict.fromkeys(value for entity in alert.entities if (value := field.read(entity)))
                # What the question itself names is not what it asks for.
                new = [v for v in values if field.lookup is not None or v.casefold() not in self._question.casefold()]
                for value in new:
                    answer = value if field.lookup is None else self._looked_up(field, value)
                    if answer:
                        reason = f"The alert '{alert.title}' fits the question, and it gives the {field.name}."
                        return Move(f"submit[{answer}]", reason)
        return Move("submit[unknown]", "No alert of the incident gives what is asked for.")

    def _looked_up(self, field: Field, value: str) -> str:
        lookup = field.lookup
        assert lookup is not None
        self._ask(f"DESCRIBE {lookup.table}", f"The {field.name} is not in the alerts: I look at {lookup.table}.")
        test = f"LIKE '{searchable(value)}%'" if lookup.loose else f"= '{searchable(value)}'"
        sql = f"SELECT DISTINCT {lookup.column} FROM {lookup.table} WHERE {lookup.by} {test} LIMIT 5"
        rows = table_rows(self._ask(sql, f"I look up the {field.name} by {lookup.by}.")) or ()
        return next((str(row[0]) for row in rows if row and row[0]), "")


def _key(sql: str) -> str:
    return " ".join(sql.split()).casefold()
