"""ATIF trajectories of other agents: folders of jobs, contexts that were replaced, calls, totals, times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from atlas.cli import app
from atlas.errors import ConfigError, DataError
from atlas.export import ExportPlan, export, run_rows
from atlas.export.atif_read import import_into
from atlas.export.select import Filters
from atlas.records import Message, Task, Usage, total
from atlas.traces import Run, RunWriter
from atlas.traces.reader import StoredEpisode

USED = {"prompt_tokens": 10, "completion_tokens": 5, "cost_usd": 0.001}
REPLACED = {"context_management": {"type": "compaction", "boundary": "replace"}}


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"source": "user", "message": text, **more}


def system(text: str, **more: Any) -> dict[str, Any]:
    return {"source": "system", "message": text, **more}


def agent(text: str, **more: Any) -> dict[str, Any]:
    return {"source": "agent", "message": text, "metrics": USED, **more}


def calls(*ids: str) -> dict[str, Any]:
    return {"tool_calls": [{"tool_call_id": id, "function_name": "bash", "arguments": {"keys": id}} for id in ids]}


def results(*told: tuple[str | None, str]) -> dict[str, Any]:
    return {"observation": {"results": [{"source_call_id": call, "content": text} for call, text in told]}}


def document(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    numbered = [{"step_id": number, **step} for number, step in enumerate(steps, 1)]
    about = {"name": "term", "version": "1", "model_name": "v/m"}
    return {"schema_version": "ATIF-v1.7", "agent": about, "steps": numbered, **more}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def imported(tmp_path: Path, *steps: dict[str, Any], **more: Any) -> StoredEpisode:
    import_into(tmp_path / "run", [write(tmp_path / "t.json", document(*steps, **more))])
    (episode,) = Run(tmp_path / "run").episodes()
    return episode


def shown(episode: StoredEpisode, step: int = -1) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in episode.steps[step].decision.prompt.messages()]


# --- jobs -------------------------------------------------------------------------------------------------------------


def trial(job: Path, name: str, goal: str, result: dict[str, Any] | None, **more: Any) -> Path:
    write(job / name / "agent" / "trajectory.json", document(user(goal), agent("done"), **more))
    write(job / name / "config.json", {"agent": "term"})
    write(job / name / "verifier" / "ctrf.json", [1, 2])
    if result is not None:
        write(job / name / "result.json", result)
    return job / name


def rewarded(reward: float, **more: Any) -> dict[str, Any]:
    return {"verifier_result": {"rewards": {"reward": reward}}, **more}


def told(run: Path) -> list[tuple[str, str, float | None, bool | None]]:
    return sorted((e.task.id, e.task.goal, e.result.score, e.result.success) for e in Run(run).episodes() if e.result)


def test_a_job_folder_is_read_as_it_is_and_each_trial_has_its_own_reward(tmp_path: Path) -> None:
    trial(tmp_path / "job", "a__1", "task a", rewarded(1.0))
    trial(tmp_path / "job", "b__1", "task b", rewarded(0.0))
    write(tmp_path / "job" / "result.json", {"n_total_trials": 2, "stats": {}})
    (tmp_path / "job" / "b__1" / "artifacts.json").write_text("no json at all")
    command = ["traces", "import", "atif", str(tmp_path / "job"), "-o", str(tmp_path / "run")]
    said = CliRunner().invoke(app, command, catch_exceptions=False).output
    assert "2 trajectories imported" in said and "passed over: 8" in said
    assert told(tmp_path / "run") == [("a__1", "task a", 1.0, True), ("b__1", "task b", 0.0, False)]


def test_a_number_that_no_float_holds_is_no_reward_and_no_score(tmp_path: Path) -> None:
    trial(tmp_path / "job", "a__1", "task a", rewarded(10**400))
    import_into(tmp_path / "run", [tmp_path / "job"])
    assert told(tmp_path / "run") == [("a__1", "task a", None, None)]
    scores = str(write(tmp_path / "scores.json", {"a__1": 10**400}))
    command = ["traces", "import", "atif", str(tmp_path / "job"), "-o", str(tmp_path / "given"), "--scores", scores]
    with pytest.raises(DataError, match="does not map trajectories to scores"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_attempts_at_one_task_are_episodes_of_one_task(tmp_path: Path) -> None:
    for name, reward in (("x__1", 1.0), ("x__2", 0.0)):
        result = rewarded(reward, task_name="bench/x", trial_name=name)
        trial(tmp_path / "job", name, "do x", result, session_id=name)
    import_into(tmp_path / "run", [tmp_path / "job"])
    assert told(tmp_path / "run") == [("bench/x", "do x", 0.0, False), ("bench/x", "do x", 1.0, True)]


def test_a_score_for_a_name_that_two_trials_bear_is_neithers(tmp_path: Path) -> None:
    a = trial(tmp_path / "job", "a__1", "task a", rewarded(1.0)) / "agent"
    b = trial(tmp_path / "job", "b__1", "task b", rewarded(0.0)) / "agent"
    import_into(tmp_path / "run", [a, b], scores={"trajectory": 1.0})
    assert [score for _, _, score, _ in told(tmp_path / "run")] == [1.0, 0.0]
    import_into(tmp_path / "given", [a, b], scores={"b__1": 0.5})
    assert [score for _, _, score, _ in told(tmp_path / "given")] == [1.0, 0.5]
    for folder in (a.parent, b.parent):
        (folder / "result.json").unlink()
    with pytest.raises(DataError, match="fits several trajectories: give one for each of a__1/trajectory, b__1/"):
        import_into(tmp_path / "none", [a, b], scores={"trajectory": 1.0})
    import_into(tmp_path / "both", [a, b], scores={"a__1/trajectory": 0.0, "b__1/trajectory": 1.0})
    assert [(task, score) for task, _, score, _ in told(tmp_path / "both")] == [("a__1", 0.0), ("b__1", 1.0)]


def test_equal_names_with_other_goals_are_other_tasks_in_one_import_and_in_two(tmp_path: Path) -> None:
    part = document(user("look"), agent("seen"), trajectory_id="sub")
    other = document(user("count"), agent("2"), trajectory_id="sub")
    a = write(tmp_path / "a" / "t.json", document(user("one"), agent("1"), subagent_trajectories=[part]))
    b = write(tmp_path / "b" / "t.json", document(user("two"), agent("2"), subagent_trajectories=[other]))
    import_into(tmp_path / "both", [a, b])
    assert [(task, goal) for task, goal, *_ in told(tmp_path / "both")] == [
        ("b/t", "two"), ("sub", "look"), ("t", "one"), ("t/sub", "count"),
    ]  # fmt: skip
    import_into(tmp_path / "apart", [a])
    import_into(tmp_path / "apart", [b])
    assert told(tmp_path / "apart") == told(tmp_path / "both")
    assert import_into(tmp_path / "apart", [a, b]) == (0, 4)


def test_a_damaged_trajectory_among_other_files_is_said(tmp_path: Path) -> None:
    folder = trial(tmp_path / "job", "a__1", "task a", rewarded(1.0))
    path = folder / "agent" / "trajectory.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"trajectory\.json is no JSON document"):
        import_into(tmp_path / "run", [tmp_path / "job"])
    path.unlink()
    with pytest.raises(DataError, match="holds no trajectories"):
        import_into(tmp_path / "run", [tmp_path / "job"])


def test_a_run_that_goes_on_in_another_file_is_one_episode(tmp_path: Path) -> None:
    copied = {"is_copied_context": True}
    folder = tmp_path / "job" / "a__1" / "agent"
    first = document(system("rules"), user("do it"), agent("one"), continued_trajectory_ref="trajectory.cont-1.json")
    second = document(user("do it", **copied), user("handoff"), agent("two"), final_metrics={"total_prompt_tokens": 70})
    write(folder / "trajectory.json", first)
    write(folder / "trajectory.cont-1.json", second)
    write(folder.parent / "result.json", rewarded(1.0))
    for name, paths in (("all", [folder]), ("first", [folder / "trajectory.json"])):
        import_into(tmp_path / name, paths)
        (episode,) = Run(tmp_path / name).episodes()
        assert episode.result is not None and episode.result.score == 1.0
        assert [step.decision.text for step in episode.steps] == ["one", "two"]
        assert shown(episode) == [("system", "rules"), ("user", "do it"), ("user", "handoff")]
        assert total(episode.result.spend) == Usage(calls=2, prompt_tokens=70, completion_tokens=10, dollars=0.002)
    (folder / "trajectory.cont-1.json").unlink()
    command = ["traces", "import", "atif", str(folder), "-o", str(tmp_path / "cut")]
    said = CliRunner().invoke(app, command, catch_exceptions=False).output
    assert "goes on in trajectory.cont-1.json, which is not there" in said


def test_a_continuation_without_copied_steps_goes_on_with_the_conversation(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.json", document(user("go"), agent("one"), continued_trajectory_ref="b.json"))
    write(tmp_path / "in" / "b.json", document(user("and?"), agent("two"), continued_trajectory_ref="a.json"))
    import_into(tmp_path / "run", [tmp_path / "in"])
    (episode,) = Run(tmp_path / "run").episodes()
    assert shown(episode) == [("user", "go"), ("assistant", "one"), ("user", "and?")]


def test_a_trial_has_its_reward_and_its_subagents_have_none(tmp_path: Path) -> None:
    refers = {"observation": {"results": [{"subagent_trajectory_ref": [{"trajectory_path": "summary.json"}]}]}}
    folder = trial(tmp_path / "job", "a__1", "task a", rewarded(1.0))
    write(folder / "agent" / "trajectory.json", document(user("task a"), agent("x"), system("handoff", **refers)))
    write(folder / "agent" / "summary.json", document(user("summarise"), agent("short")))
    import_into(tmp_path / "run", [tmp_path / "job"])
    assert [(goal, score) for _, goal, score, _ in told(tmp_path / "run")] == [("task a", 1.0), ("summarise", None)]


# --- what the agent was shown -----------------------------------------------------------------------------------------


def test_after_a_compaction_the_summary_stands_in_place_of_what_was(tmp_path: Path) -> None:
    boundary = system("Compacted.", extra=REPLACED, **results((None, "SUMMARY")))
    steps = (system("rules"), user("old"), agent("old answer"), boundary, user("new"), agent("new answer"))
    episode = imported(tmp_path, *steps)
    assert shown(episode, 0) == [("system", "rules"), ("user", "old")]
    assert shown(episode) == [("system", "rules"), ("user", "SUMMARY"), ("user", "new")]
    assert episode.steps[0].outcome.text == "SUMMARY\nnew" == episode.steps[1].observation
    assert episode.task.goal == "old"
    export([Run(tmp_path / "run")], tmp_path / "out", plan())
    prompts = [line["messages"] for line in lines(tmp_path / "out")]
    assert "old answer" not in json.dumps(prompts[1])


def test_what_a_call_returned_before_a_compaction_is_its_outcome_all_the_same(tmp_path: Path) -> None:
    boundary = system("Compacted.", extra=REPLACED, **results((None, "SUMMARY")))
    episode = imported(tmp_path, user("go"), agent("x", **calls("1"), **results(("1", "A"))), boundary, agent("y"))
    assert episode.steps[0].outcome.text == "A\nSUMMARY" and episode.steps[1].observation == "SUMMARY"


def test_what_is_exported_of_it_comes_back_as_it_was(tmp_path: Path) -> None:
    boundary = system("Compacted.", extra=REPLACED, **results((None, "SUMMARY")))
    steps = (agent("x", **calls("1", "2"), **results((None, "S"))), boundary, user("on"), agent("y", **calls("3")))
    before = imported(tmp_path, system("rules"), user("go"), *steps, system("", **results(("3", "late"))), agent("z"))
    export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format="atif"))
    import_into(tmp_path / "back", [tmp_path / "out"])
    (after,) = Run(tmp_path / "back").episodes()
    assert (after.steps, after.task) == (before.steps, before.task)


@pytest.mark.parametrize(
    ("boundary", "whole"),
    [
        (system("Handed over.", extra=REPLACED), False),
        (system("Cut.", extra={"context_management": {"type": "pruning", "boundary": "truncate"}}), False),
        (system("Told.", extra={"context_management": {"type": "injection", "boundary": "append"}}), True),
        (
            system("Summarised.", observation={"results": [{"subagent_trajectory_ref": [{"trajectory_id": "s"}]}]}),
            False,
        ),
        (system("", extra={"context_management": {"type": "compaction"}}, **results((None, "S"))), True),
        (agent("", llm_call_count=0, metrics=None, extra=REPLACED, **calls("c"), **results(("c", "S"))), True),
    ],
)
def test_a_prompt_that_is_not_told_in_full_is_no_example(boundary: dict[str, Any], whole: bool, tmp_path: Path) -> None:
    episode = imported(tmp_path, user("go"), agent("one"), boundary, agent("two"))
    assert episode.steps[-1].decision.reason == ("imported" if whole else "untold")
    (_, *others, last) = run_rows(Run(tmp_path / "run"), permitted=["*"])
    assert last.trainable == whole and not any(row.trainable for row in others)
    manifest = export([Run(tmp_path / "run")], tmp_path / "out", plan())
    assert manifest.rows == 1 + whole


def test_a_boundary_without_a_summary_leaves_it_to_the_next_message(tmp_path: Path) -> None:
    episode = imported(tmp_path, user("go"), agent("one"), system("Compacted.", extra=REPLACED), user("S"), agent("2"))
    assert shown(episode) == [("user", "S")] and episode.steps[-1].decision.reason == "imported"


def test_what_system_and_user_steps_observed_is_part_of_the_conversation(tmp_path: Path) -> None:
    seen = (user("! ls", **results((None, "a.py"))), system("hook", **results((None, "2 tests failed"))))
    episode = imported(tmp_path, user("go"), agent("one"), *seen, agent("two"))
    assert [text for _, text in shown(episode)] == ["go", "one", "! ls", "a.py", "hook", "2 tests failed"]
    assert episode.steps[0].outcome.text == "! ls\na.py\n2 tests failed"


TALKS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "one screen": ([agent("x", **calls("1", "2"), **results((None, "S")))], ["1 ", "2 S"]),
    "in order": ([agent("x", **calls("1", "2"), **results((None, "A"), (None, "B")))], ["1 A", "2 B"]),
    "the other one": ([agent("x", **calls("1", "2"), **results(("2", "B"), (None, "A")))], ["1 A", "2 B"]),
    "two results": ([agent("x", **calls("1"), **results(("1", "A"), ("1", "B")))], ["1 A\nB"]),
    "no result": ([agent("x", **calls("1"))], ["1 "]),
    "a step later": ([agent("x", **calls("1")), system("", **results(("1", "A")))], ["1 A"]),
    "after a word": ([agent("x", **calls("1")), user("wait"), system("", **results(("1", "A")))], ["1 A", "user wait"]),
    "late": (
        [agent("x", **calls("1"), **results(("1", "runs"))), agent("y", **results(("1", "late")))],
        ["1 runs", "assistant y", "user late"],
    ),
    "of no call": ([agent("x", **results(("9", "A")))], ["user A"]),
    "beside": ([agent("x", **calls("1"), **results(("1", "A"), (None, "note")))], ["1 A", "user note"]),
}


@pytest.mark.parametrize("name", TALKS)
def test_every_call_is_answered_right_after_it_and_nothing_answers_no_call(name: str, tmp_path: Path) -> None:
    steps, expected = TALKS[name]
    episode = imported(tmp_path, user("go"), *steps, agent("done"))
    history = episode.steps[-1].decision.prompt.history
    assert [f"{m.tool_call_id or m.role} {m.content}" for m in history[2:]] == expected
    assert not list(faults(history))


def faults(messages: tuple[Message, ...]) -> Iterator[str]:
    """What OpenAI refuses: a call that is not answered right after its message, an answer to no call."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                yield f"{message.tool_call_id} answers no call"
            else:
                waiting.remove(message.tool_call_id)
        else:
            yield from (f"{call} is not answered" for call in waiting)
            waiting = [call.id for call in message.tool_calls]


# --- what it used, and when -------------------------------------------------------------------------------------------


def test_steps_that_asked_no_model_or_several_times_say_so(tmp_path: Path) -> None:
    flow = agent("", llm_call_count=0, metrics=None, **calls("w"), **results(("w", "ok")))
    answer = agent("answer", llm_call_count=3)
    episode = imported(tmp_path, user("go"), flow, answer)
    assert episode.result is not None
    assert episode.steps[0].spend == () and episode.steps[0].decision.reason == "dispatched"
    assert total(episode.result.spend) == Usage(calls=3, prompt_tokens=10, completion_tokens=5, dollars=0.001)
    assert (episode.result.steps, episode.result.teacher_steps) == (2, 1)
    manifest = export([Run(tmp_path / "run")], tmp_path / "out", plan())
    assert manifest.rows == 1 and manifest.left_out["chosen by a program and no model"].rows == 1
    untold = {"metrics": None, "llm_call_count": 2}
    (tmp_path / "other").mkdir()
    several = imported(tmp_path / "other", user("go"), agent("x", **{**untold, **calls("1", "2")}), agent("y"))
    assert several.steps[0].spend[0].usage == Usage(calls=2, dollars=None, unmetered=2)
    assert several.steps[0].decision.reason == "untold", "calls of two replies are told as one reply's"


def test_what_we_export_of_it_is_valid_and_tells_the_calls(tmp_path: Path) -> None:
    atif = pytest.importorskip("atif", reason="the package atif is not installed")
    flow = agent("", llm_call_count=0, metrics=None, **calls("w"), **results(("w", "ok")))
    imported(tmp_path, user("go"), flow, agent("answer", llm_call_count=3))
    export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format="atif"))
    (path,) = (tmp_path / "out" / "train").glob("*.json")
    checked = atif.Trajectory.model_validate_json(path.read_text())
    assert [s.llm_call_count for s in checked.steps if s.source == "agent"] == [0, 3]


@pytest.mark.parametrize(
    ("metrics", "final", "expected"),
    [
        (
            [None],
            {"total_prompt_tokens": 5261335, "total_completion_tokens": 26267, "total_cost_usd": 1.5},
            Usage(calls=1, prompt_tokens=5261335, completion_tokens=26267, dollars=1.5),
        ),
        (
            [USED],
            {"total_prompt_tokens": 12, "total_completion_tokens": 9, "total_cost_usd": 0.5},
            Usage(calls=1, prompt_tokens=12, completion_tokens=9, dollars=0.5),
        ),
        (
            [USED, None],
            {"total_cost_usd": 0.5},
            Usage(calls=2, prompt_tokens=10, completion_tokens=5, dollars=0.5, unmetered=1),
        ),
        (
            [USED, USED],
            {"total_prompt_tokens": 3, "total_completion_tokens": 3, "total_cost_usd": 0.0},
            Usage(calls=2, prompt_tokens=20, completion_tokens=10, dollars=0.002),
        ),
        ([USED, None], {}, Usage(calls=2, prompt_tokens=10, completion_tokens=5, dollars=None, unmetered=1)),
    ],
)
def test_the_totals_count_where_they_tell_more_than_the_steps(
    metrics: list[dict[str, Any] | None], final: dict[str, Any], expected: Usage, tmp_path: Path
) -> None:
    turns = [agent("x", metrics=told) for told in metrics]
    episode = imported(tmp_path, user("go"), *turns, final_metrics=final)
    assert episode.result is not None
    assert total(episode.result.spend) == expected


def test_what_subagents_used_is_counted_once(tmp_path: Path) -> None:
    part = document(user("look"), agent("seen"), trajectory_id="sub")
    final = {"total_prompt_tokens": 20, "total_completion_tokens": 10, "total_cost_usd": 0.002}
    refers = {"observation": {"results": [{"subagent_trajectory_ref": [{"trajectory_path": "p.json"}]}]}}
    steps = (user("go"), agent("x", **refers))
    write(tmp_path / "embedded" / "t.json", document(*steps, final_metrics=final, subagent_trajectories=[part]))
    write(tmp_path / "beside" / "t.json", document(*steps, final_metrics=final))
    write(tmp_path / "beside" / "p.json", part)
    for name in ("embedded", "beside"):
        import_into(tmp_path / "runs" / name, [tmp_path / name])
        used = [total(result.spend) for result in Run(tmp_path / "runs" / name).results()]
        assert used == [Usage(calls=1, prompt_tokens=10, completion_tokens=5, dollars=0.001)] * 2


def test_a_time_without_a_zone_is_utc_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        at = ("2026-03-01T10:00:00", "2026-03-01T10:00:05Z")
        episode = imported(tmp_path, user("go", timestamp=at[0]), agent("x", timestamp=at[1]))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert episode.result is not None and (episode.result.seconds, episode.result.started) == (5.0, 1772359200.0)


def test_no_time_is_written_where_none_was_told(tmp_path: Path) -> None:
    imported(tmp_path, user("go"), agent("x"))
    export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format="atif"))
    (path,) = (tmp_path / "out" / "train").glob("*.json")
    assert all("timestamp" not in step for step in json.loads(path.read_text())["steps"])


def test_what_an_older_build_read_otherwise_is_not_mixed_with_it(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {"kind": "imported", "format": "atif"}) as writer:
        writer.start("e", "term", Task(id="t", goal="go"), 0, "c")
    path = write(tmp_path / "t.json", document(user("go"), agent("x")))
    with pytest.raises(ConfigError, match="for a new run"):
        import_into(tmp_path / "run", [path])


def plan() -> ExportPlan:
    return ExportPlan(format="openai-sft", permitted=("*",), filters=Filters(success=False))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
