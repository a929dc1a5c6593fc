"""Connections: how long one may keep the server waiting for the head of a request and for room to write an answer, and
what is written at once.

uvicorn bounds neither. The body of a request is bounded by the wire, and a connection between two requests by uvicorn.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD = 20.0
"""Seconds from a connection, or from the first byte of a further request on it, until the head of that is there."""
STALLED = 60.0
"""Seconds that a client may read nothing of an answer which it is being sent."""

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

# uvicorn's class is one of two, by what is installed, and mypy is told of neither.
_Base: Any = AutoHTTPProtocol


class Joined:
    """A transport that writes at once what is written in one turn of the event loop: uvicorn gives it the head of an
    answer, its body, and each event of a stream one by one, and every write is a call of the system."""

    MOST = 1 << 16
    """Bytes that wait for the end of the turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > self.MOST:
            self.flush()

    def flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Patient(_Base):  # type: ignore[misc]
    """uvicorn's protocol of a connection, which does not wait for ever."""

    _head: asyncio.TimerHandle | None = None
    _room: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(Joined(transport, self.loop))
        self._head = self.loop.call_later(HEAD, self._no_head)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not asked and self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD, self._no_head)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._room is None:
            self._room = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._room is not None:
            self._room.cancel()
            self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._room):
            if timer is not None:
                timer.cancel()
        self._head = self._room = None
        super().connection_lost(exc)

    def _no_head(self) -> None:
        self._head = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.write(_LATE)
            self.transport.close()
