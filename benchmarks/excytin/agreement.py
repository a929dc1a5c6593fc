"""``python -m atlas.benchmarks.excytin.agreement``: how far rules agree with the recorded verdicts of a model judge.

The rules were tuned on the questions whose hash is even, and are measured on those whose hash is odd. A question is in
one part with all its answers, whichever agent gave them. Many questions of an incident share a golden answer, so the
held-out questions whose answer no tuned-on question has are also shown by themselves: they are the stricter test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import click

from atlas.asking import Desk
from atlas.benchmarks.excytin.judge import RuleJudge, credit, step_correct
from atlas.benchmarks.excytin.recorded import RecordedVerdict, recorded_verdicts
from atlas.benchmarks.program import Program
from atlas.evaluators.calibration import Calibration, Judged, calibrate
from atlas.evaluators.rules import AnswerJudge
from atlas.evaluators.verdict import Case, Judge
from atlas.figures import bounds, figure
from atlas.records import Record, Task
from atlas.stats import Interval

HELD_OUT, NEW, TUNED = "held-out", "held-out, new answer", "tuned-on"


class Agreement(Record):
    """How far one judge agrees with the record on one part."""

    part: str
    judge: str
    calibration: Calibration


class Rewards(Record):
    """Mean reward of one agent's judged answers: as recorded, and by the rule judge."""

    agent: str
    answers: int
    recorded: float
    rule: float


class Report(Record):
    """All that the command prints."""

    label: str = "recorded subset, not comparable with the leaderboard"
    split: str = "by question: tuned on even hashes of (context, question, answer), held out odd ones"
    answers: tuple[Agreement, ...]
    steps: tuple[Agreement, ...]
    """Verdicts on the steps of a solution that count for partial credit (all but the last)."""
    rewards: tuple[Rewards, ...]
    """On the held-out part, by agent."""
    recorded_credit: tuple[int, int]
    """Of so many recorded step verdicts on wrong answers, for how many our formula gives the recorded reward."""


def held_out(question: str) -> bool:
    """Whether a question, by its hash, is in the part that no rule was tuned on."""
    return int(question, 16) % 2 == 1


async def measure(verdicts: Sequence[RecordedVerdict]) -> Report:
    """Agreement of exact match, normal form and the rule judge with ``verdicts``."""
    seen = {v.golden for v in verdicts if not held_out(v.question)}
    parts = {
        HELD_OUT: [v for v in verdicts if held_out(v.question)],
        NEW: [v for v in verdicts if held_out(v.question) and v.golden not in seen],
        TUNED: [v for v in verdicts if not held_out(v.question)],
    }
    rule = RuleJudge()
    judges: list[Judge] = [AnswerJudge("exact"), AnswerJudge("normal"), rule]
    answers = [
        Agreement(part=part, judge=judge.name, calibration=await _on_answers(judge, chosen))
        for part, chosen in parts.items()
        for judge in judges
    ]
    steps = [Agreement(part=part, judge=rule.name, calibration=_on_steps(chosen)) for part, chosen in parts.items()]
    graded = [v for v in verdicts if v.steps is not None and not v.correct]
    fits = sum(abs(credit(v.steps or ()) - v.reward) < 1e-9 for v in graded)
    return Report(
        answers=tuple(answers),
        steps=tuple(steps),
        rewards=tuple(_rewards(rule, parts[HELD_OUT])),
        recorded_credit=(len(graded), fits),
    )


async def _on_answers(judge: Judge, verdicts: Sequence[RecordedVerdict]) -> Calibration:
    cases = []
    for number, v in enumerate(verdicts):
        # Without the solution: what is measured is the verdict on the answer, not partial credit.
        task = Task(id=v.question, goal="")
        case = Case(id=str(number), task=task, answer=v.submitted, reference=v.golden)
        verdict = await judge.judge(case, Desk())
        cases.append(Judged(score=verdict.score, recorded=v.correct, group=v.question))
    return calibrate(cases)


def _on_steps(verdicts: Sequence[RecordedVerdict]) -> Calibration:
    return calibrate(
        [
            Judged(score=float(step_correct(v.submitted, step)), recorded=right, group=v.question)
            for v in verdicts
            if v.steps is not None and not v.correct
            # Paired with the next step, so that the last one, which does not count, is left out.
            for (step, right), _ in pairwise(zip(v.solution, v.steps, strict=True))
        ]
    )


def _rewards(rule: RuleJudge, verdicts: Sequence[RecordedVerdict]) -> list[Rewards]:
    rows = []
    for agent in dict.fromkeys(v.agent for v in verdicts):
        chosen = [v for v in verdicts if v.agent == agent]
        scores = [rule.verdict(v.submitted, v.golden, v.solution).score or 0.0 for v in chosen]
        recorded = fmean(v.reward for v in chosen)
        rows.append(Rewards(agent=agent, answers=len(chosen), recorded=recorded, rule=fmean(scores)))
    return rows


def _print(report: Report) -> None:
    from rich import box
    from rich.table import Table

    from atlas.tables import console

    out = console()
    out.print(f"{report.label}; {report.split}")
    for title, rows in (("Answers", report.answers), ("Steps of the solution, wrong answers", report.steps)):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("part", "judge", "n", "questions", "accuracy [95 %]", "kappa [95 %]", "tp/fp/fn/tn"):
            table.add_column(name, justify="left" if name in ("part", "judge") else "right")
        for row in rows:
            c = row.calibration
            table.add_row(
                row.part,
                row.judge,
                str(c.n),
                str(c.groups),
                _shown(c.accuracy, percent=True),
                _shown(c.kappa),
                "/".join(map(str, c.confusion)),
            )
        out.print(table)
    table = Table(title="Mean reward of held-out answers", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("agent", "answers", "recorded", "by rule"):
        table.add_column(name, justify="left" if name == "agent" else "right")
    for reward in report.rewards:
        table.add_row(reward.agent, str(reward.answers), f"{reward.recorded:.3f}", f"{reward.rule:.3f}")
    out.print(table)
    graded, fits = report.recorded_credit
    out.print(f"partial credit from the recorded step verdicts equals the recorded reward in {fits} of {graded}")


def _shown(interval: Interval, percent: bool = False) -> str:
    if percent:
        return f"{figure(interval.mean, 1)} % [{bounds(interval, 1)}]"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


@click.command(name="agreement", cls=Program)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="The folder that holds traces/MODEL/.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(data: Path, as_json: bool) -> None:
    """Compare the rule judge with the verdicts recorded in logged runs, on questions held out from its tuning."""
    report = asyncio.run(measure(recorded_verdicts(data)))
    if as_json:
        click.echo(report.model_dump_json())
    else:
        _print(report)


if __name__ == "__main__":
    command()
