"""A model that is in one process alone, asked from others: its weights are loaded once."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from atlas.errors import AtlasError, ConfigError
from atlas.protocols import Model, RanksActions, ReadsView
from atlas.records import Ask, Completion, Form, Price, Rank, Usage


class About(NamedTuple):
    """What is read of a model besides its answers."""

    name: str
    price: Price | None
    shares_prompt: bool
    ranks: tuple[Form, Rank, bool] | None
    """Form, rule and reminder, of one that ranks actions."""
    reads: tuple[bool, bool] | None
    """Guidance and windows, of one that reads the view."""


class Asked(NamedTuple):
    """A question to a model elsewhere."""

    number: int
    model: str
    ask: Ask


class Replied(NamedTuple):
    """Its answer: a completion, or the error in its place; and what was paid for besides."""

    number: int
    answer: Completion | Exception
    paid: Sequence[Usage]


Elsewhere = Callable[[Ask], Awaitable[Replied]]


def single(model: Model) -> bool:
    """Whether a model says that it is to be there once, as one with weights does: ``single = True``."""
    return bool(getattr(model, "single", False))


def about(model: Model) -> About:
    """What its stand-ins have to tell of ``model``."""
    return About(
        model.name,
        model.price,
        model.shares_prompt,
        (model.form, model.rank, model.remind) if isinstance(model, RanksActions) else None,
        (model.reads_guidance, model.reads_windows) if isinstance(model, ReadsView) else None,
    )


class StandIn:
    """In a worker: asks the model that it stands for."""

    def __init__(self, told: About, elsewhere: Elsewhere) -> None:
        self.name, self.price, self.shares_prompt = told.name, told.price, told.shares_prompt
        self._elsewhere = elsewhere

    async def sample(self, ask: Ask) -> Completion:
        # Callbacks stay here. Whoever listens to pieces of an answer hears none, as with a model that has none.
        found = await self._elsewhere(ask.replace(paid=_nothing, heard=None))
        for usage in found.paid:
            ask.paid(usage)
        if isinstance(found.answer, Exception):
            raise found.answer
        return found.answer


class _Ranks(StandIn, RanksActions): ...


class _Reads(StandIn, ReadsView): ...


class _Both(StandIn, ReadsView, RanksActions): ...


def stand_in(told: About, elsewhere: Elsewhere) -> Model:
    """A model that answers as the one that was ``told`` of does; ``elsewhere`` has it asked."""
    kinds = {(False, False): StandIn, (True, False): _Ranks, (False, True): _Reads, (True, True): _Both}
    made: Any = kinds[told.ranks is not None, told.reads is not None](told, elsewhere)
    if told.ranks is not None:
        made.form, made.rank, made.remind = told.ranks
    if told.reads is not None:
        made.reads_guidance, made.reads_windows = told.reads
    found: Model = made
    return found


async def answered(model: Model, asked: Asked) -> Replied:
    """What ``model``, the one itself, says."""
    paid: list[Usage] = []
    try:
        return Replied(asked.number, await model.sample(asked.ask.replace(paid=paid.append)), paid)
    except Exception as error:
        return Replied(asked.number, portable(error), paid)


def portable(error: Exception) -> Exception:
    """``error``, or what says the same where it is of a kind that cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return (ConfigError if isinstance(error, AtlasError) else RuntimeError)(str(error))
    return error


def _nothing(usage: Usage) -> None: ...
