"""Spans to an OpenTelemetry collector as things happen, over OTLP/HTTP (extra ``otel``).

``chat`` and ``execute_tool`` are sent when a step is recorded, ``invoke_agent`` when its episode is over; a score that
comes later is a span of its own. Their attributes and ids are those of :mod:`atlas.export.spans`, so that what was sent
and what ``atlas export --format otel-json`` writes of the same run are the same spans.

Nobody waits for a collector: a step is put into a bounded queue, one thread makes spans of it, another sends them in
batches (both daemons). What finds no room, or no collector, is lost, which is said once.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import atlas
from atlas.book import Unrecorded
from atlas.errors import MissingExtra
from atlas.export.otel_send import WAITING, Sender, endpoint
from atlas.export.rows import acting_model
from atlas.export.spans import (
    CLIENT,
    EVALUATION,
    INTERNAL,
    SCHEMA_URL,
    Span,
    Told,
    as_text,
    chats,
    evaluation,
    span_id,
    tools,
    whole_episode,
)
from atlas.export.whole import results_of, shown_between
from atlas.protocols import Recorder
from atlas.records import Episode, Step, Task
from atlas.redact import Cleaner
from atlas.traces.events import Event, Resumed, Tells

try:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ImportError:
    raise MissingExtra("sending spans", "otel") from None

BATCH, BATCH_OF_CONTENT = 256, 16
"""Spans per request. Collectors refuse bodies of some megabytes, and a span with its prompt may have a hundred kB."""
DELAY = 1.0
"""Seconds that a span waits for others at the most."""
FLUSH = 5.0
"""Seconds that closing waits for what was not sent yet."""
FLUSH_DOWN = 1.0
"""The same for a collector that does not take what it is sent."""

_KINDS = {INTERNAL: SpanKind.INTERNAL, CLIENT: SpanKind.CLIENT}


class OtelLive:
    """A recorder that hands on to ``then`` what it is told, and sends spans of it.

        with OtelLive("http://localhost:4318", RunWriter("runs/desk"), run="desk") as recorder: ...

    url: a collector's, as OTEL_EXPORTER_OTLP_ENDPOINT has it: ``/v1/traces`` is added where it does not end so.
    Keys of a collector are read from OTEL_EXPORTER_OTLP_HEADERS; the SDK's other variables hold as well.
    run: name of the run, as episodes are recorded with.
    content: send what was said, too: goals, prompts, replies, tools' arguments and results, without secrets
        (:mod:`atlas.redact`). Without it there are names, counts, times, scores and dollars.
    Closing it sends what waits, for :data:`FLUSH` seconds at the most; ``then`` is closed by whoever opened it.
    Raises ConfigError for a URL or headers that are none, MissingExtra where the SDK is not installed.
    """

    def __init__(self, url: str, then: Recorder | None = None, *, run: str = "", content: bool = False) -> None:
        self._then: Recorder = then or Unrecorded()
        self._run = run
        self._content = content
        self._open: dict[str, float] = {}
        self._sender = Sender(endpoint(url))
        self._spans = _Spans(self._sender, run, content)
        self._queue: queue.Queue[_Fact | None] = queue.Queue(WAITING)  # of steps
        self._thread = threading.Thread(target=self._work, name="atlas-otel", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many spans did not reach the collector; a step that found no room counts as one."""
        return self._sender.lost

    def start(self, episode_id: str, arm: str, task: Task, seed: int, config: str) -> None:
        self._then.start(episode_id, arm, task, seed, config)
        self._open[episode_id] = time.time()

    def step(self, episode_id: str, step: Step) -> None:
        self._then.step(episode_id, step)
        now = time.time()
        began = max(now - step.seconds, self._open.get(episode_id, 0.0))
        self._put(_Stepped(episode_id, step, began))

    def end(self, episode: Episode) -> None:
        self._then.end(episode)
        now = time.time()
        self._put(_Ended(episode, now, late=self._open.pop(episode.id, None) is None))

    def tell(self, event: Event) -> None:
        if isinstance(self._then, Tells):
            self._then.tell(event)
        if isinstance(event, Resumed):
            self._open[event.episode] = event.time

    def close(self) -> None:
        """Send what waits. Never raises; what cannot be sent in time is lost."""
        began = time.monotonic()
        until = began + FLUSH
        with suppress(queue.Full):
            self._queue.put(None, timeout=FLUSH)
        self._thread.join(max(0.0, until - time.monotonic()))
        # In a thread of its own: the SDK waits half a minute for a collector that does not answer.
        closing = threading.Thread(target=self._spans.close, name="atlas-otel-close", daemon=True)
        closing.start()
        while closing.is_alive() and time.monotonic() < until:
            closing.join(0.02)
            if self._sender.down:
                until = min(until, began + FLUSH_DOWN)
        self._sender.end()
        if self._thread.is_alive() and (left := self._queue.qsize()):
            self._sender.lose(left, "more steps than can be sent")

    def __enter__(self) -> OtelLive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, fact: _Fact) -> None:
        try:
            self._queue.put_nowait(fact)
        except queue.Full:
            self._sender.lose(1, "more steps than can be sent")

    def _work(self) -> None:
        while (fact := self._queue.get()) is not None:
            self._spans.take(fact)


@dataclass(frozen=True)
class _Stepped:
    episode: str
    step: Step
    began: float


@dataclass(frozen=True)
class _Ended:
    episode: Episode
    at: float
    late: bool
    """Whether it had ended before: a score that came later."""


_Fact = _Stepped | _Ended


class _Spans:
    """Makes spans of what happened, in one thread."""

    def __init__(self, sender: Sender, run: str, content: bool) -> None:
        self._run, self._content = run, content
        self._ids = _Ids()
        self._clean = Cleaner()
        self._before: dict[str, Told] = {}
        """Steps whose tools' results are told by the next one."""
        self._rescored = 0
        self._sender = sender
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {
                    "service.name": os.environ.get("OTEL_SERVICE_NAME") or "atlas",
                    "service.version": atlas.__version__,
                },
                SCHEMA_URL,
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
            span_limits=SpanLimits(),
        )
        self._batches = BatchSpanProcessor(
            sender,
            max_queue_size=2 * WAITING,  # never reached, since the sender counts: the SDK would warn of each
            schedule_delay_millis=DELAY * 1e3,
            max_export_batch_size=BATCH_OF_CONTENT if content else BATCH,
        )
        self._provider.add_span_processor(self._batches)
        self._tracer = self._provider.get_tracer("atlas", atlas.__version__, schema_url=SCHEMA_URL)

    def take(self, fact: _Fact) -> None:
        if isinstance(fact, _Stepped):
            self._step(fact)
        else:
            self._end(fact)

    def close(self) -> None:
        self._provider.shutdown()

    def _step(self, fact: _Stepped) -> None:
        step = fact.step
        told = Told(fact.episode, step.index, step, acting_model(step), fact.began, content=self._content)
        for span in chats(told):
            self._send(fact.episode, span)
        if not self._content:
            self._tools(told, {})
            return
        if before := self._before.get(fact.episode):
            self._tools(before, results_of(before.step, shown_between(before.step, step)))
        self._before[fact.episode] = told

    def _end(self, fact: _Ended) -> None:
        episode = fact.episode
        if before := self._before.pop(episode.id, None):
            self._tools(before, results_of(before.step, None))
        if not fact.late:
            self._send(episode.id, whole_episode(episode, self._run, content=self._content))
        elif found := evaluation(episode):
            self._rescored += 1
            key = f"score/{self._rescored}/{fact.at}"
            known = {"gen_ai.conversation.id": episode.id, "gen_ai.agent.name": episode.arm or "agent"}
            self._send(episode.id, Span(key, "score", INTERNAL, fact.at, fact.at, known, found))

    def _tools(self, told: Told, results: Mapping[str, str]) -> None:
        for span in tools(told, results):
            self._send(told.episode, span)

    def _send(self, episode: str, span: Span) -> None:
        if not self._sender.room():
            return
        trace = int(span_id(self._run, episode, "trace", 32), 16)
        root = SpanContext(
            trace, int(span_id(self._run, episode, "", 16), 16), is_remote=False, trace_flags=TraceFlags(1)
        )
        self._ids.next = trace, int(span_id(self._run, episode, span.key, 16), 16)
        ended = round(max(span.began, span.ended) * 1e9)
        made = self._tracer.start_span(
            self._clean.text(span.name),
            set_span_in_context(NonRecordingSpan(root)) if span.key else Context(),
            _KINDS[span.kind],
            self._attributes(span.attributes),
            start_time=round(span.began * 1e9),
            record_exception=False,
        )
        if not made.is_recording():  # OTEL_SDK_DISABLED
            self._sender.give_back()
            return
        if span.evaluation:
            made.add_event(EVALUATION, self._attributes(span.evaluation), ended)
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, self._clean.text(span.error) or None))
        made.end(ended)

    def _attributes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        clean = self._clean.value(dict(values))
        return {key: _plain(value) for key, value in clean.items() if value is not None and value != ""}


def _plain(value: Any) -> Any:
    """A value as OTLP has it: integers of 64 bits, lists of texts; all else is JSON."""
    if isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return value
    return as_text(value)


class _Ids(IdGenerator):
    """Gives a span the ids that were chosen for it: spans are made by one thread."""

    def __init__(self) -> None:
        self.next = (1, 1)

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]
