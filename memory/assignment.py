"""Coins that switch entries on and off, so that what they do can be told from what they are seen with.

An entry is shown on tasks that it fits, and those may be easy tasks. Only where a coin decides does the difference
between "shown" and "withheld" belong to the entry.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from atlas.errors import ConfigError
from atlas.given import check_share, real, shown


class Assignment(NamedTuple):
    """What a coin decided for one entry in one episode."""

    randomised: bool
    """Whether a coin decided at all."""
    shown: bool
    """False only where a coin decided against it."""


def assignment(entry_id: str, task_id: str, seed: int, *, share: float, p: float = 0.5) -> Assignment:
    """Whether the entry may be shown in the episode of ``task_id`` and ``seed``: the same answer at every step of it.

    share: of the episodes that are experiments; in them every entry has its own coin.
    p: the probability that an entry is shown in an experiment, neither 0 nor 1.

    The coins of different entries, tasks and seeds are independent, and nothing that happens in a run moves them. Pass
    the seed that the episode began with: a retry belongs to the same episode.
    """
    check_share("the share of experiments", share)
    if not real(p) or not 0.0 < p < 1.0:
        raise ConfigError(f"an entry is shown in an experiment with a probability between 0 and 1, not {shown(p)}")
    if _uniform("experiment", seed, task_id) >= share:
        return Assignment(randomised=False, shown=True)
    return Assignment(randomised=True, shown=_uniform("entry", seed, task_id, entry_id) < p)


def _uniform(*parts: object) -> float:
    """A number in [0, 1) that is the same on every machine and in every Python."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
