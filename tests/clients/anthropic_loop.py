from __future__ import annotations

from typing import Any

from anthropic import AsyncAnthropic

from tests.clients import QUESTION, Door, weather

TOOL = {
    "name": "weather",
    "description": "The weather in a city now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def run(door: Door, api: str, stream: bool) -> str:
    client: Any = door.async_anthropic or AsyncAnthropic()
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    while True:
        asked = {"model": "claude-sonnet-4-5", "max_tokens": 500, "messages": messages, "tools": [TOOL]}
        if stream:
            async with client.messages.stream(**asked) as streamed:
                said = await streamed.get_final_message()
        else:
            said = await client.messages.create(**asked)
        if said.stop_reason != "tool_use":
            return str(said.content[0].text)
        called = [block for block in said.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": c.id, "content": weather(**c.input)} for c in called]
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
