"""The server's application: keys and bounds in front of the wire, and what is said of episodes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from atlas.records import Episode
from atlas.serve.metrics import Metrics
from atlas.serve.tenants import Tenant, Tenants, key_of
from atlas.wire.app import Receive, Scope, Send, refuse
from atlas.wire.refusals import Refused, refusal_of

SWEEP = 5.0
"""Seconds between two looks for idle episodes; less where they idle for less."""
_SMALL = 1 << 16
"""Bytes of a body that says something of an episode."""


Began = Callable[[asyncio.AbstractEventLoop], object]


class Server:
    """What the routes share."""

    def __init__(self, tenants: Tenants, metrics_key: str, began: Began) -> None:
        self.tenants = tenants
        self.metrics = Metrics()
        self._metrics_key = metrics_key
        self._began = began

    # --- the wire -----------------------------------------------------------------------------------------------------

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A call of an agent."""
        headers = _headers(scope)
        began = time.perf_counter()
        status, name = 0, ""

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            tenant = self._admitted(headers)
            name = tenant.name
            async with tenant.turn():
                await tenant.wire(scope, receive, noting)
        except Refused as error:
            # The wire says itself what it refuses: this call was not let in.
            await refuse(scope, noting, error)
        self.metrics.answered(name, _api(scope["path"]), status, time.perf_counter() - began)

    def _admitted(self, headers: dict[str, str]) -> Tenant:
        if self.tenants.open and not _of_this_machine(headers):
            raise Refused(403, "a server without keys answers programs of its own machine alone, and no web page")
        return self.tenants.of(headers)

    # --- beside it ----------------------------------------------------------------------------------------------------

    async def score(self, asked: Asked) -> Response:
        """``{"score": 1.0, "end": true}``: an open episode ends with it, unless ``end`` is false. A score of true is 1,
        of false 0."""

        async def answer() -> dict[str, Any]:
            tenant = self._admitted(_headers(asked.scope))
            given = await _object(asked)
            value, end = given.get("score"), given.get("end", True)
            if not isinstance(value, int | float) or not isinstance(end, bool):
                raise Refused(400, 'the body is {"score": NUMBER}, and "end": false where the episode goes on')
            name = asked.path_params["name"]
            id, _, steps = await tenant.episodes.named(name)
            try:
                score = float(value)
            except OverflowError:
                raise Refused(400, "the score is larger than any number here: give a finite one") from None
            over = await tenant.episodes.score(name, score, end=end)
            return _told(id, over, steps)

        return await _answered(answer)

    async def episode(self, asked: Asked) -> Response:
        async def answer() -> dict[str, Any]:
            tenant = self._admitted(_headers(asked.scope))
            return _told(*await tenant.episodes.named(asked.path_params["name"]))

        return await _answered(answer)

    async def health(self, asked: Asked) -> Response:
        return JSONResponse({"status": "ok"})

    async def read_metrics(self, asked: Asked) -> Response:
        headers = _headers(asked.scope)
        allowed = _of_this_machine(headers) if self.tenants.open else bool(self._metrics_key)
        if not allowed or (self._metrics_key and not _same(key_of(headers), self._metrics_key)):
            return PlainTextResponse("the key of the metrics is missing\n", status_code=403)
        return PlainTextResponse(self.metrics.text(self.tenants.all), media_type="text/plain; version=0.0.4")

    def ended(self, tenant: str, episode: Episode) -> None:
        self.metrics.spent(tenant, episode.spend)

    # --- its life -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._began(asyncio.get_running_loop())
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            for tenant in self.tenants.all:
                await tenant.episodes.close()
                tenant.wire.close()
                await asyncio.to_thread(tenant.agent.close)

    async def _sweep(self) -> None:
        pause = min([SWEEP, *(tenant.limits.idle / 2 for tenant in self.tenants.all)])
        while True:
            await asyncio.sleep(pause)
            for tenant in self.tenants.all:
                await tenant.episodes.sweep()


def application(tenants: Tenants, *, metrics_key: str = "", began: Began = lambda loop: None) -> ASGIApp:
    """The ASGI application of a server. Its lifespan ends all episodes and closes the agents.

    metrics_key: who asks for ``/metrics`` has to have it, where callers have keys.
    began: told of the event loop that it runs in.
    """
    server = Server(tenants, metrics_key, began)
    for tenant in tenants.all:
        tenant.episodes.ended = partial(server.ended, tenant.name)

    beside = Starlette(
        routes=[
            Route("/health", server.health),
            Route("/metrics", server.read_metrics),
            Route("/v1/atlas/episodes/{name}", server.episode),
            Route("/v1/atlas/episodes/{name}/score", server.score, methods=["POST"]),
        ],
        lifespan=server.lifespan,
    )

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        # Calls of agents have a way of their own: the wire is its own boundary and knows its paths.
        if scope["type"] == "http" and not _BESIDE.fullmatch(scope["path"]):
            await server.call(scope, receive, send)
        else:
            await beside(scope, receive, send)

    return routed


_BESIDE = re.compile(r"/health|/metrics|/v1/atlas/episodes/[^/]+(?:/score)?")


def _told(id: str, episode: Episode | None, steps: int) -> dict[str, Any]:
    if episode is None:
        return {"id": id, "open": True, "steps": steps}
    return {
        "id": id,
        "open": False,
        "steps": episode.steps,
        "teacher_steps": episode.teacher_steps,
        "stop": episode.stop.value,
        "score": episode.score,
        "success": episode.success,
    }


async def _answered(answer: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
    try:
        return JSONResponse(await answer())
    except Exception as error:  # the boundary: whatever it is, the caller gets a status and a sentence
        told = refusal_of(error, obeys=True)
        content = {"error": {"message": told.message, "type": told.kind, "code": told.code, "param": None}}
        return JSONResponse(content, status_code=told.status, headers=told.headers)


async def _object(asked: Asked) -> dict[str, Any]:
    body = b""
    async for part in asked.stream():
        body += part
        if len(body) > _SMALL:
            raise Refused(413, f"the body is larger than {_SMALL:,} bytes")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON: send one JSON object") from None
    if not isinstance(given, dict):
        raise Refused(400, "the body is no JSON object")
    return given


def _headers(scope: Scope) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


def _of_this_machine(headers: dict[str, str]) -> bool:
    """Whether a call names this machine, and comes from no page of another: without a key, a browser could be made to
    ask in its user's name."""
    origin = headers.get("origin")
    try:
        hosts = [urlsplit(f"//{headers.get('host', '')}").hostname, *([urlsplit(origin).hostname] if origin else [])]
    except ValueError:  # no name of a host
        return False
    return all(host is not None and _loopback(host) for host in hosts)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _api(path: str) -> str:
    """The last part of a path, where it is one that the wire knows: a label must not be whatever somebody asks for."""
    known = ("chat/completions", "responses", "messages/count_tokens", "messages", "models")
    return next((name for name in known if path.endswith(f"/{name}")), "other")
