"""OpenAI's Responses API: requests, answers, streams and errors.

A request becomes one of the chat-completions API, which is what models are asked in. Its fields are read here, not by
the client library's types: those would refuse what is newer than they are, and codex and its like are always newer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atlas.errors import ConfigError
from atlas.wire.chat import read_messages
from atlas.wire.fields import field, limit, need, objects
from atlas.wire.items import Talk
from atlas.wire.kept import Shelf
from atlas.wire.request import RESPONSES, Request, Told
from atlas.wire.responses_out import Writer
from atlas.wire.toolbox import Toolbox, joined

_SAME = frozenset(
    "temperature top_p parallel_tool_calls metadata user safety_identifier prompt_cache_key prompt_cache_retention "
    "prompt_cache_options service_tier".split()
)
"""Fields that the chat-completions API has under the same name."""

_OURS = frozenset(
    "model input instructions tools tool_choice text reasoning max_output_tokens top_logprobs include stream "
    "stream_options store previous_response_id client_metadata max_tool_calls".split()
)
"""Fields that are read here, or that say nothing where there is only a chat model: ``max_tool_calls`` counts the tools
that OpenAI's own service runs, ``stream_options`` pads its streams."""

_READ = {"reasoning": {"effort", "summary", "generate_summary"}, "text": {"format", "verbosity"}}
"""What is read of fields that are objects."""

_HERS = {
    "background": "an answer in the background: wait for it, or stream it",
    "conversation": "a conversation that OpenAI keeps: send it as 'input', or go on by 'previous_response_id'",
    "prompt": "a prompt that OpenAI keeps: send its text as 'instructions'",
}
"""Fields that only OpenAI's own service can honour, and what to do in their place."""


def read(body: Mapping[str, Any], kept: Shelf | None = None) -> Request:
    """A request's JSON object. ``kept`` has the responses that it may go on from.

    Raises ConfigError for what is no such request and for what a chat model cannot do. What asks for something that
    makes no difference to the answer of one is left out, and named in ``left_out``.
    """
    for name, what in _HERS.items():
        if body.get(name):
            raise ConfigError(f"'{name}' asks for {what}")
    talk, items = Talk(), _items(body, kept)
    messages = talk.read(items)
    box = toolbox(body, talk.tools)
    left = [f"{name}: {_said(body[name])}" for name in body.keys() - _SAME - _OURS if body[name] is not None]
    for name, known in _READ.items():
        left += [f"{name}.{part}" for part in (field(body, name, dict) or {}).keys() - known]
    left += [f"tool: {kind}" for kind in box.absent] + [f"input: {kind}" for kind in talk.left_out]
    instructions = field(body, "instructions", str)
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    data = field(body, "client_metadata", dict) or {}
    return Request(
        api=RESPONSES,
        model=field(body, "model", str) or "",
        messages=read_messages(messages),
        tools=tuple(box.tools),
        options=_options(body, box),
        stream=bool(body.get("stream")),
        conversation=str(data.get("session_id") or ""),
        left_out=tuple(sorted(left)),
        body={**body, "input": items},
    )


def _items(body: Mapping[str, Any], kept: Shelf | None) -> list[Mapping[str, Any]]:
    """The whole conversation of a request, as items."""
    given = body.get("input")
    if given is None and not body.get("previous_response_id"):
        raise ConfigError("'input' is missing: give the text or the items of the conversation")
    new = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given, "input")
    previous = field(body, "previous_response_id", str)
    references = [item for item in new if item.get("type") == "item_reference"]
    if (previous or references) and kept is None:
        raise ConfigError("no responses are kept here: send the whole conversation as 'input'")
    if kept is None:
        return list(new)
    whole = [kept.item(need(item, "id", str, "input.")) if item in references else item for item in new]
    return [*(kept.talk(previous) if previous else ()), *whole]


def keep(kept: Shelf, request: Request, answer: Mapping[str, Any], size: int) -> None:
    """Keep ``answer``, what :func:`write` made, for requests that go on from it, unless the client asked that it be not
    stored. ``size`` is in bytes: of the request's body."""
    if request.body.get("store") is not False:
        kept.put(answer["id"], request.body["input"], answer["output"], size)


def write(told: Told, request: Request) -> dict[str, Any]:
    """The answer as one JSON object; its usage is that of all models asked in this step."""
    *_, (_, last) = events(told, request)
    answer: dict[str, Any] = last["response"]
    return answer


def events(told: Told, request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """The answer as a stream of (event, data), in the order that all clients accept; the last holds all of it."""
    writer = writer_of(request, told.id, told.model, told.created)
    yield from writer.begin()
    yield from writer.end(told)


def writer_of(request: Request, id: str, model: str, created: int) -> Writer:
    """Writes an answer while it is being made; see :class:`Writer`."""
    brought = Talk()
    brought.read(item for item in request.body["input"] if item.get("type") == "additional_tools")
    return Writer(request.body, toolbox(request.body, brought.tools), id, model, created)


def error(status: int, message: str, kind: str, code: str | None) -> dict[str, Any]:
    """The body of an answer that is an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def failed(status: int, message: str, kind: str, code: str | None) -> dict[str, Any]:
    """The last event of a stream whose answer failed before there was any of it. Beside the fields of this API's own it
    has those that OpenAI's clients look for in any event."""
    told = {"code": code, "message": message, "param": None}
    return {"type": "error", "sequence_number": 0, **told, **error(status, message, kind, code)}


def toolbox(body: Mapping[str, Any], more: list[dict[str, Any]]) -> Toolbox:
    """The tools of a request, ``more`` those that its items bring along; only the allowed ones, where it says which."""
    box = Toolbox()
    box.add(objects(body.get("tools"), "tools"))
    box.add(more)
    if box.absent and not box.tools:
        raise ConfigError(
            f"the only tools are {', '.join(sorted(set(box.absent)))}, which OpenAI's own service runs: a chat model "
            "needs tools of type function or custom"
        )
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = objects(choice.get("tools"), "tool_choice.tools")
        box.only(joined(str(tool.get("namespace") or ""), str(tool.get("name"))) for tool in allowed)
    return box


def _options(body: Mapping[str, Any], box: Toolbox) -> dict[str, Any]:
    options = {name: body[name] for name in _SAME & body.keys() if body[name] is not None}
    most = limit(body, "max_output_tokens")
    if most is not None:
        options["max_tokens"] = most
    choice = _choice(body.get("tool_choice"), box)
    if choice is not None:
        options["tool_choice"] = choice
    text = field(body, "text", dict) or {}
    if text.get("verbosity") is not None:
        options["verbosity"] = text["verbosity"]
    form = field(text, "format", dict, "text.")
    if form is not None and form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form is not None and form.get("type") != "text":
        options["response_format"] = dict(form)
    reasoning = field(body, "reasoning", dict) or {}
    if reasoning.get("effort") is not None:
        options["reasoning_effort"] = reasoning["effort"]
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    if summary is not None:
        options["reasoning_summary"] = summary  # for models of this API, and no other's concern
    if body.get("top_logprobs") is not None:
        options["top_logprobs"] = body["top_logprobs"]
    if body.get("top_logprobs") or "message.output_text.logprobs" in (field(body, "include", list) or ()):
        options["logprobs"] = True
    return options


def _choice(given: Any, box: Toolbox) -> Any:
    """``tool_choice`` in chat-completions form; None where nothing has to be said."""
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, dict):
        raise ConfigError(f"'tool_choice' is {type(given).__name__}: give auto, none, required or an object")
    match given.get("type"):
        case "allowed_tools":
            return given.get("mode")
        case "function" | "custom" as kind:
            name = joined(str(given.get("namespace") or ""), need(given, "name", str, "tool_choice."))
            if name not in box.owners:
                raise ConfigError(f"'tool_choice' names {given['name']!r}, which is not among the tools: add it")
            return {"type": kind, kind: {"name": name}}
        case kind:
            raise ConfigError(
                f"'tool_choice' asks for {kind}, which only OpenAI's own service can run: name a function"
            )


def _said(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 40 else type(value).__name__
