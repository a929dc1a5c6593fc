"""A collector on the loopback address, which decodes what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.waiting import until

proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs the extra otel")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")


class Collector(ThreadingHTTPServer):
    """Keeps spans. ``status``: what it answers; ``silent``: whether it says nothing as long as it lasts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[Any] = []
        self.paths: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.bodies = b""
        self.status, self.silent = 200, False
        self.over = threading.Event()

    @property
    def spans(self) -> list[Any]:
        return [s for r in self.requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]

    def named(self, operation: str) -> list[dict[str, Any]]:
        return [a for a in map(attributes, self.spans) if a.get("gen_ai.operation.name") == operation]

    def wait(self, number: int) -> list[Any]:
        until(lambda: len(self.spans) >= number)
        return self.spans


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.silent:
            self.server.over.wait()
        if self.server.status == 200:
            self.server.bodies += body
            self.server.requests.append(proto.ExportTraceServiceRequest.FromString(body))
            self.server.paths.add(self.path)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: _value(a.value) for a in span.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(v) for v in value.array_value.values] if kind == "array_value" else getattr(value, kind)
