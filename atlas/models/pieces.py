"""The chunks of a streamed chat completion, put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Pieces:
    """One choice of a stream, with every field that the server sent."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish: Any = None

    def add(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """Take a chunk; its delta, where it has one that says something."""
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._head[name] = value
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        self._finish = choice.get("finish_reason") or self._finish
        for name, told in (choice.get("logprobs") or {}).items():
            if isinstance(told, list):
                self._logprobs.setdefault(name, []).extend(told)
        delta = {name: value for name, value in (choice.get("delta") or {}).items() if value not in (None, "", [])}
        for name, value in delta.items():
            if name == "tool_calls":
                for call in value:
                    place = call.get("index", len(self._calls))
                    _join(self._calls.setdefault(place, {}), {k: v for k, v in call.items() if k != "index"})
            elif name != "role":
                _join(self._message, {name: value})
        return delta

    def whole(self) -> dict[str, Any]:
        """The chat completion; without choices where nothing came."""
        if not self._message and not self._calls and self._finish is None:
            return {"choices": None}
        message = {"role": "assistant", "content": None, **self._message}
        if self._calls:
            message["tool_calls"] = [self._calls[place] for place in sorted(self._calls)]
        choice = {"index": 0, "message": message, "finish_reason": self._finish, "logprobs": self._logprobs or None}
        return {**self._head, "object": "chat.completion", "choices": [choice]}


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
