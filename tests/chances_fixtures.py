"""Episodes of a student that manages some kinds of tasks, for what is learned from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from atlas.chances.attempt import Attempt
from atlas.chances.foresight import Foresight, Past, learn
from atlas.chances.selector import Case, Selector, Tried
from atlas.chances.selector import learn as learn_selector
from atlas.evaluators.verdict import submitted
from atlas.loop import Rollout
from atlas.memory.embed import load_embedder
from atlas.policies import Solo
from atlas.records import Ask, Observation, Price, Task, Turn
from atlas.testing import ScriptedModel
from atlas.traces import RunWriter

EASY, HARD = "what is the colour of the {} box?", "which account sent the {} mail?"


def past(count: int = 120) -> list[Past]:
    """Questions about boxes go well, those about mails do not; the student fumbles in long episodes that fail."""
    found = []
    for number in range(count):
        easy = number % 2 == 0
        won = easy != (number % 12 == 0)
        seen = "[('red', 'box')]" if won else "ProgrammingError: no such column"
        found.append(
            Past(
                task=f"t{number}",
                group=f"family {number // 2 % 4}",
                student="small",
                goal=f"Something happened on host web-{number}. {(EASY if easy else HARD).format(number)}",
                turns=tuple(Turn(action=f"look {i}", observation=seen) for i in range(10)),
                success=float(won),
            )
        )
    return found


@cache
def foresight() -> Foresight:
    return learn(past(), load_embedder("hash"), stages=(0, 4), learned_from="runs/x")


class Quiz:
    """A question over a table that can be looked at; an answer is given once. ``max_looks`` ends it without one."""

    def __init__(self, number: int, max_looks: int = 6) -> None:
        self.task = Task(
            id=f"quiz/{number}",
            goal=f"A password spray was seen on host web-{number}. What is the IP address of the spray?",
            family=f"family {number // 4 % 4}",
        )
        self.right = f"10.0.{number}.9"
        self.submissions: list[str] = []
        self.looks = 0
        self._max = max_looks

    async def open(self) -> Observation:
        return Observation(text=self.task.goal, score=0.0)

    async def step(self, action: str) -> Observation:
        answer = submitted(action)
        if answer is not None:
            self.submissions.append(answer)
            return Observation(text="", score=float(answer == self.right), done=True)
        self.looks += 1
        host = self.task.goal.split()[6].rstrip(".")
        found = f"[('{host}', 'password spray', '{self.right}')]" if "spray" in action else "[]"
        return Observation(text=found, score=0.0, done=self.looks >= self._max)

    async def close(self) -> None: ...


def clerk(name: str, knows: Callable[[int], bool], price: float = 1.0) -> ScriptedModel:
    """Looks the right thing up where it ``knows`` the question, else looks past it and makes an address up."""

    def reply(ask: Ask) -> str:
        number = int(ask.view.task.id.rpartition("/")[2])
        if not ask.view.turns:
            return f"Action: {'look spray' if knows(number) else 'look elsewhere'}"
        return f"Action: submit[10.0.{number}.9]" if knows(number) else f"Action: submit[172.16.{number}.1]"

    return ScriptedModel(reply, name=name, price=Price(prompt=price, completion=price))


SMALL = clerk("small", lambda number: number % 2 == 0)
LARGE = clerk("large", lambda number: number % 4 != 1, price=10.0)


async def quiz_run(folder: Path, questions: int = 60) -> None:
    """A run of two arms, ``small`` and ``large``, each alone."""
    with RunWriter(folder, {"of": "quizzes"}) as writer:
        for number in range(questions):
            for model in (SMALL, LARGE):
                await Rollout(Quiz(number), Solo(model), arm=model.name, run=folder.name, recorder=writer).play()


def selector(*tiers: str) -> Selector:
    """One of so many tiers, each of which is right on other questions and finds what it is right about."""
    cases = []
    for number in range(40):
        tried = []
        for place in range(len(tiers)):
            right = (number + place) % 2 == 0
            turn = Turn(action="look", observation=f"[('web-1', '10.0.{number}.{place}')]" if right else "[]")
            goal = "What is the IP address of web-1?"
            tried.append(Tried(Attempt.of_turns(goal, [turn], f"10.0.{number}.{place}"), float(right)))
        cases.append(Case(f"q{number}", "quiz", tuple(tried)))
    return learn_selector(cases, tiers)
