"""The two ways to a provider: litellm for all of them, and for OpenAI and servers like it its client alone.

Both take a body of the chat-completions API and return the answer as a dictionary, with every field that the provider
sent. What they raise is sorted in :mod:`atlas.models.faults`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from atlas.errors import ConfigError, MissingExtra, ModelError
from atlas.jsontext import read_json
from atlas.models import parts
from atlas.models.connections import transport
from atlas.models.keys import missing_key
from atlas.models.pieces import Pieces
from atlas.models.request import FIELDS
from atlas.models.responses import from_responses, to_responses
from atlas.models.responses_stream import Events
from atlas.models.rules import Rules

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream
    from openai._types import RequestOptions

OPENAI = "openai"
_OPENAI_KEY = "OPENAI_API_KEY"
_ALWAYS = frozenset({"max_tokens", "max_completion_tokens"})
"""What litellm takes for every provider, whether its list says so or not."""
_TAKES_METADATA = ("azure", "litellm_proxy")
"""Providers whose API has metadata. litellm keeps what it is given under that name to itself, and writes into it."""


Answer = dict[str, Any]
T = TypeVar("T")


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
        each of them. An empty piece says that the model is at work."""
        ...


class Litellm:
    """Any provider, through litellm."""

    def __init__(self, name: str, base_url: str | None, api_key: str | None, rules: Rules) -> None:
        self._litellm = load_litellm()
        self._name = name
        self._rules = rules
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
            own = ("metadata",) if provider in _TAKES_METADATA else ()
            every = FIELDS | {"thinking"}
            taken = (every if known is None else frozenset(known)) - {"metadata"}
            self._untaken = every - taken - _ALWAYS - frozenset(own)
        return self._untaken

    async def send(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._check(body)
        try:
            response = await self._litellm.acompletion(**self._asked(body, seconds))
        finally:
            # It begins right after.
            asyncio.get_running_loop().call_soon(_workers.keep)
        answer: dict[str, Any] = response.model_dump()
        return answer

    def _asked(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """What litellm is called with."""
        asked = {"timeout": seconds, **body, **self._fixed}
        if (metadata := asked.pop("metadata", None)) is not None:
            asked["extra_body"] = {**(asked.get("extra_body") or {}), "metadata": metadata}
        return asked

    def _check(self, body: Mapping[str, Any]) -> bool:
        """Refuse fields that litellm would send within one that the provider does not know, and what it would
        fetch or lose. Whether something is named by an address."""
        if self._name.startswith(("anthropic/", "bedrock/")) and body.get("extra_body"):
            names = ", ".join(sorted(map(str, body["extra_body"])))[:200]
            raise ModelError(f"model {self._name!r} does not take {names}: leave it out", status=400)
        return parts.check(self._name, body["messages"], self._rules)

    async def stream(self, body: dict[str, Any], seconds: float, heard: Callable[[dict[str, Any]], None]) -> Answer:
        if self._check(body):
            # At the end of a stream that told no tokens litellm counts them, and fetches images for it.
            return await self.send(body, seconds)
        asked = self._asked(body, seconds) | {"stream": True, "stream_options": {"include_usage": True}}
        chunks = []
        stream = await self._litellm.acompletion(**asked)
        try:
            async for chunk in stream:
                chunks.append(chunk)
                if chunk.choices:
                    heard(chunk.choices[0].delta.model_dump(exclude_none=True))
        finally:
            # It begins right after.
            asyncio.get_running_loop().call_soon(_workers.keep)
        whole = self._litellm.stream_chunk_builder(chunks)
        if whole is None:
            return {"choices": None}
        answer = dict(whole.model_dump())
        if not any(getattr(came, "usage", None) for came in getattr(stream, "chunks", chunks)):
            answer["usage"] = None  # litellm's own guess
        return answer


class _Workers:
    """litellm has one task for what it logs, and forgets it while it waits as soon as another event loop calls: Python
    complains of that. Here each loop's newest is kept, and those before it are ended."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Keep the one that was begun in this loop."""
        found = sys.modules.get("litellm.litellm_core_utils.logging_worker")
        task = getattr(getattr(found, "GLOBAL_LOGGING_WORKER", None), "_worker_task", None)
        loop = asyncio.get_running_loop()
        if not isinstance(task, asyncio.Task) or task.get_loop() is not loop:
            return
        with self._lock:
            before = self._tasks.get(loop)
            if before is task:
                return
            for old in [other for other in self._tasks if other.is_closed()]:
                del self._tasks[old]
            self._tasks[loop] = task
        if before is not None:
            before.cancel()


_workers = _Workers()


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
        self._http = importlib.import_module(made_for.__module__.partition(".")[0])
        self._clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}
        self._lock = threading.Lock()

    def untaken(self) -> frozenset[str]:
        return frozenset()

    async def send(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        options = _options(body, seconds)
        path, sent = self._sent(body)
        client = self._client()
        response = await client.post(_whole(client, path), body=sent, cast_to=self._http.Response, options=options)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, Mapping):
            return {"choices": None}
        return from_responses(answer) if self._responses else dict(answer)

    async def stream(self, body: dict[str, Any], seconds: float, heard: Callable[[dict[str, Any]], None]) -> Answer:
        from openai.types.chat import ChatCompletionChunk

        options = _options(body, seconds)
        path, sent = self._sent(body)
        if self._responses:
            events = await self._streamed(path, {**sent, "stream": True}, object, options)
            try:
                if _unstreamed(events):
                    whole = await _read(events)
                    return {"choices": None} if whole is None else from_responses(whole)
                return await _heard_events(events, heard)
            finally:
                await events.close()
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
        stream = await self._streamed(path, sent, ChatCompletionChunk, options)
        try:
            if _unstreamed(stream):
                return await _read(stream) or {"choices": None}
            pieces = Pieces()
            async for chunk in stream:
                delta = pieces.add(chunk.to_dict(exclude_unset=True, mode="json", warnings=False))
                if delta:
                    heard(delta)
            return pieces.whole()
        finally:
            await stream.close()

    def _sent(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Where to, and what."""
        if self._responses:
            return "/responses", to_responses(body, self._model)
        parts.check_files(f"{OPENAI}/{self._model}", body["messages"])
        return "/chat/completions", {"model": self._model, **body}

    async def _streamed(
        self, path: str, sent: dict[str, Any], kind: type[T], options: RequestOptions
    ) -> AsyncStream[T]:
        client = self._client()
        return await client.post(
            _whole(client, path),
            body=sent,
            cast_to=kind,
            options=options,
            stream=True,
            stream_cls=self._openai.AsyncStream[kind],  # type: ignore[valid-type]
        )

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
                    http_client=self._openai.DefaultAsyncHttpxClient(transport=transport(self._http)),
                )
                self._clients[loop] = client
            return client


async def _heard_events(stream: AsyncStream[object], heard: Callable[[dict[str, Any]], None]) -> Answer:
    """The answer of a stream of the Responses API."""
    events = Events()
    async for event in stream:
        told = False
        for delta in events.add(event):
            told = True
            heard(delta)
        if not told:
            heard({})
        if events.over:
            break
    return events.whole()


def _unstreamed(stream: AsyncStream[Any]) -> bool:
    """Whether the server does not stream."""
    return "json" in stream.response.headers.get("content-type", "")


async def _read(stream: AsyncStream[Any]) -> Answer | None:
    whole = read_json(await stream.response.aread())
    return dict(whole) if isinstance(whole, Mapping) else None


def _whole(client: AsyncOpenAI, path: str) -> str:
    """The address of ``path``: put together here, since the client's library takes four times as long for it."""
    base = client.base_url
    return path if base.query else f"{base}{path[1:]}"


def _options(body: dict[str, Any], seconds: float) -> RequestOptions:
    """What of ``body`` is not for the body, taken out of it."""
    options: RequestOptions = {"timeout": body.pop("timeout", seconds)}
    if (headers := body.pop("extra_headers", None)) is not None:
        options["headers"] = headers
    if (query := body.pop("extra_query", None)) is not None:
        options["params"] = query
    body |= body.pop("extra_body", None) or {}
    return options


def upstream_of(name: str, base_url: str | None, api_key: str | None, rules: Rules) -> Upstream:
    """The way to the model ``provider/model``. Raises ConfigError for a provider that litellm does not know, and where
    its key is missing."""
    provider, _, model = name.partition("/")
    if provider == OPENAI and model:
        if not (base_url or api_key or os.environ.get(_OPENAI_KEY)):
            raise ConfigError(_no_key(name, _OPENAI_KEY))
        return OpenAI(model, base_url, api_key, responses=rules.responses)
    litellm = load_litellm()
    if provider not in _providers(litellm):
        raise ConfigError(f"there is no provider {provider!r} (in model {name!r}): {_suggest(provider, litellm)}")
    if not (base_url or api_key) and (variable := missing_key(name, litellm)):
        raise ConfigError(_no_key(name, variable))
    return Litellm(name, base_url, api_key, rules)


def _no_key(name: str, variable: str) -> str:
    return f"model {name!r} needs a key, and {variable} is not set: set it, or name another model"


def load_litellm() -> ModuleType:
    """litellm, quiet, and without its downloads of a price map and of what Anthropic's headers are called."""
    for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"):
        os.environ.setdefault(name, "True")
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
