"""An answer of the Responses API, event by event."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from atlas.records import Decision, ToolCall
from atlas.wire.calling import Calling, Heard
from atlas.wire.chat import message_of
from atlas.wire.free_text import FreeText
from atlas.wire.opaque import beyond, owed, packed, put_together, reasoning_of, unite
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

_CALLS = {
    "function_call": ("function_call_arguments", "fc", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "ctc", "input"),
}
"""By the type of a call's item: the name in its events, the beginning of its id, and where what it writes stands."""

_KINDS = {"reasoning": "rs", "message": "msg", "call": "fc", "custom": "ctc"}
"""How the ids of items begin."""


class Writer:
    """Writes an answer as it is made: :meth:`begin`, then each :meth:`part` as it comes, then :meth:`end`, which adds
    all that was not told yet. Without any of what comes in between, :meth:`end` tells the whole."""

    def __init__(self, body: Mapping[str, Any], box: Toolbox, id: str, model: str, created: int) -> None:
        self._body, self._box, self._id, self._model, self._created = body, box, id, model, created
        self._number = 0
        self._output: list[dict[str, Any]] = []
        """The items that are done."""
        self._thought = ""
        self._thoughts = ""
        """What was told of the reasoning, the item that is being told included."""
        self._spoken = ""
        self._since = 0
        """Where in it the message began that is being told."""
        self._open = ""
        """``reasoning``, ``message``, ``call`` or ``custom`` while such an item is being told."""
        self._more: dict[str, Any] = {}
        """What was heard of the answer that this API has no place for."""
        self._back: dict[str, Any] = {}
        """What of that the client was told, to be sent back."""
        self._texts: dict[str, FreeText] = {}
        """The texts of calls to custom tools that are made as functions, by the ids of the calls."""
        self._calling = Calling(lambda call: self._custom(call) is not False, self._shown)
        if body.get("top_logprobs") or "message.output_text.logprobs" in (body.get("include") or ()):
            self._calling.hold()  # they come with the whole answer, and the message before its calls

    def begin(self) -> Iterator[Event]:
        """To be sent before anything else."""
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._response("in_progress", self._model))

    def part(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        """A piece of the answer, as a delta of the chat-completions API."""
        put_together(self._more, delta)
        self._phased(delta)
        if delta.get("reasoning_content") and self._open in ("", "reasoning") and not self._answered():
            yield from self._reason(str(delta["reasoning_content"]))
        for item in delta.get("reasoning_items") or ():
            if not self._answered() and self._open != "message":
                yield from self._thought_of(item)
        if delta.get("content") and self._open not in ("call", "custom") and not self._begun_calls():
            yield from self._text(str(delta["content"]))
        for what, call, text in self._calling.heard(delta.get("tool_calls") or ()):
            yield from self._move(what, call, text)

    def _custom(self, call: Heard) -> bool | None:
        """Whether a call is to a custom tool; False as well where it is and no text of it can be told yet."""
        if call.kind == "custom":
            return True
        if call.name not in self._box.custom:
            return None
        return self._texts.setdefault(call.id, FreeText()).read(call.written)

    def _shown(self, call: Heard) -> str:
        return self._texts[call.id].text if self._custom(call) and call.kind != "custom" else call.written

    def _begun_calls(self) -> bool:
        return any(item["type"].endswith("call") for item in self._output)

    def _answered(self) -> bool:
        """Whether there is more than reasoning."""
        return any(item["type"] != "reasoning" for item in self._output)

    def _phased(self, message: Mapping[str, Any]) -> None:
        """Messages have a field for that."""
        if isinstance(message.get("phase"), str):
            self._back["phase"] = message["phase"]

    def _move(self, what: str, call: Heard, text: str) -> Iterator[Event]:
        """A call of a tool begins, goes on or ends."""
        item = self._box.item(call.made)
        events, kind, written = _CALLS[item["type"]]
        if what == "begin":
            yield from self._before_calls(self._known())
            self._open = "custom" if item["type"] == "custom_tool_call" else "call"
            begun = {"id": self._item_id(kind), "status": "in_progress", **item, written: ""}
            yield self._at("response.output_item.added", item=begun)
        elif what == "write":
            yield self._at(f"response.{events}.delta", delta=text)
        else:
            yield from self._end_call({"id": self._item_id(kind), "status": "completed", **item})

    def _end_call(self, item: dict[str, Any]) -> Iterator[Event]:
        events, _, written = _CALLS[item["type"]]
        named = {"name": item["name"]} if written == "arguments" else {}
        yield self._at(f"response.{events}.done", **named, **{written: item[written]})
        self._open = ""
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _before_calls(self, more: dict[str, Any]) -> Iterator[Event]:
        """End what comes before a call, and tell what has to come back with it."""
        if self._open == "message":
            yield from self._end_message()
        if self._answered():
            yield from self._owed(more)
        else:
            yield from self._reasoned(more)

    def _known(self) -> dict[str, Any]:
        """What was heard so far that has to come back."""
        return owed({**self._more, "tool_calls": self._calling.marks}, {})

    def _owed(self, more: dict[str, Any]) -> Iterator[Event]:
        """What has to come back and was not told yet, after a part of the answer."""
        if rest := owed(more, self._back):
            yield from self._begin_reasoning(summary=False)
            yield from self._end_reasoning(rest, goes_on=True)

    def _reason(self, text: str) -> Iterator[Event]:
        """A piece of the model's reasoning, before its first word."""
        self._thoughts += text
        if not self._open:
            yield from self._begin_reasoning()
            text = text.removeprefix("\n\n")  # which stands between two items in one text
        self._thought += text
        yield self._at("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _text(self, text: str) -> Iterator[Event]:
        """A piece of what the model says."""
        if self._open != "message":
            yield from self._reasoned(self._more)
            yield from self._begin_message({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        self._spoken += text
        yield self._at("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def end(self, told: Told) -> Iterator[Event]:
        """The rest of the answer, and the whole of it in the last event."""
        decided = told.decision
        message = message_of(decided)
        more = beyond(message)
        self._phased(message)
        if self._open in ("call", "custom"):
            yield from self._rest(decided, more)
            yield from self._said(decided, message)
        else:
            yield from self._reasoned(more)
            yield from self._said(decided, message)
            yield from self._rest(decided, more)
        if self._begun_calls():
            yield from self._owed(more)
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

    def _rest(self, decided: Decision, more: dict[str, Any]) -> Iterator[Event]:
        """The calls of tools that were not told yet, or not whole."""
        for left in self._calling.rest(decided.tool_calls):
            if isinstance(left, ToolCall):
                yield from self._before_calls(more)
                yield from self._called(self._box.item(left))
            else:
                yield from self._move(*left)

    # --- items --------------------------------------------------------------------------------------------------------

    def _reasoned(self, more: dict[str, Any]) -> Iterator[Event]:
        """What was thought, and all else that has to come back, before there is anything else."""
        if self._open == "message" or self._answered():
            return
        if not self._open:
            known = len(self._back.get("reasoning_items", ()))
            for item in (more.get("reasoning_items") or ())[known:]:
                if not item.get("after"):
                    yield from self._thought_of(item)
            if self._back.get("reasoning_items"):
                self._back["reasoning_content"] = more.get("reasoning_content")
        more = owed(more, self._back)
        if "reasoning_items" in self._back:
            more.pop("reasoning_items", None)  # those that come later are told in their places
        text = reasoning_of(more).removeprefix(self._thoughts)
        if text:
            yield from self._reason(text)
        elif more and not self._open:
            yield from self._begin_reasoning(summary=False)
        yield from self._end_reasoning(more)

    def _thought_of(self, item: Mapping[str, Any]) -> Iterator[Event]:
        """An item of the model's own provider, which speaks this API too."""
        whole = {"type": "reasoning", "summary": [], **item, "id": self._item_id("rs")}
        if self._open:
            yield from self._end_summary()
            yield from self._close_reasoning(whole)
        else:
            yield from self._whole(whole)
        self._back["reasoning_items"] = [*self._back.get("reasoning_items", ()), item]
        self._back["reasoning_content"] = self._thoughts

    def _begin_reasoning(self, summary: bool = True) -> Iterator[Event]:
        self._open = "reasoning"
        item = {"id": self._item_id("rs"), "type": "reasoning", "summary": []}
        yield self._at("response.output_item.added", item=item)
        if summary:
            part = {"type": "summary_text", "text": ""}
            yield self._at("response.reasoning_summary_part.added", summary_index=0, part=part)

    def _end_reasoning(self, more: Mapping[str, Any], *, goes_on: bool = False) -> Iterator[Event]:
        if self._open != "reasoning":
            return
        unite(self._back, more)
        yield from self._end_summary()
        yield from self._close_reasoning(
            {
                "id": self._item_id("rs"),
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": self._thought}] if self._thought else [],
                "encrypted_content": packed(more, goes_on=goes_on) if more else None,
            }
        )

    def _end_summary(self) -> Iterator[Event]:
        if self._thought:
            part = {"type": "summary_text", "text": self._thought}
            yield self._at("response.reasoning_summary_text.done", summary_index=0, text=self._thought)
            yield self._at("response.reasoning_summary_part.done", summary_index=0, part=part)

    def _close_reasoning(self, item: dict[str, Any]) -> Iterator[Event]:
        self._open = self._thought = ""
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _said(self, decided: Decision, message: Mapping[str, Any]) -> Iterator[Event]:
        """The message: what of its text was not told yet, and a refusal after it."""
        words, refusal = text_of(message.get("content")), str(message.get("refusal") or "")
        parts: list[dict[str, Any]] = []
        rest = words.removeprefix(self._spoken)
        if self._open == "message" or rest or not (self._spoken or refusal or decided.tool_calls):
            logprobs = _logprobs(message)
            if self._open != "message":
                yield from self._begin_message({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
            if rest:
                self._spoken += rest
                yield self._at("response.output_text.delta", content_index=0, delta=rest, logprobs=logprobs)
            parts.append((yield from self._end_text([_mark(m) for m in message.get("annotations") or ()], logprobs)))
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

    def _end_text(self, marks: list[dict[str, Any]], logprobs: list[Any]) -> Generator[Event, None, dict[str, Any]]:
        """The end of what a message says; gives its part."""
        text = self._spoken[self._since :]
        for number, mark in enumerate(marks):
            at = {"content_index": 0, "annotation_index": number, "annotation": mark}
            yield self._at("response.output_text.annotation.added", **at)
        yield self._at("response.output_text.done", content_index=0, text=text, logprobs=logprobs)
        part = {"type": "output_text", "text": text, "annotations": marks, "logprobs": logprobs}
        yield self._at("response.content_part.done", content_index=0, part=part)
        return part

    def _end_message(self) -> Iterator[Event]:
        """A message is over, as a call of a tool begins."""
        part = yield from self._end_text([], [])
        item = self._message("completed", [part])
        self._open = ""
        yield self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _begin_message(self, part: dict[str, Any]) -> Iterator[Event]:
        self._open, self._since = "message", len(self._spoken)
        yield self._at("response.output_item.added", item=self._message("in_progress", []))
        yield self._at("response.content_part.added", content_index=0, part=part)

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        id = self._item_id("msg")
        phase = {"phase": self._back["phase"]} if "phase" in self._back else {}
        return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content, **phase}

    def _called(self, item: dict[str, Any]) -> Iterator[Event]:
        events, kind, written = _CALLS[item["type"]]
        self._open = "custom" if item["type"] == "custom_tool_call" else "call"
        item = {"id": self._item_id(kind), "status": "completed", **item}
        yield self._at("response.output_item.added", item={**item, "status": "in_progress", written: ""})
        if item[written]:
            yield self._at(f"response.{events}.delta", delta=item[written])
        yield from self._end_call(item)

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
        place: dict[str, Any] = {"output_index": len(self._output)}
        if "item" not in data:
            place["item_id"] = self._item_id(_KINDS[self._open])
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
    said = told.get("content") if isinstance(told, dict) else None
    return said if isinstance(said, list) else []


def _mark(mark: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation of the chat-completions API in this one's form."""
    kind = str(mark.get("type"))
    inner = mark.get(kind)
    return {"type": kind, **inner} if isinstance(inner, dict) else dict(mark)
