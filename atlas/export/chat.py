"""Rows as the chat formats that fine-tuning takes: OpenAI's files, and what TRL's trainers read."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from atlas.export.preference import Pair
from atlas.export.rows import Row
from atlas.models.chat import to_dicts
from atlas.records import Message


def openai_sft(row: Row, without: Collection[str]) -> dict[str, Any]:
    """A line for OpenAI's supervised fine-tuning: ``messages``, and ``tools`` where the agent had any.

    Only the last assistant message is trained on: those before it, which may have been mistakes, carry ``weight`` 0.
    """
    messages = to_dicts([*row.messages(without), row.completion])
    for message in messages[:-1]:
        if message["role"] == "assistant":
            message["weight"] = 0
    return {"messages": messages, **_tools(row, parallel=True)}


def openai_preference(row: Row, pair: Pair, without: Collection[str]) -> dict[str, Any]:
    """A line for OpenAI's preference fine-tuning (DPO)."""
    return {
        "input": {"messages": to_dicts(row.messages(without)), **_tools(row, parallel=True)},
        "preferred_output": to_dicts([pair.chosen]),
        "non_preferred_output": to_dicts([pair.rejected]),
    }


def trl_sft(row: Row, without: Collection[str]) -> dict[str, Any]:
    """A row for TRL's SFTTrainer, conversational prompt-completion: the loss is on the completion alone."""
    return {"prompt": _templated(row.messages(without)), "completion": _templated([row.completion]), **_tools(row)}


def trl_preference(row: Row, pair: Pair, without: Collection[str]) -> dict[str, Any]:
    """A row for TRL's DPOTrainer, conversational preference with an explicit prompt."""
    return {
        "prompt": _templated(row.messages(without)),
        "chosen": _templated([pair.chosen]),
        "rejected": _templated([pair.rejected]),
        **_tools(row),
    }


def _tools(row: Row, *, parallel: bool = False) -> dict[str, Any]:
    schemas = row.prompt.tools
    if not schemas:
        return {}
    return {"tools": list(schemas), "parallel_tool_calls": True} if parallel else {"tools": list(schemas)}


def _templated(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages for a chat template: tool arguments as objects, since templates write them as JSON themselves."""
    shown = to_dicts(messages)
    for message in shown:
        message["content"] = message["content"] or ""
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = _object(call["function"]["arguments"])
    return shown


def _object(arguments: str) -> Any:
    """The arguments as an object; as written where they are none."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
