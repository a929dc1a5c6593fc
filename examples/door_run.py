"""Third door: a command that knows nothing of atlas. It is run with its model calls as the steps of an episode.

python examples/door_run.py
"""

from __future__ import annotations

import sys

import shop
import stand_ins

import atlas
from atlas.serve import run_command


def agent(number: int) -> int:
    """A command-line agent, as somebody wrote it: it finds its server and its key in the environment."""
    import openai
    from wrap_tool_agent import agent_loop

    request, world = shop.REQUESTS[number], shop.Shop()
    agent_loop(openai.OpenAI(), shop.goal(request), world)
    return 0 if world.met(request) else 1


def main() -> None:
    student, teacher = stand_ins.pair()
    memory = atlas.Memory(":memory:", "hash")
    same = atlas.ChatActions(text_key=lambda text: "answer")
    for number in range(4):
        # The same from the command line: atlas run --student MODEL --teacher MODEL -- python door_run.py 0
        own = atlas.Agent(student, teacher, memory=memory, k=2, actions=same)
        outcome = run_command([sys.executable, __file__, str(number)], own)
        assert outcome.episode is not None
        taught = f"{outcome.episode.teacher_steps} of {outcome.episode.steps} steps by the teacher"
        print(f"request {number}: exit code {outcome.code}, score {outcome.episode.score:g}, {taught}")


if __name__ == "__main__":
    sys.exit(agent(int(sys.argv[1]))) if len(sys.argv) > 1 else main()
