"""A chat-completions request as OpenAI's Responses API takes it, and its answer as a chat completion.

For models that have no other API (gpt-5-pro, o1-pro, codex). Nothing is kept at OpenAI unless the caller asks for it:
what the model thought comes encrypted, in ``reasoning_items`` of its message, and goes back from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from atlas.errors import ModelError

_SAME = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "temperature",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""Settings that both APIs have under one name."""
_READ = frozenset(
    {"messages", "max_completion_tokens", "reasoning_effort", "response_format", "tool_choice", "tools", "verbosity"}
)
_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


def to_responses(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The request. Raises ModelError for a setting that this API has no word for."""
    unknown = sorted(name for name, value in body.items() if name not in _SAME | _READ and value is not None)
    if unknown:
        raise ModelError(
            f"model {model!r} is served by the Responses API alone, which has no {', '.join(unknown)}: leave it out, "
            "or use another model"
        )
    free = {call["id"] for m in body["messages"] for call in m.get("tool_calls") or () if call.get("type") == "custom"}
    out: dict[str, Any] = {
        "model": model,
        "input": [item for message in body["messages"] for item in _items(message, model, free)],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    out |= {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("max_completion_tokens") is not None:
        out["max_output_tokens"] = body["max_completion_tokens"]
    if (effort := body.get("reasoning_effort")) is not None:
        out["reasoning"] = dict(effort) if isinstance(effort, Mapping) else {"effort": effort}
    if body.get("tools"):
        out["tools"] = [_tool(tool) for tool in body["tools"]]
    if (choice := body.get("tool_choice")) is not None:
        out["tool_choice"] = choice if isinstance(choice, str) else _tool(choice)
    text: dict[str, Any] = {}
    if (form := body.get("response_format")) is not None:
        text["format"] = {"type": form["type"], **(form.get("json_schema") or {})}
    if body.get("verbosity") is not None:
        text["verbosity"] = body["verbosity"]
    return {**out, "text": text} if text else out


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool, or the choice of one: this API writes it flat."""
    kind = str(tool.get("type"))
    inner = tool.get(kind)
    return {"type": kind, **inner} if isinstance(inner, Mapping) else dict(tool)


def _items(message: Mapping[str, Any], model: str, free: Collection[str]) -> list[dict[str, Any]]:
    """A chat message as items of the input; ``free`` are the ids of calls of tools that take free text."""
    role = message["role"]
    if role == "tool":
        answers = message.get("tool_call_id") or ""
        kind = "custom_tool_call_output" if answers in free else "function_call_output"
        result = _parts(message.get("content"), "input_text", model)
        return [{"type": kind, "call_id": answers, "output": result}]
    items: list[dict[str, Any]] = [dict(item) for item in message.get("reasoning_items") or ()]
    content = _parts(message.get("content"), "output_text" if role == "assistant" else "input_text", model)
    if role == "assistant" and message.get("refusal"):
        content = [*([] if isinstance(content, str) else content), {"type": "refusal", "refusal": message["refusal"]}]
    if content or role != "assistant":
        items.append({"type": "message", "role": role, "content": content})
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        named = {"call_id": call.get("id") or "", "name": inner.get("name")}
        if call.get("type") == "custom":
            items.append({"type": "custom_tool_call", **named, "input": inner.get("input") or ""})
        else:
            items.append({"type": "function_call", **named, "arguments": inner.get("arguments") or "{}"})
    return items


def _parts(content: Any, kind: str, model: str) -> Any:
    """The content of a message: a text as it is, parts under the names of this API."""
    if content is None or isinstance(content, str):
        return content or ""
    return [_part(part, kind, model) for part in content]


def _part(part: Mapping[str, Any], kind: str, model: str) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"type": kind, "text": part["text"]}
        case "refusal":
            return {"type": "refusal", "refusal": part["refusal"]}
        case "image_url":
            image = part["image_url"]
            shown = {"image_url": image["url"], "detail": image.get("detail") or "auto"}
            return {"type": "input_image", **shown}
        case "file":
            return {"type": "input_file", **part["file"]}
        case other:
            raise ModelError(
                f"model {model!r} is served by the Responses API alone, which takes no {other!r} content: use another "
                "model for it"
            )


# --- the answer -------------------------------------------------------------------------------------------------------


def from_responses(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as a chat completion of one choice; of none where it holds no output."""
    usage = answer.get("usage")
    output = answer.get("output")
    choices = [_choice(answer, output)] if isinstance(output, Sequence) and output else []
    told = {name: answer[name] for name in ("id", "model", "service_tier") if answer.get(name) is not None}
    return {**told, "choices": choices, "usage": _usage(usage) if isinstance(usage, Mapping) else None}


def _choice(answer: Mapping[str, Any], output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    reasoning = [_told(item) for item in output if item.get("type") == "reasoning"]
    parts = [part for item in output if item.get("type") == "message" for part in item.get("content") or ()]
    texts = [str(part.get("text") or "") for part in parts if part.get("type") == "output_text"]
    refusals = [str(part.get("refusal") or "") for part in parts if part.get("type") == "refusal"]
    annotations = [note for part in parts for note in part.get("annotations") or ()]
    calls = [call for item in output if (call := _call(item)) is not None]
    if texts:
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if annotations:
        message["annotations"] = annotations
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_items"] = reasoning
        if summary := "\n\n".join(_summaries(reasoning)):
            message["reasoning_content"] = summary
    why = (answer.get("incomplete_details") or {}).get("reason")
    finish = _FINISH.get(str(why)) or ("tool_calls" if calls else "stop")
    return {"index": 0, "message": message, "finish_reason": finish}


def _call(item: Mapping[str, Any]) -> dict[str, Any] | None:
    if item.get("type") == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        return {"id": item.get("call_id"), "type": "function", "function": function}
    if item.get("type") == "custom_tool_call":
        custom = {"name": item.get("name"), "input": item.get("input")}
        return {"id": item.get("call_id"), "type": "custom", "custom": custom}
    return None


def _told(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it goes back: what is null in an answer is refused in a request."""
    return {name: value for name, value in item.items() if value is not None}


def _summaries(reasoning: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(part.get("text") or "") for item in reasoning for part in item.get("summary") or ()]


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }
