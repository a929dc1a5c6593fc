"""A memory as files that people read and edit, and back: everything that is not removed, in YAML.

A file says which memory it is of, and at which version. Reading it back into that memory compares with that version:
what a person changed, added or left out is done as one new version, and what the memory has learned meanwhile stays.
Where both changed the same thing nothing is done at all. Read into another memory, it only adds. In both cases what is
new and looks as if it wanted to instruct its readers is quarantined; who then writes ``admitted`` has looked at it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from atlas.errors import DataError, StoreError
from atlas.memory import versions
from atlas.memory.database import STATUSES, Change, Database, Item, Kind, State, Status, Write, parsed
from atlas.memory.demonstration import Demonstration
from atlas.memory.pamphlet import Entry
from atlas.memory.safety import vet
from atlas.memory.same import Same, said
from atlas.memory.yamlfile import Read, dump, load
from atlas.redact import Cleaner, scrub

FORMAT = "atlas-memory-1"
MODELS: dict[Kind, type[Entry] | type[Demonstration]] = {"entry": Entry, "demonstration": Demonstration}
HEADINGS: dict[str, Kind] = {"entries": "entry", "demonstrations": "demonstration"}
EXPORTED: tuple[Status, ...] = ("trial", "admitted", "quarantined")

_TOP = ("format", "memory", "version", *HEADINGS)
_HELP = """\
# A memory of atlas. Edit it and give it back with: atlas memory import MEMORY {name}
# Change what an item says, or its status ({statuses}), and leave its id as it is. Delete an item to remove
# it. Add one without an id. Lines that begin with # are not read. Nothing is imported unless all of it is right, and
# an import is a version like any other: 'atlas memory rollback' undoes it.
"""

Notes = Mapping[str, str]
"""What to say above an item, by its id; for people, not read back."""


class Listed(NamedTuple):
    """An item as a file has it."""

    at: Read
    kind: Kind
    given: str | None
    """The id that stands there; None for a new item."""
    status: Status | None
    record: Entry | Demonstration


class Document(NamedTuple):
    """A file, or a folder of files, that was read."""

    name: str
    memory: str | None
    """The id of the memory it was exported from."""
    version: int | None
    items: list[Listed]
    partial: bool = False
    """What is left out was not there: it stays."""


class Imported(NamedTuple):
    """What an import did."""

    changes: list[Change]
    same: int
    """Items that were in the memory already, and stayed as they are."""
    withheld: list[str]
    """Ids that were removed from the memory before, and stay removed."""
    suspicious: dict[str, str]
    """Why new items were quarantined, by id: see :func:`atlas.memory.safety.vet`."""


def record_of(item: Item, path: str) -> Entry | Demonstration:
    """What an item says. Raises StoreError where the file at ``path`` holds something else in its place."""
    return parsed(item, MODELS[item.kind], path)


# --- out --------------------------------------------------------------------------------------------------------------


def export(database: Database, target: Path, notes: Notes | None = None) -> dict[Kind, int]:
    """Write the memory to ``target``: one file if it ends in ``.yaml`` or ``.yml``, else a folder with a file per
    demonstration. How many items of each kind.

    Raises StoreError where there is something already, or nothing can be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists, and may hold what somebody wrote: choose another name, or move it away")
    with database.reading():
        version = database.head()
        items = {kind: [i for i in database.rows(kind) if i.status in EXPORTED] for kind in HEADINGS.values()}
    head = _HELP.format(name=target.name, statuses=", ".join(EXPORTED))
    head += "\n" + dump({"format": FORMAT, "memory": database.id, "version": version})
    listed = {kind: [_entry(item, database.path, notes or {}) for item in of] for kind, of in items.items()}
    whole = target.suffix.lower() in (".yaml", ".yml")
    text = head + "".join(
        _section(heading, listed[kind]) for heading, kind in HEADINGS.items() if whole or kind == "entry"
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            made = Path(folder) / "made"
            if whole:
                made.write_text(text, encoding="utf-8")
            else:
                (made / "demonstrations").mkdir(parents=True)
                (made / "memory.yaml").write_text(text, encoding="utf-8")
                for number, (item, one) in enumerate(zip(items["demonstration"], listed["demonstration"], strict=True)):
                    name = f"{number + 1:04}-{_slug(item.record)}.yaml"
                    (made / "demonstrations" / name).write_text(_section("demonstrations", [one]), encoding="utf-8")
            shutil.move(made, target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written ({error.strerror}): choose another place") from error
    return {kind: len(of) for kind, of in items.items()}


def _entry(item: Item, path: str, notes: Notes) -> str:
    record = record_of(item, path)
    data = {
        "id": item.id,
        "status": item.status,
        **Cleaner().value(record.model_dump(mode="json", exclude_defaults=True)),
    }
    note = " ".join(notes.get(item.id, "").split())
    return (f"# {note}\n" if note else "") + dump([data])


def _section(heading: str, items: Sequence[str]) -> str:
    return f"\n{heading}:\n" + "\n".join(items) if items else f"\n{heading}: []\n"


def _slug(record: str) -> str:
    goal = scrub(Demonstration.model_validate_json(record).goal)
    return "-".join(re.findall(r"[a-z0-9]+", goal.lower()))[:60].strip("-") or "demonstration"


# --- in ---------------------------------------------------------------------------------------------------------------


def read(source: Path) -> Document:
    """The items in a file or folder that :func:`export` wrote and a person may have edited.

    Raises DataError, with file and line, for the first thing that is wrong.
    """
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".yaml", ".yml")) if source.is_dir() else []
    if source.is_dir() and not paths:
        raise DataError(f"there is no YAML file in {source}: name a file or folder that 'atlas memory export' wrote")
    parts = [load(path) for path in paths or [source]]
    headers = [part for part in parts if isinstance(part.value, dict) and "format" in part.value]
    if len(headers) != 1:
        also = f", and so does {headers[1].file}" if headers else ""
        raise DataError(
            f"{headers[0].file if headers else source} says{also if headers else ' nowhere'} 'format: {FORMAT}': "
            "a memory has that line once"
        )
    memory, version = _header(headers[0])
    items = [listed for part in parts for listed in _items(part)]
    seen: dict[tuple[Kind, str], Listed] = {}
    for one in items:
        for name in {one.record.id, one.given or one.record.id}:
            if (one.kind, name) in seen:
                other = seen[one.kind, name]
                what = "has the same id as" if name == one.given == other.given else "says the same as"
                raise DataError(f"{one.at.where}: this {one.kind} {what} the one at {other.at.where}: keep one")
        seen.update({(one.kind, name): one for name in (one.record.id, one.given or one.record.id)})
    return Document(source.name, memory, version, items)


def restore(database: Database, document: Document, *, reason: str, dry: bool = False) -> Imported:
    """Make a document's changes to the memory, all of them or none, as one version by ``import:NAME``.

    ``dry`` only says what would be done. Raises DataError where the document does not fit the memory.
    """
    result: list[Imported] = []
    with _undone_if(dry), database.transaction():
        head = database.head()
        due = _ToWrite(database, document)
        why = [reason, *(f"{name} quarantined: {found}" for name, found in due.suspicious.items())]
        database.write(due.writes, author=f"import:{document.name}", reason="; ".join(why))
        changes = database.version(database.head())[1] if database.head() > head else []
        result.append(Imported(changes, due.same, due.withheld, due.suspicious))
        if dry:
            raise _Undo
    return result[0]


class _Undo(Exception):
    pass


@contextmanager
def _undone_if(dry: bool) -> Iterator[None]:
    try:
        yield
    except _Undo:
        assert dry


class _ToWrite:
    """What has to be written for a document."""

    def __init__(self, database: Database, document: Document) -> None:
        self._db, self._document = database, document
        self._same = Same(database)
        self._added: dict[str, tuple[int, Demonstration]] = {}
        """By what it says, a demonstration that is added, and which of the writes does so."""
        self.writes: list[Write] = []
        self.same = 0
        self.withheld: list[str] = []
        self.suspicious: dict[str, str] = {}
        if document.memory == database.id and document.version is not None:
            self._merge(document.version)
        else:
            for listed in document.items:
                self._only_add(listed)

    def _merge(self, version: int) -> None:
        then = self._db.since(version)
        for kind in MODELS:
            for item in self._db.rows(kind):
                then.setdefault((kind, item.id), State(item.status, item.record))
        base = {key: state for key, state in then.items() if state.status in EXPORTED}
        kept: set[tuple[Kind, str]] = set()
        for listed in self._document.items:
            key = (listed.kind, listed.given or "")
            kept.update((key, (listed.kind, listed.record.id)))
            if listed.given is None:
                self._new(listed)
            elif key in base:
                self._revise(listed, listed.given, base[key])
            else:
                raise DataError(
                    f"{listed.at.where}: there is no {listed.kind} {listed.given!r} in version {version} of the "
                    "memory, which this was exported from: leave out the id of what is new"
                )
        for (kind, name), state in base.items() if not self._document.partial else ():
            if (kind, name) not in kept and self._unchanged(kind, name, state, "left out", ("removed",)):
                self.writes.append(Write(kind, name, "removed"))

    def _revise(self, listed: Listed, given: str, base: State) -> None:
        status = listed.status or base.status
        same = listed.record == MODELS[listed.kind].model_validate_json(base.record)
        if same and status == base.status:
            self.same += 1
            return
        if not self._unchanged(listed.kind, given, base, "changed", (), listed.at):
            return
        if listed.record.id != given:
            self.writes.append(Write(listed.kind, given, "removed"))
        if not same:
            status = self._vetted(listed) or status
        if isinstance(listed.record, Demonstration) and listed.record.id != given:
            self._same.name(listed.record)
        record = base.record if same else listed.record.model_dump_json()
        self.writes.append(Write(listed.kind, listed.record.id, status, record))

    def _unchanged(
        self, kind: Kind, name: str, base: State, what: str, agreed: Sequence[Status], at: Read | None = None
    ) -> bool:
        """Whether the memory still has the item as it was exported; False where it already is as wanted."""
        now = self._db.get(kind, name)
        if now is not None and State(now.status, now.record) == base:
            return True
        if now is None or now.status in agreed:
            return False
        last, change = self._db.history(kind, name)[-1]
        raise DataError(
            f"{at.where if at else self._document.name}: the {kind} {name} was {what} in the file, and "
            f"{versions.done(change)} in the memory since it was exported (version {last.number}, by {last.author}): "
            "export the memory again and edit that"
        )

    def _new(self, listed: Listed) -> None:
        now = self._db.get(listed.kind, listed.record.id)
        if now is not None and now.status in EXPORTED and listed.status in (None, now.status):
            self.same += 1
        else:
            # Also in what says that it is an export of this memory: anybody who was given one can write into it.
            self._add(listed)

    def _only_add(self, listed: Listed) -> None:
        name = listed.record.id
        if listed.given not in (None, name):
            raise DataError(
                f"{listed.at.where}: the id {listed.given!r} is not that of what this {listed.kind} says ({name}), and "
                "the file is not an export of this memory: leave the id out"
            )
        now = self._db.get(listed.kind, name)
        if now is None:
            self._add(listed)
        elif now.status == "removed":
            self.withheld.append(name)
        else:
            self.same += 1

    def _add(self, listed: Listed) -> None:
        record, status = listed.record, self._vetted(listed) or listed.status or "admitted"
        if isinstance(record, Demonstration):
            if self._counted(record, status):
                return
            self._added[said(record)] = len(self.writes), record
        self.writes.append(Write(listed.kind, record.id, status, record.model_dump_json()))

    def _counted(self, demo: Demonstration, status: Status) -> bool:
        """Whether ``demo`` is counted with what says the same, or withheld as that is, and not added."""
        if said(demo) in self._added:
            place, before = self._added[said(demo)]
            more = before.again(demo)
            self._added[said(demo)] = place, more
            self.writes[place] = self.writes[place]._replace(record=more.model_dump_json())
            return True
        there, withheld = self._same.twin(demo, status)
        if there is None and withheld is None:
            self._same.name(demo)
            return False
        self.suspicious.pop(demo.id, None)
        if withheld == "removed":
            self.withheld.append(demo.id)
        elif there is None or (more := there.again(demo)) is there:
            self.same += 1
        else:
            self.writes.append(Write("demonstration", more.id, None, more.model_dump_json()))
        return True

    def _vetted(self, listed: Listed) -> Status | None:
        record = listed.record
        try:
            # Where an entry was learned is never shown.
            vetted = vet(record.model_copy(update={"origins": ()}) if isinstance(record, Entry) else record)
            if vetted.status != "quarantined":
                return None
            self.suspicious[record.id] = vetted.reason
        except ValidationError:
            self.suspicious[record.id] = "a text of it is nothing but characters that nobody sees"
        return "quarantined"


# --- parts of a file --------------------------------------------------------------------------------------------------


def _header(part: Read) -> tuple[str | None, int | None]:
    found = part.value
    if found["format"] != FORMAT:
        raise DataError(
            f"{part.at(('format',)).where}: the format is {found['format']!r}, and this atlas reads {FORMAT}: "
            "export the memory again"
        )
    memory, version = found.get("memory"), found.get("version")
    if memory is not None and not isinstance(memory, str):
        raise DataError(f"{part.at(('memory',)).where}: 'memory' is the text that the export wrote there: restore it")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise DataError(
            f"{part.at(('version',)).where}: 'version' is the number that the export wrote there: restore it"
        )
    return memory, version


def _items(part: Read) -> Iterator[Listed]:
    if not isinstance(part.value, dict):
        raise DataError(f"{part.where}: a memory begins with 'format: {FORMAT}' or a heading, not a list or a text")
    for name in part.value:
        if name not in _TOP:
            raise DataError(
                f"{part.at((name,)).where}: there is no heading {name!r} here: choose among {', '.join(_TOP)}"
            )
    for heading, kind in HEADINGS.items():
        section = part.parts.get(heading)
        if section is None or section.value is None:
            continue
        if not isinstance(section.value, list):
            raise DataError(f"{section.where}: {heading!r} is a list: begin each item with '- '")
        yield from (_listed(item, kind) for item in section.parts.values())


def _listed(at: Read, kind: Kind) -> Listed:
    if not isinstance(at.value, dict):
        raise DataError(f"{at.where}: an item is a list of fields, such as 'status: admitted'")
    data = dict(at.value)
    given, status = data.pop("id", None), data.pop("status", None)
    if given is not None and not isinstance(given, str):
        # An id of digits alone, whose quotes were lost.
        raise DataError(f"{at.at(('id',)).where}: put the id {given} in quotes, as the export did")
    if status is not None and status not in STATUSES:
        raise DataError(
            f"{at.at(('status',)).where}: there is no status {status!r}: choose among {', '.join(STATUSES)}"
        )
    try:
        record = MODELS[kind].model_validate(data)
    except ValidationError as error:
        raise DataError(_wrong(at, kind, error)) from error
    if isinstance(record, Demonstration) and not record.success:
        raise DataError(
            f"{at.at(('success',)).where}: a memory takes only demonstrations that succeeded: delete this one"
        )
    return Listed(at, kind, given, status, record)


def _wrong(at: Read, kind: Kind, error: ValidationError) -> str:
    # A misspelt name is a field too many and a field too few; only the first tells where.
    first: Any = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = tuple(first["loc"])
    field = ".".join(map(str, path))
    where = at.at(path).where
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no field {field!r} in {'an' if kind == 'entry' else 'a'} {kind}: correct its name"
    if first["type"] == "missing":
        return f"{where}: the field {field!r} of this {kind} is missing: add it"
    said = first["msg"][:1].lower() + first["msg"][1:]
    return f"{where}: the field {field!r} of this {kind} cannot be read: {said}"
