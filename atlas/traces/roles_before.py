"""The arms of runs from before roles stood in ``run.json``: such a run tells what its arms are by their names alone.

They are history, and so is this table: an arm that is new gets no line here, since its runs tell its role.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SIGNALS = frozenset({"votes", "similarity", "probability", "judge"})


class Before(NamedTuple):
    """What an arm was."""

    says: str
    kind: str = ""
    bare: str = ""
    control_of: str = ""
    demos: bool = False
    """Whether ``name@N`` was it with N demonstrations."""
    samples: bool = False
    """Whether it was a cascade."""
    trusted: bool = False
    """Whether ``name:T`` was it with that trust, or the control of the cascade with that trust."""
    grows: bool = False
    hue: int | None = None


# fmt: off
ARMS = {
    "student": Before("the student alone, without demonstrations", kind="student", hue=0),
    "icd": Before("the student with retrieved demonstrations (in-context distillation)",
        kind="icd", bare="student", demos=True, hue=1),
    "icd-irrelevant": Before("the student with demonstrations drawn at random: a control",
        control_of="icd", demos=True),
    "cascade": Before("icd, and the teacher acts where the student's samples disagree",
        kind="cascade", bare="cascade-nodemos", demos=True, samples=True, trusted=True, hue=2),
    "cascade-watch": Before("the cascade, and the teacher also acts where an episode goes in circles or gets nowhere",
        kind="watch", bare="cascade-watch-nodemos", demos=True, samples=True, trusted=True),
    "cascade-nodemos": Before("the cascade without demonstrations", kind="cascade", samples=True, trusted=True, hue=5),
    "cascade-watch-nodemos": Before("cascade-watch without demonstrations", kind="watch", samples=True, trusted=True),
    "random-route": Before("icd, and the teacher acts at random, at the cascade's share of steps: a control",
        kind="route", bare="random-route-nodemos", control_of="cascade", demos=True, trusted=True, hue=4),
    "random-route-nodemos": Before("the same without demonstrations, at the share of cascade-nodemos",
        kind="route", control_of="cascade-nodemos", trusted=True),
    "online": Before("the cascade, its memory empty at first and growing with every success while it serves",
        kind="online", samples=True, grows=True, hue=6),
    "lanes": Before(
        "auto, paired or coached by how such tasks went; student + demonstrations, its memory growing as online's",
        kind="lanes", grows=True, hue=6),
    "teacher": Before("the teacher alone", kind="teacher", hue=3),
    "pamphlets": Before("the student with entries distilled from the demonstrations, and no demonstrations",
        kind="pamphlets", demos=True, hue=7),
    "pamphlets-sampled": Before(
        "the same, each action drawn at --temperature: traces for 'atlas train internalise --joint'", demos=True),
    "pamphlets-shuffled": Before("pamphlets, each cue with the advice of another entry: a control",
        kind="shuffled", control_of="pamphlets", demos=True),
    "both": Before("the student with demonstrations and entries", demos=True, hue=8),
    "both-shuffled": Before("the same, each cue with the advice of another entry: a control",
        kind="shuffled", control_of="both", demos=True),
    "cascade-pamphlets": Before("pamphlets, and the teacher acts where the student's samples disagree",
        kind="cascade", demos=True, samples=True, hue=5),
    "cascade-both": Before("both, and the teacher acts where the student's samples disagree",
        kind="cascade", demos=True, samples=True, hue=9),
    "icd-elsewhere": Before("icd with demonstrations of other task families only", control_of="icd", demos=True),
    "pamphlets-elsewhere": Before("pamphlets from other task families only: a frozen memory that is carried over",
        control_of="pamphlets", demos=True),
    "both-elsewhere": Before("both from other task families only", control_of="both", demos=True),
}
# fmt: on


def told(arm: str) -> dict[str, Any]:
    """What a ``run.json`` of today would tell of ``arm``, which is named as in the trace: ``group/name:T@N``. Of a name
    that is not in the table, how it is made up and no more."""
    group, _, name = arm.rpartition("/")
    stated, at, count = name.rpartition("@")
    point = bool(at and stated) and count.isdecimal()
    stated = stated if point else name
    named = {"group": group, "name": name, **({"base": _exact(group, stated), "demos": int(count)} if point else {})}
    base, colon, text = stated.partition(":")
    was, trust = ARMS.get(base), _trust(text) if colon else ""
    if was is None or (point and not was.demos) or trust is None or (trust and not was.trusted):
        return named
    return {
        **named,
        "says": was.says,
        "kind": was.kind,
        "bare": _exact(group, was.bare),
        "control_of": _exact(group, was.control_of + name.removeprefix(base)) if was.control_of else "",
        "trust": trust if was.samples else "",
        "family": base,
        "grows": was.grows,
        "hue": was.hue,
    }


def _exact(group: str, name: str) -> str:
    return f"{group}/{name}" if group and name else name


def _trust(text: str) -> str | None:
    """``0.67``, ``votes:0.67`` or ``votes+judge:never`` as a trust calls itself; None where it is none."""
    signals, _, threshold = text.rpartition(":")
    parts = signals.split("+") if signals else ["votes"]
    if len(set(parts)) < len(parts) or not set(parts) <= SIGNALS:
        return None
    if threshold != "never":
        try:
            value = float(threshold)
        except ValueError:
            return None
        if not 0.0 <= value <= 1.0:
            return None
        threshold = format(value, "g")
    return f"{'+'.join(parts)}:{threshold}"
