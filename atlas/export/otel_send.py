"""The way of spans to a collector: the SDK's exporter, of which nobody hears but by a count and one warning."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from atlas.errors import ConfigError, MissingExtra

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
except ImportError:
    raise MissingExtra("sending spans", "otel") from None

log = logging.getLogger("atlas.export.otel_live")

PATH = "/v1/traces"
WAITING = 2048
"""The most spans that wait to be sent."""

_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_quiet = threading.local()


def endpoint(url: str) -> str:
    """Where spans are posted. Raises ConfigError for what is no URL of a collector, or has a key in it."""
    try:
        parts = urlsplit(url)
        shown = url.isprintable() and " " not in url
        usable = shown and parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        login = "@" in parts.netloc
    except ValueError:
        usable = login = False
    if login or (usable and (parts.query or parts.fragment)):
        raise ConfigError(
            "a collector's URL has no login and no query, which logs would show: put its keys into the variable "
            "OTEL_EXPORTER_OTLP_HEADERS (NAME=VALUE,...)"
        )
    if not usable:
        raise ConfigError("spans are sent to a URL such as http://localhost:4318: give that of a collector as otlp")
    return url if parts.path.endswith(PATH) else url.rstrip("/") + PATH


@dataclass
class Sender(SpanExporter):
    """The SDK's exporter, with a count of what it lost; its words about each failure become one of ours."""

    url: str
    lost: int = 0
    over: bool = False
    """Nothing is sent any more."""
    down: bool = False
    """Whether the collector took none of what was sent last."""
    _taken: int = 0
    _done: int = 0
    _said: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        heard = _Heard()
        with heard:
            self._exporter = OTLPSpanExporter(self.url)
        if heard.of("opentelemetry.util.re"):
            named = next(name for name in _HEADERS if os.environ.get(name))
            raise ConfigError(f"{named} holds no headers: write it as NAME=VALUE,NAME=VALUE, percent-encoded")

    def room(self) -> bool:
        """Takes a place for one span; without one it is lost."""
        with self._lock:
            if self._taken - self._done < WAITING and not self.over:
                self._taken += 1
                return True
        self.lose(1, "more spans than can be sent")
        return False

    def give_back(self) -> None:
        """A place that was taken is not needed."""
        with self._lock:
            self._done += 1

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.over:
            return SpanExportResult.FAILURE
        heard = _Heard(self._failing)
        with heard:
            result = self._exporter.export(spans)
        with self._lock:
            if self.over:  # it was not waited for, and counted as lost
                return result
            self._done += len(spans)
            self.down = result is not SpanExportResult.SUCCESS
        if self.down:
            self.lose(len(spans), heard.why())
        return result

    def end(self) -> None:
        """Send nothing more; what still waits is lost."""
        with self._lock:
            self.over, waiting = True, self._taken - self._done
        if waiting:
            self.lose(waiting, "it did not answer in time")

    def _failing(self) -> None:
        self.down = True

    def lose(self, number: int, why: str) -> None:
        with self._lock:
            self.lost += number
            said, self._said = self._said, True
        if not said:
            log.warning(
                "spans do not reach the collector at %s (%s): they are lost until it takes them, and nothing else is",
                self.url,
                why or "it refuses them",
            )

    def shutdown(self) -> None:
        with _Heard():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class _Heard:
    """What the SDK logs in this thread while a ``with`` block lasts: heard here and shown nowhere, since it may hold
    headers."""

    def __init__(self, said: Callable[[], None] = lambda: None) -> None:
        """``said`` is called at each warning."""
        self.said = said
        self._records: list[logging.LogRecord] = []

    def add(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._records.append(record)
            self.said()

    def of(self, logger: str) -> bool:
        return any(record.name == logger for record in self._records)

    def why(self) -> str:
        """A few words on why a batch was not taken: a status, or the kind of error. Never what was sent."""
        told = [value for record in self._records for value in (record.args if isinstance(record.args, tuple) else ())]
        status = next((value for value in told if isinstance(value, int) and 300 <= value < 600), None)
        if status is not None:
            return f"status {status}"
        return next((type(value).__name__ for value in told if isinstance(value, Exception)), "")

    def __enter__(self) -> _Heard:
        for name in _TALKERS:
            logger = logging.getLogger(name)
            if _heard not in logger.filters:
                logger.addFilter(_heard)
        _quiet.listener = self
        return self

    def __exit__(self, *_: object) -> None:
        _quiet.listener = None


_TALKERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._common",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.util.re",
    "urllib3.connectionpool",
)


def _heard(record: logging.LogRecord) -> bool:
    """A filter of loggers: False for what is said in a thread of ours that listens; others' exporters talk on."""
    listener: _Heard | None = getattr(_quiet, "listener", None)
    if listener is None:
        return True
    listener.add(record)
    return False
