"""A provider on the loopback address that fails as providers do, and writes a bill of all that it was asked.

It is a process of its own, so that what it answers and what it bills does not depend on who is killed meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.reliability import children
from atlas.errors import ConfigError

PROMPT, COMPLETION = 100, 10
"""Tokens that each answer is said to take."""
ANSWERED = "ok"
FAULTS = (
    "429, seconds",
    "429, a date",
    "500",
    "502, HTML",
    "a cut answer",
    "a reset",
    "a hang",
    "malformed JSON",
    "no choices",
    "no usage",
)
UNTOLD = ("no usage", "malformed JSON", "a cut answer", "a reset", "a hang")
"""What is billed without a word of how much."""
PAID = (ANSWERED, "no choices", *UNTOLD)
"""What the provider bills: it has taken the request and done the work, or some of it, whatever came of its answer."""
WAIT = 1
"""Seconds that a refusal for the rate asks to wait."""
_HANG = 600.0

Draw = Callable[[int], str]
Say = Callable[[Mapping[str, Any], int], str | bytes]
"""What the answer to a request of some number says; bytes are the whole body of it."""


class _Answers(asyncio.Protocol):
    """One connection."""

    def __init__(self, draw: Draw, say: Say, bill: int, counted: Iterator[int]) -> None:
        self._draw, self._say, self._bill, self._counted = draw, say, bill, counted
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, ended, body = self._got.partition(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        if not ended or len(body) < int(length):
            return
        self._got = body[int(length) :]
        number = next(self._counted)
        fault = self._draw(number)
        asked = json.loads(body[: int(length)] or b"{}")
        os.write(self._bill, f"{fault}\n".encode())
        self._behave(fault, asked, number)

    def _behave(self, fault: str, asked: Mapping[str, Any], number: int) -> None:
        refused = {"error": {"message": "the test provider was told to fail", "type": "test", "code": "test"}}
        said = self._say(asked, number)
        if isinstance(said, bytes):
            self._write(200, said, "text/event-stream" if asked.get("stream") else "application/json")
            return
        whole = completion(said, asked)
        match fault:
            case "429, seconds":
                self._send(429, json.dumps(refused), f"retry-after: {WAIT}")
            case "429, a date":
                now = time.time()
                dates = f"date: {formatdate(now, usegmt=True)}\r\nretry-after: {formatdate(now + WAIT, usegmt=True)}"
                self._send(429, json.dumps(refused), dates)
            case "500":
                self._send(500, json.dumps(refused))
            case "502, HTML":
                self._send(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", kind="text/html")
            case "a cut answer":
                self._cut(whole, bool(asked.get("stream")))
            case "a reset":
                reset = struct.pack("ii", 1, 0)
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                self._transport.abort()
            case "a hang":
                asyncio.get_running_loop().call_later(_HANG, self._transport.close)
            case "malformed JSON":
                self._send(200, '{"id": "x", "object": "chat.completion", "choices": [{"index": 0, "mess')
            case "no choices":
                self._answer({**whole, "choices": []}, asked)
            case "no usage":
                self._answer({name: value for name, value in whole.items() if name != "usage"}, asked)
            case _:
                self._answer(whole, asked)

    def _answer(self, whole: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        if not asked.get("stream"):
            self._send(200, json.dumps(whole))
            return
        self._send(200, "".join(f"data: {line}\n\n" for line in (*chunks(whole), "[DONE]")), kind="text/event-stream")

    def _cut(self, whole: Mapping[str, Any], stream: bool) -> None:
        text, kind = json.dumps(whole), "application/json"
        if stream:
            text, kind = "".join(f"data: {line}\n\n" for line in chunks(whole)), "text/event-stream"
        data = text.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data[: len(data) // 2])
        self._transport.close()

    def _send(self, status: int, text: str, *headers: str, kind: str = "application/json") -> None:
        self._write(status, text.encode(), kind, *headers)

    def _write(self, status: int, data: bytes, kind: str, *headers: str) -> None:
        lines = (f"HTTP/1.1 {status} Said", f"content-type: {kind}", f"content-length: {len(data)}", *headers)
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)


def completion(text: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": str(asked.get("model")),
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for i in range(int(asked.get("n") or 1))
        ],
        "usage": {
            "prompt_tokens": PROMPT,
            "completion_tokens": COMPLETION,
            "total_tokens": PROMPT + COMPLETION,
        },
    }


def chunks(whole: Mapping[str, Any]) -> Iterator[str]:
    """The same as the pieces of a stream."""
    head = {**whole, "object": "chat.completion.chunk"}
    usage = head.pop("usage", None)
    for choice in whole["choices"]:
        text = choice["message"]["content"]
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            delta = {"role": "assistant", "content": piece}
            yield json.dumps({**head, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]})
        yield json.dumps({**head, "choices": [{"index": choice["index"], "delta": {}, "finish_reason": "stop"}]})
    if usage is not None:
        yield json.dumps({**head, "choices": [], "usage": usage})


class Upstream:
    """The provider, for who asks it."""

    def __init__(self, port: int, bill: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"
        self._bill = bill

    def billed(self) -> list[str]:
        """How it answered, call by call."""
        return self._bill.read_text(encoding="utf-8").splitlines()


def failing(share: float, chance: Random, faults: tuple[str, ...] = FAULTS) -> Draw:
    """So many of the calls fail, each in one of these ways, by turns in an order of chance."""
    order: list[str] = []

    def draw(number: int) -> str:
        if chance.random() >= share:
            return ANSWERED
        if not order:
            order.extend(chance.sample(faults, len(faults)))
        return order.pop()

    return draw


@contextmanager
def providing(
    folder: Path, draw: Draw = lambda number: ANSWERED, say: Say = lambda asked, number: "Action: look"
) -> Iterator[Upstream]:
    """A provider whose call of each number is answered as ``draw`` says, and says what ``say`` says."""
    bill, told = folder / "bill", folder / "port"
    bill.touch()

    def work() -> None:
        asyncio.run(_provide(draw, say, bill, told))

    child = children.begin(work, folder, folder / "provider.said")
    try:
        until = time.monotonic() + 30
        while not told.exists():
            if time.monotonic() > until:
                raise ConfigError("the provider of a measurement did not start: free the machine")
            time.sleep(0.01)
        yield Upstream(int(told.read_text()), bill)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


async def _provide(draw: Draw, say: Say, bill: Path, told: Path) -> None:
    file = os.open(bill, os.O_WRONLY | os.O_APPEND)
    counted = iter(range(1 << 40))
    made = await asyncio.get_running_loop().create_server(
        lambda: _Answers(draw, say, file, counted), "127.0.0.1", 0, backlog=2048
    )
    partial = told.with_suffix(".part")
    partial.write_text(str(made.sockets[0].getsockname()[1]))
    partial.replace(told)
    await made.serve_forever()
