"""Models that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from atlas.errors import ModelError
from atlas.models.tokens import estimate_tokens
from atlas.protocols import Model
from atlas.records import Ask, Completion, Price, Reply, Usage

Answer = str | Reply
Rule = Callable[[Ask], Answer | Sequence[Answer]]

CHEAP = Price(prompt=1.0, completion=1.0, note="made up for tests")
"""A dollar per million tokens, so that dollars are tokens / 1e6."""


class ScriptedModel:
    """Answers from a list, in order, or from a function of the ask, or the same at every call where ``replies`` is one
    answer; keeps every ask in ``asks``.

    A list that has run out raises IndexError, which fails the test that wrote too short a list. A function may return
    one answer, given ``ask.n`` times, or a sequence of ``ask.n`` answers.
    """

    def __init__(
        self,
        replies: Answer | Iterable[Answer] | Rule,
        *,
        name: str = "scripted",
        price: Price | None = CHEAP,
        shares_prompt: bool = False,
    ) -> None:
        self.name = name
        self.price = price
        self.shares_prompt = shares_prompt
        self.asks: list[Ask] = []
        self._rule = _rule(replies)

    async def sample(self, ask: Ask) -> Completion:
        self.asks.append(ask)
        answers = self._rule(ask)
        if isinstance(answers, str | Reply):
            answers = [answers] * ask.n
        replies = tuple(Reply(text=a) if isinstance(a, str) else a for a in answers)
        return Completion(replies=replies, usage=self._usage(ask, replies))

    def _usage(self, ask: Ask, replies: tuple[Reply, ...]) -> Usage:
        prompt = estimate_tokens(ask.prompt.text())
        completion = sum(estimate_tokens(reply.text) for reply in replies)
        dollars = self.price.dollars(prompt, completion) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, completion_tokens=completion, dollars=dollars)


def _rule(replies: Answer | Iterable[Answer] | Rule) -> Rule:
    # A text is iterable too, letter by letter, and a reply field by field.
    if isinstance(replies, str | Reply):
        return lambda ask: replies
    return replies if callable(replies) else _in_order(list(replies))


def _in_order(replies: list[Answer]) -> Rule:
    waiting = iter(replies)

    def take(ask: Ask) -> list[Answer]:
        taken = [answer for _, answer in zip(range(ask.n), waiting, strict=False)]
        if len(taken) < ask.n:
            raise IndexError(f"the script of {len(replies)} replies has run out")
        return taken

    return take


class FlakyModel:
    """Fails on the calls whose zero-based numbers are in ``fails`` (all of them by default), else asks ``inner``.

    ``used`` is what a failing call is billed all the same.
    """

    def __init__(
        self,
        inner: Model,
        *,
        fails: Callable[[int], bool] | Iterable[int] = lambda number: True,
        error: BaseException | None = None,
        used: Usage | None = None,
    ) -> None:
        self.name = inner.name
        self.price = inner.price
        self.shares_prompt = inner.shares_prompt
        self.calls = 0
        self._inner = inner
        self._fails = fails if callable(fails) else frozenset(fails).__contains__
        self._error = error or ModelError("the flaky model failed, as the test asked it to")
        self._used = used

    async def sample(self, ask: Ask) -> Completion:
        number, self.calls = self.calls, self.calls + 1
        if self._fails(number):
            if self._used is not None:
                ask.paid(self._used)
            raise self._error
        return await self._inner.sample(ask)


class SlowModel:
    """Waits ``latency`` seconds, then asks ``inner``; ``most`` is how many calls were under way at once."""

    def __init__(self, inner: Model, *, latency: float) -> None:
        self.name = inner.name
        self.price = inner.price
        self.shares_prompt = inner.shares_prompt
        self.most = 0
        self._inner = inner
        self._latency = latency
        self._now = 0

    async def sample(self, ask: Ask) -> Completion:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self._latency)
            return await self._inner.sample(ask)
        finally:
            self._now -= 1
