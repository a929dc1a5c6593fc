"""Benchmarks and their environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.benchmarks.suite import Suite, TaskRef

__all__ = [
    "Suite",
    "TaskRef",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.benchmarks.suite": "Suite TaskRef",
    },
)
