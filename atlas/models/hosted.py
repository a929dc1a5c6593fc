"""Every hosted model, through litellm's client library. This is the only module that knows litellm."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from atlas.errors import ConfigError, MissingExtra, ModelError
from atlas.models.chat import seed_of, to_dicts
from atlas.models.faults import as_transient, sentence
from atlas.models.prices import price_of
from atlas.models.retry import GaveUp, Retry, Transient, with_retries
from atlas.records import Ask, Completion, Price, Reply, ToolCall, Usage
from atlas.tokens import estimate_tokens

SHARING = frozenset({"openai", "azure", "hosted_vllm", "gemini", "vertex_ai"})
"""Providers that take ``n`` and bill the prompt once for all of its samples."""

log = logging.getLogger("atlas.models")


class Hosted:
    """``provider/model`` behind the Model protocol.

    Dollars are computed here, from the token counts of the response and our price; what litellm thinks of the cost is
    never read. Where a response carries no token counts they are estimated, so that token budgets still hold, and the
    dollars of that call are unknown. All failures end in a ModelError of one sentence that holds no key.
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
        overrides the list price. Raises ConfigError for a provider that litellm does not know.
        """
        litellm = _litellm()
        provider = name.split("/", 1)[0]
        if provider not in _providers(litellm):
            raise ConfigError(f"there is no provider {provider!r} (in model {name!r}): {_suggest(provider, litellm)}")
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

    async def sample(self, ask: Ask) -> Completion:
        """``ask.n`` samples: in one call where the provider shares the prompt, else in as many calls at once.

        A server that returns fewer choices than it was asked for is asked again for the rest.
        """
        replies: list[Reply] = []
        bill = _Bill()
        try:
            while len(replies) < ask.n:
                missing = ask.n - len(replies)
                counts = [missing] if self.shares_prompt else [1] * missing
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
            raise ModelError(f"model {self.name!r} {gave_up.cause} ({tries}): {gave_up.mend}") from None

    async def _attempt(self, ask: Ask, arguments: dict[str, Any], bill: _Bill) -> Sequence[Reply]:
        try:
            # litellm's own timeout does not cover every provider; ours is the backstop.
            async with asyncio.timeout(self._timeout + 5.0):
                response = await self._litellm.acompletion(**arguments)
        except asyncio.CancelledError:
            bill.usage = bill.usage + self._unanswered(ask)
            raise
        except TimeoutError:
            bill.usage = bill.usage + self._unanswered(ask)
            raise Transient(f"gave no answer within {self._timeout:g} s", "raise its timeout") from None
        except Exception as error:  # the boundary to litellm, which raises whatever its many clients raise
            secrets = (self._api_key,) if self._api_key else ()
            if transient := as_transient(error, self._timeout, self._base_url, secrets):
                if transient.sent:
                    bill.usage = bill.usage + self._unanswered(ask)
                raise transient from None
            raise ModelError(sentence(error, self.name, self._provider, secrets)) from None
        bill.usage = bill.usage + self._usage(ask, response)
        if not response.choices:
            raise Transient("answered without any choice", "try again later, or another model")
        return [_reply(choice) for choice in response.choices]

    def _arguments(self, ask: Ask, sample: int, count: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self.name,
            "messages": to_dicts(ask.prompt.messages()),
            "temperature": ask.temperature,
            "max_tokens": ask.max_tokens,
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

    def _unanswered(self, ask: Ask) -> Usage:
        """What a request used at the least that was sent and whose answer nobody heard: it is billed all the same."""
        prompt = estimate_tokens(ask.prompt.text())
        dollars = self.price.dollars(prompt, 0) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, dollars=dollars, unmetered=1)

    def _usage(self, ask: Ask, response: Any) -> Usage:
        counts = getattr(response, "usage", None)
        prompt = getattr(counts, "prompt_tokens", None) or 0
        completion = getattr(counts, "completion_tokens", None) or 0
        if not prompt:
            if not self._warned:
                log.warning("model %r reports no token counts: tokens are estimated, dollars unknown", self.name)
                self._warned = True
            texts = [_text(choice.message) for choice in response.choices]
            return Usage(
                calls=1,
                prompt_tokens=estimate_tokens(ask.prompt.text()),
                completion_tokens=sum(map(estimate_tokens, texts)),
                dollars=None,
            )
        details = getattr(counts, "prompt_tokens_details", None)
        cached = min(prompt, getattr(details, "cached_tokens", None) or 0)
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)


class _Bill:
    """What the calls for one ask have used so far."""

    def __init__(self) -> None:
        self.usage = Usage()


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
