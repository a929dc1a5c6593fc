"""``atlas memory export | import``: a memory as files that people read and edit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.memory_common import counted, json_option, memory_argument, memory_at, missing, opened, rows, tell

if TYPE_CHECKING:
    from atlas.memory.database import Database
    from atlas.memory.transfer import Document

YAML, SKILLS, AGENTS = FORMATS = ("yaml", "skills", "agents-md")


@click.command("export")
@memory_argument
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=YAML,
    show_default=True,
    help="What is written, and for whom.",
)
@json_option
def export_memory(path: str, target: Path, form: str, as_json: bool) -> None:
    """Write the memory in PATH for people, or its entries for other agents.

    yaml: all of it, to one file where TARGET ends in .yaml, else to a folder with a file per demonstration. skills:
    entries as Agent Skills in the folder TARGET, beside those of others. agents-md: the best supported entries as a
    section of the file TARGET, the rest of which is left as it is.
    """
    from atlas.memory import pages

    if form == YAML:
        said, told = _export_yaml(path, target)
    else:
        with opened(path) as database:
            if form == SKILLS:
                names = pages.export_skills(database, target)
                said, told = counted(len(names), "skill"), {"skills": names}
            else:
                number = pages.export_agents(database, target)
                said, told = counted(number, "entry"), {"entry": number}
    click.echo(json.dumps({"target": str(target), **told}) if as_json else f"{said} in {target}")


def _export_yaml(path: str, target: Path) -> tuple[str, dict[str, Any]]:
    from atlas.cli.memory_words import evidence, worth
    from atlas.memory import transfer

    with opened(path) as database:
        notes = {name: worth(found) for name, found in evidence(database).items()}
        counts = transfer.export(database, target, notes)
    return " and ".join(counted(n, kind) for kind, n in counts.items()), {str(kind): n for kind, n in counts.items()}


def _reads(source: Path) -> Callable[[Database], Document]:
    """Makes the document of ``source`` for a memory. What is wrong with it is told at once."""
    from atlas.memory import pages, transfer

    if pages.is_page(source):
        found = pages.read(source)
        return lambda database: pages.document(found, database)
    document = transfer.read(source)
    return lambda database: document


@click.command("import")
@memory_argument
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--reason", default="edited by hand", show_default=True, help="Why, for the log.")
@json_option
def import_memory(path: str, source: Path, dry_run: bool, reason: str, as_json: bool) -> None:
    """Read SOURCE, which 'atlas memory export' wrote and you may have edited, into the memory PATH.

    Into the memory that it came from: what you changed, added and left out is done, as one version or not at all. Into
    another one, or a new one: what is not there is added. Of skills and of a section in an AGENTS.md what you changed
    and added is done, on trial; what you left out stays.
    """
    from atlas.memory import transfer
    from atlas.memory.database import Database
    from atlas.tables import console, plain

    document = _reads(source)
    found = memory_at(path)
    new = missing(found)
    if new:
        # What is wrong with the document is found before a file is made.
        with closing(Database(":memory:")) as trial:
            transfer.restore(trial, document(trial), reason=reason)
    with closing(Database(":memory:" if dry_run and new else found)) as database:
        result = transfer.restore(database, document(database), reason=reason, dry=dry_run)
        version = database.head()
    summary = {"version": version, "same": result.same, "withheld": result.withheld, "suspicious": result.suspicious}
    if as_json:
        click.echo(json.dumps({**summary, "dry_run": dry_run, "changes": rows(result.changes)}, ensure_ascii=False))
        return
    tell(
        result.changes, "nothing was written" if dry_run else f"version {version}", "the memory says all of it already"
    )
    out = console(stderr=True)
    for name, why in result.suspicious.items():
        out.print(plain(f"{name} is quarantined: {why}", "yellow"))
    if result.withheld:
        said = f"{len(result.withheld)} were removed from this memory before, and stay so until 'atlas memory admit'"
        out.print(plain(f"{said}: {', '.join(result.withheld)}", "yellow"))
