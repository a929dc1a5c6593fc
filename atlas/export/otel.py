"""Episodes as OpenTelemetry spans in OTLP/JSON: ``invoke_agent``, and below it ``chat`` and ``execute_tool``.

GenAI semantic conventions as of semantic-conventions 1.41.0 (status: development), so the schema's URL is pinned.
Trace and span ids are hashes of what they name. A trace keeps durations, not times of day, for its steps: spans are
laid end to end from the episode's start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import atlas
from atlas.export.rows import completion_of, stripped
from atlas.export.whole import Whole
from atlas.records import Message, Spend, Step, Usage, total

SEMCONV = "1.41.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMCONV}"
_INTERNAL, _CLIENT = 1, 3
_ERROR = 2


def request(whole: Whole) -> dict[str, Any]:
    """An OTLP ``ExportTraceServiceRequest`` with the spans of one episode, as JSON values, before :func:`finished`."""
    spans = [_root(whole)]
    for index in range(len(whole.steps)):
        spans.extend(_step(whole, index))
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes({"service.name": "atlas", "service.version": atlas.__version__})
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "atlas", "version": atlas.__version__},
                        "spans": spans,
                        "schemaUrl": SCHEMA_URL,
                    }
                ],
                "schemaUrl": SCHEMA_URL,
            }
        ]
    }


def _root(whole: Whole) -> dict[str, Any]:
    result = whole.result
    name = result.arm or "agent"
    usage = total(result.spend)
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "atlas",
        "gen_ai.agent.name": name,
        "gen_ai.agent.version": result.config,
        "gen_ai.conversation.id": result.id,
        "gen_ai.usage.input_tokens": usage.told(usage.prompt_tokens),
        "gen_ai.usage.output_tokens": usage.told(usage.completion_tokens),
        "atlas.run": whole.run,
        "atlas.task.id": result.task.id,
        "atlas.task.goal": result.task.goal,
        "atlas.task.family": result.task.family,
        "atlas.stop": result.stop.value,
        "atlas.seed": result.seed,
        "error.type": result.failure.kind if result.failure else None,
    }
    began = result.started
    span = _span(whole, "", f"invoke_agent {name}", _INTERNAL, began, began + result.seconds, attributes)
    del span["parentSpanId"]
    if result.score is not None:
        evaluation = {"gen_ai.evaluation.name": "score", "gen_ai.evaluation.score.value": float(result.score)}
        if result.success is not None:
            evaluation["gen_ai.evaluation.score.label"] = "success" if result.success else "failure"
        span["events"] = [
            {
                "timeUnixNano": span["endTimeUnixNano"],
                "name": "gen_ai.evaluation.result",
                "attributes": _attributes(evaluation),
            }
        ]
    if result.failure:
        span["status"] = {"code": _ERROR, "message": result.failure.message}
    return span


def _step(whole: Whole, index: int) -> Iterable[dict[str, Any]]:
    step = whole.steps[index]
    at = whole.began(index)
    # Imported steps may not tell what they used: the reply is shown all the same.
    row = whole.rows[index]
    asked = step.spend or (Spend(actor=row.actor, model=row.model, usage=Usage(dollars=None)),)
    for number, spend in enumerate(asked):
        end = at + step.decision.seconds.get(spend.actor, 0.0)
        yield _chat(whole, index, number, spend, at, end)
        at = end
    end = max(at, whole.began(index) + step.seconds)
    calls = step.decision.tool_calls
    results = whole.results(index)
    for number, call in enumerate(calls):
        tool: dict[str, Any] = {
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.call.arguments": call.arguments,
            "gen_ai.tool.call.result": results.get(call.id),
        }
        yield _tool(whole, f"{index}/tool/{number}", tool, at, end)
    if not calls and not step.decision.prompt.tools and (step.admissible or step.outcome.text):
        # An action of a text environment: its one tool is the environment.
        tool = {
            "gen_ai.tool.name": "environment",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.arguments": {"action": step.decision.action},
            "gen_ai.tool.call.result": step.outcome.text,
        }
        yield _tool(whole, f"{index}/tool/0", tool, at, end)


def _chat(whole: Whole, index: int, number: int, spend: Spend, began: float, ended: float) -> dict[str, Any]:
    step = whole.steps[index]
    decision = step.decision
    prompt = stripped(decision.prompt, whole.without)
    votes = [v for v in decision.votes if v.actor == spend.actor and v.model == spend.model]
    acted = decision.actor == spend.actor and whole.rows[index].model == spend.model
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _provider(spend.model),
        "gen_ai.request.model": spend.model or None,
        "gen_ai.request.choice.count": len(votes) if len(votes) > 1 else None,
        "gen_ai.conversation.id": whole.result.id,
        "gen_ai.usage.input_tokens": spend.usage.told(spend.usage.prompt_tokens) if spend.usage.calls else None,
        "gen_ai.usage.output_tokens": spend.usage.told(spend.usage.completion_tokens) if spend.usage.calls else None,
        "gen_ai.usage.cache_read.input_tokens": spend.usage.cached_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": spend.usage.cache_write_tokens or None,
        "atlas.usage.reasoning_tokens": spend.usage.reasoning_tokens or None,
        "gen_ai.response.finish_reasons": [_finish(decision.finish)] if acted and decision.finish else None,
        "gen_ai.system_instructions": [{"type": "text", "content": prompt.stable}] if prompt.stable else None,
        "gen_ai.input.messages": [_message(m) for m in prompt.messages() if m.role != "system"],
        "gen_ai.output.messages": _outputs(step, acted, [v.text for v in votes]),
        "gen_ai.tool.definitions": list(prompt.tools) or None,
        "atlas.actor": spend.actor,
        "atlas.step": index,
        "atlas.acted": acted,
        "atlas.reason": decision.reason,
        "atlas.agreement": whole.rows[index].agreement,
        "atlas.cost.usd": spend.usage.dollars,
    }
    return _span(whole, f"{index}/chat/{number}", f"chat {spend.model}".rstrip(), _CLIENT, began, ended, attributes)


def _outputs(step: Step, acted: bool, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The replies of a call: the one that was acted on with its tool calls, else the votes as they were written."""
    finish = _finish(step.decision.finish or ("tool_call" if step.decision.tool_calls else "stop"))
    if acted:
        return [{**_message(completion_of(step)), "finish_reason": finish}]
    return [{**_message(Message(role="assistant", content=text)), "finish_reason": "stop"} for text in texts]


_FINISHES = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    "safety": "content_filter",
}
"""What providers say -> the word that the schema of output messages has for it."""


def _finish(reason: str) -> str:
    """A finish reason as the conventions spell it; another one as the provider gave it."""
    return _FINISHES.get(reason.lower(), reason)


def _tool(whole: Whole, name: str, attributes: Mapping[str, Any], began: float, ended: float) -> dict[str, Any]:
    known = {"gen_ai.operation.name": "execute_tool", **attributes}
    return _span(whole, name, f"execute_tool {attributes['gen_ai.tool.name']}", _INTERNAL, began, ended, known)


def _message(message: Message) -> dict[str, Any]:
    """A message in the conventions' parts."""
    if message.tool_call_id is not None:
        part = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.content}
        return {"role": "tool", "parts": [part]}
    parts: list[dict[str, Any]] = [{"type": "text", "content": message.content}] if message.content else []
    for call in message.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError):
            arguments = call.arguments
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    return {"role": message.role, "parts": parts}


def _span(
    whole: Whole, name: str, shown: str, kind: int, began: float, ended: float, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "traceId": _id(whole, "trace", 32),
        "spanId": _id(whole, name, 16),
        "parentSpanId": _id(whole, "", 16),
        "name": shown,
        "kind": kind,
        "startTimeUnixNano": _nanoseconds(began),
        "endTimeUnixNano": _nanoseconds(max(began, ended)),
        "attributes": _attributes(attributes),
        "status": {},
    }


def _id(whole: Whole, name: str, digits: int) -> str:
    return hashlib.sha256(f"{whole.run}/{whole.result.id}/{name}".encode("utf-8", "replace")).hexdigest()[:digits]


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
                value["stringValue"] = json.dumps(value["stringValue"], ensure_ascii=False, separators=(",", ":"))
    return record


def _provider(model: str) -> str:
    """The provider as the conventions name it, where the model's name tells; else who serves it: this program."""
    provider, mark, _ = model.partition("/")
    names = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "vertex_ai": "gcp.vertex_ai", "xai": "x_ai"}
    names |= {"bedrock": "aws.bedrock", "mistral": "mistral_ai"}
    return names.get(provider, provider) if mark else "atlas"
