"""Whether a memory is whole: all that is in it is looked at, and nothing is written.

A file of SQLite is read row by row (:mod:`atlas.memory.sqlite_check`); another database by its backend, which tells the
first damage of each kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from atlas.errors import StoreError
from atlas.memory.backend import KINDS, Changed, Item, Version
from atlas.memory.demonstration import Demonstration
from atlas.memory.erase import blank
from atlas.memory.pamphlet import Entry
from atlas.memory.rows import record
from atlas.record import Record

Kind = Literal["file", "schema", "row", "orphan", "altered"]
COPY = "restore a copy of the file"


class Damage(Record):
    """Something that is not as it was written."""

    kind: Kind
    """``file``: SQLite's own check; ``schema``: tables, columns, indexes; ``row``: what cannot be read; ``orphan``:
    what belongs to nothing; ``altered``: what is not what its id or its version says."""
    table: str
    said: str
    """One sentence, with the mend."""


class Health(Record):
    """What a look at a memory came to."""

    path: str
    schema_version: int | None
    """None where it could not be read, or is of another database."""
    counts: dict[str, int]
    """Items by kind, versions, and rows of what else there is."""
    damages: tuple[Damage, ...]

    @property
    def whole(self) -> bool:
        return not self.damages


def check(where: str) -> Health:
    """Look at the memory at ``where``, a file that is there or the URL of another database."""
    from atlas.memory.backend import open_backend
    from atlas.memory.sqlite_check import check_file

    if "://" not in where:
        return check_file(where)
    backend = open_backend(where)
    try:
        found: list[Damage] = []
        items: list[Item] = []
        for kind in KINDS:
            try:
                items += backend.items(kind, 0)
            except StoreError as error:
                found.append(Damage(kind="row", table="items", said=str(error)))
        try:
            versions, changes = backend.versions(), backend.changes()
        except StoreError as error:
            versions, changes = [], []
            found.append(Damage(kind="row", table="versions", said=str(error)))
        else:
            found += belonging(items, versions, changes, backend.path)
        found += [damage for item in items if (damage := altered(item, backend.path)) is not None]
        found += [damage for change in changes if (damage := unreadable(change, backend.path)) is not None]
        counts = {kind: sum(item.kind == kind for item in items) for kind in KINDS} | {"versions": len(versions)}
        return Health(path=backend.path, schema_version=None, counts=counts, damages=tuple(found))
    finally:
        backend.close()


def altered(item: Item, path: str) -> Damage | None:
    """What is wrong with an item's record: it cannot be read, or is not what its id says, which is a hash of it."""
    what = f"the {item.kind} {item.id}"
    try:
        there = _read(item.kind, item.record, what, path)
    except StoreError as error:
        return Damage(kind="row", table="items", said=str(error))
    if there.id == item.id or (item.status == "absent" and item.record == blank(item.kind)):
        return None
    return Damage(
        kind="altered",
        table="items",
        said=f"{what} says something else than what was written under this id (that would be "
        f"{there.id}): {COPY}, or take it out with 'atlas memory remove {path} {item.id}'",
    )


def unreadable(change: Changed, path: str) -> Damage | None:
    """What is wrong with the record that a change replaced, which a rollback brings back."""
    if change.replaced is not None:
        try:
            _read(change.kind, change.replaced, f"what version {change.version} replaced of {change.id}", path)
        except StoreError as error:
            return Damage(kind="row", table="changes", said=str(error))
    return None


def _read(kind: str, text: str, what: str, path: str) -> Demonstration | Entry:
    return record(Demonstration, text, what, path) if kind == "demonstration" else record(Entry, text, what, path)


def belonging(
    items: Iterable[Item], versions: Iterable[Version], changes: Iterable[Changed], path: str
) -> Iterator[Damage]:
    """Items, versions and changes that do not belong together."""

    def damage(kind: Kind, table: str, said: str) -> Damage:
        return Damage(kind=kind, table=table, said=f"{said}: {COPY}")

    known = {version.number for version in versions}
    here = {(item.kind, item.id): item for item in items}
    last: dict[tuple[str, str], Changed] = {}
    for change in changes:
        key, what = (change.kind, change.id), f"the {change.kind} {change.id}"
        left = last[key].after if key in last else "absent"
        if change.version not in known:
            said = f"a change of {what} is of version {change.version}, which is not in {path}"
            yield damage("orphan", "changes", said)
        if key not in here:
            said = f"version {change.version} changed {what}, which is not in {path}"
            yield damage("orphan", "changes", said)
        if change.before != left:
            said = f"version {change.version} of {path} found {what} {change.before}, and the one before left it {left}"
            yield damage("altered", "changes", said)
        last[key] = change
    for key, item in here.items():
        what, found = f"the {item.kind} {item.id}", last.get(key)
        if found is None:
            yield damage("orphan", "items", f"no version of {path} tells how {what} came in")
        elif (found.after, found.version) != (item.status, item.version):
            said = (
                f"{what} is {item.status} since version {item.version}, and the versions of {path} say {found.after} "
            )
            yield damage("altered", "items", f"{said}since {found.version}")
    numbers = sorted(known)
    if numbers and numbers != list(range(1, len(numbers) + 1)):
        gone = next(n for n in range(1, numbers[-1] + 1) if n not in known)
        yield damage("orphan", "versions", f"version {gone} is not in {path}, which has later ones")
