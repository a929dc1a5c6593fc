"""Demonstrations and queries for the memory tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, from_steps
from atlas.memory.index import STEP_KEYS, TRAJECTORY_KEYS, demo_texts, query_texts
from atlas.records import DemoStep, Task, Turn, View

HERE = Path(__file__).parent.parent
ME = "person:me"
"""An author of changes."""


def demo(
    i: int, steps: int = 6, goal: str = "put a hot apple in diningtable", plan: str = "find, heat, put"
) -> Demonstration:
    made = [
        DemoStep(
            observation=f"You arrive at cabinet {i}. You see a mug {j}.",
            action=f"open drawer {j}",
            thought=f"The apple may be in drawer {j} of room {i}.",
        )
        for j in range(steps)
    ]
    return from_steps(Task(id=f"task-{i}", goal=goal), made, plan=plan)


def view(task_id: str, goal: str, observation: str, thought: str | None = None, plan: str = "") -> View:
    """A view before its first step, or after one step where a thought is given."""
    task = Task(id=task_id, goal=goal)
    if thought is None:
        return View(task=task, opening=observation, plan=plan)
    turn = Turn(action="look", observation=observation, thought=thought)
    return View(task=task, opening="the opening", turns=(turn,), plan=plan)


def reference_search(
    demos: list[Demonstration], asked: View, k: int, weights: dict[str, float], embedder: HashEmbedder
) -> list[tuple[str, int, float]]:
    """The method, written as plainly as possible: ``(demo id, best step, score)``."""
    query = query_texts(asked, list(weights))

    def mean(keys: tuple[str, ...], candidate: dict[str, str]) -> float:
        shared = [key for key in keys if key in query and candidate.get(key)]
        if not shared:
            return 0.0
        products = {key: float(np.dot(*embedder.embed([query[key], candidate[key]]))) for key in shared}
        return sum(weights[key] * products[key] for key in shared) / sum(weights[key] for key in shared)

    rows = []
    for one in demos:
        if asked.task.id in one.tasks:
            continue
        texts = {key: demo_texts(one, key) for key in weights}
        own = mean(TRAJECTORY_KEYS, {key: texts[key][0] for key in weights if key in TRAJECTORY_KEYS})
        steps = [
            round(mean(STEP_KEYS, {key: texts[key][i] for key in weights if key in STEP_KEYS}), 6)
            for i in range(len(one.steps))
        ]
        best = max(range(len(steps)), key=lambda i: (steps[i], -i))
        rows.append((one.id, best, own + steps[best]))
    return sorted(rows, key=lambda row: (-row[2], row[0]))[:k]


def search(store: DemonstrationStore, k: int = 9) -> list[str]:
    """The tasks of the ``k`` demonstrations that are most like the first one."""
    return [w.task_id for w in store.search(view("other", demo(1).goal, demo(1).steps[0].observation), k)]


def spawn(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run ``code`` in a process of its own, with the memory and these fixtures to import."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
    )
