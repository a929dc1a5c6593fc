"""The episode so far in a budget of tokens, of which the beginning stays the same over many steps."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.compression.compressor import Compressor, Worth, filled
from atlas.compression.pieces import LEFT_OUT, LONG, piece_tokens, pieces, shorter
from atlas.records import DemoStep, Told, Turn, View, Window

NEWEST = 3
"""Turns that always stay whole."""
LEAVES = 0.5
"""Share of the budget, less the opening, that the turns have when it is exceeded: what is told then grows again until
it is exceeded next."""

Flags = dict[int, tuple[bool, ...]]
"""Of turns of whose observation not all stays, which of its pieces do."""


def told(view: View, budget: int, compressor: Compressor | None = None) -> Told | None:
    """What of ``view``'s opening and turns is told in about ``budget`` tokens, as
    :func:`atlas.tokens.estimate_tokens` counts them; None where all of it is.

    It is the same whoever asks and when: the turns are gone through in their order, and where one exceeds the budget,
    old ones are left out until they take :data:`LEAVES` of what the opening leaves of it, those of least worth to the
    ``compressor`` for their tokens first, and without one the oldest. What was left out stays out. So between two cuts
    the text only grows, and a provider's cache of it holds. An action goes with what it brought about; of an
    observation that is long, clauses may stay. The opening and the :data:`NEWEST` turns always stay whole; where they
    alone take more than the budget, every step is a cut.
    """
    kept: list[int] = []
    flags: Flags = {}
    long = LONG if compressor is None else compressor.long
    opening = size = piece_tokens(view.opening)
    for number, turn in enumerate(view.turns):
        kept.append(number)
        size += _action_tokens(turn) + piece_tokens(turn.observation)
        if size > budget:
            kept, flags = _shorter(view, kept, flags, LEAVES * (budget - opening), compressor, long)
            size = opening + sum(_size(view.turns[n], flags.get(n), long) for n in kept)
    if len(kept) == len(view.turns) and not flags:
        return None
    texts = [
        view.opening,
        *(
            shorter(view.turns[n].observation, flags[n], long) if n in flags else view.turns[n].observation
            for n in kept
        ),
    ]
    after = [-1, *kept]
    seen = [
        _marked(text) if following != number + 1 else text
        for text, number, following in zip(texts, after, [*kept, after[-1] + 1], strict=True)
    ]
    turns = (view.turns[n].replace(observation=text) for n, text in zip(kept, seen[1:], strict=True))
    return Told(opening=seen[0], turns=tuple(turns))


def _shorter(
    view: View, kept: Sequence[int], flags: Flags, left: float, compressor: Compressor | None, long: int
) -> tuple[list[int], Flags]:
    """What of the turns ``kept`` stays in ``left`` tokens."""
    turns = [view.turns[n] for n in kept]
    held = range(max(0, len(turns) - NEWEST), len(turns))
    # As a demonstration: observation n + 1 is what action n brought about, and after the last one nothing is done yet.
    seen = [view.opening, *(turn.observation for turn in turns)]
    actions = [*(turn.action for turn in turns), ""]
    steps = tuple(DemoStep(observation=text, action=action) for text, action in zip(seen, actions, strict=True))
    window = Window(demo_id="", task_id=view.task.id, goal=view.task.goal, steps=steps, best=len(steps) - 1)
    whole = [pieces(text, long) for text in seen]
    worth = _newest_first(whole) if compressor is None else compressor.worth(window, view.task.goal)

    def may(n: int, i: int) -> bool:
        if i < 0:
            return n < len(turns)
        # Neither the opening, which stays, nor what the newest turns saw, nor what was left out before.
        return 0 < n <= held.start and flags.get(kept[n - 1], (True,) * len(whole[n]))[i]

    def cost(n: int) -> int:
        return _action_tokens(turns[n]) + (1 if whole[n + 1] else piece_tokens(turns[n].observation))

    left -= sum(_size(turns[n], None, long) for n in held)
    stay = filled(worth, whole, cost, held, left, may)
    staying = [n for n in range(len(turns)) if stay.actions[n]]
    parts = {kept[n]: stay.pieces[n + 1] for n in staying if n not in held and not all(stay.pieces[n + 1])}
    return [kept[n] for n in staying], parts


def _newest_first(whole: Sequence[Sequence[str]]) -> Worth:
    """An action is worth more than what it brought about, and both more than all before them."""
    return Worth([float(n) for n in range(len(whole))], [[n - 1.5] * len(row) for n, row in enumerate(whole)])


def _action_tokens(turn: Turn) -> int:
    thought = piece_tokens(turn.thought) + 2 if turn.thought else 0
    return thought + piece_tokens(turn.action) + 2


def _size(turn: Turn, flags: tuple[bool, ...] | None, long: int) -> int:
    seen = turn.observation if flags is None else shorter(turn.observation, flags, long)
    return _action_tokens(turn) + piece_tokens(seen)


def _marked(text: str) -> str:
    """``text``, after which something is left out."""
    return text if text.endswith(LEFT_OUT) else f"{text}\n{LEFT_OUT}".lstrip("\n")
