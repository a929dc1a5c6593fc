"""ExCyTIn-Bench as a suite: the benchmark's incidents, and generated ones that need no download."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from atlas.benchmarks.excytin import data as files
from atlas.benchmarks.excytin.data import Question
from atlas.benchmarks.excytin.engine import Engine
from atlas.benchmarks.excytin.env import MAX_STEPS, IncidentEnv
from atlas.benchmarks.excytin.incidents import FIRST, LABEL, PER_SPLIT, ROWS, Spec, incident
from atlas.benchmarks.excytin.incidents.names import Split
from atlas.benchmarks.excytin.judge import SUCCESS, RuleJudge
from atlas.benchmarks.excytin.layers import Layer
from atlas.benchmarks.excytin.lessons import InvestigationDistiller
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine, need_packages
from atlas.benchmarks.excytin.workers import Workers
from atlas.benchmarks.suite import TaskRef
from atlas.errors import ConfigError
from atlas.evaluators.verdict import Judge
from atlas.memory.distil import Distiller

INCIDENTS: dict[Split, int] = {"test": 6, "train": 12}
"""Generated incidents of a split, where not more are needed: each shape of attack once, or twice."""
Told = Callable[[str], None]


class Excytin:
    """Questions about incidents, 25 steps each.

    Args:
        data: folder with the benchmark's questions and rows. Where neither it nor a number of the benchmark's is
            given, incidents are generated.
        incident: only questions about this one. Demonstrations then are its own train questions, as in the paper.
        seeds_from: demonstrations are the train questions about this incident instead: a memory that is carried over.
        judge: what answers are worth; by rule where not given.
        layer: which tables are visible.
        mysql: URL of a database with the incident's rows, in place of the files.
        rows: rows of noise in a generated incident.
        told: called with what is being done, while incidents are written.
    """

    max_steps = MAX_STEPS
    success_at = SUCCESS
    answers_once = True
    """The reward from which the paper counts a question as solved: the last step before the answer was right."""

    def __init__(
        self,
        data: Path | str | None = None,
        incident: int | None = None,
        *,
        seeds_from: int | None = None,
        judge: Judge | None = None,
        layer: Layer = "alert",
        mysql: str | None = None,
        rows: int = ROWS,
        told: Told = lambda text: None,
    ) -> None:
        if mysql and incident is None:
            raise ConfigError("a MySQL database holds one incident: name it with --incident N")
        if mysql and seeds_from not in (None, incident):
            raise ConfigError("demonstrations on another incident need its rows too: use --data instead of --mysql")
        # Before incidents are written, which takes a minute.
        if mysql:
            from atlas.benchmarks.excytin import mysql_engine

            mysql_engine.need_packages()
        else:
            need_packages()
        self.data = data
        self.incident = incident
        self.seeds_from = seeds_from
        self.rows = rows
        self._judge = judge or RuleJudge()
        self._layer: Layer = layer
        self._mysql = mysql
        self._told = told
        self._workers = Workers()
        self.generated = data is None and all(n is None or n >= FIRST for n in (incident, seeds_from))

    @property
    def name(self) -> str:
        """Says all that makes its tasks: results of one run are comparable, and only the same run is resumed."""
        parts = ["excytin", str(self.incident or ("generated" if self.generated else "all"))]
        parts += [f"from-{self.seeds_from}"] if self.seeds_from is not None else []
        parts += [f"{self.rows}-rows"] if self.generated and self.rows != ROWS else []
        parts += [self._layer] if self._layer != "alert" else []
        parts += ["mysql"] if self._mysql else []
        judge = "".join(char if char.isalnum() or char in "-." else "-" for char in self._judge.name)
        parts += [f"judged-{judge}"] if not isinstance(self._judge, RuleJudge) else []
        return "-".join(parts)

    def label(self) -> str:
        """What has to be said of the rows wherever results are shown; empty for the benchmark's full logs."""
        if self.generated:
            return LABEL
        if self._mysql:
            return self._server_label
        there = files.incidents(self.data) if self.incident is None else [self.incident]
        return "; ".join(dict.fromkeys(filter(None, (files.label(number, self.data) for number in there))))

    def check(self, splits: Sequence[str]) -> None:
        """Raises DataError where its one incident has no rows, or no questions of one of ``splits``. Those that are
        generated have all."""
        if self.incident is not None and not self.generated:
            for split in splits:
                files.questions(self.incident, split, self.data)
            files.database(self.incident, self.data)

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> Sequence[TaskRef]:
        """The questions in order. Fewer are taken evenly from all of them; more generated ones from more incidents."""
        found = self._questions(split, n, seed)
        count = len(found) if n is None else min(n, len(found))
        return [self._ref(found[index * len(found) // count]) for index in range(count)]

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> Sequence[TaskRef]:
        """Train questions in an order drawn by ``seed``, which is the order in which a learning curve grows.

        About the incident that they are taken from where one is named; otherwise about all with train questions, and
        for generated incidents about those of the train split, which share no name with those of the test split.
        """
        if split == "train" and self.seeds_from is None:
            raise ConfigError("demonstrations come from train, so train cannot be tested on: choose --split test")
        source = self.seeds_from if self.seeds_from is not None else self.incident
        if self.generated and source is None:
            found = self._drawn("train", n, seed, lambda question: True)
        else:
            found = self._about(source, "train")
        random.Random(seed).shuffle(found)
        return [self._ref(question) for question in found[:n]]

    def distiller(self) -> Distiller:
        """The rules by which investigations become entries of a pamphlet."""
        return InvestigationDistiller()

    def _questions(self, split: str, n: int | None, seed: int) -> list[Question]:
        if split not in files.SPLITS:
            raise ConfigError(f"ExCyTIn has no split {split!r}: choose one of {', '.join(files.SPLITS)}")
        if self.generated and self.incident is None:
            own: Split = "test" if split == "test" else "train"
            return self._drawn(own, n or 0, seed, lambda question: question.split == own)
        return self._about(self.incident, split)

    def _about(self, number: int | None, split: str) -> list[Question]:
        if self.generated and number is not None:
            return [question for question in self._made(number) if question.split == split]
        numbers = files.incidents(self.data) if number is None else [number]
        return [question for one in numbers for question in files.questions(one, split, self.data)]

    def _drawn(self, split: Split, n: int, seed: int, wanted: Callable[[Question], bool]) -> list[Question]:
        """The questions about the first incidents of a split: as many incidents as usual, or as ``n`` need."""
        found: list[Question] = []
        for index in range(PER_SPLIT):
            if index >= INCIDENTS[split] and len(found) >= n:
                break
            found += filter(wanted, self._made(Spec(split=split, index=index, seed=seed).number))
        return found

    def _made(self, number: int) -> tuple[Question, ...]:
        return incident(self._spec(number), lambda done, of: self._told(self._writing(number, done, of))).questions

    def _spec(self, number: int) -> Spec:
        return Spec.of(number, rows=self.rows)

    @staticmethod
    def _writing(number: int, done: int, of: int) -> str:
        return f"writing incident {number}: {done:,} of {of:,} rows"

    def _ref(self, question: Question) -> TaskRef:
        return TaskRef(id=question.id, environment=lambda: self._environment(question))

    def _environment(self, question: Question) -> IncidentEnv:
        number = question.incident
        if self._mysql:
            return IncidentEnv(question, self._server, self._judge, label=self._server_label)
        if number >= FIRST and self.generated:
            path, label = incident(self._spec(number)).database, LABEL
        else:
            path, label = files.database(number, self.data), files.label(number, self.data)

        def engine() -> Engine:
            return SqliteEngine(path, layer=self._layer, workers=self._workers)

        return IncidentEnv(question, engine, self._judge, label=label)

    @cached_property
    def _server_label(self) -> str:
        from atlas.benchmarks.excytin.importing.to_mysql import label_of

        return label_of(self._mysql or "")

    def _server(self) -> Engine:
        from atlas.benchmarks.excytin.mysql_engine import MysqlEngine

        return MysqlEngine(self._mysql or "", layer=self._layer)
