"""What a trace tells besides episodes: that supervision changed, what was learned, what an episode was named, and that
one went on after its process was stopped. Lines of their own; older readers pass over them."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from pydantic import Field

from atlas.money import Spend
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
    entries: tuple[str, ...] = ()
    """The entries that it was distilled to, new ones and those that gained support, by id."""
    judged: float | None = None
    """The reward that judges gave it; None where none was asked, or gave one."""
    missing: str = ""
    """Why there is no verdict or no lesson, where somebody was asked for it."""
    spend: tuple[Spend, ...] = ()
    """What judging and distilling used: a part of the episode's, whose result was recorded anew with it."""


class Resumed(Record):
    """An episode whose process was stopped goes on in another: its steps from here on were taken there."""

    time: float
    """Unix time."""
    arm: str
    episode: str
    by: Literal["conversation", "name"]
    """How it was found again: by its conversation, which begins as it did, or by the name that its calls gave."""


class Named(Record):
    """A client gave an episode a name: it may be scored by it later."""

    time: float
    """Unix time."""
    arm: str
    episode: str
    name: str


Event = Supervised | Learned | Resumed | Named

KINDS: dict[str, type[Event]] = {"supervised": Supervised, "learned": Learned, "resumed": Resumed, "named": Named}
"""By the type of their lines."""


def kind_of(event: Event) -> str:
    """The type of an event's line."""
    return next(kind for kind, known in KINDS.items() if isinstance(event, known))


@runtime_checkable
class Tells(Protocol):
    """A recorder that takes events as well."""

    def tell(self, event: Event) -> None: ...
