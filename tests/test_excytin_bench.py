"""ExCyTIn-Bench as an experiment: generated and recorded incidents, the paper's protocols and tables, broken runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.excytin.data import SUBSET
from atlas.benchmarks.excytin.incidents import FIRST, Spec, incident
from atlas.benchmarks.excytin.results import Metered, rows
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.benchmarks.excytin.suite import Excytin
from atlas.benchmarks.excytin.teacher import ScriptedAnalyst
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.suite import success_at
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError, DataError
from atlas.evaluators import success
from atlas.evaluators.verdict import Case, Verdict
from atlas.models import load
from atlas.records import STUDENT, TEACHER, Episode, Reply, Spend, Stop, Task, Usage, View
from atlas.testing import ScriptedModel
from tests.excytin_fixtures import write_folder

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

ROWS = 200
TEST = FIRST + 50
"""The first generated test incident."""
SMALL = ["--rows", str(ROWS), "--embedder", "hash"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CACHE", str(cache))
    monkeypatch.delenv("ATLAS_DATA", raising=False)


def atlas(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``atlas bench excytin``."""
    code = 0
    try:
        main(["bench", "excytin", *map(str, arguments)])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


# --- the suite --------------------------------------------------------------------------------------------------------


def test_demonstrations_are_about_other_incidents_and_no_task_is_demonstrated() -> None:
    suite = Excytin(rows=ROWS)
    tasks = [ref.id for ref in suite.tasks("test")]
    demos = [ref.id for ref in suite.demo_tasks("test", 60)]
    assert len(tasks) == len(set(tasks)) >= 100
    assert len(demos) == len(set(demos)) == 60
    assert {id.split("/")[0] for id in tasks} == {f"incident_{TEST + index}" for index in range(6)}
    assert not {id.split("/")[0] for id in tasks} & {id.split("/")[0] for id in demos}
    assert demos == [ref.id for ref in suite.demo_tasks("test", 60)]
    assert {id.split("/")[0] for id in (ref.id for ref in suite.tasks("test", 6))} == {id.split("/")[0] for id in tasks}


def test_of_one_incident_the_train_questions_are_demonstrated() -> None:
    suite = Excytin(incident=TEST, rows=ROWS)
    assert {ref.id.rpartition("/")[0] for ref in suite.tasks("test")} == {f"incident_{TEST}/test"}
    assert {ref.id.rpartition("/")[0] for ref in suite.demo_tasks("test", 99)} == {f"incident_{TEST}/train"}
    moved = Excytin(incident=TEST, seeds_from=FIRST, rows=ROWS)
    assert {ref.id.rpartition("/")[0] for ref in moved.demo_tasks("test", 99)} == {f"incident_{FIRST}/train"}
    assert suite.name != moved.name != Excytin(rows=ROWS).name
    with pytest.raises(ConfigError, match="choose --split test"):
        suite.demo_tasks("train", 3)
    with pytest.raises(ConfigError, match="no split 'dev'"):
        suite.tasks("dev")


def test_the_recorded_subset_says_what_it_is(tmp_path: Path) -> None:
    suite = Excytin(write_folder(tmp_path / "data"), 7)
    assert suite.label() == SUBSET
    assert SUBSET in suite.tasks("test")[0].environment().task.family
    assert Excytin(rows=ROWS).label() == "generated"


def test_a_report_of_the_recorded_subset_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = write_folder(tmp_path / "data"), tmp_path / "run"
    arguments = ["--data", data, "--incident", 7, "--arms", "teacher", "--demos", 0, "-o", run, *SMALL]
    assert atlas(capsys, *arguments)[0] == 0
    main(["report", str(run), "-o", str(tmp_path / "report.html")])
    assert SUBSET in (tmp_path / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    main(["traces", "show", str(run)])
    assert SUBSET in " ".join(capsys.readouterr().out.split())


def test_the_analyst_is_named_like_other_models_and_has_a_stated_price() -> None:
    model = load("scripted:excytin")
    assert isinstance(model, ScriptedAnalyst)
    assert model.price is not None and "stated for comparison" in model.price.note


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_run_without_a_key_ends_in_the_papers_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--n", 6, "--demos", 12, "--arms", "student,icd,teacher", "-o", tmp_path / "run"]
    code, out, err = atlas(capsys, *arguments, "--json")
    told = json.loads(out)
    arms = {row["arm"]: row for row in told["excytin"]["arms"]}
    assert code == 0 and "Rows: generated." in err
    assert told["excytin"]["rows"] == "generated"
    assert arms["teacher"]["solved"]["mean"] > arms["student"]["solved"]["mean"] == 0
    assert arms["student"]["questions"] == arms["teacher"]["questions"] == 6
    assert arms["teacher"]["phases"][0]["tokens"] > 0 == arms["icd"]["phases"][0]["tokens"]
    assert arms["teacher"]["dollars"] > 0
    # The same command goes on from what is there: nothing is played again, and the table is the same.
    code, out, _ = atlas(capsys, *arguments)
    assert code == 0
    said = " ".join(out.split())
    assert "As in the paper: success at a reward of 0.4" in said
    assert "(generated)" in said


def test_seed_then_evaluate_demonstrates_all_train_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    code, out, _ = atlas(
        capsys, *SMALL, "--preset", "seed-then-evaluate", "--n", 2, "--arms", "icd", "-o", run, "--json"
    )
    found = incident(Spec.of(TEST, rows=ROWS)).questions
    assert code == 0
    collected = next(row for row in json.loads(out)["excytin"]["arms"] if row["arm"] == "collect")
    assert collected["questions"] == sum(question.split == "train" for question in found)


def test_frozen_transfer_takes_another_incidents_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [*SMALL, "--preset", "frozen-transfer", "--n", 2]
    code, _, _ = atlas(capsys, *common, "--demos", 3, "--arms", "icd", "-o", tmp_path / "run", "--json")
    assert code == 0
    # The memory that this made can itself be moved: nothing is demonstrated then.
    memory = tmp_path / "run" / "memory.sqlite"
    arguments = [*common, "--memory", memory, "--arms", "icd", "-o", tmp_path / "moved", "--json"]
    code, out, _ = atlas(capsys, *arguments)
    assert code == 0
    assert [row["arm"] for row in json.loads(out)["excytin"]["arms"]] == ["icd"]
    code, _, err = atlas(capsys, *common, "--arms", "icd,online", "-o", tmp_path / "no")
    assert code == 2 and "keeps the memory as it is, and the arm 'online' adds to it" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--incident", "77"], "there are no test questions on incident 77"),
        (["--incident", "7", "--from-incident", "8"], "there are no train questions on incident 8"),
        (["--preset", "frozen-transfer"], "name it with --incident N"),
        (["--incident", "7", "--preset", "seed-then-evaluate", "--from-incident", "5"], "leave out --from-incident"),
        (["--mysql", "mysql://root@127.0.0.1:1/x"], "name it with --incident N"),
        (["--judge-price", "1/1"], "give that too"),
        (["--incident", "7", "--judge", "nearest"], "cannot judge"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_folder(tmp_path / "data")
    code, _, err = atlas(capsys, "--data", data, *arguments, *SMALL, "-o", tmp_path / "run")
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_server_that_refuses_every_connection_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    data = write_folder(tmp_path / "data")
    url = "mysql://root@127.0.0.1:1/x"
    arguments = ["--incident", 7, "--mysql", url, "--arms", "student", "--demos", 0, "-o", tmp_path / "run"]
    code, _, err = atlas(capsys, "--data", data, *arguments, *SMALL)
    assert code == 2
    assert "refuses the connection" in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


async def test_a_database_that_fails_in_mid_run_costs_only_the_episodes_it_hits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, asked = SqliteEngine.query, 0

    def flaky(self: SqliteEngine, sql: str) -> list[Any]:
        nonlocal asked
        asked += 1
        if 3 < asked < 9:
            raise DataError("the database server is gone")
        return query(self, sql)

    monkeypatch.setattr(SqliteEngine, "query", flaky)
    suite = Excytin(incident=TEST, rows=ROWS)
    options = BenchOptions(split="test", arms=("teacher",), n=8, embedder="hash", concurrency=2)
    cast = Cast(student=Nearest(), teacher=ScriptedAnalyst())
    episodes = await Bench(suite=suite, cast=cast, options=options, folder=tmp_path / "run").run()
    failed = [e for e in episodes if e.stop is Stop.ERROR]
    assert len(episodes) == 8
    assert 1 <= len(failed) <= 5
    assert all(e.failure and e.failure.kind == "DataError" and e.score is None for e in failed)
    assert all(e.score is not None for e in episodes if e not in failed)


# --- the tables -------------------------------------------------------------------------------------------------------


def episode(task: str, score: float | None, tokens: int = 100, seed: int = 0) -> Episode:
    usage = Usage(calls=1, prompt_tokens=tokens, dollars=tokens / 1e6)
    return Episode(
        id=f"{task}-{seed}",
        run="r",
        arm="a",
        task=Task(id=task, goal=""),
        seed=seed,
        config="c",
        stop=Stop.DONE if score is not None else Stop.ERROR,
        score=score,
        success=success(score, at_least=success_at(Excytin())),
        steps=1,
        teacher_steps=0,
        spend=(Spend(actor=STUDENT, model="s", usage=usage), Spend(actor=TEACHER, model="t", usage=usage)),
        seconds=0.0,
        started=0.0,
    )


def test_success_is_a_reward_of_two_fifths_and_a_missing_reward_counts_nowhere() -> None:
    scores = [1.0, 0.4, 0.16 + 0.064 + 0.176, 0.16, 0.0, None]
    (row,) = rows([episode(f"t{n}", score) for n, score in enumerate(scores)], [f"t{n}" for n in range(6)])
    assert (row.solved.mean, row.right.mean) == (0.6, 0.2)
    assert (row.questions, row.reward.n) == (5, 5)
    assert row.dollars == pytest.approx(200 / 1e6)
    assert {spend.actor for spend in row.spend} == {STUDENT, TEACHER}


def test_runs_of_a_question_under_several_seeds_count_as_one() -> None:
    (row,) = rows([episode("t", 1.0), episode("t", 0.0, seed=1), episode("u", 1.0)], ["t", "u"])
    assert (row.questions, row.solved.mean, row.reward.mean) == (2, 0.75, 0.75)


def test_tokens_are_told_by_phase_of_the_run() -> None:
    order = [f"t{n}" for n in range(1, 99)]
    (row,) = rows([episode(task, 1.0, tokens=place) for place, task in enumerate(order, 1)], order)
    assert [(p.first, p.last, p.questions) for p in row.phases] == [(1, 25, 25), (26, 60, 35), (61, 98, 38)]
    assert [p.tokens for p in row.phases] == [2 * 13, 2 * 43, 2 * 79.5]
    (short,) = rows([episode(task, 1.0) for task in order[:30]], order[:30])
    assert [(p.first, p.last) for p in short.phases] == [(1, 25), (26, 30)]


async def test_what_a_judge_used_is_added_up() -> None:
    class Paid:
        name = "paid"

        async def judge(self, case: Case, desk: Desk, opinions: object = ()) -> Verdict:
            return Verdict(judge=self.name, score=1.0, spend=(Spend(actor="judge", model="m", usage=Usage(calls=2)),))

        def config(self) -> dict[str, object]:
            return {"judge": self.name}

    metered = Metered(Paid())
    for _ in range(3):
        assert (await metered.judge(Case(id="c", task=Task(id="t", goal="")), Desk())).score == 1.0
    assert metered.used.calls == 6
    assert metered.config() == {"judge": "paid"}


async def test_a_run_with_a_model_as_judge_says_so_in_its_name(tmp_path: Path) -> None:
    from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge

    model = ScriptedModel(lambda ask: "Analysis: no.\nIs_Answer_Correct: False", name="provider/judge")
    suite = Excytin(write_folder(tmp_path / "data"), 7, judge=Metered(ExcytinModelJudge(model)))
    assert suite.name == "excytin-7-judged-excytin-provider-judge"


# --- replies of language models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Thought: look\nAction: execute[SELECT a\nFROM t\nWHERE b = 1;]", "execute[SELECT a\nFROM t\nWHERE b = 1;]"),
        ("Action:\n```sql\nexecute[SELECT 1]\n```", "execute[SELECT 1]"),
        ("Action: `execute[SHOW TABLES]`\nObservation: [('x',)]", "execute[SHOW TABLES]"),
        ("execute[SELECT JSON_EXTRACT(a, '$[0]')\nFROM t]", "execute[SELECT JSON_EXTRACT(a, '$[0]')\nFROM t]"),
        ("Action: submit[10.0.0.1]", "submit[10.0.0.1]"),
        ("Action: execute[SELECT 1\nand it never ends", "execute[SELECT 1"),
        (f"Action: execute[SELECT {'x, ' * 300}y]", f"execute[SELECT {'x, ' * 300}y]"),
    ],
)
def test_a_query_may_go_over_several_lines(reply: str, action: str) -> None:
    seen = View(task=Task(id="t", goal=""), opening="")
    assert TextActions().parse(Reply(text=reply), seen).action == action


def test_where_actions_are_listed_a_reply_is_still_one_line() -> None:
    seen = View(task=Task(id="t", goal=""), opening="", admissible=("click[Buy Now]",))
    assert TextActions().parse(Reply(text="Action: click[buy now]"), seen).action == "click[Buy Now]"
