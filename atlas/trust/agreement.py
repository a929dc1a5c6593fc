"""How good a student's agreement is as a signal of being right, from the steps of a cascade at which the teacher's
action is known.

Those are the steps at which the teacher acted, because the student's samples were not trusted, and the audited ones
(``Cascade(audit=...)``). "Right" means that the student's first choice, the action that most of its samples name, is
what the teacher did: agreement with one teacher. Another action that would have been as good counts as wrong, another
order of search too, so accuracies here are lower estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.errors import DataError
from atlas.records import STUDENT, TEACHER, Record, Step
from atlas.stats import Interval
from atlas.stats.resampling import bounded, bounded_rate, cluster_counts
from atlas.stats.scores import auroc_beyond, aurocs, calibration_errors, error_beyond, unit_ratio
from atlas.traces.audit import CASCADED
from atlas.traces.reader import StoredEpisode
from atlas.trust.record import UNANIMITY, Trust
from atlas.trust.score import score

HANDED_OVER = ("split", "student-no-action", "distrusted")
"""Reasons under which a cascade lets the teacher act. Where that reply holds no action the reason is ``no-action``."""

BINS = 10
"""Bins of equal width for the calibration error of probabilities."""

_PROBABILITY = Trust(signals=("probability",))

Floats = NDArray[np.float64]


class Choice(NamedTuple):
    """A step at which a cascade asked its student."""

    task: str
    episode: str
    samples: int
    """How many were drawn."""
    share: float
    """Of the samples drawn, those that name the first choice; 0 where none holds an action."""
    probability: float | None
    """What the student gave to its first choice: the geometric mean over the samples that name it. None where it tells
    none."""
    acted: bool
    """Whether the student acted: then an audit decided by chance whether the teacher was asked."""
    asked: bool
    """Whether the teacher was."""
    right: bool | None
    """Whether the first choice is the teacher's action; None where the teacher was not asked or named none."""


class Level(Record):
    """The steps at which one share of the samples named the first choice."""

    share: float
    steps: int
    """Those at which the teacher's action is known."""
    right: float
    """The weighted share of them at which the first choice is that action."""


class SignalQuality(Record):
    """How well a number between 0 and 1 tells the steps at which the student is right from the others."""

    auroc: Interval | None
    """The chance that a step at which it is right has the higher number than one at which it is wrong; see
    :func:`~atlas.stats.scores.auroc`. None where it is always right, or always wrong."""
    ece: Interval | None
    """Expected calibration error of the number as the chance of being right; see
    :func:`~atlas.stats.scores.calibration_error`. Its resampled interval leans upwards: noise within bins never lowers
    it."""


class AgreementRow(Record):
    """Agreement as a signal, in one arm of a run.

    Every step on which the student acted had the same chance to be audited. Those that were stand for all of them:
    they weigh 1 / (their share), which is Horvitz and Thompson's weight (1952) with the share that was drawn in place
    of the planned one (Rosenbaum 1987: never worse, and it need not be known). Steps on which the teacher acted weigh
    1. Where the student acted and none of it was audited, what would rest on it is None.

    Intervals are 95 %, percentile bootstraps over tasks, so that steps of one task stay together; their ``n`` counts
    steps. A rate of exactly 0 or 1 has Wilson's interval, tasks counted, since resampling would give it a width of 0;
    where it would give an AUROC or a calibration error none, the bounds of :func:`~atlas.stats.scores.auroc_beyond` and
    :func:`~atlas.stats.scores.error_beyond` hold. With fewer than two tasks an interval is [0, 1].
    """

    run: str
    arm: str
    steps: int
    """At which the student was asked, and a cascade decided."""
    episodes: int
    tasks: int
    acted: int
    """Steps on which the student acted."""
    audited: int
    """Those of them at which the teacher was asked as well."""
    known: int
    """Steps at which the teacher's action is known, whoever acted: all figures but ``unanimous`` rest on them."""
    unread: int
    """Steps at which the teacher was asked and named no action: in no figure but ``unanimous``."""
    stopped: int
    """Steps with fewer samples than others: drawing one by one stops where the rest cannot let the student act. Shares
    are of the samples drawn."""
    unanimous: Interval
    """Share of all steps at which every sample names one action."""
    right: Interval | None
    """Share of steps at which the first choice is the teacher's action."""
    right_unanimous: Interval | None
    right_split: Interval | None
    """The same where the samples differ, or one holds no action."""
    votes: SignalQuality
    """The share of the samples that name the first choice."""
    probability: SignalQuality | None
    """The probability that the student gave to its first choice; None where the trace holds none."""
    probability_steps: int
    """Known steps at which the trace holds it: what ``probability`` rests on."""
    levels: tuple[Level, ...]
    """From the lowest share to the highest."""


def choice_of(step: Step, task: str, episode: str) -> Choice | None:
    """What a cascade's student chose at ``step``, and whether the teacher did the same; None for steps of other
    policies, and of those around a cascade that had it decide twice or acted in its place."""
    reason = step.decision.reason
    student = [vote for vote in step.decision.votes if vote.actor == STUDENT]
    teacher = [vote for vote in step.decision.votes if vote.actor == TEACHER]
    handed = reason in HANDED_OVER or (reason == "no-action" and bool(teacher))
    if not student or not (handed or reason in CASCADED):
        return None
    found = score(UNANIMITY, student, len(student), ())
    first = student[found.lead].action
    told = [vote for vote in student if vote.action == first and vote.logprob is not None]
    done = teacher[0].action if teacher else None
    return Choice(
        task=task,
        episode=episode,
        samples=len(student),
        share=found.value,
        probability=score(_PROBABILITY, student, len(student), ()).value if first is not None and told else None,
        acted=not handed,
        asked=bool(teacher),
        right=None if done is None else first == done,
    )


def agreement_rows(
    run: str, episodes: Iterable[StoredEpisode], *, resamples: int = 2_000, seed: int = 0
) -> list[AgreementRow]:
    """A row per arm with steps of a cascade, in order of first appearance. Raises DataError where ``run`` has none, or
    where it is unknown in every arm how often the student is right."""
    arms: dict[str, list[Choice]] = {}
    for episode in episodes:
        found = [choice_of(step, episode.task.id, episode.id) for step in episode.steps]
        if chosen := [choice for choice in found if choice is not None]:
            arms.setdefault(episode.arm, []).extend(chosen)
    if not arms:
        raise DataError(f"{run} holds no step of a cascade: play one with 'atlas bench ... --arms cascade --audit 1'")
    rows = [agreement_row(run, arm, chosen, resamples=resamples, seed=seed) for arm, chosen in arms.items()]
    if all(row.right is None for row in rows):
        raise DataError(
            f"{run} does not tell how often its student is right where it acted: it holds no action of the teacher at "
            "these steps; play it with 'atlas bench ... --audit 1'"
        )
    return rows


def agreement_row(
    run: str, arm: str, choices: Sequence[Choice], *, resamples: int = 2_000, seed: int = 0
) -> AgreementRow:
    """The figures of one arm, of which there is at least one step."""
    table = _Table(choices)
    value = table.figures(np.ones((1, table.tasks)))[0]
    drawn = cluster_counts(table.tasks, resamples=resamples, seed=seed)
    size = max(1, 4_000_000 // len(choices))
    spread = np.concatenate([table.figures(drawn[i : i + size]) for i in range(0, resamples, size)])
    known = [c for c in choices if c.right is not None]
    of_probability = [c for c in known if c.probability is not None]

    def figure(index: int, over: Sequence[Choice]) -> Interval | None:
        """A rate; None where it is not known."""
        if np.isnan(value[index]):
            return None
        return bounded_rate(float(value[index]), spread[:, index], len(over), clusters=len({c.task for c in over}))

    def quality(index: int, over: Sequence[Choice]) -> SignalQuality:
        """The AUROC at ``index``, and the calibration error after it."""
        right = fmean(bool(c.right) for c in over)

        def of(index: int, beyond: Callable[[float, float], tuple[float, float]]) -> Interval | None:
            at, tasks = float(value[index]), len({c.task for c in over})
            if np.isnan(at):
                return None
            return bounded(at, spread[:, index], len(over), clusters=tasks, worst=partial(beyond, at))

        auroc = of(index, lambda at, rest: auroc_beyond(at, right, rest))
        return SignalQuality(auroc=auroc, ece=of(index + 1, error_beyond))

    unanimous = figure(0, choices)
    assert unanimous is not None, "an arm without steps has no row"
    return AgreementRow(
        run=run,
        arm=arm,
        steps=len(choices),
        episodes=len({c.episode for c in choices}),
        tasks=table.tasks,
        acted=sum(c.acted for c in choices),
        audited=sum(c.acted and c.asked for c in choices),
        known=len(known),
        unread=sum(c.asked and c.right is None for c in choices),
        stopped=sum(c.samples < max(c.samples for c in choices) for c in choices),
        unanimous=unanimous,
        right=figure(1, known),
        right_unanimous=figure(2, [c for c in known if c.share == 1.0]),
        right_split=figure(3, [c for c in known if c.share < 1.0]),
        votes=quality(4, known) if known else SignalQuality(auroc=None, ece=None),
        probability=quality(6, of_probability) if of_probability else None,
        probability_steps=len(of_probability),
        levels=table.levels(),
    )


class _Table:
    """The steps of one arm as arrays; N of them, K of which are known."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        names = {name: index for index, name in enumerate(dict.fromkeys(c.task for c in choices))}
        self.tasks = len(names)
        self._task = np.array([names[c.task] for c in choices])
        self._unanimous = np.array([c.share == 1.0 for c in choices])
        self._acted = np.array([c.acted for c in choices])
        self._asked = np.array([c.acted and c.asked for c in choices])
        self._known = np.array([c.right is not None for c in choices])
        kept = [c for c in choices if c.right is not None]
        self._right = np.array([c.right for c in kept], dtype=float)
        self._share = np.array([c.share for c in kept], dtype=float)
        self._tells = np.array([c.probability is not None for c in kept], dtype=bool)
        self._probability = np.array([c.probability for c in kept if c.probability is not None], dtype=float)

    def figures(self, drawn: Floats) -> Floats:
        """The figures of resamples that hold each task ``drawn`` times, shape (R, tasks): shape (R, 8), with nan for
        what a resample does not tell."""
        times = drawn[:, self._task]
        weight = self._weights(times)
        agree = self._unanimous[self._known]
        told, split = self._told(times, self._unanimous), self._told(times, ~self._unanimous)
        both = told & split
        certain = self._right[self._tells]
        found = (
            (np.ones(len(drawn), dtype=bool), unit_ratio(times @ self._unanimous.astype(float), times.sum(axis=1))),
            (both, _rate(weight, self._right)),
            (told, _rate(weight[:, agree], self._right[agree])),
            (split, _rate(weight[:, ~agree], self._right[~agree])),
            (both, aurocs(weight, self._right, self._share)),
            (both, calibration_errors(weight, self._right, self._share, None)),
            (both, aurocs(weight[:, self._tells], certain, self._probability)),
            (both, calibration_errors(weight[:, self._tells], certain, self._probability, BINS)),
        )
        return np.stack([np.where(known, values, np.nan) for known, values in found], axis=1)

    def levels(self) -> tuple[Level, ...]:
        weight = self._weights(np.ones((1, len(self._task))))
        found = []
        for share in np.unique(self._share):
            here = self._share == share
            rate = float(_rate(weight[:, here], self._right[here])[0])
            found.append(Level(share=float(share), steps=int(here.sum()), right=rate))
        return tuple(found)

    def _weights(self, times: Floats) -> Floats:
        """What each known step counts for, shape (R, K), where step i is there ``times[:, i]`` times, shape (R, N)."""
        acted, asked = times @ self._acted.astype(float), times @ self._asked.astype(float)
        stands_for = np.where(asked > 0, acted / np.where(asked > 0, asked, 1.0), 0.0)
        weights: Floats = times[:, self._known] * np.where(self._acted[self._known], stands_for[:, None], 1.0)
        return weights

    def _told(self, times: Floats, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether what the student did alone at the steps ``where`` is known of some of them, or it did nothing."""
        acted = times @ (self._acted & where).astype(float)
        known = times @ (self._acted & self._known & where).astype(float)
        told: NDArray[np.bool_] = (acted == 0) | (known > 0)
        return told


def _rate(weight: Floats, right: Floats) -> Floats:
    return unit_ratio(weight @ right, weight.sum(axis=1))
