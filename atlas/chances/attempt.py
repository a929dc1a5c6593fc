"""An attempt at a task that came to its answer, and what can be told of the answer without knowing the right one.

Every figure is of the attempt alone: is the answer grounded in what was observed, does what was asked for stand in the
same row, is it the kind of thing that was asked for, did the last steps fail, does it speak of doubt. What other
attempts at the task say is in :func:`beside`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log, log1p

from atlas.chances.texts import ASKED, DOUBT, FITS, KINDS, LOOKS, NOTHING, empty, plain, question, refused, rows, things
from atlas.record import Light, once
from atlas.records import Step, Turn

_FEW = frozenset(
    "the is of in a an and to with was were are by for from on at that this associated involved name address has have "
    "be it as which who user account process file used or during identified based id".split()
)
_USUAL = frozenset(
    "this that with from have been were what which where when identify provide can you could associated related "
    "involved incident suspicious activity name there their also during using used find account user address attack "
    "detected security alert specific".split()
)
_WORD = re.compile(r"[a-z][a-z]{3,}|[a-z]*\d[a-z\d]+")
_ANY_WORD = re.compile(r"[a-z0-9]+")
_OTHER = re.compile(r"[^a-z0-9@.:\\/_-]+")
_READ = 60_000
"""Characters of an observation that rival things are looked for in."""

OWN = (
    "answered", "nothing", "keyed", "kind_fits", "kind_exact", "kind_wrong", "grounded", "grounded_whole",
    "grounded_last",
    "mentions", "rows_with", "row_share", "row_things", "row_words", "row_rare", "row_phrases",
    "rivals", "rivals_last", "last_bad", "late_bad", "empty", "errors", "steps", "doubt", "doubts", "words",
    "own_words", "new_things", "alike", "asked_seen", "evidence", "last_length",
)  # fmt: skip
"""The figures of one attempt."""
BESIDE = ("tiers", "others_same", "others_same_mean", "others_saw", "others_saw_mean", "others_nothing")
"""The figures of an answer beside other attempts at the same task."""


ANSWERS = r"(?:submit|answer|finish)\s*[\[(](.*)[\])]"
"""How an action gives an answer, where nobody says otherwise: the answer is the first group."""


def answer_in(action: str, answers: str = ANSWERS) -> str | None:
    """The answer that ``action`` gives; None where it gives none."""
    found = re.search(answers, action, re.DOTALL | re.IGNORECASE)
    return found[1].replace("`", "").strip() if found else None


class Attempt(Light, kw_only=True, gc=True, dict=True):
    """What was done, seen and answered."""

    goal: str
    actions: tuple[str, ...]
    """All but the one that gives the answer."""
    observations: tuple[str, ...]
    """What was seen after each of them."""
    thoughts: tuple[str, ...]
    """Before each action, the answering one included."""
    answer: str | None
    """None where none was given."""

    @classmethod
    def of_turns(cls, goal: str, turns: Sequence[Turn], answer: str | None, thought: str = "") -> Attempt:
        """``answer`` is given after ``turns``, with ``thought``."""
        return cls(
            goal=goal,
            actions=tuple(t.action for t in turns),
            observations=tuple(t.observation for t in turns),
            thoughts=(*(t.thought for t in turns), thought),
            answer=answer,
        )

    @classmethod
    def of_steps(cls, goal: str, steps: Sequence[Step], answer: str | None) -> Attempt:
        """Of an episode in a trace, whose last step gives the answer where there is one."""
        done = steps if answer is None else steps[:-1]
        return cls(
            goal=goal,
            actions=tuple(s.decision.action for s in done),
            observations=tuple(s.outcome.text for s in done),
            thoughts=tuple(s.decision.thought for s in steps),
            answer=answer,
        )

    @once
    def said(self) -> str:
        return self.answer or ""

    @once
    def silent(self) -> bool:
        """Whether it gives no answer, or one that says that nothing was found."""
        return not self.said.strip() or bool(NOTHING.search(self.said))

    @once
    def own(self) -> list[str]:
        """The words of the answer that the task does not hold."""
        known = set(_OTHER.sub(" ", self.goal.casefold()).split())
        words = (w.strip(".:") for w in _OTHER.sub(" ", self.said.casefold()).split())
        return [w for w in words if w and w not in known and w not in _FEW]

    @once
    def new(self) -> dict[str, str]:
        """The things that the answer names and the task does not, with their kinds."""
        goal = self.goal.casefold()
        return {thing: kind for thing, kind in things(self.said).items() if thing not in goal}

    @once
    def keys(self) -> list[str]:
        """What the answer stands or falls with: the new things in it, or its first own words."""
        return [plain(key) for key in list(self.new) or self.own[:6]]

    @once
    def evidence(self) -> list[str]:
        """The observations that show something, schemas left out."""
        seen = zip(self.actions, self.observations, strict=True)
        return [plain(o) for a, o in seen if not (refused(o) or empty(o) or LOOKS.search(a))]

    @once
    def figures(self) -> dict[str, float]:
        """:data:`OWN`. Those that nothing is known of are left out, and count as 0."""
        return _figures(self)


def _figures(attempt: Attempt) -> dict[str, float]:
    seen = attempt.observations
    bad = [refused(o) or empty(o) for o in seen]
    count = max(1, len(seen))
    asked = [kind for kind, pattern in ASKED.items() if pattern.search(question(attempt.goal))]
    kinds = set(attempt.new.values())
    sharp = bool(asked) and asked[0] in KINDS
    last_words = f"{attempt.thoughts[-1] if attempt.thoughts else ''} {attempt.said}"
    named = [plain(thing) for thing in things(attempt.goal) if len(thing) > 3]
    return {
        "answered": float(bool(attempt.said.strip())),
        "nothing": float(bool(NOTHING.search(attempt.said))),
        "keyed": float(bool(attempt.keys)),
        "kind_fits": float(any(kinds & FITS[kind] for kind in asked)) if asked else 0.5,
        "kind_exact": float(sharp and asked[0] in kinds),
        "kind_wrong": float(
            sharp and asked[0] in ("ip", "email", "sid", "hash", "url", "time") and asked[0] not in kinds
        ),
        "last_bad": float(bool(bad) and bad[-1]),
        "late_bad": sum(bad[-4:]) / max(1, len(bad[-4:])),
        "empty": sum(map(empty, seen)) / count,
        "errors": sum(map(refused, seen)) / count,
        "steps": float(len(attempt.thoughts)),
        "doubt": float(bool(DOUBT.search(last_words))),
        "doubts": log1p(len(DOUBT.findall(" ".join(attempt.thoughts[-3:])))),
        "words": log1p(len(attempt.said.split())),
        "own_words": log1p(len(attempt.own)),
        "new_things": log1p(len(attempt.new)),
        "alike": log1p(sum(kind == next(iter(attempt.new.values())) for kind in attempt.new.values())),
        "asked_seen": _share([any(t in o for o in attempt.evidence) for t in named], 0.5),
        "evidence": log1p(len(attempt.evidence)),
        "last_length": log1p(len(seen[-1])) if seen else 0.0,
        **(_grounded(attempt, named) if attempt.keys and attempt.evidence else {}),
    }


def _grounded(attempt: Attempt, named: Sequence[str]) -> dict[str, float]:
    """How the answer stands in what was observed."""
    keys, evidence = attempt.keys, attempt.evidence
    where = [[key in o for o in evidence] for key in keys]
    every = [row for o in evidence for row in rows(o)]
    held = [row for row in every if any(key in row for key in keys)]
    asked = question(attempt.goal).casefold()
    words = [w for w in dict.fromkeys(_WORD.findall(asked)) if w not in _USUAL]
    pairs = _pairs(asked)
    rare = {w: log((len(every) + 1) / (sum(w in row for row in every) + 0.5)) for w in words}
    most = sum(rare.values()) or 1.0
    found = {
        "grounded": _share([any(w) for w in where], 0.0),
        "grounded_whole": float(all(any(w) for w in where)),
        "grounded_last": _share([w[-1] for w in where], 0.0),
        "mentions": log1p(sum(map(sum, where)) / len(keys)),
        "rows_with": log1p(len(held)),
        "row_share": len(held) / max(1, len(every)),
        "row_things": max((_share([t in row for t in named], 0.0) for row in held), default=0.0),
        "row_words": max((_share([w in row for w in words], 0.0) for row in held), default=0.0),
        "row_rare": max((sum(rare[w] for w in words if w in row) / most for row in held), default=0.0),
        "row_phrases": max((_share([p in row for p in pairs], 0.0) for row in held), default=0.0),
    }
    if attempt.new:
        pattern = KINDS[Counter(attempt.new.values()).most_common(1)[0][0]]
        newest = next((o for o in reversed(evidence) if any(key in o for key in keys)), "")
        goal = attempt.goal.casefold()
        rivals = {m for o in evidence for m in pattern.findall(o[:_READ]) if m not in goal}
        found["rivals"] = log1p(len(rivals))
        found["rivals_last"] = log1p(len({m for m in pattern.findall(newest[:_READ]) if m not in goal}))
    return found


def beside(attempt: Attempt, others: Sequence[Attempt]) -> dict[str, float]:
    """:data:`BESIDE`: what other attempts at the same task say of this one's answer."""
    same, saw = [0.0], [0.0]
    keys = set(attempt.keys)
    if others:
        same = [_overlap(attempt, other) for other in others]
        saw = [_share([any(k in o for o in other.evidence) for k in keys], 0.0) for other in others]
    return {
        "tiers": 1.0 + len(others),
        "others_same": max(same),
        "others_same_mean": sum(same) / len(same),
        "others_saw": max(saw),
        "others_saw_mean": sum(saw) / len(saw),
        "others_nothing": _share([other.silent for other in others], 0.0),
    }


def _overlap(first: Attempt, second: Attempt) -> float:
    ours, theirs = set(first.keys), set(second.keys)
    if first.silent or second.silent or not ours or not theirs:
        return 0.0
    return len(ours & theirs) / len(ours | theirs)


def _pairs(text: str) -> list[str]:
    words = _ANY_WORD.findall(text)
    return [f"{a} {b}" for a, b in pairwise(words) if min(len(a), len(b)) > 2 and not {a, b} & _FEW]


def _share(values: Sequence[bool], nothing: float) -> float:
    return sum(values) / len(values) if values else nothing
