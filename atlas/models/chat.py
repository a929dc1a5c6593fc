"""Records as the dictionaries that chat APIs and chat templates take, and the seed of each sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from atlas.calling import call_lines
from atlas.framing import untokened
from atlas.records import Ask, Message, ToolCall


def to_dicts(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages in the OpenAI chat format, tool calls and tool results included; as they were sent, where they hold more
    than our records do."""
    return [_to_dict(message) for message in messages]


def _to_dict(message: Message) -> dict[str, Any]:
    if message.sent is not None:
        return dict(message.sent)
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        out["content"] = message.content or None
        out["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    return out


def _call(call: ToolCall) -> dict[str, Any]:
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def plain_turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    """The messages for a small model's chat template: text only, system first, then user and assistant in turn.

    Such templates know no tools, and many refuse two turns of one role in a row: tool calls become text
    (:mod:`atlas.calling`), tool results become user turns, and neighbours of one role are joined, a line each.
    """
    turns: list[dict[str, str]] = []
    for message in messages:
        role = message.role if message.role in ("system", "assistant") else "user"
        if role == "system" and any(turn["role"] != "system" for turn in turns):
            role = "user"
        content = call_lines(message.content, message.tool_calls)
        if message.role != "system":  # a turn may hold what a world or a tool wrote
            content = untokened(content)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n{content}"
        else:
            turns.append({"role": role, "content": content})
    if not any(turn["role"] == "user" for turn in turns):
        turns.append({"role": "user", "content": ""})
    return turns


def end_of_turn(template: Callable[[list[dict[str, str]]], str]) -> str:
    """What a chat template writes after an answer; its first token is the one that ends a turn."""
    turns = [("user", "U1"), ("assistant", "A1"), ("user", "U2")]
    text = template([{"role": role, "content": content} for role, content in turns])
    return text.partition("A1")[2].partition("U2")[0]


def seed_of(ask: Ask, sample: int) -> int:
    """The seed of sample number ``ask.first + sample``: the same whether it is drawn alone or with others. 31 bits."""
    key = f"{ask.view.moment}|{ask.purpose}|{ask.first + sample}"
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") >> 1
