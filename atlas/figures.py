"""Figures as people read them: dollars, shares, differences and their intervals."""

from __future__ import annotations

from atlas.stats import Interval

UNPRICED = "unpriced"


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
    """Dollars, or a difference of them, with the 95 % interval; the figure alone where all that was seen cost the same,
    or one thing was seen: that has no interval, as dollars have no bounds."""
    if interval is None:
        return UNPRICED
    if interval.n == 0:
        return "-"
    if interval.low == interval.high:
        return money(interval.mean)
    return f"{money(interval.mean)} [{money(interval.low)}, {money(interval.high)}]"


def p_value(p: float) -> str:
    """A p-value as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
