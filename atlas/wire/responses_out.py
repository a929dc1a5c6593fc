"""An answer of the Responses API, event by event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atlas.records import Decision
from atlas.wire.chat import message_of
from atlas.wire.opaque import beyond, packed, reasoning_of
from atlas.wire.request import Told
from atlas.wire.toolbox import Toolbox

Event = tuple[str, dict[str, Any]]

_REPEATED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that its response repeats, and what each is where the request does not say."""

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons after which a response is incomplete, and what it calls them."""


class Writer:
    """Writes an answer as it is made: :meth:`begin`, then each :meth:`part` as it comes, then :meth:`end`, which adds
    all that was not told yet. Without any of what comes in between, :meth:`end` tells the whole."""

    def __init__(self, body: Mapping[str, Any], box: Toolbox, id: str, model: str, created: int) -> None:
        self._body, self._box, self._id, self._model, self._created = body, box, id, model, created
        self._number = 0
        self._output: list[dict[str, Any]] = []
        """The items that are done."""
        self._thought = ""
        self._spoken = ""
        self._open = ""
        """``reasoning`` or ``message`` while such an item is being told."""

    def begin(self) -> Iterator[Event]:
        """To be sent before anything else."""
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._response("in_progress", self._model))

    def part(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        """A piece of the answer, as a delta of the chat-completions API. Calls of tools are told at the end, whole."""
        if delta.get("reasoning_content") and self._open != "message":
            yield from self._reason(str(delta["reasoning_content"]))
        if delta.get("content"):
            yield from self._text(str(delta["content"]))

    def _reason(self, text: str) -> Iterator[Event]:
        """A piece of the model's reasoning, before its first word."""
        if not self._open:
            yield from self._begin_reasoning()
        self._thought += text
        yield self._at("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _text(self, text: str) -> Iterator[Event]:
        """A piece of what the model says."""
        if self._open != "message":
            yield from self._end_reasoning({"reasoning_content": self._thought} if self._thought else {})
            yield from self._begin_message({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        self._spoken += text
        yield self._at("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def end(self, told: Told) -> Iterator[Event]:
        """The rest of the answer, and the whole of it in the last event."""
        decided = told.decision
        message = message_of(decided)
        yield from self._reasoned(message)
        yield from self._said(decided, message)
        for call in decided.tool_calls:
            yield from self._called(self._box.item(call))
        cut = _CUT.get(decided.finish)
        response = self._response("incomplete" if cut else "completed", told.model)
        response["incomplete_details"] = {"reason": cut} if cut else None
        response["usage"] = tokens(told)
        yield self._event(f"response.{response['status']}", response=response)

    def broken(self, message: str, code: str | None) -> Event:
        """The last event of a stream whose answer failed on its way. It is an ``error`` with the fields that OpenAI's
        clients look for in any event: all of them raise it."""
        told = {"message": message, "type": "server_error", "param": None, "code": code}
        return self._event("error", code=code, message=message, param=None, error=told)

    # --- items --------------------------------------------------------------------------------------------------------

    def _reasoned(self, message: dict[str, Any]) -> Iterator[Event]:
        """The reasoning that was not told yet."""
        if self._open == "message" or self._output:
            return
        items = message.get("reasoning_items")
        if isinstance(items, list) and items and not self._open:
            # They are this API's own: its provider speaks it too.
            for item in items:
                yield from self._whole({"type": "reasoning", "summary": [], **item, "id": self._item_id("rs")})
            message = {name: value for name, value in message.items() if name != "reasoning_items"}
            message.pop("reasoning_content", None)
        more = beyond(message)
        text = reasoning_of(message).removeprefix(self._thought)
        if text:
            yield from self._reason(text)
        elif more and not self._open:
            yield from self._begin_reasoning(summary=False)
        yield from self._end_reasoning(more)

    def _begin_reasoning(self, summary: bool = True) -> Iterator[Event]:
        self._open = "reasoning"
        item = {"id": self._item_id("rs"), "type": "reasoning", "summary": []}
        yield self._at("response.output_item.added", item=item)
        if summary:
            part = {"type": "summary_text", "text": ""}
            yield self._at("response.reasoning_summary_part.added", summary_index=0, part=part)

    def _end_reasoning(self, more: Mapping[str, Any]) -> Iterator[Event]:
        if self._open != "reasoning":
            return
        part = {"type": "summary_text", "text": self._thought}
        if self._thought:
            yield self._at("response.reasoning_summary_text.done", summary_index=0, text=self._thought)
            yield self._at("response.reasoning_summary_part.done", summary_index=0, part=part)
        item = {
            "id": self._item_id("rs"),
            "type": "reasoning",
            "summary": [part] if self._thought else [],
            "encrypted_content": packed(more) if more else None,
        }
        self._open = ""
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _said(self, decided: Decision, message: Mapping[str, Any]) -> Iterator[Event]:
        """The message: what of its text was not told yet, and a refusal after it."""
        words, refusal = text_of(message.get("content")), str(message.get("refusal") or "")
        parts: list[dict[str, Any]] = []
        if words or self._spoken or not (refusal or decided.tool_calls):
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            logprobs = _logprobs(message)
            marks = [_mark(mark) for mark in message.get("annotations") or ()]
            if self._open != "message":
                yield from self._begin_message(part)
            rest = words.removeprefix(self._spoken)
            if rest:
                self._spoken += rest
                yield self._at("response.output_text.delta", content_index=0, delta=rest, logprobs=logprobs)
            for number, mark in enumerate(marks):
                at = {"content_index": 0, "annotation_index": number, "annotation": mark}
                yield self._at("response.output_text.annotation.added", **at)
            yield self._at("response.output_text.done", content_index=0, text=self._spoken, logprobs=logprobs)
            parts.append({**part, "text": self._spoken, "annotations": marks, "logprobs": logprobs})
            yield self._at("response.content_part.done", content_index=0, part=parts[0])
        if refusal:
            part = {"type": "refusal", "refusal": ""}
            if self._open != "message":
                yield from self._begin_message(part)
            else:
                yield self._at("response.content_part.added", content_index=1, part=part)
            index = len(parts)
            yield self._at("response.refusal.delta", content_index=index, delta=refusal)
            yield self._at("response.refusal.done", content_index=index, refusal=refusal)
            parts.append({"type": "refusal", "refusal": refusal})
            yield self._at("response.content_part.done", content_index=index, part=parts[index])
        if parts:
            cut = decided.finish in _CUT and not decided.tool_calls
            item = self._message("incomplete" if cut else "completed", parts)
            self._open = ""
            yield self._event("response.output_item.done", output_index=len(self._output), item=item)
            self._output.append(item)

    def _begin_message(self, part: dict[str, Any]) -> Iterator[Event]:
        self._open = "message"
        yield self._at("response.output_item.added", item=self._message("in_progress", []))
        yield self._at("response.content_part.added", content_index=0, part=part)

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        id = self._item_id("msg")
        return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _called(self, item: dict[str, Any]) -> Iterator[Event]:
        custom = item["type"] == "custom_tool_call"
        written = "input" if custom else "arguments"
        events = "custom_tool_call_input" if custom else "function_call_arguments"
        item = {"id": self._item_id("ctc" if custom else "fc"), "status": "completed", **item}
        yield self._at("response.output_item.added", item={**item, "status": "in_progress", written: ""})
        if item[written]:
            yield self._at(f"response.{events}.delta", delta=item[written])
        named = {} if custom else {"name": item["name"]}
        yield self._at(f"response.{events}.done", **named, **{written: item[written]})
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _whole(self, item: dict[str, Any]) -> Iterator[Event]:
        for name in ("response.output_item.added", "response.output_item.done"):
            yield self._event(name, output_index=len(self._output), item=item)
        self._output.append(item)

    # --- events -------------------------------------------------------------------------------------------------------

    def _item_id(self, kind: str) -> str:
        """Of the item that comes next, or is being told."""
        return f"{kind}_{self._id}_{len(self._output)}"

    def _at(self, event: str, /, **data: Any) -> Event:
        """An event of the item that is being told."""
        kind = {"reasoning": "rs", "message": "msg"}.get(self._open, "")
        place: dict[str, Any] = {"output_index": len(self._output)}
        if "item" not in data:
            place["item_id"] = self._item_id(kind or ("ctc" if "custom" in event else "fc"))
        return self._event(event, **place, **data)

    def _event(self, event: str, /, **data: Any) -> Event:
        number = self._number
        self._number += 1
        return event, {"type": event, "sequence_number": number, **data}

    def _response(self, status: str, model: str) -> dict[str, Any]:
        repeated = {name: self._body.get(name) for name in _REPEATED}
        said = {name: _REPEATED[name] if value is None else value for name, value in repeated.items()}
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": list(self._output),
            "usage": None,
            **said,
        }


def tokens(told: Told) -> dict[str, Any]:
    """The usage as this API tells it."""
    usage = told.usage
    read = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": read,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.tokens,
    }


def text_of(content: Any) -> str:
    """The words of an assistant's content."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _logprobs(message: Mapping[str, Any]) -> list[Any]:
    told = message.get("logprobs")
    return list(told.get("content") or ()) if isinstance(told, dict) else []


def _mark(mark: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation of the chat-completions API in this one's form."""
    kind = str(mark.get("type"))
    inner = mark.get(kind)
    return {"type": kind, **inner} if isinstance(inner, dict) else dict(mark)
