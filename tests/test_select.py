"""Cascades over whole attempts: whose answer is given, when no further tier is asked, and that it is given once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from atlas.asking import Desk
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.arms import played
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.suite import TaskRef
from atlas.chances.logged import cases_of
from atlas.chances.selector import Selector, learn
from atlas.cli import main
from atlas.errors import ConfigError
from atlas.loop import Rollout
from atlas.policies import Cascade, Replayed, Select, Solo
from atlas.policies.select import HOLD, NONE_GIVEN
from atlas.protocols import Model
from atlas.records import TEACHER, Episode, Observation, Step, Stop, Task
from atlas.testing import ScriptedModel
from atlas.traces import Run
from tests.chances_fixtures import LARGE, SMALL, Quiz, clerk, quiz_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quiz") / "run"
    asyncio.run(quiz_run(folder))
    return folder


@pytest.fixture(scope="module")
def selector(run: Path) -> Selector:
    return learn(cases_of(Run(run).episodes(), ("small", "large")), ("small", "large"), threshold=0.5)


async def play(
    number: int, selector: Selector, first: Model = SMALL, second: Model = LARGE, steps: int | None = None
) -> tuple[Episode, tuple[Step, ...], list[Quiz]]:
    made: list[Quiz] = []

    def make() -> Quiz:
        made.append(Quiz(number))
        return made[-1]

    policy = Select([Solo(first), Solo(second, actor=TEACHER)], selector, steps=steps)
    rollout = Rollout(Replayed(make), policy, max_steps=20)
    return await rollout.play(), rollout.steps, made


def answers(made: Sequence[Quiz]) -> list[str]:
    return [answer for one in made for answer in one.submissions]


async def test_a_good_answer_is_given_and_nobody_else_is_asked(selector: Selector) -> None:
    episode, steps, made = await play(2, selector)
    assert episode.stop is Stop.DONE and episode.score == 1.0
    assert len(made) == 1 and answers(made) == ["10.0.2.9"]
    assert [spend.actor for spend in episode.spend] == ["student"] and steps[-1].decision.reason.startswith("chosen")


async def test_a_doubtful_one_is_held_back_and_the_next_tier_begins_anew(selector: Selector) -> None:
    episode, steps, made = await play(3, selector)
    assert episode.score == 1.0 and answers(made) == ["10.0.3.9"], "given once, in the last environment"
    assert [step.decision.action.split("[")[0] for step in steps] == [
        "look elsewhere", f"{HOLD}submit", "look spray", "submit"
    ]  # fmt: skip
    assert steps[1].outcome.text == made[1].task.goal and steps[1].decision.reason.startswith("held: chance 0.")
    assert [(spend.actor, spend.model, spend.usage.calls) for spend in episode.spend] == [
        ("student", "small", 2), ("teacher", "large", 2)
    ]  # fmt: skip
    assert episode.teacher_steps == 2


async def test_the_best_answer_so_far_is_given_whoever_it_is_from(selector: Selector) -> None:
    blind = clerk("large", lambda number: False, price=10.0)
    episode, steps, made = await play(2, selector.replace(threshold=None), second=blind)
    assert episode.score == 1.0 and answers(made) == ["10.0.2.9"]
    last = steps[-1].decision
    assert last.reason.startswith("picked: small") and last.actor == "student"


async def test_what_it_decides_follows_from_the_view_alone(selector: Selector) -> None:
    """A killed episode is resumed by another process: the same turns lead to the same decision."""
    seen = []

    class Noted(Select):
        async def decide(self, view, desk):  # type: ignore[no-untyped-def]
            seen.append(view)
            return await super().decide(view, desk)

    tiers = [Solo(SMALL), Solo(LARGE, actor=TEACHER)]
    rollout = Rollout(Replayed(lambda: Quiz(3)), Noted(tiers, selector), max_steps=20)
    await rollout.play()
    for view, step in zip(seen, rollout.steps, strict=True):
        again = await Select(tiers, selector).decide(view, Desk())
        assert again.replace(seconds={}) == step.decision.replace(seconds={})


async def test_a_tier_without_an_answer_gives_way(selector: Selector) -> None:
    lost = ScriptedModel("Action: look elsewhere", name="small")
    episode, _, made = await play(2, selector, first=lost)
    assert episode.score == 1.0 and answers(made) == ["10.0.2.9"] and made[0].looks == 6
    short, steps, _ = await play(2, selector, first=lost, steps=3)
    assert short.score == 1.0 and sum(step.decision.action == "look elsewhere" for step in steps) == 3
    none, steps, made = await play(2, selector, first=lost, second=lost)
    assert none.stop is Stop.DONE and none.score == 0.0 and answers(made) == []
    assert steps[-1].decision.action == NONE_GIVEN


async def test_tiers_may_be_policies_of_any_kind(selector: Selector) -> None:
    policy = Select([Solo(SMALL), Cascade(SMALL, LARGE, samples=2)], selector)
    episode = await Rollout(Replayed(lambda: Quiz(3)), policy, max_steps=20).play()
    assert episode.score in (0.0, 1.0) and episode.stop is Stop.DONE
    with pytest.raises(ConfigError, match="2 tiers"):
        Select([Solo(SMALL)], selector)


class Door:
    """Opened by an action that lasts."""

    def __init__(self) -> None:
        self.task = Task(id="door", goal="open the door")

    async def open(self) -> Observation:
        return Observation(text="a door", score=0.0)

    async def step(self, action: str) -> Observation:
        return Observation(text="open", score=1.0, done=True)

    async def close(self) -> None: ...


async def test_a_world_without_answers_is_refused_in_one_sentence(selector: Selector) -> None:
    policy = Select([Solo(ScriptedModel("Action: open door")), Solo(LARGE)], selector)
    with pytest.raises(ConfigError, match="not by an answer that could be held back"):
        await Rollout(Replayed(Door), policy).play()


# --- commands and arms ------------------------------------------------------------------------------------------------


class Quizzes:
    name, max_steps, answers_once = "quizzes", 8, True

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> list[TaskRef]:
        return [TaskRef(f"quiz/{i}", lambda i=i: Quiz(i)) for i in range(n or 4)]  # type: ignore[misc]

    demo_tasks = tasks


def test_a_selector_is_made_from_a_run_and_played_as_an_arm(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pick.json"
    made = ["trust", "select", str(run), "--tiers", "small,large", "--as", "student,teacher", "--threshold", "0.5"]
    main([*made, "-o", str(file)])
    assert "student -> teacher: stops from a chance of 0.5 on" in capsys.readouterr().out
    assert Selector.load(file).tiers == ("student", "teacher")
    options = BenchOptions(arms=("student", "teacher", f"select:{file}"), n=4, demos=0, embedder="hash")
    bench = Bench(Quizzes(), Cast(student=SMALL, teacher=LARGE), options, tmp_path / "bench")
    episodes = sorted(asyncio.run(bench.run()), key=lambda e: e.task.id)
    right = {arm: [e.score for e in episodes if e.arm == arm] for arm in ("student", "teacher", "select:pick")}
    assert right == {"student": [1, 0, 1, 0], "teacher": [1, 0, 1, 1], "select:pick": [1, 0, 1, 1]}
    asked = [e.teacher_steps > 0 for e in episodes if e.arm == "select:pick"]
    assert asked == [False, True, False, True]


def test_a_threshold_is_certified_on_tasks_of_its_own(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["trust", "select", str(run), "--tiers", "small,large", "--json"]
    main([*made, "--within", "0.9", "--delta", "0.5"])
    found = json.loads(capsys.readouterr().out)["selector"]
    assert found["certificate"]["certified"] and found["certificate"]["n"] == 30 and found["threshold"] is not None
    with pytest.raises(SystemExit) as ended:
        main([*made, "--within", "0.001"])
    assert ended.value.code == 1, "a script must not take the safe choice for a certified one"
    assert json.loads(capsys.readouterr().out)["selector"]["threshold"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--tiers", "small,huge"], "its arms are small, large"),
        (["--tiers", "small,large", "--as", "student"], "name as many"),
        (["--tiers", "small,large", "--mark", "x"], "--mark takes NAME=PATTERN"),
        (["--tiers", "small,large", "--within", "0.1", "--threshold", "0.5"], "leave --threshold out"),
    ],
)
def test_what_a_selector_cannot_be_made_from_is_said(
    run: Path, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trust", "select", str(run), *given])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_an_arm_that_cannot_be_played_is_refused_before_there_is_a_run(selector: Selector, tmp_path: Path) -> None:
    selector.save(tmp_path / "s.json")
    with pytest.raises(ConfigError, match="--as student,teacher"):
        played(f"select:{tmp_path / 's.json'}")
    selector.renamed(("student", "online")).save(tmp_path / "o.json")
    with pytest.raises(ConfigError, match="'online' of the selector"):
        played(f"select:{tmp_path / 'o.json'}")
    selector.renamed(("student", "teacher")).save(tmp_path / "t.json")
    suite = Quizzes()
    suite.answers_once = False
    options = BenchOptions(arms=(f"select:{tmp_path / 't.json'}",), n=1, demos=0, embedder="hash")
    bench = Bench(suite, Cast(student=SMALL, teacher=LARGE), options, tmp_path / "bench")
    with pytest.raises(ConfigError, match="do not end with an answer"):
        asyncio.run(bench.run())
    assert not (tmp_path / "bench").exists()
