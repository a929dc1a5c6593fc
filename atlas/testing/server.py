"""A chat-completions server on the loopback interface that misbehaves on request.

    with ChatServer([Status(429, retry_after=0.1), Say("Action: look")]) as server:
        model = Hosted("openai/any", base_url=server.url, api_key="sk-test")

Each request takes the next behaviour of the script; the last one repeats. Requests are kept in ``server.requests``.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Say:
    """A good answer: one choice per requested sample, the texts taken in turn."""

    texts: str | Sequence[str] = "Action: look"
    tool_calls: Sequence[tuple[str, str]] = ()
    """(name, JSON arguments) of each call; given in every choice."""
    prompt_tokens: int = 100
    completion_tokens: int = 10
    cached_tokens: int = 0
    usage: bool = True
    """False leaves the usage out, as some servers do."""
    choices: int | None = None
    """How many choices, whatever was asked for; 0 for an answer without any."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the answer to add or replace."""
    seconds: float = 0.0
    """How long it takes."""
    pause: float = 0.0
    """Seconds between two pieces of a stream."""


@dataclass(frozen=True)
class Status:
    """An HTTP error."""

    code: int
    retry_after: float | str | None = None
    """Seconds, or the header as it is: the date that HTTP allows as well."""
    message: str = "the test server was told to fail"
    kind: str = "test_error"
    echo_key: bool = False
    """Repeat the caller's key in the message, as some providers do."""


@dataclass(frozen=True)
class Cut:
    """Half an answer, then the connection closes."""


@dataclass(frozen=True)
class Hang:
    """No answer for ``seconds``, or until the server stops."""

    seconds: float = 30.0


@dataclass(frozen=True)
class Slots:
    """A server that gives at most ``most`` samples a request, as llama.cpp's does, and answers 400 to more."""

    most: int = 1
    text: str = "Action: look"


Behaviour = Say | Status | Cut | Hang | Slots


class ChatServer:
    """Runs in a thread of its own while the ``with`` block lasts; ``url`` is what a client takes as its base URL."""

    def __init__(self, script: Behaviour | Iterable[Behaviour]) -> None:
        self.script: list[Behaviour] = [script] if isinstance(script, Behaviour) else list(script)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        """The header ``authorization`` of each request; empty where it had none."""
        self.most = 0
        """The most requests that were under way at once."""
        self._now = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def next(self, request: dict[str, Any], key: str = "") -> Behaviour:
        """Record ``request`` and say how to answer it."""
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def began(self) -> None:
        """One more request is under way."""
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def ended(self) -> None:
        """One request fewer is under way."""
        with self._lock:
            self._now -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        _under_way = False

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that was killed is no fault of the server's
                super().handle()

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            request = json.loads(self.rfile.read(length) or b"{}")
            behaviour = server.next(request, self.headers.get("authorization", ""))
            server.began()
            self._under_way = True
            try:
                self._behave(behaviour, request)
            finally:
                self._ended()

        def _ended(self) -> None:
            """The request is over, told before its last bytes: a client that has them may ask again at once."""
            if self._under_way:
                self._under_way = False
                server.ended()

        def _behave(self, behaviour: Behaviour, request: dict[str, Any]) -> None:
            match behaviour:
                case Say() as said:
                    server.stopping.wait(said.seconds)
                    if request.get("stream"):
                        self._stream(_completion(said, request), said.pause)
                    else:
                        self._send(200, _completion(said, request))
                case Status() as status:
                    self._fail(status)
                case Slots(most, text) if int(request.get("n") or 1) <= most:
                    self._send(200, _completion(Say(text), request))
                case Slots():
                    self._fail(Status(400, message="n_cmpl cannot be greater than the number of slots"))
                case Cut():
                    self._cut()
                case Hang(seconds):
                    server.stopping.wait(seconds)
                    self.close_connection = True

        def _send(self, code: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body, ensure_ascii=False).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self._ended()
            self.wfile.write(data)

        def _stream(self, whole: dict[str, Any], pause: float) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            for chunk in _chunks(whole):
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
                server.stopping.wait(pause)
            self._ended()
            self.wfile.write(b"data: [DONE]\n\n")

        def _fail(self, status: Status) -> None:
            key = self.headers.get("authorization", "") if status.echo_key else ""
            error = {"message": f"{status.message} {key}".strip(), "type": status.kind, "code": status.kind}
            asked = status.retry_after
            wait = {} if asked is None else {"retry-after": asked if isinstance(asked, str) else f"{asked:g}"}
            self._send(status.code, {"error": error}, wait)

        def _cut(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "5000")
            self.end_headers()
            self.wfile.write(b'{"id": "cut", "choices": [{"message": {"content": "Acti')
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: a test's output is its own."""

    return Handler


def _chunks(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a stream that says the same, word by word; its usage last."""
    head = {**whole, "object": "chat.completion.chunk"}
    usage = head.pop("usage", None)
    for choice in whole["choices"]:
        message = dict(choice["message"])
        deltas: list[dict[str, Any]] = [
            {name: piece}
            for name in ("reasoning_content", "content")
            for piece in re.findall(r"\s*\S+", message.pop(name, None) or "")
        ]
        calls = message.pop("tool_calls", None) or ()
        deltas.append(message)
        for i, call in enumerate(calls):
            kind, name = ("custom", "input") if "custom" in call else ("function", "arguments")
            deltas.append({"tool_calls": [{"index": i, **call, kind: {**call[kind], name: ""}}]})
            pieces = re.findall(r"\s*\S+", call[kind][name])
            deltas += [{"tool_calls": [{"index": i, kind: {name: piece}}]} for piece in pieces]
        for delta in deltas:
            yield {**head, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]}
        yield {**head, "choices": [{"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if usage is not None:
        yield {**head, "choices": [], "usage": usage}


def _completion(said: Say, request: dict[str, Any]) -> dict[str, Any]:
    texts = [said.texts] if isinstance(said.texts, str) else list(said.texts)
    count = int(request.get("n") or 1) if said.choices is None else said.choices
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(said.tool_calls)
    ]
    choices = []
    for i in range(count):
        message: dict[str, Any] = {"role": "assistant", "content": texts[i % len(texts)]}
        if calls:
            message["tool_calls"] = calls
        choices.append({"index": i, "message": message, "finish_reason": "tool_calls" if calls else "stop"})
    body: dict[str, Any] = {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", ""),
        "choices": choices,
    }
    if said.usage:
        body["usage"] = {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "total_tokens": said.prompt_tokens + said.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": said.cached_tokens},
        }
    return body | said.fields
