"""Errands: tasks of toy size that a student learns in seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from atlas.prompts import render
from atlas.records import Ask, Task, Turn, View
from atlas.trained.trajectory import Moment, Trajectory

THINGS, PLACES = "mug fork apple book".split(), "desk shelf drawer bed".split()


def errand(seed: int, *, success: bool = True, things: Sequence[str] = THINGS) -> Trajectory:
    """Take the thing that the goal names from where it is seen, then stop: a task that asks for copying."""
    rng = random.Random(seed)
    thing, other = rng.sample(things, 2)
    at, elsewhere = ((rng.choice(PLACES), rng.randint(1, 3)) for _ in range(2))
    seen = [
        f"a {thing} {rng.randint(1, 6)} on the {at[0]} {at[1]}",
        f"a {other} 1 on the {elsewhere[0]} {elsewhere[1]}",
    ]
    number = seen[0].split()[2]
    wanted = f"take {thing} {number} from {at[0]} {at[1]}"
    missed = f"take {other} 1 from {elsewhere[0]} {elsewhere[1]}"
    rng.shuffle(seen)
    opening = f"You see {', and '.join(seen)}."
    moments = (
        Moment(observation=opening, action=wanted if success else missed, thought=f"I need the {thing}."),
        Moment(observation="Taken.", action="stop"),
    )
    return Trajectory(task=f"errand {seed}", goal=f"take the {thing}", family=at[0], success=success, moments=moments)


def asked(trajectory: Trajectory, *, step: int = 0, listed: bool = True, **changes: Any) -> Ask:
    """What the student is asked at a step of the trajectory, and the actions that it may choose from."""
    moments = trajectory.moments
    turns = [Turn(action=a.action, observation=b.observation) for a, b in pairwise(moments[: step + 1])]
    opening = moments[0].observation
    wrong = tuple(f"take {t} from {p} {m}" for t in THINGS for p in PLACES for m in (1, 2, 3))
    actions = tuple(dict.fromkeys((*wrong, moments[0].action, "stop"))) if listed else ()
    view = View(
        task=Task(id=trajectory.task, goal=trajectory.goal), opening=opening, turns=tuple(turns), admissible=actions
    )
    return Ask(view=view, prompt=render(view, list_actions=False), **changes)


def trained(tmp: Path, recipe: Any = None, data: Sequence[Trajectory] = (), base: Any = None, **settings: Any) -> Any:
    """A student of the errands, or of ``data``, in ``tmp/student``."""
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer

    recipe = recipe or SftSuccess()
    prepared = recipe.prepare(data or [errand(i) for i in range(300)])
    base = base or ScratchBase.new("tiny", prepared, thoughts=recipe.thoughts)
    given = {"epochs": 30, "batch_tokens": 512, "lr": 1e-2, "evaluations": 2, **settings}
    trainer = Trainer(
        base=base,
        recipe=recipe,
        train=prepared,
        held_out=[errand(i) for i in range(1000, 1020)],
        out=tmp / "student",
        settings=Settings(**given),
    )
    trainer.run()
    return trainer


def share_right(student: Any, *, listed: bool = True, things: Sequence[str] = THINGS, n: int = 40) -> float:
    tasks = [errand(i, things=things) for i in range(2000, 2000 + n)]
    said = [asyncio.run(student.sample(asked(t, listed=listed))).replies[0].text for t in tasks]
    return sum(text == f"Action: {t.moments[0].action}" for text, t in zip(said, tasks, strict=True)) / n


# As functions fixtures have other names, so that a module can import them and take them as arguments.


@pytest.fixture(name="one_thread", scope="module", autouse=True)
def in_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(name="trainer", scope="module")
def good_trainer(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The training of a good student. Tests read its folder and change nothing in it."""
    return trained(tmp_path_factory.mktemp("good"))


@pytest.fixture(name="student")
def good_student(trainer: Any) -> Any:
    """The good student, freshly loaded."""
    from atlas.models import load

    return load(f"scratch:{trainer.out}")
