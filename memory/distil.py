"""From a judged episode to entries of a pamphlet: the seam, and the gates that every entry has to pass."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from atlas.asking import Desk
from atlas.evaluators.verdict import Case, Verdict
from atlas.memory.cues import content_words, says
from atlas.memory.pamphlet import SLOT, Entry
from atlas.records import Record, Spend

DISTILLER = "distiller"
"""The actor that a distiller's calls are charged to."""

LONGEST = {"cue": 240, "action": 320, "effect": 160}
"""Characters of the parts of an entry. Longer text is a report, not guidance."""
LONGEST_STEP = 260
MOST_STEPS = 12
"""Actions in a pattern."""

_PARTICULAR = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-|\b[0-9a-f]{16,}\b|\b\d{5,}\b|\b\d{1,3}(?:\.\d{1,3}){3}\b|\S@\S+\.\w|https?://",
    re.IGNORECASE,
)
"""Identifiers, addresses and long numbers: what belongs to one task only."""
_NUMBERED = re.compile(r"\b[a-z]+ \d+\b", re.IGNORECASE)
_MARKED = re.compile(r"`([^`]{1,200})`")
_NAMES = re.compile(r"(?<!\w)[a-z_][\w.\\/-]*\d[\w.\\/-]*", re.IGNORECASE)
_SHORTEST = 3
"""Characters of a value of a task; shorter ones may stand anywhere."""
_WORD = re.compile(r"\w+")
_VAGUE = re.compile(
    r"(?:please )?(?:be|stay) (?:careful|thorough|efficient|patient)|try (?:harder|again|your best)"
    r"|do (?:your best|well)|think (?:carefully|hard|step by step)|pay attention",
    re.IGNORECASE,
)
_FEWEST_WORDS = 2


class Distilled(Record):
    """What an episode taught."""

    entries: tuple[Entry, ...] = ()
    dropped: tuple[str, ...] = ()
    """Why further entries were not kept."""
    spend: tuple[Spend, ...] = ()
    """Paid, also where nothing came of it."""
    missing: str = ""
    """Why the episode taught nothing; empty where it was distilled."""


class Distiller(Protocol):
    """Turns a judged episode into entries. Never raises for an episode that it can make nothing of."""

    name: str

    async def distil(self, case: Case, verdict: Verdict, desk: Desk) -> Distilled:
        """At most one call of a model, at ``desk``. A missing verdict teaches nothing."""
        ...

    def config(self) -> dict[str, object]:
        """All that determines what it writes, JSON-serialisable."""
        ...


def unjudged(verdict: Verdict) -> Distilled | None:
    """What a missing verdict teaches; None where there is one."""
    return Distilled(missing=f"no verdict: {verdict.missing}") if verdict.score is None else None


def objection(entry: Entry, case: Case) -> str:
    """Why ``entry`` is not worth keeping; empty where it passes.

    It has to be short, to name something to do, to be about what this episode was like, and to be of use in another.
    """
    parts = (entry.cue, entry.action, entry.effect, *entry.pattern)
    return shapeless(entry) or _particular(parts, case) or _unrelated(entry, case)


def shapeless(entry: Entry) -> str:
    """Why ``entry`` is no guidance, wherever it is from: too long, or nothing to do; empty where it is."""
    parts = {"cue": entry.cue, "action": entry.action, "effect": entry.effect}
    for name, text in parts.items():
        if len(text) > LONGEST[name]:
            return f"its {name} has {len(text)} characters, more than {LONGEST[name]}"
    if len(entry.pattern) > MOST_STEPS or any(len(step) > LONGEST_STEP for step in entry.pattern):
        return f"its pattern is longer than {MOST_STEPS} steps of {LONGEST_STEP} characters"
    if len(_WORD.findall(entry.action)) < _FEWEST_WORDS or _VAGUE.match(entry.action):
        return "it does not say what to do"
    return ""


def _particular(texts: Iterable[str], case: Case) -> str:
    for text in texts:
        said = SLOT.sub(" ", text)
        if found := _PARTICULAR.search(said) or _NUMBERED.search(said):
            return f"it names {found[0]!r}, which is of this task alone"
        if case.task.id and case.task.id in said:
            return "it names the task it comes from"
        if any(len(value) > 2 and _stands(value, said) for value in (case.reference or "", case.answer)):
            return "it gives the answer away"
        if told := next((value for value in _values(case.task.goal) if _stands(value, said)), ""):
            return f"it names {told!r}, which is of this task alone"
    return ""


def _stands(value: str, text: str) -> bool:
    """Whether ``value`` stands in ``text`` as a whole."""
    return re.search(rf"(?<!\w){re.escape(value.strip())}(?!\w)", text, re.IGNORECASE) is not None


@lru_cache(maxsize=1024)
def _values(goal: str) -> tuple[str, ...]:
    """What a task marks as a value, and its words with digits in them: names of machines, files, accounts."""
    found = [*_MARKED.findall(goal), *(word.strip(".-\\/") for word in _NAMES.findall(goal))]
    return tuple(dict.fromkeys(value for value in found if len(value) > _SHORTEST))


def _unrelated(entry: Entry, case: Case) -> str:
    """The cue has to match something in the episode: half of what its words say, or more. An entry with a scope may be
    about all tasks of a kind: then the scope has to stand in what was done."""
    done = " ".join(step.decision.action for step in case.steps).casefold()
    if entry.scope and all(part.casefold() in done for part in entry.scope):
        return ""
    if any(says(entry.cue, step.outcome.text) for step in case.steps):
        return ""
    cue = content_words(entry.cue)
    if not cue:
        return "its cue says nothing that could be recognised"
    seen = content_words(case.task.goal)
    for step in case.steps:
        seen |= content_words(step.observation) | content_words(step.decision.action)
        seen |= content_words(step.outcome.text) | content_words(step.decision.thought)
    if 2 * len(cue & seen) < len(cue):
        return "its cue matches nothing in the episode"
    return ""
