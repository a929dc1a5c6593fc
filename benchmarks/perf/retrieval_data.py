"""Trajectories to fill a memory with: texts that repeat as those of household games do, and texts that never repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from atlas.memory import Demonstration, from_steps
from atlas.records import DemoStep, Task

_PLACES = (
    "cabinet", "drawer", "shelf", "countertop", "diningtable", "fridge", "microwave", "sinkbasin", "desk", "dresser",
    "sofa", "armchair", "bed", "safe",
)  # fmt: skip
_THINGS = (
    "apple", "bread", "bowl", "book", "box", "butterknife", "candle", "cellphone", "cd", "cloth", "cup", "egg",
    "fork", "glassbottle", "kettle", "keychain", "knife", "ladle", "laptop", "lettuce", "mug", "newspaper",
    "pan", "pen", "pencil", "peppershaker", "pillow", "plate", "plunger", "pot", "potato", "remotecontrol",
    "saltshaker", "soapbar", "spatula", "spoon", "statue", "tomato", "towel", "vase", "watch", "wateringcan",
    "winebottle",
)  # fmt: skip
_VERBS = ("put a {t} in {p}.", "put a hot {t} in {p}.", "put a cool {t} in {p}.", "put a clean {t} in {p}.",
          "look at {t} under the desklamp.", "put two {t} in {p}.")  # fmt: skip


def household(windows: int, seed: int = 0) -> Iterator[Demonstration]:
    """A search from place to place, each holding up to three things.

    Harder than the official games: there half of all observations are distinct (13,938 in 29,092 expert steps).
    """
    rng = np.random.default_rng(seed)

    def one(i: int, steps: int) -> Demonstration:
        thing, goal_place = str(rng.choice(_THINGS)), str(rng.choice(_PLACES))
        goal = str(rng.choice(_VERBS)).format(t=thing, p=goal_place)
        made = []
        for _ in range(steps):
            place = f"{rng.choice(_PLACES)} {rng.integers(1, 7)}"
            held = [f"a {rng.choice(_THINGS)} {rng.integers(1, 4)}" for _ in range(rng.integers(0, 4))]
            seen = f"you see {', and '.join([', '.join(held[:-1]), held[-1]] if held[1:] else held or ['nothing'])}."
            made.append(
                DemoStep(
                    observation=f"You arrive at {place}. On the {place}, {seen}",
                    action=f"go to {place}",
                    thought=f"I have not looked at {place} yet, and a {thing} may well be there.",
                )
            )
        plan = f"Find a {thing}: look first where one is usually kept. Then bring it to {goal_place}."
        return from_steps(Task(id=f"household-{i}", goal=goal), made, plan=plan)

    return _fill(windows, rng, one)


def distinct(windows: int, seed: int = 0) -> Iterator[Demonstration]:
    """Sentences of random words, none of them twice."""
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
    words = ["".join(rng.choice(syllables, 3)) for _ in range(4_000)]

    def sentence(length: int) -> str:
        return " ".join(words[i] for i in rng.integers(len(words), size=length))

    def one(i: int, steps: int) -> Demonstration:
        made = [DemoStep(observation=sentence(14), action=sentence(3), thought=sentence(12)) for _ in range(steps)]
        return from_steps(Task(id=f"distinct-{i}", goal=sentence(8)), made, plan=sentence(14))

    return _fill(windows, rng, one)


STREAMS: dict[str, Callable[[int], Iterator[Demonstration]]] = {"household": household, "distinct": distinct}
"""By name, as many windows as are asked for, one trajectory after the other."""


def _all(stream: Callable[[int], Iterator[Demonstration]]) -> Callable[[int], list[Demonstration]]:
    return lambda windows: list(stream(windows))


DATA = {name: _all(stream) for name, stream in STREAMS.items()}


def _fill(windows: int, rng: np.random.Generator, one: Callable[[int, int], Demonstration]) -> Iterator[Demonstration]:
    number, left = 0, windows
    while left:
        steps = min(left, int(rng.integers(5, 26)))
        yield one(number, steps)
        number, left = number + 1, left - steps
