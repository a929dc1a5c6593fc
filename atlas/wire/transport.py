"""From a client library to an ASGI application in this process: no socket in between.

The libraries take an HTTP client of theirs, httpx or the one that follows it, whose transport may be anything. Both
have the same classes; which one a library was made for is asked of the library.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from atlas.background import Background
from atlas.errors import ConfigError
from atlas.wire.app import Wire
from atlas.wire.refusals import refusal_of

ERROR = "atlas_error"
"""The extension of a response that holds the exception behind it."""


class Exchange:
    """One request and its answer. All of it happens in one event loop."""

    def __init__(self, wire: Wire, request: Any, body: bytes, module: ModuleType) -> None:
        self._wire = wire
        self._request = request
        self._module = module
        timeouts = request.extensions.get("timeout") or {}
        self._patience: float | None = timeouts.get("read")
        self._body = body
        self._sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._started = asyncio.Event()
        self._left = asyncio.Event()
        self._asked = False
        self._task: asyncio.Task[None] | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.told: dict[str, Any] = {}

    async def begin(self) -> bytes | None:
        """Send the request and wait for the head of the answer; the whole answer where it is no stream."""
        url = self._request.url
        scope = {
            "type": "http",
            "method": self._request.method,
            "path": url.path,
            "query_string": url.query,
            "headers": [(k.lower(), v) for k, v in self._request.headers.raw],
            "atlas": self.told,
        }
        self._task = asyncio.get_running_loop().create_task(self._wire(scope, self._receive, self._send))
        await self._patiently(self._started.wait())
        if any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers):
            return None
        parts = []
        while (part := await self.next()) is not None:
            parts.append(part)
        return b"".join(parts)

    async def next(self) -> bytes | None:
        """The next part of the answer's body; None at its end."""
        part: bytes | None = await self._patiently(self._sent.get())
        return part

    def leave(self) -> None:
        """The client wants no more."""
        self._left.set()

    async def _patiently(self, waiting: Awaitable[Any]) -> Any:
        """What is waited for, within the time that the caller gives it."""
        assert self._task is not None
        try:
            async with asyncio.timeout(self._patience):
                return await waiting
        except TimeoutError:
            # The step goes on for a while: the client asks again, and shall find it.
            self._left.set()
            raise self._module.ReadTimeout(f"no answer within {self._patience:g} s", request=self._request) from None
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait({self._task})
            raise

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
            self._started.set()
            return
        if message["body"]:
            self._sent.put_nowait(message["body"])
        if not message["more_body"]:
            self._sent.put_nowait(None)


@lru_cache(maxsize=4)
def transports(module: ModuleType) -> tuple[Callable[[Wire, Background], Any], Callable[[Wire], Any]]:
    """The synchronous and the asynchronous transport of ``module``, which is httpx or made like it."""

    class SyncBody(module.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, exchange: Exchange, background: Background) -> None:
            self._exchange, self._background = exchange, background

        def __iter__(self) -> Iterator[bytes]:
            while (part := self._background.run(self._exchange.next())) is not None:
                yield part

        def close(self) -> None:
            self._background.tell(self._exchange.leave)

    class AsyncBody(module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, exchange: Exchange) -> None:
            self._exchange = exchange

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while (part := await self._exchange.next()) is not None:
                yield part

        async def aclose(self) -> None:
            self._exchange.leave()

    def answered(exchange: Exchange, whole: bytes | None, body: Callable[[], Any]) -> Any:
        content = {"stream": body()} if whole is None else {"content": whole}
        error = exchange.told.get("error")
        extensions = {} if error is None else {ERROR: error}
        return module.Response(exchange.status, headers=exchange.headers, extensions=extensions, **content)

    class Sync(module.BaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, wire: Wire, background: Background) -> None:
            self._wire, self._background = wire, background

        def handle_request(self, request: Any) -> Any:
            exchange = Exchange(self._wire, request, request.read(), module)
            try:
                whole = self._background.run(exchange.begin())
            except ConfigError as error:
                # Raised, it would be taken for a connection that failed, and tried again.
                refusal = refusal_of(error, obeys=True)
                content = {"error": {"message": refusal.message, "type": refusal.kind, "code": None, "param": None}}
                return module.Response(refusal.status, json=content, headers=refusal.headers)
            return answered(exchange, whole, lambda: SyncBody(exchange, self._background))

    class Async(module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, wire: Wire) -> None:
            self._wire = wire

        async def handle_async_request(self, request: Any) -> Any:
            exchange = Exchange(self._wire, request, await request.aread(), module)
            whole = await exchange.begin()
            return answered(exchange, whole, lambda: AsyncBody(exchange))

    return Sync, Async
