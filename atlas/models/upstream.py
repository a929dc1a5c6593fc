"""The two ways to a provider: litellm for all of them, and for OpenAI and servers like it its client alone.

Both take a body of the chat-completions API and return the answer as a dictionary, with every field that the provider
sent. What they raise is sorted in :mod:`atlas.models.faults`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from atlas.errors import ConfigError, MissingExtra
from atlas.models.keys import missing_key
from atlas.models.pieces import Pieces
from atlas.models.responses import from_responses, to_responses

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai._types import RequestOptions

OPENAI = "openai"
_OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI_PARAMS = frozenset(
    """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
    modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention
    reasoning_effort response_format safety_identifier seed service_tier stop store temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options""".split()
)
_ALWAYS = frozenset({"metadata", "max_tokens", "max_completion_tokens"})
"""What litellm takes for every provider, whether its list says so or not."""


Answer = dict[str, Any]


class Upstream(Protocol):
    """Who sends a request."""

    def untaken(self) -> frozenset[str]:
        """The settings of the chat-completions API that the model is known not to take."""
        ...

    async def send(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer: a chat completion, or what the server sent in place of one. ``seconds`` is its timeout."""
        ...

    async def stream(self, body: dict[str, Any], seconds: float, heard: Callable[[dict[str, Any]], None]) -> Answer:
        """The same for one choice, of which ``heard`` is told piece by piece where the server can; ``seconds`` is for
        each of them."""
        ...


class Litellm:
    """Any provider, through litellm."""

    def __init__(self, name: str, base_url: str | None, api_key: str | None) -> None:
        self._litellm = load_litellm()
        self._name = name
        self._fixed: dict[str, Any] = {
            "model": name,
            "num_retries": 0,
            "max_retries": 0,
            # What is left out is left out by us, and told.
            "drop_params": False,
            # litellm looks for an MCP gateway among the tools, and imports the `mcp` package for it.
            "_skip_mcp_handler": True,
        }
        if base_url:
            # A server of one's own mostly checks no key, but the client insists on sending one.
            self._fixed |= {"api_base": base_url, "api_key": api_key or "none"}
        elif api_key:
            self._fixed["api_key"] = api_key
        self._untaken: frozenset[str] | None = None

    def untaken(self) -> frozenset[str]:
        if self._untaken is None:
            provider, _, model = self._name.partition("/")
            known = self._litellm.get_supported_openai_params(model=model, custom_llm_provider=provider)
            self._untaken = frozenset() if known is None else _OPENAI_PARAMS - frozenset(known) - _ALWAYS
        return self._untaken

    async def send(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        response = await self._litellm.acompletion(**{"timeout": seconds, **body, **self._fixed})
        answer: dict[str, Any] = response.model_dump()
        return answer

    async def stream(self, body: dict[str, Any], seconds: float, heard: Callable[[dict[str, Any]], None]) -> Answer:
        asked = {"timeout": seconds, **body, **self._fixed, "stream": True, "stream_options": {"include_usage": True}}
        chunks = []
        async for chunk in await self._litellm.acompletion(**asked):
            chunks.append(chunk)
            if chunk.choices:
                heard(chunk.choices[0].delta.model_dump(exclude_none=True))
        whole = self._litellm.stream_chunk_builder(chunks)
        return {"choices": None} if whole is None else dict(whole.model_dump())


class OpenAI:
    """OpenAI, or a server that speaks its API, through its client alone: litellm would add milliseconds and lose what
    it does not know."""

    def __init__(self, model: str, base_url: str | None, api_key: str | None, *, responses: bool) -> None:
        try:
            import openai
        except ImportError:
            raise MissingExtra("a hosted model", "litellm") from None
        self._openai = openai
        self._model = model
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or None
        self._key = api_key or ("none" if base_url else None)
        self._responses = responses
        # As it came: of the HTTP library that this version of the client is made for.
        made_for = next(c for c in openai.DefaultAsyncHttpxClient.__mro__ if c.__module__.startswith("httpx"))
        self._whole = importlib.import_module(made_for.__module__.partition(".")[0]).Response
        self._clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}
        self._lock = threading.Lock()

    def untaken(self) -> frozenset[str]:
        return frozenset()

    async def send(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        options = _options(body, seconds)
        path, sent = "/chat/completions", {"model": self._model, **body}
        if self._responses:
            path, sent = "/responses", to_responses(body, self._model)
        response = await self._client().post(path, body=sent, cast_to=self._whole, options=options)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, Mapping):
            return {"choices": None}
        return from_responses(answer) if self._responses else dict(answer)

    async def stream(self, body: dict[str, Any], seconds: float, heard: Callable[[dict[str, Any]], None]) -> Answer:
        if self._responses:
            return await self.send(body, seconds)
        from openai.types.chat import ChatCompletionChunk

        options = _options(body, seconds)
        sent = {"model": self._model, **body, "stream": True, "stream_options": {"include_usage": True}}
        stream = await self._client().post(
            "/chat/completions",
            body=sent,
            cast_to=ChatCompletionChunk,
            options=options,
            stream=True,
            stream_cls=self._openai.AsyncStream[ChatCompletionChunk],
        )
        try:
            if "json" in stream.response.headers.get("content-type", ""):
                # A server that does not stream.
                whole = json.loads(await stream.response.aread())
                return dict(whole) if isinstance(whole, Mapping) else {"choices": None}
            pieces = Pieces()
            async for chunk in stream:
                delta = pieces.add(chunk.to_dict(exclude_unset=True, mode="json"))
                if delta:
                    heard(delta)
            return pieces.whole()
        finally:
            await stream.close()

    def _client(self) -> AsyncOpenAI:
        """The client of this event loop: connections belong to a loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for old in [other for other in self._clients if other.is_closed()]:
                del self._clients[old]
            client = self._clients.get(loop)
            if client is None:
                client = self._openai.AsyncOpenAI(
                    base_url=self._url,
                    api_key=self._key,
                    max_retries=0,
                    # The client's own of its kind closes itself when it is forgotten, in whichever loop runs then.
                    http_client=self._openai.DefaultAsyncHttpxClient(),
                )
                self._clients[loop] = client
            return client


def _options(body: dict[str, Any], seconds: float) -> RequestOptions:
    """What of ``body`` is not for the body, taken out of it."""
    options: RequestOptions = {"timeout": body.pop("timeout", seconds)}
    if (headers := body.pop("extra_headers", None)) is not None:
        options["headers"] = headers
    if (query := body.pop("extra_query", None)) is not None:
        options["params"] = query
    body |= body.pop("extra_body", None) or {}
    return options


def upstream_of(name: str, base_url: str | None, api_key: str | None, *, responses: bool) -> Upstream:
    """The way to the model ``provider/model``. Raises ConfigError for a provider that litellm does not know, and where
    its key is missing."""
    provider, _, model = name.partition("/")
    if provider == OPENAI and model:
        if not (base_url or api_key or os.environ.get(_OPENAI_KEY)):
            raise ConfigError(_no_key(name, _OPENAI_KEY))
        return OpenAI(model, base_url, api_key, responses=responses)
    litellm = load_litellm()
    if provider not in _providers(litellm):
        raise ConfigError(f"there is no provider {provider!r} (in model {name!r}): {_suggest(provider, litellm)}")
    if not (base_url or api_key) and (variable := missing_key(name, litellm)):
        raise ConfigError(_no_key(name, variable))
    return Litellm(name, base_url, api_key)


def _no_key(name: str, variable: str) -> str:
    return f"model {name!r} needs a key, and {variable} is not set: set it, or name another model"


def load_litellm() -> ModuleType:
    """litellm, quiet, and without its download of a price map."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError:
        raise MissingExtra("a hosted model", "litellm") from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return sys.modules["litellm"]


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
