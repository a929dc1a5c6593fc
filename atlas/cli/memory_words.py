"""A memory's items as people read them: a playbook of entries, each with its evidence, and demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atlas.cli.memory_common import counted
from atlas.figures import money_interval, points_interval
from atlas.words import shorten

if TYPE_CHECKING:
    from rich.console import Console

    from atlas.memory.database import Database, Item
    from atlas.memory.demonstration import Demonstration
    from atlas.memory.pamphlet import Entry
    from atlas.memory.uplift import Evidence

ORDER = ("admitted", "trial", "quarantined", "removed")
STYLES = {"admitted": "green", "trial": "yellow", "quarantined": "red", "removed": "dim"}
WORDS = {"trial": "on trial"}
NOTHING = 0.995
"""An effect on reward may be from -1 to 1: an interval from beyond minus this to beyond this says nothing."""

GOAL = 120
"""Characters of a goal that a row of ``ls`` shows: some agents are handed a whole document. JSON has it all."""


def evidence(database: Database) -> dict[str, Evidence]:
    """What the trials in the memory say of each entry that has some."""
    if not database.backend.tried():
        return {}
    from atlas.memory.evidence import EvidenceTable

    return EvidenceTable(database).all()


def worth(found: Evidence | None) -> str:
    """The evidence for an entry in words; effects are with the entry minus without it."""
    if found is None or not found.trials:
        return "not tried yet"
    trials = f"{counted(found.trials, 'trial')} ({found.shown} with it)"
    if found.reward.low <= -NOTHING and found.reward.high >= NOTHING and found.dollars is None:
        return f"{trials}, too few to say"
    said = [f"{points_interval(found.reward)} points of reward"]
    if found.dollars is not None:
        said.append(f"{money_interval(found.dollars)} per episode")
    return f"{', '.join(said)}, in {trials}"


def learned(entry: Entry) -> str:
    """How often and from whom an entry was learned."""
    from atlas.memory.pamphlet import MOST_ORIGINS

    tasks = len(entry.tasks - {""})
    more = " or more" if len(entry.origins) == MOST_ORIGINS and entry.support > MOST_ORIGINS else ""
    return f"learned {entry.support} time{'s' if entry.support != 1 else ''}" + (
        f", from {tasks}{more} task{'s' if tasks != 1 or more else ''}" if tasks else ""
    )


def seen(demo: Demonstration) -> str:
    """How often a demonstration was seen, and for how many tasks."""
    tasks = len(demo.tasks)
    more = " or more" if len(demo.repeats) < demo.seen - 1 else ""
    return f"seen {counted(demo.seen, 'time')}, for {tasks}{more} task{'s' if tasks != 1 or more else ''}"


def playbook(
    out: Console,
    entries: Sequence[tuple[Item, Entry]],
    found: Mapping[str, Evidence],
    reasons: Mapping[str, str],
    most: int,
) -> None:
    """The entries by who reads them, the best proven first, at most ``most`` for each; ``reasons`` say why some are
    quarantined or removed."""
    from rich.table import Table
    from rich.text import Text

    from atlas.tables import plain

    for audience in ("student", "teacher"):
        rows = [(i, e) for i, e in entries if e.audience == audience]
        rows.sort(key=lambda row: rank(row[0], row[1], found.get(row[0].id)))
        if not rows:
            continue
        out.print(plain(f"For the {audience}: {statuses([i for i, _ in rows])}", "bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column()
        for item, entry in rows[:most]:
            told = Text.assemble(plain(f"{entry.cue}: "), plain(entry.action, "bold"))
            if entry.effect:
                told.append_text(plain(f" -> {entry.effect}"))
            if entry.scope:
                told.append_text(plain(f" (where the task says {', '.join(entry.scope)})", "italic"))
            if len(entry.pattern) > 1:
                told.append_text(plain("".join(f"\n{n}. {step}" for n, step in enumerate(entry.pattern, 1))))
            line = [WORDS.get(item.status, item.status), worth(found.get(item.id)), learned(entry)]
            if item.id in reasons:
                line[0] += f" ({shorten(reasons[item.id], 160)})"
            grid.add_row(plain(item.id[:8]), told)
            status = plain(line[0], STYLES[item.status])
            grid.add_row("", Text.assemble(status, plain(" · " + " · ".join(line[1:]), "dim")))
        out.print(grid)
        if len(rows) > most:
            out.print(plain(f"and {len(rows) - most} more: -n {len(rows)} lists them", "dim"))
        out.print()


def rank(item: Item, entry: Entry, found: Evidence | None) -> tuple[Any, ...]:
    """Admitted first, then by the least it is worth; of equals plans and warnings before single facts, and what was
    learned more often first."""
    least = found.reward.low if found is not None and found.trials else -2.0
    return ORDER.index(item.status), -least, entry.kind == "principle", -entry.support, item.seq


def statuses(items: Sequence[Item]) -> str:
    """``3 admitted, 2 on trial``."""
    counts = {status: sum(i.status == status for i in items) for status in ORDER}
    return ", ".join(f"{n} {WORDS.get(status, status)}" for status, n in counts.items() if n)


def demonstrations(out: Console, rows: Sequence[tuple[Item, Demonstration]]) -> None:
    """A table of demonstrations, for 80 columns whatever their goals and models are."""
    from rich import box
    from rich.table import Table

    from atlas.tables import money, plain

    out.print(plain(f"{counted(len(rows), 'demonstration').capitalize()}: {statuses([i for i, _ in rows])}", "bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("id", "status", "goal", "by"):
        table.add_column(name, overflow="fold")
    for name in ("steps", "seen", "score", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for item, demo in rows:
        by = f"{demo.source.actor} {demo.source.model}".strip()
        table.add_row(
            item.id[:8],
            plain(WORDS.get(item.status, item.status), STYLES[item.status]),
            plain(shorten(demo.goal, GOAL)),
            plain(by),
            str(len(demo.steps)),
            f"{demo.seen:,}",
            "-" if demo.score is None else f"{demo.score:g}",
            money(demo.dollars),
        )
    out.print(table)
