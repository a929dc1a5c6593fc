"""Tokens and dollars: prices, what was used, and by whom."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from atlas.record import Record


class Price(Record):
    """What a model costs, in dollars per million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    """Prompt tokens read from the provider's cache; None charges them as prompt tokens."""
    note: str = ""
    """Where the price is from: a list price, a stated comparison price, or a machine that bills no tokens."""

    def dollars(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Dollars of one call; ``cached_tokens`` are part of ``prompt_tokens``."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt + cached_tokens * cached + completion_tokens * self.completion) / 1e6


class Usage(Record):
    """Tokens and dollars of some calls. ``dollars`` is None as soon as one of them has no known price; tokens are those
    that are known."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dollars: float | None = 0.0
    unmetered: int = 0
    """Calls that did not tell all of their tokens: in logs of other programs, and where nobody heard the answer."""
    most: float | None = None
    """Dollars at the most, where :attr:`dollars` are unknown or not all: what calls that told too little may have cost,
    estimated upwards. Budgets count it; None where it is what ``dollars`` says."""

    @property
    def at_most(self) -> float | None:
        """What a budget counts: None where there is no price to estimate by."""
        return self.dollars if self.most is None else self.most

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def told(self, tokens: int) -> int | None:
        """One of the counts; None where it is 0 because nobody told it."""
        return None if self.unmetered and not tokens else tokens

    def __add__(self, other: Usage) -> Usage:
        tally = Tally()
        tally.add(self)
        tally.add(other)
        return tally.usage


class Tally:
    """Adds usages up. The sum of thousands of records is one record."""

    __slots__ = ("at_most", "cached_tokens", "calls", "completion_tokens", "dollars", "prompt_tokens", "unmetered")

    def __init__(self) -> None:
        self.calls = self.prompt_tokens = self.cached_tokens = self.completion_tokens = self.unmetered = 0
        self.dollars: float | None = 0.0
        self.at_most: float | None = 0.0

    def add(self, usage: Usage) -> None:
        self.calls += usage.calls
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens
        self.completion_tokens += usage.completion_tokens
        self.unmetered += usage.unmetered
        known = self.dollars is not None and usage.dollars is not None
        self.dollars = (self.dollars or 0.0) + (usage.dollars or 0.0) if known else None
        most = usage.dollars if usage.most is None else usage.most
        self.at_most = None if self.at_most is None or most is None else self.at_most + most

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def usage(self) -> Usage:
        """The sum so far."""
        return Usage.trusted(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            dollars=self.dollars,
            unmetered=self.unmetered,
            most=None if self.at_most == self.dollars else self.at_most,
        )


class Spend(Record):
    """What one actor used: the row of every account."""

    actor: str
    model: str
    usage: Usage


def total(spends: Iterable[Spend]) -> Usage:
    """The sum over all actors."""
    tally = Tally()
    for spend in spends:
        tally.add(spend.usage)
    return tally.usage


def by_actor(spends: Iterable[Spend]) -> tuple[Spend, ...]:
    """One row per (actor, model), in order of first appearance."""
    rows: dict[tuple[str, str], Spend] = {}
    for spend in spends:
        key = (spend.actor, spend.model)
        before = rows.get(key)
        rows[key] = spend if before is None else spend.model_copy(update={"usage": before.usage + spend.usage})
    return tuple(rows.values())
