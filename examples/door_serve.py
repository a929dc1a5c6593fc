"""Second door: HTTP, for any language. A client names its episode in the base URL, and says how it went by an endpoint.

python examples/door_serve.py
"""

from __future__ import annotations

import json
import secrets
import urllib.request

import openai
import shop
import stand_ins
from wrap_tool_agent import agent_loop

import atlas
from atlas.serve import Serving, Tenant, Tenants


def main() -> None:
    student, teacher = stand_ins.pair()
    same = atlas.ChatActions(text_key=lambda text: "answer")
    agent = atlas.Agent(student, teacher, memory=atlas.Memory(":memory:", "hash"), k=2, actions=same)
    key = secrets.token_hex(16)
    # The same from the command line: atlas serve --student MODEL --teacher MODEL --memory FILE --run FOLDER
    with Serving(Tenants([Tenant("shop", agent, [key])])) as server:
        for number, request in enumerate(shop.REQUESTS[:6]):
            world = shop.Shop()
            client = openai.OpenAI(base_url=f"{server.url}/e/request-{number}/v1", api_key=key)
            agent_loop(client, shop.goal(request), world)
            told = score(f"{server.url}/v1/atlas/episodes/request-{number}/score", key, world.met(request))
            print(
                f"request {number}: score {told['score']:g}, {told['teacher_steps']} of {told['steps']} by the teacher"
            )


def score(url: str, key: str, value: float) -> dict[str, float]:
    body = json.dumps({"score": value}).encode()
    asked = urllib.request.Request(url, body, {"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(asked) as answer:
        told: dict[str, float] = json.load(answer)
    return told


if __name__ == "__main__":
    main()
