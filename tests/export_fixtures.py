"""Runs for the tests of exports: a cascade on generated homes, and a wrapped agent that calls tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import atlas
from atlas.actions import ChatActions
from atlas.benchmarks.alfworld.env import HouseholdEnv
from atlas.benchmarks.alfworld.homes import homes
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.memory import DemonstrationStore
from atlas.memory.demonstration import from_episode
from atlas.policies import Cascade, Recall, Solo
from atlas.protocols import Policy
from atlas.records import (
    TEACHER,
    Ask,
    Decision,
    Episode,
    Message,
    Observation,
    Prompt,
    Reply,
    Spend,
    Step,
    Stop,
    Task,
    ToolCall,
    Usage,
    Vote,
    reply_text,
)
from atlas.runner import Job, play
from atlas.testing import ScriptedModel
from atlas.traces import RunWriter
from atlas.wire.calls import Call
from atlas.wire.request import CHAT, Request
from atlas.wrap.wrapped import WrappedEpisode

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} an order",
            "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
        },
    }
    for name in ("look_up", "refund")
]


class Says:
    """The expert as a model that reads its prompt."""

    shares_prompt = False

    def __init__(self, expert: ScriptedExpert, name: str = "openai/small") -> None:
        self.name = name
        self.price = expert.price
        self.sample = expert.sample


def homes_run(
    folder: Path,
    games: int = 4,
    *,
    student: str = "openai/small",
    about: Any = None,
    wrong: bool = False,
    audit: float = 0.0,
) -> Path:
    """A teacher alone, and a cascade whose student is right at even steps and disagrees with itself at odd ones.

    With ``wrong`` the student is always of one mind, and only looks.
    """
    expert = ScriptedExpert()

    def votes(ask: Ask) -> list[str]:
        move = expert._expert.act(
            ask.view.task.goal,
            ask.view.opening,
            [(t.action, t.observation) for t in ask.view.turns],
            ask.view.admissible,
        )
        if wrong:
            return [reply_text("look", "I look again.")] * ask.n
        if ask.view.index % 2 == 0:
            return [reply_text(move.action, "I am sure.")] * ask.n
        other = [a for a in ask.view.admissible if a != move.action]
        return [reply_text(other[(ask.first + i) % len(other)], "Perhaps so.") for i in range(ask.n)]

    policies = {
        "teacher": Solo(expert, actor=TEACHER),
        "cascade": Cascade(ScriptedModel(votes, name=student, shares_prompt=True), expert, audit=audit),
    }
    with RunWriter(folder, {"title": "homes"}, about) as writer:
        jobs = [
            Job(arm, game.id, policy, partial(HouseholdEnv, game, split="homes"), seed=0)
            for arm, policy in policies.items()
            for game in homes("train", games)
        ]
        asyncio.run(play(jobs, recorder=writer, run=writer.name, max_steps=5 if wrong else 40, concurrency=1))
    return folder


def recall_run(folder: Path, games: int) -> Path:
    """A teacher's episodes become demonstrations; a student that is shown one of them plays the same games."""
    expert = ScriptedExpert()
    with RunWriter(folder, {}) as writer, DemonstrationStore(":memory:", embedder="hash") as memory:

        def learn(episode: Episode, steps: Sequence[Step]) -> None:
            memory.add(from_episode(episode, steps))

        def jobs(arm: str, policy: Policy) -> list[Job]:
            made = homes("train", games)
            return [Job(arm, game.id, policy, partial(HouseholdEnv, game, split="homes")) for game in made]

        taught = jobs("collect", Solo(expert, actor=TEACHER))
        asyncio.run(play(taught, recorder=writer, max_steps=40, concurrency=1, learns=learn))
        shown = jobs("icd", Recall(Solo(Says(expert)), memory, k=1))
        asyncio.run(play(shown, recorder=writer, max_steps=40, concurrency=1))
    return folder


def desk_run(folder: Path, episodes: int = 2, *, secret: str = "") -> Path:
    """A wrapped agent behind a cascade: two tool calls (the first disputed), then an answer.

    ``secret`` is put into what the student writes and calls.
    """

    def student(ask: Ask) -> list[Reply]:
        order = ask.view.task.id + secret
        if ask.view.index == 0:
            names = ["refund", "look_up"]
            return [_call(names[(ask.first + i) % 2], order, text="Let me see.") for i in range(ask.n)]
        if ask.view.index == 1:
            return [_call("refund", order)] * ask.n
        return [Reply(text=f"Order {order} is refunded.")] * ask.n

    teacher = ScriptedModel(lambda ask: _call("look_up", ask.view.task.id), name="anthropic/large")
    small = ScriptedModel(student, name="openai/small", shares_prompt=True)
    agent = atlas.Agent(policy=Cascade(small, teacher, actions=ChatActions()), run=folder, arm="desk")
    with agent:
        for number in range(episodes):
            with agent.episode(goal=f"refund A{number}", task=f"A{number}", family="refunds") as episode:
                asyncio.run(_loop(episode, f"A{number}"))
                episode.score(1.0 if number % 2 == 0 else 0.0)
    return folder


def write_steps(
    writer: RunWriter,
    name: str,
    actions: Sequence[str],
    *,
    attempts: Sequence[int] = (),
    seen: str = "a room",
    split: str = "",
    **parts: str,
) -> None:
    """An episode of a scripted teacher, won at its end; ``seen`` is shown at every step, ``parts`` in its prompt."""
    task = Task(id=name, goal="win the game", family="games", split=split)
    writer.start(name, "teacher", task, 0, "c")
    spend = Spend(actor=TEACHER, model="scripted-player", usage=Usage(calls=1, prompt_tokens=5, completion_tokens=2))
    for index, action in enumerate(actions):
        vote = Vote(actor=TEACHER, model="scripted-player", action=action, text=action)
        prompt = Prompt(**{"stable": "Play.", "ask": f"{seen} {index}", **parts})
        step = Step(
            index=index,
            attempt=attempts[index] if attempts else 0,
            observation=f"{seen} {index}",
            decision=Decision(action=action, actor=TEACHER, reason="solo", text=action, votes=(vote,), prompt=prompt),
            outcome=Observation(text=f"{seen} {index + 1}"),
            spend=(spend,),
            seconds=0.0,
        )
        writer.step(name, step)
    writer.end(
        Episode(
            id=name,
            run=writer.name,
            arm="teacher",
            task=task,
            seed=0,
            config="c",
            stop=Stop.DONE,
            score=1.0,
            success=True,
            steps=len(actions),
            teacher_steps=len(actions),
            spend=(),
            seconds=0.0,
            started=0.0,
        )
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _call(name: str, order: str, text: str = "") -> Reply:
    return Reply(text=text, tool_calls=(ToolCall(name=name, arguments=json.dumps({"order": order})),))


async def _loop(episode: WrappedEpisode, order: str) -> None:
    """What the clients do, without the package whose objects they return: the torch environment lacks it."""
    messages = [
        Message(role="system", content="You serve customers."),
        Message(role="user", content=f"Please refund order {order}."),
    ]
    for _ in range(5):
        asked = Request(api=CHAT, model="m", messages=tuple(messages), tools=tuple(TOOLS))
        said = (await Call(partial(episode.act, asked)).task).decision
        messages.append(Message(role="assistant", content=said.text, tool_calls=said.tool_calls))
        if not said.tool_calls:
            return
        for made in said.tool_calls:
            messages.append(Message(role="tool", tool_call_id=made.id, content=f"{made.name}: ok {order}"))


def steps_run(folder: Path, prompts: Sequence[Prompt], **decided: Any) -> Path:
    """A run of one successful episode of the teacher, with a step for each prompt."""
    task = Task(id="t", goal="g")
    with RunWriter(folder) as writer:
        writer.start("e", "arm", task, 0, "c")
        for index, prompt in enumerate(prompts):
            decision = Decision(action=f"do {index}", actor=TEACHER, reason="solo", prompt=prompt, **decided)
            spend = (Spend(actor=TEACHER, model="vendor/m", usage=Usage(calls=1, dollars=None)),)
            step = Step(
                index=index, observation=f"seen {index}", decision=decision, outcome=Observation(text="ok"),
                spend=spend, seconds=0.0,
            )  # fmt: skip
            writer.step("e", step)
        writer.end(
            Episode(
                id="e", run=writer.name, arm="arm", task=task, seed=0, config="c", stop=Stop.DONE, score=1.0,
                success=True, steps=len(prompts), teacher_steps=len(prompts), spend=(), seconds=1.0, started=1e9,
            )
        )  # fmt: skip
    return folder
