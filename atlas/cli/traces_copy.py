"""``atlas traces copy``: a run from one place to another."""

from __future__ import annotations

import click

from atlas.cli.progress import following


@click.command("copy")
@click.argument("source")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
def command(source: str, target: str, as_json: bool) -> None:
    """Copy the run SOURCE to TARGET, which is not there yet: folders, or URLs (postgresql://...?schema=NAME&run=NAME).

    All that was recorded, judged and distilled, what is to be learned yet, and what a server knows of its open
    episodes; a memory has its own 'atlas memory copy'. A copy that was cut off is finished by the same command, which
    also adds what came since. It is a copy when every line has the same hash.
    """
    from atlas.tables import console, plain
    from atlas.traces.copying import copy
    from atlas.traces.place import place_of
    from atlas.traces.reader import find_run

    with following("lines") as seen:
        made = copy(find_run(source).place, place_of(target), seen)
    if as_json:
        click.echo(made.model_dump_json())
        return
    number = sum(made.lines.values())
    new = f"{made.written:,} of them written now" if made.written else "all there already"
    out = console()
    out.print(plain(f"{made.target} is {made.source}: {number:,} lines, {new}"))
    out.print(plain(f"  {', '.join(f'{log} {lines:,}' for log, lines in made.lines.items())}", "dim"))
    if made.open:
        out.print(plain(f"  {made.open:,} open episodes, as their server had them", "dim"))
    out.print(plain(f"  sha256 {made.sha256}", "dim"))
