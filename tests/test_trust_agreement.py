"""Agreement as a signal of being right: its figures, its intervals, and the command that shows them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.asking import Desk
from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import DataError
from atlas.policies import Cascade
from atlas.records import Decision, Observation, Reply, Step, Task, View
from atlas.stats.resampling import others
from atlas.stats.scores import auroc
from atlas.testing import ScriptedModel
from atlas.traces.audit import audit_rows
from atlas.traces.reader import Run
from atlas.trust import Trust
from atlas.trust.agreement import (
    AgreementRow,
    Choice,
    agreement_row,
    agreement_rows,
    choice_of,
)

# --- what a step says -------------------------------------------------------------------------------------------------


def say(*actions: str, logprobs: tuple[float | None, ...] = ()) -> ScriptedModel:
    told = (*logprobs, *(None,) * len(actions))
    replies = [Reply(text=f"Action: {a}" if a else "", logprob=p) for a, p in zip(actions, told, strict=False)]
    return ScriptedModel(replies, shares_prompt=True)


async def chosen(student: ScriptedModel, teacher: ScriptedModel, **options: Any) -> Choice | None:
    cascade = Cascade(student, teacher, **{"audit": 1.0, **options})
    decided = await cascade.decide(View(task=Task(id="t", goal=""), opening="a box"), Desk())
    return choice_of(made(decided), "t", "e")


def made(decided: Decision) -> Step:
    return Step(index=0, observation="", decision=decided, outcome=Observation(text=""), seconds=0.0)


async def test_an_audited_step_and_a_split_one_say_whether_the_first_choice_is_the_teachers() -> None:
    agreed = await chosen(say("open", "`open`", "open "), say("open"))
    assert agreed == Choice("t", "e", 3, 1.0, None, acted=True, asked=True, right=True)
    split = await chosen(say("shut", "open", "open"), say("shut"))
    assert split == Choice("t", "e", 3, 2 / 3, None, acted=False, asked=True, right=False)
    unaudited = await chosen(say("open", "open", "open"), say(), audit=0.0)
    assert unaudited is not None and (unaudited.asked, unaudited.right) == (False, None)


async def test_samples_and_teachers_without_an_action() -> None:
    one = await chosen(say("open", "", "open"), say("open"))
    assert one is not None and (one.share, one.acted, one.right) == (2 / 3, False, True)
    none = await chosen(say("", "", ""), say("open"))
    assert none is not None and (none.share, none.probability, none.right) == (0.0, None, False)
    silent = await chosen(say("open", "shut", "open"), say(""))
    assert silent is not None and (silent.acted, silent.asked, silent.right) == (False, True, None)


async def test_the_probability_is_that_of_the_first_choice() -> None:
    found = await chosen(say("a", "b", "a", logprobs=(np.log(0.4), np.log(0.9), np.log(0.1))), say("a"))
    assert found is not None and found.probability == pytest.approx(0.2)


async def test_a_step_on_which_a_majority_was_trusted_is_split_and_the_students() -> None:
    found = await chosen(say("a", "b", "a"), say("b"), trust=Trust(threshold=0.6))
    assert found is not None and (found.share, found.acted, found.right) == (2 / 3, True, False)


async def test_a_share_is_of_the_samples_drawn_where_drawing_stopped_early() -> None:
    one_by_one = ScriptedModel(["Action: a", "Action: a", "Action: b"])
    early = await chosen(one_by_one, say("a"), samples=5)
    assert early is not None and (early.samples, early.share, early.right) == (3, 2 / 3, True)
    full = await chosen(say(*"aaaaa"), say("a"), samples=5)
    assert full is not None
    assert (row([early, full]).stopped, row([full, full]).stopped) == (1, 0)


async def test_steps_of_other_policies_say_nothing() -> None:
    assert choice_of(made(Decision(action="a", actor="student", reason="solo")), "t", "e") is None
    assert await chosen(say(), say("a"), trust=Trust(threshold=None)) is None


# --- the figures of an arm --------------------------------------------------------------------------------------------


def choice(task: int, share: float, right: bool | None, **changes: Any) -> Choice:
    acted = share == 1.0
    kept: dict[str, Any] = {"acted": acted, "asked": not acted or right is not None, "probability": None, **changes}
    return Choice(task=f"t{task}", episode=f"e{task}", samples=3, share=share, right=right, **kept)


def row(choices: list[Choice]) -> AgreementRow:
    return agreement_row("run", "cascade", choices)


def test_the_rates_of_an_arm() -> None:
    steps = [choice(t, 1.0, s != 0) for t in range(10) for s in range(4)]
    steps += [choice(t, 2 / 3, s == 0) for t in range(10) for s in range(2)]
    found = row(steps)
    assert (found.steps, found.episodes, found.tasks, found.acted, found.audited) == (60, 10, 10, 40, 40)
    assert found.right is not None and found.right_unanimous is not None and found.right_split is not None
    assert found.unanimous.mean == pytest.approx(2 / 3)
    assert (found.right_unanimous.mean, found.right_unanimous.n) == (0.75, 40)
    assert (found.right_split.mean, found.right_split.n) == (0.5, 20)
    assert found.right.mean == pytest.approx(40 / 60)
    # Right and unanimous 30, wrong and unanimous 10; right and split 10, wrong and split 10.
    assert found.votes.auroc is not None and found.votes.ece is not None
    assert found.votes.auroc.mean == pytest.approx((30 * 10 + (30 * 10 + 10 * 10) / 2) / (40 * 20))
    assert found.votes.ece.mean == pytest.approx((40 * 0.25 + 20 * (2 / 3 - 0.5)) / 60)
    assert [(level.share, level.steps, level.right) for level in found.levels] == [(2 / 3, 20, 0.5), (1.0, 40, 0.75)]
    # All tasks are alike, so resampling tasks changes nothing (resampling steps would): others may not be.
    assert found.right.high - found.right.low == pytest.approx(others(10))
    assert found.probability is None


def test_audited_steps_stand_for_the_ones_that_were_not() -> None:
    everything = [choice(t, 1.0, t % 4 > 0) for t in range(80)] + [choice(t, 1 / 3, t % 4 == 0) for t in range(80)]
    part = [c._replace(asked=False, right=None) if c.acted and i >= 20 else c for i, c in enumerate(everything)]
    whole, partly = row(everything), row(part)
    assert (partly.audited, partly.known) == (20, 100)
    assert partly.right is not None and whole.right is not None
    assert partly.right.mean == pytest.approx(whole.right.mean)
    assert partly.unanimous == whole.unanimous
    for one, other in ((whole.votes.auroc, partly.votes.auroc), (whole.votes.ece, partly.votes.ece)):
        assert one is not None and other is not None and one.mean == pytest.approx(other.mean)
        assert other.low <= other.mean <= other.high


def test_without_audits_only_the_split_steps_are_known() -> None:
    found = row([choice(t, 1.0, None) for t in range(9)] + [choice(t, 2 / 3, t % 2 == 0) for t in range(9)])
    assert (found.right, found.right_unanimous, found.votes.auroc, found.votes.ece) == (None, None, None, None)
    assert found.right_split is not None and found.right_split.mean == pytest.approx(5 / 9)
    assert found.unanimous.mean == 0.5


def test_a_student_that_is_always_right_or_alone_on_its_task() -> None:
    found = row([choice(t, 1.0, True) for t in range(10)])
    assert found.votes.auroc is None and found.right_split is None
    # Ten tasks without a mistake do not show that there is none.
    assert found.right is not None and found.right.low < 0.75 and found.right.high == pytest.approx(1.0)
    found = row([choice(0, 1.0, True), choice(0, 2 / 3, False)])
    assert found.votes.auroc is not None
    assert (found.votes.auroc.mean, found.votes.auroc.low, found.votes.auroc.high) == (1.0, 0.0, 1.0)


def test_intervals_cover_what_they_are_of_though_steps_of_a_task_are_alike() -> None:
    def drawn(tasks: int) -> list[Choice]:
        """A task is easy, or it is hard."""
        steps = []
        for task in range(tasks):
            chance = 0.95 if rng.random() < 0.5 else 0.35
            for right in map(bool, rng.random(10) < chance):
                steps.append(choice(task, float(rng.choice(levels, p=_SHARES[right])), right))
        return steps

    rng, levels = np.random.default_rng(0), [1 / 3, 2 / 3, 1.0]
    true = auroc(levels * 2, [True] * 3 + [False] * 3, [*_SHARES[True], *_SHARES[False]])
    assert true is not None
    found = [agreement_row("run", "cascade", drawn(40), resamples=200) for _ in range(60)]
    accuracy = [r.right is not None and r.right.low <= 0.65 <= r.right.high for r in found]
    ranking = [r.votes.auroc is not None and r.votes.auroc.low <= true <= r.votes.auroc.high for r in found]
    # An interval that took steps for independent would cover the accuracy in about 70 %.
    assert np.mean(accuracy) > 0.87 and np.mean(ranking) > 0.87


_SHARES = {True: (0.1, 0.3, 0.6), False: (0.4, 0.4, 0.2)}
"""How often a share of votes is seen where the student is right, and where it is wrong."""


# --- runs -------------------------------------------------------------------------------------------------------------

CAST = Cast(student=Nearest(), teacher=ScriptedExpert())


async def played(folder: Path, audit: float, *arms: str, n: int = 3) -> Path:
    options = BenchOptions(split="homes", arms=arms, n=n, demos=6, embedder="hash", audit=audit)
    await Bench(suite=Alfworld(None), cast=CAST, options=options, folder=folder).run()
    return folder


async def test_runs_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = await played(tmp_path / "before", 1.0, "teacher", "cascade", "cascade:0.6")
    second = await played(tmp_path / "after", 1.0, "cascade")
    main(["trust", "agreement", str(first), str(second), "--json"])
    rows = [AgreementRow.model_validate(found) for found in json.loads(capsys.readouterr().out)]
    assert [(r.run, r.arm) for r in rows] == [("before", "cascade"), ("before", "cascade:0.6"), ("after", "cascade")]
    audits = {audit.arm: audit for audit in audit_rows(Run(first).episodes())}
    for found in rows[:2]:
        # Every step is known, and where the student acted 'atlas trust audit' counts the same differences.
        assert found.known == found.steps and found.audited == found.acted == audits[found.arm].audited > 0
        assert found.right is not None and found.votes.auroc is not None and found.votes.ece is not None
        assert found.probability is not None and found.probability_steps > 0
        assert found.votes.auroc.low <= found.votes.auroc.mean <= found.votes.auroc.high
    unanimous, differs = rows[0].right_unanimous, audits["cascade"].differs
    assert unanimous is not None and unanimous.n == differs.n
    assert unanimous.mean == pytest.approx(1.0 - differs.mean)
    main(["trust", "agreement", str(first), str(second)])
    said = capsys.readouterr().out
    assert "before/cascade:0.6" in said and "after/cascade" in said and "AUROC" in said and "ECE" in said
    assert "would have been as good counts as wrong" in " ".join(said.split())


async def test_runs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [await played(tmp_path / "a" / "run", 1.0, "cascade", n=1), tmp_path / "b" / "run"]
    shutil.copytree(*folders)
    main(["trust", "agreement", *map(str, folders), "--json"])
    assert [found["run"] for found in json.loads(capsys.readouterr().out)] == [str(folder) for folder in folders]


async def test_runs_that_do_not_tell_say_what_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unaudited = await played(tmp_path / "unaudited", 0.0, "cascade")
    alone = await played(tmp_path / "alone", 1.0, "teacher", n=1)
    with pytest.raises(DataError, match="--arms cascade --audit 1"):
        agreement_rows("alone", Run(alone).episodes())
    with pytest.raises(SystemExit):
        main(["trust", "agreement", str(unaudited)])
    assert "play it with 'atlas bench ... --audit 1'" in capsys.readouterr().err


async def test_what_rests_on_few_audits_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = await played(tmp_path / "run", 0.5, "cascade")
    (found,) = agreement_rows("run", Run(run).episodes())
    assert 0 < found.audited < found.acted and found.known < found.steps
    main(["trust", "agreement", str(run)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{found.audited} of {found.acted} steps of the student were audited" in said
    assert f"{found.known} of {found.steps}" in said
