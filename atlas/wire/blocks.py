"""Content blocks of Anthropic's Messages API, and the messages of the chat-completions API that they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from atlas.errors import ConfigError
from atlas.wire.fields import field, need, objects
from atlas.wire.opaque import goes_on, restored, unite, unpacked

_HOSTED = ("server_tool_use", "container_upload", "fallback", "compaction")
"""Blocks of what Anthropic's own service did, with those whose type ends in ``_tool_result``."""

UNREADABLE = "INVALID_JSON"
"""The field that holds a call's arguments where they are no JSON object: the name is the one that Anthropic's
documentation tells clients to wrap them in."""


class Turns:
    """Reads messages in turn."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.left_out: set[str] = set()
        """What of them says nothing to a chat model."""

    def read(self, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """All messages in chat-completions form. A user's turn with the results of tools is one for each, and one."""
        for place, message in enumerate(messages):
            where = f"messages[{place}]."
            match message.get("role"):
                case "user":
                    self._user(message.get("content"), f"{where}content")
                case "assistant":
                    self._assistant(message.get("content"), f"{where}content")
                case "system":
                    self.messages.append({"role": "system", "content": self.content(message.get("content"), where)})
                case role:
                    raise ConfigError(f"'{where}role' is {role!r}: use user or assistant")
        return self.messages

    def content(self, given: Any, where: str) -> str | list[dict[str, Any]]:
        """Text, images and documents: text where it is nothing else."""
        if given is None or isinstance(given, str):
            return given or ""
        parts = []
        for place, block in enumerate(objects(given, where)):
            parts += self._parts(block, f"{where}[{place}].")
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            return str(parts[0]["text"])
        return parts

    def _user(self, given: Any, where: str) -> None:
        blocks = given if isinstance(given, list) else []
        results = [block for block in objects(blocks, where) if block.get("type") == "tool_result"]
        for block in results:
            self.messages.append(self._result(block, f"{where}."))
        rest = [block for block in blocks if block.get("type") != "tool_result"] if blocks else given
        if rest or not results:
            self.messages.append({"role": "user", "content": self.content(rest, where)})

    def _result(self, block: Mapping[str, Any], where: str) -> dict[str, Any]:
        seen = self.content(block.get("content"), f"{where}content")
        called = need(block, "tool_use_id", str, where)
        message: dict[str, Any] = {"role": "tool", "tool_call_id": called, "content": seen}
        if block.get("is_error"):
            message["is_error"] = True
        return _marked(message, block)

    def _assistant(self, given: Any, where: str) -> None:
        said: dict[str, Any] = {"role": "assistant", "content": None}
        more: dict[str, Any] = {}
        if isinstance(given, str):
            said["content"] = given
            given = None
        parts: list[dict[str, Any]] = []
        thinking: list[dict[str, Any]] = []
        for place, block in enumerate(objects(given, where)):
            here = f"{where}[{place}]."
            match block.get("type"):
                case "thinking" | "redacted_thinking" as kind:
                    ours = unpacked(block.get("signature" if kind == "thinking" else "data"))
                    if ours is None:
                        thinking.append(dict(block))
                    else:
                        goes_on(ours)
                        unite(more, ours)
                case "tool_use":
                    said.setdefault("tool_calls", []).append(_call(block, here))
                case _:
                    parts += self._parts(block, here)
        if thinking:
            # Those that were told later are whole.
            more.setdefault("thinking_blocks", thinking)
            text = "\n".join(block["thinking"] for block in thinking if isinstance(block.get("thinking"), str))
            more.setdefault("reasoning_content", text)
        if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
            said["content"] = parts[0]["text"]
        elif parts:
            said["content"] = parts
        if not said["content"]:
            said["content"] = None if more or "tool_calls" in said else ""
        self.messages.append(restored(said, {name: value for name, value in more.items() if value}))

    def _parts(self, block: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
        """A block as the parts of a message's content: none where it says nothing to a chat model."""
        if block.get("citations"):
            self.left_out.add("citations")
        match block.get("type"):
            case "text":
                return [_marked({"type": "text", "text": need(block, "text", str, where)}, block)]
            case "image":
                return [_marked(_image(need(block, "source", dict, where), f"{where}source."), block)]
            case "document":
                return self._document(block, where)
            case "search_result":
                found = [str(block[name]) for name in ("title", "source") if block.get(name)]
                found += [str(part.get("text") or "") for part in objects(block.get("content"), f"{where}content")]
                return [_marked({"type": "text", "text": "\n".join(found)}, block)]
            case "tool_reference":
                return [{"type": "text", "text": need(block, "tool_name", str, where)}]
            case str() as kind if kind in _HOSTED or kind.endswith("_tool_result"):
                self.left_out.add(kind)
                return []
            case kind:
                raise ConfigError(f"'{where}type' is {kind!r}, which no chat model takes: leave the block out")

    def _document(self, block: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
        source = need(block, "source", dict, where)
        title, context = field(block, "title", str, where), field(block, "context", str, where)
        about = "\n".join(filter(None, (title, context)))
        match source.get("type"):
            case "text":
                words = need(source, "data", str, f"{where}source.")
                return [_marked({"type": "text", "text": "\n\n".join(filter(None, (about, words)))}, block)]
            case "content":
                given = source.get("content")
                inner = self.content(given, f"{where}source.content")
                parts = [{"type": "text", "text": inner}] if isinstance(inner, str) else inner
            case "base64":
                kind = source.get("media_type") or "application/pdf"
                file = {"file_data": f"data:{kind};base64,{need(source, 'data', str, f'{where}source.')}"}
                parts = [{"type": "file", "file": {**file, "filename": title or "document.pdf"}}]
            case "url" | "file" as kind:
                # litellm takes a file by its address or by its id.
                named = need(source, "url" if kind == "url" else "file_id", str, f"{where}source.")
                parts = [{"type": "file", "file": {"file_id": named}}]
            case kind:
                raise ConfigError(f"'{where}source.type' is {kind!r}: use base64, text, content, url or file")
        parts = [*([{"type": "text", "text": about}] if about else []), *parts]
        return [*parts[:-1], _marked(parts[-1], block)] if parts else []


def _call(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    function = {"name": need(block, "name", str, where), "arguments": arguments_of(block.get("input"))}
    return _marked({"id": need(block, "id", str, where), "type": "function", "function": function}, block)


def arguments_of(given: Any) -> str:
    """The arguments of a call as the text that models write: compact, as most of them do."""
    if isinstance(given, dict) and given.keys() == {UNREADABLE} and isinstance(given[UNREADABLE], str):
        return str(given[UNREADABLE])
    return json.dumps({} if given is None else given, ensure_ascii=False, separators=(",", ":"))


def input_of(arguments: str) -> dict[str, Any]:
    """The arguments of a call as the object that the Messages API wants."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {UNREADABLE: arguments}


def _image(source: Mapping[str, Any], where: str) -> dict[str, Any]:
    match source.get("type"):
        case "base64":
            kind = need(source, "media_type", str, where)
            return {
                "type": "image_url",
                "image_url": {"url": f"data:{kind};base64,{need(source, 'data', str, where)}"},
            }
        case "url":
            return {"type": "image_url", "image_url": {"url": need(source, "url", str, where)}}
        case "file":
            return {"type": "file", "file": {"file_id": need(source, "file_id", str, where)}}
        case kind:
            raise ConfigError(f"'{where}type' is {kind!r}: use base64, url or file")


def _marked(made: dict[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    mark = block.get("cache_control")
    return made if mark is None else {**made, "cache_control": mark}
