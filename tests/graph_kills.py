"""A run of the graph that is killed (SIGKILL) at every moment at which something is written, and resumed.

Run as a program by ``tests/test_graph.py``: prints one JSON line per moment. LangGraph is loaded once; each run is a
process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from atlas.asking import Desk
from atlas.distil import paid as paid_lessons
from atlas.distil import read_lessons
from atlas.evaluators.verdict import Case, Verdict
from atlas.graph import Context, Journal, advance, episode_graph
from atlas.memory import DemonstrationStore, HashEmbedder
from atlas.memory.database import Database
from atlas.memory.distil import Distilled
from atlas.memory.pamphlet import Entry, Origin
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import Solo
from atlas.protocols import Model
from atlas.records import (
    Ask,
    Completion,
    Observation,
    Price,
    Prompt,
    Reply,
    Task,
    Usage,
    View,
    content_hash,
    total,
)
from atlas.traces import Run, RunWriter
from atlas.traces.account import cut_off
from atlas.traces.verdicts import paid, read_verdicts

STEPS = 3


class Moments:
    """Counts the moments, and kills this process at one of them."""

    def __init__(self, kill: int | None) -> None:
        self.kill = kill
        self.names: list[str] = []

    def at(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) - 1 == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


class Corridor:
    """A world of three steps."""

    def __init__(self, task_id: str, moments: Moments) -> None:
        self.task = Task(id=task_id, goal="walk to the end")
        self.place = 0
        self._moments = moments

    async def open(self) -> Observation:
        return Observation(text="You are at place 0.")

    async def step(self, action: str) -> Observation:
        self._moments.at("step")
        self.place += 1
        done = self.place == STEPS
        return Observation(text=f"You are at place {self.place}.", score=float(done), done=done)

    async def close(self) -> None: ...


class Paid:
    """A model that writes each call into a file when it is paid: one dollar, ten tokens."""

    name = "paid"
    price = Price(prompt=1.0, completion=1.0)
    shares_prompt = False

    def __init__(self, bill: Path) -> None:
        self.bill = bill

    async def sample(self, ask: Ask) -> Completion:
        await asyncio.sleep(0)
        with self.bill.open("a") as file:
            file.write(f"{ask.purpose}\n")
        usage = Usage(calls=1, prompt_tokens=10, dollars=1.0)
        return Completion(replies=(Reply(text="Thought: on.\nAction: walk on"),), usage=usage)


async def ask(desk: Desk, model: Model, case: Case, purpose: str) -> None:
    view, prompt = View(task=case.task, opening=""), Prompt(ask=f"{purpose} {len(case.steps)}")
    await desk.ask(model, view, actor=purpose, purpose=purpose, prompt=prompt)


class PaidJudge:
    name = "paid"

    def __init__(self, model: Model) -> None:
        self.model = model

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        # Two samples of the same question.
        await ask(desk, self.model, case, "judge")
        await ask(desk, self.model, case, "judge")
        return Verdict(judge=self.name, score=1.0, spend=desk.spent)

    def config(self) -> dict[str, object]:
        return {"judge": "paid"}


class PaidDistiller:
    name = "paid"

    def __init__(self, model: Model) -> None:
        self.model = model

    async def distil(self, case: Case, verdict: Verdict, desk: Desk) -> Distilled:
        entry = Entry(
            cue="the way is long", action="walk on to the end", origins=(Origin(task=case.task.id, episode=case.id),)
        )
        await ask(desk, self.model, case, "distil")
        return Distilled(entries=(entry,), spend=desk.spent)

    def config(self) -> dict[str, object]:
        return {"distiller": "paid"}


def around(moments: Moments, owner: Any, name: str, label: Callable[..., str]) -> None:
    """Moments before and after every call of ``owner.name``."""
    original = getattr(owner, name)

    def sync(*args: Any, **kwargs: Any) -> Any:
        moments.at(f"before {label(*args)}")
        result = original(*args, **kwargs)
        moments.at(f"after {label(*args)}")
        return result

    async def later(*args: Any, **kwargs: Any) -> Any:
        moments.at(f"before {label(*args)}")
        result = await original(*args, **kwargs)
        moments.at(f"after {label(*args)}")
        return result

    setattr(owner, name, later if asyncio.iscoroutinefunction(original) else sync)


def written(file: int, raw: bytes) -> str:
    kind = json.loads(raw.splitlines()[-1]).get("type")
    return f"write {kind or Path(os.readlink(f'/proc/self/fd/{file}')).name}"


async def run(folder: Path, moments: Moments, tasks: Sequence[str]) -> None:
    around(moments, os, "write", written)
    around(moments, Database, "write", lambda *args: "memory")
    around(moments, AsyncSqliteSaver, "aput", lambda *args: "checkpoint")
    model = Paid(folder / "bill")
    demos = DemonstrationStore(folder / "memory.db", embedder=HashEmbedder())
    with RunWriter(folder / "run") as recorder:
        journal = Journal(folder / "run", "alone")
        context = Context(
            recorder=recorder,
            policy=Solo(model),
            environment=lambda task: Corridor(task, moments),
            judge=PaidJudge(model),
            distiller=PaidDistiller(model),
            pamphlets=PamphletStore(demos.database, HashEmbedder()),
            demonstrations=demos,
            journal=journal,
            max_steps=10,
        )
        async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            graph = episode_graph(saver)
            for task in tasks:
                await advance(graph, context, arm="alone", task=task)


def outcome(folder: Path) -> dict[str, Any]:
    """What there is at the end, and whether the accounts hold what was paid."""
    bill = (folder / "bill").read_text().split()
    stored = Run(folder / "run").episodes()
    settled = [e.result for e in stored if e.result is not None]
    verdicts, lessons = read_verdicts(folder / "run"), read_lessons(folder / "run")
    _, lost = cut_off(stored)
    accounted = total(s for e in settled for s in e.spend) + lost + total(paid(verdicts)) + total(paid_lessons(lessons))
    with DemonstrationStore(folder / "memory.db", embedder=HashEmbedder()) as demos:
        pamphlets = PamphletStore(demos.database, HashEmbedder())
        supports = [entry.support for entry in pamphlets.all()]
        known = content_hash([[e.id for e in pamphlets.all()], [d.id for d in demos.all()]])
    return {
        "calls": len(bill),
        "dollars": accounted.dollars,
        "episodes": sorted(e.task.id for e in settled),
        "success": [e.success for e in settled],
        "verdicts": len(verdicts),
        "lessons": len(lessons),
        "supports": supports,
        "known": known,
    }


def in_process(work: Callable[[], None]) -> int:
    """Run ``work`` in a process of its own; the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0
    return 0


def main(root: Path, every: int, tasks: Sequence[str]) -> None:
    plain = root / "plain"
    plain.mkdir()

    def count() -> None:
        moments = Moments(None)
        asyncio.run(run(plain, moments, tasks))
        (plain / "moments.json").write_text(json.dumps(moments.names))

    assert in_process(count) == 0
    names = json.loads((plain / "moments.json").read_text())
    print(json.dumps({"moment": "never", **outcome(plain)}), flush=True)
    for kill in range(0, len(names), every):
        folder = root / str(kill)
        folder.mkdir()
        ended = in_process(lambda at=kill, to=folder: asyncio.run(run(to, Moments(at), tasks)))  # type: ignore[misc]
        assert ended == signal.SIGKILL, names[kill]
        assert in_process(lambda to=folder: asyncio.run(run(to, Moments(None), tasks))) == 0  # type: ignore[misc]
        print(json.dumps({"moment": f"{kill} {names[kill]}", **outcome(folder)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
