"""Which of the given actions a language model finds most probable, with as few evaluations of the model as possible.

The actions' token sequences form a trie below one shared prompt. A path's probability only falls as it grows, so
expanding the most probable open path first finds the actions in exact order, mostly after a dozen evaluations.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atlas.errors import ConfigError
from atlas.records import BARE, TRANSCRIPT, Form

Node = dict[int, "Node | int"]
"""From the next token to the rest of the trie, or to the index of the action that ends with it."""

Path = tuple[int, ...]
Expand = Callable[[Path, frozenset[int], int], tuple[dict[int, float], float]]
"""``(path, wanted, effort)`` to the log-probabilities of those wanted next tokens that were found, and an upper bound
for those that were not. Each repeated call for the same path comes with ``effort`` one higher; a bound of minus
infinity says that nothing more is to be found."""

Ranked = list[tuple[int, float]]
"""(index of the action, log-probability of its whole token sequence), most probable first."""


def ranking_form(form: Form) -> Form:
    """``form``, where models that rank read it. Raises ConfigError for others."""
    if form not in (BARE, TRANSCRIPT):
        raise ConfigError(f"a ranking model reads prompts in the form {BARE} or {TRANSCRIPT}, not {form!r}")
    return form


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


def best_first(root: Node, expand: Expand, *, temperature: float, tolerance: float = 1e-3) -> Ranked:
    """The most probable actions, as many as matter for a draw at ``temperature``.

    Search stops when all actions not yet found could together hold at most ``tolerance`` of the mass of the softmax of
    log-probability / temperature; at temperature 0 that is after the first.
    """
    leaves = _count(root)
    found: Ranked = []
    order = itertools.count()
    # (minus the upper bound, tie-break, open path)
    frontier: list[tuple[float, int, _Open]] = [(0.0, next(order), _Open((), root, 0.0, frozenset(root), 0))]
    while frontier:
        negative, _, at = heapq.heappop(frontier)
        if found and _negligible(-negative - found[0][1], leaves - len(found), temperature, tolerance):
            break
        if isinstance(at.node, int):
            found.append((at.node, at.logprob))
            continue
        known, rest = expand(at.path, at.wanted, at.effort)
        for token, step in known.items():
            child = at.node[token]
            below = frozenset(child) if isinstance(child, dict) else frozenset[int]()
            logprob = at.logprob + step
            heapq.heappush(frontier, (-logprob, next(order), _Open((*at.path, token), child, logprob, below, 0)))
        missing = at.wanted - known.keys()
        if missing and rest > -math.inf:
            again = _Open(at.path, at.node, at.logprob, missing, at.effort + 1)
            heapq.heappush(frontier, (-(at.logprob + rest), next(order), again))
    return found


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


def draw(ranked: Ranked, temperature: float, seed: int) -> tuple[int, float]:
    """One of ``ranked``, from the softmax of log-probability / temperature; the best one at temperature 0."""
    best = ranked[0][1]
    if temperature <= 0 or len(ranked) == 1:
        return ranked[0]
    weights = [math.exp((logprob - best) / temperature) for _, logprob in ranked]
    return random.Random(seed).choices(ranked, weights)[0]
