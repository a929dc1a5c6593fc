"""What it costs to see that an episode gets nowhere, as the episode grows."""

from __future__ import annotations

from atlas.benchmarks.perf.measured import DECISIONS, WATCHED, watched
from atlas.benchmarks.perf.table import Table

LENGTHS = (50, 400, 2000)


def measure() -> Table:
    """Milliseconds per decision after so many turns, in an episode that gets on and in one that goes in circles."""
    return Table(
        name="watch",
        title="Watch, CPU milliseconds per decision beyond what the policy inside and the teacher take",
        columns=("an episode with", *(f"{length} turns" for length in LENGTHS)),
        rows=tuple(
            (what, *(round(watched(length, different), 4) for length in LENGTHS)) for what, different in WATCHED.items()
        ),
        note=f"Mean of the {DECISIONS} decisions up to there.",
    )
