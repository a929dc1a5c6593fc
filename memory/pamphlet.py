"""A pamphlet's entry: when something applies, what to do then, what to expect of it, and where that was learned.

After the learning memory of ATLAS (arXiv 2511.01093): entries for the student say how to act, entries for the teacher
what to watch for. What an entry was worth is measured elsewhere (:mod:`atlas.memory.uplift`) and is no part of it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from atlas.given import Given
from atlas.records import STUDENT, Guidance, content_hash

SLOT = re.compile(r"\{([^{}]*)\}")
"""What differs from task to task, in a cue or a pattern: ``{object}``."""

MOST_ORIGINS = 24
"""Episodes an entry names as where it comes from; its ``support`` counts all of them."""


class Kind(StrEnum):
    """What sort of guidance an entry is."""

    PRINCIPLE = "principle"
    FAILURE = "failure mode"
    STOP = "stop condition"
    SCHEMA = "action schema"
    GUARD = "guard"


class Origin(Given):
    """An episode that an entry was learned from, or a person who wrote it."""

    task: str = ""
    run: str = ""
    episode: str = ""
    actor: str = ""
    """Who wrote the entry: ``distiller``, ``person``..."""
    model: str = ""
    """The model or rule it was written by."""


class Entry(Given):
    """One piece of guidance."""

    cue: str = Field(min_length=1)
    """When it applies. What stands in double quotes is matched as it is, its ``{slots}`` by whatever is there."""
    action: str = Field(min_length=1)
    """What to do then."""
    effect: str = ""
    """What to expect of it."""
    pattern: tuple[str, ...] = ()
    """The actions it stands for, in order. A ``{slot}`` of the cue is what the cue matched there; another one is any
    thing of that name, or anything at all where there is nothing of that name."""
    kind: Kind = Kind.PRINCIPLE
    scope: tuple[str, ...] = ()
    """Words or phrases that the task (goal, instructions, tools) must all hold for the entry to be considered."""
    audience: Literal["student", "teacher"] = STUDENT  # type: ignore[assignment]
    origins: tuple[Origin, ...] = ()
    """At most :data:`MOST_ORIGINS`, of as many tasks as possible."""
    support: int = Field(default=1, ge=1)
    """From how many episodes, or by how many people, it was learned."""

    @field_validator("cue", "action", "effect")
    @classmethod
    def _spaced(cls, text: str) -> str:
        return _line(text)

    @field_validator("pattern", "scope")
    @classmethod
    def _all_spaced(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(line for text in texts if (line := _line(text)))

    @model_validator(mode="after")
    def _says_something(self) -> Entry:
        if not self.cue or not self.action:
            raise ValueError("an entry needs a cue and an action")
        return self

    @property
    def id(self) -> str:
        """Identity of what it says: the same advice is the same entry, wherever it was learned."""
        said = [self.cue, self.action, self.effect, self.pattern, self.kind, sorted(self.scope), self.audience]
        return content_hash(said, 12)

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks it was learned from."""
        return frozenset(origin.task for origin in self.origins)

    def as_guidance(self, score: float = 0.0) -> Guidance:
        """As it is shown; ``score`` tells how well it fits the moment."""
        return Guidance(
            id=self.id,
            cue=self.cue,
            action=self.action,
            effect=self.effect,
            pattern=self.pattern,
            audience=self.audience,
            score=score,
        )


def _line(text: str) -> str:
    """One line that a database takes: models write halves of surrogate pairs."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def only_from(entry: Entry, task: str) -> bool:
    """Whether the entry knows of nothing but ``task``: shown there, it would be an answer and not a lesson."""
    return entry.tasks == frozenset((task,)) and entry.support <= len(entry.origins)
