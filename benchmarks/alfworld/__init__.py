"""ALFWorld: household games in text, played by an engine of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.benchmarks.alfworld.suite import Alfworld
    from atlas.benchmarks.alfworld.teacher import ScriptedExpert

__all__ = [
    "Alfworld",
    "ScriptedExpert",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.benchmarks.alfworld.suite": "Alfworld",
        "atlas.benchmarks.alfworld.teacher": "ScriptedExpert",
    },
)
