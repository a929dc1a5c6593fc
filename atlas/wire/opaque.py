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

OF_CALLS = frozenset({"id", "type", "function", "custom", "index"})
"""Fields of a tool call that every API has a place for."""

_GOES_ON = "goes_on"
"""Of what was packed: that it belongs to the answer before it, of which a part was told by then."""


def put_together(so_far: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add to what is known of a message beyond those fields what a piece of it holds."""
    for name, value in delta.items():
        known = so_far.get(name)
        if name in TOLD or value in (None, "", [], {}):
            continue
        if name == "thinking_blocks" and isinstance(value, list):
            so_far[name] = _blocks([*(known or ()), *value])
        elif isinstance(known, str) and isinstance(value, str):
            so_far[name] = known + value
        elif isinstance(known, list) and isinstance(value, list):
            so_far[name] = [*known, *value]
        else:
            so_far[name] = value


def _blocks(pieces: list[Any]) -> list[Any]:
    """Blocks of thinking, of which each goes on until it is signed."""
    made: list[Any] = []
    for piece in pieces:
        last = made[-1] if made else None
        if last is not None and _goes_on(last, piece):
            made[-1] = {**last, **piece, "thinking": f"{last.get('thinking') or ''}{piece.get('thinking') or ''}"}
        else:
            made.append(piece)
    return made


def _goes_on(last: Any, piece: Any) -> bool:
    both = [block for block in (last, piece) if isinstance(block, dict) and block.get("type") == "thinking"]
    return len(both) == 2 and not last.get("signature")


def beyond(message: Mapping[str, Any]) -> dict[str, Any]:
    """What an assistant message of the chat-completions API holds beyond those fields: reasoning, above all."""
    more = {name: value for name, value in message.items() if name not in TOLD and value not in (None, "", [], {})}
    calls = message.get("tool_calls") or ()
    own = ((call["id"], {k: v for k, v in call.items() if k not in OF_CALLS and v}) for call in calls)
    signed = {id: rest for id, rest in own if rest}
    return {**more, "tool_calls": signed} if signed else more


def owed(more: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``more`` was not ``told``, field by field: each is whole."""
    rest = {name: value for name, value in more.items() if name != "tool_calls" and told.get(name) != value}
    before = told.get("tool_calls") or {}
    calls = {id: marks for id, marks in (more.get("tool_calls") or {}).items() if before.get(id) != marks}
    return {**rest, "tool_calls": calls} if calls else rest


def unite(more: dict[str, Any], further: Mapping[str, Any]) -> None:
    """Add what was told later of the same answer."""
    calls = {**(more.get("tool_calls") or {}), **(further.get("tool_calls") or {})}
    more.update(further)
    if calls:
        more["tool_calls"] = calls


def goes_on(ours: dict[str, Any]) -> bool:
    """Whether what was unpacked belongs to the answer before it; the mark is taken out."""
    return bool(ours.pop(_GOES_ON, False))


def restored(message: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``message`` with what :func:`beyond` took from it."""
    signed = more.get("tool_calls") or {}
    whole = {**message, **{name: value for name, value in more.items() if name not in TOLD}}
    if signed and message.get("tool_calls"):
        whole["tool_calls"] = [{**call, **signed.get(call["id"], {})} for call in message["tool_calls"]]
    return whole


def packed(more: Mapping[str, Any], *, goes_on: bool = False) -> str:
    """``goes_on``: it belongs to the answer of which a part was told already."""
    if goes_on:
        more = {**more, _GOES_ON: True}
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
