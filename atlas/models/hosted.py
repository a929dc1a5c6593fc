"""Every hosted model, through litellm's client library. This is the only module that knows litellm."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from atlas.asking import bounded
from atlas.errors import ConfigError, MissingExtra, ModelError
from atlas.models.chat import seed_of, to_dicts
from atlas.models.faults import as_transient, code_of, missing_extra, one_at_a_time, sentence, status_of, used_by
from atlas.models.keys import missing_key
from atlas.models.prices import price_of
from atlas.models.retry import GaveUp, Retry, Transient, with_retries
from atlas.records import Ask, Completion, Price, Reply, ToolCall, Usage
from atlas.tokens import estimate_tokens

SHARING = frozenset({"openai", "azure", "hosted_vllm", "gemini", "vertex_ai"})
"""Providers that take ``n`` and bill the prompt once for all of its samples."""

IN_FLIGHT = 400
"""Requests to one host at a time. litellm's pool holds 500 connections to a host: what waits for one of those waits
within its timeout, and is given up and sent again though nothing is wrong with the host."""

_ONE_OF_SEVERAL = 0.6
"""Below this share of what we estimate for all samples of a request its count is that of one: llama.cpp tells so. Our
estimate is within 0.86 and 1.08 of the truth, and half of it is what one of two samples takes."""

log = logging.getLogger("atlas.models")


class Hosted:
    """``provider/model`` behind the Model protocol.

    Dollars are computed here, from the token counts of the response and our price; what litellm thinks of the cost is
    never read. Where a response carries no token counts, or impossible ones, they are estimated, so that token budgets
    still hold; the dollars of that call are unknown, and budgets count what it may have cost at the most. All failures
    end in a ModelError of one sentence that holds no key.
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
        litellm = _litellm()
        provider = name.split("/", 1)[0]
        if provider not in _providers(litellm):
            raise ConfigError(f"there is no provider {provider!r} (in model {name!r}): {_suggest(provider, litellm)}")
        if not (base_url or api_key or "api_key" in (extra or {})) and (variable := missing_key(name, litellm)):
            raise ConfigError(f"model {name!r} needs a key, and {variable} is not set: set it, or name another model")
        self.name = name
        self.price = price or price_of(name, prices)
        self.shares_prompt = provider in SHARING if shares_prompt is None else shares_prompt
        self._provider = provider
        self._timeout = timeout
        self._retry = retry or Retry()
        self._base_url = base_url
        self._api_key = api_key
        self._extra = dict(extra or {})
        self._litellm = litellm
        self._warned = False
        self._singly = False
        """Whether the server has refused several samples in one request."""

    async def sample(self, ask: Ask) -> Completion:
        """``ask.n`` samples: in one call where the provider shares the prompt, else in as many calls at once.

        A server that returns fewer choices than it was asked for is asked again for the rest, and one that refuses to
        give several in one request, or counts one of them only, is asked for one at a time from then on.
        """
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
            if bill.usage.calls:
                ask.paid(bill.usage)
            raise
        return Completion(replies=tuple(replies[: ask.n]), usage=bill.usage)

    async def _call(self, ask: Ask, sample: int, count: int, bill: _Bill) -> Sequence[Reply]:
        """The replies of one successful request for ``count`` samples."""
        arguments = self._arguments(ask, sample, count)
        try:
            return await with_retries(lambda: self._attempt(ask, arguments, bill), self._retry)
        except GaveUp as gave_up:
            tries = f"{gave_up.attempts} attempt{'s' if gave_up.attempts > 1 else ''}"
            raise ModelError(
                f"model {self.name!r} {gave_up.cause} ({tries}): {gave_up.mend}", status=gave_up.status
            ) from None
        except _RefusedSeveral:
            pass
        # The number may be what it refuses, or something else, of which one sample tells.
        alone = await self._call(ask, sample, 1, bill)
        self._singly = True
        return alone

    async def _attempt(self, ask: Ask, arguments: dict[str, Any], bill: _Bill) -> Sequence[Reply]:
        async with _turn(urlsplit(self._base_url or "").netloc or self._provider):
            return await self._request(ask, arguments, bill)

    async def _request(self, ask: Ask, arguments: dict[str, Any], bill: _Bill) -> Sequence[Reply]:
        try:
            # litellm's own timeout does not cover every provider; ours is the backstop.
            async with asyncio.timeout(self._timeout + 5.0):
                response = await self._litellm.acompletion(**arguments)
        except asyncio.CancelledError:
            bill.usage = bill.usage + self._unanswered(ask, arguments)
            raise
        except TimeoutError:
            bill.usage = bill.usage + self._unanswered(ask, arguments)
            raise Transient(f"gave no answer within {self._timeout:g} s", "raise its timeout", status=504) from None
        except Exception as error:  # the boundary to litellm, which raises whatever its many clients raise
            secrets = (self._api_key,) if self._api_key else ()
            told = used_by(error)
            if told is not None:
                bill.usage = bill.usage + self._usage(ask, arguments, told, [])
            if needs := missing_extra(error):
                raise needs from None
            if arguments.get("n", 1) > 1 and one_at_a_time(error):
                raise _RefusedSeveral from None
            if transient := as_transient(error, self._timeout, self._base_url, secrets):
                if transient.sent and told is None:
                    bill.usage = bill.usage + self._unanswered(ask, arguments)
                raise transient from None
            raise ModelError(
                sentence(error, self.name, self._provider, secrets), status=status_of(error), code=code_of(error)
            ) from None
        texts = [_text(choice.message) for choice in response.choices]
        bill.usage = bill.usage + self._usage(ask, arguments, getattr(response, "usage", None), texts)
        if not response.choices:
            raise Transient("answered without any choice", "try again later, or another model")
        return [_reply(choice) for choice in response.choices]

    def _arguments(self, ask: Ask, sample: int, count: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self.name,
            "messages": to_dicts(ask.prompt.messages()),
            "temperature": ask.temperature,
            **({"max_tokens": ask.max_tokens} if ask.bound else {}),
            "seed": seed_of(ask, sample),
            "timeout": self._timeout,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
        }
        if count > 1:
            arguments["n"] = count
        if ask.view.tools:
            arguments["tools"] = list(ask.view.tools)
            # litellm looks for an MCP gateway among the tools, and imports the `mcp` package for it.
            arguments["_skip_mcp_handler"] = True
        if self._base_url:
            # A server of one's own mostly checks no key, but the client insists on sending one.
            arguments |= {"api_base": self._base_url, "api_key": self._api_key or "none"}
        elif self._api_key:
            arguments["api_key"] = self._api_key
        return arguments | ask.view.options | self._extra

    def _unanswered(self, ask: Ask, arguments: Mapping[str, Any]) -> Usage:
        """What a request used at the least that was sent and whose answer nobody heard: it is billed all the same."""
        prompt = estimate_tokens(ask.prompt.text())
        dollars = self.price.dollars(prompt, 0) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, dollars=dollars, unmetered=1, most=self._most(ask, arguments))

    def _usage(self, ask: Ask, arguments: Mapping[str, Any], counts: Any, texts: Sequence[str]) -> Usage:
        """What one request used, by the ``counts`` that came with its replies ``texts``."""
        prompt, completion = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
        written = sum(map(estimate_tokens, texts))
        if len(texts) > 1 and completion and completion < _ONE_OF_SEVERAL * written:
            # Asked one at a time it tells what each of them took.
            self._singly, completion = True, None
        if not prompt or completion is None or (written and not completion):
            if not self._warned:
                log.warning(
                    "model %r reports no token counts, or not all: tokens are estimated, dollars unknown (a budget "
                    "counts the most that they can be)",
                    self.name,
                )
                self._warned = True
            return Usage(
                calls=1,
                prompt_tokens=prompt or estimate_tokens(ask.prompt.text()),
                completion_tokens=completion or written,
                dollars=None,
                unmetered=1,
                most=self._most(ask, arguments),
            )
        cached = min(prompt, _count(getattr(counts, "prompt_tokens_details", None), "cached_tokens") or 0)
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)

    def _most(self, ask: Ask, arguments: Mapping[str, Any]) -> float | None:
        limits = [arguments.get(name) for name in ("max_tokens", "max_completion_tokens")]
        longest = max((limit for limit in limits if isinstance(limit, int)), default=ask.max_tokens)
        return bounded(ask.replace(max_tokens=longest), self.price, replies=arguments.get("n", 1))


class _RefusedSeveral(Exception):
    """The server gives no several samples in one request, it may be."""


class _Bill:
    """What the calls for one ask have used so far."""

    def __init__(self) -> None:
        self.usage = Usage()


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
"""Shared by all models, as the connections of litellm are."""


def _count(counts: Any, name: str) -> int | None:
    """One of the counts of a reply; None where it was not told, or is none: a server may send anything."""
    found = counts.get(name) if isinstance(counts, Mapping) else getattr(counts, name, None)
    return found if isinstance(found, int) and found >= 0 else None


def _reply(choice: Any) -> Reply:
    message = choice.message
    calls = tuple(
        ToolCall(id=call.id or "", name=call.function.name or "", arguments=call.function.arguments or "{}")
        for call in getattr(message, "tool_calls", None) or ()
    )
    return Reply(text=_text(message), tool_calls=calls, finish=str(choice.finish_reason or ""))


def _text(message: Any) -> str:
    return str(message.content or "")


def _litellm() -> ModuleType:
    # Without this, importing litellm downloads its price map.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError:
        raise MissingExtra("a hosted model", "litellm") from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


def _providers(litellm: ModuleType) -> set[str]:
    return {str(getattr(provider, "value", provider)) for provider in litellm.provider_list}


def _suggest(provider: str, litellm: ModuleType) -> str:
    import difflib

    known = _providers(litellm)
    close = difflib.get_close_matches(provider, sorted(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return (
        f"{hint}litellm knows {len(known)}, such as openai, anthropic, azure, gemini and openrouter; "
        "a server of your own is openai/NAME with base_url"
    )
