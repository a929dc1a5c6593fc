"""An episode as spans, before anybody's format: ``invoke_agent``, and below it ``chat`` and ``execute_tool``.

GenAI semantic conventions as of semantic-conventions 1.41.0 (status: development), so the schema's URL is pinned. What
is exported from a trace (:mod:`atlas.export.otel`) and what is told as it happens (:mod:`atlas.export.otel_live`) have
the same attributes and the same ids, which are hashes of what they name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas.export.rows import agreement_of, completion_of, stripped
from atlas.records import Episode, Message, Spend, Step, Usage, total

SEMCONV = "1.41.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMCONV}"
EVALUATION = "gen_ai.evaluation.result"
INTERNAL, CLIENT = 1, 3
"""Kinds of spans, as OTLP numbers them."""


@dataclass(frozen=True)
class Span:
    """A span of an episode. Times are Unix seconds; attributes that are None or empty are none, and lists and mappings
    among them are shown as JSON."""

    key: str
    """Tells it apart within its episode; empty for the episode itself, below which all others are."""
    name: str
    kind: int
    began: float
    ended: float
    attributes: Mapping[str, Any]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the event that is its score, at its end; empty where there is none."""
    error: str | None = None
    """What failed; None where nothing did."""


@dataclass(frozen=True)
class Told:
    """A step, and what has to be known of it besides."""

    episode: str
    index: int
    step: Step
    model: str
    """Whose reply was acted on; empty where that is not known."""
    began: float
    """Unix seconds."""
    without: Collection[str] = ()
    """Parts that its prompt is shown without."""
    content: bool = True
    """Whether to show what was said: prompts, replies, tools with their arguments and results."""


def span_id(run: str, episode: str, key: str, digits: int) -> str:
    """The id of the span with that key, or of the trace (``trace``), in hexadecimal digits."""
    return hashlib.sha256(f"{run}/{episode}/{key}".encode("utf-8", "replace")).hexdigest()[:digits]


def as_text(value: Any) -> str:
    """A structured attribute as spans carry it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def whole_episode(result: Episode, run: str, *, content: bool = True) -> Span:
    """The span of an episode that is over."""
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
        "atlas.run": run,
        "atlas.task.id": result.task.id,
        "atlas.task.goal": result.task.goal if content else None,
        "atlas.task.family": result.task.family,
        "atlas.stop": result.stop.value,
        "atlas.seed": result.seed,
        "error.type": result.failure.kind if result.failure else None,
    }
    error = (result.failure.message if content else "") if result.failure else None
    ended = result.started + result.seconds
    return Span("", f"invoke_agent {name}", INTERNAL, result.started, ended, attributes, evaluation(result), error)


def evaluation(result: Episode) -> dict[str, Any]:
    """An episode's score as the attributes of its event; empty where it has none."""
    if result.score is None:
        return {}
    found: dict[str, Any] = {"gen_ai.evaluation.name": "score", "gen_ai.evaluation.score.value": float(result.score)}
    if result.success is not None:
        found["gen_ai.evaluation.score.label"] = "success" if result.success else "failure"
    return found


def chats(told: Told) -> Iterator[Span]:
    """A span for each that was asked in a step: all calls of an actor to a model are one."""
    step = told.step
    at = told.began
    for number, spend in enumerate(_asked(told)):
        end = at + step.decision.seconds.get(spend.actor, 0.0)
        key, name = f"{told.index}/chat/{number}", f"chat {spend.model}".rstrip()
        yield Span(key, name, CLIENT, at, max(at, end), _chat(told, spend))
        at = end


def tools(told: Told, results: Mapping[str, str]) -> Iterator[Span]:
    """A span for each tool that a step called. ``results``: tool call id -> what it returned, where that is known."""
    step = told.step
    at = told.began + sum(step.decision.seconds.get(spend.actor, 0.0) for spend in _asked(told))
    end = max(at, told.began + step.seconds)
    calls = step.decision.tool_calls
    for number, call in enumerate(calls):
        shown = {
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id,
        }
        said = {"gen_ai.tool.call.arguments": call.arguments, "gen_ai.tool.call.result": results.get(call.id)}
        yield _tool(told, number, shown | said if told.content else shown, at, end)
    if not calls and not step.decision.prompt.tools and (step.admissible or step.outcome.text):
        # An action of a text environment: its one tool is the environment.
        shown = {"gen_ai.tool.name": "environment", "gen_ai.tool.type": "function"}
        acted = {
            "gen_ai.tool.call.arguments": {"action": step.decision.action},
            "gen_ai.tool.call.result": step.outcome.text,
        }
        yield _tool(told, 0, shown | acted if told.content else shown, at, end)


def _asked(told: Told) -> Sequence[Spend]:
    """Imported steps may not tell what they used: the reply is shown all the same."""
    nobody = Spend(actor=told.step.decision.actor, model=told.model, usage=Usage(dollars=None))
    return told.step.spend or (nobody,)


def _tool(told: Told, number: int, attributes: Mapping[str, Any], began: float, ended: float) -> Span:
    known = {"gen_ai.operation.name": "execute_tool", **attributes}
    name = f"execute_tool {attributes['gen_ai.tool.name']}"
    return Span(f"{told.index}/tool/{number}", name, INTERNAL, began, ended, known)


def _chat(told: Told, spend: Spend) -> dict[str, Any]:
    decision = told.step.decision
    votes = [v for v in decision.votes if v.actor == spend.actor and v.model == spend.model]
    acted = decision.actor == spend.actor and told.model == spend.model
    usage = spend.usage
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _provider(spend.model),
        "gen_ai.request.model": spend.model or None,
        "gen_ai.request.choice.count": len(votes) if len(votes) > 1 else None,
        "gen_ai.conversation.id": told.episode,
        "gen_ai.usage.input_tokens": usage.told(usage.prompt_tokens) if usage.calls else None,
        "gen_ai.usage.output_tokens": usage.told(usage.completion_tokens) if usage.calls else None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
        "atlas.usage.reasoning_tokens": usage.reasoning_tokens or None,
        "gen_ai.response.finish_reasons": [_finish(decision.finish)] if acted and decision.finish else None,
        **(_said(told, acted, [v.text for v in votes]) if told.content else {}),
        "atlas.actor": spend.actor,
        "atlas.step": told.index,
        "atlas.acted": acted,
        "atlas.reason": decision.reason,
        "atlas.agreement": agreement_of(decision.votes),
        "atlas.cost.usd": usage.dollars,
    }


def _said(told: Told, acted: bool, texts: Sequence[str]) -> dict[str, Any]:
    prompt = stripped(told.step.decision.prompt, told.without)
    return {
        "gen_ai.system_instructions": [{"type": "text", "content": prompt.stable}] if prompt.stable else None,
        "gen_ai.input.messages": [_message(m) for m in prompt.messages() if m.role != "system"],
        "gen_ai.output.messages": _outputs(told.step, acted, texts),
        "gen_ai.tool.definitions": list(prompt.tools) or None,
    }


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


def _provider(model: str) -> str:
    """The provider as the conventions name it, where the model's name tells; else who serves it: this program."""
    provider, mark, _ = model.partition("/")
    names = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "vertex_ai": "gcp.vertex_ai", "xai": "x_ai"}
    names |= {"bedrock": "aws.bedrock", "mistral": "mistral_ai"}
    return names.get(provider, provider) if mark else "atlas"
