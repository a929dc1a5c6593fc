"""Which of many texts have to be looked at: those in which a look would find nothing are told at a glance.

A demonstration has a hundred texts, nearly all of them harmless, and each is looked at with more than a hundred
patterns. What every match of a pattern has to hold (:mod:`atlas.memory.safety_needs`) is looked for in all texts at
once; where it is not there, the pattern is run on none of them. A glance never tells more than a look: what it lets
pass, a look would let pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas.memory.safety_readings import BROKEN, read_once
from atlas.memory.safety_rules import Rule

_SHORT, _MOST = 2_000, 8_192
"""Characters of a text that is remembered at the most, and how many are, of texts and of words."""
_WORD = 24
"""Characters of a word that is remembered at the most."""
_ANY = frozenset([""])
"""What a pattern needs of which nothing can be said: it stands in every text."""


class Screen:
    """For the rules of one profile."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._patterns: dict[str, list[re.Pattern[str]]] = {}
        """By what they need: which is in every text where nothing can be said of a pattern."""
        for rule in rules:
            # A foreign one finds nothing in ASCII, and other texts are looked at.
            for need in (rule.needs or _ANY) if not rule.foreign else ():
                self._patterns.setdefault(need, []).append(rule.pattern)
        self._words = [need for need in self._patterns if need.isascii() and need.split() == [need]]
        self._more = [need for need in self._patterns if need.isascii() and need.split() != [need]]
        self._known: dict[str, None] = {}
        """Texts that need no look: the same observations stand in demonstration after demonstration."""
        self._plain: set[str] = set()
        """Words, in lower case, that have one reading, in which nothing stands that a rule needs: so with words."""

    def suspects(self, texts: Sequence[str]) -> list[str]:
        """Those of ``texts`` that have to be looked at, in their order."""
        known = self._known
        if not (texts := [text for text in texts if text not in known]):
            return []
        words = self._new_words("\n".join(texts).casefold())
        lines = "\n".join(text for text in texts if "\n" not in text)
        once = read_once(lines, words) is not None
        found = [text.casefold() if once and "\n" not in text else _read(text) for text in texts]
        suspicious = {place for place, reading in enumerate(found) if reading is None}
        readings = [reading or "" for reading in found]
        whole = "\n".join(readings)
        there = self._there(whole, words if once else self._new_words(whole))
        for need in there:
            holding = [i for i, reading in enumerate(readings) if need in reading]
            for pattern in self._patterns[need]:
                suspicious.update(i for i in holding if pattern.search(readings[i]))
        known.update((text, None) for i, text in enumerate(texts) if i not in suspicious and len(text) <= _SHORT)
        if len(known) > _MOST:
            self._known = {}
        return [texts[i] for i in sorted(suspicious)]

    def _new_words(self, readings: str) -> set[str]:
        return {*readings.split()} - self._plain  # each once: texts repeat theirs

    def _there(self, readings: str, words: set[str]) -> set[str]:
        """What stands in them of all that rules need; ``words`` are those among theirs that are new."""
        together = "\n".join(words)
        there = {need for need in self._words if need in together}
        self._plain.update(word for word in words if len(word) <= _WORD and not any(map(word.__contains__, there)))
        if len(self._plain) > _MOST:
            self._plain = set()
        return there | {need for need in self._more if need in readings}


def _read(text: str) -> str | None:
    # What is encoded over several lines is read as one.
    lone = text if "\n" not in text else BROKEN.sub("", text)
    return read_once(text) if lone is text or read_once(lone) is not None else None
