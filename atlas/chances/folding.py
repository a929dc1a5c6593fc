"""What to learn from and what is then foretold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas.record import content_hash

FOLDS = 5

Places = NDArray[np.int_]


def folded(groups: Sequence[str], tasks: Sequence[str]) -> list[tuple[Places, Places]]:
    """For each part the places of the rest and its own: a group at a time where there are three or more of them, else a
    fifth of the tasks, by a hash of their ids."""
    if len(set(groups)) >= 3:
        names = list(dict.fromkeys(groups))
        part = np.array([names.index(group) for group in groups])
    else:
        part = np.array([int(content_hash(task), 16) % FOLDS for task in tasks])
    return [(np.flatnonzero(part != one), np.flatnonzero(part == one)) for one in np.unique(part)]
