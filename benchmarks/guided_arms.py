"""The arms that read pamphlets, a line each, and their controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atlas.benchmarks.library import Elsewhere, Library
from atlas.policies import Cascade, Guided, Recall, Solo
from atlas.protocols import Policy

if TYPE_CHECKING:
    from atlas.benchmarks.arms import Cast

GUIDED_ARMS = {
    "pamphlets": "the student with entries distilled from the demonstrations, and no demonstrations",
    "pamphlets-sampled": "the same, each action drawn at --temperature: traces for 'atlas train internalise --joint'",
    "pamphlets-shuffled": "pamphlets, each cue with the advice of another entry: a control",
    "both": "the student with demonstrations and entries",
    "both-shuffled": "the same, each cue with the advice of another entry: a control",
    "cascade-pamphlets": "pamphlets, and the teacher acts where the student's samples disagree",
    "cascade-both": "both, and the teacher acts where the student's samples disagree",
    "icd-elsewhere": "icd with demonstrations of other task families only",
    "pamphlets-elsewhere": "pamphlets from other task families only: a frozen memory that is carried over",
    "both-elsewhere": "both from other task families only",
}

ON_TRIAL = ("pamphlets", "both", "cascade-pamphlets", "cascade-both")
"""Arms that read the run's own entries, all of them: what their coins say is evidence."""


def guided(name: str, count: int | None, cast: Cast, student: Solo, cascade: Cascade, library: Library) -> Policy:
    """The policy of the arm ``name`` with what the first ``count`` demonstrations taught."""

    sampled = Solo(cast.student, temperature=cast.temperature, max_tokens=cast.max_tokens)

    def entries(inner: Policy, without: str = "", shuffled: bool = False) -> Guided:
        found = library.entries(count, without, shuffled=shuffled)
        return Guided(inner, found, cast.guidance_tokens, share=cast.trials)

    def demos(inner: Policy, without: str = "") -> Recall:
        planner = cast.student if cast.plan else None
        return Recall(inner, library.demonstrations(count, without), cast.k, planner=planner)

    arms: dict[str, Callable[[], Policy]] = {
        "pamphlets": lambda: entries(student),
        "pamphlets-sampled": lambda: entries(sampled),
        "pamphlets-shuffled": lambda: entries(student, shuffled=True),
        "both": lambda: entries(demos(student)),
        "both-shuffled": lambda: entries(demos(student), shuffled=True),
        "cascade-pamphlets": lambda: entries(cascade),
        "cascade-both": lambda: entries(demos(cascade)),
        "icd-elsewhere": lambda: Elsewhere(lambda family: demos(student, family)),
        "pamphlets-elsewhere": lambda: Elsewhere(lambda family: entries(student, family)),
        "both-elsewhere": lambda: Elsewhere(lambda family: entries(demos(student, family), family)),
    }
    return arms[name]()
