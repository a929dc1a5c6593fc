"""The wire: an ASGI application that speaks the APIs of OpenAI and Anthropic, and turns each call into a step.

It is the only place where that happens. A client in this process reaches it by a transport (:mod:`atlas.wire.clients`),
all others over HTTP (:mod:`atlas.serve`). Whose step a call is, is its host's to say.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

from pydantic_core import PydanticSerializationError, to_json

from atlas.errors import ConfigError
from atlas.wire import anthropic, chat, responses
from atlas.wire.calls import Call, Calls
from atlas.wire.kept import Kept, KeptElsewhere, Shelf
from atlas.wire.refusals import Refusal, Refused, refusal_of
from atlas.wire.request import CHAT, Request, Told

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST = 64 << 20
"""Bytes of a request's body: a conversation with its images and files."""
SLOWEST = 60.0
"""Seconds that a client may take to send a request."""
PATIENCE = 5.0
"""Seconds after which a stream that has nothing to say begins all the same, and then between comments that keep it
alive. Before it begins, an error still has a status."""

_PATH = re.compile(
    r"(?:/e/(?P<episode>[^/]+))?(?:/v1)?/"
    r"(?P<what>chat/completions|responses|messages/count_tokens|messages|models)(?:/(?P<name>.+))?"
)
_APIS: dict[str, ModuleType] = {"chat/completions": chat, "responses": responses, "messages": anthropic}
_COUNT = "messages/count_tokens"
_JSON = [(b"content-type", b"application/json")]
_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


@dataclass(frozen=True)
class Arrival:
    """A call on its way to its episode."""

    headers: Mapping[str, str]
    """Names in lower case."""
    episode: str = ""
    """What the path names; empty where it names none."""
    request: Request | None = None
    """None where something else is asked than a step."""
    key: str = ""
    """Of what is asked: that of a retry is the same."""
    retry: bool = False
    """Whether the client says that it has asked before."""


class Seat(Protocol):
    """An episode, as the wire sees it."""

    calls: Calls

    @property
    def id(self) -> str: ...

    async def act(self, request: Request, call: Call) -> Told:
        """Decide what the client is told. ``call`` gives the answer its name, and may be told parts of it before."""
        ...


class Host(Protocol):
    """Knows the episodes."""

    async def seat(self, arrival: Arrival) -> Seat:
        """The episode that a call belongs to. Raises Refused where there is none, or none may be."""
        ...

    async def models(self, arrival: Arrival) -> list[str]:
        """The names that a client may ask for; whatever it asks for, the policy says who acts."""
        ...

    def failed(self, arrival: Arrival, error: Exception) -> None:
        """A call was refused, or came to nothing."""
        ...


class Writer(Protocol):
    """Writes the events of an answer while it is being made."""

    def begin(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """What comes before all else."""
        ...

    def part(self, delta: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
        """A piece, as a delta of the chat-completions API."""
        ...

    def end(self, told: Told) -> Iterable[tuple[str, dict[str, Any]]]:
        """All that was not told yet."""
        ...

    def broken(self, message: str, code: str | None) -> tuple[str, dict[str, Any]]:
        """The last event of an answer that failed on its way."""
        ...


class Gone(Exception):
    """The client has left before it had its answer."""


class Wire:
    """The application. ``largest`` is in bytes of a body; a larger one is refused before it is read as JSON. ``folder``
    is where responses are kept that clients may go on from, or ``elsewhere``; else they are gone with this process."""

    def __init__(
        self,
        host: Host,
        *,
        largest: int = LARGEST,
        folder: Path | None = None,
        elsewhere: KeptElsewhere | None = None,
    ) -> None:
        self._host = host
        self._largest = largest
        self._kept = Kept(folder=folder, elsewhere=elsewhere)

    def close(self) -> None:
        self._kept.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        answer = _Answer(send)
        found = _PATH.fullmatch(scope["path"])
        what = found["what"] if found else ""
        api = anthropic if what == _COUNT else _APIS.get(what, chat)
        arrival = Arrival(headers, unquote(found["episode"] or "") if found else "")
        try:
            if found and what == "models" and scope["method"] == "GET":
                await self._models(arrival, found["name"], answer)
                return
            if not found or found["name"] or what not in (*_APIS, _COUNT):
                raise Refused(
                    404,
                    f"there is no {scope['method']} {scope['path'][:200]}: only Chat Completions, Responses and "
                    "Messages are answered here, ask for the rest (embeddings, say) by a client of your own",
                )
            if scope["method"] != "POST":
                raise Refused(405, f"{what} takes POST, not {scope['method']}")
            body = await _body(receive, headers, self._largest)
            if what == _COUNT:
                await self._host.models(arrival)  # who may not ask for these may not ask for anything
                await answer.json(200, _fitting(lambda: anthropic.count(_object(body))))
                return
            shelf = self._kept.shelf(_key_of(headers))
            arrival = replace(
                arrival,
                request=_request(api, body, scope, headers, shelf),
                key=f"{what}/{blake2b(body, digest_size=16).hexdigest()}",
                retry=headers.get("x-stainless-retry-count", "0") not in ("", "0"),
            )
            await self._step(api, arrival, body, receive, answer, shelf)
        except Gone:
            pass
        except Exception as error:  # the boundary: whatever it is, the client gets an error of its API
            scope.get("atlas", {})["error"] = error
            self._host.failed(arrival, error)
            refusal = refusal_of(error, obeys="x-stainless-lang" in headers, inside="atlas" in scope)
            await answer.refuse(api, refusal)

    async def _models(self, arrival: Arrival, name: str | None, answer: _Answer) -> None:
        names = await self._host.models(arrival)
        rows = [{"id": n, "object": "model", "created": 0, "owned_by": "atlas"} for n in names]
        if name is None:
            await answer.json(200, {"object": "list", "data": rows, "has_more": False})
            return
        await answer.json(200, {"id": unquote(name), "object": "model", "created": 0, "owned_by": "atlas"})

    async def _step(
        self, api: ModuleType, arrival: Arrival, body: bytes, receive: Receive, answer: _Answer, shelf: Shelf
    ) -> None:
        request = arrival.request
        assert request is not None
        seat = await self._host.seat(arrival)
        call = seat.calls.find(arrival.key, arrival.retry, lambda call: seat.act(request, call))
        answer.headers.append((b"x-atlas-episode", seat.id.encode()))
        answer.headers += [(name.encode(), value.encode()) for name, value in request.headers.items()]
        left = asyncio.ensure_future(_left(receive))
        try:
            told = await (_stream(api, call, request, left, answer) if request.stream else _whole(call, left, answer))
            if request.stream:
                events = [*(answer.writer.end(told) if answer.writer else api.events(told, request))]
                whole = events[-1][1].get("response", {}) if events else {}
            else:
                events, whole = [], api.write(told, request)
            if api is responses:
                # Before the client has it: it may go on from it at once.
                responses.keep(shelf, request, whole, len(body))
            if request.stream:
                await _send_events(events, left, answer)
                await answer.more(b"data: [DONE]\n\n" if api is chat else b"", last=True)
            else:
                await answer.json(200, whole)
            call.deliver()
        except asyncio.CancelledError:
            # Somebody stops this very client, which will not ask again.
            await call.cancel()
            raise
        except BaseException:
            call.leave()
            raise
        else:
            call.leave()
        finally:
            left.cancel()


async def _whole(call: Call, left: asyncio.Future[None], answer: _Answer) -> Told:
    told = await _told(call, left, None)
    assert told is not None
    answer.tell(told)
    return told


async def _stream(api: ModuleType, call: Call, request: Request, left: asyncio.Future[None], answer: _Answer) -> Told:
    """Begin a stream, pass on what is heard of the answer, and keep it alive until that is there."""
    heard = 0
    while True:
        told = await _told(call, left, PATIENCE, heard)
        parts = call.parts[heard:]
        heard += len(parts)
        if not answer.begun:
            if told is not None:
                answer.tell(told)
            await answer.begin(200, _STREAM)
        if parts and answer.writer is None:
            answer.writer = api.writer_of(request, call.id, parts[0][0], call.created)
            await _send_events(answer.writer.begin(), left, answer)
        for _, delta in parts:
            assert answer.writer is not None
            await _send_events(answer.writer.part(delta), left, answer)
        if told is not None:
            return told
        if not parts:
            await answer.more(b": keep-alive\n\n")


async def _send_events(
    events: Iterable[tuple[str, dict[str, Any]]], left: asyncio.Future[None], answer: _Answer
) -> None:
    for name, data in events:
        if left.done():
            raise Gone
        await answer.more(_event(name, data))


async def _told(
    call: Call, left: asyncio.Future[None], patience: float | None, heard: int | None = None
) -> Told | None:
    """The answer; None where it takes longer than ``patience`` seconds, or where more than ``heard`` parts of it are
    there. Raises Gone where the client leaves first."""
    waiting: set[asyncio.Future[Any]] = {call.task, left}
    if heard is not None:
        if len(call.parts) > heard and not call.task.done():
            return None
        waiting.add(call.news)
    await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    if call.task.done():
        if call.task.cancelled():
            raise Refused(
                499, "the call was given up: its episode has ended, or nobody waited for it", kind="server_error"
            )
        return call.task.result()
    if left.done() and not (heard is not None and len(call.parts) > heard):
        raise Gone
    return None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive, headers: Mapping[str, str], largest: int) -> bytes:
    try:
        async with asyncio.timeout(SLOWEST):
            return await _whole_body(receive, headers, largest)
    except TimeoutError:
        raise Refused(408, f"the request was not sent within {SLOWEST:g} seconds: send it again") from None


async def _whole_body(receive: Receive, headers: Mapping[str, str], largest: int) -> bytes:
    too_large = Refused(413, f"the request is larger than {largest:,} bytes: shorten it")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > largest:
        raise too_large
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON ({type(error).__name__}): send one JSON object") from None
    if not isinstance(given, dict):
        raise Refused(400, f"the body is a JSON {type(given).__name__}: send one JSON object")
    return given


def _key_of(headers: Mapping[str, str]) -> str:
    """Whose responses a client may go on from: those of its key."""
    key = headers.get("authorization") or headers.get("x-api-key") or ""
    return blake2b(key.encode(), digest_size=16).hexdigest()


def _fitting(read: Callable[[], T]) -> T:
    """What is read of a request. Raises ConfigError where that has not the form of its API."""
    try:
        return read()
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the request does not fit the API ({type(error).__name__}): see its reference") from error


def _request(api: ModuleType, body: bytes, scope: Scope, headers: Mapping[str, str], shelf: Shelf) -> Request:
    given = _object(body)
    request: Request = _fitting(lambda: responses.read(given, shelf) if api is responses else api.read(given))
    more = _carried(scope, headers, request)
    return replace(request, options={**request.options, **more}) if more else request


_OWN = re.compile(
    r"accept.*|connection|content-.*|host|user-agent|authorization|x-api-key|api-key|x-stainless-.*|x-atlas-.*|cookie|"
    r"anthropic-version|anthropic-dangerous-.*|idempotency-key|transfer-encoding|te|trailer|upgrade|expect|proxy-.*"
)
"""Headers that are of the connection, of the client library or of us."""


def _carried(scope: Scope, headers: Mapping[str, str], request: Request) -> dict[str, Any]:
    """What a caller asks for beside the body, as options: its headers, and its query. Over HTTP only what says which
    version of an API is meant: all else is between the client and this server."""
    inside = "atlas" in scope
    carried = {
        name: value
        for name, value in headers.items()
        if (inside and not _OWN.fullmatch(name)) or name in ("anthropic-beta", "openai-beta")
    }
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"))) if inside and request.api == CHAT else {}
    found = {"extra_headers": carried, "extra_query": query}
    return {name: values for name, values in found.items() if values}


async def refuse(scope: Scope, send: Send, error: Exception) -> None:
    """Answer a call with an error of the API that it is of, before its body is read."""
    found = _PATH.fullmatch(scope["path"])
    headers = {k.decode("latin-1").lower() for k, _ in scope["headers"]}
    api = _APIS.get(found["what"].partition("/count")[0], chat) if found else chat
    await _Answer(send).refuse(api, refusal_of(error, obeys="x-stainless-lang" in headers))


class _Answer:
    """Sends one answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.writer: Writer | None = None
        """Of a stream that tells the answer while it is being made."""
        self.headers: list[tuple[bytes, bytes]] = []

    def tell(self, told: Told) -> None:
        """Say in headers what no field of an API says."""
        self.headers.append((b"x-atlas-actor", told.decision.actor.encode("ascii", "replace")))
        self.headers += [(name.encode(), value.encode("ascii", "replace")) for name, value in told.notes.items()]

    async def json(self, status: int, content: Any) -> None:
        body = _encoded(content)
        await self.begin(status, [*_JSON, (b"content-length", str(len(body)).encode())])
        await self.more(body, last=True)

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.headers]})

    async def more(self, body: bytes, *, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def refuse(self, api: ModuleType, refusal: Refusal) -> None:
        told = (refusal.status, refusal.message, refusal.kind, refusal.code)
        if self.begun:
            if self.writer is not None:
                await self.more(_event(*self.writer.broken(refusal.message, refusal.code)), last=True)
                return
            await self.more(_event("" if api is chat else "error", api.failed(*told)), last=True)
            return
        self.headers += [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await self.json(refusal.status, api.error(*told))


def _encoded(content: Any) -> bytes:
    try:
        return to_json(content)
    except PydanticSerializationError:
        # Half a surrogate pair, which some models write, is no UTF-8: JSON can spell it.
        return json.dumps(content).encode()


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + _encoded(data) + b"\n\n"
