"""Every hosted model: what is asked of a provider, what comes back, and what it cost.

What providers take differs: see :mod:`atlas.models.rules`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from atlas.errors import ModelError
from atlas.models.answers import Unreadable, replies_of
from atlas.models.bill import Counts, unanswered, usage_of
from atlas.models.faults import (
    as_transient,
    blamed,
    code_of,
    missing_extra,
    one_at_a_time,
    sentence,
    status_of,
    used_by,
)
from atlas.models.prices import longest_reply, price_of
from atlas.models.request import HINTS, OURS, Request, request_of
from atlas.models.retry import GaveUp, Retry, Transient, with_retries
from atlas.models.rules import rules_of
from atlas.models.upstream import upstream_of
from atlas.records import Ask, Completion, Price, Reply, Usage

SHARING = frozenset({"openai", "azure", "hosted_vllm", "gemini", "vertex_ai"})
"""Providers that take ``n`` and bill the prompt once for all of its samples; some of their models do not."""

IN_FLIGHT = 400
"""Requests to one host at a time. The clients' pools hold 500 connections to a host: what waits for one of those waits
within its timeout, and is given up and sent again though nothing is wrong with the host."""

log = logging.getLogger("atlas.models")


class Hosted:
    """``provider/model`` behind the Model protocol.

    Dollars are computed here, from the token counts of the response and our price; what litellm thinks of the cost is
    never read. Where a response carries no token counts, or impossible ones, they are estimated, so that token budgets
    still hold; the dollars of that call are unknown, and budgets count what it may have cost at the most. All failures
    end in a ModelError of one sentence that holds no key.

    What the caller of a wrapped agent set is sent as it is. What a provider does not take of it is an error, or, where
    the reply is the one that was asked for all the same, left out or put in other words, which is logged once.
    """

    def __init__(
        self,
        name: str,
        *,
        price: Price | None = None,
        prices: Mapping[str, Price | str] | None = None,
        timeout: float = 120.0,
        retry: Retry | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        shares_prompt: bool | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """A model of the provider that the name begins with.

        ``timeout`` is in seconds per attempt; ``base_url`` points at any compatible server (name it ``openai/NAME``);
        ``extra`` goes to the provider as it is (``reasoning_effort`` and the like). ``price``, else ``prices`` by name,
        overrides the list price. Raises ConfigError for a provider that litellm does not know, and where its key is
        missing, before anything is asked and paid; a server of one's own (``base_url``) needs none.
        """
        provider, _, model = name.partition("/")
        self._extra = dict(extra or {})
        api_key = api_key or self._extra.pop("api_key", None)
        self._rules = rules_of(provider, model)
        self._upstream = upstream_of(name, base_url, api_key, self._rules)
        self.name = name
        self.price = price or price_of(name, prices)
        shares = provider in SHARING and self._rules.several
        self.shares_prompt = shares if shares_prompt is None else shares_prompt
        self._provider = provider
        self._timeout = timeout
        self._retry = retry or Retry()
        self._base_url = base_url
        self._secrets = (api_key,) if api_key else ()
        self._longest = longest_reply(name) if self._rules.needs_limit else None
        self._singly = not self._rules.several
        """Whether several samples are as many requests: by the rules, or since the server has refused them in one."""
        self._without: set[str] = set()
        """The settings that the server has refused."""
        self._said: set[str] = set()
        """What was logged before."""

    async def sample(self, ask: Ask) -> Completion:
        """``ask.n`` samples: in one call where the provider shares the prompt, else in as many calls at once.

        A server that returns fewer choices than it was asked for is asked again for the rest, and one that refuses to
        give several in one request, or counts one of them only, is asked for one at a time from then on.
        """
        self._check(ask)
        replies: list[Reply] = []
        bill = _Bill()
        try:
            while len(replies) < ask.n:
                missing = ask.n - len(replies)
                counts = [missing] if self.shares_prompt and not self._singly else [1] * missing
                for found in await asyncio.gather(
                    *(self._call(ask, len(replies) + i, count, bill) for i, count in enumerate(counts)),
                    return_exceptions=True,
                ):
                    if isinstance(found, BaseException):
                        raise found
                    replies.extend(found)
        except BaseException:
            # Not swallowed: what the calls before used is paid, whether this one failed or nobody waits any more.
            if bill.usage.calls or bill.usage.failed:
                ask.paid(bill.usage)
            raise
        return Completion(replies=tuple(replies[: ask.n]), usage=bill.usage)

    def _check(self, ask: Ask) -> None:
        """Raise ModelError for what the caller asks that the model is known not to do."""
        untaken = self._upstream.untaken()
        if not untaken:
            return
        self._without |= untaken & (HINTS.union(OURS) | {"stop"})
        asked = {*ask.view.options, *self._extra, *(["tools"] if ask.view.tools else [])}
        if wanted := sorted(asked & untaken - HINTS - {"stop"}):
            raise ModelError(f"model {self.name!r} takes no {', '.join(wanted)}: leave it out, or use another model")

    async def _call(self, ask: Ask, sample: int, count: int, bill: _Bill) -> Sequence[Reply]:
        """The replies of one successful request for ``count`` samples."""
        while True:
            request = request_of(
                ask,
                self._rules,
                sample=sample,
                count=count,
                extra=self._extra,
                without=self._without,
                longest=self._longest,
            )
            for told in request.told:
                self._say(f"model {self.name!r} {told}")
            try:
                return await with_retries(lambda: self._attempt(ask, request, bill), self._retry)  # noqa: B023
            except GaveUp as gave_up:
                tries = f"{gave_up.attempts} attempt{'s' if gave_up.attempts > 1 else ''}"
                raise ModelError(
                    f"model {self.name!r} {gave_up.cause} ({tries}): {gave_up.mend}", status=gave_up.status
                ) from None
            except _Untaken:
                continue
            except _RefusedSeveral:
                # The number may be what it refuses, or something else, of which one sample tells.
                alone = await self._call(ask, sample, 1, bill)
                self._singly = True
                return alone

    async def _attempt(self, ask: Ask, request: Request, bill: _Bill) -> Sequence[Reply]:
        try:
            return await self._tried(ask, request, bill)
        except (Transient, ModelError):
            bill.add(Usage(failed=1))
            raise

    async def _tried(self, ask: Ask, request: Request, bill: _Bill) -> Sequence[Reply]:
        async with _turn(urlsplit(self._base_url or "").netloc or self._provider):
            if ask.heard is None or request.count > 1 or request.stop:
                return await self._request(ask, request, bill, None)
            told: list[dict[str, Any]] = []

            def heard(delta: dict[str, Any]) -> None:
                told.append(delta)
                assert ask.heard is not None
                ask.heard(delta)

            try:
                return await self._request(ask, request, bill, heard)
            except Transient as failure:
                if not told:
                    raise
                # Who listens has heard the beginning of an answer: another one cannot follow.
                raise ModelError(
                    f"model {self.name!r} {failure.cause} in the middle of its answer: {failure.mend}",
                    status=failure.status,
                ) from None

    async def _request(
        self, ask: Ask, request: Request, bill: _Bill, heard: Callable[[dict[str, Any]], None] | None
    ) -> Sequence[Reply]:
        came: list[dict[str, Any]] = []
        """The pieces of a stream."""
        asked = request.body.get("timeout")
        timeout = float(asked) if isinstance(asked, int | float) else self._timeout
        try:
            # Not every client keeps to its own timeout with every provider; ours is the backstop.
            async with asyncio.timeout(timeout + 5.0) as bound:
                if heard is None:
                    answer = await self._upstream.send(dict(request.body), timeout)
                else:
                    now = asyncio.get_running_loop().time

                    def more(delta: dict[str, Any]) -> None:
                        bound.reschedule(now() + timeout + 5.0)
                        if delta:
                            came.append(delta)
                            heard(delta)

                    answer = await self._upstream.stream(dict(request.body), timeout, more)
        except asyncio.CancelledError:
            bill.add(unanswered(ask, request, self.price, came))
            raise
        except TimeoutError:
            bill.add(unanswered(ask, request, self.price, came))
            raise Transient(f"gave no answer within {timeout:g} s", "raise its timeout", status=504) from None
        except ModelError:
            raise
        except Exception as error:  # the boundary to clients that raise whatever the many providers make them raise
            self._failed(error, ask, request, bill, timeout, came)
        counts = Counts.read(
            answer.get("usage"), tier=answer.get("service_tier"), counts_thought=self._rules.counts_thought
        )
        try:
            replies = replies_of(answer, request.stop)
        except Unreadable:
            told = counts.prompt is not None or counts.completion is not None
            bill.add(usage_of(ask, request, counts, [], self.price) if told else unanswered(ask, request, self.price))
            raise Transient("answered with what is no chat completion", "check what its server sends") from None
        texts = [reply.text for reply in replies]
        if counts.one_of(texts):
            # Asked one at a time it tells what each of them took.
            self._singly = True
        usage = usage_of(ask, request, counts, texts, self.price)
        if usage.unmetered:
            self._say(
                f"model {self.name!r} reports no token counts, or not all: tokens are estimated, dollars unknown (a "
                "budget counts the most that they can be)"
            )
        bill.add(usage)
        if not replies:
            raise Transient("answered without any choice", "try again later, or another model")
        return replies

    def _failed(
        self,
        error: Exception,
        ask: Ask,
        request: Request,
        bill: _Bill,
        timeout: float,
        came: Sequence[Mapping[str, Any]],
    ) -> None:
        """Raise what ``error`` comes to, of which ``came`` are the pieces that were there before it."""
        told = used_by(error)
        if told is not None:
            bill.add(usage_of(ask, request, Counts.read(told), [], self.price))
        elif came:
            bill.add(unanswered(ask, request, self.price, came))
        if needs := missing_extra(error):
            raise needs from None
        if request.count > 1 and one_at_a_time(error):
            raise _RefusedSeveral from None
        given = {*ask.view.options, *self._extra}
        ours = [name for name in request.body if (name in OURS and name not in given) or name in (*HINTS, "stop")]
        if name := blamed(error, ours):
            if name == "max_tokens" and "max_completion_tokens" in str(error):
                self._rules = replace(self._rules, limit="max_completion_tokens")
            else:
                self._without.add(name)
            raise _Untaken from None
        if transient := as_transient(error, timeout, self._base_url, self._secrets):
            if transient.sent and told is None and not came:
                bill.add(unanswered(ask, request, self.price))
            raise transient from None
        said = sentence(error, self.name, self._provider, self._secrets, self._base_url)
        raise ModelError(said, status=status_of(error), code=code_of(error)) from None

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)


class _RefusedSeveral(Exception):
    """The server gives no several samples in one request, it may be."""


class _Untaken(Exception):
    """The server refused a setting that can be left out, or called otherwise; that is noted by now."""


class _Bill:
    """What the calls for one ask have used so far."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        self.usage = self.usage + usage


class _Turns:
    """A semaphore per host, in each event loop: connections belong to a loop."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, host: str) -> asyncio.Semaphore:
        with self._lock:
            hosts = self._loops.setdefault(asyncio.get_running_loop(), {})
            return hosts.setdefault(host, asyncio.Semaphore(IN_FLIGHT))


_turn = _Turns()
"""Shared by all models."""
