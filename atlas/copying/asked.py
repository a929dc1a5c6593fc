"""What a task asks for, in its own words: the thing that its last sentence wants to be told."""

from __future__ import annotations

import re
from functools import lru_cache

from atlas.copying.values import sentences

_MARKED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']{2,}'")
_WANTED = re.compile(
    r"\b(?:what(?:'s| is| was| were| are)?|which|who(?:se)?(?: is| was)?|identify|provide|determine|specify|name"
    r"|find(?: out)?|tell|give|get|share)\b(?:\s+(?:me|us|to me))?(?:\s+what)?(?:\s+(?:is|was|were|are))?"
    r"(?:\s+(?:the|a|an))?\s+",
    re.IGNORECASE,
)
_OF_WHAT = re.compile(
    r"\b(?:involved|associated|related|used|linked|connected|that|which|who|where|when|from|in|on|during|for|after|with"
    r"|by|to|was|were|is|are|has|had|observed|detected|identified|found|likely|potentially|responsible|at|whose"
    r"|exhibiting|and|she|he|they|it|we|you)\b|[?.,;:]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][\w-]*")
_SMALL = frozenset("the a an of this its specific exact full name's".split())
MOST_WORDS = 6
"""Words that may name a thing; what is longer tells a story."""


@lru_cache(maxsize=16_384)
def question(goal: str) -> str:
    """The last sentence of a task."""
    return (sentences(goal) or ("",))[-1]


@lru_cache(maxsize=16_384)
def asked(goal: str) -> str:
    """The thing that the last sentence of ``goal`` asks for, as it names it: ``hostname of device``. Empty for none."""
    said = _MARKED.sub(" ", question(goal))
    phrases = (_phrase(said[found.end() :]) for found in _WANTED.finditer(said))
    return next(filter(None, phrases), "") or _phrase(said)


def _phrase(text: str) -> str:
    """The words of ``text`` that name a thing, up to where it is told what of."""
    end = _OF_WHAT.search(text)
    words = _WORD.findall(text[: end.start()] if end else text)[:MOST_WORDS]
    return " ".join(word for word in words if word.casefold() not in _SMALL)
