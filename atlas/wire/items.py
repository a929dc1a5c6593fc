"""Items of the Responses API, and the messages of the chat-completions API that they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from atlas.errors import ConfigError
from atlas.wire.fields import need, objects
from atlas.wire.opaque import goes_on, restored, unite, unpacked
from atlas.wire.toolbox import joined

_ROLES = ("user", "assistant", "system", "developer")
_TOLD_ALREADY = frozenset(
    {
        "code_interpreter_call",
        "file_search_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
"""What OpenAI's own service did between two turns: what came of it stands in the answer."""


class Talk:
    """Reads items in turn. A response's items of one answer (reasoning, a message, calls) are one assistant message."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.tools: list[dict[str, Any]] = []
        """Those that items brought along."""
        self.left_out: set[str] = set()
        """The types of items that say nothing to a chat model."""
        self._said: dict[str, Any] | None = None
        """The assistant message that is being read."""
        self._more: dict[str, Any] = {}

    def read(self, items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """All messages."""
        for place, item in enumerate(items):
            self._item(item, f"input[{place}].")
        self._close()
        return self.messages

    def _item(self, item: Mapping[str, Any], where: str) -> None:
        match item.get("type") or "message":
            case "message" if item.get("role") == "assistant":
                self._spoken(item, where)
            case "message":
                self._shown(item, where)
            case "reasoning":
                self._reasoned(item, where)
            case "function_call":
                function = {"name": _name(item, where), "arguments": need(item, "arguments", str, where)}
                self._call({"id": need(item, "call_id", str, where), "type": "function", "function": function})
            case "custom_tool_call":
                custom = {"name": _name(item, where), "input": need(item, "input", str, where)}
                self._call({"id": need(item, "call_id", str, where), "type": "custom", "custom": custom})
            case "function_call_output" | "custom_tool_call_output":
                self._close()
                called = need(item, "call_id", str, where)
                seen = content_of(item.get("output"), f"{where}output")
                self.messages.append({"role": "tool", "tool_call_id": called, "content": seen})
            case "additional_tools":
                self.tools += objects(item.get("tools"), f"{where}tools")
            case kind if kind in _TOLD_ALREADY:
                self.left_out.add(kind)
            case kind:
                raise ConfigError(f"'{where}type' is {kind!r}, which no chat model takes: leave the item out")

    def _shown(self, item: Mapping[str, Any], where: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise ConfigError(f"'{where}role' is {role!r}: use user, assistant, system or developer")
        self._close()
        self.messages.append({"role": role, "content": content_of(item.get("content"), f"{where}content")})

    def _spoken(self, item: Mapping[str, Any], where: str) -> None:
        if self._said is not None and "content" in self._said and "tool_calls" not in self._said:
            self._close()
        said = self._open()
        content, more = _words(item.get("content"), f"{where}content")
        if "content" in said and isinstance(said["content"], str) and isinstance(content, str):
            said["content"] = f"{said['content']}\n\n{content}"
        elif "content" in said:
            said["content"] = [*_parts(said["content"]), *_parts(content)]
        else:
            said["content"] = content
        said.update(more)
        if item.get("phase") is not None:
            said["phase"] = need(item, "phase", str, where)

    def _reasoned(self, item: Mapping[str, Any], where: str) -> None:
        ours = unpacked(item.get("encrypted_content"))
        same = ours is not None and goes_on(ours)
        if self._said is not None and "content" in self._said and "tool_calls" not in self._said and not same:
            self._close()
        self._open()
        if ours is not None:
            unite(self._more, ours)
        elif item.get("encrypted_content") is not None:
            kept = {name: item[name] for name in ("type", "summary", "content", "encrypted_content") if item.get(name)}
            self._more.setdefault("reasoning_items", []).append({"summary": [], **kept})
        else:
            told = objects(item.get("content"), f"{where}content") or objects(item.get("summary"), f"{where}summary")
            text = "\n\n".join(str(part.get("text") or "") for part in told)
            if text:
                self._more["reasoning_content"] = "\n\n".join(filter(None, (self._more.get("reasoning_content"), text)))

    def _call(self, call: dict[str, Any]) -> None:
        self._open().setdefault("tool_calls", []).append(call)

    def _open(self) -> dict[str, Any]:
        if self._said is None:
            self._said = {"role": "assistant"}
        return self._said

    def _close(self) -> None:
        if self._said is None:
            return
        said, more = self._said, self._more
        self._said, self._more = None, {}
        if said.keys() == {"role"} and not more:
            return  # reasoning of which nothing was told
        if not said.get("content") and (more or len(said) > 2 or "content" not in said):
            said["content"] = None  # clients say nothing by an empty text
        self.messages.append(restored(said, more))


def content_of(given: Any, where: str) -> str | list[dict[str, Any]]:
    """The content of a message or of a tool's result: text where it is nothing else."""
    if given is None or isinstance(given, str):
        return given or ""
    parts = [_part(part, f"{where}[{place}].") for place, part in enumerate(objects(given, where))]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _words(given: Any, where: str) -> tuple[str | list[dict[str, Any]] | None, dict[str, Any]]:
    """An assistant's content, and what the message holds beside it: a refusal, and what the text refers to."""
    if given is None or isinstance(given, str):
        return given or "", {}
    parts, more = [], {}
    for place, part in enumerate(objects(given, where)):
        if part.get("type") == "refusal":
            more["refusal"] = need(part, "refusal", str, f"{where}[{place}].")
            continue
        parts.append(_part(part, f"{where}[{place}]."))
        if part.get("annotations"):
            marks = objects(part["annotations"], f"{where}[{place}].annotations")
            more["annotations"] = [*more.get("annotations", []), *map(_mark, marks)]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"]), more
    return parts or (None if more else ""), more


def _parts(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []


def _part(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A part of a message's content; fields that both APIs have stay as they are."""
    kept = {name: part[name] for name in ("prompt_cache_breakpoint", "cache_control") if part.get(name) is not None}
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": need(part, "text", str, where), **kept}
        case "input_image":
            if part.get("image_url") is None:
                raise ConfigError(f"'{where}image_url' is missing: chat models take no image by its 'file_id'")
            image = {"url": need(part, "image_url", str, where)}
            if part.get("detail") is not None:
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image, **kept}
        case "input_file":
            file = {name: part[name] for name in ("file_data", "file_id", "filename") if part.get(name) is not None}
            if part.get("file_url") is not None:
                # The form in which litellm takes a file by its address.
                file["file_id"] = part["file_url"]
            return {"type": "file", "file": file, **kept}
        case "input_audio":
            return {"type": "input_audio", "input_audio": need(part, "input_audio", dict, where), **kept}
        case kind:
            raise ConfigError(f"'{where}type' is {kind!r}, which no chat model takes: leave the part out")


def _name(item: Mapping[str, Any], where: str) -> str:
    return joined(str(item.get("namespace") or ""), need(item, "name", str, where))


def _mark(mark: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation in chat-completions form."""
    kind = mark.get("type")
    if kind != "url_citation":
        return dict(mark)
    return {"type": kind, kind: {name: value for name, value in mark.items() if name != "type"}}
