"""A compressor that nobody learns: all that was done stays, before any of what was seen."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from atlas.compression.compressor import Worth
from atlas.compression.pieces import pieces, share, words
from atlas.records import Window


class ActionsFirst:
    """All actions, the later ones first, and of what was seen the clauses that name what is done next.

    What a demonstration says beside its actions is about another place; a student that was trained with demonstrations
    cut so (``atlas train --compress actions``) does without most of it.
    """

    digest: ClassVar[str] = "actions"
    long: ClassVar[int] = 0

    def worth(self, window: Window, task: str) -> Worth:
        """``task`` is not read."""
        steps = window.steps
        often = Counter(w for step in steps for text in (step.action, step.observation) for w in words(text))
        return Worth(
            # Above what any clause is worth.
            [2.0 + n for n in range(len(steps))],
            [
                [share(words(step.action), words(piece), often) for piece in pieces(step.observation, self.long)]
                for step in steps
            ],
        )
