"""A benchmark of your own to the report, without a key: python examples/own_benchmark.py [FOLDER]"""

from __future__ import annotations

import sys
from functools import partial

import atlas
from atlas.benchmarks.arm import Arm
from atlas.benchmarks.suite import TaskRef
from atlas.cli import main
from atlas.evaluators.verdict import Case, Reference, Verdict
from atlas.records import Ask, Decision, Observation, Task, View
from atlas.testing import ScriptedModel

SAYS = {"billing": "was charged twice", "shipping": "still waits for a parcel", "technical": "cannot log in"}
DESKS, FIRST = tuple(SAYS), Decision(action="read", actor="student", reason="rule")


class Ticket:  # the environment: a ticket is read, and sent to a desk
    def __init__(self, number: int, split: str) -> None:
        self.desk = DESKS[number % 3]
        self.task = Task(id=f"{split}-{number}", goal="Send the ticket to the right desk.", split=split)

    async def open(self) -> Observation:
        return Observation(text="There is a ticket.", admissible=("read", *DESKS))

    async def step(self, action: str) -> Observation:
        if action in DESKS:
            return Observation(text="Sent.", done=True)  # and no score: the suite's judge gives it
        return Observation(text=f"The customer {SAYS[self.desk]}.", admissible=DESKS)

    async def close(self) -> None: ...


class RightDesk:  # the evaluator: was it the expected desk?
    name = "right-desk"

    async def judge(self, case: Case, desk: atlas.Desk, opinions: object = ()) -> Verdict:
        return Verdict(judge=self.name, score=float(case.answer == case.reference))

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


class Tickets:  # the suite
    name, max_steps, judge = "tickets", 4, RightDesk

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> list[TaskRef]:
        right = [Reference(answer=DESKS[i % 3]) for i in range(n or 12)]
        return [TaskRef(f"{split}-{i}", partial(Ticket, i, split), known) for i, known in enumerate(right)]

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> list[TaskRef]:
        return self.tasks("train", n)


class ReadFirst:  # the policy: nobody is asked before the ticket is read
    def __init__(self, inner: atlas.Policy) -> None:
        self.inner = inner

    async def decide(self, view: View, desk: atlas.Desk) -> Decision:
        return await self.inner.decide(view, desk) if view.index else FIRST

    def config(self) -> dict[str, object]:
        return {"policy": "read-first", "inner": self.inner.config()}


def knows(ask: Ask) -> str:
    return "Action: " + next((desk for desk in DESKS if SAYS[desk] in ask.view.observation), "read")


expert = ScriptedModel(knows, name="desk-expert")  # the teacher: a program
careful = Arm("careful", "reads, then icd's cascade", lambda on: ReadFirst(on.recall(on.cascade)), demos=True)

if __name__ == "__main__":
    me, out = __file__, (sys.argv[1:] or ["own"])[0]
    play = f"--demos 9 --embedder hash --arms student,icd,teacher,{me}:careful --teacher python:{me}:expert"
    main(f"bench {me}:Tickets {play} -o {out}/run".split())
    main(f"report {out}/run -o {out}/report.html".split())
