"""What the tests of the server share."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

import asyncio
import threading

import atlas
from atlas.protocols import Model
from atlas.records import Ask, Completion
from atlas.serve import Limits, Serving, Tenant, Tenants
from tests.waiting import until

KEY = "a-key-of-a-tenant-0001"


@contextmanager
def serving(agent: atlas.Agent, *keys: str, **limits: Any) -> Iterator[tuple[Serving, Tenant]]:
    tenant = Tenant("default", agent, keys, Limits(**limits))
    with Serving(Tenants([tenant])) as server:
        yield server, tenant


def ask(url: str, path: str, body: Any = None, method: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    """(status, headers, JSON or text) of one request."""
    host = urlsplit(url)
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=120)
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, sent, named)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    told = {name.lower(): value for name, value in answer.getheaders()}
    return (
        answer.status,
        told,
        json.loads(text) if told.get("content-type", "").startswith("application/json") else text,
    )


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    """A chat-completions request whose messages are, in turn, the user's and the assistant's."""
    roles = ("user", "assistant")
    return {"model": "m", "messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)], **more}


CHAT = "/v1/chat/completions"


def hang_up(port: int, path: str, body: dict[str, Any], when: Callable[[], object]) -> None:
    """Send a request and leave before its answer, when ``when()`` holds."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(head + data)
        assert until(when)


class Held:
    """A model that begins to answer when it is let. ``asked``: how often it was asked so far."""

    shares_prompt = False

    def __init__(self, inner: Model) -> None:
        self.name, self.price = inner.name, inner.price
        self.inner = inner
        self.asked = 0
        self.let = threading.Event()

    async def sample(self, ask: Ask) -> Completion:
        self.asked += 1
        while not self.let.is_set():  # noqa: ASYNC110 - it is set from another thread
            await asyncio.sleep(0.005)
        return await self.inner.sample(ask)
