"""Figures and foreign text as words: for tables in a terminal and for the report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atlas.stats import Interval

if TYPE_CHECKING:
    from atlas.records import Decision, Usage
    from atlas.traces.account import ArmRow, BreakEven

UNPRICED = "unpriced"

# Operating-system commands (up to BEL or ST), control sequences, and the two-character escapes, in this order.
_ESCAPES = re.compile(
    r"\x1b[\]PX^_](?:[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c))?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters but tab and newline, and the marks that reorder text on the screen.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` without terminal escapes, control characters and text-direction overrides."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def shorten(text: str, width: int) -> str:
    """``text`` cleaned, on one line, at most ``width`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)].rstrip() + "…"


def money(dollars: float | None) -> str:
    """Dollars to three significant digits, never in exponents; ``unpriced`` for None."""
    if dollars is None:
        return UNPRICED
    sign, size = ("-" if dollars < 0 else ""), abs(dollars)
    if size == 0:
        return "$0"
    if size >= 100:
        return f"{sign}${size:,.0f}"
    size = float(f"{size:.2e}")  # rounded first: what rounds up to the next power of ten has a digit more in front
    if size >= 1:
        return f"{sign}${size:.{0 if size >= 100 else 2}f}"
    decimals = 2 - int(f"{size:e}".split("e")[1])
    return f"{sign}${size:.{decimals}f}"


def count_tokens(count: float, usage: Usage) -> str:
    """``count`` of the tokens of ``usage``: ``1,234``; ``1,234 + ?`` where some calls did not tell theirs, ``-`` where
    none did."""
    if not usage.unmetered:
        return f"{count:,.0f}"
    return f"{count:,.0f} + ?" if count else "-"


def tokens(usage: Usage) -> str:
    """All tokens of ``usage`` in words."""
    return "tokens unknown" if usage.told(usage.tokens) is None else f"{count_tokens(usage.tokens, usage)} tokens"


_NOISE = 1e-9
"""Sums that make 0 or 1 may miss it by a few units in the last place: so near to one, a share is shown as it."""


def figure(share: float, decimals: int = 0, *, sign: str = "", outwards: str = "") -> str:
    """A share in percent, without the sign for it: ``99.96``, with as many decimals as told, and more where a figure
    that is neither 0 nor 100 would read as one of them.

    sign: ``+`` writes it for what is positive, as for differences.
    outwards: ``low`` or ``high`` for a bound of an interval, which may be rounded to 0 or 100: that makes it wider.
    """
    value = 100 * share
    near = next((whole for whole in (-100.0, 0.0, 100.0) if abs(value - whole) < 100 * _NOISE), None)
    if near is not None:
        return f"{near:{sign}.{decimals}f}"
    free = {"low": 0.0, "high": 100.0}.get(outwards)
    while True:
        shown = f"{value:{sign}.{decimals}f}"
        read = abs(float(shown))
        if read == free or (read != 0 and (read != 100 or abs(value) > 100)):
            return shown
        decimals += 1


def percent(share: float) -> str:
    """A share as a percentage, with a decimal where the whole number would hide it."""
    return f"{figure(share, 1 if _NOISE < share < 0.1 or 0.99 < share < 1 - _NOISE else 0)} %"


def percent_interval(interval: Interval) -> str:
    """A rate with its 95 % interval, as ``93 % [86, 97]``; a dash where nothing was measured."""
    if interval.n == 0:
        return "-"
    return f"{figure(interval.mean)} % [{bounds(interval)}]"


def bounds(interval: Interval, decimals: int = 0) -> str:
    """The ends of a rate's interval in percent, as ``86, 97``."""
    low, high = (figure(x, decimals, outwards=end) for x, end in ((interval.low, "low"), (interval.high, "high")))
    return f"{low}, {high}"


def points_interval(interval: Interval) -> str:
    """A difference of rates in percentage points with its 95 % interval, as ``+12.0 [+3.1, +21.0]``."""
    if interval.n == 0:
        return "-"
    mean, low, high = (figure(x, 1, sign="+") for x in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def money_interval(interval: Interval | None) -> str:
    """A difference in dollars with its 95 % interval."""
    if interval is None:
        return UNPRICED
    if interval.n == 0:
        return "-"
    return f"{money(interval.mean)} [{money(interval.low)}, {money(interval.high)}]"


def count_of(row: ArmRow, planned: int | None = None) -> str:
    """How many episodes a rate rests on: ``scored``, ``scored/planned``, and how many ended without a score."""
    text = str(row.scored) if planned is None or planned == row.scored else f"{row.scored}/{planned}"
    return text if row.scored == row.episodes else f"{text} (+{row.episodes - row.scored} unscored)"


def acts(row: ArmRow) -> str:
    """The share of steps that the teacher took, and how often it was asked where that is more."""
    text = percent(row.teacher_share)
    return text if row.asked_share - row.teacher_share < 0.0005 else f"{text} (asked {percent(row.asked_share)})"


def pays_off(row: BreakEven) -> str:
    """The break-even point in words."""
    return "never" if row.episodes is None else f"{row.episodes:,.0f} episodes"


def p_value(p: float) -> str:
    """A p-value as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


_REASONS = {
    "solo": "acts alone",
    "split": "the student's samples disagree, so the teacher acts",
    "student-no-action": "a sample of the student held no action, so the teacher acts",
    "no-action": "the reply held no action",
    "trusted": "the student's leading action is trusted",
    "distrusted": "the student's samples are not trusted, so the teacher acts",
    "loop": "the episode goes in circles, so the teacher acts",
    "errors": "the environment refuses one action after another, so the teacher acts",
    "stall": "nothing new is seen any more, so the teacher acts",
}


def why(decision: Decision) -> str:
    """In words, why the actor of a decision acted, and what a judge of steps said of the student's action."""
    chance = next((v.chance for v in decision.votes if v.chance is not None), None)
    judged = "" if chance is None else f"; judged {percent(chance)} likely to succeed"
    return f"{_why(decision)}{judged}"


def _why(decision: Decision) -> str:
    if decision.reason == "routed":
        return f"chance routed this step to the {decision.actor}"
    if decision.reason == "agreed":
        votes = sum(v.actor == decision.actor for v in decision.votes)
        return f"{votes} of {votes} samples agree"
    return _REASONS.get(decision.reason, decision.reason)
