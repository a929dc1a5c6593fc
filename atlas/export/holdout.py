"""Which tasks are held out: by a hash of their names, so that a task is on the same side in every run and export."""

from __future__ import annotations

import hashlib

TRAIN, HOLDOUT = "train", "holdout"

GROUPS = ("task", "family")
"""What must not be torn apart: a task, or all tasks of a family (an incident, a type)."""

METHOD = (
    "held out where the first 8 bytes of sha256('atlas-holdout:' + group), as a fraction of 2^64, are below the share"
)


def position(group: str) -> float:
    """Where a group lies between 0 and 1, on every machine. A larger share holds out all that a smaller one does."""
    digest = hashlib.sha256(f"atlas-holdout:{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def part_of(group: str, share: float) -> str:
    """``holdout`` for about ``share`` of all groups, else ``train``."""
    return HOLDOUT if position(group) < share else TRAIN
