"""A hand-written tool-calling agent, wrapped: the loop is as it was, and the student learns from the teacher meanwhile.

python examples/wrap_tool_agent.py
ATLAS_STUDENT=openai/gpt-4.1-mini ATLAS_TEACHER=anthropic/claude-sonnet-4-5 python examples/wrap_tool_agent.py
"""

from __future__ import annotations

import random
from typing import Any

import shop
import stand_ins

import atlas
from atlas.records import total


def agent_loop(client: Any, request: str, world: shop.Shop) -> str:
    """Written for ``openai.OpenAI``; it knows nothing of atlas."""
    messages: list[Any] = [{"role": "system", "content": shop.SYSTEM}, {"role": "user", "content": request}]
    for _ in range(8):
        reply = client.chat.completions.create(model="gpt-4.1-mini", messages=messages, tools=shop.TOOLS)
        message = reply.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return str(message.content)
        for call in message.tool_calls:
            answer = world.call(call.function.name, call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})
    return "I could not finish."


def main() -> None:
    student, teacher = stand_ins.pair()
    memory = atlas.Memory(":memory:", "hash")
    say = atlas.ChatActions(text_key=lambda text: "answer")  # how an answer is worded makes no difference here
    done: list[atlas.Episode] = []
    with atlas.Agent(student, teacher, memory=memory, k=2, actions=say) as agent:
        for request in random.Random(0).sample(shop.REQUESTS, len(shop.REQUESTS)):
            world = shop.Shop()
            with agent.episode(goal=shop.goal(request)) as episode:
                agent_loop(episode.client, episode.goal, world)
                episode.score(world.met(request))
            if episode.result:
                done.append(episode.result)
    for name, part in (("first half", done[: len(done) // 2]), ("second half", done[len(done) // 2 :])):
        dollars = total(spend for e in part for spend in e.spend).dollars
        cost = "unpriced" if dollars is None else f"${dollars:.4f}"
        print(f"{name}: {sum(bool(e.success) for e in part)} of {len(part)} requests met,", end=" ")
        print(f"{sum(e.teacher_steps for e in part)} of {sum(e.steps for e in part)} steps by the teacher, {cost}")


if __name__ == "__main__":
    main()
