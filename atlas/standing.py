"""How an agent stands: whether its scored episodes still go as they should, by a rule that may be looked at after each.

**Dropped.** For every episode as the moment of a change, a gambler stakes against "success has been at least the level
since then". The level is what the user expects, or what the agent had shown before that moment, whichever is more. The
sum of their wealths is an e-detector of the Shiryaev-Roberts kind (Shin, Ramdas and Rinaldo, "E-detectors: a
nonparametric framework for sequential change detection", arXiv 2203.03532): while success keeps to the level, whatever
the order and however episodes depend on each other, it takes :data:`ALARM` episodes or more on average until it says
something false. A gambler's wealth is the likelihood ratio of a lower success, which for every success of at least the
level can only be expected to fall; each shares out its stake over three lower ones (:data:`SHARES`).

What was shown before is a lower bound that holds at all episodes at once with probability 98 % (the mixture martingale
of Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41,
1970, with a uniform prior).

**Recovered, helpless.** What ends the alarm is as strong as what began it: the same detector has to refute that success
is at most halfway between where it had fallen to and the level. So nothing flaps: a change of either kind needs its own
evidence, gathered since the last one. An agent is helpless where its teacher, too, stays below halfway.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, lgamma, log, log1p
from typing import Literal

from atlas.record import Record

ALARM = 100.0
"""Wealth at which something is said: on average there are so many scored episodes or more to a false alarm."""
SHARES = (0.05, 0.4, 0.75)
"""The lower successes that are bet on, as shares of the level; for higher ones, of what is left above it to fail."""
DOUBT = 0.02
"""The chance that a level which is read off the past is too high."""
KEPT = 200
"""Outcomes that are remembered since the last change."""
REST, LONGEST = 4, 64
"""Taught episodes between two in which the student is tried again: at first, and at the most."""
RULE = [1, ALARM, *SHARES, DOUBT, KEPT, REST, LONGEST]
"""By what a standing came to be: the first number is raised when the same episodes come to another one."""

TAUGHT = "teacher"
"""The lane of an episode whose every step is the teacher's, as success has dropped."""
TRIED = "student"
"""The lane of an episode that is played as usual while others are taught, to see whether the student has recovered."""

Turned = Literal["dropped", "recovered", "helpless"]


class Change(Record):
    """Success has dropped, has recovered, or has not for all that the teacher did."""

    turned: Turned
    episodes: int
    """Scored episodes that it is seen in, the newest ones of those it is about."""
    succeeded: int
    """Of them."""
    level: float
    """The success that was to be expected."""


class Standing(Record):
    """How an agent stands after its scored episodes so far. What it was before is all it needs to go on."""

    low: bool = False
    """Whether success has dropped, and has not recovered since."""
    helpless: bool = False
    """Whether the teacher did no better, so that nothing more is left to it."""
    rest: int = REST
    """Taught episodes until the student is tried again."""
    level: float = 0.0
    """The success that was to be expected when it dropped."""
    half: float = 0.0
    """What success has to exceed to have recovered."""
    relative: bool = False
    """Whether only what the agent itself has shown is expected of it: it was helpless before."""
    seen: str = ""
    """The outcomes of episodes played as usual since the last change, ``1`` or ``0``, newest last."""
    levels: tuple[float, ...] = ()
    """For each of them the level that held when it began."""
    taught: str = ""
    """The outcomes of taught episodes since success dropped."""

    @property
    def raised(self) -> bool:
        """Whether the teacher acts, where there is one."""
        return self.low and not self.helpless

    def after(self, success: bool, lane: str, expected: float) -> tuple[Standing, Change | None]:
        """The standing after one more scored episode, and what that changed.

        Args:
            success: how the episode went.
            lane: :data:`TAUGHT`, :data:`TRIED`, or anything else for one played as usual.
            expected: the success below which an agent is low whatever it did before, from 0 to less than 1.
        """
        bit = "1" if success else "0"
        if not self.low:
            return self._as_usual(bit, expected)
        if lane == TAUGHT:
            return self._as_taught(bit)
        return self._as_tried(bit, lane == TRIED)

    def _as_usual(self, bit: str, expected: float) -> tuple[Standing, Change | None]:
        own = shown(self.seen.count("1"), len(self.seen))
        relative = self.relative and own < expected
        level = round(own if relative else max(own, expected), 4)
        seen, levels = (self.seen + bit)[-KEPT:], (*self.levels, level)[-KEPT:]
        wealth = _since(seen, levels)
        if sum(wealth) < ALARM:
            return self.replace(seen=seen, levels=levels, relative=relative), None
        part, level = _newest(seen, levels, wealth)
        found = Change(turned="dropped", episodes=len(part), succeeded=part.count("1"), level=level)
        return Standing(low=True, level=level, half=(part.count("1") / len(part) + level) / 2), found

    def _as_tried(self, bit: str, tried: bool) -> tuple[Standing, Change | None]:
        seen = (self.seen + bit)[-KEPT:]
        failed = seen.translate(_TURNED)
        most = (1.0 - self.half,) * len(seen)
        wealth = _since(failed, most)
        if sum(wealth) < ALARM:
            # Tried less and less while it fails, as a watch rests; and more and more while it does not.
            rest = self.rest // 2 if bit == "1" else min(LONGEST, max(1, 2 * self.rest))
            return self.replace(seen=seen, rest=rest if tried else self.rest), None
        part, _ = _newest(seen, most, wealth)
        found = Change(turned="recovered", episodes=len(part), succeeded=part.count("1"), level=self.level)
        return Standing(relative=self.relative), found

    def _as_taught(self, bit: str) -> tuple[Standing, Change | None]:
        taught = (self.taught + bit)[-KEPT:]
        wealth = _since(taught, (self.level,) * len(taught))
        part, _ = _newest(taught, (), wealth)
        # A teacher that stays below the level may still do better than the student: then it goes on.
        if self.helpless or sum(wealth) < ALARM or taught.count("1") > self.half * len(taught):
            return self.replace(taught=taught), None
        found = Change(turned="helpless", episodes=len(part), succeeded=part.count("1"), level=self.level)
        return self.replace(helpless=True, relative=True, taught="", seen=""), found


@lru_cache(maxsize=1 << 15)
def shown(successes: int, episodes: int) -> float:
    """The success that so many of the first ``episodes`` show at the least: a bound that holds after all of them at
    once, with probability 1 - :data:`DOUBT`."""
    if not successes:
        return 0.0
    failures = episodes - successes
    mixed = lgamma(successes + 1) + lgamma(failures + 1) - lgamma(episodes + 2)
    low, high = 0.0, successes / episodes
    for _ in range(20):
        middle = (low + high) / 2
        wealth = mixed - successes * log(middle) - (failures * log1p(-middle) if failures else 0.0)
        low, high = (middle, high) if wealth >= -log(DOUBT) else (low, middle)
    return low


def _since(seen: str, levels: Sequence[float]) -> list[float]:
    """For each outcome the wealth of who began to bet with it that there are fewer ``1`` than its level."""
    found, ones, noughts = [0.0] * len(seen), 0, 0
    for place in range(len(seen) - 1, -1, -1):
        if seen[place] == "1":
            ones += 1
        elif seen[place] == "0":
            noughts += 1
        found[place] = sum([exp(ones * one + noughts * nought) for one, nought in _bets(levels[place])]) / len(SHARES)
    return found


@lru_cache(maxsize=4096)
def _bets(level: float) -> tuple[tuple[float, float], ...]:
    """What a ``1`` and a ``0`` add to the logarithms of the wealths of who bets on each share of a level."""
    return tuple((log(share), log1p(-level * share) - log1p(-level)) for share in SHARES)


def _newest(seen: str, levels: Sequence[float], wealth: Sequence[float]) -> tuple[str, float]:
    """The outcomes since the most likely moment of the change, and the level that held then."""
    begin = max(range(len(wealth)), key=wealth.__getitem__)
    return seen[begin:], levels[begin] if levels else 0.0


_TURNED = str.maketrans("01", "10")
