"""From evidence to a status, by rule. Pure functions: the memory applies what they say, under the author of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from atlas.errors import ConfigError
from atlas.figures import figure, money_interval
from atlas.given import Given, shown
from atlas.memory.database import Status
from atlas.memory.uplift import Evidence
from atlas.stats import Interval

AUTHOR = "rule:evidence"
"""Who changes the status of an entry by this module."""


class Rule(Given):
    """When evidence is enough. Error rates are for one entry over its whole life, however often one looks."""

    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)
    """An entry that neither raises the reward nor (within ``margin``) saves dollars is ever admitted with at most this
    probability; one that lowers nothing is ever quarantined as harmful with at most half of it. The part that rests on
    dollars holds asymptotically."""
    margin: float = Field(default=0.02, ge=0.0, le=1.0)
    """How much reward an entry may cost if it surely saves dollars."""
    effect: float = Field(default=0.1, gt=0.0, le=1.0)
    """The smallest gain in reward that is worth waiting for."""
    patience: int = Field(default=300, ge=1)
    """Trials after which an entry without a shown effect leaves."""


def check_rule(rule: object) -> None:
    """Raises ConfigError for what is no :class:`Rule`."""
    if not isinstance(rule, Rule):
        raise ConfigError(f"a memory's rule is one of atlas.memory.gate, Rule(alpha=...), not {shown(rule)}")


class Gated(NamedTuple):
    """What the rule says of an entry."""

    status: Status
    reason: str


def gate(status: str, found: Evidence, rule: Rule) -> Gated | None:
    """The new status of an entry, with the reason; None where it stays as it is.

    On trial: admitted when the lower end of its effect on reward is above 0, or above minus the margin while the upper
    end of its effect on dollars is below 0. On trial or admitted: quarantined when the upper end for reward is below 0.
    On trial without either: quarantined as "no effect shown" when the upper end falls below ``effect``, or after
    ``patience`` trials. It then takes up no more of the prompt, and a person may put it back. A quarantined entry is
    not shown, so nothing more is learned of it and no rule brings it back.
    """
    reward, dollars = found.reward, found.dollars
    if status not in ("trial", "admitted") or not found.trials:
        return None
    if reward.high < 0:
        return Gated("quarantined", f"lowers the reward: {_points(reward)}")
    if status == "admitted":
        return None
    if reward.low > 0:
        return Gated("admitted", f"raises the reward: {_points(reward)}")
    if reward.low > -rule.margin and dollars is not None and dollars.high < 0:
        return Gated("admitted", f"saves dollars: {_money(dollars)}, and costs no reward: {_points(reward)}")
    saving = dollars is not None and dollars.mean < 0
    if reward.high < rule.effect and not saving:
        return Gated("quarantined", f"no effect shown: {_points(reward)}, less than {100 * rule.effect:g} points")
    if found.trials >= rule.patience:
        return Gated("quarantined", f"no effect shown within {rule.patience} trials: {_points(reward)}")
    return None


def e_bh(e_values: Mapping[str, float], rate: float) -> set[str]:
    """The entries that help, such that at most a share ``rate`` of those named is expected not to.

    The e-Benjamini-Hochberg procedure (Wang and Ramdas, JRSS-B 84, 2022, arXiv 2009.02824): valid however the entries
    depend on each other, and at any time of looking. ``e_values`` are those of :class:`Evidence`.
    """
    ranked = sorted(e_values, key=lambda entry: -e_values[entry])
    n = len(ranked)
    enough = [k for k, entry in enumerate(ranked, 1) if e_values[entry] >= n / (k * rate)]
    return set(ranked[: max(enough)]) if enough else set()


def _points(effect: Interval) -> str:
    mean, low, high = (figure(x, sign="+") for x in (effect.mean, effect.low, effect.high))
    return f"{mean} points [{low}, {high}] in {effect.n} trials"


def _money(effect: Interval) -> str:
    return f"{money_interval(effect)} per episode in {effect.n} trials"
