"""What a call of a hosted model costs beyond its server: by OpenAI's client, by litellm, and with neither."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from atlas.benchmarks.perf.table import Aim, Table, quantile
from atlas.models.hosted import Hosted
from atlas.records import Ask, Message, Prompt, Task, View

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "own",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Action: look"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
}
TURNS = 20
"""Messages of the history that each call sends, of some 50 tokens each."""


BLOCK = 25
"""Calls of one way in a row."""


def measure(calls: int = 200) -> Table:
    """Milliseconds per call over ``calls`` calls of each way, in turn, against an instant server on the loopback
    address."""
    spent = asyncio.run(_measured(calls))
    rows = tuple(
        (what, len(found), round(quantile(found, 0.5) * 1e3, 2), round(quantile(found, 0.99) * 1e3, 2))
        for what, found in spent.items()
    )
    return Table(
        name="upstream",
        title="A call of a hosted model, its server instant",
        columns=("what", "calls", "p50 ms", "p99 ms"),
        rows=rows,
        aims=(
            Aim(what="by OpenAI's client: p50 ms above a bare request", limit=2.0, measured=rows[1][2] - rows[0][2]),
        ),
        note=f"Each sends {TURNS} messages; one call at a time, the three ways in turn, {BLOCK} calls each.",
    )


async def _measured(calls: int) -> dict[str, list[float]]:
    import httpx

    server = await asyncio.get_running_loop().create_server(_Instant, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    said = tuple(Message(role=("user", "assistant")[i % 2], content="what is seen here. " * 10) for i in range(TURNS))
    ask = Ask(view=View(task=Task(id="t", goal="g"), opening=""), prompt=Prompt(stable="Act.", history=said))
    body = {"model": "own", "messages": [{"role": m.role, "content": m.content} for m in ask.prompt.messages()]}
    direct = Hosted("openai/own", base_url=url, api_key="none")
    litellm = Hosted("hosted_vllm/own", base_url=url, api_key="none")
    async with server, httpx.AsyncClient() as client:

        async def bare() -> None:
            (await client.post(f"{url}/chat/completions", json=body)).json()

        async def by(model: Hosted) -> None:
            await model.sample(ask)

        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "a bare request": bare,
            "Hosted by OpenAI's client (openai/NAME)": lambda: by(direct),
            "Hosted by litellm (hosted_vllm/NAME)": lambda: by(litellm),
        }
        spent: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(calls // BLOCK):
            for what, call in ways.items():
                # What a client does behind its caller's back (logging, in litellm) is over by then.
                await asyncio.sleep(0.1)
                await call()
                for _ in range(BLOCK):
                    began = time.perf_counter()
                    await call()
                    spent[what].append(time.perf_counter() - began)
        return spent


class _Instant(asyncio.Protocol):
    """Answers every request of a connection at once."""

    def __init__(self) -> None:
        data = json.dumps(ANSWER).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
        self._answer, self._got = head + data, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, ended, body = self._got.partition(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        if ended and len(body) >= int(length):
            self._got = body[int(length) :]
            self._transport.write(self._answer)
