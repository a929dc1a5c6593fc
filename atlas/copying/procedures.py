"""How a student that reads no prose follows entries where the environment lists no actions: by their patterns.

A *procedure* is an entry whose pattern ends with ``{what is asked for}``: actions one after the other, each with slots
for values of the task or of what was observed before (:mod:`atlas.copying.slots`). An *answer* is an entry whose cue is
such a thing as is asked for, and whose pattern says where it stands, possibly after further actions. A procedure is
gone through as far as there are answers to its actions; where one showed nothing, another value is tried in its
place; where what is asked for stands in what was seen, it is given. What entries say not to give is given last.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from atlas.copying.asked import asked, question
from atlas.copying.proposal import Proposal
from atlas.copying.slots import ANSWER, ASKED, NAMED, SLOT, TOLD, WORD, Slot, columns, keys_of, leaves, slot, type_of
from atlas.copying.values import Leaf, Shown, sentences, shown, stems, told
from atlas.records import Guidance, View

FIT = 15.0
"""Of a proposal, in nats, on the scale of the demonstrations' (:mod:`atlas.copying.nearest`)."""
ROWS = {TOLD: 2, ASKED: 8}
"""Rows that are tried, the best by the words of the task first."""
MANY = 3
"""Words of the task that are gone on with, where they showed rows."""
WIDEST = 6
"""Values of the task, or words of it, that are tried."""
LEAST = 0.3
"""How much an answer's cue has to be like what is asked for."""
NEAR = 0.15
"""Answers that fit so little worse than the best are looked for in the same row."""
FORBIDDEN = 0.1
"""What an answer loses that another entry says not to give."""
PLANS = 3
"""Procedures that are gone through."""
VISITS = 10
"""Rows that are gone on from, of all that were shown."""
BEFORE = 0.5
"""How much the sentence before the question says of the row that is meant."""
LONG = 0.6
"""What a word of a long cell counts, beside one of a title."""
_TITLE = 90
_STEM = 6
_FORBIDS = re.compile(r"(?:do not|don't|never|avoid)\b", re.IGNORECASE)
_CALL = re.compile(r"\w+\[(.*)\]\s*", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z])([A-Z])")
_WORDS = re.compile(r"[a-z]{2,}")
_RANK = ("guid", "sid", "mail", "ip", "url", "file", "name", "phrase")
"""Kinds of values, the most telling first. Dates and numbers are not looked for: they are written in many ways."""
_USUAL = frozenset(
    "also anothe associ can could detect determ differ during find follow further given identi involv name observ part "
    "please possib potent provid relate same specif two use used using which you".split()
)
"""Beginnings of words that any question has."""
_REFUSED = re.compile(r"\w*Error: ")
_SEARCHED = re.compile(r"[\\'\"%;`\[\]]|\s{2,}")


@dataclass(frozen=True)
class Seen:
    """An observation, and what its columns are called."""

    shown: Shown
    names: tuple[str, ...]


def proceed(view: View) -> list[Proposal]:
    """What the procedures among the view's guidance have done next: at most one proposal."""
    plans = [entry for entry in view.guidance if len(entry.pattern) > 1 and ANSWER in SLOT.findall(entry.pattern[-1])]
    if not plans:
        return []
    found = _Work(view).next(sorted(plans, key=lambda entry: (-entry.score, entry.id))[:PLANS])
    return [found] if found is not None else []


@dataclass(frozen=True)
class _Place:
    """Where an answer may stand: the last action of a procedure, about one row of what was seen before it."""

    likeness: float
    """How much of the question the row says."""
    plan: Guidance
    action: str


class _Work:
    """A task, what was observed of it, and what entries say of its answer."""

    def __init__(self, view: View) -> None:
        self._goal = view.task.goal
        self._said = self._goal.casefold()
        self._seen: dict[str, Seen] = {}
        for turn in view.turns:
            seen = Seen(shown("[]"), ())
            if not _REFUSED.match(turn.observation):
                seen = Seen(shown(turn.observation), columns(turn.action))
            self._seen.setdefault(_same(turn.action), seen)
        self._answers = _answers(view)
        self._thought = f"What I look for: {question(self._goal)}"[:240]

    # --- procedures ---------------------------------------------------------------------------------------------------

    def next(self, plans: Sequence[Guidance]) -> Proposal | None:
        """The next action. Each procedure is gone through up to its last action but one; then the rows that all of them
        showed are gone on from, those first that say most of the question."""
        places: list[_Place] = []
        for plan in plans:
            found = self._lead(plan, 0, None)
            if isinstance(found, Proposal):
                return found
            places += found
        places.sort(key=lambda place: -place.likeness)
        visited: list[tuple[Guidance, Seen]] = []
        for place in places[:VISITS]:
            seen = self._seen.get(_same(place.action))
            if seen is None:
                return self._proposal(place.plan, place.action)
            if seen.shown.leaves:
                visited.append((place.plan, seen))
                if (given := self._answer(place.plan, seen, surely=True)) is not None:
                    return given
        for plan, seen in visited:
            if (given := self._answer(plan, seen, surely=False)) is not None:
                return given
        return None

    def _lead(self, plan: Guidance, step: int, last: Seen | None) -> Proposal | list[_Place]:
        """The first action on the way to the last one that is not done yet; else the rows that it may be about."""
        pattern = plan.pattern[step]
        if step == len(plan.pattern) - 2:
            return self._places(plan, pattern, last)
        places: list[_Place] = []
        left = _many(pattern)
        for action in self._bound(pattern, last):
            seen = self._seen.get(_same(action))
            if seen is None:
                return self._proposal(plan, action)
            if seen.shown.leaves:
                found = self._lead(plan, step + 1, seen)
                if isinstance(found, Proposal):
                    return found
                places += found
                left -= bool(found)
            if not left:
                break
        return places

    def _places(self, plan: Guidance, pattern: str, last: Seen | None) -> Proposal | list[_Place]:
        if last is None:
            # The last action is the first: its own rows are those that are meant.
            places: list[_Place] = []
            for action in self._bound(pattern, None):
                seen = self._seen.get(_same(action))
                if seen is None:
                    return self._proposal(plan, action)
                if seen.shown.leaves:
                    places.append(_Place(max(self._likeness(ASKED, seen.shown)), plan, action))
                if len(places) == _many(pattern):
                    break
            return places
        wanted = SLOT.findall(pattern)
        meant = slot(wanted[0]) if wanted else None
        if meant is None:
            return [_Place(0.0, plan, action) for action in self._bound(pattern, last)]
        scores = self._likeness(ASKED, last.shown)
        return [
            _Place(scores[leaf.row], plan, pattern.replace(f"{{{wanted[0]}}}", leaf.text))
            for leaf in self._rows(meant, last)
            if _clean(leaf.text)
        ]

    def _bound(self, pattern: str, last: Seen | None) -> Iterator[str]:
        """The action with values for its slots, the likeliest first."""
        wanted = SLOT.findall(pattern)
        if not wanted:
            yield pattern
            return
        # All slots of a name are one value; of several names the first is varied.
        for value in self._candidates(wanted[0], last):
            filled = pattern.replace(f"{{{wanted[0]}}}", value)
            yield from self._bound(filled, last) if SLOT.search(filled) else (filled,)

    def _candidates(self, wanted: str, last: Seen | None) -> Iterator[str]:
        if wanted == NAMED:
            yield from _named(self._goal)
        elif wanted in WORD.values():
            last_said = question(self._goal)
            text = last_said if wanted == WORD[ASKED] else self._goal.removesuffix(last_said)
            yield from _long_words(text)
        elif (meant := slot(wanted)) is not None and last is not None:
            yield from dict.fromkeys(leaf.text for leaf in self._rows(meant, last) if _clean(leaf.text))

    def _rows(self, meant: Slot, seen: Seen) -> Iterator[Leaf]:
        """Values for a slot, of the rows that the task's words mean, the likeliest first."""
        found = leaves(meant, seen.shown, seen.names)
        places = {row: place for place, row in enumerate(self._order(meant.by or ASKED, seen.shown))}
        tried: dict[str, Leaf] = {}
        for leaf in sorted(found, key=lambda one: places[one.row]):
            if len(tried) == ROWS[meant.by or ASKED]:
                break
            tried.setdefault(leaf.text, leaf)
        yield from tried.values()

    def _order(self, by: str, seen: Shown) -> list[int]:
        """The rows of an observation by how much of the task they say."""
        scores = self._likeness(by, seen)
        return sorted(range(len(scores)), key=lambda row: (-scores[row], row))

    def _likeness(self, by: str, seen: Shown) -> list[float]:
        said = sentences(self._goal)
        if by == TOLD:
            weighed = [(" ".join(said[:-1]) or self._goal, 1.0)]
        else:
            weighed = [(question(self._goal), 1.0)]
            if len(said) > 1 and not _named(said[-2]):
                weighed.append((said[-2], BEFORE))
        scores = [0.0] * len(seen.rows)
        for text, weight in weighed:
            for row, score in enumerate(_likeness(text, seen)):
                scores[row] += weight * score
        return scores

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answer(self, plan: Guidance, seen: Seen, *, surely: bool) -> Proposal | None:
        """What is asked for, where it stands in what was seen; the next action, where one has to be done for it.

        surely: only what the entries that fit best say, and nothing that the task tells itself.
        """
        for number, (fit, entry) in enumerate(self._answers):
            if surely and (number > 1 or fit < self._answers[0][0] - NEAR):
                break
            found = self._from(plan, entry, 0, seen, surely)
            if found is not None:
                return found
        text = self._by_name(seen)
        if text and (not surely or not self._answers):
            return self._proposal(plan, plan.pattern[-1].replace(f"{{{ANSWER}}}", text))
        return None

    def _by_name(self, seen: Seen) -> str:
        """The value whose own name is most like what is asked for, where no entry says where such a thing stands."""
        wanted = _words(asked(self._goal))
        best: tuple[float, str] = (LEAST, "")
        for leaf in seen.shown.leaves:
            if keys_of(leaf) and leaf.text.casefold() not in self._said:
                words = _words(_CAMEL.sub(r" \1", f"{keys_of(leaf)[-1]} {type_of(leaf)}"))
                fit = len(words & wanted) / len(words | wanted) if words else 0.0
                best = max(best, (fit, leaf.text), key=lambda row: row[0])
        return best[1]

    def _from(self, plan: Guidance, entry: Guidance, step: int, seen: Seen, surely: bool) -> Proposal | None:
        pattern = entry.pattern[step]
        if step == len(entry.pattern) - 1:
            for text in self._values(pattern, seen):
                if not surely or _inner(text).casefold() not in self._said:
                    return self._proposal(plan, text, entry)
            return None
        for action in list(self._bound(pattern, seen))[:2]:
            further = self._seen.get(_same(action))
            if further is None:
                return self._proposal(plan, action, entry)
            if further.shown.leaves and (found := self._from(plan, entry, step + 1, further, surely)):
                return found
        return None

    def _values(self, pattern: str, seen: Seen) -> Iterator[str]:
        """The action of a pattern with values of ``seen``, those of one mapping together, the row meant first."""
        wanted = [(text, slot(text)) for text in SLOT.findall(pattern)]
        if not wanted or any(one is None for _, one in wanted):
            return
        columns_ = [leaves(one, seen.shown, seen.names) for _, one in wanted if one is not None]
        places = {row: place for place, row in enumerate(self._order(ASKED, seen.shown))}
        for first in sorted(columns_[0], key=lambda leaf: places[leaf.row]):
            with_it = [first, *(_beside(first, columns_[0], others) for others in columns_[1:])]
            text = pattern
            for (name, _), leaf in zip(wanted, with_it, strict=True):
                if leaf is None:
                    break
                text = text.replace(f"{{{name}}}", leaf.text)
            else:
                yield text

    def _proposal(self, plan: Guidance, action: str, entry: Guidance | None = None) -> Proposal:
        by = f"entries {plan.id} and {entry.id}" if entry is not None else f"entry {plan.id}"
        return Proposal(action, f"{self._thought} ({by})", FIT + plan.score)


def _beside(leaf: Leaf, among: Sequence[Leaf], others: Sequence[Leaf]) -> Leaf | None:
    """The one of ``others`` in the same mapping as ``leaf``: mappings of one sort stand in one order."""
    same = [one for one in among if one.row == leaf.row and one.marks == leaf.marks]
    theirs = [one for one in others if one.row == leaf.row and one.marks == leaf.marks]
    return theirs[same.index(leaf)] if len(same) == len(theirs) else None


def _many(pattern: str) -> int:
    """How many values of an action's slot are gone on with: a word may be of any row, a value is of those it names."""
    return MANY if any(word in pattern for word in WORD.values()) else 1


def _inner(action: str) -> str:
    """What an action says: ``submit[x]`` says ``x``."""
    found = _CALL.fullmatch(action)
    return found[1] if found else action


def _answers(view: View) -> list[tuple[float, Guidance]]:
    """The entries that say where what is asked for stands, by how well their cues fit it; last what others forbid."""
    wanted = _words(asked(view.task.goal))
    all_said = _words(question(view.task.goal))
    found: list[tuple[float, Guidance]] = []
    for entry in view.guidance:
        if not entry.pattern or ANSWER in SLOT.findall(entry.pattern[-1]) or not SLOT.search(entry.pattern[-1]):
            continue
        cue = _words(entry.cue)
        fit = _fit(cue, wanted, all_said)
        if fit >= LEAST:
            found.append((fit + entry.score / 10, entry))
    for entry in view.guidance:
        if not entry.pattern and _FORBIDS.match(entry.action):
            cue = _words(entry.cue)
            fit = _fit(cue, wanted, all_said) + entry.score / 10
            slots = set(SLOT.findall(entry.action))
            found = [
                (f - FORBIDDEN if slots & set(SLOT.findall(e.pattern[-1])) and fit > f else f, e) for f, e in found
            ]
    return sorted(found, key=lambda row: (-row[0], row[1].id))


def _fit(cue: frozenset[str], wanted: frozenset[str], said: frozenset[str]) -> float:
    """How much of a cue is asked for, and of what is asked for in the cue; a little for words said elsewhere."""
    if not cue or not wanted:
        return 0.0
    return len(cue & wanted) / len(cue | wanted) + 0.2 * len(cue & said) / len(cue)


@lru_cache(maxsize=16_384)
def _words(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORDS.findall(text.casefold())) - {"what", "is", "the", "for", "asked"}


@lru_cache(maxsize=16_384)
def _named(goal: str) -> tuple[str, ...]:
    """Values that a task names, as they can be searched for, the most telling kinds first."""
    values = [one for one in told(goal) if one.kind in _RANK]
    values.sort(key=lambda one: (_RANK.index(one.kind), one.number))
    found: dict[str, None] = {}
    for one in values:
        text = max((part.strip() for part in _SEARCHED.split(one.text)), key=len)[:120]
        for part in (text, text.partition("@")[0]) if one.kind == "mail" else (text,):
            if len(part) > 2:
                found[part] = None
    return tuple(found)[:WIDEST]


@lru_cache(maxsize=16_384)
def _long_words(text: str) -> tuple[str, ...]:
    """The words of a text as they can be searched for: their beginnings, the longest word first."""
    words = sorted(stems(text) - _USUAL, key=lambda word: (-len(word), text.casefold().find(word)))
    return tuple(words)[:WIDEST]


def _likeness(text: str, seen: Shown) -> list[float]:
    """How much of ``text`` each row says: words that few rows have count more, and those of its titles."""
    wanted = stems(text)
    common = Counter(word for row in seen.rows for word in row)
    titles = _titles(seen)
    return [
        sum(
            math.log(1 + len(seen.rows) / common[word]) * (1.0 if word in title else LONG)
            for word in sorted(wanted & row)
        )
        for row, title in zip(seen.rows, titles, strict=True)
    ]


def _titles(seen: Shown) -> list[frozenset[str]]:
    said: list[set[str]] = [set() for _ in seen.rows]
    for leaf in seen.leaves:
        if len(leaf.path) == 1 and len(leaf.text) <= _TITLE:
            said[leaf.row] |= stems(leaf.text)
    return [frozenset(words) for words in said]


def _clean(text: str) -> bool:
    """Whether a value can stand between quotes in another action."""
    return not _SEARCHED.search(text)


def _same(action: str) -> str:
    return " ".join(action.split()).casefold()
