"""A small language model in every place of a large one, for real: ``make test-local``. What it says need not be wise;
it has to be in the form that is read, and to reach where it is used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.asking import Desk
from atlas.cli import app
from atlas.errors import DataError
from atlas.evaluators.review import ReviewJudge
from atlas.evaluators.verdict import Case
from atlas.policies import Coach, Solo
from atlas.policies.coach import read_word
from atlas.records import Ask, Decision, Observation, Step, Task, View
from atlas.testing import ScriptedModel

pytest.importorskip("xllamacpp", reason="needs the extra local")

from atlas.models import load
from atlas.models.llama import Llama

pytestmark = pytest.mark.local
NAME = "smollm2-135m"


@pytest.fixture(scope="module")
def model() -> Iterator[Llama]:
    try:
        loaded = load(NAME)
    except DataError as error:
        pytest.skip(str(error))
    assert isinstance(loaded, Llama)
    yield loaded


@pytest.fixture(scope="module")
def run(model: Llama, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home, played by it as the student and as the teacher, three steps."""
    folder = tmp_path_factory.mktemp("roles") / "run"
    command = (
        f"bench alfworld --split homes --n 1 --student {NAME} --teacher {NAME} --demos 0 --max-steps 3 --samples 2"
    )
    done = CliRunner().invoke(
        app, [*command.split(), "--temperature", "3", "--arms", "cascade-nodemos", "-o", str(folder)]
    )
    assert done.exit_code == 0, done.output
    return folder


def case() -> Case:
    decision = Decision(action="take mug 1 from desk 1", actor="student", reason="solo")
    outcome = Observation(text="You pick up the mug 1 from the desk 1.", done=True, score=1.0)
    step = Step(index=0, observation="a desk 1", admissible=2, decision=decision, outcome=outcome, seconds=0.0)
    return Case(id="e", task=Task(id="t", goal="hold a mug"), steps=(step,))


def test_a_teacher_acts_where_the_student_is_split(run: Path) -> None:
    steps = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
    decisions = [row["decision"] for row in steps if "decision" in row]
    assert len(decisions) == 3
    for decision in decisions:
        assert (decision["actor"] == "teacher") == (len({vote["action"] for vote in decision["votes"][:2]}) > 1)
    assert any(decision["actor"] == "teacher" for decision in decisions)


def test_a_distiller_writes_entries_that_are_read(run: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m.sqlite"
    command = ["memory", "distil", str(run), "--distiller", NAME, "--into", str(memory), "--embedder", "hash", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["taught"] == 1 and told["calls"] == 1 and not told["missed"]


def test_a_judge_gives_a_verdict(run: Path) -> None:
    done = CliRunner().invoke(app, ["regrade", str(run), "--judge", NAME, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert not told["reasons"] and told["arms"][0]["judged"] == 1 and told["arms"][0]["missing"] == 0


def test_a_reviewer_says_yes_or_no(model: Llama) -> None:
    verdict = asyncio.run(ReviewJudge(model).judge(case(), Desk()))
    assert verdict.score in (0.0, 1.0) and not verdict.missing


def test_a_coach_approves_or_names_an_action_that_is_possible(model: Llama) -> None:
    view = View(task=Task(id="t", goal="hold a mug"), opening="a desk 1", admissible=("look", "take mug 1 from desk 1"))
    kept: list[str] = []

    class Listens(Desk):
        async def _complete(self, asked: object, ask: Ask) -> object:  # type: ignore[override]
            done = await super()._complete(asked, ask)  # type: ignore[arg-type]
            if ask.purpose == "guide":
                kept.append(done.replies[0].text)
            return done

    policy = Coach(Solo(ScriptedModel("Action: look")), model)
    decided = asyncio.run(policy.decide(view, Listens()))
    word = read_word(kept[0])
    assert word is not None and decided.reason in ("approved", "corrected")
    assert word.good or word.advice.rpartition("Action: ")[2] in view.admissible
