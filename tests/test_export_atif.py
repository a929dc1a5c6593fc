"""ATIF: what is exported validates and comes back as it was; what others wrote becomes a run."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.benchmarks.excytin.logged.files import read_file
from atlas.benchmarks.excytin.logged.importing import import_runs
from atlas.cli import app
from atlas.errors import AtlasError, DataError
from atlas.export import ExportPlan, export, run_rows
from atlas.export.atif_read import import_into
from atlas.records import (
    TEACHER,
    Decision,
    Episode,
    Message,
    Observation,
    Prompt,
    Spend,
    Step,
    Stop,
    Task,
    ToolCall,
    Usage,
    Vote,
)
from atlas.testing.runs import write_run
from atlas.traces import Run, RunWriter
from tests.export_fixtures import desk_run, homes_run

OTHERS: dict[str, Any] = {
    "schema_version": "ATIF-v1.6",
    "session_id": "s1",
    "trajectory_id": "t1",
    "agent": {
        "name": "other-agent",
        "version": "2.0",
        "model_name": "vendor/model-1",
        "tool_definitions": [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object"}}}],
    },
    "steps": [
        {"step_id": 1, "source": "system", "message": "You use a shell."},
        {"step_id": 2, "source": "user", "message": "How many files are here?", "timestamp": "2026-01-01T10:00:00Z"},
        {
            "step_id": 3,
            "source": "agent",
            "timestamp": "2026-01-01T10:00:02Z",
            "message": "",
            "reasoning_content": "I count them.",
            "tool_calls": [{"tool_call_id": "c1", "function_name": "shell", "arguments": {"command": "ls | wc -l"}}],
            "observation": {"results": [{"source_call_id": "c1", "content": "3"}]},
            "metrics": {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 50, "cost_usd": 0.002},
            "invented_field": True,
        },
        {"step_id": 4, "source": "agent", "message": [{"type": "text", "text": "There are 3."}], "model_name": "m2"},
    ],
    "subagent_trajectories": [
        {
            "schema_version": "ATIF-v1.7",
            "trajectory_id": "sub",
            "agent": {"name": "helper", "version": "1"},
            "steps": [
                {"step_id": 1, "source": "user", "message": "Look."},
                {"step_id": 2, "source": "agent", "message": "Nothing."},
            ],
        }
    ],
}


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))]


def by_id(run: Run) -> dict[str, Any]:
    return {e.id: (e.arm, e.task, e.seed, e.config, e.steps) for e in run.episodes()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root = tmp_path_factory.mktemp("runs")
    return [Run(homes_run(root / "homes", 3)), Run(desk_run(root / "desk")), Run(write_run(root / "made"))]


def test_what_is_exported_is_valid_by_the_formats_own_models(runs: list[Run], tmp_path: Path) -> None:
    atif = pytest.importorskip("atif", reason="the package atif is not installed")
    export(runs, tmp_path / "out", ExportPlan(format="atif"))
    found = documents(tmp_path / "out")
    assert len(found) == sum(len(run.results()) for run in runs)
    for document in found:
        checked = atif.Trajectory.model_validate(document)
        assert checked.schema_version == "ATIF-v1.7"
        assert checked.final_metrics.total_steps == len(checked.steps)
        assert any(step.source == "agent" and step.metrics.prompt_tokens > 0 for step in checked.steps)


def test_a_tool_agents_trajectory_pairs_calls_with_their_results(runs: list[Run], tmp_path: Path) -> None:
    export([runs[1]], tmp_path / "out", ExportPlan(format="atif"))
    (document, *_) = documents(tmp_path / "out")
    steps = document["steps"]
    assert [step["source"] for step in steps] == ["system", "user", "agent", "agent", "agent"]
    for step, answer in zip(steps[2:4], ("look_up: ok A", "refund: ok A"), strict=True):
        (call,), (result,) = step["tool_calls"], step["observation"]["results"]
        assert result["source_call_id"] == call["tool_call_id"] and result["content"].startswith(answer)
        assert set(call["arguments"]) == {"order"}
    assert steps[2]["model_name"] == "anthropic/large" and "is refunded" in steps[4]["message"]


def test_our_own_exports_come_back_as_they_were(runs: list[Run], tmp_path: Path) -> None:
    for run in runs:
        export([run], tmp_path / run.name, ExportPlan(format="atif", holdout=0.3))
        import_into(tmp_path / "back" / run.name, [tmp_path / run.name])
        back = Run(tmp_path / "back" / run.name)
        assert by_id(back) == by_id(run)
        assert {r.id: r for r in back.results()} == {r.id: r for r in run.results()}


def test_logged_runs_of_real_models_survive_the_round_trip(tmp_path: Path) -> None:
    place = Path(os.environ.get("ATLAS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "excytin" / "traces"
    files = sorted(place.glob("gpt-4.1-mini/agent_incident_134.json.xz"))
    if not files:
        pytest.skip(f"{place} holds no logged runs of ExCyTIn-Bench")
    import_runs([read_file(file) for file in files], tmp_path / "run")
    run = Run(tmp_path / "run")
    export([run], tmp_path / "out", ExportPlan(format="atif"))
    import_into(tmp_path / "back", [tmp_path / "out"])
    assert by_id(Run(tmp_path / "back")) == by_id(run)
    rows = list(run_rows(run, permitted=["gpt-4.1-mini*"]))
    assert rows and all(row.trainable for row in rows)
    assert {row.dollars for row in rows} == {None}, "only whole episodes tell what they cost"
    assert not any(row.trainable for row in run_rows(run)), "imported, so nobody said that it is permitted"


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda t: not any(word in t.lower() for word in ("bearer", "key", "passw", "token"))
)
tool_calls = st.lists(
    st.builds(ToolCall, id=texts.filter(bool), name=texts.filter(bool), arguments=texts | st.just('{"a": [1]}')),
    max_size=2,
).map(tuple)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool", "system"]),
    content=texts,
    tool_calls=tool_calls,
    tool_call_id=st.none() | texts,
)
prompts = st.builds(
    Prompt,
    stable=texts,
    history=st.lists(messages, max_size=4).map(tuple),
    guidance=texts,
    retrieved=texts,
    advice=texts,
    ask=texts,
    tools=st.lists(st.dictionaries(texts, texts, max_size=2), max_size=2).map(tuple),
)
votes = st.builds(Vote, actor=texts, model=texts, action=st.none() | texts, text=texts)
decisions = st.builds(
    Decision,
    action=texts,
    actor=st.sampled_from(["student", "teacher"]),
    reason=texts,
    thought=texts,
    text=texts,
    votes=st.lists(votes, max_size=2).map(tuple),
    prompt=prompts,
    tool_calls=tool_calls,
)
spends = st.lists(
    st.builds(Spend, actor=texts, model=texts, usage=st.builds(Usage, calls=st.integers(0, 9), dollars=st.none())),
    max_size=1,
).map(tuple)


@settings(max_examples=40, deadline=None)
@given(made=st.lists(st.tuples(decisions, texts, texts, st.integers(0, 1), spends), min_size=1, max_size=4))
def test_any_episode_survives_the_round_trip(
    made: list[tuple[Decision, str, str, int, tuple[Spend, ...]]],
) -> None:
    steps = tuple(
        Step(index=i, attempt=a, observation=seen, decision=d, outcome=Observation(text=after), spend=s, seconds=0.25)
        for i, (d, seen, after, a, s) in enumerate(made)
    )
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter(f"{folder}/run") as writer:
            task = Task(id="t", goal="g", family="f")
            writer.start("e1", "arm", task, 3, "c")
            for step in steps:
                writer.step("e1", step)
            writer.end(
                Episode(
                    id="e1", run="run", arm="arm", task=task, seed=3, config="c", stop=Stop.DONE, score=None,
                    success=None, steps=len(steps), teacher_steps=0, spend=(), seconds=1.5, started=1e9,
                )
            )  # fmt: skip
        export([Run(f"{folder}/run")], f"{folder}/out", ExportPlan(format="atif"))
        import_into(f"{folder}/back/run", [Path(f"{folder}/out")])
        assert by_id(Run(f"{folder}/back/run")) == by_id(Run(f"{folder}/run"))


def test_other_agents_trajectories_become_a_run_that_can_be_exported_for_training(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(OTHERS))
    (tmp_path / "scores.json").write_text('{"t1": 1.0}')
    command = ["traces", "import", "atif", str(tmp_path / "one.json"), "-o", str(tmp_path / "run")]
    said = CliRunner().invoke(app, [*command, "--scores", str(tmp_path / "scores.json")], catch_exceptions=False)
    assert said.output.startswith("2 trajectories imported, 0 there already")
    whole, part = Run(tmp_path / "run").episodes()
    assert (whole.task.id, whole.task.goal, whole.arm) == ("t1", "How many files are here?", "other-agent")
    assert whole.result is not None and (whole.result.score, whole.result.success) == (1.0, True)
    assert part.result is not None and part.result.success is None and part.task.id == "sub"
    first, second = whole.steps
    assert first.decision.action == 'shell({"command": "ls | wc -l"})' and first.decision.thought == "I count them."
    assert (first.observation, first.outcome.text, first.seconds) == ("How many files are here?", "3", 0.0)
    (spend,) = first.spend
    assert (spend.actor, spend.model, spend.usage.cached_tokens, spend.usage.dollars) == (
        TEACHER, "vendor/model-1", 50, 0.002,
    )  # fmt: skip
    assert second.spend[0].usage.dollars is None and second.spend[0].model == "m2"
    assert [m.role for m in second.decision.prompt.messages()] == ["system", "user", "assistant", "tool"]
    assert second.decision.action == "There are 3." and second.outcome.done

    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert again.output.startswith("0 trajectories imported, 2 there already")
    assert not [row for row in run_rows(Run(tmp_path / "run")) if row.trainable], "nobody said it is permitted"
    plan = ExportPlan(format="openai-sft", permitted=("vendor/*", "m2"))
    manifest = export([Run(tmp_path / "run")], tmp_path / "out", plan)
    assert manifest.rows == 2 and manifest.left_out["not scored"].episodes == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is no JSON document"),
        ("[]", "is no ATIF trajectory"),
        ('{"schema_version": "ATIF-v2.0", "agent": {"name": "a", "version": "1"}, "steps": []}', "schema_version"),
        ('{"schema_version": "ATIF-v1.7", "agent": {"name": "a", "version": "1"}}', "steps"),
    ],
)
def test_what_is_no_trajectory_is_said_and_nothing_is_written(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(json.dumps(OTHERS))
    (tmp_path / "in" / "b.json").write_text(content)
    with pytest.raises(DataError, match=said):
        import_into(tmp_path / "run", [tmp_path / "in" / "a.json", tmp_path / "in" / "b.json"])
    assert not (tmp_path / "run").exists()


def test_costs_and_scores_that_are_no_amounts_are_said(tmp_path: Path) -> None:
    wrong = json.loads(json.dumps(OTHERS))
    wrong["steps"][2]["metrics"]["cost_usd"] = float("nan")
    (tmp_path / "one.json").write_text(json.dumps(wrong))
    with pytest.raises(DataError, match="cost_usd"):
        import_into(tmp_path / "run", [tmp_path / "one.json"])
    (tmp_path / "one.json").write_text(json.dumps(OTHERS))
    (tmp_path / "scores.json").write_text('{"t1": NaN}')
    command = ["traces", "import", "atif", str(tmp_path / "one.json"), "-o", str(tmp_path / "run")]
    with pytest.raises(DataError, match="t1 is no finite number"):
        CliRunner().invoke(app, [*command, "--scores", str(tmp_path / "scores.json")], catch_exceptions=False)
    assert not (tmp_path / "run").exists()


def test_wrong_names_are_said(tmp_path: Path) -> None:
    def fails(*arguments: str) -> str:
        with pytest.raises(AtlasError) as error:
            CliRunner().invoke(app, ["traces", "import", "atif", *arguments], catch_exceptions=False)
        return str(error.value)

    (tmp_path / "one.json").write_text(json.dumps(OTHERS))
    out = ("-o", str(tmp_path / "run"))
    assert "cannot be read" in fails(str(tmp_path / "none.json"), *out)
    (tmp_path / "empty").mkdir()
    assert "holds no trajectories" in fails(str(tmp_path / "empty"), *out)
    assert "scores" in fails(str(tmp_path / "one.json"), *out, "--scores", str(tmp_path / "one.json"))


def test_a_trajectory_that_was_changed_after_its_export_is_said(runs: list[Run], tmp_path: Path) -> None:
    export([runs[1]], tmp_path / "out", ExportPlan(format="atif"))
    path = next((tmp_path / "out" / "train").glob("*.json"))
    document = json.loads(path.read_text())
    del document["extra"]["atlas"]["episode"]["task"]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="was changed after atlas exported it"):
        import_into(tmp_path / "run", [path])
