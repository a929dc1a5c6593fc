"""Connections to a provider for OpenAI's client, by aiohttp, at half of what those of its own HTTP library cost.

The client's library is kept above it, and is told of what fails in its own words: it decides on redirects, timeouts,
encodings and errors as ever. Where a proxy is set, or aiohttp is not there, its own connections are used.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

if TYPE_CHECKING:
    import aiohttp

_ALIVE = 5.0
"""Seconds that a connection is kept for a further request, as the client's own library does."""


def transport(http: ModuleType) -> Any | None:
    """A transport for clients of the library ``http`` (httpx or one that is made like it), for one event loop; None
    where its own has to be used."""
    try:
        import aiohttp
    except ImportError:
        return None
    return None if getproxies() else _transport(http, aiohttp)


def _transport(http: ModuleType, client: ModuleType) -> Any:
    faults = [
        (client.ConnectionTimeoutError, http.ConnectTimeout),
        (client.ServerTimeoutError, http.ReadTimeout),
        (client.ClientConnectorError, http.ConnectError),
        (client.ServerDisconnectedError, http.RemoteProtocolError),
        (client.ClientPayloadError, http.RemoteProtocolError),
        (client.ClientResponseError, http.RemoteProtocolError),
        (client.ClientOSError, http.ReadError),
        (client.InvalidURL, http.UnsupportedProtocol),
        (client.ClientError, http.TransportError),
        (TimeoutError, http.ReadTimeout),
        (OSError, http.ReadError),
    ]

    def told(error: Exception, request: Any) -> Exception:
        """``error`` as the library above names it."""
        kind = next(theirs for ours, theirs in faults if isinstance(error, ours))
        made: Exception = kind(str(error) or type(error).__name__, request=request)
        return made

    known = (client.ClientError, TimeoutError, OSError)

    class Body(http.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, response: aiohttp.ClientResponse, request: Any) -> None:
            self._response, self._request = response, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for part in self._response.content.iter_any():
                    yield part
            except known as error:
                raise told(error, self._request) from error

        async def aclose(self) -> None:
            # One that was not read to its end holds a connection that cannot be used again.
            if self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()

    class Quiet(client.TCPConnector):  # type: ignore[misc, name-defined]
        """It is forgotten with its event loop, and its sockets with it: nobody has to be warned.

        ``gone`` holds something once the transport is gone. The garbage collector, which frees transport and session at
        once, says so before it comes to either of them.
        """

        def __init__(self, gone: list[bool], **settings: Any) -> None:
            self._gone = gone
            super().__init__(**settings)

        @property
        def closed(self) -> bool:
            return bool(self._gone) or bool(super().closed)

        def __del__(self) -> None: ...

    class Transport(http.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        _session: aiohttp.ClientSession | None = None

        def _opened(self) -> aiohttp.ClientSession:
            """In the event loop that it is used in."""
            if self._session is None:
                gone: list[bool] = []
                weakref.finalize(self, gone.append, True)
                connector = Quiet(gone, limit=0, keepalive_timeout=_ALIVE, ssl=http.create_ssl_context())
                self._session = client.ClientSession(
                    connector=connector,
                    auto_decompress=False,
                    cookie_jar=client.DummyCookieJar(),
                    skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                )
            return self._session

        async def handle_async_request(self, request: Any) -> Any:
            from yarl import URL

            limits = request.extensions.get("timeout") or {}
            timeout = client.ClientTimeout(
                total=None, connect=None, sock_connect=limits.get("connect"), sock_read=limits.get("read")
            )
            try:
                response = await self._opened().request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=request.headers.multi_items(),
                    data=await request.aread() or None,
                    allow_redirects=False,
                    timeout=timeout,
                )
            except known as error:
                raise told(error, request) from error
            return http.Response(
                response.status, headers=response.raw_headers, stream=Body(response, request), request=request
            )

        async def aclose(self) -> None:
            if self._session is not None:
                await self._session.close()
                self._session = None

    return Transport()
