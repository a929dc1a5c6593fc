"""The report's tables, as HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from atlas.figures import money, money_interval, p_value, percent, percent_interval, points_interval
from atlas.policies.probe import LANES
from atlas.records import Spend
from atlas.report.facts import Facts
from atlas.report.supervision import Block, Supervision, block_name, block_success, mean_asked, mean_dollars
from atlas.stats import Interval
from atlas.traces.account import ArmRow, Pair
from atlas.traces.events import Supervised
from atlas.words import acts, clean, count_of, count_tokens, dollars, pays_off, pruned


def text(value: object) -> str:
    """Foreign text as HTML."""
    return escape(clean(str(value)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Collection[str] = ()) -> str:
    """A table that scrolls sideways where the screen is narrow. Cells are HTML already; the columns named in ``texts``
    hold text, and not figures."""
    columns = "".join(f"<th scope=col{' class=text' if name in texts else ''}>{text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def cell(value: object, css: str = "") -> str:
    return f'<td class="{css}">{text(value)}</td>' if css else f"<td>{text(value)}</td>"


def row_head(name: str, hue: int | None = None) -> str:
    return f"<th scope=row{'' if hue is None else f' class=h{hue}'}>{text(name)}</th>"


def arms(rows: Sequence[ArmRow], hues: Mapping[str, int]) -> str:
    """A row per arm, in its colour."""
    head = ["arm", "success [95 %]", "n", "teacher acts", "$ / episode", "tokens / episode", "steps", "errors"]
    return table(head, (_arm(row, hues[row.arm]) for row in rows))


def _arm(row: ArmRow, hue: int) -> list[str]:
    return [
        row_head(row.arm, hue),
        f"<td>{text(percent_interval(row.success))}{_bar(row.success, hue)}</td>",
        cell(count_of(row)),
        cell(acts(row)),
        cell(dollars(row.usage, row.episodes)),
        cell(count_tokens(row.usage.tokens / row.episodes, row.usage)),
        cell(f"{row.steps:.1f}"),
        cell(row.errors),
    ]


def _bar(interval: Interval, hue: int) -> str:
    """The interval drawn small, for comparing rows at a glance."""
    low, high, mean = 90 * interval.low, 90 * interval.high, 90 * interval.mean
    return (
        f'<svg class="bar h{hue}" viewBox="0 0 90 8" aria-hidden="true"><rect y="3" width="90" height="2" rx="1"/>'
        f'<rect class="span" x="{low:.1f}" y="1" width="{high - low:.1f}" height="6" rx="3"/>'
        f'<rect class="mean" x="{min(max(mean - 1.5, 0), 87):.1f}" width="3" height="8" rx="1"/></svg>'
    )


def pairs(rows: Sequence[Pair]) -> str:
    """Differences on the same tasks."""
    head = ["first vs second", "tasks", "success, points [95 %]", "$ / episode [95 %]", "won by one only", "p"]
    return table(
        head,
        (
            [
                row_head(f"{row.first} vs {row.second}"),
                cell(row.tasks),
                cell(points_interval(row.success)),
                cell(money_interval(row.dollars)),
                cell(f"{row.only_first} : {row.only_second}"),
                cell(p_value(row.p)),
            ]
            for row in rows
        ),
    )


def spend(rows: Iterable[tuple[str, Spend]], hues: Mapping[str, int]) -> str:
    """What each actor of each arm used; what few runs have takes no room in the others."""
    shown = list(rows)
    written = any(s.usage.cache_write_tokens for _, s in shown)
    reasoned = any(s.usage.reasoning_tokens for _, s in shown)
    saved = any(s.usage.saved for _, s in shown)
    head = ["arm", "actor", "model", "calls", "prompt tokens", "of them cached", *["written to the cache"] * written]
    head += ["completion tokens", *["of them reasoning"] * reasoned, "dollars", *["saved by the cache"] * saved]
    return table(
        head,
        (
            [
                row_head(arm, hues[arm]),
                cell(s.actor),
                cell(s.model, "text"),
                cell(f"{s.usage.calls:,}"),
                cell(count_tokens(s.usage.prompt_tokens, s.usage)),
                cell(count_tokens(s.usage.cached_tokens, s.usage)),
                *[cell(count_tokens(s.usage.cache_write_tokens, s.usage))] * written,
                cell(count_tokens(s.usage.completion_tokens, s.usage)),
                *[cell(count_tokens(s.usage.reasoning_tokens, s.usage))] * reasoned,
                cell(dollars(s.usage)),
                *[cell(money(s.usage.saved))] * saved,
            ]
            for arm, s in shown
        ),
        texts=("model",),
    )


def changes(rows: Sequence[Supervised]) -> str:
    """When supervision changed, and why."""
    cells = ([row_head(event.arm), cell(moment(event.time)), cell(event.said, "wrap")] for event in rows)
    return table(["arm", "supervision changed", "why"], cells, texts=("why",))


def moment(time: float) -> str:
    """A Unix time as people write it."""
    return datetime.fromtimestamp(time, UTC).strftime("%d %b %Y, %H:%M")


def break_even(facts: Facts) -> str:
    """When the demonstrations have paid off."""
    head = ["arm", "demonstrations cost", "saved / episode", "pays off after"]
    return table(
        head,
        (
            [row_head(row.arm), cell(money(row.demo_dollars)), cell(money(row.saving)), cell(pays_off(row))]
            for row in facts.break_even
        ),
    )


def lost(facts: Facts) -> str:
    """The steps that the trace does not have any more, and what was taken out of it, where there is such."""
    said = facts.lost.said()
    steps = f'<p class="note"><b>The trace has lost steps.</b> {text(said[:1].upper() + said[1:])}.</p>' if said else ""
    return steps + (f'<p class="note">{text(pruned(facts.pruned))}.</p>' if facts.pruned else "")


def about(facts: Facts) -> str:
    """The run's settings, whatever they are."""
    rows = [*_flat("", facts.about), ("run", facts.run), ("atlas", facts.version)]
    return table(["", ""], ([row_head(name), cell(value, "wrap")] for name, value in rows))


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _flat(f"{name}.{key}" if name else str(key), inner)]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(map(str, value)))]
    return [(name, str(value))]


def blocks_table(facts: Supervision) -> str:
    """A row per block: lanes, success, dollars, and how the teacher's calls fell from its first third to its last."""
    thirds = "first to last third"
    head = ["tasks", "n", *LANES, "success [95 %]", "$ / episode", f"$, {thirds}", f"calls, {thirds}"]
    return table(head, (_row(number, block) for number, block in enumerate(facts.blocks, 1)))


def stated_table(facts: Supervision) -> str:
    """Chances that the probe stated, against what happened; nothing where it stated none."""
    if not facts.stated:
        return ""
    head = ["stated that the student succeeds by itself", "episodes", "mean stated", "happened [95 %]"]
    rows = (
        [
            row_head(f"{percent(one.low)} to {percent(one.high)}"),
            cell(one.happened.n),
            cell(percent(one.stated)),
            cell(percent_interval(one.happened)),
        ]
        for one in facts.stated
    )
    return table(head, rows)


def _row(number: int, block: Block) -> list[str]:
    first, last = block.part(0), block.part(2)
    return [
        row_head(block_name(number, block)),
        cell(len(block.episodes)),
        *(cell(sum(e.lane == lane for e in block.episodes)) for lane in LANES),
        cell(percent_interval(block_success(block))),
        cell(money(mean_dollars(block.episodes))),
        cell(f"{money(mean_dollars(first))} to {money(mean_dollars(last))}"),
        cell(f"{percent(mean_asked(first))} to {percent(mean_asked(last))}"),
    ]
