"""ExCyTIn-Bench's judge by rule: answers, partial credit, agreement with what a model judge said on record."""

from __future__ import annotations

import asyncio
import json
import lzma
import os
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.benchmarks.excytin.agreement import HELD_OUT, command, held_out, measure
from atlas.benchmarks.excytin.judge import RuleJudge, correct, credit, step_correct
from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge
from atlas.benchmarks.excytin.recorded import recorded_verdicts
from atlas.errors import DataError
from atlas.evaluators.verdict import Case
from atlas.records import Task, total
from atlas.testing import ScriptedModel


@pytest.mark.parametrize(
    ("submitted", "golden"),
    [
        ("The IP address is 198.43.121.209.", "198.43.121.209"),
        ("Mimikatz", "mimikatz.exe"),
        ("http://evil.example.com", "http://evil.example.com/"),
        ("host-1.corp.example.com", "host-1"),
        ("Process ID 4312 ran `bcdedit /set x no`", "Command: bcdedit /set x no, Process ID: 4312"),
        ("at 2024-06-20 09:10:51", "2024-06-20t09:10:07.2193152z"),
        ("bcdedit /set x no", "4312__2024-06-20t09:10:48.06z__bcdedit /set x no"),
        ("b@example.com and a@example.com", "a@example.com, b@example.com"),
    ],
)
def test_what_counts_as_the_golden_answer(submitted: str, golden: str) -> None:
    assert correct(submitted, golden)


@pytest.mark.parametrize(
    ("submitted", "golden"),
    [
        ("", "a"),
        ("43125", "4312"),
        ("198.43.121.20", "198.43.121.209"),
        ("at 2024-06-20 09:11:07", "2024-06-20t09:10:07.2193152z"),
        ("There is no evidence of mimikatz.exe in the logs", "mimikatz.exe"),
        ("a@example.com", "a@example.com, b@example.com"),
        (", ".join(f"10.0.0.{i}" for i in range(16)), "10.0.0.3"),
    ],
)
def test_what_does_not(submitted: str, golden: str) -> None:
    assert not correct(submitted, golden)


def test_fifteen_items_are_not_too_many() -> None:
    assert correct(", ".join(f"10.0.0.{i}" for i in range(15)), "10.0.0.3")


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_answer_crashes_the_rules(submitted: str, golden: str) -> None:
    correct(submitted, golden)
    step_correct(submitted, f"`{golden}`")


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ([True, True, False], 0.56),
        ([True, False, False], 0.16),
        ([False, True, False], 0.4),
        ([False, True], 0.0),
        ([True], 0.0),
        ([], 0.0),
        ([True, False, False, True], 0.064),
        ([True, True, True, False], 0.624),
    ],
)
def test_partial_credit(steps: list[bool], value: float) -> None:
    assert credit(steps) == pytest.approx(value)


def test_partial_credit_stays_below_success() -> None:
    assert max(credit(steps) for size in range(9) for steps in product([True, False], repeat=size)) < 1


async def test_the_reward_of_a_case() -> None:
    solution = ("User `u141` on `host-1`.", "Process `a.exe` ran.", "It called `10.0.0.1`.")
    case = Case(id="e", task=Task(id="q", goal="Which IP?"), reference="10.0.0.1", solution=solution)
    judge = RuleJudge()

    async def score(answer: str) -> float | None:
        return (await judge.judge(case.model_copy(update={"answer": answer}), Desk())).score

    assert await score("10.0.0.1") == 1.0
    assert await score("a.exe") == pytest.approx(0.4)
    assert await score("u141 on host-1 ran a.exe") == pytest.approx(0.56)
    assert await score("10.0.0.2") == await score("") == 0.0
    assert (await judge.judge(case.model_copy(update={"reference": None}), Desk())).score is None


WRONG, RIGHT = "Analysis: no.\nIs_Answer_Correct: False", "Analysis: yes.\nIs_Answer_Correct: True"
STEPS = '```json\n{"step_0": {"is_step_correct": "True"}, "Step 1": {"is_step_correct": false}}\n```'
ASKED = Case(
    id="e", task=Task(id="q", goal="Which IP?"), answer="10.0.0.2", reference="10.0.0.1", solution=("A.", "B.")
)


@pytest.mark.parametrize(
    ("replies", "score"),
    [
        ([WRONG, RIGHT], 1.0),
        ([RIGHT, WRONG, STEPS, STEPS], 0.4),
        ([WRONG, "I am not sure."], None),
        ([WRONG, f"It said {RIGHT} but: {WRONG}"], None),
        ([WRONG, WRONG, STEPS, '{"step_0": {"is_step_correct": "True"}}'], None),
        ([WRONG, WRONG, STEPS, '{"step_0": {}, "step_1": {}}'], None),
    ],
)
async def test_the_model_judge_looks_twice_and_misses_nothing_silently(replies: list[str], score: float | None) -> None:
    model = ScriptedModel(replies, name="m")
    verdict = await ExcytinModelJudge(model).judge(ASKED, Desk())
    assert verdict.score == (None if score is None else pytest.approx(score))
    assert bool(verdict.missing) == (score is None)
    # Every call is paid, those that led to no verdict too.
    assert total(verdict.spend).calls == len(replies) == len(model.asks)
    assert replies[0] in json.loads(model.asks[1].prompt.ask.splitlines()[-1])["previous"]


async def test_the_model_judge_asks_nobody_what_the_rules_settle() -> None:
    judge = ExcytinModelJudge(ScriptedModel([]))
    assert (await judge.judge(ASKED.model_copy(update={"answer": " "}), Desk())).score == 0.0
    many = ", ".join(f"10.0.0.{i}" for i in range(16))
    assert (await judge.judge(ASKED.model_copy(update={"answer": many, "solution": ()}), Desk())).score == 0.0
    assert (await judge.judge(ASKED.model_copy(update={"reference": None}), Desk())).score is None


@pytest.fixture(scope="module")
def data() -> Path:
    given_root = os.environ.get("ATLAS_DATA")
    roots = [Path(given_root)] if given_root else []
    for root in [*roots, Path(__file__).parents[2] / "shared" / "data"]:
        for folder in (root / "excytin", root):
            if (folder / "traces").is_dir():
                return folder
    pytest.skip("no recorded ExCyTIn runs: set ATLAS_DATA to the folder that holds excytin/traces")


def test_agreement_on_held_out_questions(data: Path) -> None:
    verdicts = recorded_verdicts(data)
    report = asyncio.run(measure(verdicts))
    held = {row.judge: row.calibration for row in report.answers if row.part == HELD_OUT}
    assert held["excytin-rule"].n == sum(held_out(v.question) for v in verdicts)
    assert held["excytin-rule"].accuracy.low > 0.95 and held["excytin-rule"].kappa.low > 0.9
    assert held["answer-exact"].accuracy.high < held["excytin-rule"].accuracy.low
    graded, fits = report.recorded_credit
    assert graded == fits > 0


async def test_recorded_replies_give_the_recorded_reward(data: Path) -> None:
    with lzma.open(data / "traces" / "gpt-4.1-mini" / "agent_incident_5.json.xz") as file:
        entries = json.load(file)
    judged = 0
    for entry in entries:
        question = entry["question_dict"]
        for trial in entry["trials"].values():
            info = trial["info"]
            if "check_ans_response" not in info or not info["submitted_answer"].strip():
                continue
            asked = ("check_ans_response", "check_ans_reflection", "check_sol_response", "check_sol_reflection")
            said = [info[name] for name in asked if name in info]
            model = ScriptedModel([text if isinstance(text, str) else json.dumps(text) for text in said])
            case = Case(
                id=entry["nodes"],
                task=Task(id="q", goal=question["question"]),
                answer=info["submitted_answer"],
                reference=question["answer"],
                solution=tuple(question["solution"]),
            )
            verdict = await ExcytinModelJudge(model).judge(case, Desk())
            assert verdict.score == pytest.approx(info["reward"])
            judged += 1
    assert judged > 50


def test_agreement_speaks_json_and_names_what_is_missing(data: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    small = tmp_path / "traces" / "gpt-4.1"
    small.mkdir(parents=True)
    name = "agent_incident_38.json.xz"
    (small / name).write_bytes((data / "traces" / "gpt-4.1" / name).read_bytes())
    done = CliRunner().invoke(command, ["--data", str(tmp_path), "--json"], catch_exceptions=False)
    assert "not comparable" in json.loads(done.output)["label"]
    shown = CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False).output
    assert "held-out" in shown and "kappa" in shown


def test_no_runs_and_damaged_ones_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recorded runs"):
        recorded_verdicts(tmp_path)
    folder = tmp_path / "traces" / "m"
    folder.mkdir(parents=True)
    for content in (b"nonsense", lzma.compress(b'[{"trials": 1}]'), lzma.compress(b"[]")[:-4]):
        (folder / "agent_incident_1.json.xz").write_bytes(content)
        with pytest.raises(DataError, match="get it again"):
            recorded_verdicts(tmp_path)
