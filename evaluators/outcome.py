"""The environment's own word on how an episode went."""

from __future__ import annotations


def success(score: float | None, *, at_least: float = 1.0) -> bool | None:
    """Whether ``score`` (the environment's unit) reaches ``at_least``; None where nothing scored the episode.

    A missing score is neither success nor failure: it counts in no rate, and nothing is learned from it. Partial credit
    may be a sum of products: an ulp does not decide.
    """
    return None if score is None else score >= at_least - 1e-9
