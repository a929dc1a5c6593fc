"""When two entries say the same, what becomes of them, and which leave when there are too many."""

from __future__ import annotations

import re
from collections.abc import Iterable

from atlas.memory.cues import quoted
from atlas.memory.pamphlet import MOST_ORIGINS, SLOT, Entry, Origin

SAME_CUE = 0.88
"""Inner product of the cues' embeddings from which they may mean the same. With MiniLM, "the fridge is closed" and "the
fridge is shut" have 0.93, "you need a mug" and "you need a cup" 0.83."""
SAME_ACTION = 0.85
"""The same for what to do."""

SPARED = 0.1
"""The share of a full store that is kept for what was learned last: nothing new would ever gather support otherwise."""

Signature = tuple[str, str, tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]

_NAME = re.compile(r"\b(?=\w*?(?:\d|_\w|[a-z][A-Z])|[A-Z]{2})\w++")


def signature(entry: Entry) -> Signature:
    """Likeness of their texts may merge entries of equal signature: for the same reader and scope, about the same
    names, with patterns that do the same, and, where they quote, with the same quotation."""
    return (
        entry.audience,
        entry.kind,
        tuple(sorted(entry.scope)),
        quoted(entry.cue).casefold(),
        tuple(sorted(set(_NAME.findall(f"{entry.cue} {entry.action}")))),
        essence(entry.pattern),
    )


def essence(pattern: tuple[str, ...]) -> tuple[str, ...]:
    """The steps of a pattern that join things, and its last: how one gets from one to the next may differ. A statement
    in a language of its own (``execute[...]``) is never just a way."""
    steps = [" ".join(step.casefold().split()) for step in pattern]
    return tuple(s for i, s in enumerate(steps) if len(SLOT.findall(s)) != 1 or "[" in s or i == len(steps) - 1)


def join(old: Entry, new: Entry) -> Entry:
    """``old``, with what ``new`` was learned from; an episode counts once. Its words, and so its id, stay."""
    known = {_place(origin) for origin in old.origins}
    fresh = [origin for origin in new.origins if _place(origin) not in known]
    beyond = max(0, new.support - len(new.origins))
    if not fresh and not beyond:
        return old
    return old.model_copy(
        update={"origins": _some([*old.origins, *fresh]), "support": old.support + len(fresh) + beyond}
    )


def _place(origin: Origin) -> tuple[str, str, str]:
    return (origin.run, origin.episode, origin.actor if not origin.episode else "")


def _some(origins: list[Origin]) -> tuple[Origin, ...]:
    """At most :data:`MOST_ORIGINS` of them: one for each task before a second for any, earlier ones first."""
    if len(origins) <= MOST_ORIGINS:
        return tuple(origins)
    seen: dict[str, int] = {}
    ranked = []
    for place, origin in enumerate(origins):
        ranked.append((seen.get(origin.task, 0), place, origin))
        seen[origin.task] = seen.get(origin.task, 0) + 1
    kept = sorted(ranked, key=lambda row: row[:2])[:MOST_ORIGINS]
    return tuple(origin for _, _, origin in sorted(kept, key=lambda row: row[1]))


def surplus(entries: Iterable[tuple[str, str, int, int]], cap: int) -> list[str]:
    """The ids that leave so that ``cap`` entries are left.

    entries: ``(id, status, support, learned)``, the last the version at which it was learned or confirmed last.

    Those leave first that evidence has not admitted, of these the ones with the least support, of these the ones not
    confirmed for longest. A tenth of the places belongs to what was learned last, whatever its support.
    """
    rows = list(entries)
    excess = len(rows) - cap
    if excess <= 0:
        return []
    newest = sorted(rows, key=lambda row: (-row[3], row[0]))[: int(SPARED * cap)]
    spared = {row[0] for row in newest}
    ranked = sorted(
        (row for row in rows if row[0] not in spared), key=lambda row: (row[1] == "admitted", row[2], row[3], row[0])
    )
    return [row[0] for row in ranked[:excess]]
