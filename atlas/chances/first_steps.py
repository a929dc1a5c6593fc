"""What an episode's first steps say of how it will end, in any environment: refusals, empty results, what was looked
at, how much of what the task names was used and seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p

from atlas.chances.texts import ASKED, DOUBT, FITS, KINDS, LOOKS, empty, plain, question, refused, things
from atlas.records import Turn

FIRST = (
    "errors", "empty", "evidence", "looks", "named_seen", "named_used", "words_used", "words_seen", "length", "over",
    "last_bad", "action_length", "thought_length", "thinks", "distinct", "kind_seen", "doubt",
)  # fmt: skip
_WORD = re.compile(r"[a-z]{5,}")
_READ = 20_000


def first_steps(goal: str, turns: Sequence[Turn], after: int) -> dict[str, float]:
    """:data:`FIRST` of the first ``after`` of ``turns``, which may be fewer where the episode was over by then."""
    turns = turns[:after]
    if not turns:
        return {**dict.fromkeys(FIRST, 0.0), "over": 1.0}
    count = len(turns)
    actions = [plain(turn.action) for turn in turns]
    bad = [refused(turn.observation) or empty(turn.observation) for turn in turns]
    pairs = zip(turns, bad, strict=True)
    shown = [turn.observation for turn, failed in pairs if not failed and not LOOKS.search(turn.action)]
    evidence = [plain(text) for text in shown]
    named = [plain(thing) for thing in things(goal) if len(thing) > 3]
    asked = question(goal)
    words = list(dict.fromkeys(_WORD.findall(asked.casefold())))
    kinds = next((FITS[kind] for kind, pattern in ASKED.items() if pattern.search(asked)), frozenset())
    thoughts = [turn.thought for turn in turns]
    return {
        "errors": sum(refused(turn.observation) for turn in turns) / count,
        "empty": sum(empty(turn.observation) for turn in turns) / count,
        "evidence": len(evidence) / count,
        "looks": sum(bool(LOOKS.search(turn.action)) for turn in turns) / count,
        "named_seen": _share(named, evidence, 0.5),
        "named_used": _share(named, actions, 0.5),
        "words_used": _share(words, actions, 0.0),
        "words_seen": _share(words, evidence, 0.0),
        "length": log1p(sum(map(len, evidence)) / max(1, len(evidence))),
        "over": float(count < after),
        "last_bad": float(bad[-1]),
        "action_length": log1p(sum(map(len, actions)) / count),
        "thought_length": log1p(sum(map(len, thoughts)) / count),
        "thinks": float(any(thoughts)),
        "distinct": len(set(actions)) / count,
        "kind_seen": float(any(KINDS[k].search(text[:_READ]) for k in kinds if k in KINDS for text in shown)),
        "doubt": float(any(map(DOUBT.search, thoughts))),
    }


def _share(wanted: Sequence[str], texts: Sequence[str], nothing: float) -> float:
    return sum(any(one in text for text in texts) for one in wanted) / len(wanted) if wanted else nothing
