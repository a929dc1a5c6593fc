"""``atlas memory check``: whether a memory is whole, as sentences and an exit code."""

from __future__ import annotations

import click

from atlas.cli.memory_common import counted, json_option, memory_argument, memory_at, there_is


@click.command("check")
@memory_argument
@json_option
def check(path: str, as_json: bool) -> int:
    """Look whether the memory in PATH is whole: the file, its tables, each row, and what belongs together.

    Nothing is written. Exit code 0 where it is whole, 1 where something is damaged: a sentence for each, with the mend.
    """
    from atlas.memory.check import check as looked_at

    found = looked_at(there_is(memory_at(path)))
    if as_json:
        click.echo(found.model_dump_json())
        return 0 if found.whole else 1
    from atlas.tables import console, plain

    out = console()
    for damage in found.damages:
        out.print(plain(damage.said, "red"))
    held = found.counts
    said = f"{counted(held.get('demonstration', 0), 'demonstration')}, {counted(held.get('entry', 0), 'entry')}, "
    said += counted(held.get("versions", 0), "version")
    if found.whole:
        out.print(plain(f"whole: {said}"))
    else:
        out.print(plain(f"{counted(len(found.damages), 'damage')}; what could be read: {said}"))
    return 0 if found.whole else 1
