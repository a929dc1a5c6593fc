"""What a student learns from: trajectories, read from runs or from exported rows.

A trajectory is one episode with a weight at each step: how much its action counts in the loss. A weight of 0 leaves the
step in as context, so that recipes choose steps without cutting episodes up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from atlas.errors import DataError
from atlas.export import Row, read_rows, run_rows
from atlas.prompts import guidance_part
from atlas.records import STUDENT, Record, View
from atlas.traces.reader import Run
from atlas.traces.writer import MANIFEST


class Moment(Record):
    """One step: what was seen before it, what was done, by whom and why."""

    observation: str
    action: str
    thought: str = ""
    actor: str = STUDENT
    model: str = ""
    """Whose reply it was; empty where the trace does not tell."""
    escalated: bool = False
    """Whether the student was asked, was in doubt, and the teacher acted."""
    guidance: str = ""
    """What the prompt held that a later student shall do without: a pamphlet's text."""
    weight: float = 1.0
    """Of the action in the loss; 0 where it is context only."""


class Trajectory(Record):
    """One episode as it is trained on."""

    task: str
    goal: str
    stable: str = ""
    """How to act: the part of the prompt that is the same at every step, for bases that read prompts."""
    family: str = ""
    success: bool | None = None
    holdout: bool = False
    """Whether it is kept apart to measure the loss on."""
    advantage: float = 0.0
    """Its reward less a baseline, for recipes that learn from rewards."""
    moments: tuple[Moment, ...]

    def weighted(self, weights: Iterable[float]) -> Trajectory:
        """The same trajectory with other weights, one for each moment."""
        moments = tuple(m.model_copy(update={"weight": w}) for m, w in zip(self.moments, weights, strict=True))
        return self.model_copy(update={"moments": moments})


def read(places: Sequence[str | Path], *, permitted: Sequence[str] = ()) -> list[Trajectory]:
    """The trajectories of runs and of files or folders of exported rows.

    A step of a model that may not be trained on is context only; ``permitted`` are further models that may. Raises
    DataError where there is nothing to train on.
    """
    found = [t for place in places for t in _trajectories(_rows(Path(place), permitted))]
    if not found:
        raise DataError(f"{' and '.join(map(str, places))} holds no finished episode: give a run or an export of one")
    if not any(m.weight for t in found for m in t.moments):
        raise DataError(
            f"no step in {' and '.join(map(str, places))} may be trained on: name with --permitted whose words may"
        )
    return found


def _rows(place: Path, permitted: Sequence[str]) -> Iterator[Row]:
    if (place / MANIFEST).is_file():
        return run_rows(Run(place), permitted=permitted)
    if not place.exists():
        raise DataError(f"{place} does not exist: give a run's folder, or what 'atlas export --format rows' wrote")
    return read_rows(place)


def _trajectories(rows: Iterable[Row]) -> Iterator[Trajectory]:
    for _, grouped in groupby(rows, key=lambda row: (row.run, row.episode)):
        # A retried episode begins anew with each attempt; only the last one's steps led to its result.
        own = [row for row in grouped if row.last_attempt]
        if not own:
            continue
        if any(later.index != row.index + 1 for row, later in pairwise(own)):
            raise DataError(f"steps are missing of episode {own[0].episode}: make the rows anew with 'atlas export'")
        yield _trajectory(own)


def _trajectory(rows: Sequence[Row]) -> Trajectory:
    first = rows[0]
    return Trajectory(
        task=first.task,
        goal=first.goal,
        stable=first.prompt.stable,
        family=first.family,
        success=first.success,
        holdout=first.part == "holdout",
        moments=tuple(
            Moment(
                observation=row.observation,
                action=row.action,
                thought=row.thought,
                actor=row.actor,
                model=row.model,
                escalated=row.escalated,
                guidance=row.prompt.guidance,
                weight=float(row.trainable and bool(row.action) and not row.context),
            )
            for row in rows
        ),
    )


def from_view(view: View) -> Trajectory:
    """The past of a view: what a student is shown when it is asked for the next action, which is left empty.

    Its guidance is that of the next action: what stood beside earlier ones, a view does not hold.
    """
    seen = [view.opening, *(turn.observation for turn in view.turns)]
    past = [Moment(observation=o, action=t.action) for o, t in zip(seen, view.turns, strict=False)]
    moments = (*past, Moment(observation=seen[-1], action="", guidance=guidance_part(view.guidance)))
    return Trajectory(task=view.task.id, goal=view.task.goal, moments=moments)


def fingerprint(trajectories: Iterable[Trajectory]) -> str:
    """A hash of all that is trained on, in its order."""
    digest = hashlib.sha256()
    for trajectory in trajectories:
        digest.update(trajectory.model_dump_json().encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
