"""First door: your own process. Real clients of OpenAI's and Anthropic's libraries, with no server and no port.

python examples/door_in_process.py
"""

from __future__ import annotations

import random
from typing import Any

import shop
import stand_ins
from wrap_tool_agent import agent_loop

import atlas


def main() -> None:
    student, teacher = stand_ins.pair()
    memory = atlas.Memory(":memory:", "hash")
    same = atlas.ChatActions(text_key=lambda text: "answer")  # how an answer is worded makes no difference here
    with atlas.Agent(student, teacher, memory=memory, k=2, actions=same) as agent:
        for request in random.Random(0).sample(shop.REQUESTS, 3):
            world = shop.Shop()
            with agent.episode(goal=shop.goal(request)) as episode:
                agent_loop(episode.client, episode.goal, world)  # an openai.OpenAI
                episode.score(world.met(request))
            print("met" if world.met(request) else "not met", "in", len(episode.steps), "steps")

        with agent.episode(goal=shop.goal(shop.REQUESTS[0])) as episode:
            asked: Any = [{"role": "user", "content": episode.goal}]
            stream = episode.client.chat.completions.create(model="any", messages=asked, stream=True)
            print("streamed in", sum(1 for _ in stream), "chunks")
            answer = episode.client.responses.create(model="any", input=episode.goal)
            print("by the Responses API:", answer.status)
            said = episode.anthropic.messages.create(model="any", max_tokens=99, messages=asked)
            print("by Anthropic's Messages API:", said.stop_reason)


if __name__ == "__main__":
    main()
