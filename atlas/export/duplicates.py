"""Rows that say the same thing twice: exactly, or nearly.

Exact: two rows that render to the same text are one. Near: two steps of different episodes whose action is the same in
canonical form, and whose states (goal, observations and actions so far) share at least ``threshold`` of their 5-word
shingles (Jaccard). What changes without the state changing (demonstrations, pamphlets, lists of actions, thoughts)
is not looked at. Steps of one episode are never near-duplicates of each other: each adds only a little to the same
history.

The Jaccard similarity is estimated by MinHash (Broder 1997) with 128 hashes, found by 16 bands of 8 (two states at the
threshold of 0.9 are found with probability 0.9999). The minimum over a union is the minimum of the minima, so each step
costs only what it adds. All of it is deterministic.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

HASHES, BANDS, WORDS = 128, 16, 5
METHOD = {
    "exact": "sha256 of the rendered row",
    "near": f"same canonical action; MinHash ({HASHES} hashes, {BANDS} bands) over {WORDS}-word shingles of the state",
}

Signature = NDArray[np.uint32]
_rng = np.random.Generator(np.random.PCG64(20260101))
_MULTIPLY = _rng.integers(1, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_ADD = _rng.integers(0, 2**63, HASHES, dtype=np.uint64)


def empty() -> Signature:
    """The signature of no text."""
    return np.full(HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)


def signature(text: str) -> Signature:
    """The MinHash of a text: for each hash function the least value over its shingles, case and spacing aside."""
    words = text.casefold().split()
    if not words:
        return empty()
    shingles = {" ".join(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))}
    keys = [hashlib.blake2b(s.encode("utf-8", "surrogatepass"), digest_size=8).digest() for s in shingles]
    values = np.frombuffer(b"".join(keys), dtype="<u8").astype(np.uint64)
    # Multiply-shift hashing: the high half of an odd multiple, modulo 2^64.
    hashed = (values[:, None] * _MULTIPLY + _ADD) >> np.uint64(32)
    found: Signature = hashed.min(axis=0).astype(np.uint32)
    return found


def similarity(a: Signature, b: Signature) -> float:
    """The estimated Jaccard similarity of two texts."""
    return float((a == b).mean())


class States:
    """The signatures of the states of one episode, step after step."""

    def __init__(self, goal: str) -> None:
        self._so_far = signature(goal)

    def at(self, observation: str) -> Signature:
        """The state in which ``observation`` is the newest: call once a step, in order."""
        self._so_far = np.minimum(self._so_far, signature(observation))
        return self._so_far

    def after(self, action: str) -> None:
        """What was done there."""
        self._so_far = np.minimum(self._so_far, signature(f"> {action}"))


class Duplicates:
    """Remembers rows and tells whether one was there before."""

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold
        """Above 1, nothing is a near-duplicate."""
        self._exact: dict[bytes, str] = {}
        self._bands: dict[bytes, list[tuple[str, str, Signature]]] = {}

    def reason(self, content: bytes, state: Signature, action: str, *, episode: str, part: str) -> str | None:
        """Why a row is a duplicate; None, and it is remembered, where it is none.

        ``content`` is the rendered row, ``action`` its canonical action, ``part`` the side of the split it is on.
        """
        key = hashlib.sha256(content).digest()
        if (before := self._exact.get(key)) is not None:
            return _reason("exact duplicate", before, part)
        bands = self._keys(state, action) if self.threshold <= 1 else []
        for band in bands:
            for other, side, seen in self._bands.get(band, ()):
                if other != episode and similarity(seen, state) >= self.threshold:
                    return _reason("near-duplicate", side, part)
        self._exact[key] = part
        for band in bands:
            self._bands.setdefault(band, []).append((episode, part, state))
        return None

    @staticmethod
    def _keys(state: Signature, action: str) -> list[bytes]:
        name = action.encode("utf-8", "surrogatepass")
        rows = state.reshape(BANDS, -1)
        return [
            hashlib.blake2b(bytes([i]) + row.tobytes() + name, digest_size=12).digest() for i, row in enumerate(rows)
        ]


def _reason(kind: str, before: str, now: str) -> str:
    return kind if before == now else f"{kind} of a row on the other side of the split"
