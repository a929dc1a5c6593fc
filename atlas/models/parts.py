"""Parts of messages that are no text: what of them a way to a model carries, and by what they may be named.

Nothing here or in a library between fetches what a caller names: it would be read with the rights of this machine, and
of its network. An address goes up where the provider takes one, and is refused elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atlas.errors import ModelError
from atlas.models.rules import Rules

_WORDS = frozenset({"text", "title", "context", "content", "filename", "thinking", "signature"})
"""Fields of parts whose texts are said, and name nothing."""


def check(name: str, messages: Iterable[Mapping[str, Any]], rules: Rules) -> bool:
    """Whether ``messages`` hold an address that goes up. Raises ModelError for a part that the way to model ``name``
    does not carry, and for an address that would be fetched on it."""
    named = False
    for part in _parts(messages):
        kind = str(part.get("type") or "part")
        if kind in rules.lost:
            raise ModelError(
                f"model {name!r} is given no {kind} part by litellm: leave it out, or use another model", status=400
            )
        for address in addresses(part):
            if kind not in rules.by_address or not address.startswith(rules.address):
                raise ModelError(
                    f"model {name!r} takes no {kind} by its address: send it within the message, as base64", status=400
                )
            named = True
    return named


def check_files(name: str, messages: Iterable[Mapping[str, Any]]) -> None:
    """Raise ModelError for a file that is named by its address: the chat-completions API knows none."""
    for part in _parts(messages):
        file = part.get("file")
        if part.get("type") == "file" and isinstance(file, Mapping) and is_address(file.get("file_id")):
            raise ModelError(
                f"model {name!r} takes no file by its address: send it within the message, as base64", status=400
            )


def is_address(value: Any) -> bool:
    """Whether it names something elsewhere."""
    return isinstance(value, str) and ("://" in value or value.startswith(("//", "www.")))


def addresses(part: Mapping[str, Any]) -> list[str]:
    """What of a part names something elsewhere."""
    return [text for text in _texts(part, "") if is_address(text)]


def _parts(messages: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content")
        yield from (part for part in content if isinstance(part, Mapping)) if isinstance(content, list) else ()


def _texts(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("type") != "text":
            for inner, more in value.items():
                yield from _texts(more, str(inner))
    elif isinstance(value, list | tuple):
        for more in value:
            yield from _texts(more, name)
    elif isinstance(value, str) and name not in _WORDS:
        yield value
