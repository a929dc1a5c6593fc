"""What it costs to see that an episode gets nowhere, as the episode grows."""

from __future__ import annotations

import time

from atlas.benchmarks.perf.instant import InstantModel
from atlas.benchmarks.perf.table import Table
from atlas.policies import Solo, Watch
from atlas.records import Task, Turn, View

LENGTHS = (50, 400, 2000)
DECISIONS = 20


def measure() -> Table:
    """Milliseconds per decision after so many turns, in an episode that gets on and in one that goes in circles."""
    return Table(
        name="watch",
        title="Watch, milliseconds per decision beyond what the policy inside and the teacher take",
        columns=("an episode that", *(f"{length} turns" for length in LENGTHS)),
        rows=(
            ("sees something new at every step", *(_milliseconds(length, length) for length in LENGTHS)),
            ("goes in circles", *(_milliseconds(length, 7) for length in LENGTHS)),
        ),
        note=f"Mean of the {DECISIONS} decisions up to there.",
    )


def _milliseconds(length: int, different: int) -> float:
    watch = Watch(Solo(InstantModel("student")), InstantModel("teacher"))
    task = Task(id="t", goal="find the key")
    made = [Turn(action=f"go {i % different}", observation=f"room {i % different}") for i in range(length)]
    turns = tuple(made[: length - DECISIONS])
    watch.sign(View(task=task, opening="a house", turns=turns))
    seconds = 0.0
    for turn in made[length - DECISIONS :]:
        turns = (*turns, turn)
        view = View(task=task, opening="a house", turns=turns)
        began = time.perf_counter()
        watch.sign(view)
        seconds += time.perf_counter() - began
    return round(1e3 * seconds / DECISIONS, 4)
