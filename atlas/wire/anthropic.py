"""Anthropic's Messages API: requests, answers, streams, errors and the count of tokens.

A request becomes one of the chat-completions API, which is what models are asked in. Its fields are read here, not by
the client library's types: those would refuse what is newer than they are, and command-line agents are always newer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from atlas.errors import ConfigError
from atlas.records import Message
from atlas.tokens import estimate_tokens
from atlas.wire.anthropic_out import Writer
from atlas.wire.blocks import Turns
from atlas.wire.chat import read_messages
from atlas.wire.fields import field, limit, need, objects
from atlas.wire.request import MESSAGES, Request, Told

_SAME = frozenset("temperature top_p top_k thinking".split())
"""Fields that go up under the same name; litellm takes those that the chat-completions API has not."""

_OURS = frozenset(
    "model messages system max_tokens stop_sequences stream tools tool_choice metadata output_config service_tier "
    "cache_control".split()
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_RUN_BY_CLIENTS = ("bash_", "text_editor_", "memory_", "computer_")
"""How the types begin of tools that Anthropic's models know and the client runs: they go up as they are."""
_SESSION = re.compile(r"session_([0-9a-fA-F-]{36})")
_IMAGE = 1600
"""Tokens of an image at the most, as Anthropic scales them; a file is counted as one, for want of its pages."""

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read(body: Mapping[str, Any]) -> Request:
    """A request's JSON object.

    Raises ConfigError for what is no such request and for what a chat model cannot do. What asks for something that
    makes no difference to the answer of one is left out, and named in ``left_out``.
    """
    return _request(body, need(body, "max_tokens", int))


def count(body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request for the number of tokens of a prompt: an estimate, since many models may act on it."""
    request = _request(body, None)
    tools = "".join(json.dumps(tool, ensure_ascii=False) for tool in request.tools)
    return {"input_tokens": estimate_tokens(tools) + sum(map(_tokens, request.messages))}


def write(told: Told, request: Request) -> dict[str, Any]:
    """The answer as one JSON object; its usage is that of all models asked in this step."""
    return writer_of(request, told.id, told.model, told.created).whole(told)


def events(told: Told, request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """The answer as a stream of (event, data)."""
    writer = writer_of(request, told.id, told.model, told.created)
    yield from writer.begin(told.usage)
    yield from writer.end(told)


def writer_of(request: Request, id: str, model: str, created: int) -> Writer:
    """Writes an answer while it is being made; see :class:`Writer`. When that was is nothing that this API tells."""
    thinking = request.options.get("thinking") or {}
    return Writer(id, model, asked=thinking.get("type", "disabled") != "disabled", display=thinking.get("display"))


def error(status: int, message: str, kind: str, code: str | None) -> dict[str, Any]:
    """The body of an answer that is an error. Its type follows from the status, as this API's do."""
    if code == "context_length_exceeded" and "prompt is too long" not in message:
        # What agents look for before they compact their history.
        message = f"prompt is too long: {message}"
    told = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": told, "message": message}}


failed = error
"""The last event of a stream whose answer failed is the same."""


def _request(body: Mapping[str, Any], most: int | None) -> Request:
    turns = Turns()
    messages = turns.read(objects(need(body, "messages", list), "messages"))
    system = turns.content(body.get("system"), "system")
    if system:
        messages.insert(0, {"role": "system", "content": system})
    if body.get("cache_control") is not None:
        _mark_last(messages, body["cache_control"])
    tools, left = _tools(body)
    options = _options(body, left)
    if most is not None:
        options["max_tokens"] = limit(body, "max_tokens")
    left |= turns.left_out | {name for name in body.keys() - _SAME - _OURS if body[name] is not None}
    return Request(
        api=MESSAGES,
        model=field(body, "model", str) or "",
        messages=read_messages(messages),
        tools=tuple(tools),
        options=options,
        stream=bool(body.get("stream")),
        conversation=_session(field(body, "metadata", dict) or {}),
        left_out=tuple(sorted(left)),
        body=dict(body),
    )


def _options(body: Mapping[str, Any], left: set[str]) -> dict[str, Any]:
    options = {name: body[name] for name in _SAME & body.keys() if body[name] is not None}
    field(body, "thinking", dict)
    stop = field(body, "stop_sequences", list)
    if stop:
        options["stop"] = stop
    choice = field(body, "tool_choice", dict)
    if choice is not None:
        if choice.get("type") == "tool":
            named = need(choice, "name", str, "tool_choice.")
            options["tool_choice"] = {"type": "function", "function": {"name": named}}
        elif choice.get("type") in _CHOICES:
            options["tool_choice"] = _CHOICES[choice["type"]]
        else:
            raise ConfigError(f"'tool_choice.type' is {choice.get('type')!r}: use auto, any, tool or none")
        if choice.get("disable_parallel_tool_use") is not None:
            options["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
    output = field(body, "output_config", dict) or {}
    if output.get("effort") is not None:
        options["reasoning_effort"] = output["effort"]
    form = field(output, "format", dict, "output_config.")
    if form is not None:
        schema = {"name": "output", "schema": need(form, "schema", dict, "output_config.format."), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    left |= {f"output_config.{name}" for name in output.keys() - {"effort", "format"}}
    user = field(field(body, "metadata", dict) or {}, "user_id", str, "metadata.")
    if user is not None:
        options["user"] = user
    tier = field(body, "service_tier", str)
    if tier is not None:
        # OpenAI's name for what is served without priority.
        options["service_tier"] = "default" if tier == "standard_only" else tier
    return options


def _tools(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], set[str]]:
    """The tools in chat-completions form, and the types of those that only Anthropic's own service runs."""
    made: list[dict[str, Any]] = []
    absent = set()
    for tool in objects(body.get("tools"), "tools"):
        kind = tool.get("type") or "custom"
        if kind == "custom":
            function = {"name": need(tool, "name", str, "tools.")}
            for name, named in (("description", "description"), ("input_schema", "parameters"), ("strict", "strict")):
                if tool.get(name) is not None:
                    function[named] = tool[name]
            mark = {} if tool.get("cache_control") is None else {"cache_control": tool["cache_control"]}
            made.append({"type": "function", "function": function, **mark})
        elif str(kind).startswith(_RUN_BY_CLIENTS):
            made.append(dict(tool))
        else:
            absent.add(f"tool: {kind}")
    if absent and not made:
        names = ", ".join(sorted(absent)).replace("tool: ", "")
        raise ConfigError(f"the only tools are {names}, which Anthropic's own service runs: a chat model needs others")
    return made, absent


def _mark_last(messages: list[dict[str, Any]], mark: Any) -> None:
    """What ``cache_control`` of a whole request stands for: a mark at the last block that can have one."""
    last: dict[str, Any] = messages[-1] if messages else {}
    if isinstance(last.get("content"), str) and last["content"]:
        last["content"] = [{"type": "text", "text": last["content"]}]
    if isinstance(last.get("content"), list) and last["content"]:
        last["content"][-1].setdefault("cache_control", mark)


def _session(metadata: Mapping[str, Any]) -> str:
    """The session that a command-line agent names within its user's id."""
    named = str(metadata.get("user_id") or "")
    try:
        inner = json.loads(named) if named.startswith("{") else {}
    except (ValueError, RecursionError):
        inner = {}
    if isinstance(inner, dict) and isinstance(inner.get("session_id"), str):
        return str(inner["session_id"])
    found = _SESSION.search(named)
    return found[1] if found else ""


def _tokens(message: Message) -> int:
    """About the tokens of a message: its words, its calls, its images, and the frame around it."""
    words = message.content + "".join(f"{call.name} {call.arguments}" for call in message.tool_calls)
    parts = (message.sent or {}).get("content")
    pictures = [part for part in parts if part.get("type") in ("image_url", "file")] if isinstance(parts, list) else []
    return 4 + estimate_tokens(words) + _IMAGE * len(pictures)
