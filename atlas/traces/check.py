"""Whether a run needs somebody's eye: success that has dropped, errors, episodes that nobody scores, audits that say
the student agrees on something wrong, lessons that are paid and come to nothing, steps that the trace has lost. From
the trace alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from atlas.memory.distil import DISTILLER
from atlas.records import INTERRUPTED, Episode, Record, Stop, total
from atlas.standing import TAUGHT, TRIED, Standing
from atlas.stats import Interval, wilson
from atlas.traces.account import arm_rows, lost_steps
from atlas.traces.audit import audit_rows
from atlas.traces.events import Learned, Supervised
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.summary import recheck

RECENT = 20
"""How many of an arm's newest episodes count as recent."""
ERRORS = 0.05
"""An arm has errors worth a look where surely more than this share of its recent episodes ended with one."""
AUDITS = 0.5
"""Audits are worth a look where surely more than this share of them found another action, in an episode that failed."""
LESSONS = 0.5
"""Distilling is worth a look where surely more than this share of the newest lessons came to nothing."""
SHOWN = 5
"""Episodes that are named for each finding."""
EXPECTED = 0.5
"""The success below which a wrapped agent is low, where its run does not tell what is expected of it."""


class Finding(Record):
    """Something to look at."""

    kind: str
    """``success``, ``errors``, ``unscored``, ``audits``, ``lessons``, ``lost`` or ``damaged``."""
    arm: str
    """Empty for what is of the run as a whole."""
    said: str
    episodes: tuple[str, ...] = ()
    """Ids of some that show it, the newest first."""


class ArmCheck(Record):
    """How an arm does."""

    arm: str
    episodes: int
    scored: int
    success: Interval
    """Of all scored episodes, a task counted once."""
    recent: Interval
    """Of the newest ones."""
    supervision: str
    """``as usual``, ``raised``, ``low`` (success has dropped, and nobody supervises it) or ``helpless``."""


class Checked(Record):
    """What a look at a run came to."""

    run: str
    ok: bool
    arms: tuple[ArmCheck, ...]
    findings: tuple[Finding, ...]


def check(run: Run, stored: Sequence[StoredEpisode] | None = None) -> Checked:
    """Look at ``run``; one without a finished episode is fine so far. ``stored`` are its episodes, where they are read
    already; where they are not, closed segments of the trace are read whole, to see that they are what they were, and
    what is kept of the run that they do not say goes."""
    damaged: list[str] = []
    if stored is None:
        damaged = run.damaged()
        stored = run.episodes()
        recheck(run, stored)
    ended = [e.result for e in stored if e.result is not None and not e.retried and e.result.stop not in INTERRUPTED]
    events = run.events()
    told = [event for event in events if isinstance(event, Supervised)]
    # Steps are read where the teacher was asked about some on which it did not act, and of no others: they are many.
    looked = (e for e in stored if e.result is not None and e.result.asked_steps > e.result.teacher_steps)
    audits = {row.arm: row for row in audit_rows(looked)}
    arms, findings = [], []
    for row in arm_rows(ended):
        episodes = sorted((e for e in ended if e.arm == row.arm), key=lambda e: e.started)
        newest = episodes[-RECENT:]
        scored = [e for e in newest if e.success is not None]
        mine = [event for event in told if event.arm == row.arm]
        stands, said = _stands(episodes, mine, run.about) if _served(run) else ("as usual", "")
        if said:
            findings.append(Finding(kind="success", arm=row.arm, said=said, episodes=_ids(scored, won=False)))
        failed = [e for e in newest if e.stop is Stop.ERROR]
        if wilson(len(failed), len(newest)).low > ERRORS:
            said = f"{len(failed)} of the last {len(newest)} episodes ended with an error"
            findings.append(Finding(kind="errors", arm=row.arm, said=said, episodes=_ids(failed)))
        if not scored and len(failed) < len(newest):
            said = f"none of the last {len(newest)} episodes has a score, so nobody can tell whether they went well"
            findings.append(Finding(kind="unscored", arm=row.arm, said=said, episodes=_ids(newest)))
        audit = audits.get(row.arm)
        if audit is not None and audit.differs_and_failed.n and audit.differs_and_failed.low > AUDITS:
            wrong = audit.differs_and_failed
            said = (
                f"in {wrong.mean * wrong.n:.0f} of {wrong.n} audited steps the student's samples agreed on another "
                "action than the teacher's, in an episode that then failed: 'atlas trust audit' shows them"
            )
            seen = dict.fromkeys(d.episode for d in reversed(audit.differences))
            findings.append(Finding(kind="audits", arm=row.arm, said=said, episodes=tuple(seen)[:SHOWN]))
        findings += _lessons([e for e in events if isinstance(e, Learned) and e.arm == row.arm], row.arm)
        arms.append(
            ArmCheck(
                arm=row.arm,
                episodes=row.episodes,
                scored=row.scored,
                success=row.success,
                recent=wilson(sum(bool(e.success) for e in scored), len(scored)),
                supervision=stands,
            )
        )
    if (lost := lost_steps(stored)).steps:
        findings.append(Finding(kind="lost", arm="", said=lost.said(), episodes=lost.episodes[::-1][:SHOWN]))
    findings += [Finding(kind="damaged", arm="", said=f"{said}: restore it from a copy") for said in damaged]
    return Checked(run=run.name, ok=not findings, arms=tuple(arms), findings=tuple(findings))


def _lessons(learned: Sequence[Learned], arm: str) -> list[Finding]:
    """What is to be said of distilling, which nobody waits for: that it comes to nothing, though it is paid."""
    asked = [
        e
        for e in learned
        if any(spend.actor == DISTILLER for spend in e.spend) or e.missing.startswith(f"the {DISTILLER}")
    ][-RECENT:]
    lost = [e for e in asked if e.missing]
    if not lost or wilson(len(lost), len(asked)).low <= LESSONS:
        return []
    (why, _), *_ = Counter(e.missing for e in lost).most_common(1)
    paid = total(spend for e in lost for spend in e.spend).dollars
    cost = "" if not paid else f" and cost ${paid:,.4f}"
    said = (
        f"{len(lost)} of the last {len(asked)} lessons came to nothing{cost} (for the most part: {why}): have another "
        "model distil, or none (distil=)"
    )
    return [Finding(kind="lessons", arm=arm, said=said, episodes=tuple(e.episode for e in reversed(lost))[:SHOWN])]


def _served(run: Run) -> bool:
    """Whether it is an agent's that serves, and is to succeed: a control of an experiment may fail as it likes."""
    return run.settings.get("kind") == "wrapped"


def standing(episodes: Sequence[Episode], expected: float) -> tuple[Standing, str]:
    """How an arm stands after ``episodes``, in order, by the rule of :mod:`atlas.standing`, and what is to be said of
    it; nothing where all is well."""
    now, said = Standing(), ""
    for episode in episodes:
        if episode.success is None:
            continue
        now, change = now.after(episode.success, episode.lane, expected)
        if change is not None:
            count = f"{change.succeeded} of {change.episodes} scored episodes in a row"
            said = (
                f"success has dropped: {count} succeeded, where at least {100 * change.level:.0f} % were to be expected"
            )
    return now, said if now.low else ""


def _stands(episodes: Sequence[Episode], told: Sequence[Supervised], about: dict[str, Any]) -> tuple[str, str]:
    """As the agent itself told it; where it told nothing, as its episodes do."""
    last = told[-1] if told else None
    if last is not None:
        # The memory that it shares with others may have seen it recover in another run.
        since = [e for e in episodes if e.started > last.time]
        if last.change.turned == "recovered" or (last.raised and since and not since[-1].lane):
            return "as usual", ""
        return ("helpless" if last.change.turned == "helpless" else "raised" if last.raised else "low"), last.said
    if episodes and episodes[-1].lane in (TAUGHT, TRIED):
        return "raised", "success had dropped in an earlier run, so the teacher acts in most episodes"
    expected = about.get("expect", EXPECTED)
    now, said = standing(episodes, float(expected) if isinstance(expected, int | float) else 0.0)
    return ("low" if now.low else "as usual"), said


def _ids(episodes: Sequence[Episode], *, won: bool | None = None) -> tuple[str, ...]:
    return tuple(e.id for e in reversed(episodes) if won is None or bool(e.success) is won)[:SHOWN]
