"""The chunks of a streamed chat completion, put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas.models.answers import LISTS, WORDS, Unreadable, objects


class Pieces:
    """One choice of a stream, with every field that the server sent."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish: Any = None

    def add(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """Take a chunk; its delta, where it has one that says something. Raises Unreadable where it is none."""
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._head[name] = value
        choices = chunk.get("choices")
        choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
        self._finish = choice.get("finish_reason") or self._finish
        for name, told in _object(choice.get("logprobs")).items():
            if isinstance(told, list):
                self._logprobs.setdefault(name, []).extend(told)
        said = _object(choice.get("delta"))
        delta = {name: value for name, value in said.items() if value not in (None, "", [])}
        _check(delta)
        for name, value in delta.items():
            if name == "tool_calls":
                for call in value:
                    place = call.get("index", len(self._calls))
                    _join(self._calls.setdefault(place, {}), {k: v for k, v in call.items() if k != "index"})
            elif name != "role":
                _join(self._message, {name: value})
        return delta

    def whole(self) -> dict[str, Any]:
        """The chat completion; without choices where nothing came. Raises ConnectionError where neither a reason to
        finish nor the usage came: the answer may be half of one."""
        if not self._message and not self._calls and self._finish is None:
            return {"choices": None}
        if self._finish is None and "usage" not in self._head:
            raise ConnectionError("the stream ended before its answer did")
        message = {"role": "assistant", "content": None, **self._message}
        if self._calls:
            message["tool_calls"] = [self._calls[place] for place in sorted(self._calls)]
        choice = {"index": 0, "message": message, "finish_reason": self._finish, "logprobs": self._logprobs or None}
        return {**self._head, "object": "chat.completion", "choices": [choice]}


def _check(delta: Mapping[str, Any]) -> None:
    """Raise Unreadable for a delta whose fields are not of the types that they have: who hears it joins them."""
    if not (
        isinstance(delta.get("content"), str | list | None)
        and all(isinstance(delta.get(name), str | None) for name in WORDS)
        and all(objects(delta.get(name)) for name in (*LISTS, "tool_calls"))
    ):
        raise Unreadable
    for call in delta.get("tool_calls") or ():
        inner = _object(call.get("function")) or _object(call.get("custom"))
        texts = (call.get("id"), *(inner.get(name) for name in ("name", "arguments", "input")))
        if not isinstance(call.get("index", 0), int) or not all(isinstance(text, str | None) for text in texts):
            raise Unreadable


def _object(value: Any) -> Mapping[str, Any]:
    """``value``, or nothing where there is none. Raises Unreadable for anything but an object."""
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise Unreadable
    return value


_NAMES = frozenset({"id", "type", "name", "role", "format"})
"""Fields that are told whole: some servers tell them again with each piece."""


def _join(so_far: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add ``more`` to what is known: texts and lists go on, objects are joined, all else is replaced."""
    for name, value in more.items():
        known = so_far.get(name)
        if isinstance(known, str) and isinstance(value, str):
            so_far[name] = value if name in _NAMES else known + value
        elif isinstance(known, list) and isinstance(value, list):
            so_far[name] = [*known, *value]
        elif isinstance(known, dict) and isinstance(value, Mapping):
            _join(known, value)
        elif value is not None:
            so_far[name] = dict(value) if isinstance(value, Mapping) else value
