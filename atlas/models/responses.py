"""A chat-completions request as OpenAI's Responses API takes it, and its answer as a chat completion.

For models that have no other API (gpt-5-pro, o1-pro, codex). Nothing is kept at OpenAI unless the caller asks for it:
what the model thought comes encrypted, in ``reasoning_items`` of its message, and goes back from there. Of each of them
``after`` tells its place: how many things came before it, of what was said, which is one, and the calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from atlas.errors import ModelError
from atlas.models.answers import Unreadable
from atlas.models.parts import is_address

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
    """max_completion_tokens messages reasoning_effort reasoning_summary response_format tool_choice tools
    verbosity""".split()
)
AFTER = "after"
"""The field of a reasoning item that tells how many items of its answer came before it; not there for none."""
BETWEEN = "\n\n"
"""Stands between two texts of an answer, where the API has several and a chat completion one."""
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
    if body.get("reasoning_summary") is not None:
        out["reasoning"] = {**out.get("reasoning", {}), "summary": body["reasoning_summary"]}
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
    content = _parts(message.get("content"), "output_text" if role == "assistant" else "input_text", model)
    if role == "assistant" and message.get("refusal"):
        content = [*([] if isinstance(content, str) else content), {"type": "refusal", "refusal": message["refusal"]}]
    items: list[dict[str, Any]] = []
    if content or role != "assistant":
        phase = {"phase": message["phase"]} if role == "assistant" and message.get("phase") else {}
        items.append({"type": "message", "role": role, "content": content, **phase})
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        named = {"call_id": call.get("id") or "", "name": inner.get("name")}
        if call.get("type") == "custom":
            items.append({"type": "custom_tool_call", **named, "input": inner.get("input") or ""})
        else:
            items.append({"type": "function_call", **named, "arguments": inner.get("arguments") or "{}"})
    return _with_thoughts(items, message.get("reasoning_items") or ())


def _with_thoughts(items: list[dict[str, Any]], thoughts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``items`` of an answer, with what was thought between them in its places."""
    whole: list[dict[str, Any]] = []
    left = list(thoughts)
    for place in range(len(items) + 1):
        last = place == len(items)
        now = [thought for thought in left if last or thought.get(AFTER, 0) <= place]
        left = [thought for thought in left if thought not in now]
        whole += [{name: value for name, value in thought.items() if name != AFTER} for thought in now]
        whole += items[place : place + 1]
    return whole


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
            image = {"url": image} if isinstance(image, str) else image
            shown = {"image_url": image["url"], "detail": image.get("detail") or "auto"}
            return {"type": "input_image", **shown}
        case "file":
            file = dict(part["file"])
            if is_address(file.get("file_id")):
                file["file_url"] = file.pop("file_id")
            return {"type": "input_file", **file}
        case other:
            raise ModelError(
                f"model {model!r} is served by the Responses API alone, which takes no {other!r} content: use another "
                "model for it"
            )


# --- the answer -------------------------------------------------------------------------------------------------------


class Failed(Exception):
    """The model answered that it failed. Has what the errors of clients have, and what was used by then."""

    def __init__(self, error: Any, usage: Any = None) -> None:
        told = error if isinstance(error, Mapping) else {}
        code = told.get("code")
        super().__init__(f"{told.get('message') or 'the response failed'} ({code or 'no code'})")
        self.status_code = _STATUS.get(str(code), 400 if code else 500)
        self.body = {**told, "usage": _usage(usage) if isinstance(usage, Mapping) else None}


_STATUS = {
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "server_is_overloaded": 503,
    "vector_store_timeout": 504,
}
"""The HTTP statuses that say the same as a failed response's code; of others the request is to blame."""


def from_responses(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as a chat completion of one choice; of none where it holds no output. Raises Failed, and Unreadable
    where it is no such answer."""
    usage = answer.get("usage")
    output = answer.get("output")
    if answer.get("status") == "failed":
        raise Failed(answer.get("error"), usage)
    try:
        choices = [_choice(answer, output)] if isinstance(output, Sequence) and output else []
    except (AttributeError, TypeError):
        raise Unreadable from None
    told = {name: answer[name] for name in ("id", "model", "service_tier") if answer.get(name) is not None}
    return {**told, "choices": choices, "usage": _usage(usage) if isinstance(usage, Mapping) else None}


def _choice(answer: Mapping[str, Any], output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    places = Places()
    reasoning = []
    for item in output:
        if item.get("type") == "reasoning":
            reasoning.append(thought_of(item, places.before))
        places.next(item)
    spoken = [item for item in output if item.get("type") == "message"]
    marks = [mark_of(mark) for item in spoken for part in item.get("content") or () for mark in _marks(part)]
    texts = [text for item in spoken if (text := text_of(item, "output_text", "text"))]
    refusals = [text for item in spoken if (text := text_of(item, "refusal", "refusal"))]
    calls = [call for item in output if (call := call_of(item)) is not None]
    if spoken and (texts or not refusals):
        message["content"] = BETWEEN.join(texts)
    if refusals:
        message["refusal"] = BETWEEN.join(refusals)
    if phase := next((item["phase"] for item in reversed(spoken) if item.get("phase")), None):
        message["phase"] = phase
    if marks:
        message["annotations"] = marks
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_items"] = reasoning
        if summary := BETWEEN.join(text for item in reasoning if (text := summary_of(item))):
            message["reasoning_content"] = summary
    why = (answer.get("incomplete_details") or {}).get("reason")
    finish = _FINISH.get(str(why)) or ("tool_calls" if calls else "stop")
    return {"index": 0, "message": message, "finish_reason": finish}


class Places:
    """Counts the items of an answer: what is said counts once, and each call."""

    def __init__(self) -> None:
        self.before = 0
        self._spoken = False

    def next(self, item: Mapping[str, Any]) -> None:
        """The next item, of which the type is known."""
        spoken = item.get("type") == "message"
        if str(item.get("type")) in CALLS or (spoken and not self._spoken):
            self.before += 1
        self._spoken = self._spoken or spoken


CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
"""By the type of a call's item: what a chat completion calls it, and the field that it writes."""


def call_of(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item as a call of a chat completion; None where it is none."""
    kind, written = CALLS.get(str(item.get("type")), ("", ""))
    if not kind:
        return None
    return {"id": item.get("call_id"), "type": kind, kind: {"name": item.get("name"), written: item.get(written)}}


def text_of(item: Mapping[str, Any], kind: str, name: str) -> str:
    """What a message says, or refuses."""
    parts = [part for part in item.get("content") or () if part.get("type") == kind]
    return "".join(str(part.get(name) or "") for part in parts)


def summary_of(item: Mapping[str, Any]) -> str:
    """The summary of a reasoning item."""
    return BETWEEN.join(str(part.get("text") or "") for part in item.get("summary") or ())


def thought_of(item: Mapping[str, Any], before: int) -> dict[str, Any]:
    """A reasoning item as it goes back, with its place: what is null in an answer is refused in a request."""
    kept = {name: value for name, value in item.items() if value is not None}
    return {**kept, AFTER: before} if before else kept


def mark_of(mark: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation in chat-completions form."""
    kind = mark.get("type")
    if kind != "url_citation" or kind in mark:
        return dict(mark)
    return {"type": kind, kind: {name: value for name, value in mark.items() if name != "type"}}


def _marks(part: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return part.get("annotations") or ()


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }
