"""A wrapped agent's own logs train a small local student, which then serves in the teacher's place. No key needed.

python examples/agent_to_student.py [FOLDER]     (needs the extra train: pip install '.[train]')
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import shop
import stand_ins
from wrap_tool_agent import agent_loop

import atlas
from atlas.cli import main as command
from atlas.records import total
from atlas.trained.student import need_torch

CUSTOMERS = [
    a + b for a in ("Al", "Be", "Ca", "Do", "El", "Fi", "Ga", "Ha") for b in ("bin", "dan", "ko", "lis", "mir")
]
HELD_OUT = 8
"""Customers whose requests the student is not trained on."""


def requests(customers: list[str]) -> list[tuple[str, str]]:
    return [(who, wish) for who in customers for wish in shop.WISHES]


def serve(agent: atlas.Agent, asked: list[tuple[str, str]]) -> None:
    """Each request by the same loop, whoever acts."""
    done: list[atlas.Episode] = []
    with agent:
        for request in asked:
            world = shop.Shop(CUSTOMERS)
            with agent.episode(goal=shop.goal(request)) as episode:
                agent_loop(episode.client, episode.goal, world)
                episode.score(world.met(request))
            if episode.result:
                done.append(episode.result)
    dollars = total(spend for e in done for spend in e.spend).dollars
    cost = "unpriced" if dollars is None else f"${dollars / len(done):.4f} an episode"
    print(f"   {sum(bool(e.success) for e in done)} of {len(done)} requests met,", end=" ")
    print(f"{sum(e.teacher_steps for e in done)} of {sum(e.steps for e in done)} steps by the teacher, {cost}")


def main(folder: Path) -> None:
    need_torch()  # before anything is paid
    _, teacher = stand_ins.pair()
    customers = random.Random(0).sample(CUSTOMERS, len(CUSTOMERS))
    seen, unseen = requests(customers[HELD_OUT:]), requests(customers[:HELD_OUT])

    print(f"1. The teacher serves {len(seen)} requests, and the run is kept.")
    name = teacher if isinstance(teacher, str) else teacher.name
    serve(atlas.Agent(None, teacher, run=folder / "taught", permitted=[name]), seen)

    print("2. A small transformer is trained on that run, from nothing.")
    told = ["--base", "scratch", "--tokens", "150000", "--batch-tokens", "1024", "--out", str(folder / "student")]
    command(["train", "sft-success", "--data", str(folder / "taught"), *told])

    print(
        f"3. It serves {len(unseen)} requests of other customers: the same loop, the same tools, the teacher at hand."
    )
    serve(atlas.Agent(f"scratch:{folder / 'student'}", teacher, run=folder / "served"), unseen)


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["apprentice"]))
