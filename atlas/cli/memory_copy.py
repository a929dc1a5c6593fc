"""``atlas memory copy``: a memory from one database into another."""

from __future__ import annotations

from contextlib import closing

import click

from atlas.cli.memory_common import json_option, memory_at, opened
from atlas.cli.progress import following


@click.command("copy")
@click.argument("source")
@click.argument("target")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy the memory SOURCE, a file or a URL, to TARGET, which is not there yet: all it holds, with its versions.

    A copy that was cut off is finished by the same command. It is a copy when every row has the same hash.
    """
    from atlas.memory import copying
    from atlas.memory.database import Database
    from atlas.tables import console, plain

    with opened(source) as read, closing(Database(memory_at(target))) as written, following("rows") as seen:
        made = copying.copy(read, written, seen)
    if as_json:
        click.echo(made.model_dump_json())
        return
    number = sum(made.rows.values())
    new = f"{made.written:,} of them written now" if made.written else "all there already"
    out = console()
    out.print(plain(f"{made.target} is {made.source} at version {made.version}: {number:,} rows, {new}"))
    out.print(plain(f"  {', '.join(f'{table} {rows:,}' for table, rows in made.rows.items())}", "dim"))
    out.print(plain(f"  sha256 {made.sha256}", "dim"))
