"""Which pieces of a demonstration stay in a budget: those that a compressor puts first, for each token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from atlas.compression.pieces import action_tokens, cut, piece_tokens, pieces, tokens
from atlas.errors import ConfigError
from atlas.records import Window


class Compressor(Protocol):
    """What says how much each piece of a demonstration is worth."""

    @property
    def digest(self) -> str:
        """Which one it is."""
        ...

    def worth(self, window: Window, task: str) -> Sequence[Sequence[float]]:
        """Of each piece of each step of ``window``, as :func:`atlas.compression.pieces.pieces` cuts them, what a token
        of it is worth to a reader whose goal is ``task``. Only the order matters."""
        ...


def compressed(window: Window, compressor: Compressor, keep: float, task: str) -> Window:
    """``window`` in at most a share of ``keep`` (above 0, at most 1) of its tokens, as
    :func:`atlas.tokens.estimate_tokens` counts them; its actions stay, also where they alone take more."""
    if keep >= 1.0:
        return window
    worth = compressor.worth(window, task)
    left = keep * tokens(window) - sum(map(action_tokens, window.steps))
    places = [(n, i) for n, row in enumerate(worth) for i in range(len(row))]
    stay = [[False] * len(row) for row in worth]
    for n, i in sorted(places, key=lambda place: (-worth[place[0]][place[1]], place)):
        cost = piece_tokens(pieces(window.steps[n].observation)[i])
        if cost <= left:
            stay[n][i] = True
            left -= cost
    return cut(window, stay)


def load_compressor(place: str | Path) -> Compressor:
    """A file that 'atlas memory compressor' wrote, or a folder that holds a token classifier such as LLMLingua-2's.
    Raises ConfigError or DataError for anything else."""
    from atlas.compression.learned import LearnedCompressor
    from atlas.compression.llmlingua import TokenClassifier

    path = Path(place).expanduser()
    if path.is_dir():
        return TokenClassifier(path)
    if not path.exists():
        raise ConfigError(
            f"there is no compressor {place}: make one with 'atlas memory compressor MEMORY --student MODEL -o FILE', "
            "or name a folder with the weights of a token classifier"
        )
    return LearnedCompressor.load(path)
