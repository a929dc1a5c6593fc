"""The tools of the Responses API: what a chat model is offered in their place, and whose call an answer's is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atlas.errors import ConfigError
from atlas.records import ToolCall
from atlas.wire.fields import need, objects
from atlas.wire.free_text import FreeText

_LONGEST = 64
"""Letters in the name of a function."""


def joined(namespace: str, name: str) -> str:
    """The one name under which a chat model knows a tool of a namespace."""
    if not namespace:
        return name
    whole = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    if len(whole) <= _LONGEST:
        return whole
    return f"{whole[: _LONGEST - 9]}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


@dataclass
class Toolbox:
    """The tools of one request."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    """In chat-completions form."""
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(namespace, name) of each, by the name that chat models know."""
    custom: set[str] = field(default_factory=set)
    """The names of those that take free text."""
    absent: list[str] = field(default_factory=list)
    """The types of those that only OpenAI's own service, or a model made for them, can use."""

    def add(self, given: Iterable[Mapping[str, Any]], namespace: str = "") -> None:
        for tool in given:
            match tool.get("type"):
                case "function":
                    self._keep(tool, namespace, {"type": "function", "function": _function(tool)})
                case "custom":
                    self._keep(tool, namespace, {"type": "custom", "custom": _custom(tool)})
                case "namespace" if not namespace:
                    inner = objects(tool.get("tools"), "tools.tools")
                    self.add(inner, need(tool, "name", str, "tools."))
                case kind:
                    self.absent.append(str(kind))

    def _keep(self, tool: Mapping[str, Any], namespace: str, made: dict[str, Any]) -> None:
        name = joined(namespace, need(tool, "name", str, "tools."))
        if self.owners.get(name, (namespace, tool["name"])) != (namespace, tool["name"]):
            raise ConfigError(f"two tools would be known as {name!r}: give one of them another name")
        if name in self.owners:
            return
        made[made["type"]]["name"] = name
        self.tools.append(made)
        self.owners[name] = (namespace, tool["name"])
        if made["type"] == "custom":
            self.custom.add(name)

    def only(self, names: Iterable[str]) -> None:
        """Leave the tools of these names alone."""
        kept = set(names)
        self.tools = [tool for tool in self.tools if tool[tool["type"]]["name"] in kept]

    def item(self, call: ToolCall) -> dict[str, Any]:
        """A model's call as an item of the output, but for its id and status."""
        namespace, name = self.owners.get(call.name, ("", call.name))
        item: dict[str, Any] = {"call_id": call.id, "name": name}
        if namespace:
            item["namespace"] = namespace
        if call.kind == "custom" or call.name in self.custom:
            return {"type": "custom_tool_call", **item, "input": _free(call)}
        return {"type": "function_call", **item, "arguments": call.arguments}


def _free(call: ToolCall) -> str:
    """The text of a call to a custom tool, as far as it was written; its arguments where they are of another form."""
    free = FreeText()
    return free.text if call.kind == "function" and free.read(call.arguments) else call.arguments


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    named = ("name", "description", "parameters", "strict")
    return {name: tool[name] for name in named if tool.get(name) is not None}


def _custom(tool: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: tool[name] for name in ("name", "description") if tool.get(name) is not None}
    written = tool.get("format")
    if isinstance(written, dict) and written.get("type") == "grammar":
        grammar = {name: value for name, value in written.items() if name != "type"}
        return {**made, "format": {"type": "grammar", "grammar": grammar}}
    return {**made, "format": written} if written is not None else made
