"""Things that text worlds name by class and number, as in ``take mug 1 from cabinet 3``."""

from __future__ import annotations

import re
from functools import lru_cache

ENTITY = re.compile(r"\b([a-z]+) (\d+)\b")


@lru_cache(maxsize=65_536)
def entities(text: str) -> tuple[tuple[str, str], ...]:
    """The (class, number) mentions in ``text``, in order."""
    return tuple((m[1], m[2]) for m in ENTITY.finditer(text.casefold()))


@lru_cache(maxsize=65_536)
def skeleton(action: str) -> str:
    """The action without its entities: ``take _ from _``."""
    return ENTITY.sub("_", action.casefold())


@lru_cache(maxsize=65_536)
def natural(action: str) -> tuple[tuple[int, str], ...]:
    """Sorts ``drawer 2`` before ``drawer 10``."""
    return tuple((len(part) if part.isdecimal() else 0, part) for part in action.split())
