"""atlas export: what is in an export, and what is left out and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.errors import ConfigError, DataError
from atlas.evaluators.verdict import Verdict
from atlas.export import ExportPlan, Filters, export, read_rows, run_rows
from atlas.export.rows import PARTS
from atlas.records import STUDENT, TEACHER
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.verdicts import VerdictLine, append_verdict
from tests.export_fixtures import homes_run, lines, write_steps

MADE_UP = ("made-up*",)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(homes_run(tmp_path_factory.mktemp("runs") / "homes"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(write_run(tmp_path_factory.mktemp("runs") / "made"))


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_holds_the_prompt_in_parts_and_what_the_cascade_knew(homes: Run) -> None:
    rows = list(run_rows(homes, permitted=["openai/*"]))
    assert {row.arm for row in rows} == {"teacher", "cascade"}
    for row in rows:
        (step,) = [s for e in homes.episodes() if e.id == row.episode for s in e.steps if s.index == row.index]
        assert row.prompt == step.decision.prompt and row.observation == step.observation
        assert len(row.admissible) == row.admissible_count == step.admissible and row.action in row.admissible
        assert row.completion.content == f"Thought: {row.thought}\nAction: {row.action}"
        assert row.success is True and row.score == 1.0 and row.steps >= row.index + 1
    asked = [row for row in rows if row.arm == "cascade"]
    for row in asked:
        assert row.escalated == (row.index % 2 == 1)
        assert row.agreement == (1.0 if row.index % 2 == 0 else pytest.approx(1 / 3))
        assert row.actor == (TEACHER if row.escalated else STUDENT)
        assert row.model == ("scripted-expert" if row.escalated else "openai/small")
    assert {model: why for row in rows for model, why in row.permitted.items()} == {
        "openai/small": "stated for this export",
        "scripted-expert": "scripted",
    }


def test_rows_are_written_and_read_back_as_they_were(homes: Run, tmp_path: Path) -> None:
    plan = ExportPlan(format="rows", permitted=("openai/*",), keep_duplicates=True)
    manifest = export([homes], tmp_path / "out", plan)
    assert list(read_rows(tmp_path / "out")) == list(run_rows(homes, permitted=["openai/*"]))
    assert manifest.rows == sum(r.steps for r in homes.results())


def test_a_row_renders_with_or_without_the_parts_that_a_student_shall_do_without(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run", {"icd": MadeUpArm(3, 1.0, retrieves=True)}))
    row = next(run_rows(run))
    whole = row.messages()[-1].content
    bare = row.messages(["demonstrations", "actions"])[-1].content
    assert "[example 1]" in whole and "Possible actions" in whole
    assert "[example 1]" not in bare and "Possible actions" not in bare and row.goal in bare
    export([run], tmp_path / "out", ExportPlan(format="trl-sft", permitted=MADE_UP, without=("demonstrations",)))
    for line in lines(tmp_path / "out" / "train.jsonl"):
        assert "[example 1]" not in line["prompt"][-1]["content"]
        assert "Possible actions" in line["prompt"][-1]["content"]


@pytest.mark.parametrize("name", PARTS)
def test_each_part_can_be_left_out_alone(name: str, tmp_path: Path) -> None:
    parts = {field: f"the {part}" for part, field in PARTS.items()}
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["look"], **parts)
    for form in ("trl-sft", "rows"):
        export([Run(tmp_path / "run")], tmp_path / form, ExportPlan(format=form, without=(name,)))
    (line,) = lines(tmp_path / "trl-sft" / "train.jsonl")
    (row,) = read_rows(tmp_path / "rows")
    for text in (line["prompt"][-1]["content"], row.messages()[-1].content):
        assert [part for part in PARTS if f"the {part}" in text] == [part for part in PARTS if part != name]
    assert lines(tmp_path / "trl-sft" / "train.jsonl")[0]["completion"][0]["content"] == "look"


def test_what_is_no_row_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        list(read_rows(tmp_path))
    (tmp_path / "x.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(DataError, match=r"x\.jsonl, line 1, is no training row"):
        list(read_rows(tmp_path))


# --- filters ----------------------------------------------------------------------------------------------------------


def test_filters_choose_and_the_manifest_tells_what_was_left_out_and_why(made: Run, tmp_path: Path) -> None:
    filters = Filters(success=True, arms=("cascade", "teacher"), actors=(TEACHER,))
    plan = ExportPlan(format="trl-sft", filters=filters, permitted=MADE_UP, keep_duplicates=True)
    manifest = export([made], tmp_path / "out", plan)
    wanted = [r for r in made.results() if r.success and r.arm in filters.arms]
    assert manifest.rows == sum(r.teacher_steps for r in wanted) == manifest.counts.by_actor[TEACHER]
    assert manifest.counts.by_arm.keys() == {"cascade", "teacher"} and list(manifest.counts.by_actor) == [TEACHER]
    others = [r for r in made.results() if r.arm not in filters.arms]
    failed = [r for r in made.results() if r.arm in filters.arms and not r.success]
    left = {reason: (v.episodes, v.rows) for reason, v in manifest.left_out.items()}
    assert left == {
        "another arm": (len(others), sum(r.steps for r in others)),
        "not successful": (len(failed), sum(r.steps for r in failed)),
        "another actor": (0, sum(r.steps - r.teacher_steps for r in wanted)),
    }
    total = sum(r.steps for r in made.results())
    assert manifest.rows + sum(v.rows for v in manifest.left_out.values()) == total


def test_hosted_models_are_left_out_until_permission_is_stated_or_recorded(tmp_path: Path) -> None:
    run = Run(homes_run(tmp_path / "plain", 2))
    manifest = export([run], tmp_path / "out", ExportPlan(format="rows", keep_duplicates=True))
    assert list(manifest.counts.by_model) == ["scripted-expert"] and manifest.permitted == {
        "scripted-expert": "scripted"
    }
    assert manifest.left_out["no permission to train on openai/small (kept as context)"].rows == manifest.context_rows
    assert 0 < manifest.context_rows < manifest.rows
    context = [row for row in read_rows(tmp_path / "out") if row.context]
    assert {row.model for row in context} == {"openai/small"} and not any(row.trainable for row in context)
    left = export([run], tmp_path / "sft", ExportPlan(format="trl-sft", keep_duplicates=True)).left_out
    assert left["no permission to train on openai/small"].rows == len(context)
    stated = export(
        [run], tmp_path / "out", ExportPlan(format="rows", permitted=("openai/small",), keep_duplicates=True)
    )
    assert stated.permitted["openai/small"] == "stated for this export"
    recorded = Run(homes_run(tmp_path / "recorded", 2, about={"permitted": ["openai/*"]}))
    manifest = export([recorded], tmp_path / "out", ExportPlan(format="rows", keep_duplicates=True))
    assert manifest.permitted["openai/small"] == "recorded in the run"
    with pytest.raises(ConfigError, match="no list of model names"):
        export(
            [Run(homes_run(tmp_path / "wrong", 1, about={"permitted": "openai"}))],
            tmp_path / "o",
            ExportPlan(format="rows"),
        )


def test_models_that_ran_here_are_permitted_but_not_on_the_word_of_an_imported_run(tmp_path: Path) -> None:
    arms = {"student": MadeUpArm(2, 1.0, dollars=0.0)}
    here = Run(write_run(tmp_path / "here", arms))
    assert export([here], tmp_path / "out", ExportPlan(format="rows")).permitted == {"made-up student": "local"}
    elsewhere = Run(write_run(tmp_path / "elsewhere", arms, settings={"kind": "imported"}))
    with pytest.raises(ConfigError, match="name the models whose terms allow it with --permitted"):
        export([elsewhere], tmp_path / "out2", ExportPlan(format="rows"))


def test_a_benchmarks_test_tasks_do_not_slip_in_unseen(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["look"], split="train")
        write_steps(writer, "e2", ["go"], split="valid_unseen")
    run = Run(tmp_path / "run")
    (note,) = export([run], tmp_path / "out", ExportPlan(format="trl-sft")).notes
    assert "train, valid_unseen" in note and "--split" in note
    chosen = export([run], tmp_path / "out", ExportPlan(format="trl-sft", filters=Filters(splits=("train",))))
    assert chosen.notes == () and chosen.rows == 1 and chosen.left_out["another split"].episodes == 1


def test_a_judges_scores_count_instead_of_the_environments(made: Run, tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run", {"teacher": MadeUpArm(4, 0.0, teacher=1.0)}))
    for i, result in enumerate(run.results()):
        score = None if i == 3 else i / 2
        verdict = Verdict(judge="careful", score=score, missing="" if score is not None else "no answer")
        line = VerdictLine(
            episode=result.id, arm=result.arm, task=result.task.id, config="abcd1234", time=0, verdict=verdict
        )
        append_verdict(run.folder, line)
    filters = Filters(judge="careful", min_score=0.5)
    manifest = export([run], tmp_path / "out", ExportPlan(format="rows", filters=filters, keep_duplicates=True))
    assert {row.score for row in read_rows(tmp_path / "out")} == {0.5, 1.0}
    assert {row.scored_by for row in read_rows(tmp_path / "out")} == {"careful (abcd1234)"}
    assert {reason: v.episodes for reason, v in manifest.left_out.items()} == {"not judged": 1, "score below 0.5": 1}
    with pytest.raises(ConfigError, match=r"no judge named 'harsh': its judges are careful \(abcd1234\)"):
        export([run], tmp_path / "out", ExportPlan(format="rows", filters=Filters(judge="harsh", min_score=0)))
    with pytest.raises(ConfigError, match="give --min-score with --judge"):
        export([run], tmp_path / "out", ExportPlan(format="rows", filters=Filters(judge="careful", success=True)))


def test_steps_of_an_attempt_that_was_retried_are_no_successes(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["go", "look", "take", "win"], attempts=[0, 0, 1, 1])
    run = Run(tmp_path / "run")
    manifest = export([run], tmp_path / "out", ExportPlan(format="trl-sft", filters=Filters(success=True)))
    assert [line["completion"][0]["content"] for line in lines(tmp_path / "out/train.jsonl")] == ["take", "win"]
    assert manifest.left_out["an attempt that was retried: the episode's score is not its own"].rows == 2
    every = export([run], tmp_path / "out", ExportPlan(format="rows"))
    assert every.rows == 4 and [r.last_attempt for r in read_rows(tmp_path / "out")] == [False, False, True, True]
