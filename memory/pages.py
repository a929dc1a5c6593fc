"""Entries as pages for agents that know nothing of atlas: Agent Skills, and a section of an AGENTS.md; and back.

An Agent Skill is a folder with a ``SKILL.md`` (https://agentskills.io/specification): its name is the folder's, its
description says when it is for. Here a skill holds the entries of one scope for one reader. In an AGENTS.md the section
stands between two marks, and the rest of the file is left as it is.

Only what may reach a prompt is written. Read back into the memory it came from, what was edited or added is vetted as
guidance from outside is, and is on trial; what was left out stays in the memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError

from atlas.errors import ConfigError, DataError, StoreError
from atlas.folders import write_whole
from atlas.framing import one_line
from atlas.jsontext import read_json
from atlas.memory.database import Database
from atlas.memory.pamphlet import Entry, Kind
from atlas.memory.transfer import Document, Listed, record_of
from atlas.memory.yamlfile import Read
from atlas.prompts import NOTES_HEAD
from atlas.records import TEACHER, content_hash
from atlas.redact import scrub

SKILL = "SKILL.md"
LONGEST_NAME, LONGEST_DESCRIPTION = 64, 1024
"""Characters, by the specification."""
MOST_IN_A_FILE = 40
"""Entries in an AGENTS.md, which is read whole at every turn: the best supported."""

_BEGIN = re.compile(r"<!-- atlas:begin memory=(\w+) version=(\d+) -->\n?")
_END = "<!-- atlas:end -->"
_RESERVED = ("anthropic", "claude")
"""What some readers of skills allow in no name."""
_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_HEADING = "## When "
_STEP = re.compile(r"\d+\. (.+)")
_EXPECT = "Expect: "
_ABOUT = re.compile(
    r"Id: (?:([0-9a-f]+), )?(" + "|".join(Kind) + r") for the (student|teacher)(?: of tasks with (\[.*\]))?"
)


class Written(NamedTuple):
    """One entry as a page has it."""

    at: Read
    given: str | None
    record: Entry


class Pages(NamedTuple):
    """What was read."""

    name: str
    memory: str | None
    version: int | None
    written: list[Written]


# --- out --------------------------------------------------------------------------------------------------------------


def export_skills(database: Database, folder: Path) -> list[str]:
    """Write a skill for each scope and reader into ``folder``, where skills of others may be; their names.

    Skills that were exported of this memory before are replaced. Raises ConfigError where a folder of such a name holds
    what is not this memory's, and StoreError where nothing can be written: before anything is written.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, Entry]]] = {}
    with database.reading():
        version = database.head()
        for name, entry in _shown(database):
            groups.setdefault((entry.audience, tuple(sorted(entry.scope))), []).append((name, entry))
    pages: dict[str, str] = {}
    for (audience, scope), entries in sorted(groups.items()):
        name = _name(audience, scope, pages)
        pages[name] = _skill(name, audience, scope, entries, database.id, version)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder for the skills")
    old = [place for place in sorted(folder.glob("*")) if _of_memory(place, database.id)]
    for name in pages:
        if (folder / name).exists() and folder / name not in old:
            raise ConfigError(
                f"{folder / name} holds what this memory did not write: move it away, or choose another folder"
            )
    try:
        for name, text in pages.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_whole(folder / name / SKILL, text)
        for place in old:
            if place.name not in pages:
                (place / SKILL).unlink()
                place.rmdir()
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}): choose another place") from error
    return list(pages)


def export_agents(database: Database, file: Path) -> int:
    """Put the best supported entries into ``file`` between two marks, in place of what stood there; how many.

    The rest of the file stays as it is, byte for byte. Raises DataError where the marks in it are not one pair.
    """
    with database.reading():
        version = database.head()
        entries = _shown(database)[:MOST_IN_A_FILE]
    before, after = "", ""
    if file.exists():
        before, _, after = _parts(file, _text(file))
    elif file.parent != Path() and not file.parent.is_dir():
        raise StoreError(f"there is no folder {file.parent}: make it, or name another file")
    if before and not before.endswith("\n\n") and not after:
        before += "\n" if before.endswith("\n") else "\n\n"
    mark = f"<!-- atlas:begin memory={database.id} version={version} -->"
    section = f"{mark}\n# Learned from earlier tasks\n\n{_body(entries)}{_END}"
    try:
        write_whole(file, f"{before}{section}{after or chr(10)}")
    except OSError as error:
        raise StoreError(f"{file} cannot be written ({error.strerror}): choose another place") from error
    return len(entries)


def _shown(database: Database) -> list[tuple[str, Entry]]:
    """What may reach a prompt: admitted before on trial, the best supported first."""
    found = []
    for item in database.rows("entry"):
        if item.searched:
            record = record_of(item, database.path)
            assert isinstance(record, Entry)
            found.append((item.status != "admitted", -record.support, item.id, record))
    return [(name, entry) for _, _, name, entry in sorted(found, key=lambda row: row[:3])]


def _name(audience: str, scope: Sequence[str], taken: dict[str, str]) -> str:
    words = re.findall(r"[a-z0-9]+", scrub(" ".join(scope)).lower()) or ["tasks"]
    name = "-".join(["review" if audience == TEACHER else "learned", *words])[:LONGEST_NAME].strip("-")
    if name in taken or any(word in name for word in _RESERVED) or (scope and words == ["tasks"]):
        name = f"{'review' if audience == TEACHER else 'learned'}-{content_hash([audience, *scope], 12)}"
    return name


def _skill(
    name: str, audience: str, scope: Sequence[str], entries: Sequence[tuple[str, Entry]], memory: str, version: int
) -> str:
    about = f" about {', '.join(map(_plain, scope))}" if scope else ""
    reader = "Watch for what earlier tasks taught" if audience == TEACHER else "Hints that earlier tasks taught"
    description = f"{reader}{about}. Use when "
    cues = [_plain(entry.cue) for _, entry in entries]
    for number, cue in enumerate(cues):
        more = f"{'; or ' if number else ''}{cue}"
        if len(description) + len(more) > LONGEST_DESCRIPTION - 1:
            break
        description += more
    front = {
        "name": name,
        "description": f"{description.rstrip()[: LONGEST_DESCRIPTION - 1]}.",
        "metadata": {"atlas-memory": memory, "atlas-version": str(version)},
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{head}---\n\n# Learned from earlier tasks\n\n{_body(entries)}"


def _body(entries: Sequence[tuple[str, Entry]]) -> str:
    parts = [section(name, entry) for name, entry in entries]
    return "\n".join([f"{NOTES_HEAD.rstrip(':')}.\n", *parts])


def section(name: str, entry: Entry) -> str:
    """One entry, each of its texts on a line of its own, which is how it is read back."""
    lines = [f"{_HEADING}{_plain(entry.cue)}", "", _plain(entry.action), ""]
    lines += [f"{number}. {_plain(step)}" for number, step in enumerate(entry.pattern, 1)]
    lines += [""] if entry.pattern else []
    lines += [f"{_EXPECT}{_plain(entry.effect)}", ""] if entry.effect else []
    scope = f" of tasks with {json.dumps([_plain(part) for part in entry.scope], ensure_ascii=False)}"
    lines.append(f"Id: {name}, {entry.kind} for the {entry.audience}{scope if entry.scope else ''}")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """As a prompt shows it, and with no angle bracket, which readers of skills take for markup."""
    return scrub(one_line(text)).replace("<", "\u2039").replace(">", "\u203a")


def _of_memory(place: Path, memory: str) -> bool:
    """Whether a folder holds a skill of this memory, and nothing else."""
    if not place.is_dir() or [path.name for path in place.iterdir()] != [SKILL]:
        return False
    try:
        return _front(place / SKILL)[0] == memory
    except DataError:
        return False


# --- in ---------------------------------------------------------------------------------------------------------------


def is_page(source: Path) -> bool:
    """Whether ``source`` is a Markdown file, or a folder of skills."""
    if source.is_dir():
        return (source / SKILL).is_file() or any(source.glob(f"*/{SKILL}"))
    return source.suffix.lower() == ".md"


def read(source: Path) -> Pages:
    """The entries on pages that atlas wrote and people may have edited: a folder of skills, a skill, an AGENTS.md. Of a
    folder, skills that others wrote are left alone.

    Raises DataError, with file and line, for the first thing that is wrong.
    """
    if source.is_dir() or source.name == SKILL:
        here = [source] if source.name == SKILL else sorted({*source.glob(SKILL), *source.glob(f"*/{SKILL}")})
        found = [(path, *_front(path)) for path in here]
        ours = [one for one in found if one[1] is not None]
        if not ours:
            raise DataError(f"there is no skill in {source} that 'atlas memory export' wrote: name another folder")
        if len({one[1:3] for one in ours}) > 1:
            raise DataError(f"the skills in {source} are of several memories or exports: import them one by one")
        written = [one for path, _, _, text, line in ours for one in _sections(path, text, line)]
        return _once(Pages(source.name, ours[0][1], ours[0][2], written))
    text = _text(source)
    before, inside, _ = _parts(source, text)
    mark = _BEGIN.search(text)
    if mark is None:
        raise DataError(
            f"{source} has no section that 'atlas memory export --format agents-md' wrote: name another file"
        )
    line = before.count("\n") + 2
    return _once(Pages(source.name, mark[1], int(mark[2]), list(_sections(source, inside, line))))


def document(pages: Pages, database: Database) -> Document:
    """The pages as a document for :func:`atlas.memory.transfer.restore`: what stands there as it was written is what
    the memory says, and anything else is new, and on trial."""
    home = pages.memory == database.id
    items = []
    for at, given, entry in pages.written:
        item = database.get("entry", given) if home and given else None
        record = record_of(item, database.path) if item else None
        if isinstance(record, Entry) and given and section(given, record) == section(given, entry):
            items.append(Listed(at, "entry", given, None, record))
            continue
        if isinstance(record, Entry):
            entry = entry.model_copy(update={"origins": record.origins, "support": record.support})
        known = given if home or given == entry.id else None
        items.append(Listed(at, "entry", known, "trial", entry))
    return Document(pages.name, pages.memory, pages.version, items, partial=True)


def _once(pages: Pages) -> Pages:
    seen: dict[str, Written] = {}
    for one in pages.written:
        for name in {one.given or one.record.id, one.record.id}:
            if name in seen and seen[name] is not one:
                raise DataError(f"{one.at.where}: this entry is the one at {seen[name].at.where} again: keep one")
            seen[name] = one
    return pages


def _front(path: Path) -> tuple[str | None, int | None, str, int]:
    """The memory and version that a skill is of (None for one of somebody else), its body, and where that begins."""
    text = _text(path).replace("\r\n", "\n")
    head = _FRONT.match(text)
    try:
        found = yaml.safe_load(head[1]) if head else None
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path} begins with what is not YAML: mend it between the two lines of dashes") from error
    metadata = found.get("metadata") if isinstance(found, dict) else None
    if head is None or not isinstance(metadata, dict) or "atlas-memory" not in metadata:
        return None, None, "", 0
    try:
        version = int(metadata.get("atlas-version", ""))
    except ValueError as error:
        raise DataError(f"{path}: atlas-version is the number that the export wrote there: restore it") from error
    return str(metadata["atlas-memory"]), version, text[head.end() :], head[0].count("\n") + 1


def _sections(path: Path, text: str, line: int) -> Iterator[Written]:
    lines = text.replace("\r\n", "\n").split("\n")
    starts = [number for number, said in enumerate(lines) if said.startswith(_HEADING)]
    for start, end in pairwise([*starts, len(lines)]):
        at = Read(str(path), None, line + start, {})
        said = [part.strip() for part in lines[start + 1 : end] if part.strip()]
        yield _entry(at, lines[start].removeprefix(_HEADING), said)


def _entry(at: Read, cue: str, said: list[str]) -> Written:
    about = _ABOUT.fullmatch(said.pop()) if said and said[-1].startswith("Id: ") else None
    action, *rest = said or [""]
    pattern, effect = [], ""
    for part in rest:
        if part.startswith(_EXPECT) and not effect:
            effect = part.removeprefix(_EXPECT)
        elif (step := _STEP.fullmatch(part)) and not effect:
            pattern.append(step[1])
        else:
            raise DataError(
                f"{at.where}: this entry has a line {part[:40]!r} that is no numbered step, no '{_EXPECT.strip()}' and "
                "no 'Id:': write its action on one line"
            )
    try:
        scope = read_json(about[4]) if about and about[4] else []
        fields = {"kind": about[2], "audience": about[3]} if about else {}
        entry = Entry.model_validate(
            {"cue": cue, "action": action, "effect": effect, "pattern": pattern, "scope": scope, **fields}
        )
    except (ValidationError, ValueError) as error:
        raise DataError(
            f"{at.where}: this entry needs a cue, an action on a line of its own, and its last line as it was written"
        ) from error
    return Written(at, about[1] if about else None, entry)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: save it as such") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): name another file") from error


def _parts(path: Path, text: str) -> tuple[str, str, str]:
    """What stands before the marks, between them, and behind them."""
    begins = list(_BEGIN.finditer(text))
    if not begins and _END not in text and "<!-- atlas:begin" not in text:
        return text, "", ""
    if len(begins) != 1 or text.count(_END) != 1 or text.index(_END) < begins[0].end():
        raise DataError(f"{path} has not one '<!-- atlas:begin ... -->' with one '{_END}' after it: restore the marks")
    end = text.index(_END)
    return text[: begins[0].start()], text[begins[0].end() : end], text[end + len(_END) :]
