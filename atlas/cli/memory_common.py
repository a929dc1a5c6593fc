"""What the commands of ``atlas memory`` share: opening a memory, naming an item or a version, telling what changed."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.errors import ConfigError, StoreError
from atlas.jsontext import read_json

if TYPE_CHECKING:
    from atlas.memory.database import Change, Database, Item

MEMORY = "memory.sqlite"
"""The name of the memory in a run's folder."""
MOST = 60
"""Changes that a command tells of one by one."""


memory_argument = click.argument("path")
"""Where a memory is, as :func:`opened` takes it."""


def memory_at(path: str) -> str:
    """``path``, or the memory in the run folder ``path``."""
    return str(Path(path) / MEMORY) if Path(path).is_dir() else path


def missing(path: str) -> bool:
    """Whether a memory is not there yet, in a file or in another database."""
    from atlas.memory.backend import there

    return not there(path)


def there_is(found: str) -> str:
    """``found``, the path or URL of a memory that has to be there."""
    from atlas.memory.backend import told

    if missing(found):
        raise StoreError(
            f"there is no memory at {told(found)}: name a memory file or URL, as an agent was given as memory=, or a "
            "run folder that holds one"
        )
    return found


@contextmanager
def opened(path: str) -> Iterator[Database]:
    """The memory at ``path``, which has to be there: a file, a run's folder, or the URL of another database."""
    from atlas.memory.database import Database

    with closing(Database(there_is(memory_at(path)))) as database:
        yield database


def item(database: Database, beginning: str) -> Item:
    """The one item whose id begins so. Raises StoreError where there is none, or several."""
    found = database.find(beginning)
    if len(found) == 1 or (found and found[0].id == beginning):
        return found[0]
    counts = [(sum(i.kind == kind for i in found), kind) for kind in ("demonstration", "entry")]
    what = " and ".join(counted(n, kind) for n, kind in counts if n) or "no demonstration and no entry"
    raise StoreError(
        f"{what} in {database.path} with an id that begins with {beginning!r}: list them with 'atlas memory ls --all'"
    )


def counted(n: int, kind: str) -> str:
    """``1 entry``, ``2 entries``."""
    return f"{n} {kind}" if n == 1 else f"{n} {'entries' if kind == 'entry' else kind + 's'}"


def version_number(text: str) -> int:
    """The number of a version, as ``12`` or ``v12``."""
    found = re.fullmatch(r"v?(\d{1,15})", text)
    if not found:
        raise ConfigError(
            f"{text!r} is no version: write its number, such as 12 or v12, as 'atlas memory log' lists it"
        )
    return int(found[1])


def person(given: str | None) -> str:
    """Who makes a change by hand: as said, else the name of the account."""
    if given:
        return f"person:{given}"
    try:
        return f"person:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):
        return "person:unknown"


by_option = click.option("--by", help="Who makes this change, for the log.  [default: your account's name]")
json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")


def as_row(change: Change) -> dict[str, Any]:
    """A change as JSON: what was done, and each field of the record that it altered."""
    from atlas.memory import versions

    return {
        "kind": change.kind,
        "id": change.id,
        "done": versions.done(change),
        "before": change.before.status,
        "after": change.after.status,
        "fields": {name: list(sides) for name, sides in versions.fields(change).items()},
    }


def rows(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The changes as JSON, without what they altered."""
    return [{name: value for name, value in as_row(change).items() if name != "fields"} for change in changes]


def tell(changes: Sequence[Change], last: str, nothing: str) -> None:
    """A line per change, up to ``MOST`` of them, and a last one; ``nothing`` where there are none."""
    from atlas.tables import console, plain

    out = console()
    for change in changes[:MOST]:
        out.print(plain(line(change)))
    if len(changes) > MOST:
        out.print(plain(f"and {len(changes) - MOST:,} more: --json lists all", "dim"))
    out.print(plain(last if changes else nothing))


def line(change: Change, width: int = 90) -> str:
    """A change on one line: its sign, id, what was done, and what the item says."""
    from atlas.memory import versions
    from atlas.words import shorten

    word = versions.done(change)
    sign = "-" if word in ("removed", "forgotten") else "+" if word.startswith("added") else "~"
    return (
        f"{sign} {change.id} {word}: {shorten(title(change.kind, change.after.record or change.before.record), width)}"
    )


def title(kind: str, record: str) -> str:
    """What an item is about, from its record. A damaged record is no reason not to tell of its history."""
    try:
        fields = read_json(record)
        return f"{fields['cue']}: {fields['action']}" if kind == "entry" else str(fields["goal"])
    except (ValueError, KeyError, TypeError):
        return "(its record cannot be read)"
