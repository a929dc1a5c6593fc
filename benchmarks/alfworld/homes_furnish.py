"""One generated home: a chore to do in a layout, and objects put where they tend to be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from atlas.benchmarks.alfworld.homes_rooms import Habit, Layout, holders, household

Chore = Literal["put", "look", "clean", "heat", "cool", "two"]

ROOMS: dict[Chore, tuple[str, ...]] = {
    "put": ("kitchen", "bedroom", "livingroom", "bathroom"),
    "look": ("bedroom", "livingroom"),
    "clean": ("kitchen", "kitchen", "bathroom"),
    "heat": ("kitchen",),
    "cool": ("kitchen",),
    "two": ("kitchen", "bedroom", "livingroom", "bathroom"),
}
"""Rooms in which a chore makes sense; one named twice is twice as likely."""

SENTENCES: dict[Chore, tuple[str, str]] = {
    "put": ("put a {o} in {r}.", "put some {o} on {r}."),
    "look": ("examine the {o} with the {r}.", "look at {o} under the {r}."),
    "clean": ("put a clean {o} in {r}.", "clean some {o} and put it in {r}."),
    "heat": ("put a hot {o} in {r}.", "heat some {o} and put it in {r}."),
    "cool": ("put a cool {o} in {r}.", "cool some {o} and put it in {r}."),
    "two": ("put two {o} in {r}.", "find two {o} and put them in {r}."),
}
"""Both wordings of ALFWorld for each chore."""

_HIDDEN = 0.6  # chance that all objects of the wanted kind start behind doors, where the layout and kind allow it
_STRAY = 0.15  # chance that an object lies somewhere it can be but need not tend to be


@dataclass(frozen=True)
class Home:
    """A furnished layout and its goal. `spots` is object name -> receptacle name: `apple 1` -> `fridge 1`.

    `place` is the kind of receptacle the objects go to, or for "look" the kind of lamp.
    """

    layout: Layout
    chore: Chore
    object: str
    place: str
    sentence: str
    spots: dict[str, str]


def kind_of(name: str) -> str:
    """`cabinet 3` -> `cabinet`."""
    return name.rpartition(" ")[0]


def furnish(layout: Layout, chore: Chore, rng: Random) -> Home:
    """Draw a goal that the layout allows, then put the objects so that the goal is still to be reached."""
    wanted, place = rng.choice(_goals(layout, chore))
    spots = _furnished(layout, chore, wanted, place, rng)
    sentence = rng.choice(SENTENCES[chore]).format(o=wanted, r=place)
    return Home(layout=layout, chore=chore, object=wanted, place=place, sentence=sentence, spots=spots)


def refurnish(home: Home, rng: Random) -> Home:
    """The same home and the same goal on another day: which objects there are, and where they lie, is drawn anew by the
    same habits; some lie where they lay."""
    return replace(home, spots=_furnished(home.layout, home.chore, home.object, home.place, rng))


def _furnished(layout: Layout, chore: Chore, wanted: str, place: str, rng: Random) -> dict[str, str]:
    forbidden = {place} if chore in ("put", "two") else set()
    spots: dict[str, str] = {}
    for kind, habit in household().rooms[layout.room].objects.items():
        if kind == wanted:
            spots |= _placed(
                kind, _wanted_count(chore, habit, rng), _wanted_spots(layout, kind, forbidden, rng), habit, rng
            )
        else:
            spots |= _placed(kind, rng.randint(*habit.n), _spots(layout, holders(kind)), habit, rng)
    return spots


def appliances(chore: Chore) -> frozenset[str]:
    """The kinds of receptacle that do what the chore asks for; none for chores that only move things."""
    home = household()
    return {"clean": home.washes, "heat": home.heats, "cool": home.cools}.get(chore, frozenset())


def _goals(layout: Layout, chore: Chore) -> list[tuple[str, str]]:
    """All (object kind, place kind) that make a chore in this layout."""
    home = household()
    treatable = {"clean": home.cleanable, "heat": home.heatable, "cool": home.coolable}
    movable = home.rooms[layout.room].objects.keys() - home.fixed
    kinds = sorted(movable & treatable[chore] if chore in treatable else movable)
    if chore == "look":
        lamps = sorted(home.toggleable & home.rooms[layout.room].objects.keys())
        return [(kind, lamp) for kind in kinds for lamp in lamps if _spots(layout, holders(kind))]
    goals = []
    for kind in kinds:
        usable = sorted(holders(kind) & layout.receptacles.keys())
        # Putting a treated object back into the appliance, or into the only place it can be, is no chore.
        goals += [(kind, place) for place in usable if place not in appliances(chore) and len(usable) > 1]
    return goals


def _wanted_count(chore: Chore, habit: Habit, rng: Random) -> int:
    least = 2 if chore == "two" else 1
    return rng.randint(least, max(least, habit.n[1]))


def _wanted_spots(layout: Layout, kind: str, forbidden: set[str], rng: Random) -> list[str]:
    anywhere = _spots(layout, holders(kind) - forbidden)
    hidden = [spot for spot in anywhere if kind_of(spot) in household().openable]
    return hidden if hidden and rng.random() < _HIDDEN else anywhere


def _spots(layout: Layout, kinds: Iterable[str]) -> list[str]:
    return [name for name in layout.names if kind_of(name) in kinds]


def _placed(kind: str, count: int, allowed: list[str], habit: Habit, rng: Random) -> dict[str, str]:
    """Names of `count` objects with the receptacle each lies in; none when the layout has no place for them."""
    kinds = sorted({kind_of(spot) for spot in allowed})
    usual = [habit.at.get(k, 0.0) for k in kinds]
    placed = {}
    for number in range(1, count + 1 if allowed else 1):
        if rng.random() < _STRAY or not any(usual):
            spot = rng.choice(allowed)
        else:
            at = rng.choices(kinds, usual)[0]
            spot = rng.choice([spot for spot in allowed if kind_of(spot) == at])
        placed[f"{kind} {number}"] = spot
    return placed
