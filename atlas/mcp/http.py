"""The tools over HTTP, by the official SDK's streamable transport: for agents that do not start their own servers.

Each request stands alone, so that nothing is lost when the server is started again.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from atlas.errors import ConfigError
from atlas.mcp.server import memory_server
from atlas.mcp.tools import MemoryTools

PATH = "/mcp"
LARGEST = 4 << 20
"""Bytes of a request."""


def serve_http(
    tools: MemoryTools,
    *,
    host: str = "127.0.0.1",
    port: int = 8401,
    key: str = "",
    ready: Callable[[str], object] = lambda url: None,
) -> None:
    """Serve until the process is told to stop (Ctrl-C, SIGTERM).

    key: who asks has to have it (``Authorization: Bearer``). Without one, only programs of this machine are answered.
    ready: told of the URL once connections are taken.
    Raises ConfigError where others than this machine could call and there is no key, or the port is taken.
    """
    from atlas.serve.server import server_of

    with listening(host, port, key) as listener:
        server = server_of(application(tools, host=host, key=key))
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}{PATH}")
        with suppress(KeyboardInterrupt):  # raised again by uvicorn, once all is ended
            server.run(sockets=[listener])


def listening(host: str, port: int, key: str) -> socket.socket:
    """A socket at that address, open for connections."""
    from atlas.serve.server import listen, loopback

    if not key and not loopback(host):
        raise ConfigError(
            f"a memory at {host} could be written from other machines, and no key is asked for: set a key, or serve at "
            "127.0.0.1"
        )
    return listen(host, port)


def application(tools: MemoryTools, *, host: str = "127.0.0.1", key: str = "") -> ASGIApp:
    """The ASGI application. On a loopback address the SDK answers calls that name this machine alone, and no web page
    of elsewhere."""
    made = memory_server(tools).streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=True, max_request_body_size=LARGEST, host=host
    )
    return _Keyed(made, key) if key else made


class _Keyed:
    """Lets those in who have the key."""

    def __init__(self, inner: ASGIApp, key: str) -> None:
        self._inner, self._key = inner, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._known(scope["headers"]):
            told: dict[str, Any] = {"error": "the key is missing or wrong: send it as 'Authorization: Bearer KEY'"}
            refused = JSONResponse(told, status_code=401, headers={"www-authenticate": "Bearer"})
            await refused(scope, receive, send)
            return
        await self._inner(scope, receive, send)

    def _known(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = next((value for name, value in headers if name.lower() == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)
