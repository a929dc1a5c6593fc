"""Scores that come after an episode's end, and their corrections: a further ``end`` line, of which the last counts."""

from __future__ import annotations

import math

from atlas.errors import ConfigError
from atlas.evaluators.outcome import success
from atlas.records import Episode, Stop


def rescored(episode: Episode, score: float, *, at_least: float) -> Episode:
    """``episode`` with that score, in place of a judge's; it is a success from ``at_least`` on.

    Raises ConfigError for one that was stopped from outside or ended with an error: it has no result to score.
    """
    if not math.isfinite(score):
        raise ConfigError(f"a score is a finite number, not {score}")
    if episode.stop in (Stop.ERROR, Stop.CANCELLED, Stop.RUN_BUDGET):
        raise ConfigError(f"episode {episode.id} stopped with {episode.stop}, which is no result that could be scored")
    return episode.replace(score=float(score), success=success(float(score), at_least=at_least), verdict=None)
