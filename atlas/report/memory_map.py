"""What the memory of a run has learned, on the page: its families, what its entries earn, and what was turned away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from atlas.figures import money, percent_interval, points_interval
from atlas.memory.map import EntryMap, FamilyMap, MemoryMap
from atlas.report.charts import responsive
from atlas.report.parts import picture
from atlas.report.svg import Box, Canvas, Scale, text_width
from atlas.report.tables import cell, row_head, table, text
from atlas.words import shorten

FAMILIES, ENTRIES = 12, 14
"""Rows that are drawn and listed; the command has all of them."""
_ROW = 24


def section(found: MemoryMap) -> str:
    """The pictures and the tables; empty where the memory holds nothing."""
    if not found.families:
        return ""
    drawn = _tried(found)
    parts = ["<h2>What the memory has learned</h2>", f'<p class="intro">{text(_summary(found))}</p>']
    families = found.families[:FAMILIES]
    parts.append(
        picture(
            responsive(partial(held, families), height=_height(families), narrow=_height(families)),
            "Demonstrations (solid) and entries (outlined) by family of tasks"
            + (
                f"; {len(found.families) - FAMILIES} smaller ones are left out"
                if len(found.families) > FAMILIES
                else ""
            )
            + ".",
        )
    )
    if drawn:
        parts.append(
            picture(
                responsive(partial(worth, drawn), height=_height(drawn), narrow=_height(drawn)),
                "What entries earn: points of reward with it less those without it, with the interval that holds at "
                "every number of trials. Right of the line it helps.",
            )
        )
    parts.append(_families(families))
    parts.append(_entries(found))
    return f"<section>{''.join(parts)}</section>"


def _summary(found: MemoryMap) -> str:
    cost = f"collecting them cost {money(found.collected)}" if found.collected is not None else "their cost is unknown"
    untold = f" (of {found.untold} nobody knows)" if found.untold and found.collected is not None else ""
    return (
        f"{found.demonstrations:,} demonstrations, {cost}{untold}; {found.entries:,} entries. Surely of help: "
        f"{len(found.earns)}; surely not: {len(found.idle)}; not sure yet: {len(found.waits)}; not tried: "
        f"{found.untried}; quarantined: {len(found.turned_away)}."
    )


def _tried(found: MemoryMap) -> list[EntryMap]:
    """Those to draw: what helps, what does not, and of the others the best."""
    shown = [*found.earns[: ENTRIES // 2], *found.idle[: ENTRIES // 4]]
    shown += found.waits[: ENTRIES - len(shown)]
    return sorted(shown, key=lambda one: -one.evidence.reward.mean)


def _height(rows: Sequence[object]) -> int:
    return 70 + _ROW * len(rows)


def held(families: Sequence[FamilyMap], width: int, height: int) -> str:
    """A bar for the demonstrations of each family, and one for its entries."""
    left = min(width * 0.42, max(text_width(_name(family, 28), 11) for family in families) + 12)
    frame = Box(left, 12, width - left - 44, height - 62)
    canvas = Canvas(width, height, frame, "What the memory holds by family of tasks")
    most = max(max(f.demonstrations, _live(f)) for f in families)
    x = Scale(0, max(most, 1), frame.x, frame.x + frame.w)
    canvas.x_axis(x, sorted({0, max(most, 1)}), "how many", lambda value: f"{value:,.0f}")
    for row, family in enumerate(families):
        y = frame.y + _ROW * row
        canvas.text(left - 8, y + 15, _name(family, int(left / 7)), "tick", "end")
        for count, top, css in ((family.demonstrations, y + 3, "map-demos"), (_live(family), y + 12, "map-entries")):
            if count:
                canvas.add(
                    f'<rect x="{frame.x:.1f}" y="{top:.1f}" width="{max(2.0, x(count) - frame.x):.1f}" height="8" '
                    f'class="{css}"><title>{text(family.family)}: {count:,}</title></rect>'
                )
        canvas.text(frame.x + frame.w + 6, y + 15, f"{family.demonstrations} / {_live(family)}", "tick")
    return canvas.svg()


def worth(entries: Sequence[EntryMap], width: int, height: int) -> str:
    """A dot and its interval for each entry, and the line of no effect."""
    left = width * 0.42
    frame = Box(left, 12, width - left - 16, height - 62)
    canvas = Canvas(width, height, frame, "What entries earn, with intervals")
    low = min(-0.1, *(one.evidence.reward.low for one in entries))
    high = max(0.1, *(one.evidence.reward.high for one in entries))
    x = Scale(low, high, frame.x, frame.x + frame.w)
    canvas.x_axis(x, sorted({low, 0.0, high}), "points of reward", lambda value: f"{100 * value:+.0f}")
    canvas.line(x(0), frame.y, x(0), frame.y + frame.h, "axis")
    for row, one in enumerate(entries):
        y, found = frame.y + _ROW * row + 12, one.evidence.reward
        canvas.text(left - 8, y + 4, shorten(one.cue, max(8, int(left / 7.3))), "tick", "end")
        css = "map-helps" if found.low > 0 else "map-idle" if found.high < 0.1 else "map-open"
        canvas.add(
            f'<g class="{css}"><title>{text(one.id[:8])}: {text(points_interval(found))}</title>'
            f'<line x1="{x(found.low):.1f}" y1="{y:.1f}" x2="{x(found.high):.1f}" y2="{y:.1f}"/>'
            f'<circle cx="{x(found.mean):.1f}" cy="{y:.1f}" r="4"/></g>'
        )
    return canvas.svg()


def _live(family: FamilyMap) -> int:
    return family.entries.get("admitted", 0) + family.entries.get("trial", 0)


def _name(family: FamilyMap, width: int) -> str:
    return shorten(family.family if family.named else f"like: {family.family}", max(8, width))


def _families(families: Sequence[FamilyMap]) -> str:
    head = ("family", "demonstrations", "admitted", "on trial", "quarantined", "past tasks", "success", "collected for")
    rows = [
        [
            row_head(_name(one, 60)),
            cell(f"{one.demonstrations:,}"),
            *(cell(one.entries.get(status, 0)) for status in ("admitted", "trial", "quarantined")),
            cell(f"{one.episodes:,}"),
            cell(percent_interval(one.success) if one.success is not None else "-"),
            cell(money(one.collected) if one.collected is not None else "-"),
        ]
        for one in families
    ]
    return table(head, rows, texts=("family",))


def _entries(found: MemoryMap) -> str:
    kinds = (
        ("surely helps", found.earns),
        ("surely gains less than 10 points", found.idle),
        ("not sure yet", found.waits),
        ("quarantined", found.turned_away),
    )
    rows = [
        [
            row_head(one.id[:8]),
            cell(kind, "text"),
            cell(points_interval(one.evidence.reward) if one.evidence.trials else "-"),
            cell(one.evidence.trials),
            cell(shorten(f"{one.cue}: {one.action}", 120), "text"),
            cell(shorten(one.why, 80), "text"),
        ]
        for kind, entries in kinds
        for one in entries[:ENTRIES]
    ]
    if not rows:
        return ""
    head = ("entry", "what it is worth", "points of reward", "trials", "what it says", "why it was turned away")
    listed = table(head, rows, texts=("entry", "what it is worth", "what it says", "why it was turned away"))
    more = '<p class="note">All of them: <code>atlas memory map MEMORY --json</code>.</p>'
    return f"<details class=rows><summary>Entries, one by one</summary>{listed}{more}</details>"
