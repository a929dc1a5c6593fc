"""An asynchronous agent in a decorator: many requests at once, each an episode, all learning from one another.

python examples/async_agent.py
"""

from __future__ import annotations

import asyncio
from typing import Any

import shop
import stand_ins

import atlas

student, teacher = stand_ins.pair()
agent = atlas.Agent(
    student,
    teacher,
    memory=atlas.Memory(":memory:", "hash"),
    k=2,
    actions=atlas.ChatActions(text_key=lambda text: "answer"),
)


@agent.wrap(goal=shop.goal, score=lambda met: float(met))
async def serve(request: tuple[str, str], client: Any) -> bool:
    """Written for ``openai.AsyncOpenAI``; the decorator supplies ``client``, and scores what is returned."""
    world = shop.Shop()
    messages: list[Any] = [{"role": "system", "content": shop.SYSTEM}, {"role": "user", "content": shop.goal(request)}]
    for _ in range(8):
        reply = await client.chat.completions.create(model="gpt-4.1-mini", messages=messages, tools=shop.TOOLS)
        message = reply.choices[0].message
        messages.append(message)
        for call in message.tool_calls or ():
            answer = world.call(call.function.name, call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})
        if not message.tool_calls:
            break
    return world.met(request)


async def main() -> None:
    with agent:
        for start in range(0, len(shop.REQUESTS), 6):
            batch = shop.REQUESTS[start : start + 6]
            met = await asyncio.gather(*(serve(request) for request in batch))
            spent = agent.meter.used.dollars
            cost = "unpriced" if spent is None else f"${spent:.4f}"
            print(f"requests {start + 1}-{start + len(batch)}: {sum(met)} met; spent so far {cost}")


if __name__ == "__main__":
    asyncio.run(main())
