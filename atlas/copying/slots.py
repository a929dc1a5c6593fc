"""Slots of a pattern whose environment lists no actions: what each stands for, in a task or in what was observed.

``{named}`` is a value that the task names, ``{word asked for}`` and ``{word told of}`` a word of its question or of
what stands before it. All others are values of an observation: ``{AlertId}`` of a column, ``{Address of ip}`` of a
mapping in it that has such a key and says that it is of this type; ``told of`` or ``asked for`` after a column says by
which words of the task its row is chosen. ``{what is asked for}`` is the answer, which other entries say where to find.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from atlas.copying.values import Leaf, Shown

SLOT = re.compile(r"\{([^{}]*)\}")
NAMED, ANSWER = "named", "what is asked for"
TOLD, ASKED = "told of", "asked for"
WORD = {ASKED: f"word {ASKED}", TOLD: f"word {TOLD}"}
_SELECTED = re.compile(r"\bselect\s++(?:distinct\s++)?(.+?)(?<!\s)\s++from\b", re.IGNORECASE | re.DOTALL)
_SEPARATOR = re.compile(r",(?![^()]*\))")
_ALIAS = re.compile(r"(?:^|\.|\s)([A-Za-z_]\w*)$")
_PARTS = re.compile(r"(?P<keys>[\w.]+)(?: of (?P<type>[\w-]+))?(?: (?P<by>told of|asked for))?")


@dataclass(frozen=True)
class Slot:
    """A value of an observation."""

    keys: tuple[str, ...]
    """A column's name, or the last keys that lead to the value."""
    type: str = ""
    """What the mapping that it stands in says it is."""
    by: str = ""
    """By which words of the task its row is chosen."""


@lru_cache(maxsize=4096)
def slot(text: str) -> Slot | None:
    """The value of an observation that ``{text}`` stands for; None where it is none."""
    found = _PARTS.fullmatch(text)
    if found is None or text in (NAMED, ANSWER):
        return None
    return Slot(tuple(found["keys"].split(".")), found["type"] or "", found["by"] or "")


@lru_cache(maxsize=4096)
def columns(action: str) -> tuple[str, ...]:
    """The names of what an action selects, in order; none where it does not say."""
    found = _SELECTED.search(action)
    if found is None:
        return ()
    names = [_ALIAS.search(part.strip()) for part in _SEPARATOR.split(found[1])]
    return tuple(name[1] if name else "" for name in names)


def keys_of(leaf: Leaf) -> tuple[str, ...]:
    """The keys that lead to a value within its cell."""
    return tuple(key for key in leaf.path if isinstance(key, str) and key != "*")


def type_of(leaf: Leaf) -> str:
    return next((mark.partition("=")[2] for mark in sorted(leaf.marks) if "=" in mark), "")


def name(leaf: Leaf, names: Sequence[str]) -> str:
    """The slot that stands for ``leaf`` where ``names`` are selected; empty where it cannot be said."""
    keys = keys_of(leaf)
    if not keys:
        place = leaf.path[0] if leaf.path else None
        return names[place] if isinstance(place, int) and place < len(names) else ""
    kind = type_of(leaf)
    said = keys[-1] if kind else ".".join(keys[-2:])
    text = f"{said} of {kind}" if kind else said
    return text if slot(text) else ""


def leaves(wanted: Slot, seen: Shown, names: Sequence[str]) -> list[Leaf]:
    """The values of an observation that ``wanted`` may stand for, in order."""
    if len(wanted.keys) == 1 and not wanted.type and wanted.keys[0] in names:
        place = names.index(wanted.keys[0])
        return [leaf for leaf in seen.by_path.get((place,), ())]
    many = len(wanted.keys)
    kind = wanted.type.casefold()
    return [leaf for leaf in seen.leaves if keys_of(leaf)[-many:] == wanted.keys and type_of(leaf).casefold() == kind]
