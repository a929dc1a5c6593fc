"""A provider's answer as replies: what they say, and the message whole where it holds more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.records import Reply, ToolCall

_PLAIN = frozenset({"role", "content", "tool_calls"})
_CALL = {"function": frozenset({"name", "arguments"}), "custom": frozenset({"name", "input"})}


class Unreadable(Exception):
    """The answer is no chat completion."""


def replies_of(answer: Mapping[str, Any], stop: Sequence[str] = ()) -> list[Reply]:
    """A reply for each choice, cut at the first of ``stop``. Raises Unreadable."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise Unreadable
    return [_reply(choice, stop) for choice in choices]


def _reply(choice: Any, stop: Sequence[str]) -> Reply:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        raise Unreadable
    message = _fitting(message)
    text, finish = _text(message.get("content")), str(choice.get("finish_reason") or "")
    calls = message.get("tool_calls") or ()
    whole = _whole(message)
    cut = min((at for word in stop if word and (at := text.find(word)) >= 0), default=-1)
    if cut >= 0:
        text, finish, calls = text[:cut], "stop", ()
        if whole is not None:
            whole = {**{name: value for name, value in whole.items() if name != "tool_calls"}, "content": text}
    logprobs = _said(choice.get("logprobs"))
    if logprobs and isinstance(logprobs, dict) and cut < 0:
        # They stand beside the message, and go down with it.
        whole = {**(whole or {"role": "assistant", **_said(message)}), "logprobs": logprobs}
    return Reply(text=text, tool_calls=tuple(map(_tool_call, calls)), finish=finish, message=whole)


def _text(content: Any) -> str:
    """The text of a message; of one whose content is a list of parts, that of its text parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")


WORDS = ("reasoning_content", "reasoning", "refusal")
"""Fields of a message that are texts, where it has them."""
LISTS = ("thinking_blocks", "reasoning_details", "annotations")
"""Those that are lists of objects."""


def _fitting(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """``message`` as the API has it: arguments of tools as text, where a server gives them as an object, and without
    fields of another type than they have. Raises Unreadable where a tool call is none."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Unreadable
    content = message.get("content")
    if not isinstance(content, str | list | None):
        content = str(content)
    if isinstance(content, list):
        content = [part for part in content if isinstance(part, Mapping)]
    wrong = {name for name in WORDS if not isinstance(message.get(name), str | None)}
    wrong |= {name for name in LISTS if not objects(message.get(name))}
    kept = {name: value for name, value in message.items() if name not in wrong}
    return {**kept, "content": content, "tool_calls": [_fitting_call(call) for call in calls]}


def objects(value: Any) -> bool:
    """Whether a field is a list of objects, or not there."""
    return value is None or (isinstance(value, list) and all(isinstance(part, Mapping) for part in value))


def _fitting_call(call: Any) -> dict[str, Any]:
    if not isinstance(call, Mapping):
        raise Unreadable
    kind, given = ("custom", "input") if isinstance(call.get("custom"), Mapping) else ("function", "arguments")
    inner = call.get(kind)
    name, id = inner.get("name") if isinstance(inner, Mapping) else None, call.get("id")
    if not isinstance(inner, Mapping) or not isinstance(name, str | None) or not isinstance(id, str | None):
        raise Unreadable
    said = inner.get(given)
    if not isinstance(said, str | None):
        said = json.dumps(said)
    return {**call, "type": kind, kind: {**inner, given: said}}


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    id = call.get("id") or ""
    if call["type"] == "custom":
        custom = call["custom"]
        return ToolCall(id=id, name=custom.get("name") or "", arguments=custom.get("input") or "", kind="custom")
    function = call["function"]
    return ToolCall(id=id, name=function.get("name") or "", arguments=function.get("arguments") or "{}")


def _whole(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The message as its provider wrote it, less what is null or empty; None where text and tool calls are all."""
    kept = {name: said for name, value in message.items() if (said := _said(value)) not in (None, [], {})}
    calls = kept.get("tool_calls")
    if calls:
        # litellm numbers calls as the chunks of a stream are.
        kept["tool_calls"] = calls = [{k: v for k, v in call.items() if k != "index"} for call in calls]
    more = kept.keys() - _PLAIN or isinstance(kept.get("content"), list) or any(map(_more, calls or ()))
    if not more:
        return None
    return {"role": "assistant", "content": None, **kept}


def _said(value: Any) -> Any:
    """``value`` without what is null in it."""
    if isinstance(value, Mapping):
        return {name: said for name, item in value.items() if (said := _said(item)) is not None}
    return [_said(item) for item in value] if isinstance(value, list) else value


def _more(call: Mapping[str, Any]) -> bool:
    """Whether a tool call holds more than our record of one."""
    kind = str(call.get("type") or "function")
    inner = call.get(kind)
    known = _CALL.get(kind)
    return known is None or bool(call.keys() - {"id", "type", kind}) or bool(dict(inner or {}).keys() - known)
