"""Chat messages and prompts."""

from __future__ import annotations

import re
from typing import Any, Literal

from atlas.record import Light, once

_EXAMPLE = re.compile(r"\n\n(?=\[example \d+\] |</examples>$)")
_NUMBER = re.compile(r"(?:\[example \d+\] )?")


Form = Literal["chat", "bare", "transcript"]
"""How a prompt is written: as a chat, its examples with thoughts; the same without them, for models that write none; or
as one transcript, which is read on behind its last ``>``, for small models that rank actions."""

CHAT: Form = "chat"
BARE: Form = "bare"
TRANSCRIPT: Form = "transcript"


Rank = Literal["sum", "mean"]
"""By what a model that ranks actions does: the log-probability of all their tokens together, or that of a token in the
mean, which does not put long actions last. Which chooses better differs from model to model."""


class ToolCall(Light, kw_only=True):
    """A function call as chat APIs write it; ``arguments`` is the JSON text the model produced."""

    id: str = ""
    name: str
    arguments: str = "{}"
    kind: str = "function"
    """``custom`` for a tool that takes free text: then ``arguments`` is that text."""


class Message(Light, kw_only=True):
    """One chat message."""

    role: str
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    sent: dict[str, Any] | None = None
    """The message as its sender wrote it for the chat-completions API, where that holds more than the fields above
    (images, cache marks, a name, thinking): hosted models get this in their place."""

    def __post_init__(self) -> None:
        if not (isinstance(self.role, str) and isinstance(self.content, str) and isinstance(self.tool_calls, tuple)):
            self.checked()

    def extended(self, text: str) -> Message:
        """The message with a further paragraph at its end."""
        sent = self.sent
        if sent is not None:
            content = sent.get("content") or ""
            more = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
            sent = {**sent, "content": more}
        return self.replace(content=f"{self.content}\n\n{text}", sent=sent)


class Prompt(Light, kw_only=True, gc=True, dict=True):
    """A prompt with its parts kept apart, in the order that lets a provider cache the prefix.

    ``stable`` never changes within a run, ``history`` only grows within an episode, and the rest, which changes at
    every step, comes last: entries of pamphlets, demonstrations, what the teacher advises, and the ask. Demonstrations
    that are ``lasting`` are the same at every step of the episode and come before its history.
    """

    stable: str = ""
    history: tuple[Message, ...] = ()
    guidance: str = ""
    retrieved: str = ""
    advice: str = ""
    ask: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    """Tool schemas sent beside the messages, as chat APIs take them."""
    lasting: bool = False
    """Whether ``retrieved`` stays for the whole episode."""

    def __post_init__(self) -> None:
        if not (isinstance(self.history, tuple) and isinstance(self.tools, tuple)):
            self.checked()

    @classmethod
    def of(cls, examples: tuple[tuple[str, str], ...], **parts: Any) -> Prompt:
        """A prompt that shows ``examples``; ``parts`` are its other fields."""
        made = cls(retrieved="\n\n".join([number + rest for number, rest in examples]), **parts)
        made.__dict__["examples"] = examples
        return made

    @once
    def examples(self) -> tuple[tuple[str, str], ...]:
        """The paragraphs of ``retrieved``, an example each, as its number and the rest: the number differs from step to
        step, the rest is often the same. :func:`atlas.prompts.render` knows them already."""
        return tuple(map(_numbered, _EXAMPLE.split(self.retrieved))) if self.retrieved else ()

    @property
    def head(self) -> str:
        """What stays the same for the whole episode, as one text."""
        return "\n\n".join(part for part in (self.stable, self.retrieved if self.lasting else "") if part)

    @property
    def tail(self) -> str:
        """What changes at every step, as one text."""
        changing = (self.guidance, "" if self.lasting else self.retrieved, self.advice, self.ask)
        return "\n\n".join(part for part in changing if part)

    def messages(self, *, turn_after_tool: bool = True) -> list[Message]:
        """The chat messages to send: system, history, and one last user turn that carries what changes. Where no user
        turn may follow a tool's result (``turn_after_tool``), that result carries it."""
        head, tail = self.head, self.tail
        sent = [Message(role="system", content=head)] if head else []
        sent.extend(self.history)
        if not tail:
            return sent
        if sent and (sent[-1].role == "user" or (sent[-1].role == "tool" and not turn_after_tool)):
            sent[-1] = sent[-1].extended(tail)
        else:
            sent.append(Message(role="user", content=tail))
        return sent

    def text(self) -> str:
        """The messages as plain text, for models without a chat template and for counting tokens."""
        return "\n\n".join(f"{m.role}: {m.content}{_calls_text(m)}" for m in self.messages())


def _numbered(example: str) -> tuple[str, str]:
    number = _NUMBER.match(example)
    cut = number.end() if number else 0
    return example[:cut], example[cut:]


def _calls_text(message: Message) -> str:
    return "".join(f"\n{call.name}({call.arguments})" for call in message.tool_calls)
