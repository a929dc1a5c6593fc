"""Which of many texts have to be looked at: those in which a look would find nothing are told at a glance.

A demonstration has a hundred texts, nearly all of them harmless, and each is looked at with more than a hundred
patterns. What every match of a pattern has to hold (:mod:`atlas.memory.safety_needs`) is looked for in all texts at
once; where it is not there, the pattern is run on none of them. A glance never tells more than a look: what it lets
pass, a look would let pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas.memory.safety_needs import needs_of
from atlas.memory.safety_readings import BROKEN, read_once
from atlas.memory.safety_rules import Rule

_SHORT, _MOST = 2_000, 8_192
"""Characters of a text that is remembered at the most, and how many are."""


class Screen:
    """For the rules of one profile."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules: list[tuple[re.Pattern[str], frozenset[str] | None]] = [
            (rule.pattern, needs_of(rule.pattern))
            for rule in rules
            if not rule.foreign  # finds nothing in ASCII, and other texts are looked at
        ]
        every = frozenset[str]().union(*(needs or () for _, needs in self._rules))
        self._words = [need for need in every if need.isascii() and need.split() == [need]]
        self._more = [need for need in every if need.isascii() and need.split() != [need]]
        self._known: dict[str, None] = {}
        """Texts that need no look: the same observations stand in demonstration after demonstration."""

    def suspects(self, texts: Sequence[str]) -> list[str]:
        """Those of ``texts`` that have to be looked at, in their order."""
        known = self._known
        if not (texts := [text for text in texts if text not in known]):
            return []
        readings = _readings(texts)
        whole = "\n".join(reading for reading in readings if reading is not None)
        # Each word once: texts repeat theirs.
        words = "\n".join({*whole.split()})
        there = {need for need in self._words if need in words} | {need for need in self._more if need in whole}
        run = [(pattern, needs) for pattern, needs in self._rules if needs is None or not needs.isdisjoint(there)]
        found = []
        for text, reading in zip(texts, readings, strict=True):
            if reading is None or any(_may(needs, reading) and pattern.search(reading) for pattern, needs in run):
                found.append(text)
            elif len(text) <= _SHORT:
                known[text] = None
        if len(known) > _MOST:
            self._known = {}
        return found


def _may(needs: frozenset[str] | None, reading: str) -> bool:
    return needs is None or any(map(reading.__contains__, needs))


def _readings(texts: Sequence[str]) -> list[str | None]:
    """Of each, its one reading, or None."""
    if read_once("\n".join(text for text in texts if "\n" not in text)) is None:
        return [_read(text) for text in texts]
    return [_read(text) if "\n" in text else text.casefold() for text in texts]


def _read(text: str) -> str | None:
    # What is encoded over several lines is read as one.
    lone = text if "\n" not in text else BROKEN.sub("", text)
    return read_once(text) if lone is text or read_once(lone) is not None else None
