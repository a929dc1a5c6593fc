"""OpenAI's Chat Completions API: requests, answers, streams and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atlas.errors import ConfigError
from atlas.records import Decision, Message, ToolCall
from atlas.wire.request import CHAT, Request, Told

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_APART = frozenset({"model", "messages", "tools", "stream", "stream_options"})
_LIBRARYS = frozenset({"extra_body", "extra_headers", "extra_query", "timeout"})
"""What client libraries take beside the fields of the API. A model's library would act on them."""
_CHOICES = 128
"""The most answers to one call, as OpenAI bounds them: each is decided for itself."""
_CHUNK = "chat.completion.chunk"
_LOGPROBS = "logprobs"
"""Of a reply: its message carries them, the API tells them beside it."""


# --- in ---------------------------------------------------------------------------------------------------------------


def read(body: Mapping[str, Any]) -> Request:
    """A request's JSON object. Raises ConfigError for what is no such request."""
    options = {name: value for name, value in body.items() if name not in _APART and value is not None}
    if (own := _LIBRARYS & options.keys()) and any(options[name] for name in own):
        told = ", ".join(sorted(own))
        raise ConfigError(f"{told} is a setting of a client library and no field of the API: leave it out")
    for name in own:
        del options[name]
    limit = options.pop("max_completion_tokens", None)
    if limit is not None:
        options["max_tokens"] = limit
    for name, most in (("max_tokens", None), ("n", _CHOICES)):
        given = options.get(name, 1)
        if type(given) is not int or not 1 <= given <= (most or given):
            raise ConfigError(f"'{name}' is {given!r}: give a whole number from 1{f' to {most}' if most else ''}")
    asked = body.get("stream_options")
    return Request(
        api=CHAT,
        model=str(body.get("model") or ""),
        messages=read_messages(body.get("messages")),
        tools=_tools(body.get("tools")),
        options=options,
        stream=bool(body.get("stream")),
        usage_chunk=isinstance(asked, Mapping) and bool(asked.get("include_usage")),
        body=dict(body),
    )


def read_messages(given: Any) -> tuple[Message, ...]:
    """The messages of a request. Raises ConfigError for what is none."""
    if not isinstance(given, list) or not given:
        raise ConfigError("'messages' is a list with at least one message: give the conversation so far")
    return tuple([_message(message, place) for place, message in enumerate(given)])


def _message(given: Any, place: int) -> Message:
    if not isinstance(given, Mapping):
        raise ConfigError(f"messages[{place}] is a {type(given).__name__}: give an object with role and content")
    role = _ROLES.get(str(given.get("role")))
    if role is None:
        known = "system, developer, user, assistant or tool"
        raise ConfigError(f"messages[{place}] has the role {given.get('role')!r}: use {known}")
    content = given.get("content")
    calls = tuple([_tool_call(call, place) for call in given.get("tool_calls") or ()])
    legacy = given.get("function_call")
    if isinstance(legacy, Mapping):
        calls += (ToolCall(name=str(legacy.get("name") or ""), arguments=str(legacy.get("arguments") or "{}")),)
    said = {name: value for name, value in given.items() if value is not None or name == "content"}
    plain = isinstance(content, str | None) and said.keys() <= {"role", "content", "tool_calls", "tool_call_id"}
    plain = plain and given["role"] in (role, "developer") and all(call.kind == "function" for call in calls)
    named = given.get("tool_call_id")
    return Message(
        role=role,
        content=text_of(content, place) or str(given.get("refusal") or ""),
        tool_calls=calls,
        tool_call_id=None if named is None else str(named),
        sent=None if plain else said,
    )


def _tool_call(given: Any, place: int) -> ToolCall:
    function = given.get("function") or given.get("custom") if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigError(f"a tool call of messages[{place}] has no function with a name: give it as it was answered")
    kind, wrote = ("custom", "input") if "function" not in given else ("function", "arguments")
    written = function.get(wrote)
    arguments = written if isinstance(written, str) else "{}" if kind == "function" else ""
    return ToolCall(id=str(given.get("id") or ""), name=function["name"], arguments=arguments, kind=kind)


def text_of(content: Any, place: int) -> str:
    """The words of a message's content; a mark in brackets for each part that is none."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        raise ConfigError(f"the content of messages[{place}] is neither text nor a list of parts: give one of the two")
    return "\n".join(filter(None, map(_part, content)))


def _part(part: Mapping[str, Any]) -> str:
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return f"[{part.get('type') or 'part'}]"


def _tools(given: Any) -> tuple[dict[str, Any], ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(tool, Mapping) for tool in given):
        raise ConfigError("'tools' is a list of objects: give each tool with its type")
    return tuple([dict(tool) for tool in given])


# --- out --------------------------------------------------------------------------------------------------------------


def write(told: Told, request: Request) -> dict[str, Any]:
    """The answer as one JSON object; its usage is that of all models asked in this step."""
    choices = []
    for index, decided in enumerate((told.decision, *told.others)):
        message = message_of(decided)
        logprobs = message.pop(_LOGPROBS, None)
        message.setdefault("refusal", None)
        choices.append(
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_of(decided, message)}
        )
    return {**told.head("chat.completion"), "choices": choices, "usage": told.tokens()}


def events(told: Told, request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """The answer as the chunks of a stream, which is ended by the caller."""
    for index, decided in enumerate((told.decision, *told.others)):
        message = message_of(decided)
        logprobs = message.pop(_LOGPROBS, None)
        if "tool_calls" in message:
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
        yield "", _chunk(told, index, message, None, logprobs)
        yield "", _chunk(told, index, {}, finish_of(decided, message), None)
    yield from ending(told, request)


def writer_of(request: Request, id: str, model: str, created: int) -> Writer:
    """Writes an answer while it is being made; see :class:`Writer`."""
    return Writer(request, id, model, created)


class Writer:
    """Writes an answer as it is made: each :meth:`part` as it comes, then :meth:`end`, which adds all that was not told
    yet."""

    def __init__(self, request: Request, id: str, model: str, created: int) -> None:
        self._request, self._told_so_far = request, dict[str, str]()
        self._calls: dict[int, dict[str, Any]] = {}
        """Calls of tools as far as they were told, by their places."""
        self._head = {"id": f"chatcmpl-{id}", "object": _CHUNK, "created": created, "model": model}

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "", self._chunk({"role": "assistant", "content": ""})

    def part(self, delta: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        said = {name: text for name, text in delta.items() if name != "role" and isinstance(text, str) and text}
        for name, text in said.items():
            self._told_so_far[name] = self._told_so_far.get(name, "") + text
        calls = [dict(call) for call in delta.get("tool_calls") or ()]
        for call in calls:
            so_far = self._calls.setdefault(call["index"], {"id": call.get("id"), "told": ""})
            so_far["told"] += _written(call)
        if said or calls:
            yield "", self._chunk({**said, **({"tool_calls": calls} if calls else {})})

    def end(self, told: Told) -> Iterator[tuple[str, dict[str, Any]]]:
        message = message_of(told.decision)
        logprobs = message.pop(_LOGPROBS, None)
        finish = finish_of(told.decision, message)
        rest: dict[str, Any] = {}
        for name, value in message.items():
            before = self._told_so_far.get(name)
            left = value.removeprefix(before) if before is not None and isinstance(value, str) else value
            if name != "role" and left not in (None, "", []):
                rest[name] = left
        if calls := self._rest(rest.pop("tool_calls", ())):
            rest["tool_calls"] = calls
        if rest or logprobs:
            yield "", self._chunk(rest, logprobs=logprobs)
        yield "", self._chunk({}, finish)
        yield from ending(told, self._request)

    def _rest(self, calls: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What is left to tell of the calls."""
        places = {so_far["id"]: place for place, so_far in self._calls.items()}
        left: list[dict[str, Any]] = []
        for call in calls:
            place = places.get(call["id"])
            if place is None:
                left.append({"index": len(places), **call})
                places[call["id"]] = left[-1]["index"]
                continue
            told, written = self._calls[place]["told"], _written(call)
            if written != told and written.startswith(told):
                kind, name = ("custom", "input") if "custom" in call else ("function", "arguments")
                left.append({"index": place, kind: {name: written[len(told) :]}})
        return left

    def broken(self, message: str, code: str | None) -> tuple[str, dict[str, Any]]:
        return "", failed(500, message, "server_error", code)

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "choices": [choice]}


def _written(call: Mapping[str, Any]) -> str:
    """The arguments in a call of a tool, or in a piece of one."""
    made = call.get("function") or call.get("custom") or {}
    return str(made.get("arguments") or made.get("input") or "")


def ending(told: Told, request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """What follows the last choice."""
    for chunk in told.usage_chunks(request):
        yield "", chunk


def _chunk(told: Told, index: int, delta: dict[str, Any], finish: str | None, logprobs: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return {**told.head(_CHUNK), "choices": [choice]}


def error(status: int, message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


failed = error
"""What ends a stream whose answer failed is the same."""


def message_of(decided: Decision) -> dict[str, Any]:
    """The assistant message: as its provider wrote it, where that holds more than text and tool calls."""
    message = {**(decided.message or {}), "role": "assistant"}
    if "content" not in message:
        message["content"] = decided.text or (None if decided.tool_calls or decided.message else "")
    if decided.tool_calls and "tool_calls" not in message:
        message["tool_calls"] = [call_of(call) for call in decided.tool_calls]
    return message


def call_of(call: ToolCall) -> dict[str, Any]:
    """A tool call as this API writes it."""
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def finish_of(decided: Decision, message: Mapping[str, Any]) -> str:
    if decided.finish in ("length", "content_filter"):
        return decided.finish
    return "tool_calls" if message.get("tool_calls") else "function_call" if message.get("function_call") else "stop"


def with_calls(message: dict[str, Any] | None, calls: Iterable[ToolCall]) -> dict[str, Any] | None:
    """A provider's ``message`` whose tool calls have the ids of ``calls``, which are the same calls in their order."""
    if message is None or not message.get("tool_calls"):
        return message
    written = [{**made, "id": call.id} for made, call in zip(message["tool_calls"], calls, strict=False)]
    return {**message, "tool_calls": written}
