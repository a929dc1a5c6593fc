"""``atlas memory log | diff | rollback | freeze``: the versions of a memory."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import click

from atlas.cli.memory_common import (
    as_row,
    by_option,
    item,
    json_option,
    line,
    memory_argument,
    opened,
    person,
    rows,
    tell,
    version_number,
)

if TYPE_CHECKING:
    from atlas.memory.database import Change, Status, Version


@click.command()
@memory_argument
@click.argument("item_id", required=False)
@click.option("-n", "count", type=click.IntRange(min=1), help="Only the newest N.")
@json_option
def log(path: str, item_id: str | None, count: int | None, as_json: bool) -> None:
    """The versions of a memory, newest first: who changed what, and why. With ITEM_ID, those that changed it."""
    from atlas.memory import versions

    with opened(path) as database:
        if item_id is None:
            found = [(logged.version, logged.counts) for logged in versions.log(database)]
        else:
            one = item(database, item_id)
            found = [(v, {versions.done(change): 1}) for v, change in database.history(one.kind, one.id)]
        frozen = database.frozen()
    found = found[::-1][:count]
    if as_json:
        for version, counts in found:
            click.echo(json.dumps({**version._asdict(), "counts": counts}, ensure_ascii=False))
        return
    from rich import box
    from rich.table import Table

    from atlas.tables import console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("version", justify="right", no_wrap=True)
    for name in ("when", "who", "what", "why"):
        table.add_column(name, overflow="fold")
    for version, counts in found:
        table.add_row(
            f"v{version.number}",
            when(version),
            plain(version.author),
            plain(what(version, counts)),
            plain(version.reason),
        )
    out = console()
    out.print(table)
    if frozen:
        out.print(plain(f"frozen by {frozen.author}: {frozen.reason}", "bold"))


def when(version: Version) -> str:
    return f"{datetime.fromtimestamp(version.time):%Y-%m-%d %H:%M:%S}"


def what(version: Version, counts: dict[str, int]) -> str:
    did = ", ".join(f"{n} {word}" for word, n in counts.items())
    return did if version.action == "write" else f"{version.action}{': ' if did else ''}{did}"


def show_version(path: str, number: int, as_json: bool) -> None:
    """What one version did."""
    with opened(path) as database:
        version, changes = database.version(number)
    if as_json:
        click.echo(json.dumps({**version._asdict(), "changes": [as_row(c) for c in changes]}, ensure_ascii=False))
        return
    from atlas.tables import console, plain

    out = console()
    did = "" if version.action == "write" else f"  {version.action}"
    out.print(plain(f"v{version.number}  {when(version)}  {version.author}{did}", "bold"))
    out.print(plain(version.reason))
    _print(changes)


@click.command()
@memory_argument
@click.argument("first")
@click.argument("second", required=False)
@json_option
def diff(path: str, first: str, second: str | None, as_json: bool) -> None:
    """How the memory at version SECOND (by default the newest) differs from that at FIRST."""
    from atlas.memory import versions

    with opened(path) as database:
        to = version_number(second) if second is not None else database.head()
        changes = versions.diff(database, version_number(first), to)
    if as_json:
        for change in changes:
            click.echo(json.dumps(as_row(change), ensure_ascii=False))
        return
    if not changes:
        click.echo("no difference")
    _print(changes)


def _print(changes: list[Change]) -> None:
    from atlas.memory import versions
    from atlas.memory.yamlfile import dump
    from atlas.tables import console, plain

    out = console()
    for change in changes:
        out.print(plain(line(change)))
        if "edited" not in versions.done(change):
            continue
        for name, sides in versions.fields(change).items():
            for sign, value, style in zip("-+", sides, ("red", "green"), strict=True):
                text = value if isinstance(value, str) else dump(value).removesuffix("...\n").rstrip()
                for part in text.splitlines() or [""]:
                    out.print(plain(f"    {sign} {name}: {part}", style))


@click.command()
@memory_argument
@click.argument("version")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@by_option
@json_option
def rollback(path: str, version: str, reason: str, by: str | None, as_json: bool) -> None:
    """Bring back the memory as it was at VERSION (0 is the empty one). This makes a new version: nothing is lost, and a
    rollback can be rolled back."""
    from atlas.memory import versions

    number = version_number(version)
    with opened(path) as database:
        changes = versions.rollback(database, number, author=person(by), reason=reason)
        head = database.head()
    _done(changes, head, as_json, f"the memory is as it was at version {number} already")


@click.command()
@memory_argument
@click.option("--off", is_flag=True, help="Let it be written again.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@by_option
@json_option
def freeze(path: str, off: bool, reason: str, by: str | None, as_json: bool) -> None:
    """Freeze a memory: it is used, and nothing writes it until it is let go with --off."""
    with opened(path) as database:
        changed = database.set_frozen(not off, author=person(by), reason=reason)
        name = database.path
        version = database.head()
    if as_json:
        click.echo(json.dumps({"frozen": not off, "changed": changed, "version": version}))
        return
    state = "may be written" if off else "is frozen"
    click.echo(f"{name} {state}{'' if changed else ' already'}")


@click.command()
@memory_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@by_option
@json_option
def admit(path: str, ids: tuple[str, ...], reason: str, by: str | None, as_json: bool) -> None:
    """Admit items by hand: also those that were quarantined or removed. IDS may be shortened."""
    _set("admitted", path, ids, reason, by, as_json)


@click.command()
@memory_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why, for the log.")
@by_option
@json_option
def quarantine(path: str, ids: tuple[str, ...], reason: str, by: str | None, as_json: bool) -> None:
    """Quarantine items: they stay in the memory and reach no prompt. IDS may be shortened."""
    _set("quarantined", path, ids, reason, by, as_json)


@click.command()
@memory_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@by_option
@json_option
def remove(path: str, ids: tuple[str, ...], reason: str, by: str | None, as_json: bool) -> None:
    """Remove items: they are not learned again. IDS may be shortened; 'admit' brings them back."""
    _set("removed", path, ids, reason, by, as_json)


def _set(status: Status, path: str, ids: tuple[str, ...], reason: str, by: str | None, as_json: bool) -> None:
    from atlas.memory.database import Write

    with opened(path) as database, database.transaction():
        before = database.head()
        found = [item(database, beginning) for beginning in ids]
        database.write([Write(i.kind, i.id, status) for i in found], author=person(by), reason=reason)
        version = database.head()
        changes = database.version(version)[1] if version > before else []
    many = "they are" if len(found) > 1 else f"{found[0].id} is"
    _done(changes, version, as_json, f"{many} {status} already")


def _done(changes: list[Change], version: int, as_json: bool, nothing: str) -> None:
    if as_json:
        click.echo(json.dumps({"version": version, "changes": rows(changes)}, ensure_ascii=False))
    else:
        tell(changes, f"version {version}", nothing)
