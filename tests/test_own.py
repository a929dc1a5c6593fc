"""What a user has written, by name: arms, suites and models, and what is said where a name does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.asking import Desk
from atlas.benchmarks.arms import played
from atlas.benchmarks.suite import NEEDS, TaskRef, judge_of, success_at
from atlas.cli import main
from atlas.errors import ConfigError
from atlas.models import load
from atlas.own import load_own, made
from atlas.testing import ScriptedModel
from atlas.traces import Run
from atlas.traces.roles import recorded

MINE = """
from atlas.benchmarks.arm import Arm
from atlas.testing import ScriptedModel

alone = Arm("alone", "the student, by another name", lambda on: on.student)
careful = Arm("careful", "a cascade of mine", lambda on: on.recall(on.cascade), kind="cascade",
              demos=True, samples=True, trusted=True, reads=())
dice = Arm("dice", "its control", lambda on: on.recall(on.route), reads=("share",), demos=True, trusted=True,
           kind="route", control_of="careful")
greedy = Arm("greedy", "says nothing of what it needs", lambda on: on.recall(on.student))
taken = Arm("student", "has the name of another", lambda on: on.student)
twin = Arm("alone", "has the name of another of mine", lambda on: on.teacher)
number = 7


class Clerk:
    def __init__(self, *, price=None):
        self.name, self.price, self.shares_prompt = "clerk", price, False

    async def sample(self, ask):
        return await ScriptedModel(lambda ask: "Action: look").sample(ask)


class Half:
    name = "half"


def needy(path):
    return path


clerk = Clerk()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The present folder, with a file ``mine.py`` and a module ``own_parts.arms`` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MINE)
    package = tmp_path / "own_parts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "arms.py").write_text(MINE)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_parts"]:
        del sys.modules[name]


def test_the_same_thing_is_meant_by_a_file_each_time(mine: Path) -> None:
    assert load_own("mine.py:alone") is load_own(f"{mine}/mine.py:alone")
    assert load_own("own_parts.arms:alone") is load_own("own_parts/arms.py:alone")


@pytest.mark.parametrize("place", ["mine.py", "own_parts.arms"])
def test_an_arm_of_one_s_own_is_spelled_like_others(mine: Path, place: str) -> None:
    found = played(f"{place}:careful:votes+similarity:0.6@5")
    assert (found.name, found.count, found.arm.name) == ("careful:votes+similarity:0.6@5", 5, "careful")
    assert played(f"{place}:dice:0.8").control_of == "careful:0.8"


PLAY = (
    "bench",
    "alfworld",
    "--n",
    "2",
    "--demos",
    "4",
    "--embedder",
    "hash",
    "--max-steps",
    "8",
    "-o",
    "run",
    "--json",
)


def test_own_arms_play_beside_built_in_ones_and_a_control_has_the_share(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*PLAY, "--arms", "mine.py:dice:0.6,teacher,own_parts.arms:careful:0.6", "--samples", "2"])
    content = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in content["arms"]} == {"collect", "teacher", "careful:0.6", "dice:0.6"}
    assert {pair["first"] for pair in content["pairs"]} == {"careful:0.6"}
    roles = recorded(Run("run"))
    assert roles["dice:0.6"].control_of == "careful:0.6" and roles["careful:0.6"].says == "a cascade of mine"


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("absent.py:alone", "there is no file absent.py"),
        ("absent.arms:alone", "there is no module absent.arms"),
        ("absent:alone", "there is no arm 'absent:alone': choose among student"),
        ("mine.py:alon", "mine.py has no alon: did you mean alone?"),
        ("mine.py:number", "mine.py:number is no arm (it is of type int)"),
        ("mine.py:taken", "calls itself 'student'"),
        ("mine.py:alone,mine.py:twin", "two of the arms are named 'alone'"),
        ("mine.py:alone@3", "uses no demonstrations"),
        ("mine.py:alone:0.5", "is no cascade with a threshold"),
        ("mine.py:greedy", "say demos=True"),
        ("broken.py:alone", "broken.py cannot be imported (ModuleNotFoundError: No module named 'nowhere')"),
        ("wrong.py:alone", "wrong.py cannot be imported (SyntaxError"),
    ],
)
def test_what_is_no_arm_is_one_sentence(mine: Path, capsys: pytest.CaptureFixture[str], arms: str, said: str) -> None:
    (mine / "broken.py").write_text("import nowhere\n")
    (mine / "wrong.py").write_text("alone = (\n")
    with pytest.raises(SystemExit) as stop:
        main([*PLAY, "--arms", arms])
    err = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and err.startswith("atlas: ") and said in err


def test_an_option_that_an_own_arm_does_not_read_is_refused(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*PLAY, "--arms", "mine.py:careful", "--share", "0.5"])
    assert "reads --share" in capsys.readouterr().err
    main([*PLAY, "--arms", "mine.py:alone", "--k", "3"])


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine.py:Clerk", "own_parts.arms:Clerk", "mine.py:clerk"])
def test_a_model_of_one_s_own_plays(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(f"python:{name}", price="1/2").price is not None
    main([*PLAY, "--arms", "student", "--student", f"python:{name}"])
    assert {s.model for e in Run("run").results() for s in e.spend} == {"clerk"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("python:mine.py:Half", "mine.py:Half is no model: it lacks price, shares_prompt, sample"),
        ("python:mine.py:needy", "mine.py:needy is called without an argument, which does not fit"),
        ("python:mine.py:number", "mine.py:number is no model"),
        ("python:mine.py", "'mine.py' names nothing of yours: write FILE.py:NAME, or MODULE:NAME"),
        ("python:nowhere:Clerk", "there is no module nowhere"),
        ("python:", "choose one of nearest"),
    ],
)
def test_what_is_no_model_is_one_sentence(mine: Path, spec: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(spec)
    assert said in str(caught.value)


def test_options_go_to_an_own_model(mine: Path) -> None:
    with pytest.raises(ConfigError, match="is called with depth, which does not fit"):
        load("python:mine.py:Clerk", depth=3)


# --- suites -----------------------------------------------------------------------------------------------------------


def test_what_is_no_suite_is_one_sentence(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suite, said in (
        ("mine.py:Half", "mine.py:Half is no suite: it lacks max_steps, tasks, demo_tasks"),
        ("mine.py:Absent", "mine.py has no Absent"),
        ("nowhere.suites:Tickets", "there is no module nowhere.suites"),
    ):
        with pytest.raises(SystemExit):
            main(["bench", suite, "--teacher", "nearest"])
        assert said in capsys.readouterr().err


def test_what_a_suite_may_offer_besides() -> None:
    class Bare:
        name, max_steps = "bare", 3

        def tasks(self, split: str, n: int | None = None, seed: int = 0) -> list[TaskRef]:
            return []

        demo_tasks = tasks

    assert all(hasattr(Bare(), need) for need in NEEDS)
    assert judge_of(Bare()) is None and success_at(Bare()) == 1.0
    from atlas.benchmarks.excytin.suite import Excytin

    assert success_at(Excytin()) == 0.4


# --- the example ------------------------------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_benchmark.py"


def test_the_example_goes_through_the_bench_to_the_report(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE), str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    won: dict[str, list[bool]] = {}
    for episode in Run(tmp_path / "run").results():
        won.setdefault(episode.arm, []).append(bool(episode.success))
    assert list(won) == ["collect", "student", "icd", "teacher", "careful"]
    assert all(won["careful"]) and sum(won["student"]) < 12
    steps = [e.steps[0] for e in Run(tmp_path / "run").episodes() if e.arm == "careful"]
    assert {step.decision.action for step in steps} == {"read"}
    assert "careful" in (tmp_path / "report.html").read_text()


async def test_the_example_s_judge_says_what_the_environment_says() -> None:
    from atlas.evaluators.verdict import Case

    suite = made(f"{EXAMPLE}:Tickets", NEEDS, "suite")
    (ref,) = suite.tasks("test", 1)  # type: ignore[attr-defined]
    judge = judge_of(suite)  # type: ignore[arg-type]
    task = ref.environment().task
    assert judge is not None and ref.reference.answer == "billing"
    for answer, score in (("billing", 1.0), ("technical", 0.0)):
        case = Case(id="e", task=task, answer=answer, reference=ref.reference.answer)
        assert (await judge.judge(case, Desk())).score == score
    assert isinstance(load(f"python:{EXAMPLE}:expert"), ScriptedModel)
