"""What the tests of wrapped agents share: loops as people write them, and replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atlas.records import Ask, Reply, ToolCall

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look_up", "refund")
]


def call(name: str, arguments: str = "{}", id: str = "") -> Reply:
    return Reply(text="", tool_calls=(ToolCall(id=id, name=name, arguments=arguments),))


def says(text: str) -> Callable[[Ask], str]:
    return lambda ask: text


def split(ask: Ask) -> list[str]:
    """Samples that never agree."""
    return [f"guess {ask.first + i}" for i in range(ask.n)]


def user(text: str = "hello") -> list[Any]:
    return [{"role": "user", "content": text}]


def two_step_loop(client: Any) -> str:
    """A tool call, then an answer: as people write it for openai.OpenAI."""
    messages: list[Any] = [{"role": "system", "content": "Serve."}, *user("refund A1")]
    for _ in range(5):
        message = client.chat.completions.create(model="gpt-x", messages=messages, tools=TOOLS).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return str(message.content)
        for made in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": made.id, "content": f"{made.function.name} ok"})
    raise AssertionError("the loop never ended")


def in_two_steps(ask: Ask) -> Reply:
    return call("refund", '{"order": "A1"}') if ask.view.index == 0 else Reply(text="Refunded.")
