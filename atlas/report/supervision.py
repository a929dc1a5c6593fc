"""How closely a run was supervised, episode by episode: lanes, what they cost, and how it went, by task family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from atlas.chances.foreseen import Bin, Stated, reliability
from atlas.figures import money, percent
from atlas.policies.probe import LANES
from atlas.records import Episode, Record, total
from atlas.report.svg import Box, Canvas, Scale, cents, text_width, ticks
from atlas.stats import Interval, wilson
from atlas.traces.account import asked

WINDOW = 7
"""Episodes over which lines are averaged, within a block."""
HUES = {"auto": 2, "paired": 0, "coach": 3}


class Served(Record):
    """One episode of an arm that chooses lanes."""

    number: int
    """From 1, in the order served."""
    lane: str
    asked: float
    """Calls of the teacher (for a step, or for a review) per step."""
    success: bool | None
    dollars: float | None


class Block(Record):
    """Consecutive episodes of one task family."""

    family: str
    episodes: tuple[Served, ...]

    def part(self, third: int) -> tuple[Served, ...]:
        """The first (0), middle (1) or last (2) third."""
        n = len(self.episodes)
        return self.episodes[third * n // 3 : (third + 1) * n // 3]


class Supervision(Record):
    """One arm that chose lanes."""

    arm: str
    blocks: tuple[Block, ...]
    stated: tuple[Bin, ...] = ()
    """Chances that the probe stated, against how the student then did by itself."""

    @property
    def episodes(self) -> list[Served]:
        return [episode for block in self.blocks for episode in block.episodes]


def supervision(arm: str, episodes: Sequence[Episode], stated: Sequence[Stated] = ()) -> Supervision | None:
    """What the ``episodes`` of ``arm``, in order of their start, say of it; None where no lane was chosen by task.
    ``stated`` are the chances that its probe stated."""
    if not any(episode.lane in LANES for episode in episodes):
        return None
    served = [
        Served(
            number=number,
            lane=episode.lane,
            asked=asked(episode) / max(1, episode.steps),
            success=episode.success,
            dollars=total(episode.spend).dollars,
        )
        for number, episode in enumerate(episodes, 1)
    ]
    pairs = zip(episodes, served, strict=True)
    blocks = [
        Block(family=family, episodes=tuple(row for _, row in group))
        for family, group in groupby(pairs, key=lambda pair: pair[0].task.family)
    ]
    return Supervision(arm=arm, blocks=tuple(blocks), stated=reliability(stated))


# --- the picture ------------------------------------------------------------------------------------------------------


def lanes_chart(facts: Supervision, width: int, height: int) -> str:
    """A strip of lanes (a cross is a failure) over the teacher's calls per step and the dollars per episode."""
    served = facts.episodes
    frame = Box(66, 40, width - 66 - (24 if width > 500 else 8), height - 84)
    canvas = Canvas(width, height, frame, f"Supervision over the episodes of {facts.arm}")
    x = Scale(1, max(len(served), 2), frame.x + 8, frame.x + frame.w - 8)
    strip = Box(frame.x, frame.y, frame.w, 20.0 * len(LANES))
    rows = {lane: strip.y + 10 + 20 * place for place, lane in enumerate(reversed(LANES))}
    for lane, y in rows.items():
        canvas.text(frame.x - 8, y + 4, lane, f"tick h{HUES[lane]}", "end")
    gap = 34.0
    share = (frame.h - strip.h - 2 * gap) / 2
    upper = Box(frame.x, strip.y + strip.h + gap, frame.w, share)
    lower = Box(frame.x, upper.y + share + gap, frame.w, share)
    _blocks(canvas, facts, x, frame)
    for episode in served:
        if episode.lane in rows:
            canvas.add(_mark(x(episode.number), rows[episode.lane], episode))
    _panel(canvas, facts, upper, x, "teacher's calls per step", 1.0, percent, lambda e: e.asked, 3)
    if all(e.dollars is not None for e in served):
        highest = max(mean for block in facts.blocks for mean in _moving(block, lambda e: e.dollars))
        top = 1.05 * max(highest, 1e-9)
        _panel(canvas, facts, lower, x, "dollars per episode", top, cents, lambda e: e.dollars, 1)
    values = [1.0, *(v for v in ticks(1, len(served), 8 if width > 500 else 4) if v > 1 and v == int(v))]
    canvas.frame = lower
    canvas.x_axis(x, values, "episodes served", lambda n: f"{n:.0f}")
    return canvas.svg()


def _blocks(canvas: Canvas, facts: Supervision, x: Scale, frame: Box) -> None:
    """Where a family begins: its number, and its name where there is room for all of them."""
    starts = [block.episodes[0].number for block in facts.blocks]
    ends = [*starts[1:], len(facts.episodes) + 1]
    lefts = [x(start - 0.5) if start > 1 else frame.x for start in starts]
    names = [block_name(number, block) for number, block in enumerate(facts.blocks, 1)]
    rooms = [x(end - 0.5) - left for left, end in zip(lefts, ends, strict=True)]
    whole = all(text_width(name, 9.5) <= room for name, room in zip(names, rooms, strict=True))
    for number, (left, name) in enumerate(zip(lefts, names, strict=True), 1):
        if number > 1:
            canvas.line(left, frame.y - 12, left, frame.y + frame.h, "break")
        canvas.text(left + 3, frame.y - 14, name if whole else f"{number}.", "tick")


def block_name(number: int, block: Block) -> str:
    """A block as the picture and the table call it."""
    return f"{number}. {block.family.replace('_', ' ')}".strip()


def _mark(x: float, y: float, episode: Served) -> str:
    hue = f"h{HUES[episode.lane]}"
    told = {True: "succeeded", False: "failed", None: "not scored"}[episode.success]
    cost = money(episode.dollars)
    title = f"<title>episode {episode.number}: {episode.lane}, {told}, {cost}</title>"
    if episode.success is False:
        cross = f"M{x - 3:.1f} {y - 4:.1f}L{x + 3:.1f} {y + 4:.1f}M{x + 3:.1f} {y - 4:.1f}L{x - 3:.1f} {y + 4:.1f}"
        return f'<g>{title}<path d="{cross}" class="curve h4"/></g>'
    return f'<g>{title}<rect x="{x - 1.3:.1f}" y="{y - 6:.1f}" width="2.6" height="12" class="mark {hue}"/></g>'


def _panel(
    canvas: Canvas,
    facts: Supervision,
    box: Box,
    x: Scale,
    name: str,
    top: float,
    say: Callable[[float], str],
    value: Callable[[Served], float | None],
    hue: int,
) -> None:
    """A line per block: it breaks where the family changes."""
    y = Scale(0.0, top, box.y + box.h, box.y)
    canvas.frame = box
    canvas.y_axis(y, ticks(0.0, top, 3), name, say)
    for block in facts.blocks:
        line = [(x(block.episodes[i].number), y(min(mean, top))) for i, mean in enumerate(_moving(block, value))]
        canvas.path(line, f"curve h{hue}")


def _moving(block: Block, value: Callable[[Served], float | None]) -> list[float]:
    """The mean over the last ``WINDOW`` episodes of the block, from its first one on."""
    values = [value(episode) or 0.0 for episode in block.episodes]
    recent = [values[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in recent]


def block_success(block: Block) -> Interval:
    scored = [e.success for e in block.episodes if e.success is not None]
    return wilson(sum(scored), len(scored))


def mean_dollars(episodes: Sequence[Served]) -> float | None:
    """Dollars per episode; None where a price is not known or there is no episode."""
    known = [e.dollars for e in episodes if e.dollars is not None]
    return sum(known) / len(known) if known and len(known) == len(episodes) else None


def mean_asked(episodes: Sequence[Served]) -> float:
    """The teacher's calls per step, a mean over episodes."""
    return sum(e.asked for e in episodes) / len(episodes) if episodes else 0.0
