"""Real clients of OpenAI's and Anthropic's libraries, whose server is the wire in this process."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from atlas.background import Background
from atlas.errors import MissingExtra
from atlas.wire.app import Wire
from atlas.wire.transport import ERROR, transports

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI

_KEY = "atlas"
"""The key of clients that reach no network: they insist on one."""
_URL = "http://atlas"


def openai_client(wire: Wire, background: Background) -> OpenAI:
    library = _library("openai", "an OpenAI-compatible client", "litellm")
    module = _http(library)
    http = module.Client(transport=transports(module)[0](wire, background))
    client: OpenAI = library.OpenAI(api_key=_KEY, base_url=f"{_URL}/v1", http_client=http)
    return client


def async_openai_client(wire: Wire) -> AsyncOpenAI:
    library = _library("openai", "an OpenAI-compatible client", "litellm")
    module = _http(library)
    http = module.AsyncClient(transport=transports(module)[1](wire))
    client: AsyncOpenAI = library.AsyncOpenAI(api_key=_KEY, base_url=f"{_URL}/v1", http_client=http)
    return client


def anthropic_client(wire: Wire, background: Background) -> Anthropic:
    library = _library("anthropic", "a client of Anthropic's Messages API", "anthropic")
    module = _http(library)
    http = module.Client(transport=transports(module)[0](wire, background))
    client: Anthropic = library.Anthropic(api_key=_KEY, base_url=_URL, http_client=http)
    return client


def async_anthropic_client(wire: Wire) -> AsyncAnthropic:
    library = _library("anthropic", "a client of Anthropic's Messages API", "anthropic")
    module = _http(library)
    http = module.AsyncClient(transport=transports(module)[1](wire))
    client: AsyncAnthropic = library.AsyncAnthropic(api_key=_KEY, base_url=_URL, http_client=http)
    return client


def behind(error: BaseException) -> BaseException | None:
    """The exception of ours that a client library's error tells of; None for any other error."""
    response: Any = getattr(error, "response", None)
    extensions = getattr(response, "extensions", None)
    return extensions.get(ERROR) if isinstance(extensions, dict) else None


def _library(name: str, feature: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(feature, extra) from None


def _http(library: ModuleType) -> ModuleType:
    """The HTTP library that ``library`` is made for."""
    found = next(c for c in library.DefaultHttpxClient.__mro__ if c.__module__.startswith("httpx"))
    return importlib.import_module(found.__module__.partition(".")[0])
