"""Tables that several commands print: arms, pairs, spend, break-even.

Whatever a model or an environment wrote goes through :func:`plain`: it is shown as text, never obeyed as a terminal
escape or as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from atlas.figures import UNPRICED, money, money_interval, p_value, percent, percent_interval, points_interval
from atlas.words import acts, clean, count_of, count_tokens, dollars, pays_off, shorten

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from atlas.records import Spend
    from atlas.traces.account import ArmRow, BreakEven, Pair
    from atlas.traces.rewards import RewardRow

__all__ = [
    "UNPRICED",
    "arms_table",
    "break_even_table",
    "clean",
    "console",
    "money",
    "pairs_table",
    "percent",
    "percent_interval",
    "plain",
    "points_interval",
    "rewards_table",
    "shorten",
    "spend_table",
]


def plain(text: str, style: str = "") -> Text:
    """Untrusted text for a terminal: cleaned, and taken literally where rich would read markup."""
    from rich.text import Text

    return Text(clean(text), style=style)


def arms_table(rows: Sequence[ArmRow], *, planned: Mapping[str, int] | None = None, title: str | None = None) -> Table:
    """A row per arm. ``planned`` is how many episodes each arm will have, while a run goes on."""
    table = _table(title)
    _name(table, "arm", "bold")
    _figures(table, "success [95 %]", "n", "teacher\nacts", "$ /\nepisode", "tokens /\nepisode", "steps", "errors")
    for row in rows:
        per_episode = row.usage.tokens / row.episodes if row.episodes else 0.0
        table.add_row(
            plain(row.arm),
            percent_interval(row.success),
            count_of(row, (planned or {}).get(row.arm)),
            acts(row),
            dollars(row.usage, row.episodes),
            count_tokens(per_episode, row.usage),
            f"{row.steps:.1f}",
            plain(str(row.errors), "red" if row.errors else ""),
        )
    return table


def pairs_table(pairs: Sequence[Pair], *, title: str | None = None) -> Table:
    """A row per comparison, paired by task: first minus second. ``won alone``: tasks that only one of them won, first
    and second."""
    table = _table(title)
    _name(table, "first - second", "bold")
    _figures(table, "tasks")
    for name in ("points\n[95 %]", "$ / episode\n[95 %]"):
        table.add_column(name, justify="right")  # on a narrow terminal an interval goes below its middle
    _figures(table, "won\nalone", "McNemar\np")
    for pair in pairs:
        clear = pair.tasks > 0 and pair.p <= 0.05 and (pair.success.low > 0 or pair.success.high < 0)
        table.add_row(
            plain(f"{pair.first} - {pair.second}"),
            str(pair.tasks),
            plain(points_interval(pair.success), "bold" if clear else ""),
            money_interval(pair.dollars),
            f"{pair.only_first} : {pair.only_second}",
            p_value(pair.p),
        )
    return table


def rewards_table(rows: Sequence[RewardRow], *, title: str | None = None) -> Table:
    """A row per arm and judge: how often both say the same, and judged minus true reward."""
    table = _table(title)
    _name(table, "arm", "bold")
    _name(table, "judge")
    _figures(table, "n", "no\nverdict", "to the\narbiter")
    for name in ("agree\n[95 %]", "judged - true\n[95 %]"):
        table.add_column(name, justify="right")
    for row in rows:
        gap = row.difference
        table.add_row(
            plain(row.arm),
            plain(row.judge),
            str(row.n),
            str(row.missing),
            f"{percent(row.asked)}",
            percent_interval(row.agreement) if row.n else "-",
            f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" if row.n else "-",
        )
    return table


def spend_table(rows: Sequence[tuple[str, Spend]], *, title: str | None = None) -> Table:
    """A row per (arm, actor, model)."""
    table = _table(title)
    _name(table, "arm", "bold")
    _name(table, "actor")
    _name(table, "model")
    # What few runs have takes no room in the others.
    written = any(spend.usage.cache_write_tokens for _, spend in rows)
    reasoned = any(spend.usage.reasoning_tokens for _, spend in rows)
    saved = any(spend.usage.saved for _, spend in rows)
    _figures(table, "calls", "prompt\ntokens", "cached", *["written"] * written, "compl.\ntokens")
    _figures(table, *["reason-\ning"] * reasoned, "dollars", *["saved by\nthe cache"] * saved)
    previous = None
    for arm, spend in rows:
        usage = spend.usage
        table.add_row(
            plain(arm if arm != previous else ""),
            plain(spend.actor),
            plain(spend.model),
            f"{usage.calls:,}",
            *(count_tokens(n, usage) for n in (usage.prompt_tokens, usage.cached_tokens)),
            *[count_tokens(usage.cache_write_tokens, usage)] * written,
            count_tokens(usage.completion_tokens, usage),
            *[count_tokens(usage.reasoning_tokens, usage)] * reasoned,
            dollars(usage),
            *[money(usage.saved)] * saved,
        )
        previous = arm
    return table


def break_even_table(rows: Sequence[BreakEven], *, title: str | None = None) -> Table:
    """When collecting demonstrations has paid off, per arm that uses them."""
    table = _table(title)
    table.add_column("arm", style="bold", no_wrap=True)
    for name in ("demonstrations cost", "saved/episode", "pays off after"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(plain(row.arm), money(row.demo_dollars), money(row.saving), pays_off(row))
    return table


def console(stderr: bool = False) -> Console:
    """A console that keeps to what it is given: no emoji codes, no guessed highlights, wide enough when piped."""
    import shutil

    width = None if shutil.get_terminal_size((0, 0)).columns else 120
    return _whole()(stderr=stderr, highlight=False, emoji=False, width=width)


NAMES = 12
"""Columns of a terminal that a column of names has at the least, or as many as the longest of them takes."""


@cache
def _whole() -> type[Console]:
    """Consoles that cut no figure: what does not fit beside it goes beyond their width, as the lines of a file may."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    class Whole(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            for table in objects:
                if isinstance(table, Table):
                    self._keep_whole(table)
                    options.setdefault("crop", False)
            super().print(*objects, **options)

        def _keep_whole(self, table: Table) -> None:
            # Or rich takes from all columns alike, and a figure is cut beside a text that could wrap.
            endless = self.options.update(max_width=100_000)
            for column in table.columns:
                sizes = [Measurement.get(self, endless, cell) for cell in (column.header, *column.cells)]
                widest = max(size.maximum for size in sizes)
                if column.no_wrap:
                    least = widest
                elif column.overflow == "fold":
                    least = min(NAMES, widest)
                else:
                    least = max(size.minimum for size in sizes)
                column.min_width = max(column.min_width or 0, least)

    return Whole


def _table(title: str | None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title_style="bold",
    )


def _figures(table: Table, *names: str) -> None:
    """Columns of figures: a narrow terminal folds names, and never cuts a figure."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _name(table: Table, name: str, style: str = "") -> None:
    table.add_column(name, style=style, overflow="fold")
