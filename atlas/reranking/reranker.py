"""The order in which demonstrations that were found are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from atlas.errors import ConfigError
from atlas.records import View, Window


class Reranker(Protocol):
    """What says how much each of the demonstrations that were found would help."""

    @property
    def digest(self) -> str:
        """Which one it is."""
        ...

    @property
    def every(self) -> Literal["step", "episode"]:
        """Whether it chooses windows for a step, or whole demonstrations for an episode."""
        ...

    @property
    def candidates(self) -> int:
        """Of how many that retrieval found it chooses."""
        ...

    def scores(self, windows: Sequence[Window], view: View) -> Sequence[float]:
        """Of each of ``windows``, in the order in which they were found. Only their order matters."""
        ...


def reranked(windows: Sequence[Window], view: View, reranker: Reranker, k: int) -> tuple[Window, ...]:
    """The ``k`` of ``windows`` that ``reranker`` puts first, best first; of equal ones that which was found first."""
    scores = reranker.scores(windows, view)
    order = sorted(range(len(windows)), key=lambda n: -scores[n])
    return tuple(windows[n] for n in order[:k])


def load_reranker(place: str | Path) -> Reranker:
    """A file that 'atlas memory reranker' wrote. Raises ConfigError where there is none, and DataError for another."""
    from atlas.reranking.learned import LearnedReranker

    path = Path(place).expanduser()
    if not path.exists():
        raise ConfigError(
            f"there is no reranker {place}: make one with 'atlas memory reranker MEMORY --student MODEL -o FILE'"
        )
    return LearnedReranker.load(path)
