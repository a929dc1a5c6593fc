"""Tokens and dollars: prices, what was used, and by whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from atlas.given import Given
from atlas.record import Light


class Price(Given):
    """What a model costs, in dollars per million tokens."""

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Prompt tokens read from the provider's cache; None charges them as prompt tokens."""
    cache_write: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Prompt tokens written to the provider's cache; None charges them as prompt tokens."""
    cache_write_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The same, of those that are kept for an hour; None charges them as the others."""
    note: str = ""
    """Where the price is from: a list price, a stated comparison price, or a machine that bills no tokens."""
    above: tuple[tuple[int, Price], ...] = ()
    """What a whole call costs whose prompt is longer than so many tokens, from the shortest length on."""
    tiers: dict[str, Price] = Field(default_factory=dict)
    """What a call costs in another tier of service than the usual one, by the name that its response gives."""

    def setting(self) -> dict[str, Any]:
        """What is hashed of it: its first fields, which runs have always told, and what is known of the others."""
        told = self.model_dump(mode="json", include={"prompt", "completion", "cached", "note"})
        return told | self.model_dump(mode="json", exclude_defaults=True)

    def of(self, prompt_tokens: int, tier: str = "") -> Price:
        """The price of a call with so long a prompt, in ``tier``; the usual price for a tier that is not listed."""
        price = self.tiers.get(tier, self) if self.tiers else self
        for longest, longer in price.above:
            if prompt_tokens > longest:
                price = longer
        return price

    def dollars(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        *,
        written: int = 0,
        written_hour: int = 0,
        tier: str = "",
    ) -> float:
        """Dollars of one call; ``cached_tokens`` were read from the cache, ``written`` were written to it,
        ``written_hour`` to be kept for an hour: all three are parts of ``prompt_tokens``, none is in another."""
        price = self.of(prompt_tokens, tier) if self.above or self.tiers else self
        cached = price.prompt if price.cached is None else price.cached
        fresh = prompt_tokens - cached_tokens - written - written_hour
        dollars = fresh * price.prompt + cached_tokens * cached + completion_tokens * price.completion
        if written or written_hour:
            write = price.prompt if price.cache_write is None else price.cache_write
            hour = write if price.cache_write_hour is None else price.cache_write_hour
            dollars += written * write + written_hour * hour
        return dollars / 1e6


class Usage(Light, kw_only=True):
    """Tokens and dollars of some calls. ``dollars`` is None as soon as one of them has no known price; tokens are those
    that are known."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    """Prompt tokens that the provider wrote to its cache, whatever it keeps them for: a part of ``prompt_tokens``."""
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Completion tokens that nobody sees, where the provider tells them: a part of ``completion_tokens``."""
    dollars: float | None = 0.0
    saved: float = 0.0
    """Dollars that the provider's cache saved: what the same tokens would have cost without it, less what they did.
    Below 0 where more was written than read. 0 where there is no price."""
    unmetered: int = 0
    """Calls that did not tell all of their tokens: in logs of other programs, and where nobody heard the answer."""
    failed: int = 0
    """Attempts that came to nothing: refused, cut off, not answered in time or with nothing that can be read. Most were
    made again. Those that may be billed are among the calls, too."""
    most: float | None = None
    """Dollars at the most, where :attr:`dollars` are unknown or not all: what calls that told too little may have cost,
    estimated upwards. Budgets count it; None where it is what ``dollars`` says."""

    def __post_init__(self) -> None:
        if not (
            isinstance(self.calls, int)
            and isinstance(self.prompt_tokens, int)
            and isinstance(self.completion_tokens, int)
            and (self.dollars is None or isinstance(self.dollars, float))
        ):
            self.checked()

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

    __slots__ = (
        "at_most",
        "cache_write_tokens",
        "cached_tokens",
        "calls",
        "completion_tokens",
        "dollars",
        "failed",
        "prompt_tokens",
        "reasoning_tokens",
        "saved",
        "unmetered",
    )

    def __init__(self) -> None:
        self.calls = self.prompt_tokens = self.cached_tokens = self.completion_tokens = self.unmetered = 0
        self.cache_write_tokens = self.reasoning_tokens = self.failed = 0
        self.saved = 0.0
        self.dollars: float | None = 0.0
        self.at_most: float | None = 0.0

    def add(self, usage: Usage) -> None:
        self.calls += usage.calls
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens
        self.completion_tokens += usage.completion_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.saved += usage.saved
        self.unmetered += usage.unmetered
        self.failed += usage.failed
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
        return Usage(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            completion_tokens=self.completion_tokens,
            reasoning_tokens=self.reasoning_tokens,
            saved=self.saved,
            dollars=self.dollars,
            unmetered=self.unmetered,
            failed=self.failed,
            most=None if self.at_most == self.dollars else self.at_most,
        )


class Spend(Light, kw_only=True):
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
        rows[key] = spend if before is None else spend.replace(usage=before.usage + spend.usage)
    return tuple(rows.values())
