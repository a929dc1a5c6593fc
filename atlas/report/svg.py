"""The few pieces of SVG that the charts are made of: scales, axes, marks, labels that keep clear of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from atlas.figures import money
from atlas.words import clean

Kind = Literal["linear", "log", "log1p"]


@dataclass(frozen=True)
class Scale:
    """Maps ``low..high`` to pixels ``begin..end``."""

    low: float
    high: float
    begin: float
    end: float
    kind: Kind = "linear"

    def __call__(self, value: float) -> float:
        low, high, at = map(self._flat, (self.low, self.high, max(value, self.low)))
        return self.begin + (at - low) / ((high - low) or 1.0) * (self.end - self.begin)

    def _flat(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(max(value, 1e-12))
        return math.log1p(value) if self.kind == "log1p" else value


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between ``low`` and ``high``, about ``count`` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def cents(value: float) -> str:
    """Dollars for axes, without idle zeros."""
    text = money(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Values 1, 2, 5 times powers of ten between ``low`` and ``high``; fewer where that is too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**p for p in powers for m in multiples if low * 0.999 <= m * 10.0**p <= high * 1.001]
        if len(found) <= most:
            return found
    return found


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    w: float
    h: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        w = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        h = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        return w * h if w > 0 and h > 0 else 0.0


@dataclass
class Canvas:
    """Collects the elements of one chart. ``frame`` is the plotting area."""

    width: int
    height: int
    frame: Box
    title: str
    parts: list[str] = field(default_factory=list)

    def add(self, part: str) -> None:
        self.parts.append(part)

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start", extra: str = "") -> None:
        """Text at (x, y); whatever it holds, it is escaped."""
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}"{extra}>{escape(clean(text))}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self.add(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>')

    def path(self, points: Iterable[tuple[float, float]], css: str, close: bool = False) -> None:
        data = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add(f'<path d="M{data}{"Z" if close else ""}" class="{css}"/>')

    def x_axis(self, scale: Scale, values: Iterable[float], name: str, say: Callable[[float], str]) -> None:
        """Ticks below the frame, skipping labels that would touch, and the axis' name."""
        bottom = self.frame.y + self.frame.h
        free = -math.inf
        for value in values:
            x, text = scale(value), say(value)
            self.line(x, bottom, x, bottom + 4, "axis")
            if x - text_width(text, 11) / 2 > free:
                self.text(x, bottom + 17, text, "tick", "middle")
                free = x + text_width(text, 11) / 2 + 6
        self.line(self.frame.x, bottom, self.frame.x + self.frame.w, bottom, "axis")
        self.text(self.frame.x + self.frame.w / 2, bottom + 36, name, "axis-name", "middle")

    def y_axis(self, scale: Scale, values: Iterable[float], name: str, say: Callable[[float], str]) -> None:
        """Grid lines with labels at their left, and the axis' name above the frame."""
        for value in values:
            y = scale(value)
            self.line(self.frame.x, y, self.frame.x + self.frame.w, y, "grid")
            self.text(self.frame.x - 8, y + 4, say(value), "tick", "end")
        self.text(self.frame.x - 36, self.frame.y - 14, name, "axis-name")

    def svg(self) -> str:
        """The chart as one ``<svg>`` element."""
        label = escape(clean(self.title), quote=True)
        head = f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">'
        return head + "".join(self.parts) + "</svg>"


def text_width(text: str, size: float) -> float:
    """About how wide ``text`` is: fonts differ, so a generous guess."""
    return 0.66 * size * len(text)


def marker(x: float, y: float, slot: int, radius: float = 6.0) -> str:
    """A mark whose shape tells the slots apart without colour."""
    r = radius
    shapes: list[Sequence[tuple[float, float]] | None] = [
        None,
        [(-r, -r), (r, -r), (r, r), (-r, r)],
        [(0, -1.35 * r), (1.35 * r, 0), (0, 1.35 * r), (-1.35 * r, 0)],
        [(0, -1.3 * r), (1.2 * r, 0.9 * r), (-1.2 * r, 0.9 * r)],
        [(0, 1.3 * r), (1.2 * r, -0.9 * r), (-1.2 * r, -0.9 * r)],
    ]
    shape = shapes[slot % len(shapes)]
    if shape is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" class="mark h{slot}"/>'
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shape)
    return f'<polygon points="{points}" class="mark h{slot}"/>'


def place(x: float, y: float, w: float, h: float, taken: Sequence[tuple[Box, float]], frame: Box) -> Box:
    """Where a label of size ``w`` by ``h`` for the point (x, y) covers least of what is ``taken``, near the point.

    ``taken`` says of each box how bad it is to cover it.
    """
    options = [
        Box(x + dx if side > 0 else x - w / 2 if side == 0 else x - dx - w, y + dy - h / 2, w, h)
        for reach in (0.0, 14.0, 28.0, 44.0, 60.0)
        for side, dx, dy in (
            (1, 11 + reach / 2, -reach),
            (-1, 11 + reach / 2, -reach),
            (1, 11 + reach / 2, 12 + reach),
            (1, 11 + reach / 2, -12 - reach),
            (-1, 11 + reach / 2, 12 + reach),
            (-1, 11 + reach / 2, -12 - reach),
            (0, 0, -18 - reach),
            (0, 0, 19 + reach),
        )
    ]

    def cost(numbered: tuple[int, Box]) -> float:
        number, box = numbered
        return (
            sum(weight * box.overlap(other) for other, weight in taken)
            + 4 * (w * h - box.overlap(frame))
            + 2.0 * number
        )

    return min(enumerate(options), key=cost)[1]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near ``wanted``, at least ``gap`` apart where there is room, between ``low`` and ``high``."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: dict[int, float] = {}
    at = low - gap
    for i in order:
        at = placed[i] = max(wanted[i], at + gap)
    at = high + gap
    for i in reversed(order):
        at = placed[i] = min(placed[i], at - gap)
    return [placed[i] for i in range(len(wanted))]
