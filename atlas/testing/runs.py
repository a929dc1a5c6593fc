"""A made-up run, for tests of what reads traces: its figures mean nothing, its shape is that of a real run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.records import (
    STUDENT,
    TEACHER,
    Decision,
    Episode,
    Hit,
    Message,
    Observation,
    Prompt,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
    Vote,
    by_actor,
)
from atlas.traces.writer import RunWriter

SETTINGS: dict[str, Any] = {
    "title": "A made-up run",
    "student": "made-up student",
    "teacher": "scripted expert (made up)",
    "split": "nowhere",
    "seeds": [0],
    "notes": ["Every figure here is made up: this run exists to test what reads it."],
}


@dataclass(frozen=True)
class MadeUpArm:
    """How the made-up episodes of one arm go."""

    episodes: int
    success: float
    teacher: float = 0.0
    """Share of steps on which the teacher acts."""
    retrieves: bool = False
    steps: int = 8
    dollars: float | None = 0.00002
    """Of one student call; the teacher's costs 0.002."""
    learns: bool = False
    """Whether the teacher's share falls and success rises from episode to episode."""


ARMS: Mapping[str, MadeUpArm] = {
    "collect": MadeUpArm(10, 0.9, teacher=1.0),
    "student": MadeUpArm(12, 0.2, steps=14),
    "icd": MadeUpArm(12, 0.7, retrieves=True),
    "cascade": MadeUpArm(12, 0.95, teacher=0.1, retrieves=True),
    "teacher": MadeUpArm(12, 0.9, teacher=1.0),
    "random-route": MadeUpArm(12, 0.75, teacher=0.1, retrieves=True),
}


def write_run(
    folder: str | Path,
    arms: Mapping[str, MadeUpArm] = ARMS,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a finished run with ``arms`` to ``folder`` and return the folder."""
    rng = random.Random(seed)
    with RunWriter(folder, dict(SETTINGS if settings is None else settings)) as writer:
        for name, arm in arms.items():
            for number in range(arm.episodes):
                write_episode(writer, name, arm, number, rng)
    return Path(folder)


def write_episode(writer: RunWriter, name: str, arm: MadeUpArm, number: int, rng: random.Random) -> Episode:
    """Write one episode of ``arm``: its start, its steps and its end."""
    learned = number / max(1, arm.episodes - 1) if arm.learns else 0.0
    won = rng.random() < arm.success + (0.95 - arm.success) * learned
    share = arm.teacher * (1 - 0.9 * learned)
    task = Task(id=f"home-{number}", goal=f"put a clean mug in shelf {number % 5}.", family="clean", split="nowhere")
    episode_id = f"{rng.getrandbits(48):012x}"
    writer.start(episode_id, name, task, 0, "made-up")
    steps: list[Step] = []
    for index in range(max(2, arm.steps + rng.randint(-2, 2))):
        steps.append(_step(task, arm, steps, share, index, rng))
        writer.step(episode_id, steps[-1])
    episode = Episode(
        id=episode_id,
        run=writer.name,
        arm=name,
        task=task,
        seed=0,
        config="made-up",
        stop=Stop.DONE if won else Stop.MAX_STEPS,
        score=float(won),
        success=won,
        steps=len(steps),
        teacher_steps=sum(s.decision.actor == TEACHER for s in steps),
        spend=by_actor(s for step in steps for s in step.spend),
        seconds=sum(s.seconds for s in steps),
        started=1_760_000_000.0 + number,
    )
    writer.end(episode)
    return episode


def _step(task: Task, arm: MadeUpArm, before: list[Step], share: float, index: int, rng: random.Random) -> Step:
    observation = (
        before[-1].outcome.text if before else "You are in the middle of a room. Around you: shelf 1, sinkbasin 1."
    )
    action = f"go to shelf {index + 1}"
    asks_teacher = rng.random() < share
    votes, spend = [], []
    if arm.teacher < 1.0:
        samples = 3 if arm.teacher else 1
        votes += [
            Vote(
                actor=STUDENT,
                model="made-up student",
                action="look" if asks_teacher and i == 1 else action,
                text=action,
            )
            for i in range(2 if asks_teacher else samples)
        ]
        price = None if arm.dollars is None else arm.dollars * len(votes)
        usage = Usage(calls=len(votes), prompt_tokens=420, completion_tokens=9 * len(votes), dollars=price)
        spend.append(Spend(actor=STUDENT, model="made-up student", usage=usage))
    if asks_teacher:
        votes.append(Vote(actor=TEACHER, model="scripted expert (made up)", action=action, text=action))
        usage = Usage(calls=1, prompt_tokens=400, completion_tokens=20, dollars=0.002)
        spend.append(Spend(actor=TEACHER, model="scripted expert (made up)", usage=usage))
    hits = [
        Hit(
            demo_id=f"demo{rng.randint(0, 9)}",
            start=max(0, index - 2),
            length=5,
            best=2,
            score=round(0.9 - 0.05 * i, 4),
        )
        for i in range(3 if arm.retrieves else 0)
    ]
    history = [Message(role="user", content=f"Task: {task.goal}")]
    for step in before:
        history.append(Message(role="assistant", content=f"Action: {step.decision.action}"))
        history.append(Message(role="user", content=step.outcome.text))
    return Step(
        index=index,
        observation=observation,
        admissible=12,
        decision=Decision(
            action=action,
            actor=TEACHER if asks_teacher else STUDENT,
            reason=("split" if arm.teacher < 1.0 else "solo")
            if asks_teacher
            else ("agreed" if arm.teacher else "solo"),
            thought="A mug may stand here.",
            votes=tuple(votes),
            retrieved=tuple(hits),
            prompt=Prompt(
                stable="You act in a household.",
                history=tuple(history),
                retrieved="[example 1] Task: put a clean mug in shelf.\nAction: go to shelf 1" if hits else "",
                ask="Possible actions: look; " + action,
            ),
            text=f"Thought: A mug may stand here.\nAction: {action}",
            seconds={STUDENT: 0.01},
        ),
        outcome=Observation(text=f"You arrive at shelf {index + 1}. On it you see a mug {index}.", score=0.0),
        spend=tuple(spend),
        seconds=0.012,
    )
