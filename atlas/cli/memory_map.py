"""``atlas memory map``: what a memory has learned on one screen; ``reindex``: its vectors and index, made now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from atlas.cli.memory_common import counted, memory_argument, memory_at, opened, there_is

if TYPE_CHECKING:
    from rich.console import Console

    from atlas.memory.map import EntryMap, FamilyMap, MemoryMap

FAMILIES, ENTRIES = 8, 4
"""Rows of each kind that a screen has room for."""


@click.command("map")
@memory_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all of it.")
def show_map(path: str, as_json: bool) -> None:
    """What the memory in PATH has learned: by family of tasks, what entries earn, which never help, what it cost."""
    from atlas.memory.map import memory_map
    from atlas.tables import console

    with opened(path) as database:
        found = memory_map(database)
    if as_json:
        click.echo(found.model_dump_json())
        return
    show(console(), found)


def show(out: Console, found: MemoryMap) -> None:
    from rich.table import Table

    from atlas.figures import money, percent_interval
    from atlas.tables import plain
    from atlas.words import shorten

    held = [
        counted(found.demonstrations, "demonstration"),
        counted(found.entries, "entry"),
        counted(found.outcomes, "outcome"),
    ]
    out.print(plain(f"{found.path}: {', '.join(held)}, version {found.version}", "bold"))
    if found.demonstrations:
        untold = f"; of {counted(found.untold, 'demonstration')} nobody knows" if found.untold else ""
        cost = money(found.collected) if found.collected is not None else "an unknown sum"
        out.print(plain(f"Collecting the demonstrations cost {cost}{untold}."))
    if found.families:
        grid = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        grid.add_column("family", no_wrap=True, max_width=30)
        for name in ("demos", "entries", "trial", "quar.", "success", "collected"):
            grid.add_column(name, justify="right", no_wrap=True)
        for one in found.families[:FAMILIES]:
            success = percent_interval(one.success) if one.success is not None else "-"
            grid.add_row(
                plain(shorten(one.family if one.named else f"like: {one.family}", 30)),
                str(one.demonstrations),
                str(one.entries.get("admitted", 0)),
                str(one.entries.get("trial", 0)),
                str(one.entries.get("quarantined", 0)),
                success,
                money(one.collected) if one.collected is not None else "-",
            )
        out.print(grid)
        _more(out, found.families, FAMILIES, "family", "families")
    _entries(out, "Earns: points of reward with it, less those without it", found.earns)
    _entries(out, f"Never helps: surely gains less than {100 * found.gain:g} points", found.idle)
    _entries(out, "Not sure yet", found.waits)
    if found.untried:
        out.print(plain(f"Not tried yet: {counted(found.untried, 'entry')}.", "dim"))
    if found.turned_away:
        out.print(plain(f"Quarantined: {counted(len(found.turned_away), 'entry')}", "bold"))
        for entry in found.turned_away[:ENTRIES]:
            out.print(plain(f"  {entry.id[:8]}  {shorten(entry.why or 'no reason is told', 66)}", "red"))
        _more(out, found.turned_away, ENTRIES, "entry", "entries")


def _entries(out: Console, title: str, entries: Sequence[EntryMap]) -> None:
    from atlas.figures import points_interval
    from atlas.tables import plain
    from atlas.words import shorten

    if not entries:
        return
    out.print(plain(title, "bold"))
    for entry in entries[:ENTRIES]:
        worth = points_interval(entry.evidence.reward)
        said = shorten(f"{entry.cue}: {entry.action}", 80 - 12 - len(worth) - 2)
        out.print(plain(f"  {entry.id[:8]}  {worth}  {said}"))
    _more(out, entries, ENTRIES, "entry", "entries")


def _more(out: Console, rows: Sequence[EntryMap] | Sequence[FamilyMap], most: int, one: str, many: str) -> None:
    from atlas.tables import plain

    if (left := len(rows) - most) > 0:
        out.print(plain(f"  and {left} more {one if left == 1 else many}: --json has them", "dim"))


@click.command()
@memory_argument
@click.option(
    "--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME or FOLDER."
)
@click.option("--index", default="auto", show_default=True, help="auto, exact, faiss, chroma, or chroma://HOST:PORT.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def reindex(path: str, embedder: str, index: str, as_json: bool) -> None:
    """Embed all that the memory in PATH holds, and fill its index, now and not at the first search.

    What is embedded already is not embedded again. The vectors of other embedders stay: nothing is lost.
    """
    import json

    from atlas.cli.progress import following
    from atlas.errors import FrozenMemory
    from atlas.memory import Memory

    with Memory(there_is(memory_at(path)), embedder, index=index) as memory, following("texts") as seen:
        if memory.frozen:
            memory.database.check_writable()
            raise FrozenMemory(
                f"the memory {memory.path} is frozen and keeps no vectors: 'atlas memory freeze {memory.path} --off' "
                "lets them be kept"
            )
        made = memory.warm(seen)
        demos, entries = len(memory.demonstrations), len(memory.entries)
        name, dim = memory.embedder.name, memory.embedder.dim
    if as_json:
        told = {"memory": memory.path, "embedder": name, "dim": dim, "index": index, "embedded": made}
        click.echo(json.dumps({**told, "demonstrations": demos, "entries": entries}))
        return
    click.echo(
        f"{memory.path}: {made:,} texts were embedded anew by {name} ({dim} numbers); "
        f"{counted(demos, 'demonstration')} and {counted(entries, 'entry')} can be searched by {index}"
    )
