"""``atlas traces pack``: the closed segments of a run's trace are compressed."""

from __future__ import annotations

import click

from atlas.cli.progress import following


@click.command("pack")
@click.argument("run", type=str)
@click.option("--all", "everything", is_flag=True, help="Close the file that is written now as well, and pack it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
def command(run: str, everything: bool, as_json: bool) -> None:
    """Compress the closed segments of RUN's trace (a folder, or a name below ./runs).

    A trace is written into one file until that holds 256 MB (or what ATLAS_TRACE_MB says), and then into the next. What
    is closed and packed is read as before, episode by episode, by everything that reads runs; gzip unpacks it too. The
    run may be read and written meanwhile. A command that was cut off is finished by the same one.
    """
    from atlas.tables import console, plain
    from atlas.traces.packing import pack
    from atlas.traces.reader import find_run

    with following("bytes") as seen:
        made = pack(find_run(run).place, everything=everything, seen=seen)
    if as_json:
        click.echo(made.model_dump_json())
        return
    out = console()
    if made.packed:
        many = "segments" if made.packed > 1 else "segment"
        less = f"{made.bytes:,} bytes became {made.became:,}, {made.bytes / max(1, made.became):.1f} times less"
        out.print(plain(f"{made.path}: {made.packed} {many} packed, {less}"))
    elif made.segments:
        out.print(plain(f"{made.path}: all {made.segments} closed segments are packed already"))
    else:
        out.print(plain(f"{made.path}: no segment of the trace is closed yet, so there is nothing to pack"))
    if made.open:
        rest = "is not closed and stays as it is: --all closes and packs it too"
        out.print(plain(f"  the newest file, {made.open:,} bytes, {rest}", "dim"))
