"""``atlas regrade``: judge the stored episodes of a run again, without running the agent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas import tables
from atlas.cli.number import Number
from atlas.cli.progress import following
from atlas.cli.stopping import goes_on
from atlas.errors import AtlasError, ConfigError, DataError
from atlas.evaluators.calibration import Calibration, Judged, calibrate
from atlas.evaluators.ensemble import AGREEMENT, EnsembleJudge
from atlas.evaluators.verdict import Judge, Verdict
from atlas.jsontext import read_json
from atlas.records import Record, Spend
from atlas.stats import Interval, bounded_mean
from atlas.traces.reader import StoredEpisode, find_run
from atlas.traces.verdicts import VerdictLine, newest, paid

if TYPE_CHECKING:
    from atlas.evaluators.verdict import Reference

RULES = ("outcome", "answer", "excytin-rule")


class ArmScores(Record):
    """What a judge says of one arm."""

    arm: str
    judged: int
    missing: int
    """Episodes without a verdict: in no mean."""
    score: Interval
    """Mean over tasks."""
    axes: dict[str, float]
    """Mean by axis over the episodes that have a score on it."""
    by_arbiter: int
    """Episodes that an ensemble's arbiter decided."""


class PanelJudge(Record):
    """A fast judge of an ensemble, and how often the arbiter had to do without it."""

    judge: str
    asked: int
    missing: int
    """Episodes on which it gave no verdict."""
    reason: str
    """The most frequent of the reasons."""


class Grades(Record):
    """All that the command says."""

    run: str
    judge: str
    config: str
    arms: tuple[ArmScores, ...]
    spend: tuple[Spend, ...]
    """All that this judge has cost on these episodes, missing verdicts included."""
    calibration: Calibration | None
    """Against the environment's success, where it has one."""
    reasons: dict[str, int]
    """Why verdicts are missing."""
    panel: tuple[PanelJudge, ...]
    """The fast judges of an ensemble, the arbiter not among them."""

    @property
    def silent(self) -> bool:
        """Whether a judge said nothing at all: the only one, or one of those that an arbiter is there for."""
        return not any(arm.judged for arm in self.arms) or any(one.missing == one.asked for one in self.panel)


@click.command(name="regrade")
@click.argument("run", type=str)
@click.option(
    "--judge", "judges", multiple=True, required=True, help="MODEL, outcome, answer, excytin-rule or excytin:MODEL."
)
@click.option("--arbiter", help="MODEL that decides where several --judge models disagree or are unsure.")
@click.option("--axis", "axes", multiple=True, help="Judge by these axes only; default all four.")
@click.option("--disagreement", type=Number(0, 1), default=0.15, show_default=True)
@click.option("--uncertainty", type=Number(0, 1), default=0.5, show_default=True)
@click.option("--references", type=click.Path(path_type=Path), help="JSON: task id -> answer or {answer, solution}.")
@click.option("--arm", help="Only this arm.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--retry", is_flag=True, help="Ask again where the verdict is missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(
    run: str,
    judges: tuple[str, ...],
    arbiter: str | None,
    axes: tuple[str, ...],
    disagreement: float,
    uncertainty: float,
    references: Path | None,
    arm: str | None,
    concurrency: int,
    retry: bool,
    as_json: bool,
) -> None:
    """Judge the episodes of RUN (a folder, or a name below ./runs) again; the agent is not run.

    One --judge is that judge; several with --arbiter are an ensemble. Verdicts are appended to verdicts.jsonl in the
    run's folder; the same command goes on where it was stopped and pays for nothing twice.
    """
    from atlas.regrade import finished, judge_hash, regrade

    opened = find_run(run)
    episodes = finished(opened, arm)
    if not episodes:
        which = f"arm {arm!r} of the run" if arm else "run"
        raise ConfigError(f"the {which} {opened.name} has no finished episode to judge: see 'atlas traces show {run}'")
    judge = _judge(judges, arbiter, axes, disagreement, uncertainty)
    known = _references(references) if references else {}
    try:
        with goes_on(kept="the verdicts that were given are kept"), following("episodes") as seen:
            lines = asyncio.run(
                regrade(opened, judge, episodes, references=known, concurrency=concurrency, retry=retry, seen=seen)
            )
    except ExceptionGroup as group:
        if (told := group.subgroup(AtlasError)) is not None and len(told.exceptions) == len(group.exceptions):
            raise told.exceptions[0] from None
        raise
    grades = _grades(opened.name, judge, judge_hash(judge, known), episodes, lines)
    if as_json:
        click.echo(grades.model_dump_json())
    else:
        _print(grades)
    if grades.silent:
        raise click.exceptions.Exit(1)  # what was asked for was not done, and the reasons stand above


def _judge(
    names: Sequence[str], arbiter: str | None, axes: Sequence[str], disagreement: float, uncertainty: float
) -> Judge:
    if len(names) == 1 and arbiter is None:
        kind, _, spec = names[0].partition(":")
        if kind == "excytin" and spec:
            return _excytin(spec)
        return _rule(names[0]) if names[0] in RULES else _model(names[0], axes)
    if arbiter is None or len(names) < 2:
        raise ConfigError("an ensemble is several --judge MODEL and one --arbiter MODEL: give both")
    if rules := [name for name in (*names, arbiter) if name in RULES]:
        raise ConfigError(f"{rules[0]!r} is a rule and no part of an ensemble: use it as the only --judge")
    return EnsembleJudge(
        [_model(name, axes) for name in names],
        _model(arbiter, axes, name=f"arbiter {arbiter}"),
        disagreement=disagreement,
        uncertainty=uncertainty,
    )


def _rule(name: str) -> Judge:
    from atlas.evaluators.rules import AnswerJudge, OutcomeJudge

    if name == "excytin-rule":
        from atlas.cli.regrade_excytin import rule_judge

        return rule_judge()
    return OutcomeJudge() if name == "outcome" else AnswerJudge()


def _excytin(spec: str) -> Judge:
    from atlas.cli.regrade_excytin import model_judge

    _must_judge(spec)
    return model_judge(spec)


def _must_judge(spec: str) -> None:
    if spec.startswith("scripted:"):
        raise ConfigError(f"{spec!r} only chooses actions and cannot judge: name a language model")


def _model(spec: str, axes: Sequence[str], name: str = "") -> Judge:
    from atlas.evaluators.judge import ModelJudge
    from atlas.evaluators.rubric import AXES
    from atlas.models import load

    _must_judge(spec)
    known = {axis.name: axis for axis in AXES}
    if unknown := [axis for axis in axes if axis not in known]:
        raise ConfigError(f"there is no axis {unknown[0]!r}: choose from {', '.join(known)}")
    return ModelJudge(load(spec), axes=[known[axis] for axis in dict.fromkeys(axes)] or AXES, name=name or spec)


def _references(path: Path) -> dict[str, Reference]:
    from atlas.evaluators.verdict import Reference

    try:
        content = read_json(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not one JSON object")
        return {
            task: Reference(answer=value) if isinstance(value, str) else Reference.model_validate(value)
            for task, value in content.items()
        }
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} does not map task ids to answers ({reason}): write JSON {{task: answer}}") from error


def _grades(
    name: str, judge: Judge, config: str, episodes: Sequence[StoredEpisode], lines: Sequence[VerdictLine]
) -> Grades:
    verdicts = {episode: line.verdict for episode, line in newest(lines).items()}
    reasons: dict[str, int] = {}
    for verdict in verdicts.values():
        if verdict.missing:
            reasons[verdict.missing] = reasons.get(verdict.missing, 0) + 1
    outcomes = [
        Judged(score=verdicts[e.id].score, recorded=e.result.success, group=e.task.id)
        for e in episodes
        if e.result is not None and e.result.success is not None
    ]
    return Grades(
        run=name,
        judge=judge.name,
        config=config,
        arms=tuple(
            _arm(arm, [e for e in episodes if e.arm == arm], verdicts) for arm in dict.fromkeys(e.arm for e in episodes)
        ),
        spend=paid(lines),
        calibration=calibrate(outcomes) if any(o.score is not None for o in outcomes) else None,
        reasons=reasons,
        panel=_panel([verdicts[e.id] for e in episodes]),
    )


def _panel(verdicts: Sequence[Verdict]) -> tuple[PanelJudge, ...]:
    """What became of each fast judge: an arbiter that judges alone is no ensemble."""
    said: dict[str, list[str]] = {}
    for verdict in verdicts:
        # An arbiter was asked last, and only where the judges did not agree.
        fast = verdict.opinions if verdict.decided_by == AGREEMENT else verdict.opinions[:-1]
        for opinion in fast:
            said.setdefault(opinion.judge, []).append(opinion.missing)
    found = []
    for judge, reasons in said.items():
        missing = [reason for reason in reasons if reason]
        common = Counter(missing).most_common(1)
        found.append(
            PanelJudge(judge=judge, asked=len(reasons), missing=len(missing), reason=common[0][0] if common else "")
        )
    return tuple(found)


def _arm(arm: str, episodes: Sequence[StoredEpisode], verdicts: dict[str, Any]) -> ArmScores:
    from statistics import fmean

    by_task: dict[str, list[float]] = {}
    axes: dict[str, list[float]] = {}
    for episode in episodes:
        verdict = verdicts[episode.id]
        if verdict.score is not None:
            by_task.setdefault(episode.task.id, []).append(verdict.score)
        for part in verdict.axes:
            if part.score is not None:
                axes.setdefault(part.axis, []).append(part.score)
    judged = sum(map(len, by_task.values()))
    said = [verdicts[e.id] for e in episodes]
    return ArmScores(
        arm=arm,
        judged=judged,
        missing=len(episodes) - judged,
        # JSON has no NaN: nothing judged is shown by n = 0.
        score=bounded_mean([fmean(s) for s in by_task.values()]) if by_task else Interval(mean=0, low=0, high=1, n=0),
        axes={axis: fmean(scores) for axis, scores in axes.items()},
        by_arbiter=sum(bool(v.opinions) and v.score is not None and v.decided_by != AGREEMENT for v in said),
    )


def _print(grades: Grades) -> None:
    from rich import box
    from rich.table import Table

    out = tables.console()
    title = f"Judged by {grades.judge}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    axes = list(dict.fromkeys(axis for row in grades.arms for axis in row.axes))
    table.add_column("arm", style="bold", no_wrap=True)
    for name in ("score [95 %]", "judged", "missing", "by arbiter", *axes):
        table.add_column(name.replace("_", " "), justify="right")
    for row in grades.arms:
        shown = f"{row.score.mean:.2f} [{row.score.low:.2f}, {row.score.high:.2f}]" if row.score.n else "-"
        table.add_row(
            tables.plain(row.arm),
            shown,
            str(row.judged),
            tables.plain(str(row.missing), "yellow" if row.missing else ""),
            str(row.by_arbiter) if row.by_arbiter else "-",
            *(f"{row.axes[axis]:.2f}" if axis in row.axes else "-" for axis in axes),
        )
    out.print(table)
    if grades.spend:
        out.print(tables.spend_table([("judging", s) for s in grades.spend], title="Spend of the judge"))
    if grades.calibration is not None:
        _print_calibration(out, grades.calibration)
    for one in grades.panel:
        if one.missing:
            told = f"{one.judge} gave no verdict on {one.missing} of {one.asked} episodes, which the arbiter judged"
            out.print(tables.plain(f"{told} without it: {tables.shorten(one.reason, 160)}", "yellow"))
    for reason, count in grades.reasons.items():
        out.print(tables.plain(f"missing: {count} episodes: {tables.shorten(reason, 160)}", "yellow"))


def _print_calibration(out: Any, found: Calibration) -> None:
    parts = [
        f"{name} {value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"
        for name, value in (("accuracy", found.accuracy), ("kappa", found.kappa), ("ECE", found.ece))
    ]
    told = f"against the environment's success, {found.n} episodes of {found.groups} tasks: {', '.join(parts)}"
    out.print(tables.plain(told))
