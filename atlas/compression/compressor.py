"""What of a demonstration stays in a budget: what a compressor puts first, for each token."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atlas.compression.pieces import Stay, cut, exchange_tokens, fixed, piece_tokens, pieces, to_the_end, tokens
from atlas.errors import ConfigError
from atlas.records import Window

KEEP = 1 / 3
"""Share of a demonstration's tokens that stays where nobody says how many."""


@dataclass(frozen=True)
class Worth:
    """What a token of each part of a demonstration is worth. Only the order matters."""

    actions: Sequence[float]
    """Of each action with the observation after it."""
    pieces: Sequence[Sequence[float]]
    """Of each of the :func:`atlas.compression.pieces.pieces` of each observation."""


class Compressor(Protocol):
    """What says how much each part of a demonstration is worth."""

    @property
    def digest(self) -> str:
        """Which one it is."""
        ...

    @property
    def long(self) -> int:
        """Tokens up to which an observation stays whole, with the action that brought it about; a longer one is in
        pieces."""
        ...

    def worth(self, window: Window, task: str) -> Worth:
        """To a reader whose goal is ``task``."""
        ...


def compressed(window: Window, compressor: Compressor, keep: float, task: str) -> Window:
    """``window`` in at most a share of ``keep`` (above 0, at most 1) of its tokens, as
    :func:`atlas.tokens.estimate_tokens` counts them, goal and plan left aside. The last action and that of the best
    match stay, also where they alone take more."""
    if keep >= 1.0:
        return window
    steps, held, long = window.steps, fixed(window), compressor.long
    # Observation n is what action n - 1 brought about; the first one is always there.
    opening = 0 if pieces(steps[0].observation, long) else piece_tokens(steps[0].observation)
    left = keep * tokens(window) - opening - sum(exchange_tokens(steps, n, long) for n in held)
    whole = [pieces(step.observation, long) for step in steps]
    stay = filled(compressor.worth(window, task), whole, lambda n: exchange_tokens(steps, n, long), held, left)
    return cut(window, stay, long)


def all_compressed(
    windows: Iterable[Window], compressor: Compressor, keep: float, task: str, *, lasting: bool
) -> tuple[Window, ...]:
    """What a reader whose goal is ``task`` is shown of ``windows``, in play as in training. Of ``lasting`` ones, whole
    trajectories that are shown for an episode, no step is the match."""
    found = map(to_the_end, windows) if lasting else windows
    return tuple(compressed(window, compressor, keep, task) for window in found)


def filled(
    worth: Worth,
    whole: Sequence[Sequence[str]],
    cost: Callable[[int], int],
    held: Collection[int],
    left: float,
    may: Callable[[int, int], bool] = lambda n, i: True,
) -> Stay:
    """What stays of actions, and of the pieces ``whole`` of the observations before them, where ``left`` tokens are
    left beside the actions ``held``: what is worth most first, for as long as it fits.

    ``cost`` tells an action's tokens with the observation after it, where that is not one of pieces. ``may`` tells
    whether piece ``i`` of observation ``n``, or where that is -1 action ``n``, may stay.
    """
    actions = [n in held for n in range(len(whole))]
    stay = [[False] * len(row) for row in whole]
    parts = [(value, n, -1) for n, value in enumerate(worth.actions) if n not in held]
    parts += [(value, n, i) for n, row in enumerate(worth.pieces) for i, value in enumerate(row)]
    parts.sort(key=lambda part: (-part[0], part[1:]))
    for _, n, i in parts:
        if not may(n, i):
            continue
        action = n if i < 0 else n - 1
        # A piece has its place after the action that brought it about, which then stays too.
        takes = cost(action) if action >= 0 and not actions[action] else 0
        takes += piece_tokens(whole[n][i]) if i >= 0 else 0
        if takes <= left:
            left -= takes
            if action >= 0:
                actions[action] = True
            if i >= 0:
                stay[n][i] = True
    return Stay(tuple(actions), tuple(map(tuple, stay)))


def load_compressor(place: str | Path) -> Compressor:
    """A file that 'atlas memory compressor' wrote, a folder that holds a token classifier such as LLMLingua-2's, or by
    the name ``actions`` an :class:`~atlas.compression.actions_first.ActionsFirst`. Raises ConfigError or DataError for
    anything else."""
    from atlas.compression.actions_first import ActionsFirst
    from atlas.compression.learned import LearnedCompressor
    from atlas.compression.llmlingua import TokenClassifier

    if str(place) == ActionsFirst.digest:
        return ActionsFirst()
    path = Path(place).expanduser()
    if path.is_dir():
        return TokenClassifier(path)
    if not path.exists():
        raise ConfigError(
            f"there is no compressor {place}: make one with 'atlas memory compressor MEMORY --student MODEL -o FILE', "
            "name a folder with the weights of a token classifier, or write 'actions'"
        )
    return LearnedCompressor.load(path)
