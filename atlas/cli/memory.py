"""``atlas memory``: what a memory holds, how it came to that, and a person's hand in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from atlas.cli import (
    memory_check,
    memory_compressor,
    memory_copy,
    memory_distil,
    memory_judge,
    memory_map,
    memory_reranker,
    memory_transfer,
    memory_versions,
)
from atlas.cli.memory_common import item as the_item
from atlas.cli.memory_common import memory_argument, opened

if TYPE_CHECKING:
    from atlas.memory.database import Item
    from atlas.memory.demonstration import Demonstration
    from atlas.memory.pamphlet import Entry
    from atlas.memory.uplift import Evidence


@click.group()
def command() -> None:
    """Look into a memory, and change it by hand.

    PATH is a memory file, the folder of a run that holds one, or the URL of a memory in another database.
    """


for part in (
    memory_check.check,
    memory_map.show_map,
    memory_map.reindex,
    memory_versions.log,
    memory_versions.diff,
    memory_versions.rollback,
    memory_versions.freeze,
    memory_versions.admit,
    memory_versions.quarantine,
    memory_versions.remove,
    memory_distil.distil,
    memory_judge.judge,
    memory_transfer.export_memory,
    memory_transfer.import_memory,
    memory_copy.copy,
    memory_compressor.compressor,
    memory_reranker.reranker,
):
    command.add_command(part)


@command.command("ls")
@memory_argument
@click.option("--all", "everything", is_flag=True, help="Quarantined and removed ones too.")
@click.option(
    "-n", "most", default=40, show_default=True, type=click.IntRange(min=1), help="Entries for each reader, best first."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per item, a line each; all of them.")
def list_items(path: str, everything: bool, most: int, as_json: bool) -> None:
    """The playbook in PATH: its entries, each with its evidence, and its demonstrations."""
    from atlas.cli import memory_words
    from atlas.memory.transfer import HEADINGS, record_of
    from atlas.memory.versions import reason_for

    with opened(path) as database:
        items = [i for kind in HEADINGS.values() for i in database.rows(kind) if i.status != "absent"]
        found = memory_words.evidence(database)
        shown = [(i, record_of(i, database.path)) for i in items if everything or i.searched]
        reasons = {i.id: reason_for(i, database.history(i.kind, i.id)) for i, _ in shown if not i.searched}
    if as_json:
        for one, record in shown:
            row = _row(one, record, found.get(one.id))
            # A line is for finding one; 'show' has all its steps.
            steps = {"steps": len(row["steps"])} if "steps" in row else {}
            click.echo(json.dumps({**row, **steps}, ensure_ascii=False))
        return
    from atlas.tables import console, plain

    out = console()
    entries: Any = [(i, r) for i, r in shown if i.kind == "entry"]
    demos: Any = [(i, r) for i, r in shown if i.kind == "demonstration"]
    memory_words.playbook(out, entries, found, reasons, most)
    if demos:
        memory_words.demonstrations(out, demos)
    hidden = [i for i in items if not everything and not i.searched]
    if hidden:
        out.print(plain(f"not shown, and in no prompt: {memory_words.statuses(hidden)} (--all lists them)", "dim"))
    elif not items:
        out.print(plain("the memory is empty"))


@command.command("show")
@memory_argument
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def show(path: str, name: str, as_json: bool) -> None:
    """One item with its evidence and history, or one version. NAME is an id, which may be shortened, or v and a number,
    such as v12."""
    if re.fullmatch(r"v\d+", name):
        memory_versions.show_version(path, int(name[1:]), as_json)
        return
    from atlas.cli import memory_words
    from atlas.memory.transfer import record_of

    with opened(path) as database:
        one = the_item(database, name)
        record = record_of(one, database.path)
        found = memory_words.evidence(database).get(one.id)
        history = database.history(one.kind, one.id)
    if as_json:
        click.echo(json.dumps(_row(one, record, found), ensure_ascii=False))
        return
    from atlas.memory import versions
    from atlas.tables import console, plain

    out = console()
    (_show_entry if one.kind == "entry" else _show_demonstration)(one, record, found)
    out.print()
    for version, change in history:
        said = f"v{version.number}  {memory_versions.when(version)}  {versions.done(change)} by {version.author}"
        out.print(plain(f"{said}: {version.reason}", "dim"))


def _show_entry(one: Item, entry: Any, found: Evidence | None) -> None:
    from atlas.cli import memory_words
    from atlas.tables import console, plain

    out = console()
    out.print(plain(f"{one.id}  {entry.kind} for the {entry.audience}", "bold"))
    fields = {"cue": entry.cue, "action": entry.action, "effect": entry.effect}
    fields |= {"pattern": "; ".join(entry.pattern), "scope": ", ".join(entry.scope)}
    for name, text in fields.items():
        if text:
            out.print(plain(f"{name:>8}  {text}"))
    out.print(plain(f"{'status':>8}  {memory_words.WORDS.get(one.status, one.status)}"))
    out.print(plain(f"{'worth':>8}  {memory_words.worth(found)}"))
    if found is not None and found.missing:
        out.print(plain(f"{'':>8}  {found.missing} more trials have no reward"))
    out.print(plain(f"{'from':>8}  {memory_words.learned(entry)}"))
    for origin in entry.origins:
        where = "/".join(part for part in (origin.run, origin.episode) if part)
        told = f"{origin.task}  {where}  {origin.actor} {origin.model}"
        out.print(plain(f"{'':>8}  {' '.join(told.split())}", "dim"))


def _show_demonstration(one: Item, demo: Any, found: Evidence | None) -> None:
    from atlas.cli import memory_words
    from atlas.tables import console, plain

    out = console()
    out.print(plain(f"{one.id}  {demo.goal}", "bold"))
    if one.status != "admitted":
        out.print(plain(memory_words.WORDS.get(one.status, one.status), memory_words.STYLES[one.status]))
    if found is not None:
        out.print(plain(memory_words.worth(found)))
    if demo.seen > 1:
        out.print(plain(memory_words.seen(demo)))
    if demo.plan:
        out.print(plain(f"Plan: {demo.plan}"))
    for number, step in enumerate(demo.steps, 1):
        out.print(plain(f"\n{step.observation}", "dim"))
        if step.thought:
            out.print(plain(f"    {step.thought}", "italic"))
        out.print(plain(f"{number:>3} {step.action}", "bold"))


def _row(one: Item, record: Entry | Demonstration, found: Evidence | None) -> dict[str, Any]:
    """An item as JSON, whole."""
    row = {"type": one.kind, "id": one.id, "status": one.status, "version": one.version}
    return {**row, **record.model_dump(mode="json"), "evidence": found.model_dump(mode="json") if found else None}
