"""YAML that people read and edit: written so that it is read back exactly, read so that a mistake has a line.

Only plain data is read: mappings, lists, texts, numbers, truth values and null. Anchors, tags and repeated keys are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import DataError

WIDTH = 110
DEEPEST = 12

# Other characters than these stand in double quotes, escaped: readers of YAML take some of them for line ends.
_PLAIN = re.compile("[\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe]*")
_NUMBER = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_CORE = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", *_NUMBER)

# The same in C, some ten times as fast, wherever PyYAML was built with it.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Writer(_Dumper):  # type: ignore[misc]
    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    # A block that ends in empty lines would end the document.
    odd = not _PLAIN.fullmatch(text) or text.endswith("\n")
    style = '"' if odd else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def dump(value: Any) -> str:
    """YAML of plain data; texts of several lines as blocks."""
    text: str = yaml.dump(value, Dumper=_Writer, allow_unicode=True, sort_keys=False, width=WIDTH)
    return text


@dataclass
class Read:
    """Plain data, and where each part of it stands."""

    file: str
    value: Any
    line: int
    parts: Mapping[Any, Read]
    """By key of a mapping, or index of a list."""

    def at(self, path: tuple[Any, ...]) -> Read:
        """The part under a path of keys and indexes, or the innermost one that is there."""
        here = self
        for step in path:
            if step not in here.parts:
                break
            here = here.parts[step]
        return here

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"


def load(path: Path) -> Read:
    """The document in a file. Raises DataError, with the line, for what is not plain YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    try:
        _check(text, str(path))
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise DataError(f"{path} is empty")
            return _read(loader, node, str(path))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise DataError(_malformed(path, error)) from error


def _check(text: str, file: str) -> None:
    """Refuse what is more than plain data, and what is nested so deeply that reading it would end the process."""
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
    for event in events:
        where = f"{file}, line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DataError(f"{where}: anchors and aliases (& and *) have no meaning here: put the text in quotes")
        if getattr(event, "tag", None):
            raise DataError(f"{where}: the tag {event.tag} has no meaning here: put the text in quotes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise DataError(f"{where}: this is nested too deeply for a memory: put texts with brackets in quotes")


def _read(loader: Any, node: yaml.Node, file: str) -> Read:
    here = Read(file, None, node.start_mark.line + 1, {})
    if isinstance(node, yaml.ScalarNode):
        return Read(file, _scalar(loader, node, here), here.line, {})
    if isinstance(node, yaml.SequenceNode):
        items = [_read(loader, item, file) for item in node.value]
        return Read(file, [item.value for item in items], here.line, dict(enumerate(items)))
    parts: dict[Any, Read] = {}
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    for name, value in pairs:
        key = _read(loader, name, file)
        if not isinstance(key.value, str | int | float | None):
            raise DataError(f"{key.where}: a name is a word, not {type(key.value).__name__}")
        if key.value in parts:
            raise DataError(f"{key.where}: {key.value!r} is given twice: keep one of them")
        part = _read(loader, value, file)
        parts[key.value] = Read(file, part.value, key.line, part.parts)
    return Read(file, {key: part.value for key, part in parts.items()}, here.line, parts)


def _scalar(loader: Any, node: yaml.ScalarNode, here: Read) -> Any:
    if node.tag not in _CORE:
        return node.value  # dates and the like are texts, as they stand
    try:
        return loader.construct_object(node)
    except ValueError as error:
        raise DataError(f"{here.where}: {node.value!r} is no number: put a text in quotes") from error


def _malformed(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    where = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
    return f"{where}: this is not YAML ({problem}): mend it, or export the memory again"
