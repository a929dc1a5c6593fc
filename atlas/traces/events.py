"""What a trace tells besides episodes: that supervision changed, and what was learned. Lines of their own, after the
episode that brought it about; older readers pass over them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pydantic import Field

from atlas.record import Record
from atlas.standing import Change


class Supervised(Record):
    """The success of an arm has changed so much that its supervision did, or should."""

    time: float
    """Unix time."""
    arm: str
    episode: str
    """The one after which it was seen."""
    change: Change
    raised: bool
    """Whether the teacher acts from here on."""
    said: str
    """In words, as they were logged."""


class Learned(Record):
    """What a memory took from an episode."""

    time: float
    """Unix time."""
    arm: str
    episode: str
    demonstration: bool = False
    """Whether it became a demonstration."""
    settled: dict[str, str] = Field(default_factory=dict)
    """The status that evidence gave to entries, by id."""


Event = Supervised | Learned

KINDS: dict[str, type[Supervised] | type[Learned]] = {"supervised": Supervised, "learned": Learned}
"""By the type of their lines."""


def kind_of(event: Event) -> str:
    """The type of an event's line."""
    return "supervised" if isinstance(event, Supervised) else "learned"


@runtime_checkable
class Tells(Protocol):
    """A recorder that takes events as well."""

    def tell(self, event: Event) -> None: ...
