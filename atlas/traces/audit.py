"""What audits of the student's steps say: how often it acts where the teacher would have done something else.

A cascade never asks about what its samples agree on, so that they agree on something wrong stays unseen unless some of
those steps are looked at (``Cascade(audit=...)``).
"""

from __future__ import annotations

from collections.abc import Iterable

from atlas.records import STUDENT, TEACHER, Record, Step
from atlas.stats import Interval, wilson
from atlas.traces.reader import StoredEpisode

CASCADED = ("agreed", "trusted")
"""Reasons under which a cascade lets the student act."""


class Difference(Record):
    """An audited step on which the teacher would have acted otherwise."""

    arm: str
    episode: str
    index: int
    goal: str
    student: str
    """Both actions in canonical form."""
    teacher: str


class AuditRow(Record):
    """The audited steps of one arm."""

    arm: str
    student_steps: int
    """Steps on which a cascade let the student act."""
    audited: int
    unread: int
    """Audited steps for which the teacher named no action: in no rate."""
    episodes: int
    """Episodes with an audited step."""
    differs: Interval
    """Share of the audited steps on which the teacher's action is another one, with Wilson's interval over steps.

    Steps of one episode are not independent: the interval is honest where an audit takes few steps of each. Another
    action is not always a worse one (two rooms may be searched in either order), so this is an upper estimate of
    agreement on something wrong.
    """
    differs_and_failed: Interval
    """The same, of episodes that did not succeed only: there a difference may have mattered. Over the audited steps of
    episodes with a score."""
    differences: tuple[Difference, ...]


def audit_rows(episodes: Iterable[StoredEpisode]) -> list[AuditRow]:
    """A row per arm in which a cascade let the student act, in order of first appearance."""
    rows: dict[str, list[tuple[StoredEpisode, Step]]] = {}
    for episode in episodes:
        steps = [(episode, step) for step in episode.steps if step.decision.reason in CASCADED]
        if steps:
            rows.setdefault(episode.arm, []).extend(steps)
    return [_row(arm, steps) for arm, steps in rows.items()]


def _row(arm: str, steps: list[tuple[StoredEpisode, Step]]) -> AuditRow:
    audited, unread, scored, failed = 0, 0, 0, 0
    seen: set[str] = set()
    found = []
    for episode, step in steps:
        votes = [vote for vote in step.decision.votes if vote.actor == TEACHER]
        if not votes:
            continue
        audited += 1
        seen.add(episode.id)
        teacher, student = votes[0].action, _taken(step)
        if teacher is None:
            unread += 1
            continue
        won = episode.result.success if episode.result else None
        scored += won is not None
        if teacher != student:
            failed += won is False
            found.append(
                Difference(
                    arm=arm,
                    episode=episode.id,
                    index=step.index,
                    goal=episode.task.goal,
                    student=student,
                    teacher=teacher,
                )
            )
    return AuditRow(
        arm=arm,
        student_steps=len(steps),
        audited=audited,
        unread=unread,
        episodes=len(seen),
        differs=wilson(len(found), audited - unread),
        differs_and_failed=wilson(failed, scored),
        differences=tuple(found),
    )


def _taken(step: Step) -> str:
    """The action taken, in the form in which it was voted for: its reply is the one whose text the decision holds."""
    votes = [vote for vote in step.decision.votes if vote.actor == STUDENT and vote.action is not None]
    chosen = next((vote for vote in votes if vote.text == step.decision.text), votes[0])
    return chosen.action or ""
