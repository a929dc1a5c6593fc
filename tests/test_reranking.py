"""Which demonstrations a student is shown, learned from it: what helps comes first."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from atlas import Demonstration, Memory
from atlas.asking import Desk
from atlas.cli import main
from atlas.errors import ConfigError, DataError
from atlas.goals import lasting
from atlas.policies import Recall, Solo
from atlas.records import Ask, DemoStep, Task, Turn, View, Window
from atlas.reranking import LearnedReranker, load_reranker, reranked
from atlas.reranking import learned as learned_module
from atlas.reranking.features import OF_WINDOWS, features
from atlas.reranking.learned import answer, learn, moments
from atlas.testing import ScriptedModel
from atlas.utility import Answer

THINGS = ("cup", "plate", "spoon", "lamp", "book", "towel", "vase", "knife", "apple", "mug", "key", "pen")


def demonstration(number: int) -> Demonstration:
    """Put a thing away, straight on, or after it went there and back: of the two for each thing one is so."""
    thing, place = THINGS[number % len(THINGS)], f"shelf {number}"
    wandered = [
        DemoStep(observation=f"Nothing is at spot {number} {n}.", action=("go to the hall", "go back")[n % 2])
        for n in range(4)
    ]
    return Demonstration(
        task_id=f"task-{number}",
        goal=f"put a {thing} on the {place}",
        success=True,
        steps=(
            *(wandered if (number + number // len(THINGS)) % 2 else []),
            DemoStep(observation=f"You see a {thing}.", action=f"take the {thing}"),
            DemoStep(observation=f"You hold the {thing}.", action=f"put it on the {place}"),
        ),
    )


def wanders(ask: Ask) -> str:
    """Does the right thing only where the demonstration that it is shown does not go there and back."""
    view = ask.view
    shown = view.retrieved[0]
    if len({step.action for step in shown.steps}) < len(shown.steps):
        return "Action: wait"
    known = next(d for n in range(24) if (d := demonstration(n)).task_id == view.task.id)
    return f"Action: {known.steps[view.index].action}"


OWN = """
from atlas.testing import ScriptedModel
from tests.test_reranking import wanders


def student():
    return ScriptedModel(wanders, name="wanders")
"""


def filled(path: Path) -> Memory:
    memory = Memory(path, "hash")
    memory.demonstrations.add_many([demonstration(number) for number in range(24)])
    return memory


def by(every: Literal["step", "episode"] = "episode", candidates: int = 6, **weights: float) -> LearnedReranker:
    return LearnedReranker(
        student="s", every=every, candidates=candidates, weights=dict.fromkeys(OF_WINDOWS, 0.0) | weights
    )


def view(goal: str = "put a brush on the desk", **more: Any) -> View:
    return View(task=Task(id="mine", goal=goal), opening="You see a brush.", **more)


async def learned(memory: Memory, student: ScriptedModel) -> LearnedReranker:
    known = [(Task(id=d.task_id, goal=d.goal), d.steps) for d in memory.demonstrations.all()]
    found = moments(known, memory.demonstrations, 16, 5, "episode")
    rows = [await answer(student, found[n], n, part, 2) for n in range(len(found)) for part in range(5)]
    return learn(found, rows, "wanders", 5, "episode")


async def test_what_helps_the_student_is_learned_and_shown(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory:
        made = await learned(memory, ScriptedModel(wanders))
        again = await learned(memory, ScriptedModel(wanders))
        assert again == made, "the same answers, the same file"
        assert made.explained is not None and made.explained > 0.5 and (made.states, made.asked) == (16, 80)
        assert made.found is not None and made.chosen is not None and made.best is not None
        assert made.found < made.chosen <= made.best and made.weights["repeats"] < 0.0
        likest: list[str] = []
        for number in range(len(THINGS)):
            one = view(f"put a {THINGS[number]} on the desk {number}")
            policy = Recall(Solo(model := ScriptedModel(["Action: x"])), memory, 1, every="episode", reranker=made)
            await policy.decide(one, Desk())
            likest.append(lasting(memory.demonstrations, one, 1)[0].shown)
            assert "go back" not in model.asks[0].prompt.retrieved
    assert any("go back" in shown for shown in likest), "which retrieval alone would show"


def test_what_is_chosen_stays_for_the_episode_and_is_what_the_trace_tells(tmp_path: Path) -> None:
    chooser = by(repeats=-1.0)
    with filled(tmp_path / "m.sqlite") as memory:
        model = ScriptedModel(["Action: look"] * 3)
        policy = Recall(Solo(model), memory, 2, every="episode", reranker=chooser)
        plain = Recall(Solo(model), memory, 2, every="episode")
        at = [view(), view(turns=(Turn(action="look", observation="You see shelf 3."),))]
        decided = [asyncio.run(policy.decide(one, Desk())) for one in at]
    assert [len(one.retrieved) for one in decided] == [2, 2] and decided[0].retrieved == decided[1].retrieved
    first, second = (ask.prompt.retrieved for ask in model.asks)
    assert first == second and "go back" not in first
    assert policy.config() == {**plain.config(), "reranker": chooser.digest}
    assert "reranker" not in plain.config(), "a run without one has the settings that it had"


def test_windows_are_chosen_at_each_step(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory:
        model = ScriptedModel(["Action: look"] * 2)
        policy = Recall(Solo(model), memory, 1, reranker=by("step", **{"action before": 1.0}))
        for turns in ((), (Turn(action="take the brush", observation="You hold the brush."),)):
            asyncio.run(policy.decide(view(turns=turns), Desk()))
        (shown,) = model.asks[1].view.retrieved
    assert shown.best and shown.steps[shown.best - 1].action.startswith("take the")


def test_it_reads_as_it_was_learned(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory, pytest.raises(ConfigError, match="for each step"):
        Recall(Solo(ScriptedModel([])), memory, 1, every="episode", reranker=by("step"))


def test_of_equals_the_likest_stays_first() -> None:
    windows = [window(n) for n in range(4)]
    assert reranked(windows, view(), by(), 2) == tuple(windows[:2])
    assert reranked(windows, view(), by(rank=1.0), 2) == (windows[3], windows[2])
    assert reranked([], view(), by(), 2) == ()


def window(number: int, **more: Any) -> Window:
    shown = demonstration(number)
    return Window(demo_id=shown.id, task_id=shown.task_id, goal=shown.goal, steps=shown.steps, **more)


def test_features_say_what_a_demonstration_has_to_do_with_the_task() -> None:
    shown = [window(0, score=0.9), window(1), window(2, best=1)]
    reader = view("put a cup on the shelf", turns=(Turn(action="take the cup", observation="You hold the cup."),))
    rows = [dict(zip(OF_WINDOWS, row, strict=True)) for row in features(shown, reader)]
    cup, wandering, held = rows
    assert cup["likeness"] == 0.9 and cup["rank"] == 0.0 < wandering["rank"] < held["rank"]
    assert cup["goal shared"] == 1.0 > wandering["goal shared"] and cup["goal done"] > wandering["goal done"]
    assert cup["goal besides"] == 0.25 < wandering["goal besides"]
    assert wandering["repeats"] > 0.0 == cup["repeats"] and wandering["steps"] > cup["steps"]
    assert held["action before"] == 0.5 > cup["action before"] == 0.0
    assert held["place"] == 0.0 < cup["place"] and held["here seen"] == 0.5
    assert features([], reader) == ()


# --- what it is learned from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", ["step", "episode"])
def test_near_copies_of_a_states_own_demonstration_are_left_out(
    tmp_path: Path, every: Literal["step", "episode"]
) -> None:
    with filled(tmp_path / "m.sqlite") as memory:
        twin = demonstration(0)
        steps = (*twin.steps, DemoStep(observation="It is there.", action="look"))
        memory.demonstrations.add_many([twin.model_copy(update={"task_id": "twin", "steps": steps})])
        known = [(Task(id=d.task_id, goal=d.goal), d.steps) for d in memory.demonstrations.all()]
        of_first = [moment for moment in moments(known, memory.demonstrations, 40, 6, every) if moment.view.index == 0]
    assert "task-0" in {moment.view.task.id for moment in of_first}
    for moment in of_first:
        tasks = {one.task_id for one in moment.windows}
        assert len(moment.windows) == 6 and moment.view.task.id not in tasks
        if moment.view.task.id in ("task-0", "twin"):
            assert not tasks & {"task-0", "twin"}
        assert moment.action in moment.view.admissible and moment.view.lasting == (every == "episode")
        assert all(any(step.action in moment.view.admissible for step in one.steps) for one in moment.windows)


async def test_what_teaches_nothing_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory, pytest.raises(ConfigError, match="never changed"):
        await learned(memory, ScriptedModel("Action: wait"))
    with pytest.raises(ConfigError, match="a reranker is learned from 8 states or more"):
        learn([], [Answer(0, 0, 1.0)], "s", 5, "episode")


def test_where_nothing_is_to_be_learned_what_was_found_first_stays_first(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [tuple(window((5 * n + m) % 24) for m in range(5)) for n in range(30)]
    found = [learned_module.Found(view(), "x", shown) for shown in windows]

    def of_noise(seed: int) -> LearnedReranker:
        draw = random.Random(seed)
        return learn(found, [Answer(n, m, draw.random()) for n in range(30) for m in range(5)], "s", 5, "episode")

    made = [of_noise(seed) for seed in range(8)]
    nothing = [one for one in made if not any(one.weights.values())]
    assert nothing and reranked(windows[0], view(), nothing[0], 5) == windows[0]
    monkeypatch.setattr(learned_module, "PENALTIES", (3.0,))
    fixed = [of_noise(seed) for seed in range(8)]
    assert sum(one.explained or 0.0 for one in made) > sum(one.explained or 0.0 for one in fixed) + 0.1


# --- files and commands -----------------------------------------------------------------------------------------------


def call(*more: str) -> list[str]:
    words = ["memory", "reranker", "m.sqlite", "--student", "python:own.py:student", "--embedder", "hash"]
    return [*words, "--states", "12", "--candidates", "4", *more]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    filled(tmp_path / "m.sqlite").close()
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_learns_and_writes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(call("-o", "r.json", "--json"))
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(Path("r.json").read_text()) and set(told["weights"]) == set(OF_WINDOWS)
    assert (told["student"], told["every"], told["candidates"]) == ("python:own.py:student", "episode", 4)
    assert load_reranker("r.json") == LearnedReranker.load("r.json") and not Path("r.json.answers.jsonl").exists()
    main(call("-o", "s.json", "--recall", "step"))
    said = capsys.readouterr().out
    assert "--recall step --rerank s.json" in said and "with what retrieval finds first" in said
    assert LearnedReranker.load("s.json").every == "step"


def test_a_killed_command_goes_on_with_the_answers_that_it_has(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Answer] = []

    async def dies(*asked: Any) -> Answer:
        if len(counted) == 20:
            raise KeyboardInterrupt
        counted.append(await answer(*asked))
        return counted[-1]

    with monkeypatch.context() as patched:
        patched.setattr(learned_module, "answer", dies)
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            main(call("-o", "r.json"))
        counted.clear()
        counted.extend([Answer(0, 0, 0.0)] * 21)
        main(call("-o", "r.json", "--json"))
        assert len(counted) == 21 + 48 - 20
    main(call("-o", "again.json", "--json"))
    assert LearnedReranker.load("again.json") == LearnedReranker.load("r.json")


def refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*words])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_what_is_no_reranker_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.json").write_text("{}")
    with pytest.raises(DataError, match="holds no reranker"):
        load_reranker("bad.json")
    with pytest.raises(ConfigError, match="there is no reranker"):
        load_reranker("none.json")
    other = by().model_dump() | {"weights": {"likeness": 1.0}}
    Path("other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="holds no reranker"):
        load_reranker("other.json")
    assert "reads no prompt" in refused(["memory", "reranker", "m.sqlite", "--student", "nearest", "-o", "x"], capsys)


def test_a_bench_is_played_with_it_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by().save("r.json")
    bench = ["bench", "alfworld", "--split", "homes", "--n", "1", "--demos", "3", "--embedder", "hash"]
    assert "reads no prompt" in refused([*bench, "--arms", "icd", "--rerank", "r.json", "-o", "run"], capsys)
    says = ["--student", "python:looks.py:student"]
    Path("looks.py").write_text(
        "from atlas.testing import ScriptedModel\n\n\ndef student():\n"
        "    return ScriptedModel(lambda ask: 'Action: look', name='looks')\n"
    )
    other = refused([*bench, *says, "--arms", "icd", "--rerank", "r.json", "-o", "run"], capsys)
    assert "add --recall episode" in other
    words = [*bench, *says, "--arms", "student,icd", "--recall", "episode", "--max-steps", "12"]
    main([*words, "--rerank", "r.json", "--history-to", "120", "-o", "run"])
    settings = json.loads(Path("run/run.json").read_text())
    assert by().digest in json.dumps(settings) and '"history_to": 120' in json.dumps(settings)
    assert "..." in Path("run/trace.jsonl").read_text()
