"""What every API's request becomes, and what every API's answer is made of.

A translator of an API has ``read(body) -> Request``, ``write(told, request) -> dict``, ``events(told, request)``, which
gives the same answer as (name of the event, its data) in the order to send them, and
``error(status, message, kind, code) -> dict``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atlas.records import Decision, Message, Usage

CHAT = "chat"
RESPONSES = "responses"
MESSAGES = "messages"
"""The APIs: OpenAI's Chat Completions and Responses, Anthropic's Messages."""


@dataclass(frozen=True)
class Request:
    """A call of a client, in the terms of the chat-completions API whatever it was sent in."""

    api: str
    model: str
    """As the client named it; which models act is the policy's to say."""
    messages: tuple[Message, ...]
    """The conversation so far. What a message holds beyond our records is in its ``sent``."""
    tools: tuple[dict[str, Any], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    """Everything else that was asked for, under chat-completions names; absent where the client did not say."""
    stream: bool = False
    usage_chunk: bool = False
    """Whether a chat-completions stream ends with a chunk that tells the usage."""
    conversation: str = ""
    """The client's own name for the conversation, where it gives one."""
    left_out: tuple[str, ...] = ()
    """What was asked for and says nothing to a chat model, so that it goes no further: tools that a provider's own
    service runs, fields that only it has."""
    body: dict[str, Any] = field(default_factory=dict)
    """The request as it was sent: some answers repeat parts of it, and tools go back under the names they came with."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer that say what was left out, where anything was."""
        told = "; ".join(self.left_out).encode("ascii", "replace").decode()
        return {"x-atlas-left-out": "".join(c if c.isprintable() else "?" for c in told)[:500]} if told else {}


@dataclass(frozen=True)
class Told:
    """What is told to the client: a decision, with all that an API says around it."""

    decision: Decision
    usage: Usage
    """Of all models that were asked for it."""
    model: str
    """The name of the model that acted."""
    id: str
    """Of the answer, unique. What an API puts before it (``resp_``, ``msg_``) is the translator's."""
    created: int
    """Unix time in whole seconds."""
    others: tuple[Decision, ...] = ()
    """Further choices, where the client asked for several."""
    notes: dict[str, str] = field(default_factory=dict)
    """Headers of the answer, for what no field of an API says."""

    def head(self, kind: str) -> dict[str, Any]:
        """The first fields of an object of the chat-completions API; ``kind`` is what it calls itself."""
        return {"id": f"chatcmpl-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def tokens(self) -> dict[str, Any]:
        """The usage as the chat-completions API tells it."""
        usage = self.usage
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }

    def usage_chunks(self, request: Request) -> list[dict[str, Any]]:
        """The last chunk of a chat-completions stream, where it was asked for: the only one that tells the usage, as
        clients add up whatever they find."""
        if not request.usage_chunk:
            return []
        return [{**self.head("chat.completion.chunk"), "choices": [], "usage": self.tokens()}]
