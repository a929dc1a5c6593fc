"""Readings in which words stand for others, so that what they mean has to be read in the demonstration.

Who learns from some kinds of tasks, with demonstrations of the same kinds beside them, can do without these: the goal's
words say which kind it is, and what is done there is learnt by heart. With words that are drawn anew at each reading,
the same in the demonstration and in the episode, the demonstration alone says what they ask for. After symbol tuning
(arXiv 2305.08298), which does so with the labels of examples.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Set

from atlas.records import DemoStep, Window
from atlas.trained.trajectory import Moment, Trajectory

_WORD = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|.)|([A-Za-z]{3,})", re.DOTALL)
"""A word, or what JSON spells with a backslash: the arguments of tool calls stay JSON."""
_KEPT = frozenset(
    (
        "and are for from has have her his into its not off onto out some that the them then there this was with "
        "you your true false null"
    ).split()
)
"""Words that hold sentences together, and JSON: with others in their places it would be no language."""
_ONSETS = "b d f g k l m n p r s t v z br dr kl pl sk st tr".split()


def renamed(trajectory: Trajectory, rng: random.Random) -> Trajectory:
    """``trajectory`` and its demonstrations with words of their goals and actions replaced by words that there are not,
    each by the same everywhere. How many of them is drawn too, from none to all. Words are of three Latin letters or
    more; of other scripts all stays as it is."""
    asked = _words(_asked(trajectory))
    known = asked | _words(_seen(trajectory))
    share = rng.random()
    others: dict[str, str] = {}
    for word in sorted(asked - _KEPT):
        if rng.random() < share:
            others[word] = _made_up(rng, known)
            known.add(others[word])

    def told(text: str) -> str:
        return _WORD.sub(lambda found: _cased(found[1], others) if found[1] else found[0], text)

    def seen(moment: Moment) -> Moment:
        return moment.replace(
            observation=told(moment.observation),
            action=told(moment.action),
            thought=told(moment.thought),
            reply=told(moment.reply),
            guidance=told(moment.guidance),
        )

    def step(one: DemoStep) -> DemoStep:
        return DemoStep(observation=told(one.observation), action=told(one.action), thought=told(one.thought))

    def window(one: Window) -> Window:
        return one.replace(goal=told(one.goal), plan=told(one.plan), steps=tuple(map(step, one.steps)))

    return trajectory.replace(
        goal=told(trajectory.goal),
        stable=told(trajectory.stable),
        tools=told(trajectory.tools),
        shown=tuple(map(window, trajectory.shown)),
        moments=tuple(map(seen, trajectory.moments)),
    )


def _asked(trajectory: Trajectory) -> Iterator[str]:
    """What is asked for and what is done, in the episode and in its demonstrations."""
    yield trajectory.goal
    yield from (moment.action for moment in trajectory.moments)
    for window in trajectory.shown:
        yield window.goal
        yield from (step.action for step in window.steps)


def _seen(trajectory: Trajectory) -> Iterator[str]:
    yield from (trajectory.stable, trajectory.tools)
    yield from (moment.observation for moment in trajectory.moments)
    yield from (step.observation for window in trajectory.shown for step in window.steps)


def _words(texts: Iterable[str]) -> set[str]:
    return {word.casefold() for text in texts for word in _WORD.findall(text) if word}


def _cased(word: str, others: Mapping[str, str]) -> str:
    other = others.get(word.casefold())
    if other is None:
        return word
    return other.capitalize() if word[0].isupper() else other


def _made_up(rng: random.Random, known: Set[str]) -> str:
    """Two or three syllables that are no word of ``known``."""
    while True:
        word = "".join(rng.choice(_ONSETS) + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 3))))
        if word not in known:
            return word
