"""Policies compose, so an ablation is one line. Household games generated here; no key, no download, no language model.

python examples/compose_policies.py [GAMES] [DEMONSTRATIONS]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.records import TEACHER, total


async def main(games: int = 12, demonstrations: int = 24) -> None:
    student, teacher = atlas.load("nearest"), atlas.load("scripted:alfworld")
    memory, suite = atlas.Memory(":memory:", "hash"), Alfworld()

    def learn(episode: atlas.Episode, steps: Sequence[atlas.Step]) -> None:
        memory.keep(episode, steps)

    collect = atlas.Solo(teacher, actor=TEACHER)
    train = suite.demo_tasks(HOMES, demonstrations)
    await atlas.play([atlas.Job("collect", task.id, collect, task.environment) for task in train], learns=learn)

    cascade = atlas.Cascade(student, teacher, samples=3)
    arms: dict[str, atlas.Policy] = {
        "teacher": atlas.Solo(teacher, actor=TEACHER),
        "student": atlas.Solo(student),
        "student + ICD": atlas.Recall(atlas.Solo(student), memory, k=6),
        "cascade alone": cascade,
        "ICD + cascade": atlas.Recall(cascade, memory, k=6),
        "random routing": atlas.Recall(atlas.RandomRoute(student, teacher, share=0.2), memory, k=6),
    }
    held = len(memory.demonstrations)
    print(f"{held} demonstrations by a scripted teacher (stated price); a student that copies, and is no model")
    for name, policy in arms.items():
        jobs = [atlas.Job(name, task.id, policy, task.environment) for task in suite.tasks(HOMES, games)]
        done = await atlas.play(jobs)
        steps, asked = sum(e.steps for e in done), sum(e.teacher_steps for e in done)
        dollars = total(spend for e in done for spend in e.spend).dollars or 0.0
        print(f"{name:15} {sum(bool(e.success) for e in done)} of {len(done)} games,", end=" ")
        print(f"teacher acts on {asked / steps:.0%} of {steps} steps, ${dollars / len(done):.4f} a game")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
