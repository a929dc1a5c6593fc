"""Logged runs of the benchmark: what becomes of them as a run, and what is computed from them."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest

from atlas.benchmarks.excytin.logged.cascade import Answered, cascade_rows
from atlas.benchmarks.excytin.logged.files import read_file
from atlas.benchmarks.excytin.logged.importing import import_runs
from atlas.benchmarks.excytin.logged.means import mean_rows
from atlas.benchmarks.excytin.logged.published import MEANS, QUESTIONS, ROUNDING, TOTALS, mean_over
from atlas.benchmarks.excytin.logged.tables import command as tables
from atlas.benchmarks.program import Refused
from atlas.cli import main
from atlas.errors import ConfigError, DataError
from atlas.records import Stop
from atlas.traces.reader import Run
from atlas.traces.verdicts import read_verdicts
from atlas.traces.writer import TRACE
from tests.excytin_fixtures import QUESTION, write_folder

JUDGED = {
    "submit": True,
    "query_success": True,
    "submitted_answer": "1.2.3.4",
    "reward": 1,
    "check_ans_response": "Is_Answer_Correct: True",
    "check_ans_reflection": "Is_Answer_Correct: True",
}
TRIAL: dict[str, Any] = {
    "reward": 1,
    "info": JUDGED,
    "messages": [
        {"role": "system", "content": "You are an analyst."},
        {"role": "user", "content": "Somebody signed in from an odd address. Which address was it?"},
        {"role": "assistant", "content": "Thought: look\n\nAction: execute[SELECT IPAddress FROM SigninLogs]"},
        {"role": "user", "content": "[('1.2.3.4',)]"},
        {"role": "assistant", "content": "Thought: seen\nAction: submit[1.2.3.4]"},
    ],
    "usage_summary": {
        "gpt-4.1-nano-2025-04-14": {
            "prompt_tokens": 1_000_000,
            "completion_tokens": 100_000,
            "prompt_tokens_details": {"cached_tokens": 400_000},
        }
    },
}


def entry(number: int = 0, **changes: Any) -> dict[str, Any]:
    """An entry of an ``agent`` file; another ``number`` is another question."""
    question = QUESTION if number == 0 else {**QUESTION, "question": f"Which address was it? ({number})"}
    trial = {**copy.deepcopy(TRIAL), **changes}
    return {"nodes": "1-2", "reward": trial["reward"], "question_dict": question, "trials": {"0": trial}}


def write(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(entries).encode()
    packed = {".xz": lzma.compress(content), ".gz": gzip.compress(content)}
    path.write_bytes(packed.get(path.suffix, content))
    return path


def env_entry() -> dict[str, Any]:
    going: dict[str, Any] = {"submit": False, "query_success": True}
    return {
        "question": QUESTION,
        "reward": 1,
        "steps": 2,
        "trajectory": [
            {"action": "SHOW TABLES", "observation": "[('SigninLogs',)]", "reward": 0, "done": False, "info": going},
            {"action": "1.2.3.4", "observation": "", "reward": 1, "done": True, "info": JUDGED},
        ],
    }


def test_an_agent_file_becomes_episodes_with_prompts_rewards_and_dollars(tmp_path: Path) -> None:
    file = write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json.xz", [entry()])
    import_runs([read_file(file)], tmp_path / "run")
    (episode,) = Run(tmp_path / "run").episodes()
    result = episode.result
    assert result is not None
    assert (result.arm, result.stop, result.score, result.success, result.steps) == (
        "gpt-4.1-nano",
        Stop.DONE,
        1.0,
        True,
        2,
    )
    (spend,) = result.spend
    # 600,000 fresh at .10, 400,000 cached at .025, 100,000 written at .40 dollars a million.
    assert spend.usage.dollars == pytest.approx(0.06 + 0.01 + 0.04)
    first, last = episode.steps
    assert first.decision.action == "execute[SELECT IPAddress FROM SigninLogs]"
    assert first.decision.thought == "look"
    assert first.outcome.text == last.observation == "[('1.2.3.4',)]"
    assert last.outcome.score == 1.0 and last.outcome.done
    assert [s.usage.dollars for s in first.spend] == [None], "a step's own tokens were not logged"
    sent = last.decision.prompt.messages()
    assert [m.model_dump(include={"role", "content"}) for m in sent] == TRIAL["messages"][:4]
    assert last.decision.text == TRIAL["messages"][4]["content"]


def test_the_verdict_stands_beside_the_run_and_its_unknown_cost_is_unknown(tmp_path: Path) -> None:
    file = write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry()])
    import_runs([read_file(file)], tmp_path / "run")
    (line,) = read_verdicts(tmp_path / "run")
    assert (line.verdict.score, line.verdict.model) == (1.0, "gpt-4o")
    assert "Is_Answer_Correct: True" in line.verdict.rationale
    assert [(s.usage.calls, s.usage.dollars) for s in line.verdict.spend] == [(2, None)]


def test_an_env_file_has_no_tokens_and_is_unpriced_not_free(tmp_path: Path) -> None:
    file = write(tmp_path / "gpt-4.1" / "env_incident_7.json.gz", [env_entry()])
    imported = import_runs([read_file(file)], tmp_path / "run")
    (episode,) = Run(tmp_path / "run").episodes()
    assert imported.unpriced == 1
    assert [s.usage.dollars for s in episode.spend] == [None]
    assert [s.decision.action for s in episode.steps] == ["execute[SHOW TABLES]", "submit[1.2.3.4]"]
    assert episode.steps[0].observation == f"{QUESTION['context']} {QUESTION['question']}"
    (row, _) = mean_rows([e for e in [episode.result] if e])
    assert (row.reward.mean, row.dollars, row.priced) == (1.0, None, 0)


def test_tasks_are_numbered_as_in_the_benchmark_where_the_questions_are_at_hand(tmp_path: Path) -> None:
    file = write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry(), entry(5)])
    import_runs([read_file(file)], tmp_path / "run", write_folder(tmp_path / "data"))
    known, unknown = Run(tmp_path / "run").episodes()
    assert (known.task.id, known.task.split) == ("incident_7/test/0", "test")
    assert unknown.task.id.startswith("incident_7/") and unknown.task.split == ""


def test_importing_twice_gives_the_same_run(tmp_path: Path) -> None:
    files = [read_file(write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry(), entry(1), entry(2)]))]
    first = import_runs(files, tmp_path / "run")
    before = (tmp_path / "run" / TRACE).read_bytes()
    again = import_runs(files, tmp_path / "run")
    assert (first.new, again.new, again.episodes) == (3, 0, 3)
    assert (tmp_path / "run" / TRACE).read_bytes() == before
    with pytest.raises(ConfigError, match="other settings"):
        import_runs([*files, read_file(write(tmp_path / "m" / "agent_incident_8.json", [entry()]))], tmp_path / "run")


@pytest.mark.parametrize("part", (0.05, 0.5, 0.9))
def test_a_cut_off_import_is_completed(tmp_path: Path, part: float) -> None:
    files = [read_file(write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry(), entry(1), entry(2)]))]
    import_runs(files, tmp_path / "whole")
    import_runs(files, tmp_path / "run")
    trace = tmp_path / "run" / TRACE
    trace.write_bytes(trace.read_bytes()[: int(part * trace.stat().st_size)])
    import_runs(files, tmp_path / "run")

    def content(run: str) -> dict[str, Any]:
        found = {e.id: (e.result and e.result.score, e.steps) for e in Run(tmp_path / run).episodes()}
        assert len(read_verdicts(tmp_path / run)) == 3
        return found

    assert content("run") == content("whole")


def test_a_question_that_was_run_again_counts_once_and_the_one_left_out_is_named(tmp_path: Path) -> None:
    again = entry(reward=0, info={**JUDGED, "reward": 0})
    agent = read_file(write(tmp_path / "gpt-4.1" / "agent_incident_7.json", [entry(), again]))
    env = read_file(write(tmp_path / "gpt-4.1" / "env_incident_7.json", [env_entry()]))
    imported = import_runs([agent, env], tmp_path / "run")
    (episode,) = Run(tmp_path / "run").episodes()
    assert episode.result is not None and episode.result.score == 0.0
    assert [(row.file, row.why) for row in imported.left_out] == [
        ("gpt-4.1/env_incident_7.json", "also in gpt-4.1/agent_incident_7.json"),
        ("gpt-4.1/agent_incident_7.json", "run again later in the same file"),
    ]
    assert len(Run(tmp_path / "run").about["left_out"]) == 2


def test_how_a_logged_run_ended(tmp_path: Path) -> None:
    going = {"submit": False, "query_success": True}
    turn = TRIAL["messages"][2:4]
    long = {"messages": [*TRIAL["messages"][:2], *turn * 24, turn[0]], "info": going, "reward": 0}
    cut = {"messages": TRIAL["messages"][:4], "info": {}, "reward": 0}
    path = write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry(), entry(1, **long), entry(2, **cut)])
    import_runs([read_file(path)], tmp_path / "run")
    results = Run(tmp_path / "run").results()
    assert [r.stop for r in results] == [Stop.DONE, Stop.MAX_STEPS, Stop.ERROR]
    assert [r.score for r in results] == [1.0, 0.0, 0.0]
    assert results[2].failure is not None and results[2].failure.where == "agent"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("runs.json", b"[]", "not named like a file of logged runs"),
        ("agent_incident_7.json.xz", lzma.compress(b"[" * 500)[:-9], "not a whole file of logged runs"),
        ("agent_incident_7.json", b'[{"trials": 3}]', "not a whole file of logged runs"),
        ("agent_incident_7.json", b'{"a": ', "not a whole file of logged runs"),
        ("env_incident_7.json", b"[]", "hold no logged run"),
        ("", b"", "cannot be read"),
    ],
)
def test_bad_files_are_a_sentence_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, said: str
) -> None:
    path = tmp_path / "gpt-4.1" / (name or "agent_incident_9.json")
    path.parent.mkdir()
    if name:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["traces", "import", "excytin", str(path), "-o", str(tmp_path / "run")])
    assert stop.value.code == 2
    said_last = capsys.readouterr().err.splitlines()[-1]
    assert said in said_last and "Traceback" not in said_last
    assert not (tmp_path / "run").exists()


def test_a_folder_without_logged_runs_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["traces", "import", "excytin", str(tmp_path), "-o", str(tmp_path / "run")])
    assert "there is no agent_incident_N.json" in capsys.readouterr().err


def answered(score: float, answer: str | None, dollars: float | None = 1.0) -> Answered:
    return Answered(score=score, dollars=dollars, answer=answer)


def test_a_cascade_by_agreement_is_scored_and_paid_as_defined() -> None:
    runs = {
        "a": {"1": answered(0, "x"), "2": answered(1, "y"), "3": answered(0, None), "4": answered(0, "q")},
        "b": {"1": answered(0, "z"), "2": answered(1, "Y."), "3": answered(0, None), "5": answered(1, "q")},
        "s": {t: answered(1, "s", 10.0) for t in "12345"},
    }
    row = next(r for r in cascade_rows(runs, ("a", "b"), "s") if r.rule == "agree")
    # Question 2 is agreed on; 1 and 3 (no answers do not agree) go to the strong model; 4 and 5 are not shared.
    assert row.questions == 3
    assert row.share.mean == pytest.approx(2 / 3)
    assert row.taken_right == 1.0
    assert row.score.mean == 1.0
    # Random routing between b (mean 1/3) and s (mean 1) at two thirds.
    assert row.random_score.mean == pytest.approx(1 / 9 + 2 / 3)
    assert row.dollars is not None and row.dollars.mean == pytest.approx((2 + 12 + 12) / 3)
    assert row.random_dollars is not None and row.random_dollars.mean == pytest.approx(1 / 3 + 20 / 3)
    assert row.gain.low <= row.gain.mean <= row.gain.high


def test_a_cascade_with_an_unpriced_run_has_no_dollars_but_a_score() -> None:
    runs = {
        "a": {"1": answered(1, "x"), "2": answered(0, "no evidence found")},
        "s": {"1": answered(1, "x", None), "2": answered(1, "x", 5.0)},
    }
    whole, priced = (r for r in cascade_rows(runs, ("a",), "s") if r.rule == "answered")
    assert (whole.questions, whole.score.mean, whole.dollars) == (2, 1.0, None)
    assert priced.questions == 1 and priced.dollars is not None and priced.dollars.mean == 6.0


def test_the_published_figures_fit_together() -> None:
    assert sum(QUESTIONS.values()) == 589
    for model, total in TOTALS.items():
        assert mean_over(model, list(QUESTIONS)) == pytest.approx(total, abs=0.002)


def logged(*pattern: str) -> list[Path]:
    place = Path(os.environ.get("ATLAS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "excytin" / "traces"
    if not place.is_dir():
        pytest.skip("the logged runs of ExCyTIn-Bench are not on this machine: set ATLAS_DATA")
    return sorted(path for p in pattern for path in place.glob(p))


def test_every_whole_file_has_exactly_the_published_mean() -> None:
    whole = 0
    for path in logged("*/*.json.xz"):
        file = read_file(path)
        mean = sum(run.reward for run in file.runs) / len(file.runs)
        if len(file.runs) == QUESTIONS[file.incident]:
            whole += 1
            assert mean == pytest.approx(MEANS[file.model][file.incident], abs=ROUNDING + 1e-9), path
    assert whole == 17


def test_the_tables_of_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [read_file(path) for path in logged("gpt-4.1*/agent_incident_38.json.xz")]
    import_runs(files, tmp_path / "run")
    tables.main([str(tmp_path / "run"), "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    rows = {(m["model"], m["incident"]): m for m in report["means"]}
    for model in ("gpt-4.1-nano", "gpt-4.1-mini", "gpt-4.1"):
        assert rows[model, 38]["compared"] == "equal"
        assert rows[model, 38]["dollars"] > 0
        assert "no files of 5" in rows[model, None]["compared"]
    assert {c["rule"] for c in report["cascades"]} == {"agree", "agree, loosely", "answered"}
    assert all(c["questions"] == 11 and c["priced"] for c in report["cascades"])
    tables.main([str(tmp_path / "run"), "--json", "--held-out"], standalone_mode=False)
    part = json.loads(capsys.readouterr().out)
    assert part["means"] == report["means"] and "not tuned on" in part["notes"][-1]
    assert all(0 < c["questions"] < 11 for c in part["cascades"])


def test_tables_of_a_run_without_such_questions_say_so(tmp_path: Path) -> None:
    from atlas.traces.writer import RunWriter

    RunWriter(tmp_path / "run").close()
    with pytest.raises(Refused, match="no scored question"):
        tables.main([str(tmp_path / "run")], standalone_mode=False)


def test_a_damaged_question_file_is_not_passed_over(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    for path in (folder / "questions" / "test").glob("*.json"):
        path.write_text("[{", encoding="utf-8")
    file = read_file(write(tmp_path / "gpt-4.1-nano" / "agent_incident_7.json", [entry()]))
    with pytest.raises(DataError, match="truncated"):
        import_runs([file], tmp_path / "run", folder)
