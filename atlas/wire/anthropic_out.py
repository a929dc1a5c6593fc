"""An answer of Anthropic's Messages API, event by event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from atlas.records import Decision, ToolCall, Usage
from atlas.wire.blocks import input_of
from atlas.wire.calling import Calling, Heard
from atlas.wire.chat import message_of
from atlas.wire.opaque import beyond, owed, packed, put_together, reasoning_of, unite
from atlas.wire.request import Told
from atlas.wire.responses_out import text_of

Event = tuple[str, dict[str, Any]]

_STOPPED = {"length": "max_tokens", "content_filter": "refusal"}


class Writer:
    """Writes an answer as it is made: :meth:`begin`, then each :meth:`part` as it comes, then :meth:`end`, which adds
    all that was not told yet. Without any of what comes in between, :meth:`end` tells the whole.

    ``asked`` says whether the client wants to see what the model thought, and ``display`` how. A client that did not
    ask is told of it only beside calls of tools, where it has to come back for the next turn: others look for the text
    in the first block.
    """

    def __init__(self, id: str, model: str, *, asked: bool, display: str | None) -> None:
        self._id, self._model, self._asked, self._shown = id, model, asked, display != "omitted"
        self._called = False
        """Whether a call of a tool was begun: nothing is said after that but calls, until the end."""
        self._blocks = 0
        """How many are done."""
        self._thought = ""
        self._spoken = ""
        self._open = ""
        """The type of the block that is being told."""
        self._more: dict[str, Any] = {}
        """What was heard of the answer that this API has no place for, its reasoning above all."""
        self._back: dict[str, Any] = {}
        """What of that the client was told, to be sent back."""
        # What is no object is told whole: it has to be wrapped into one.
        self._calling = Calling(lambda call: call.kind == "function" and call.written.lstrip().startswith("{"))

    def begin(self, usage: Usage | None = None) -> Iterator[Event]:
        """To be sent before anything else; ``usage`` where it is known by then."""
        yield _event("message_start", message=self._message([], None, tokens(usage or Usage())))

    def part(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        """A piece of the answer, as a delta of the chat-completions API."""
        put_together(self._more, delta)
        if delta.get("reasoning_content"):
            yield from self._reason(str(delta["reasoning_content"]))
        if delta.get("content") and not self._called:
            yield from self._text(str(delta["content"]))
        for what, call, text in self._calling.heard(delta.get("tool_calls") or ()):
            yield from self._move(what, call, text)

    def _move(self, what: str, call: Heard, text: str) -> Iterator[Event]:
        """A call of a tool begins, goes on or ends."""
        if what == "begin":
            yield from self._before_calls(self._known())
            yield from self._start("tool_use", id=call.id, name=call.name, input={})
            self._called = True
        elif what == "write":
            yield self._delta("input_json_delta", partial_json=text)
        else:
            yield self._stop()

    def _before_calls(self, more: dict[str, Any]) -> Iterator[Event]:
        """End what comes before a call, and tell what the model thought: it has to come back with the call."""
        if self._open == "text":
            yield self._stop()
        if self._blocks:
            yield from self._owed(more)
            return
        for block in self._thinking(True, more):
            yield from self._think(block)
        if self._open:
            yield self._stop()
        unite(self._back, more)

    def _known(self) -> dict[str, Any]:
        """What was heard so far that has to come back."""
        return owed({**self._more, "tool_calls": self._calling.marks}, {})

    def _owed(self, more: dict[str, Any]) -> Iterator[Event]:
        """What has to come back and was not told yet, after a part of the answer."""
        if rest := owed(more, self._back):
            yield from self._start("redacted_thinking", data=packed(rest, goes_on=True))
            yield self._stop()
            unite(self._back, rest)

    def _reason(self, text: str) -> Iterator[Event]:
        """A piece of the model's reasoning, before its first word; not told to a client that did not ask."""
        if not (self._asked and self._shown) or self._blocks or self._open == "text":
            return
        if not self._open:
            yield from self._start("thinking", thinking="", signature="")
        self._thought += text
        yield self._delta("thinking_delta", thinking=text)

    def _text(self, text: str) -> Iterator[Event]:
        """A piece of what the model says."""
        if self._open == "thinking":
            signed = next((b["signature"] for b in self._more.get("thinking_blocks", ()) if b.get("signature")), "")
            # What is known by now comes back with it: all but what is heard later.
            told = {n: value for n, value in self._more.items() if n != "thinking_blocks"}
            if signed:
                told = {n: self._more[n] for n in ("reasoning_content", "thinking_blocks") if n in self._more}
            yield self._delta("signature_delta", signature=signed or packed(told))
            yield self._stop()
            self._back |= told
        if not self._open:
            yield from self._start("text", text="")
        self._spoken += text
        yield self._delta("text_delta", text=text)

    def end(self, told: Told) -> Iterator[Event]:
        """The rest of the answer."""
        message = message_of(told.decision)
        began = self._blocks or self._open == "text"
        more = beyond(message)
        blocks = self._content(told.decision, message)
        if self._called:
            yield from self._rest(told.decision, more)
        for block in blocks:
            if block["type"].endswith("thinking") and not began and not self._called:
                yield from self._think(block)
        words = "".join(block["text"] for block in blocks if block["type"] == "text").removeprefix(self._spoken)
        if words or (not self._spoken and any(block["type"] == "text" for block in blocks)):
            yield from self._text(words)
        if self._open:
            yield self._stop()
        if not self._called:
            unite(self._back, {} if began else more)
            yield from self._rest(told.decision, more)
        delta = {"stop_reason": stop_of(told.decision, message), "stop_sequence": None, "stop_details": None}
        yield _event("message_delta", delta=delta, usage=tokens(told.usage, cumulative=True))
        yield _event("message_stop")

    def _rest(self, decided: Decision, more: dict[str, Any]) -> Iterator[Event]:
        """The calls of tools that were not told yet, or not whole, and what comes back with them."""
        for left in self._calling.rest(decided.tool_calls):
            if isinstance(left, ToolCall):
                yield from self._before_calls(more)
                block = _use(left)
                yield from self._start("tool_use", id=block["id"], name=block["name"], input={})
                yield self._delta("input_json_delta", partial_json=json.dumps(block["input"], ensure_ascii=False))
                yield self._stop()
            else:
                yield from self._move(*left)
        if decided.tool_calls:
            yield from self._owed(more)

    def whole(self, told: Told) -> dict[str, Any]:
        """The answer as one object."""
        message = message_of(told.decision)
        content = self._content(told.decision, message)
        return self._message(content, stop_of(told.decision, message), tokens(told.usage))

    def broken(self, message: str, code: str | None) -> Event:
        """The last event of a stream whose answer failed on its way."""
        return _event("error", error={"type": "api_error", "message": message})

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _content(self, decided: Decision, message: dict[str, Any]) -> list[dict[str, Any]]:
        blocks = self._thinking(bool(decided.tool_calls), beyond(message))
        words = text_of(message.get("content")) or str(message.get("refusal") or "")
        if words or not decided.tool_calls:
            blocks.append({"type": "text", "text": words})
        return [*blocks, *map(_use, decided.tool_calls)]

    def _thinking(self, called: bool, more: dict[str, Any]) -> list[dict[str, Any]]:
        """What the model thought, and ``more`` that has to come back: in its provider's own blocks where it signed
        them, else in one that is signed by what else has to come back."""
        if not (self._asked or called):
            return []
        blocks = [dict(block) for block in _signed(more.get("thinking_blocks"))]
        text = reasoning_of(more)
        if not blocks:
            if not more:
                return []
            if not text:
                return [{"type": "redacted_thinking", "data": packed(more)}]
            shown = text if self._shown and self._asked else ""
            return [{"type": "thinking", "thinking": shown, "signature": packed(more)}]
        rest = {name: value for name, value in more.items() if name != "thinking_blocks"}
        if text == "\n".join(block["thinking"] for block in blocks if block.get("thinking")):
            rest.pop("reasoning_content", None)
        return [*blocks, {"type": "redacted_thinking", "data": packed(rest)}] if rest else blocks

    def _think(self, block: dict[str, Any]) -> Iterator[Event]:
        """A block of reasoning, but for what was told of it."""
        if block["type"] == "redacted_thinking":
            if self._open:
                yield self._stop()
            yield from self._start("redacted_thinking", data=block["data"])
            yield self._stop()
            return
        if not self._open:
            yield from self._start("thinking", thinking="", signature="")
        rest = str(block.get("thinking") or "").removeprefix(self._thought)
        self._thought = ""
        if rest:
            yield self._delta("thinking_delta", thinking=rest)
        yield self._delta("signature_delta", signature=str(block.get("signature") or ""))
        yield self._stop()

    def _message(self, content: list[dict[str, Any]], stop: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage,
        }

    # --- events -------------------------------------------------------------------------------------------------------

    def _start(self, kind: str, **block: Any) -> Iterator[Event]:
        self._open = kind
        yield _event("content_block_start", index=self._blocks, content_block={"type": kind, **block})

    def _delta(self, kind: str, **delta: Any) -> Event:
        return _event("content_block_delta", index=self._blocks, delta={"type": kind, **delta})

    def _stop(self) -> Event:
        self._open = ""
        self._blocks += 1
        return _event("content_block_stop", index=self._blocks - 1)


def _use(call: ToolCall) -> dict[str, Any]:
    given = {"input": call.arguments} if call.kind == "custom" else input_of(call.arguments)
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _event(event: str, **data: Any) -> Event:
    return event, {"type": event, **data}


def stop_of(decided: Decision, message: dict[str, Any]) -> str:
    """Why the model stopped, as this API says it. Which stop sequence it met, chat models do not tell."""
    if decided.finish in _STOPPED:
        return _STOPPED[decided.finish]
    if message.get("refusal"):
        return "refusal"
    return "tool_use" if decided.tool_calls else "end_turn"


def tokens(usage: Usage, cumulative: bool = False) -> dict[str, Any]:
    """The usage as this API tells it: what was read from a cache or written to it is not in ``input_tokens``.
    ``cumulative`` is the form at the end of a stream."""
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    told: dict[str, Any] = {
        "input_tokens": max(0, fresh),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told if cumulative else {**told, "service_tier": "standard"}


def _signed(blocks: Any) -> list[dict[str, Any]]:
    """The blocks that Anthropic's models sign, where all of them are such."""
    given = blocks if isinstance(blocks, list) else []
    known = [b for b in given if isinstance(b, dict) and (b.get("signature") or b.get("type") == "redacted_thinking")]
    return known if len(known) == len(given) else []
