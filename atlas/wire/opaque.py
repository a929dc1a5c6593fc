"""What an answer holds that an API has no field for, in a text that its clients send back as they got it.

Clients of the Responses API return the ``encrypted_content`` of a reasoning item, clients of the Messages API the
``signature`` of a thinking block. Where a model's provider wrote none, ours goes there. Nothing is encrypted: it holds
what the client was going to be told, and nothing that it could not have sent itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any

_MARK = "atlas1."
_LARGEST = 16 * 1024 * 1024
"""Bytes that a text may hold when unpacked."""

TOLD = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "annotations", "logprobs"})
"""Fields of an assistant message that every API has a place for, or that are no part of the conversation."""


def beyond(message: Mapping[str, Any]) -> dict[str, Any]:
    """What an assistant message of the chat-completions API holds beyond those fields: reasoning, above all."""
    more = {name: value for name, value in message.items() if name not in TOLD and value not in (None, "", [], {})}
    calls = message.get("tool_calls") or ()
    known = {"id", "type", "function", "custom", "index"}
    signed = {call["id"]: rest for call in calls if (rest := {k: v for k, v in call.items() if k not in known and v})}
    return {**more, "tool_calls": signed} if signed else more


def restored(message: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``message`` with what :func:`beyond` took from it."""
    signed = more.get("tool_calls") or {}
    whole = {**message, **{name: value for name, value in more.items() if name not in TOLD}}
    if signed and message.get("tool_calls"):
        whole["tool_calls"] = [{**call, **signed.get(call["id"], {})} for call in message["tool_calls"]]
    return whole


def packed(more: Mapping[str, Any]) -> str:
    text = json.dumps(more, ensure_ascii=True, separators=(",", ":"))
    return _MARK + base64.b64encode(zlib.compress(text.encode())).decode()


def unpacked(text: Any) -> dict[str, Any] | None:
    """What :func:`packed` was given; None where ``text`` is another's, or was changed."""
    if not isinstance(text, str) or not text.startswith(_MARK):
        return None
    try:
        inflated = zlib.decompressobj()
        data = inflated.decompress(base64.b64decode(text[len(_MARK) :], validate=True), _LARGEST)
        more = json.loads(data) if inflated.eof else None
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return None
    calls = more.get("tool_calls", {}) if isinstance(more, dict) else None
    return more if isinstance(calls, dict) and all(isinstance(call, dict) for call in calls.values()) else None


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The reasoning of an assistant message as text, whatever its provider calls it."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    blocks = message.get("thinking_blocks")
    texts = [block.get("thinking") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return "\n".join(text for text in texts if isinstance(text, str) and text)
