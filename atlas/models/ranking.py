"""Which of the given actions a language model finds most probable, with as few evaluations of the model as possible.

The actions' token sequences form a trie below one shared prompt. A path's probability only falls as it grows, so
expanding the most probable open path first finds the actions in exact order, mostly after a dozen evaluations.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atlas.errors import ConfigError
from atlas.records import BARE, TRANSCRIPT, Form, Rank

Node = dict[int, "Node | int"]
"""From the next token to the rest of the trie, or to the index of the action that ends with it."""

Path = tuple[int, ...]
Expand = Callable[[Path, frozenset[int], int], tuple[dict[int, float], float]]
"""``(path, wanted, effort)`` to the log-probabilities of those wanted next tokens that were found, and an upper bound
for those that were not. Each repeated call for the same path comes with ``effort`` one higher; a bound of minus
infinity says that nothing more is to be found."""

Ranked = list[tuple[int, float]]
"""(index of the action, log-probability of its whole token sequence or the mean of its tokens), highest first."""

RANKS: tuple[Rank, ...] = ("sum", "mean")


def ranking_form(form: Form) -> Form:
    """``form``, where models that rank read it. Raises ConfigError for others."""
    if form not in (BARE, TRANSCRIPT):
        raise ConfigError(f"a ranking model reads prompts in the form {BARE} or {TRANSCRIPT}, not {form!r}")
    return form


def ranking_rule(rank: Rank) -> Rank:
    """``rank``, where there is one of that name. Raises ConfigError for others."""
    if rank not in RANKS:
        raise ConfigError(f"actions are ranked by {' or '.join(RANKS)}, not by {rank!r}")
    return rank


def trie(sequences: Sequence[Sequence[int]]) -> Node:
    """A trie of token sequences, none of which is a prefix of another: each ends with the token that ends a turn."""
    root: Node = {}
    for index, sequence in enumerate(sequences):
        node = root
        for token in sequence[:-1]:
            child = node.setdefault(token, {})
            assert isinstance(child, dict)
            node = child
        node[sequence[-1]] = index
    return root


def best_first(
    root: Node, expand: Expand, *, temperature: float, tolerance: float = 1e-3, rank: Rank = "sum"
) -> Ranked:
    """The highest ranked actions, as many as matter for a draw at ``temperature``.

    Search stops when all actions not yet found could together hold at most ``tolerance`` of the mass of the softmax of
    log-probability / temperature; at temperature 0 that is after the first.
    """
    leaves = _count(root)
    found: Ranked = []

    def bound(logprob: float, depth: int, node: Node | int) -> float:
        # A mean is highest where the tokens to come cost nothing and are as many as they can be.
        return logprob if rank == "sum" else logprob / (depth + _height(node))

    order = itertools.count()
    # (minus the upper bound, tie-break, open path)
    frontier: list[tuple[float, int, _Open]] = [(0.0, next(order), _Open((), root, 0.0, frozenset(root), 0))]
    while frontier:
        negative, _, at = heapq.heappop(frontier)
        if found and _negligible(-negative - found[0][1], leaves - len(found), temperature, tolerance):
            break
        if isinstance(at.node, int):
            found.append((at.node, bound(at.logprob, len(at.path), at.node)))
            continue
        known, rest = expand(at.path, at.wanted, at.effort)
        for token, step in known.items():
            child = at.node[token]
            below = frozenset(child) if isinstance(child, dict) else frozenset[int]()
            logprob = at.logprob + step
            path = (*at.path, token)
            highest = bound(logprob, len(path), child)
            heapq.heappush(frontier, (-highest, next(order), _Open(path, child, logprob, below, 0)))
        missing = at.wanted - known.keys()
        if missing and rest > -math.inf:
            again = _Open(at.path, at.node, at.logprob, missing, at.effort + 1)
            highest = bound(at.logprob + rest, len(at.path), at.node)
            heapq.heappush(frontier, (-highest, next(order), again))
    return found


def by_mean(ranked: Ranked, sequences: Sequence[Sequence[int]]) -> Ranked:
    """The same actions by the mean of their tokens."""
    return sorted(((i, logprob / len(sequences[i])) for i, logprob in ranked), key=lambda pair: -pair[1])


class Remembered:
    """Rankings of recent prompts, so that further samples, or the same question once more, cost no pass."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], tuple[Ranked, float]] = (
            OrderedDict()
        )

    def find(self, prompt: Sequence[int], sequences: Sequence[tuple[int, ...]], temperature: float) -> Ranked | None:
        """What was found for these actions behind this prompt, if enough for a draw at ``temperature``."""
        found = self._kept.get((tuple(prompt), tuple(sequences)))
        return found[0] if found is not None and temperature <= found[1] else None

    def keep(
        self,
        prompt: Sequence[int],
        sequences: Sequence[tuple[int, ...]],
        ranked: Ranked,
        temperature: float = math.inf,
    ) -> None:
        """``temperature``: up to which it is enough for a draw."""
        self._kept[tuple(prompt), tuple(sequences)] = ranked, temperature
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


@dataclass(frozen=True)
class _Open:
    """A path in the frontier: the log-probability of its tokens, and which of its next tokens are still wanted."""

    path: Path
    node: Node | int
    logprob: float
    wanted: frozenset[int]
    effort: int


def _negligible(gap: float, remaining: int, temperature: float, tolerance: float) -> bool:
    """Whether ``remaining`` actions, each at least ``-gap`` below the best one, can be left out of a draw."""
    if temperature <= 0:
        return True
    return math.log(remaining) + gap / temperature < math.log(tolerance) if remaining else True


def _count(node: Node | int) -> int:
    return 1 if isinstance(node, int) else sum(_count(child) for child in node.values())


def _height(node: Node | int) -> int:
    """Tokens to the end of the longest action below."""
    return 0 if isinstance(node, int) else 1 + max(map(_height, node.values()))


def draw(ranked: Ranked, temperature: float, seed: int) -> tuple[int, float]:
    """One of ``ranked``, from the softmax of what it is ranked by / temperature; the best one at temperature 0."""
    best = ranked[0][1]
    if temperature <= 0 or len(ranked) == 1:
        return ranked[0]
    weights = [math.exp((logprob - best) / temperature) for _, logprob in ranked]
    return random.Random(seed).choices(ranked, weights)[0]
