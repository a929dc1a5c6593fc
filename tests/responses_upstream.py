"""A server on the loopback address that speaks OpenAI's Responses API, streams included, in the shapes of the types
that the ``openai`` package has."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}


def thought(id: str, *summary: str, blob: str = "gAAAA") -> dict[str, Any]:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": id, "type": "reasoning", "summary": parts, "encrypted_content": f"{blob}-{id}"}


def spoke(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part], **more}


def refused(text: str) -> dict[str, Any]:
    part = {"type": "refusal", "refusal": text}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"fc_{id}", "type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def free_call(id: str, name: str, text: str) -> dict[str, Any]:
    return {"id": f"ctc_{id}", "type": "custom_tool_call", "call_id": id, "name": name, "input": text}


@dataclass(frozen=True)
class Output:
    """An answer."""

    items: Sequence[dict[str, Any]]
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the response to add or replace."""
    events: Callable[[Iterator[dict[str, Any]]], Iterator[dict[str, Any]]] = iter
    """What is done to the events of its stream."""
    after: threading.Event | None = None
    """What is waited for behind the first piece of a text."""
    closes: bool = True
    """Whether the stream is ended as HTTP has it, or the connection cut."""


def output(*items: dict[str, Any], **more: Any) -> Output:
    return Output(items, **more)


class ResponsesServer:
    """Answers with each of ``script`` in turn, then with the last again; what was asked is in ``bodies``."""

    def __init__(self, *script: Output) -> None:
        self.script = list(script)
        self.bodies: list[dict[str, Any]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def next(self, body: dict[str, Any]) -> Output:
        self.bodies.append(body)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def __enter__(self) -> ResponsesServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(server: ResponsesServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self.path.endswith("/responses"):
                self._send(404, {"error": {"message": "This is not a chat model"}})
                return
            said = server.next(body)
            if not body.get("stream"):
                self._send(200, response(said, "completed", said.items))
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number, event in enumerate(said.events(events(said))):
                event = {**event, "sequence_number": number}
                self._chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                if said.after is not None and event["type"].endswith("delta"):
                    said.after.wait(120)
            if said.closes:
                self._chunk(b"")
            else:
                self.close_connection = True

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def _send(self, code: int, told: dict[str, Any]) -> None:
            data = json.dumps(told).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handler


def response(said: Output, status: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "model": "gpt-5-pro",
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": list(items),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": USAGE if status != "in_progress" else None,
        **(said.changes if status != "in_progress" else {}),
    }
    Response.model_validate(whole)
    return whole


def events(said: Output) -> Iterator[dict[str, Any]]:
    """The events of a stream that says it, each of a type that the package has."""
    for number, event in enumerate(_events(said)):
        EVENT.validate_python({**event, "sequence_number": number})
        yield event


def _events(said: Output) -> Iterator[dict[str, Any]]:
    for status in ("created", "in_progress"):
        yield {"type": f"response.{status}", "response": response(said, "in_progress", ())}
    for place, item in enumerate(said.items):
        at = {"item_id": item["id"], "output_index": place}
        empty: dict[str, Any] = {name: [] for name in ("summary", "content") if name in item}
        written = "arguments" if "arguments" in item else "input" if "input" in item else ""
        shown = {**item, **empty, **({written: ""} if written else {})}
        yield {"type": "response.output_item.added", "output_index": place, "item": shown}
        for number, part in enumerate(item.get("summary", ())):
            here = {**at, "summary_index": number}
            yield {"type": "response.reasoning_summary_part.added", **here, "part": {**part, "text": ""}}
            yield from _deltas("response.reasoning_summary_text", part["text"], here)
            yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
            yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
        for number, part in enumerate(item.get("content", ())):
            here = {**at, "content_index": number}
            kind = "text" if "text" in part else "refusal"
            yield {"type": "response.content_part.added", **here, "part": {**part, kind: ""}}
            more: dict[str, Any] = {"logprobs": []} if kind == "text" else {}
            yield from _deltas(f"response.{'output_text' if more else kind}", part[kind], {**here, **more})
            done = {"type": f"response.{'output_text' if more else kind}.done", **here, **more, kind: part[kind]}
            yield done
            yield {"type": "response.content_part.done", **here, "part": part}
        if written:
            name = "function_call_arguments" if written == "arguments" else "custom_tool_call_input"
            yield from _deltas(f"response.{name}", item[written], at)
            named = {"name": item["name"]} if written == "arguments" else {}
            yield {"type": f"response.{name}.done", **at, **named, written: item[written]}
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    status = said.changes.get("status", "completed")
    yield {"type": f"response.{status}", "response": response(said, status, said.items)}


def _deltas(name: str, text: str, at: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for piece in re.findall(r"\s*\S+", text):
        yield {"type": f"{name}.delta", **at, "delta": piece}
