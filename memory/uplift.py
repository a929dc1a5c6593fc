"""What an entry is worth: its effect on reward and on cost, with intervals that may be looked at after every episode.

Each trial of an entry has a coin of known probability p. For outcome y and a guess m made before it, take

    (y - m) (1 / p)         where the entry was shown
    (y - m) (-1 / (1 - p))  where it was withheld

The mean of this pseudo-outcome is exactly the entry's effect in that episode, whatever m is (inverse propensity
weighting, Horvitz and Thompson 1952); a good guess makes it vary less. Guesses come from earlier trials only, so the
effect keeps its mean given the past, which is all that the sequences below need: tasks may differ and drift.

* Reward lies in [0, 1], so pseudo-outcomes are bounded: confidence sequences by betting (:mod:`atlas.betting`), valid
  at every number of trials. Where the effect is not the same in all episodes, the lower end stays below the largest
  effect and the upper end above the smallest: an entry that helps nowhere passes with probability alpha / 2 at most.
* Dollars have no bound, so their sequence is asymptotic: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
  central limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024), arXiv 2103.06476. It is
  given from :data:`COST_TRIALS` trials on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from statistics import fmean

import numpy as np

from atlas.betting import Floats, e_value, lower_end
from atlas.errors import DataError
from atlas.records import Record
from atlas.stats import Interval

COST_TRIALS = 30
"""Trials with known dollars from which on the asymptotic interval of cost is given."""

_TIGHTEST_AT = 100
"""Trials at which the interval of cost is tightest; it holds at all others too."""

_PRIOR = 2.0
"""How many trials the first guess counts for: half a success on average."""
_FAMILY_PRIOR = 4.0
"""How many trials the guess over all tasks counts for within one family of tasks."""


class Trial(Record):
    """One episode in which a coin decided whether the entry was shown."""

    entry: str
    episode: str
    task: str
    seed: int
    family: str = ""
    """Type of the task: guesses of the reward are made by family."""
    shown: bool
    p: float
    """The probability with which it was to be shown."""
    reward: float | None
    """In [0, 1]; None where nothing scored the episode: then it is no trial for reward."""
    dollars: float | None
    """Of all actors; None where a model has no price."""
    started: float
    """Unix time of the episode's start: the order of trials."""


class Evidence(Record):
    """What the trials of an entry say. Effects are "shown" minus "withheld"."""

    shown: int = 0
    """Trials with a reward in which it was shown."""
    withheld: int = 0
    missing: int = 0
    """Trials without a reward, in no figure; many of them on one side would bias what the others say."""
    reward: Interval = Interval(mean=0.0, low=-1.0, high=1.0, n=0)
    dollars: Interval | None = None
    """None while there are too few trials with known dollars."""
    e_value: float = 1.0
    """Against "it does not raise the reward": its mean is at most 1 while that holds, at any time of looking."""

    @property
    def trials(self) -> int:
        return self.shown + self.withheld


def evidence(trials: Sequence[Trial], *, alpha: float = 0.05) -> Evidence:
    """What ``trials`` of one entry say, with intervals at level 1 - ``alpha``, half of it at either end.

    One coin is one trial: of several episodes with the same task and seed, which share a coin, the first counts.
    """
    tossed: dict[tuple[str, int], Trial] = {}
    for trial in sorted(trials, key=lambda t: (t.started, t.episode)):
        key = (trial.task, trial.seed)
        if key not in tossed or tossed[key].reward is None:
            tossed[key] = trial
    kept = sorted(tossed.values(), key=lambda t: (t.started, t.episode))
    scored = [t for t in kept if t.reward is not None]
    shown = sum(t.shown for t in scored)
    return Evidence(
        shown=shown,
        withheld=len(scored) - shown,
        missing=len(kept) - len(scored),
        reward=_reward(scored, alpha),
        dollars=_dollars([t for t in kept if t.dollars is not None], alpha),
        e_value=_e_value(scored),
    )


def reward_outcomes(
    rewards: Sequence[float], shown: Sequence[bool], p: Sequence[float], families: Sequence[str]
) -> tuple[Floats, Floats]:
    """The pseudo-outcomes of reward in [0, 1] in order of arrival, and how far from 0 each could have been:
    ``(T,)``."""
    y, s, chance = np.asarray(rewards, float), np.asarray(shown, bool), np.asarray(p, float)
    if y.size and (y.min() < 0.0 or y.max() > 1.0):
        raise DataError("the reward of a trial lies between 0 and 1: rescale it before it is added as evidence")
    guess = np.array(_guesses(rewards, families))
    weight = np.where(s, 1 / chance, -1 / (1 - chance))
    bound = np.maximum(guess, 1 - guess) / np.minimum(chance, 1 - chance)
    return (y - guess) * weight, bound


def asymptotic_half_width(n: int, deviation: float, alpha: float) -> float:
    """Half the width of an asymptotic confidence sequence after ``n`` outcomes (arXiv 2103.06476, theorem 2.2)."""
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / _TIGHTEST_AT
    room = n * rho2 + 1
    return deviation * sqrt(2 * room / (n * n * rho2) * log(sqrt(room) / alpha))


def _reward(trials: Sequence[Trial], alpha: float) -> Interval:
    if not trials:
        return Evidence().reward
    x, bound = _outcomes(trials)
    # A claim is at most 1 and a pseudo-outcome at least -bound: it stays below the claim by at most their sum.
    room = bound + 1.0
    return Interval(
        mean=float(np.clip(x.mean(), -1.0, 1.0)),
        low=lower_end(x, room, alpha / 2, -1.0, 1.0),
        high=-lower_end(-x, room, alpha / 2, -1.0, 1.0),
        n=len(trials),
    )


def _e_value(trials: Sequence[Trial]) -> float:
    if not trials:
        return 1.0
    x, bound = _outcomes(trials)
    return e_value(x, 0.0, bound + 1.0)


def _outcomes(trials: Sequence[Trial]) -> tuple[Floats, Floats]:
    rewards = [t.reward for t in trials if t.reward is not None]
    return reward_outcomes(rewards, [t.shown for t in trials], [t.p for t in trials], [t.family for t in trials])


def _dollars(trials: Sequence[Trial], alpha: float) -> Interval | None:
    dollars = [t.dollars for t in trials if t.dollars is not None]
    # The first trial only says what an episode costs: there is no guess before it.
    n = len(dollars) - 1
    if n < COST_TRIALS:
        return None
    guesses = [fmean(dollars[:i]) for i in range(1, len(dollars))]
    weights = [1 / t.p if t.shown else -1 / (1 - t.p) for t in trials[1:]]
    x = (np.array(dollars[1:]) - np.array(guesses)) * np.array(weights)
    mean, half = float(x.mean()), asymptotic_half_width(n, float(x.std()), alpha)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)


def _guesses(rewards: Sequence[float], families: Sequence[str]) -> list[float]:
    """For each trial what reward the trials before it lead to expect: by family, drawn towards the mean of all."""
    total, count = 0.0, 0
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    found = []
    for reward, family in zip(rewards, families, strict=True):
        overall = (_PRIOR / 2 + total) / (_PRIOR + count)
        found.append((_FAMILY_PRIOR * overall + sums.get(family, 0.0)) / (_FAMILY_PRIOR + counts.get(family, 0)))
        total, count = total + reward, count + 1
        sums[family] = sums.get(family, 0.0) + reward
        counts[family] = counts.get(family, 0) + 1
    return found
