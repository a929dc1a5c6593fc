"""How an action of one episode is carried over to another: who plays which part.

Text worlds name things by class and number (``cabinet 3``). A demonstration's goal is laid beside ours to learn which
of its classes stand for which of ours; then every past step is read as a few features that do not depend on names:
where we are, where we have been, what of the goal was seen where, and which steps of the task are done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from atlas.entities import ENTITY, entities, skeleton

_WORD = re.compile(r"[a-z]+")


@lru_cache(maxsize=65_536)
def shape(text: str) -> frozenset[str]:
    """The words of an observation that are no entities: what happened, whatever it happened to."""
    return frozenset(_WORD.findall(ENTITY.sub(" ", text.casefold())))


@dataclass(frozen=True)
class Slot:
    """A thing in an action, by what it is to the task instead of by name."""

    kind: str
    role: bool
    """Its class stands in the goal."""
    visited: bool
    here: bool
    holds: frozenset[str]
    """Classes of the goal last seen at it."""
    used: frozenset[str]
    """Skeletons of the actions that joined it to a thing of the goal: what the task has done with it so far."""
    meant: bool = False
    """The demonstration went there for a purpose: to use it next on something of the goal that it had in hand."""


@dataclass(frozen=True)
class Situation:
    """What a moment of an episode is recognised by."""

    progress: tuple[str, ...]
    """What was done so far with things of the goal: the actions that join two things, one of them named in the goal."""
    visible: frozenset[str]
    """Classes of the goal in the newest observation."""
    shape: frozenset[str]
    last: str
    """Skeleton of the last action."""


@dataclass(frozen=True)
class State(Situation):
    """A moment of an episode, with what is known of the things in it."""

    here: tuple[str, str] | None
    visited: frozenset[tuple[str, str]]
    holds: Mapping[tuple[str, str], frozenset[str]]
    used: Mapping[tuple[str, str], frozenset[str]]

    def situation(self) -> Situation:
        """Without what is known of the things: all that needs to be kept of a demonstration's moments."""
        return Situation(self.progress, self.visible, self.shape, self.last)

    def slots(
        self,
        action: str,
        roles: frozenset[str],
        names: Mapping[str, str],
        meant: frozenset[tuple[str, str]] = frozenset(),
    ) -> tuple[Slot, ...]:
        """The action's things as slots; ``names`` translates classes."""
        found = []
        for entity in entities(action):
            kind = names.get(entity[0], entity[0])
            found.append(
                Slot(
                    kind=kind,
                    role=kind in roles,
                    visited=entity in self.visited,
                    here=entity == self.here,
                    holds=self.holds.get(entity, frozenset()),
                    used=self.used.get(entity, frozenset()),
                    meant=entity in meant,
                )
            )
        return tuple(found)


def states(
    opening: str, turns: Iterable[tuple[str, str]], roles: frozenset[str], names: Mapping[str, str]
) -> Iterator[State]:
    """The state before the first action and after each of ``turns`` ((action, observation) pairs)."""
    progress: tuple[str, ...] = ()
    visited: frozenset[tuple[str, str]] = frozenset()
    holds: dict[tuple[str, str], frozenset[str]] = {}
    used: dict[tuple[str, str], frozenset[str]] = {}
    yield State((), _named(entities(opening), roles, names), shape(opening), "", None, visited, {}, {})
    here = None
    for action, observation in turns:
        involved = entities(action)
        seen = _named((e for e in entities(observation) if e not in involved), roles, names)
        if involved:
            here = involved[-1]
            visited = visited | {here}
            holds[here] = seen
        if len(involved) > 1 and any(names.get(c, c) in roles for c, _ in involved):
            kinds = (kind if (kind := names.get(c, c)) in roles else "_" for c, _ in involved)
            progress = (*progress, f"{skeleton(action)}: {', '.join(kinds)}")
            used = {**used, here: used.get(here, frozenset()) | {skeleton(action)}} if here else used
        yield State(progress, seen, shape(observation), skeleton(action), here, visited, dict(holds), used)


def purposes(actions: Sequence[str], ahead: int = 2) -> list[frozenset[tuple[str, str]]]:
    """For each action the things it is about because of what comes within ``ahead`` actions, not by chance.

    Going to the fridge to cool what is in hand is meant; finding something in the first drawer that was opened is luck.
    The difference: what the later action joins to the place had a part in an earlier action already.
    """
    involved = [entities(action) for action in actions]
    found = []
    known: set[tuple[str, str]] = set()
    for index in range(len(actions)):
        known.update(involved[index])
        coming = (later for later in involved[index + 1 : index + 1 + ahead] if len(later) > 1)
        found.append(frozenset(thing for later in coming if later[0] in known for thing in later[1:]))
    return found


def _named(found: Iterable[tuple[str, str]], roles: frozenset[str], names: Mapping[str, str]) -> frozenset[str]:
    return frozenset(kind for c, _ in found if (kind := names.get(c, c)) in roles)
