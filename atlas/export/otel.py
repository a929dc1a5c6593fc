"""Episodes as OpenTelemetry spans in OTLP/JSON; their attributes are those of :mod:`atlas.export.spans`.

A trace keeps durations, not times of day, for its steps: spans are laid end to end from the episode's start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import atlas
from atlas.export.spans import EVALUATION, SCHEMA_URL, Span, Told, as_text, chats, span_id, tools, whole_episode
from atlas.export.whole import Whole

_ERROR = 2


def request(whole: Whole) -> dict[str, Any]:
    """An OTLP ``ExportTraceServiceRequest`` with the spans of one episode, as JSON values, before :func:`finished`."""
    found = [whole_episode(whole.result, whole.run)]
    for index, step in enumerate(whole.steps):
        told = Told(whole.result.id, index, step, whole.rows[index].model, whole.began(index), whole.without)
        found += [*chats(told), *tools(told, whole.results(index))]
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes({"service.name": "atlas", "service.version": atlas.__version__})
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "atlas", "version": atlas.__version__},
                        "spans": [_span(whole, span) for span in found],
                        "schemaUrl": SCHEMA_URL,
                    }
                ],
                "schemaUrl": SCHEMA_URL,
            }
        ]
    }


def _span(whole: Whole, span: Span) -> dict[str, Any]:
    run, episode = whole.run, whole.result.id
    ended = _nanoseconds(max(span.began, span.ended))
    shown: dict[str, Any] = {
        "traceId": span_id(run, episode, "trace", 32),
        "spanId": span_id(run, episode, span.key, 16),
        "parentSpanId": span_id(run, episode, "", 16),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _nanoseconds(span.began),
        "endTimeUnixNano": ended,
        "attributes": _attributes(span.attributes),
        "status": {} if span.error is None else {"code": _ERROR, "message": span.error},
    }
    if not span.key:
        del shown["parentSpanId"]
    if span.evaluation:
        event = {"timeUnixNano": ended, "name": EVALUATION, "attributes": _attributes(span.evaluation)}
        shown["events"] = [event]
    return shown


def _nanoseconds(seconds: float) -> str:
    """64-bit integers are text in OTLP/JSON."""
    return str(round(seconds * 1e6) * 1000)


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Key and value pairs; what is None or empty is left out."""
    return [{"key": key, "value": _any(value)} for key, value in values.items() if value is not None and value != ""]


def _any(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return {"arrayValue": {"values": [_any(inner) for inner in value]}}
    return {"stringValue": value}


def finished(record: dict[str, Any]) -> dict[str, Any]:
    """``record`` with structured attributes as JSON text, as spans carry them; secrets are taken out before that."""
    (resource,) = record["resourceSpans"]
    for span in resource["scopeSpans"][0]["spans"]:
        for attribute in span["attributes"]:
            value = attribute["value"]
            if not isinstance(value.get("stringValue", ""), str):
                value["stringValue"] = as_text(value["stringValue"])
    return record
