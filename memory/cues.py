"""The words of a cue that say something, and how well they fit a text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from atlas.memory.pamphlet import SLOT

_WORD = re.compile(r"[^\W\d_]+|\d+")
_QUOTED = re.compile(r'"([^"]+)"')

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


@lru_cache(maxsize=16_384)
def template(cue: str) -> re.Pattern[str] | None:
    """What the quotation in ``cue`` matches: itself, with a word (and a number, as in ``drawer 2``) for each slot."""
    parts = SLOT.split(" ".join(quoted(cue).casefold().split()).rstrip("."))
    if not "".join(parts[::2]).strip():
        return None
    return re.compile("".join(r"\S+?(?: \d+)?" if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def says(cue: str, text: str) -> bool:
    """Whether ``text`` is what ``cue`` quotes, up to case, spacing and a final full stop."""
    pattern = template(cue)
    return pattern is not None and pattern.fullmatch(" ".join(text.casefold().split()).rstrip(".")) is not None


def rarity(cues: Iterable[str]) -> dict[str, float]:
    """Inverse document frequency of each word in a memory's cues: a word that stands in few of them weighs more."""
    counts: dict[str, int] = {}
    size = 0
    for cue in cues:
        size += 1
        for word in content_words(cue):
            counts[word] = counts.get(word, 0) + 1
    return {word: math.log(1 + size / count) for word, count in counts.items()}
