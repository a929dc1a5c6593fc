"""What the tests of the server share."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

import atlas
from atlas.serve import Limits, Serving, Tenant, Tenants

KEY = "a-key-of-a-tenant-0001"


@contextmanager
def serving(agent: atlas.Agent, *keys: str, **limits: Any) -> Iterator[tuple[Serving, Tenant]]:
    tenant = Tenant("default", agent, keys, Limits(**limits))
    with Serving(Tenants([tenant])) as server:
        yield server, tenant


def ask(url: str, path: str, body: Any = None, method: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    """(status, headers, JSON or text) of one request."""
    host = urlsplit(url)
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=20)
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
