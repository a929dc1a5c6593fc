"""What was tried of one row of the table of kills, trial by trial, and kept in a file where one is named: a
measurement that was cut off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.perf.table import Cell
from atlas.benchmarks.reliability.plan import Plan
from atlas.errors import ConfigError


@dataclass
class Trial:
    """One piece of work that was killed until it was done."""

    number: int
    chance: Random
    """Its own: what is drawn in one trial does not depend on the others."""
    kills: int = 0
    wrong: str = ""
    """What is not as undisturbed; empty where nothing is."""
    unaccounted: int | None = None
    """Calls that were billed and are in no account, where there is a bill."""


class Trials:
    """Those of one row. ``wanted`` kills are aimed at."""

    def __init__(self, name: str, plan: Plan, wanted: int) -> None:
        self._name, self._plan, self._wanted = name, plan, wanted
        self.kills = self.finished = 0
        self.unaccounted: int | None = None
        self.wrong: list[str] = []
        if plan.log is not None:
            for said in _lines(plan.log):
                if (said["row"], said["seed"]) == (name, plan.seed):
                    self._count(Trial(said["trial"], Random(), said["kills"], said["wrong"], said["unaccounted"]))

    @property
    def left(self) -> int:
        return max(0, self._wanted - self.kills)

    def __iter__(self) -> Iterator[Trial]:
        """The next one, as long as there are kills to make and the time is not over. What became of it is to be written
        into it."""
        while self.left and not self._plan.late:
            trial = Trial(self.finished, self._plan.chance(self._name, self.finished))
            yield trial
            self._count(trial)
            self._keep(trial)
            if trial.wrong or self.finished % 5 == 0:
                wrong = f"; {trial.wrong[:300]}" if trial.wrong else ""
                self._plan.said(
                    f"{self._name}: {self.kills} of {self._wanted} kills, {len(self.wrong)} not as undisturbed{wrong}"
                )

    def row(self, seconds: float) -> tuple[Cell, ...]:
        """As the table of kills has it."""
        first = self.wrong[0][:200] if self.wrong else ""
        return (self._name, round(seconds, 2), self.kills, self.finished, len(self.wrong), self.unaccounted, first)

    def _count(self, trial: Trial) -> None:
        self.kills += trial.kills
        self.finished += 1
        if trial.wrong:
            self.wrong.append(trial.wrong)
        if trial.unaccounted is not None:
            self.unaccounted = (self.unaccounted or 0) + trial.unaccounted

    def _keep(self, trial: Trial) -> None:
        if self._plan.log is None:
            return
        said = asdict(trial)
        del said["chance"]
        said = {"row": self._name, "seed": self._plan.seed, "trial": said.pop("number"), **said}
        with self._plan.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    from atlas.jsontext import read_json

    with suppress(FileNotFoundError):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                said = read_json(line)
                {name: said[name] for name in ("row", "seed", "trial", "kills", "wrong", "unaccounted")}
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"line {number} of {path} is no trial of kills: name another file with --log, or delete that line"
                ) from error
            yield said
