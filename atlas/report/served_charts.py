"""The pictures of an agent that serves: success, cost and what was learned, over its episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from atlas.figures import money_interval, percent, percent_interval
from atlas.report.charts import whole
from atlas.report.colours import STUDENT, SUCCESS, TEACHER
from atlas.report.served import Service, Stretch
from atlas.report.svg import Box, Canvas, Scale, cents, spread, text_width, ticks
from atlas.stats import Interval

FAILURE = 4
MOST = 400
"""Episodes that are drawn one by one; more would be a smear."""
LABELS = {"dropped": "dropped", "recovered": "recovered", "helpless": "no better"}


def success_over_time(facts: Service, width: int, height: int) -> str:
    """Success by windows of episodes with its interval, each episode as a tick, and where supervision changed."""
    frame = Box(60, 46, width - 60 - _margin(["success"], width), height - 96)
    canvas = Canvas(width, height, frame, f"Success over the episodes of {facts.arm}")
    y = Scale(0.0, 1.0, frame.y + frame.h - 14, frame.y + 14)
    x = _episodes(facts, canvas)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.75, 1.0], "success", whole)
    _changes(canvas, facts, x)
    for episode in facts.episodes if len(facts.episodes) <= MOST else ():
        if episode.success is not None:
            at, hue = (frame.y + 2, SUCCESS) if episode.success else (frame.y + frame.h - 10, FAILURE)
            said = "succeeded" if episode.success else "failed"
            lane = {"teacher": ", taught", "student": ", the student tried again"}.get(episode.lane, "")
            canvas.add(
                f'<g><title>episode {episode.number}: {said}{lane}</title><rect x="{x(episode.number) - 1:.1f}" '
                f'y="{at:.1f}" width="2" height="8" class="mark plain h{hue}"/></g>'
            )
    points = [(w, w.success) for w in facts.windows if w.scored]
    _line(canvas, points, x, y, SUCCESS, lambda w, v: f"success {percent_interval(v)}, n = {w.scored}")
    if points:
        _ends(canvas, [("success", SUCCESS, y(points[-1][1].mean))])
    return canvas.svg()


def cost_over_time(facts: Service, width: int, height: int) -> str:
    """Dollars per episode by windows, beside what the teacher alone would have cost."""
    name = "teacher alone"
    frame = Box(66, 46, width - 66 - _margin(["agent", name], width), height - 96)
    canvas = Canvas(width, height, frame, f"Cost over the episodes of {facts.arm}")
    agent = [(w, w.dollars) for w in facts.windows if w.dollars is not None]
    alone = [(w, w.alone) for w in facts.windows if w.alone is not None] if facts.taught else []
    top = max([v.high for _, v in (*agent, *alone)], default=0.0) * 1.08 or 1e-6
    y = Scale(0.0, top, frame.y + frame.h, frame.y)
    x = _episodes(facts, canvas)
    canvas.y_axis(y, ticks(0.0, top), "dollars per episode", cents)
    _changes(canvas, facts, x)
    _line(canvas, alone, x, y, TEACHER, lambda w, v: f"the teacher alone, estimated: {money_interval(v)}", dashed=True)
    _line(canvas, agent, x, y, STUDENT, lambda w, v: f"{money_interval(v)} an episode")
    ends = [("agent", STUDENT, y(agent[-1][1].mean))] if agent else []
    _ends(canvas, [*ends, *([(name, TEACHER, y(alone[-1][1].mean))] if alone else [])])
    return canvas.svg()


def teacher_over_time(facts: Service, width: int, height: int) -> str:
    """The teacher's share of steps by windows, and the demonstrations learned so far."""
    names = ["teacher acts", "learned"]
    frame = Box(60, 46, width - 60 - _margin(names, width), height - 96)
    canvas = Canvas(width, height, frame, f"The teacher's share and what was learned over the episodes of {facts.arm}")
    y = Scale(0.0, 1.0, frame.y + frame.h, frame.y)
    x = _episodes(facts, canvas)
    canvas.y_axis(y, [0, 0.25, 0.5, 0.75, 1.0], "steps by the teacher", whole)
    _changes(canvas, facts, x)
    canvas.path([(x(_middle(w)), y(w.teacher_share)) for w in facts.windows], f"curve h{TEACHER}")
    for w in facts.windows:
        _dot(canvas, x(_middle(w)), y(w.teacher_share), TEACHER, f"{_which(w)}: {percent(w.teacher_share)}")
    ends = [("teacher acts", TEACHER, y(facts.windows[-1].teacher_share))]
    if facts.demonstrations:
        so_far, path = 0, [(x(1), y(0.0))]
        for episode in facts.episodes:
            path.append((x(episode.number), y(so_far / facts.demonstrations)))
            so_far += episode.learned
            path.append((x(episode.number), y(so_far / facts.demonstrations)))
        canvas.path(path, "curve dashed h6")
        ends.append((f"{facts.demonstrations} learned", 6, y(1.0)))
    _ends(canvas, ends)
    return canvas.svg()


# --- parts ------------------------------------------------------------------------------------------------------------


def _episodes(facts: Service, canvas: Canvas) -> Scale:
    frame, count = canvas.frame, len(facts.episodes)
    x = Scale(1, max(count, 2), frame.x + 8, frame.x + frame.w - 8)
    values = [1.0, *(v for v in ticks(1, count, 7 if canvas.width > 500 else 4) if v > 1 and v == int(v))]
    canvas.x_axis(x, values, "episodes, in the order of their start", lambda n: f"{n:.0f}")
    return x


def _changes(canvas: Canvas, facts: Service, x: Scale) -> None:
    """A line after each episode at which supervision changed, with a word where there is room."""
    numbers = {episode.id: episode.number for episode in facts.episodes}
    free = canvas.frame.x
    for event in facts.changes:
        if event.episode not in numbers:
            continue
        at = x(numbers[event.episode] + 0.5)
        canvas.line(at, canvas.frame.y - 6, at, canvas.frame.y + canvas.frame.h, "break strong")
        word = LABELS[event.change.turned]
        left = at - text_width(word, 11) / 2
        if left >= free:
            canvas.text(at, canvas.frame.y - 12, word, "tick", "middle")
            free = at + text_width(word, 11) / 2 + 4


def _line(
    canvas: Canvas,
    points: Sequence[tuple[Stretch, Interval]],
    x: Scale,
    y: Scale,
    hue: int,
    say: Callable[[Stretch, Interval], str],
    *,
    dashed: bool = False,
) -> None:
    if not points:
        return
    at = [x(_middle(w)) for w, _ in points]
    if len(points) == 1:
        # One window has a width of its own, so that its interval is seen.
        only = points[0][0]
        at = [x(only.first), x(only.last)]
        points = [points[0], points[0]]
    band = [(px, y(v.high)) for px, (_, v) in zip(at, points, strict=True)]
    band += [(px, y(v.low)) for px, (_, v) in reversed(list(zip(at, points, strict=True)))]
    canvas.path(band, f"band h{hue}", close=True)
    canvas.path([(px, y(v.mean)) for px, (_, v) in zip(at, points, strict=True)], _css(hue, dashed))
    for px, (w, v) in zip(at, points, strict=True):
        _dot(canvas, px, y(v.mean), hue, f"{_which(w)}: {say(w, v)}")


def _css(hue: int, dashed: bool) -> str:
    return f"curve dashed h{hue}" if dashed else f"curve h{hue}"


def _dot(canvas: Canvas, x: float, y: float, hue: int, title: str) -> None:
    canvas.add(f'<g><title>{escape(title)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="mark h{hue}"/></g>')


def _middle(w: Stretch) -> float:
    return (w.first + w.last) / 2


def _which(w: Stretch) -> str:
    return f"episodes {w.first} to {w.last}"


def _margin(labels: Sequence[str], width: int) -> float:
    size = 12 if width > 500 else 11
    return 18 + max(text_width(label, size) for label in labels)


def _ends(canvas: Canvas, ends: Sequence[tuple[str, int, float]]) -> None:
    frame = canvas.frame
    placed = spread([at for _, _, at in ends], 15, frame.y, frame.y + frame.h)
    for (label, hue, _), at in zip(ends, placed, strict=True):
        canvas.text(frame.x + frame.w + 8, at + 4, label, f"label small h{hue}")
