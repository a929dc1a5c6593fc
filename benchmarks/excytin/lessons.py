"""Entries of a pamphlet from an investigation, by rule and without a model.

What is read: how the answer was come to, query by query (:mod:`atlas.benchmarks.excytin.slices`); where an answer of
this kind stood, and in what form it was given; where one did not stand that was judged wrong; and what queries taught
that were refused, or showed nothing or too much (:mod:`atlas.benchmarks.excytin.mistakes`). Values are left out: an
entry is of use in another incident, whose tables are the same and whose values are others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from atlas.asking import Desk
from atlas.benchmarks.excytin.mistakes import SCOPE, SETTING, mistakes
from atlas.benchmarks.excytin.mistakes import worked as worked
from atlas.benchmarks.excytin.slices import Slice, slice_of, tail
from atlas.copying.asked import asked
from atlas.copying.slots import SLOT, slot
from atlas.evaluators.verdict import Case, Verdict
from atlas.memory.distil import DISTILLER, LONGEST_STEP, Distilled, objection, unjudged
from atlas.memory.pamphlet import Entry, Kind, Origin

_TABLE = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)", re.IGNORECASE)


class InvestigationDistiller:
    """The distiller for investigations. ``worth`` is the reward from which one counts as a success."""

    name = "excytin"
    from_failures = True
    """What not to do is learned from investigations that failed."""

    def __init__(self, *, worth: float = 0.4) -> None:
        self.worth = worth

    async def distil(self, case: Case, verdict: Verdict, desk: Desk) -> Distilled:
        if (missing := unjudged(verdict)) is not None:
            return missing
        return self.lessons(case, success=verdict.score is not None and verdict.score >= self.worth)

    def lessons(self, case: Case, *, success: bool) -> Distilled:
        """What the investigation teaches; of one that did not succeed, what not to do."""
        origin = Origin(task=case.task.id, episode=case.id, actor=DISTILLER, model=self.name)
        made = list(mistakes(case.steps, success=success))
        found = slice_of(case.task.goal, case.steps, case.answer)
        if found is not None:
            made += _procedure(found, case) if success else _wrong(found, case)
        unique = {entry.id: entry.model_copy(update={"origins": (origin,)}) for entry in made}
        objections = {key: objection(entry, case) for key, entry in unique.items()}
        return Distilled(
            entries=tuple(entry for key, entry in unique.items() if not objections[key]),
            dropped=tuple(f"{unique[key].cue}: {why}" for key, why in objections.items() if why),
        )

    def config(self) -> dict[str, object]:
        return {"distiller": self.name, "version": 2, "worth": self.worth}


def _procedure(found: Slice, case: Case) -> Iterator[Entry]:
    """How one gets to such an answer, and where it stands then."""
    steps, answer = tail(found)
    if max(map(len, steps + answer)) > LONGEST_STEP:
        return
    if len(steps) > 1:
        yield Entry(cue=SETTING, action=_told(steps[:-1]), pattern=steps, kind=Kind.PRINCIPLE, scope=SCOPE)
    wanted = asked(case.task.goal)
    if wanted:
        way = f"{_told(answer[:-1])}; then " if len(answer) > 1 else ""
        stood = " and ".join(SLOT.findall(found.answer))
        yield Entry(
            cue=f"what is asked for is the {wanted}",
            action=f"{way}give the {stood} of the row that fits the question",
            effect="the value alone is the answer",
            pattern=answer,
            kind=Kind.SCHEMA,
        )


def _wrong(found: Slice, case: Case) -> Iterator[Entry]:
    """Where an answer stood that was judged wrong."""
    wanted = asked(case.task.goal)
    if wanted:
        yield Entry(
            cue=f"what is asked for is the {wanted}",
            action=f"do not give {found.answer} before other values were looked at: it was judged wrong",
            kind=Kind.FAILURE,
        )


def _told(steps: tuple[str, ...]) -> str:
    """Queries in words: which tables, and by what."""
    return "; then ".join(_step(step, number) for number, step in enumerate(steps))


def _step(step: str, number: int) -> str:
    tables = " with ".join(dict.fromkeys(_TABLE.findall(step))) or "the logs"
    by = dict.fromkeys(map(_by, SLOT.findall(step)))
    return f"{'search' if not number else 'read'} {tables}" + (f" by {' and '.join(by)}" if by else "")


def _by(text: str) -> str:
    meant = slot(text)
    if meant is None or not meant.by:
        return {"named": "what the task names"}.get(text, text)
    return f"{'.'.join(meant.keys)} of the row {meant.by}"
