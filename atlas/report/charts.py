"""The pictures, as SVG: pure functions of :mod:`atlas.report.facts`. Each is drawn once wide and once for a phone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from atlas.figures import figure, money_interval, percent, percent_interval
from atlas.report.colours import SUCCESS, TEACHER
from atlas.report.facts import ArmFacts, Curve, Group, Growth
from atlas.report.svg import Box, Canvas, Kind, Scale, cents, log_ticks, marker, place, spread, text_width, ticks
from atlas.stats import Interval
from atlas.words import clean

MARK, LABEL, WHISKER = 4.0, 6.0, 0.7
"""How bad it is when a label covers one of these."""

Value = Callable[[ArmFacts], Interval | None]


def whole(value: float) -> str:
    """A share as a whole percentage, for axes."""
    return f"{figure(value)} %"


def responsive(draw: Callable[[int, int], str], *, height: int = 400, narrow: int = 360) -> str:
    """One chart in two widths; the style sheet shows the one that fits the screen."""
    return f'<div class="wide">{draw(760, height)}</div><div class="narrow">{draw(360, narrow)}</div>'


# --- success against cost ---------------------------------------------------------------------------------------------


def scatter(group: Group, width: int, height: int) -> str:
    """Success against dollars per episode, with the 95 % intervals of both. Arms without a price are left out."""
    arms = [(arm, arm.dollars) for arm in group.arms if arm.dollars is not None and arm.row.scored]
    frame = Box(52, 34, width - 70, height - 84)
    canvas = Canvas(width, height, frame, f"Success against cost per arm {group.name}")
    free = [c.mean for _, c in arms if c.mean <= 0]
    paid = [c for _, c in arms if c.mean > 0]
    lows, highs = [_low(c) for c in paid], [c.high for c in paid]
    logarithmic = bool(paid) and max(c.mean for c in paid) > 10 * min(c.mean for c in paid)
    y = Scale(0.0, 1.0, frame.y + frame.h, frame.y)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.75, 1.0], "success", whole)
    left = frame.x
    if logarithmic:
        # A free arm has no place on a logarithmic axis: it gets a column of its own, left of a break.
        left += 64 if free else 0
        x = Scale(min(lows) * 0.7, max(highs) * 1.5, left, frame.x + frame.w, "log")
        values = log_ticks(x.low, x.high, 7 if width > 500 else 4)
    else:
        x = Scale(0.0, max([*highs, 1e-9]) * 1.12, left, frame.x + frame.w)
        values = ticks(0.0, x.high, 6 if width > 500 else 4)
    canvas.x_axis(x, values, "dollars per episode" + (" (logarithmic)" if logarithmic else ""), cents)
    if logarithmic and free:
        canvas.text(frame.x + 26, frame.y + frame.h + 17, "$0", "tick", "middle")
        canvas.line(left - 8, frame.y, left - 8, frame.y + frame.h, "break")
    at = {
        arm.name: (frame.x + 26 if logarithmic and c.mean <= 0 else x(c.mean), y(arm.row.success.mean))
        for arm, c in arms
    }
    taken = [(Box(px - 8, py - 8, 16, 16), MARK) for px, py in at.values()]
    for arm, cost in arms:
        px, py = at[arm.name]
        interval = arm.row.success
        canvas.line(px, y(interval.low), px, y(interval.high), f"whisker h{arm.hue}")
        taken.append((Box(px - 1.5, y(interval.high), 3, y(interval.low) - y(interval.high)), WHISKER))
        if cost.mean > 0 and cost.high > cost.low:
            canvas.line(x(_low(cost)), py, x(cost.high), py, f"whisker h{arm.hue}")
            taken.append((Box(x(_low(cost)), py - 1.5, x(cost.high) - x(_low(cost)), 3), WHISKER))
    for arm, cost in arms:
        canvas.add(_titled(marker(*at[arm.name], arm.hue), _says(arm, cost)))
    bounds = Box(frame.x, frame.y - 12, frame.w + 14, frame.h + 12)
    for arm, _ in arms:
        px, py = at[arm.name]
        size, css = (13, "label") if width > 500 else (12, "label small")
        box = place(px, py, text_width(arm.name, size), 15, taken, bounds)
        taken.append((box, LABEL))
        near = Box(box.x - 16, box.y - 14, box.w + 32, box.h + 28)
        if not near.overlap(Box(px, py, 0.1, 0.1)):
            canvas.line(px, py, min(max(px, box.x), box.x + box.w), box.y + box.h / 2, f"leader h{arm.hue}")
        # Anchored at its mark: where a font is wider than guessed, the text grows away from the mark.
        anchor, tx = ("end", box.x + box.w) if box.x + box.w <= px else ("start", box.x)
        canvas.text(tx, box.y + 12, arm.name, f"{css} h{arm.hue}", anchor)
    return canvas.svg()


def _low(interval: Interval) -> float:
    """The lower bound, kept within sight of a logarithmic axis."""
    return max(interval.low, interval.mean / 10)


def _says(arm: ArmFacts, cost: Interval) -> str:
    success = percent_interval(arm.row.success)
    return f"{arm.name}: success {success}, {money_interval(cost)} per episode, n = {arm.row.scored}"


def _titled(mark: str, title: str) -> str:
    return f"<g><title>{escape(clean(title))}</title>{mark}</g>"


# --- learning curves --------------------------------------------------------------------------------------------------


def success_curve(curves: Sequence[Curve], teacher: ArmFacts | None, width: int, height: int) -> str:
    """Success against the number of demonstrations, with interval bands and the teacher's level."""
    return _curve(curves, teacher, width, height, "success", lambda arm: arm.row.success if arm.row.scored else None)


def cost_curve(curves: Sequence[Curve], teacher: ArmFacts | None, width: int, height: int) -> str:
    """Dollars per episode against the number of demonstrations."""
    return _curve(curves, teacher, width, height, "dollars per episode", lambda arm: arm.dollars)


def share_curve(curves: Sequence[Curve], width: int, height: int) -> str:
    """The teacher's share of steps against the number of demonstrations, of the policies that ask it."""
    asking = [c for c in curves if any(p.arm.teacher_share.mean > 0 for p in c.points)]
    return _curve(asking, None, width, height, "steps by the teacher", lambda arm: arm.teacher_share)


def _curve(curves: Sequence[Curve], teacher: ArmFacts | None, width: int, height: int, name: str, value: Value) -> str:
    every = [(c.name, c.hue, [(p.demos, v) for p in c.points if (v := value(p.arm)) is not None]) for c in curves]
    lines = [(label, hue, points) for label, hue, points in every if points]
    level = value(teacher) if teacher else None
    frame = Box(
        60, 34, width - 60 - _margin([label for label, _, _ in lines] + (["teacher"] if level else [])), height - 84
    )
    canvas = Canvas(width, height, frame, f"{name} as demonstrations grow")
    dollars = name.startswith("dollars")
    say = cents if dollars else whole
    everything = [v for _, _, points in lines for _, v in points] + ([level] if level else [])
    y = _height(everything, dollars, frame)
    canvas.y_axis(y, log_ticks(y.low, y.high) if y.kind == "log" else ticks(y.low, y.high), _named(name, y.kind), say)
    counts = sorted({demos for _, _, points in lines for demos, _ in points})
    positive = [n for n in counts if n] or [1]
    spaced: Kind = "log1p" if positive[-1] > 6 * positive[0] else "linear"
    x = Scale(
        counts[0] if counts else 0, max(counts[-1] if counts else 1, 1), frame.x + 6, frame.x + frame.w - 6, spaced
    )
    canvas.x_axis(x, counts, _named("demonstrations", "log" if spaced == "log1p" else "linear"), lambda n: f"{n:.0f}")
    if teacher and level:
        top, bottom = y(level.high), y(level.low)
        canvas.path(_rectangle(frame.x, top, frame.x + frame.w, bottom), f"band h{teacher.hue}", close=True)
        canvas.line(frame.x, y(level.mean), frame.x + frame.w, y(level.mean), f"reference h{teacher.hue}")
    for _, hue, points in lines:
        band = [(x(n), y(v.high)) for n, v in points] + [(x(n), y(v.low)) for n, v in reversed(points)]
        canvas.path(band, f"band h{hue}", close=True)
    for label, hue, points in lines:
        canvas.path([(x(n), y(v.mean)) for n, v in points], f"curve h{hue}")
        for n, v in points:
            shown = money_interval(v) if dollars else percent_interval(v)
            title = f"{label}, {n} demonstrations: {name} {shown}, n = {v.n}"
            canvas.add(_titled(marker(x(n), y(v.mean), hue, 4.5), title))
    ends = [(label, hue, y(points[-1][1].mean)) for label, hue, points in lines]
    if teacher and level:
        ends.append(("teacher", teacher.hue, y(level.mean)))
    _end_labels(canvas, ends)
    return canvas.svg()


def _height(values: Sequence[Interval], dollars: bool, frame: Box) -> Scale:
    if not dollars:
        top = 1.0 if any(v.mean > 0.5 for v in values) else max([*(v.high for v in values), 0.05]) * 1.1
        return Scale(0.0, min(1.0, top), frame.y + frame.h, frame.y)
    high, means = max([*(v.high for v in values), 1e-9]), [v.mean for v in values]
    if means and min(means) > 0 and max(means) > 10 * min(means):
        return Scale(min(_low(v) for v in values) * 0.8, high * 1.2, frame.y + frame.h, frame.y, "log")
    return Scale(0.0, high * 1.08, frame.y + frame.h, frame.y)


def _named(name: str, kind: Kind) -> str:
    return f"{name} (logarithmic)" if kind == "log" else name


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _margin(labels: Sequence[str]) -> float:
    return 18 + max((text_width(label, 12) for label in labels), default=0.0)


def _end_labels(canvas: Canvas, ends: Sequence[tuple[str, int, float]]) -> None:
    frame = canvas.frame
    placed = spread([at for _, _, at in ends], 15, frame.y, frame.y + frame.h)
    for (label, hue, _), at in zip(ends, placed, strict=True):
        canvas.text(frame.x + frame.w + 8, at + 4, label, f"label small h{hue}")


# --- while it serves --------------------------------------------------------------------------------------------------


def over_time(growth: Growth, width: int, height: int) -> str:
    """The teacher's share, and success, over the episodes of an arm that learns while it serves."""
    count = len(growth.each)
    frame = Box(60, 34, width - 60 - _margin(["teacher acts"]), height - 84)
    canvas = Canvas(width, height, frame, f"The teacher's share over the episodes of {growth.arm}")
    y = Scale(0.0, 1.0, frame.y + frame.h, frame.y)
    x = Scale(1, max(count, 2), frame.x + 6, frame.x + frame.w - 6)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.75, 1.0], "share", whole)
    values = [1.0, *(v for v in ticks(1, count, 6 if width > 500 else 4) if v > 1 and v == int(v))]
    canvas.x_axis(x, values, "episodes served", lambda n: f"{n:.0f}")
    for number, share in enumerate(growth.each, 1):
        mark = f'<circle cx="{x(number):.1f}" cy="{y(share):.1f}" r="3" class="dot h{TEACHER}"/>'
        canvas.add(_titled(mark, f"episode {number}: the teacher took {percent(share)} of the steps"))
    for values_, css in (
        (growth.success, f"dashed h{SUCCESS}"),
        (growth.teacher_share, f"h{TEACHER}"),
    ):
        canvas.path([(x(i), y(v)) for i, v in enumerate(values_, growth.window)], f"curve {css}")
    ends = [("teacher acts", y(growth.teacher_share[-1])), ("success", y(growth.success[-1]))]
    placed = spread([at for _, at in ends], 15, frame.y, frame.y + frame.h)
    for (label, _), at, hue in zip(ends, placed, (TEACHER, SUCCESS), strict=True):
        canvas.text(frame.x + frame.w + 8, at + 4, label, f"label small h{hue}")
    return canvas.svg()
