"""Both ends of a server that is measured, each a process of its own: ``python -m atlas.benchmarks.perf.serve_load``.

``upstream`` is a provider that answers at once and prints its port. ``load JSON`` is many clients (the fields of
:class:`Load`), and prints what they saw (those of :class:`Seen`). Both speak HTTP by hand, so that what is measured is
the server between them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, cast

from pydantic import Field

from atlas.benchmarks.perf.upstream import ANSWER
from atlas.records import Record

PIECES = 10
"""Words of a streamed answer."""
_WORDS = "what is seen here. " * 20


class Load(Record):
    """Clients, and what each of them asks."""

    port: int
    path: str = "/v1/chat/completions"
    """Where ``{client}`` stands, the client's number goes."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    clients: int = 1
    requests: int = 1
    """Of all clients together; each has a connection of its own and waits for its answers."""
    stream: bool = False
    pace: float = 0.0
    """Requests a second of all clients together; 0 for as many as are answered."""
    salt: str = ""
    """Said in every request, so that no two runs ask the same."""


class Seen(Record):
    """What clients saw."""

    seconds: tuple[float, ...]
    """Of each answer that was right, from the request's first byte to its own last."""
    wall: float
    failed: int
    """Answers with another status than 200, or without what the provider said."""


# --- the provider -----------------------------------------------------------------------------------------------------


def _streamed() -> bytes:
    shared = {key: ANSWER[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": "Action: look" if i == 0 else f" {i}"} for i in range(PIECES)]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [{**shared, "choices": [choice]} for choice in choices]
    chunks.append({**shared, "choices": [], "usage": ANSWER["usage"]})
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


def _plain() -> bytes:
    body = json.dumps(ANSWER).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class Provider(asyncio.Protocol):
    """Answers every request of a connection at once, as a stream where one is asked for."""

    answers: ClassVar = {False: _plain(), True: _streamed()}

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's says that it is none

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, ended, body = self._got.partition(b"\r\n\r\n")
        if not ended:
            return
        length = _header(head, b"content-length")
        if length is not None and len(body) >= int(length):
            self._got = body[int(length) :]
            asked = body[: int(length)].replace(b" ", b"")
        elif length is None and body.endswith(b"0\r\n\r\n"):
            # Sent in chunks, as node's clients do.
            self._got, asked = b"", body.replace(b" ", b"")
        else:
            return
        self._transport.write(self.answers[b'"stream":true' in asked])


async def provide() -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- the clients ------------------------------------------------------------------------------------------------------


async def send(load: Load) -> Seen:
    """Ask as ``load`` says."""
    seconds: list[float] = []
    failed = 0
    numbers = iter(range(load.requests))
    gap = load.clients / load.pace if load.pace else 0.0

    async def client(which: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port, limit=1 << 20)
        due = began + which * gap / load.clients
        for number in numbers:
            if gap:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += gap
            sent = request(load, which, number)
            since = time.perf_counter()
            writer.write(sent)
            status, body = await answer(reader)
            spent = time.perf_counter() - since
            if status == 200 and b"Action: look" in body:
                seconds.append(spent)
            else:
                failed += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(which) for which in range(load.clients)))
    return Seen(seconds=tuple(seconds), wall=time.perf_counter() - began, failed=failed)


def request(load: Load, client: int, number: int) -> bytes:
    """The bytes of one request: a conversation of its own, of some hundred tokens."""
    said = f"Task {load.salt} {number}: {_WORDS}"
    messages = [{"role": "system", "content": "Act."}, {"role": "user", "content": said}]
    body = json.dumps({"model": "own", "messages": messages, "stream": load.stream}).encode()
    lines = {
        "host": f"127.0.0.1:{load.port}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "authorization": "Bearer none",
        **load.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {load.path.format(client=client)} HTTP/1.1\r\n{head}\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(status, body) of the next answer on a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = _header(head, b"content-length")
    if length is not None:
        return status, await reader.readexactly(int(length))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return status, b"".join(parts)


def _header(head: bytes, name: bytes) -> bytes | None:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((value.strip() for found, _, value in lines if found == name), None)


def main(arguments: list[str]) -> None:
    what, *given = arguments
    work: Coroutine[Any, Any, Seen | None]
    work = provide() if what == "upstream" else send(Load.model_validate_json(given[0]))
    seen = _run(work)
    if seen is not None:
        print(seen.model_dump_json())


def _run(work: Coroutine[Any, Any, Seen | None]) -> Seen | None:
    """In the quickest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


if __name__ == "__main__":
    main(sys.argv[1:])
