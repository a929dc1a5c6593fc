"""Which trajectories are held out to measure the loss on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from atlas.trained.trajectory import Trajectory

SHARE = 0.05


def split(trajectories: Sequence[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """(to train on, held out). What an export marked as held out is; without marks, about a twentieth of the tasks.

    By task, so that no task is on both sides, and by a hash of its id, so that it is on the same side each time.
    """
    held = [t for t in trajectories if t.holdout]
    if held:
        return [t for t in trajectories if not t.holdout], held
    train = [t for t in trajectories if _place(t.task) >= SHARE]
    if not train:
        return list(trajectories), []
    return train, [t for t in trajectories if _place(t.task) < SHARE]


def _place(task: str) -> float:
    """A number from 0 to 1 that only the task's id determines."""
    return int.from_bytes(hashlib.blake2b(task.encode(), digest_size=4).digest(), "big") / 2**32
