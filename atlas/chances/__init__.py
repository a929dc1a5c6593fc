"""How likely an answer is right, and a task to succeed: learned from logged episodes, kept as small files.

:class:`Selector` says which of several answers is the best and whether to ask once more, :class:`Foresight` how likely
a student is to manage a task by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.chances.attempt import Attempt
    from atlas.chances.foresight import Foresight
    from atlas.chances.selector import Selector

__all__ = ["Attempt", "Foresight", "Selector"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.chances.attempt": "Attempt",
        "atlas.chances.foresight": "Foresight",
        "atlas.chances.selector": "Selector",
    },
)
