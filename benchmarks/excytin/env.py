"""One question about one incident as an environment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from atlas.asking import Desk
from atlas.benchmarks.excytin.actions import Submit, parse
from atlas.benchmarks.excytin.data import Question
from atlas.benchmarks.excytin.engine import Engine, SqlError
from atlas.benchmarks.excytin.observe import observation
from atlas.errors import DataError
from atlas.evaluators.verdict import Case, Judge, Verdict
from atlas.records import Observation, Task

MAX_STEPS = 25
"""Steps of an episode in the published runs. The benchmark's code defaults to 15, which none of them used."""

INSTRUCTIONS = """\
You are a security analyst. You answer a question about an incident by querying its logs, which are tables of a MySQL
database. There are several dozen tables and all columns are text: explore the schema and look at examples first.
Every turn is one action, in one of two forms:
execute[<SQL>] runs one statement that reads, such as execute[SHOW TABLES] or execute[DESCRIBE SecurityAlert];
submit[<answer>] gives the final answer and ends the investigation. An answer is given once."""


class IncidentEnv:
    """A question, investigated once. The score is 0 until an answer is submitted and judged.

    Args:
        question: what is asked.
        engine: opens the incident's database; called when the environment is opened.
        judge: what an answer is worth. A missing verdict makes the score None.
        label: kept with the task: which rows these are, where they are not all.
        max_steps: after so many actions without an answer it is over.
    """

    def __init__(
        self,
        question: Question,
        engine: Callable[[], Engine],
        judge: Judge,
        *,
        label: str = "",
        max_steps: int = MAX_STEPS,
    ) -> None:
        self.question = question
        self.label = label
        self.verdict: Verdict | None = None
        """What the judge said, once an answer was submitted."""
        self._open_engine: Callable[[], Engine] | None = engine
        self._engine: Engine | None = None
        self._lock = Lock()
        """Around opening and closing: an engine that comes to be after the end is closed by who opened it."""
        self._judge = judge
        self._left = max_steps
        self._done = False
        self._score: float | None = 0.0
        self.task = Task(
            id=question.id,
            goal=question.text,
            family=f"incident_{question.incident}" + (f" ({label})" if label else ""),
            split=question.split,
            instructions=INSTRUCTIONS,
        )

    async def open(self) -> Observation:
        if self._open_engine is None:
            raise self._closed()
        await asyncio.to_thread(self._begin, self._open_engine)
        return self._observe(self.question.text)

    async def step(self, action: str) -> Observation:
        """Run a query, or judge an answer. What a database refuses is an observation, not an error."""
        if self._engine is None:
            raise RuntimeError("open the environment before stepping it")
        if self._done:
            return self._observe("")
        asked = parse(action)
        if isinstance(asked, Submit):
            self._done = True
            case = Case(
                id=self.task.id,
                task=self.task,
                answer=asked.answer,
                reference=self.question.answer,
                solution=self.question.solution,
            )
            self.verdict = await self._judge.judge(case, Desk())
            self._score = self.verdict.score
            return self._observe("")
        try:
            text = observation(await asyncio.to_thread(self._engine.query, asked.sql))
        except SqlError as error:
            text = str(error)
        self._left -= 1
        if self._left <= 0:
            self._done = True
        return self._observe(text)

    async def close(self) -> None:
        """Close the database whatever it is at: a query whose caller was cancelled goes on in its thread until then."""
        with self._lock:
            engine, self._engine, self._open_engine = self._engine, None, None
        if engine is None:
            return
        # A thread of its own: those of the loop's pool may all be at queries that wait to be ended.
        pool = ThreadPoolExecutor(1, thread_name_prefix="close")
        try:
            await asyncio.get_running_loop().run_in_executor(pool, engine.close)
        finally:
            pool.shutdown(wait=False)

    def _begin(self, opener: Callable[[], Engine]) -> None:
        engine = opener()
        with self._lock:
            if self._open_engine is not None:
                self._engine = engine
                return
        engine.close()
        raise self._closed()

    def _closed(self) -> DataError:
        return DataError(f"the question {self.task.id} was closed: environments are single-use")

    def _observe(self, text: str) -> Observation:
        return Observation(text=text, score=self._score, done=self._done)
