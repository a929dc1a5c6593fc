"""Episodes as a reader follows them: what was seen, how the samples voted, what was recalled, who acted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from html import escape

from atlas.errors import StoreError
from atlas.records import STUDENT, TEACHER, Decision, Review, Step, Vote, total
from atlas.report import colours
from atlas.report.parts import anchor
from atlas.traces.account import COLLECT
from atlas.traces.reader import StoredEpisode
from atlas.words import clean, dollars, shorten, tokens, why

LONG = 700
"""Characters of a text that are shown before it is cut, with the cut stated."""
MOST_STEPS = 60
_HUES = {STUDENT: colours.STUDENT, TEACHER: colours.TEACHER}
BEST = 5
"""Recalled demonstrations that are named; the text of all of them opens below."""


def choose(
    episodes: Sequence[StoredEpisode], *, cascades: Collection[str] = (), points: Collection[str] = ()
) -> list[StoredEpisode]:
    """The episode to show open, of one of the arms ``cascades`` if it can be, then up to two that failed and two that
    succeeded, each of another arm or outcome. ``points`` are the arms of learning curves: not wanted."""

    def dullness(episode: StoredEpisode) -> tuple[bool, bool, bool, float]:
        return _dullness(episode, odd=episode.arm not in cascades)

    ended = [e for e in episodes if e.result is not None and e.result.success is not None and e.result.steps]
    if not ended:
        return []
    first = min(ended, key=dullness)
    chosen, kinds = [first], {_kind(first)}
    plain = sorted((e for e in ended if e.arm != COLLECT and e.arm not in points), key=dullness)
    for success in (False, True):
        alike = [e for e in plain if e.result is not None and e.result.success is success]
        for _ in range(2):
            other = next((e for e in alike if _kind(e) not in kinds), None)
            if other is not None:
                kinds.add(_kind(other))
                chosen.append(other)
    return chosen


def _kind(episode: StoredEpisode) -> tuple[str, bool]:
    return episode.arm, bool(episode.result and episode.result.success)


def _dullness(episode: StoredEpisode, *, odd: bool) -> tuple[bool, bool, bool, float]:
    """Low for a successful cascade of readable length in which the teacher took a few steps, demonstrations shown."""
    result = episode.result
    assert result is not None
    mixed = 0 < result.teacher_steps < result.steps
    return not result.success, odd, not mixed, abs(result.teacher_steps - 2) + abs(result.steps - 12) / 3


def transcript(episode: StoredEpisode, *, opened: bool = False) -> str:
    """One episode as a ``<details>`` element."""
    result = episode.result
    assert result is not None
    usage = total(result.spend)
    won = "won" if result.success else "not won"
    figures = f"{result.steps} steps, {result.teacher_steps} by the teacher, {dollars(usage)}"
    if episode.lost:
        figures = f"{figures}, {episode.lost} lost"
    try:
        there = episode.steps
    except StoreError as error:
        there, steps = (), f'<li class="more">{_foreign(str(error))}</li>'
    else:
        steps = _steps(there, result.steps)
    last = f'<p class="last">{_foreign(there[-1].outcome.text)}</p>' if there else ""
    reviews = "".join(f'<p class="last">{_said(review)}</p>' for review in result.reviews)
    failure = f'<p class="last">{_foreign(result.failure.message)}</p>' if result.failure else ""
    named = f"task {_foreign(episode.task.id, 60)} · episode {_foreign(episode.id, 60)}"
    meta = f"{_foreign(episode.arm)} · {won} ({result.stop.value}) · {figures} · {named}"
    goal = f'<span class="goal">{_foreign(episode.task.goal)}</span>'
    return (
        f'<details class="episode"{" open" if opened else ""}><summary>{goal}<span class="meta">{meta}</span></summary>'
        # Inside of what is folded: a link to it unfolds it.
        f'<span class="anchor" id="{anchor(episode.id)}"></span>'
        f"{_plan(result.plan)}<ol>{steps}</ol>{last}{reviews}{failure}</details>"
    )


def _steps(there: Sequence[Step], taken: int) -> str:
    """The steps as items of a list, with a line where some of the ``taken`` are lost."""
    items, due = [], 0
    for step in there[:MOST_STEPS]:
        items += [_gap(due, step.index), _step(step)]
        due = step.index + 1
    if len(there) > MOST_STEPS:
        items.append(f'<li class="more">{len(there) - MOST_STEPS} more steps are in the trace.</li>')
    else:
        items.append(_gap(due, taken))
    return "".join(items)


def _gap(due: int, found: int) -> str:
    """Where the trace goes on with a step later than the one that is due. The numbers of the others stay theirs."""
    if found <= due:
        return ""
    which = f"Step {found} is" if found == due + 1 else f"Steps {due + 1} to {found} are"
    return (
        f'<li class="more lost" style="counter-increment: step {found - due}">{which} not in the trace, whose lines '
        "are lost or damaged.</li>"
    )


def _plan(plan: str) -> str:
    return f'<p class="plan"><b>Plan.</b> {_foreign(plan)}</p>' if plan else ""


def _step(step: Step) -> str:
    decision = step.decision
    actor = TEACHER if decision.actor == TEACHER else STUDENT
    thought = f'<p class="thought">{_foreign(decision.thought)}</p>' if decision.thought else ""
    usage = total(step.spend)
    return (
        f'<li class="step {actor}"><p class="seen">{_foreign(step.observation)}</p>'
        f'<p class="act"><span class="actor h{_HUES[actor]}">{_foreign(decision.actor)}</span> '
        f"<code>{_foreign(decision.action or '(no action)')}</code></p>{thought}"
        f'<p class="why"><span>{_foreign(why(decision))} · {tokens(usage)} · {dollars(usage)}</span> '
        f"{_votes(decision.votes)}</p>{_supervised(decision)}{_cited(decision)}{_recalled(decision)}</li>"
    )


def _votes(votes: Sequence[Vote]) -> str:
    """The samples as chips, equal ones counted; nothing where only one was drawn."""
    if len(votes) < 2:
        return ""
    counted = Counter((v.actor, v.action or "(no action)") for v in votes)
    chips = "".join(
        f'<span class="chip h{_HUES.get(actor, colours.STUDENT)}">{n} x {escape(shorten(action, 80))}'
        f"<i>{escape(clean(actor))}</i></span>"
        for (actor, action), n in counted.items()
    )
    return chips


def _supervised(decision: Decision) -> str:
    """The lane where it was chosen, what the student was told, and what reviewers said of the answer."""
    told = []
    if decision.lane is not None:
        told.append(f"<b>Lane {_foreign(decision.lane.lane)}.</b> {_foreign(decision.lane.reason)}")
    if decision.advice:
        told.append(f"<b>Advice.</b> {_foreign(decision.advice)}")
    told += [_said(review) for review in decision.reviews]
    return "".join(f'<p class="told">{text}</p>' for text in told)


def _said(review: Review) -> str:
    verdict = {True: "approved", False: "not approved", None: "no verdict"}[review.approved]
    return f"<b>Review: {verdict}.</b> {_foreign(review.feedback)}"


def _cited(decision: Decision) -> str:
    """The entries of pamphlets that were shown, by id; those that a coin withheld are counted."""
    shown = [c for c in decision.guidance if c.shown]
    withheld = sum(c.randomised and not c.shown for c in decision.guidance)
    if not shown and not withheld:
        return ""
    hits = " ".join(f'<span class="hit">{escape(shorten(c.id, 9))} <b>{c.score:.2f}</b></span>' for c in shown[:BEST])
    more = f" and {len(shown) - BEST} more" if len(shown) > BEST else ""
    aside = f" ({withheld} withheld by a coin)" if withheld else ""
    count = f"{len(shown)} {'entry' if len(shown) == 1 else 'entries'} shown{aside}"
    return f'<p class="recalled">{count}{": " if hits else ""}{hits}{more}</p>'


def _recalled(decision: Decision) -> str:
    if not decision.retrieved:
        return ""
    hits = " ".join(
        f'<span class="hit" title="{escape(shorten(h.demo_id, 80), quote=True)}, steps {h.start + 1} to '
        f'{h.start + h.length}, best match {h.start + h.best + 1}">{escape(shorten(h.demo_id, 9))} '
        f"<b>{h.score:.2f}</b></span>"
        for h in decision.retrieved[:BEST]
    )
    if len(decision.retrieved) > BEST:
        hits += f" and {len(decision.retrieved) - BEST} more"
    shown = decision.prompt.retrieved
    text = f"<pre>{_foreign(shown, 3000)}</pre>" if shown else ""
    count = len(decision.retrieved)
    head = f"{count} demonstration{'' if count == 1 else 's'} recalled: {hits}"
    return f'<details class="recalled"><summary>{head}</summary>{text}</details>'


def _foreign(text: str, limit: int = LONG) -> str:
    """Text that a model or an environment wrote: cleaned, cut where it is long, escaped."""
    text = clean(text).strip()
    cut = f" … ({len(text) - limit:,} more characters in the trace)" if len(text) > limit else ""
    return escape(text[:limit] + cut)
