"""What says the same is one demonstration: equal goal and equal steps, whatever the task, with a count.

An item is found by what it says under a fact of the memory, ``same:`` and a hash. Memories of before there were such
facts get theirs when a demonstration is first added: what repeats another is then counted with it, as a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from atlas.errors import StoreError
from atlas.memory.database import Database, Status, Write, parsed
from atlas.memory.demonstration import Demonstration
from atlas.memory.safety import Vetted
from atlas.record import content_hash

AUTHOR = "rule:same"
_ALL = "same"
"""The fact that says that every demonstration is found by what it says."""


class Twin(NamedTuple):
    """What a memory has of a demonstration's goal and steps."""

    demo: Demonstration | None = None
    """What says the same and is in use."""
    withheld: Status | None = None
    """Why nothing is added either: what says the same was ``removed`` or ``quarantined``."""


class Due(NamedTuple):
    """What has to be written so that some demonstrations are there."""

    writes: list[Write]
    repeated: list[Demonstration]
    """Those that were there, as they are counted now."""


class Same:
    """Finds the demonstrations of a memory by what they say. All of it happens inside of a transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._ready: int | None = None

    def due(self, vetted: Sequence[Vetted[Demonstration]], *, apart: bool = False) -> Due:
        """What has to be written to add ``vetted``.

        apart: each under its own task, also where there is one that says the same.
        """
        due = Due([], [])
        here: dict[str, Demonstration] = {}
        for one in vetted:
            demo, key = one.item, said(one.item)
            twin = Twin(here[key]) if key in here else self._twin(key, demo, one.status)
            if apart or twin == Twin():
                name = demo.id
                due.writes.append(Write("demonstration", name, one.status, demo.model_dump_json(), only_new=True))
                if twin == Twin():
                    self._name(key, name)
                    here[key] = demo
            elif twin.demo is not None and (more := twin.demo.again(demo)) is not twin.demo:
                due.writes.append(Write("demonstration", more.id, None, more.model_dump_json()))
                due.repeated.append(more)
                here[key] = more
        return due

    def twin(self, demo: Demonstration, status: Status) -> Twin:
        """What the memory has of ``demo``, which would be added with ``status``."""
        return self._twin(said(demo), demo, status)

    def name(self, demo: Demonstration) -> None:
        """``demo`` is written, and found by what it says from now on."""
        self._name(said(demo), demo.id)

    def _twin(self, key: str, demo: Demonstration, status: Status) -> Twin:
        self._prepare()
        name = self._db.backend.fact(f"{_ALL}:{key}")
        item = self._db.get("demonstration", name) if name else None
        if item is None:
            return Twin()
        there = parsed(item, Demonstration, self._db.path)
        if item.searched:
            return Twin(there)
        # The plan alone may have been what was wrong with it.
        other = item.status == "quarantined" and status != "quarantined" and there.plan != demo.plan
        return Twin() if other else Twin(withheld=item.status)

    def _name(self, key: str, name: str) -> None:
        self._prepare()
        self._db.backend.set_fact(f"{_ALL}:{key}", name)

    def _prepare(self) -> None:
        """Once for each memory; what is undone is done again."""
        if self._ready == self._db.undone:
            return
        if self._db.backend.fact(_ALL) is None:
            self._make_up()
        self._ready = self._db.undone

    def _make_up(self) -> None:
        """Find by what they say the demonstrations of a memory that an earlier build wrote."""
        items = [item for item in self._db.rows("demonstration") if item.status != "absent"]
        if items and (upgrade := getattr(self._db.backend, "upgrade", None)):
            upgrade()
        kept: dict[str, Demonstration] = {}
        named: dict[str, str] = {}
        repeats: list[str] = []
        for item in items:
            try:
                demo = parsed(item, Demonstration, self._db.path)
            except StoreError:
                continue  # it is told of where it is read
            key = said(demo)
            if not item.searched:
                named.setdefault(key, item.id)
            elif key not in kept:
                kept[key], named[key] = demo, item.id
            else:
                kept[key] = kept[key].again(demo)
                repeats.append(item.id)
        for key, name in named.items():
            self._db.backend.set_fact(f"{_ALL}:{key}", name)
        self._db.backend.set_fact(_ALL, "yes")
        if repeats:
            counted = [
                Write("demonstration", named[key], None, demo.model_dump_json())
                for key, demo in kept.items()
                if demo.seen > 1
            ]
            gone = [Write("demonstration", name, "absent") for name in repeats]
            reason = f"{len(repeats)} that say the same as another are counted with it"
            self._db.write([*counted, *gone], author=AUTHOR, reason=reason)


def said(demo: Demonstration) -> str:
    """A hash of what two demonstrations have to have in common to be one."""
    return content_hash([demo.goal, [[step.observation, step.thought, step.action] for step in demo.steps]])
