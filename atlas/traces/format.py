"""The trace file: one JSON object per line, in the order things happened.

Four kinds of line: ``start`` (an episode begins), ``step``, ``end`` (its result), and ``text`` (a text that steps refer
to by its hash). An episode without an ``end`` was cut off; its steps and what they cost still count. A step's prompt is
stored as what it adds: the stable part and the guidance by hash, the number of history messages kept from the step
before and the new ones, each retrieved example by hash, and the rest in full. :func:`unpack_prompt` gives the prompt
back exactly.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from atlas.records import Message, Prompt, content_hash

SCHEMA = 2
"""Raised when a reader of an older version could misread a newer file."""
GROWN = 3
"""Of runs that an older reader would misread: episodes were taken out, or the trace is in segments."""
READS = (1, 2, 3)
"""In 1 the prompt and the spend of a step stood with its decision."""

STEP = re.compile(rb'\{"type":"step","episode":"([^"\\]+)"')
"""How the writer begins a step's line: enough to know whose it is without parsing it."""
TEXT = re.compile(rb'\{"type":"text","hash":"([0-9a-f]+)"')
END = re.compile(rb'\{"type":"end","id":"([^"\\]+)"')
EVENT = re.compile(rb'\{"type":"(supervised|learned|resumed|named)"')
PRUNED = re.compile(rb'\{"type":"pruned"')


def pack_prompt(prompt: Prompt, before: Prompt) -> tuple[dict[str, Any], dict[str, str]]:
    """``prompt`` as the difference from the prompt ``before`` in the same episode, and the texts it names by hash."""
    stable, kept = text_hash(prompt.stable), _shared(prompt.history, before.history)
    texts = {stable: prompt.stable}
    packed: dict[str, Any] = {"stable": stable, "kept": kept}
    if len(prompt.history) > kept:
        packed["added"] = [_message(m) for m in prompt.history[kept:]]
    if prompt.guidance:
        packed["guidance"] = text_hash(prompt.guidance)
        texts[packed["guidance"]] = prompt.guidance
    if len(prompt.examples) > 1:
        numbers, rests = zip(*prompt.examples, strict=True)
        hashes = [*map(text_hash, rests)]
        packed["retrieved"] = [*zip(numbers, hashes, strict=True)]
        texts.update(zip(hashes, rests, strict=True))
    elif prompt.retrieved:
        packed["retrieved"] = prompt.retrieved
    if prompt.advice:
        packed["advice"] = prompt.advice
    if prompt.ask:
        packed["ask"] = prompt.ask
    if prompt.lasting:
        packed["lasting"] = True
    if prompt.tools:
        schemas = json.dumps(prompt.tools, ensure_ascii=False, default=str)
        packed["tools"] = text_hash(schemas)
        texts[packed["tools"]] = schemas
    return packed, texts


def unpack_prompt(packed: dict[str, Any], before: Prompt, texts: dict[str, str]) -> Prompt:
    """The inverse of :func:`pack_prompt`; ``texts`` maps hashes to texts.

    Raises KeyError or ValueError where the step before, or a text, is missing.
    """
    if packed["kept"] > len(before.history):
        raise ValueError("the step before is missing")
    retrieved = packed.get("retrieved", "")
    if not isinstance(retrieved, str):
        retrieved = "\n\n".join(head + texts[key] for head, key in retrieved)
    added = tuple(Message.model_validate(m) for m in packed.get("added", ()))
    return Prompt(
        stable=texts[packed["stable"]],
        history=before.history[: packed["kept"]] + added,
        guidance=texts[packed["guidance"]] if "guidance" in packed else "",
        retrieved=retrieved,
        advice=packed.get("advice", ""),
        ask=packed.get("ask", ""),
        tools=tuple(json.loads(texts[packed["tools"]])) if "tools" in packed else (),
        lasting=packed.get("lasting", False),
    )


@lru_cache(maxsize=4096)
def text_hash(text: str) -> str:
    """``content_hash``, remembered: the same few texts stand in step after step."""
    return content_hash(text)


def _message(message: Message) -> dict[str, Any]:
    """The fields that say something."""
    if message.tool_calls or message.tool_call_id is not None or message.sent is not None or not message.content:
        return message.model_dump(exclude_defaults=True)
    return {"role": message.role, "content": message.content}


def _shared(new: tuple[Message, ...], old: tuple[Message, ...]) -> int:
    """Length of the common prefix."""
    if new[: len(old)] == old:  # an episode's history grows: the usual case, and quick
        return len(old)
    count = 0
    for a, b in zip(new, old, strict=False):
        if a is not b and a != b:
            break
        count += 1
    return count
