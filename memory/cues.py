"""The words of a cue that say something, and how well they fit a text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from atlas.memory.pamphlet import SLOT

_WORD = re.compile(r"[^\W\d_]+|\d+")
_QUOTED = re.compile(r'"([^"]+)"')
LONGEST = 8_000
"""Characters of a text that a quotation with slots may match."""

STOP_WORDS = frozenset(
    "a about after all also am an and any are as asked at be been before being but by can could did do does doing "
    "done for from get gets given goes had has have having he her here his how i if in into is it its just like may "
    "me more most must my need needed needs no not now of off on one only onto or other our out over own said same "
    "say says see seen she should so some still such task tasks than that the their them then there these they "
    "thing things this those through to too try until up upon us use used uses using very was way we were what when "
    "where whether which while who why will with within without would yet you your".split()
)
"""Words that stand in any cue and tell none from another."""


@lru_cache(maxsize=65_536)
def content_words(text: str) -> frozenset[str]:
    """The words of ``text`` that tell it from others, in lower case, slots left out."""
    return frozenset(_WORD.findall(SLOT.sub(" ", text).casefold())) - STOP_WORDS


def plain(cue: str) -> str:
    """A cue as a sentence, without braces and quotes: what is embedded."""
    return SLOT.sub(lambda match: match[1], cue).replace('"', "")


def quoted(cue: str) -> str:
    """What is to be matched as it is: the part of ``cue`` in double quotes; empty where there is none."""
    found = _QUOTED.search(cue)
    return found[1] if found else ""


class Template:
    """What a quotation matches: itself, with a word (and a number, as in ``drawer 2``) for each slot.

    Texts are read once, with a bit for each place of the quotation that may have been reached: slots side by side
    against one long word leave a pattern of :mod:`re` endless ways to cut it.
    """

    def __init__(self, parts: list[str]) -> None:
        """``parts``: literal texts, with the name of a slot between two of them."""
        self._literals = [part for part in parts[::2] if part]
        self._whole = parts[0] if len(parts) == 1 else None
        self._start, self._end = parts[0], parts[-1]
        self._chars: dict[str, int] = {}
        self._words = self._digits = self._again = self._last = 0
        bit = 1
        for index, part in enumerate(parts):
            if index % 2:
                # A slot takes three places: of the word, of the blank after it, of the number; the last two are free.
                bit <<= 3
                self._words |= bit >> 2
                self._chars[" "] = self._chars.get(" ", 0) | bit >> 1
                self._digits |= bit
                self._last = bit | bit >> 2
            else:
                for char in part:
                    bit <<= 1
                    self._chars[char] = self._chars.get(char, 0) | bit
                    self._last = bit
        self._again = self._words | self._digits

    def matches(self, text: str) -> bool:
        """Whether all of ``text``, in lower case and with single blanks, is what the quotation says."""
        if self._whole is not None:
            return text == self._whole
        if not text.startswith(self._start) or not text.endswith(self._end):
            return False
        if len(text) > LONGEST or not all(part in text for part in self._literals):
            return False
        places = 1
        for char in text:
            fits = self._chars.get(char, 0)
            if not char.isspace():
                fits |= self._words
            if char.isdecimal():
                fits |= self._digits
            places = (places << 1 | places & self._again | (places & self._words) << 3) & fits
            if not places:
                return False
        return places & self._last != 0


@lru_cache(maxsize=16_384)
def template(cue: str) -> Template | None:
    """What the quotation in ``cue`` matches; None where it has no words of its own."""
    parts = SLOT.split(_folded(quoted(cue)))
    return Template(parts) if "".join(parts[::2]).strip() else None


def says(cue: str, text: str) -> bool:
    """Whether ``text`` is what ``cue`` quotes, up to case, spacing and a final full stop."""
    pattern = template(cue)
    return pattern is not None and pattern.matches(_folded(text))


@lru_cache(maxsize=64)
def _folded(text: str) -> str:
    """In lower case, with single blanks, without a final full stop: a search folds one text for every cue."""
    return " ".join(text.casefold().split()).rstrip(".")


def rarity(cues: Iterable[str]) -> dict[str, float]:
    """Inverse document frequency of each word in a memory's cues: a word that stands in few of them weighs more."""
    counts: dict[str, int] = {}
    size = 0
    for cue in cues:
        size += 1
        for word in content_words(cue):
            counts[word] = counts.get(word, 0) + 1
    return {word: math.log(1 + size / count) for word, count in counts.items()}
