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
    """Calls that did not tell all of their tokens: in logs of other programs."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def told(self, tokens: int) -> int | None:
        """One of the counts; None where it is 0 because nobody told it."""
        return None if self.unmetered and not tokens else tokens

    def __add__(self, other: Usage) -> Usage:
        known = self.dollars is not None and other.dollars is not None
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            dollars=(self.dollars or 0.0) + (other.dollars or 0.0) if known else None,
            unmetered=self.unmetered + other.unmetered,
        )


class Spend(Record):
    """What one actor used: the row of every account."""

    actor: str
    model: str
    usage: Usage


def total(spends: Iterable[Spend]) -> Usage:
    """The sum over all actors."""
    usage = Usage()
    for spend in spends:
        usage = usage + spend.usage
    return usage


def by_actor(spends: Iterable[Spend]) -> tuple[Spend, ...]:
    """One row per (actor, model), in order of first appearance."""
    rows: dict[tuple[str, str], Usage] = {}
    for spend in spends:
        key = (spend.actor, spend.model)
        rows[key] = rows.get(key, Usage()) + spend.usage
    return tuple(Spend(actor=actor, model=model, usage=usage) for (actor, model), usage in rows.items())
