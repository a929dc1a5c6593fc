"""A scripted analyst: it explores the schema, finds the alert a question tells of, and pivots to the one it asks for.

It knows what security analysts know, which tables there usually are and what their columns mean, and of the incident
only what its queries have shown. It is a function of the history: what was asked before is read there, by whomever it
was asked, and the first query that nobody has made yet is its next action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atlas.benchmarks.excytin.actions import Execute, parse
from atlas.benchmarks.excytin.analyst_fields import Field, asked_for, halves
from atlas.benchmarks.excytin.analyst_reading import (
    CUT,
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
    with_entities,
)

MOST_CLUES = 4
"""Values of a question that are looked for at most."""
_ALERTS = "SELECT SystemAlertId, AlertName, Description, Entities FROM SecurityAlert"
_BRIEF = "SELECT DISTINCT SystemAlertId, AlertName, Description FROM SecurityAlert"
_ENTITIES = "SELECT DISTINCT Entities FROM SecurityAlert"
MOST_READ = 8
"""Alerts whose entities are looked at one by one, where all at once were too much to be shown."""
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
        self.relied: list[str] = []
        """The queries of the history that its last :meth:`act` followed from, in the order it read them."""
        self._seen: dict[str, str] = {}
        self._much = False
        """Whether alerts with their entities were too much to be shown: their titles are read first from then on."""
        for action, observation in history:
            asked = parse(action)
            if isinstance(asked, Execute):
                self._seen.setdefault(_key(asked.sql), observation)

    def act(self) -> Move:
        """The next query, or the answer."""
        self.relied.clear()
        try:
            return self._investigate()
        except _NextError as wanted:
            return wanted.move

    def _ask(self, sql: str, reason: str) -> str:
        seen = self._seen.get(_key(sql))
        if seen is None:
            raise _NextError(Move(f"execute[{sql}]", reason))
        self.relied.append(sql)
        return seen

    def _investigate(self) -> Move:
        tables = {row[0] for row in table_rows(self._ask("SHOW TABLES", "First I look which tables there are.")) or ()}
        if "SecurityAlert" not in tables:
            return Move("submit[unknown]", "There are no alerts here, and without them I do not know where to begin.")
        self._ask("DESCRIBE SecurityAlert", "The alerts are in SecurityAlert: I look at its columns.")
        first = self._told()
        if first is None:
            return self._elsewhere(tables) or Move(
                "submit[unknown]", "Nothing that the question names is in any alert."
            )
        others = self._of_incident(first) if "SecurityIncident" in tables else []
        if not any(alert.id == first.id for alert in others):
            others = [first, *others]
        ranked = self._ranked(first, others)
        found = self._answer(ranked, tables) or self._elsewhere(tables)
        return found or Move("submit[unknown]", "No alert gives what is asked for.")

    def _elsewhere(self, tables: set[str]) -> Move | None:
        """The answer from alerts of any incident, whose titles have the words of the last sentence."""
        *_, last = sentences(self._question) or [self._question]
        found = self._by_words(last)
        scores = likeness(last, found)
        order = sorted(range(len(found)), key=lambda n: (-scores[n], n))
        return self._answer([found[n] for n in order], tables) if found else None

    def _told(self) -> Found | None:
        """The alert that the question tells of."""
        values = clues(self._question)
        found: dict[str, Found] = {}
        hits: Counter[str] = Counter()

        def told(alert: Found) -> int:
            """How many values of the question it holds; where its entities were not shown, by what it answered to."""
            return mentions(alert, values) if alert.raw else hits[alert.id]

        for value in values[:MOST_CLUES]:
            if (read := self._read(values)) and not self._searched(value):
                # The alerts of the incident were read in another way: more searching would show no others.
                found.update(read)
                break
            # What is written with a domain may be kept without it.
            for part in dict.fromkeys((searchable(value), searchable(value).partition("@")[0])):
                where = f"WHERE Entities LIKE '%{part}%'"
                seen = self._alerts(_ALERTS, _BRIEF, where, f"I look for alerts that have to do with {part}.")
                found.update({alert.id: alert for alert in seen})
                hits.update(alert.id for alert in seen)
                if seen:
                    break
            # As soon as one alert holds most of what is told, more searching changes nothing.
            if any(told(alert) >= min(2, len(values)) for alert in found.values()):
                break
        if not found:
            found = {alert.id: alert for alert in self._by_words(self._question)}
        among = list(found.values())
        if not among:
            return None
        context = " ".join(sentences(self._question)[:-1]) or self._question
        scores = [like + _MENTION * told(alert) for like, alert in zip(likeness(context, among), among, strict=True)]
        return among[scores.index(max(scores))]

    def _searched(self, value: str) -> bool:
        """Whether alerts that have to do with a value were looked for already."""
        where = f"WHERE Entities LIKE '%{searchable(value)}%'"
        return any(_key(f"{head} {where}") in self._seen for head in (_ALERTS, _BRIEF))

    def _read(self, values: Sequence[str]) -> dict[str, Found]:
        """The alerts of an incident that were read whole, where one of them is what the question tells of."""
        for observation in self._whole():
            read = {alert.id: alert for alert in alerts(observation)}
            if any(mentions(alert, values) >= min(2, len(values)) for alert in read.values()):
                return read
        return {}

    def _whole(self) -> Iterator[str]:
        """What was shown of incidents whose alerts were read with their entities, whichever alert led to them."""
        head, _, tail = _key(_in_incident("\0")[0]).partition("\0")
        for key, observation in self._seen.items():
            if key.startswith(head) and key.endswith(tail) and not observation.startswith(CUT):
                yield observation

    def _by_words(self, text: str) -> tuple[Found, ...]:
        """Alerts whose title has the longest words of ``text``, where no value of the question leads anywhere."""
        words = sorted(stems(text), key=lambda word: (-len(word), text.casefold().index(word)))
        for word in words[:MOST_CLUES]:
            where = f"WHERE AlertName LIKE '%{word}%'"
            seen = self._alerts(_ALERTS, _BRIEF, where, f"I look for alerts about {word}...")
            if seen:
                return seen
        return ()

    def _of_incident(self, first: Found) -> list[Found]:
        wide, brief = _in_incident(first.id)
        if _key(wide) not in self._seen:
            for observation in self._whole():
                read = alerts(observation)
                if any(alert.id == first.id for alert in read):
                    return list(read)
        why = f"The alert '{first.title}' is part of an incident: I read its other alerts."
        return list(self._alerts(wide, brief, "", why))

    def _alerts(self, wide: str, brief: str, where: str, why: str) -> tuple[Found, ...]:
        """The alerts with their entities; without them where all of that is too much to be shown."""
        if not self._much:
            seen = self._ask(f"{wide} {where}".rstrip(), why)
            if not seen.startswith(CUT):
                return alerts(seen)
            self._much, why = True, "That is too much to be shown: I read the titles first."
        return alerts(self._ask(f"{brief} {where}".rstrip(), why))

    def _entities(self, alert: Found) -> Found:
        """The alert with its entities, which are looked up where they were not shown."""
        if alert.raw:
            return alert
        sql = f"{_ENTITIES} WHERE SystemAlertId = '{alert.id}'"
        seen = self._ask(sql, f"The alert '{alert.title}' fits the question: I read what it has to do with.")
        return with_entities(alert, seen)

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

    def _answer(self, ranked: Sequence[Found], tables: set[str]) -> Move | None:
        question = sentences(self._question)[-1]
        for field in asked_for(question):
            if field.lookup is not None and field.lookup.table not in tables:
                continue
            for alert in map(self._entities, ranked[:MOST_READ] if any(not a.raw for a in ranked) else ranked):
                values = dict.fromkeys(value for entity in alert.entities if (value := field.read(entity)))
                # What the question itself names is not what it asks for.
                new = [v for v in values if field.lookup is not None or v.casefold() not in self._question.casefold()]
                for value in new:
                    answer = value if field.lookup is None else self._looked_up(field, value)
                    if answer:
                        reason = f"The alert '{alert.title}' fits the question, and it gives the {field.name}."
                        return Move(f"submit[{answer}]", reason)
        return None

    def _looked_up(self, field: Field, value: str) -> str:
        lookup = field.lookup
        assert lookup is not None
        self._ask(f"DESCRIBE {lookup.table}", f"The {field.name} is not in the alerts: I look at {lookup.table}.")
        test = f"LIKE '{searchable(value)}%'" if lookup.loose else f"= '{searchable(value)}'"
        sql = f"SELECT DISTINCT {lookup.column} FROM {lookup.table} WHERE {lookup.by} {test} LIMIT 5"
        rows = table_rows(self._ask(sql, f"I look up the {field.name} by {lookup.by}.")) or ()
        return next((str(row[0]) for row in rows if row and row[0]), "")


def _in_incident(alert: str) -> tuple[str, str]:
    """The queries that read the alerts of an alert's incident: with their entities, and without."""
    columns = "a.SystemAlertId, a.AlertName, a.Description"
    where = (
        "FROM SecurityAlert a JOIN SecurityIncident i ON i.AlertIds LIKE CONCAT('%', a.SystemAlertId, '%') "
        f"WHERE i.AlertIds LIKE '%{alert}%'"
    )
    return f"SELECT {columns}, a.Entities {where}", f"SELECT DISTINCT {columns} {where}"


def _key(sql: str) -> str:
    return " ".join(sql.split()).casefold()
