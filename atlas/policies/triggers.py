"""Signs that an episode is getting nowhere, each a small pure function of what was done and seen.

A weak student can be sure of itself and wrong: a model that was never tuned repeats one action with one voice, and no
vote notices. These signs need no vote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.chances.texts import REFUSALS as REFUSALS
from atlas.errors import ConfigError
from atlas.given import shown, whole
from atlas.records import Turn, View


class Trigger(Protocol):
    """A sign. ``name`` is the reason under which the teacher then acts."""

    @property
    def name(self) -> str: ...

    def fires(self, view: View, since: int) -> bool:
        """Whether the sign is there in the turns from index ``since`` on; those before are for comparison only. It
        follows from the opening and the turns, and is asked for once a step."""
        ...

    def config(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class Stall:
    """The last ``turns`` turns showed nothing that had not been seen before in the episode."""

    turns: int = 6
    name: str = "stall"

    def __post_init__(self) -> None:
        _positive("stall", self.turns)

    def fires(self, view: View, since: int) -> bool:
        if view.index - since < self.turns:
            return False
        first: dict[str, int] = {}
        for index, text in enumerate((view.opening, *(turn.observation for turn in view.turns))):
            first.setdefault(text, index)
        return self.stalled(view.index, since, max(first.values()))

    def stalled(self, turns: int, since: int, newest: int) -> bool:
        """As :meth:`fires` after so many turns, for who knows after how many of them (``newest``) something was new."""
        return turns - max(since, newest) >= self.turns

    def config(self) -> dict[str, object]:
        return {"trigger": self.name, "turns": self.turns}


@dataclass(frozen=True)
class Loop:
    """The last turns, ``turns`` of them or more, are one cycle of actions and observations, gone through at least
    twice.

    Cycles of up to ``longest`` turns are looked for.
    """

    turns: int = 3
    longest: int = 4
    name: str = "loop"

    def __post_init__(self) -> None:
        _positive("loop", self.turns, self.longest)

    def fires(self, view: View, since: int) -> bool:
        # No more of them than the longest cycle needs: an episode may have thousands.
        last = view.turns[max(since, view.index - max(self.turns, 2 * self.longest)) :]
        return any(_periodic(last, period, max(self.turns, 2 * period)) for period in range(1, self.longest + 1))

    def config(self) -> dict[str, object]:
        return {"trigger": self.name, "turns": self.turns, "longest": self.longest}


@dataclass(frozen=True)
class Errors:
    """The environment refused the last ``turns`` actions: their observations begin like ``refusals``."""

    turns: int = 3
    refusals: re.Pattern[str] = REFUSALS
    name: str = "errors"

    def __post_init__(self) -> None:
        _positive("errors", self.turns)
        if not isinstance(self.refusals, re.Pattern):
            raise ConfigError(f"refusals are a pattern, not {shown(self.refusals)}: write re.compile(...) around it")

    def fires(self, view: View, since: int) -> bool:
        last = view.turns[max(since, view.index - self.turns) :]
        return len(last) == self.turns and all(self.refusals.match(turn.observation) for turn in last)

    def config(self) -> dict[str, object]:
        return {"trigger": self.name, "turns": self.turns, "refusals": self.refusals.pattern}


def _periodic(turns: Sequence[Turn], period: int, length: int) -> bool:
    if len(turns) < length:
        return False
    last = [(turn.action, turn.observation) for turn in turns[-length:]]
    return all(last[i] == last[i - period] for i in range(period, length))


def _positive(what: str, *numbers: int) -> None:
    for number in numbers:
        if not whole(number) or number < 1:
            raise ConfigError(f"the trigger {what} looks at 1 turn or more, not {shown(number)}")


DEFAULT: tuple[Trigger, ...] = (Loop(), Errors(), Stall())
"""The signs in the order in which they give their name to what the teacher does."""
