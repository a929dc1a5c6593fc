"""Walkthroughs of generated homes."""

from atlas.benchmarks.alfworld.homes_furnish import Home, appliances, kind_of
from atlas.benchmarks.alfworld.homes_rooms import household


def walkthrough(home: Home) -> list[str]:
    """A plan with full knowledge, as ALFWorld ships one: it goes straight to objects that no text has shown yet."""
    walk = _Walk()
    in_sight_first = sorted(
        (name for name in home.spots if kind_of(name) == home.object),
        key=lambda name: kind_of(home.spots[name]) in household().openable,
    )
    if home.chore == "look":
        lamp = next(name for name in home.spots if kind_of(name) == home.place)
        walk.take(in_sight_first[0], home.spots[in_sight_first[0]])
        walk.go(home.spots[lamp])
        walk.steps.append(f"use {lamp}")
        return walk.steps
    target = f"{home.place} 1"
    for thing in in_sight_first[: 2 if home.chore == "two" else 1]:
        walk.take(thing, home.spots[thing])
        if home.chore in ("clean", "heat", "cool"):
            appliance = f"{next(kind for kind in home.layout.receptacles if kind in appliances(home.chore))} 1"
            walk.go(appliance)
            walk.steps.append(f"{home.chore} {thing} with {appliance}")
        walk.open(target)
        walk.steps.append(f"move {thing} to {target}")
    return walk.steps


class _Walk:
    """Commands so far, with what they changed that later ones depend on."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._at: str | None = None
        self._opened: set[str] = set()

    def go(self, receptacle: str) -> None:
        if self._at != receptacle:
            self.steps.append(f"go to {receptacle}")
            self._at = receptacle

    def open(self, receptacle: str) -> None:
        self.go(receptacle)
        if kind_of(receptacle) in household().openable and receptacle not in self._opened:
            self.steps.append(f"open {receptacle}")
            self._opened.add(receptacle)

    def take(self, thing: str, receptacle: str) -> None:
        self.open(receptacle)
        self.steps.append(f"take {thing} from {receptacle}")
