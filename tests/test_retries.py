"""A resumed run plays again what ended with an error: once in every result, and nothing that was paid is forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arms import Cast
from atlas.benchmarks.bench import Bench, Plan
from atlas.benchmarks.promotion import Trial
from atlas.cli import main
from atlas.errors import ConfigError, DataError, ModelError
from atlas.memory import DemonstrationStore
from atlas.models.nearest import Nearest
from atlas.records import Ask, Completion, Episode, Stop, Usage, total
from atlas.report import gather
from atlas.runner import Job, failed, play, remaining
from atlas.traces import Run, RunWriter
from atlas.traces.account import COLLECT, cut_off

PLAN = Plan(split=HOMES, arms=("student",), n=4, embedder="hash", window=1_000, max_steps=6)
PAID = Usage(calls=1, prompt_tokens=1_000, dollars=0.25)


class Unreliable:
    """A model that cannot be reached while ``down`` says so of the task."""

    def __init__(self, inner: Any, down: Callable[[str], bool]) -> None:
        self.inner, self.name, self.price = inner, inner.name, inner.price
        self.shares_prompt = inner.shares_prompt
        self.down = down
        self.asked: list[str] = []

    async def sample(self, ask: Ask) -> Completion:
        task = ask.view.task.id
        self.asked.append(task)
        if self.down(task):
            ask.paid(PAID)
            raise ModelError("the provider is down")
        done: Completion = await self.inner.sample(ask)
        return done


def never(_: str) -> bool:
    return False


def home(*numbers: int) -> Callable[[str], bool]:
    return lambda task: any(f"/{number:05}-" in task for number in numbers)


def bench(
    folder: Path, student: Callable[[str], bool] = never, teacher: Callable[[str], bool] = never, **plan: Any
) -> Bench:
    cast = Cast(student=Unreliable(Nearest(), student), teacher=Unreliable(ScriptedExpert(), teacher), k=40)
    return Bench(suite=Alfworld(), cast=cast, plan=replace(PLAN, **plan), folder=folder, concurrency=1)


def told(of: Bench) -> list[str]:
    said: list[str] = []
    of.seen = lambda doing, episodes: said.append(doing)
    return said


def keys(episodes: Sequence[Episode]) -> list[tuple[str, str, int]]:
    return sorted((e.arm, e.task.id, e.seed) for e in episodes)


async def test_what_ended_with_an_error_is_played_again_and_counts_once(tmp_path: Path) -> None:
    first = await bench(tmp_path / "run", home(0, 2)).run()
    errors = {e.task.id: e for e in first if e.stop is Stop.ERROR}
    assert len(errors) == 2 and len(first) == 4
    again = bench(tmp_path / "run")
    said = told(again)
    episodes = await again.run()
    assert set(again.cast.student.asked) == set(errors), "what was lost without an error is a result"  # type: ignore[attr-defined]
    assert said[0] == "student: 4 episodes (2 again after an error)"
    assert keys(episodes) == keys(first) and {e.stop for e in episodes} == {Stop.MAX_STEPS}
    assert {e.task.id: e.retries for e in episodes if e.retries} == {task: e.id for task, e in errors.items()}
    run = Run(tmp_path / "run")
    assert keys(run.results()) == keys(first)
    stored = run.episodes()
    assert {e.id for e in stored if e.retried} == {e.id for e in errors.values()} and len(stored) == 6
    lost, usage = cut_off(stored)
    assert {e.id for e in lost} == {e.id for e in errors.values()} and usage.dollars == pytest.approx(0.5)
    facts = gather(run)
    assert (facts.episodes, facts.cut_off) == (4, 2) and facts.arms[0].row.errors == 0
    before = (tmp_path / "run" / "trace.jsonl").read_bytes()
    await bench(tmp_path / "run").run()
    assert (tmp_path / "run" / "trace.jsonl").read_bytes() == before, "nothing is left to play"


async def test_errors_that_stay_are_one_error_each_and_all_of_them_are_paid(tmp_path: Path) -> None:
    for attempt in range(3):
        of = bench(tmp_path / "run", home(0))
        episodes = await of.run()
        assert [e.stop for e in episodes].count(Stop.ERROR) == 1 and len(episodes) == 4
        assert of._meter.used.dollars == pytest.approx(0.25 * (attempt + 1))
    healed = await bench(tmp_path / "run").run()
    assert len(healed) == 4 and not any(e.stop is Stop.ERROR for e in healed)
    assert sum(e.retried for e in Run(tmp_path / "run").episodes()) == 3
    kept = bench(tmp_path / "kept", home(0))
    await kept.run()
    kept = bench(tmp_path / "kept")
    kept.retry_errors = False
    assert [e.stop for e in await kept.run()].count(Stop.ERROR) == 1


async def test_a_retry_that_is_cut_off_leaves_the_error_as_the_result(tmp_path: Path) -> None:
    await bench(tmp_path / "run", home(0)).run()
    path = tmp_path / "run" / "trace.jsonl"
    before = path.read_bytes()
    await bench(tmp_path / "run").run()
    ended = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(ended[:-1]))
    results = Run(tmp_path / "run").results()
    assert [e.stop for e in results].count(Stop.ERROR) == 1 and len(results) == 4
    assert path.read_bytes().startswith(before)
    assert not any(e.stop is Stop.ERROR for e in await bench(tmp_path / "run").run())


async def test_a_teacher_that_was_down_demonstrates_on_resume(tmp_path: Path) -> None:
    plan = {"arms": ("icd",), "demos": 3, "max_steps": 50}
    with pytest.raises(ConfigError, match="no demonstrations to recall"):
        await bench(tmp_path / "run", teacher=lambda task: True, **plan).run()
    episodes = await bench(tmp_path / "run", **plan).run()
    assert [e.arm for e in episodes] == [COLLECT] * 3 + ["icd"] * 4
    assert all(e.success for e in episodes if e.arm == COLLECT)


async def test_demonstrations_stay_what_they_were_once_an_arm_was_played_on_them(tmp_path: Path) -> None:
    plan = {"arms": ("icd",), "demos": 3, "max_steps": 50}
    third = Alfworld().demo_tasks(HOMES, 3)[-1].id
    first = await bench(tmp_path / "run", teacher=lambda task: task == third, **plan).run()
    assert [e.stop for e in first if e.arm == COLLECT] == [Stop.DONE, Stop.DONE, Stop.ERROR]
    again = bench(tmp_path / "run", **plan)
    await again.run()
    assert again.cast.teacher.asked == []  # type: ignore[attr-defined]


async def test_a_memory_that_grows_keeps_its_order(tmp_path: Path) -> None:
    """Only the errors at the end are played again: the memory of a task holds what the tasks before have taught."""
    tasks = [ref.id for ref in Alfworld().tasks(HOMES, 4)]
    down = {tasks[0], tasks[2], tasks[3]}
    plan = {"arms": ("online",), "max_steps": 50}
    await bench(tmp_path / "run", lambda task: task in down, **plan).run()
    again = bench(tmp_path / "run", **plan)
    said = told(again)
    episodes = await again.run()
    assert said[0] == "online, seed 0 (2 again after an error)"
    assert set(again.cast.student.asked) == set(tasks[2:])  # type: ignore[attr-defined]
    assert {e.task.id for e in episodes if e.stop is Stop.ERROR} == {tasks[0]} and len(episodes) == 4
    with DemonstrationStore(tmp_path / "run" / "online-0.sqlite", embedder="hash") as memory:
        assert [demo.task_id for demo in memory.all()] == [e.task.id for e in episodes if e.success]


async def test_the_runner_plays_errors_again_for_whoever_asks(tmp_path: Path) -> None:
    from atlas.policies import Solo

    refs = Alfworld().tasks(HOMES, 3)
    student = Unreliable(Nearest(), lambda task: task == refs[1].id)
    jobs = [Job("arm", ref.id, Solo(student), ref.environment) for ref in refs]
    first = await play(jobs, max_steps=2)
    (error,) = [e for e in first if e.stop is Stop.ERROR]
    assert failed(first) == {("arm", refs[1].id, 0): error.id}
    assert [(job.task_id, job.retries) for job in remaining(jobs, first, failed(first))] == [(refs[1].id, error.id)]
    assert remaining(jobs, first) == []
    student.down = never
    both = [*first, *await play(remaining(jobs, first, failed(first)), max_steps=2)]
    assert failed(both) == {} and remaining(jobs, both, failed(both)) == []


async def test_a_promotion_that_goes_on_plays_errors_again(tmp_path: Path) -> None:
    def trial(down: bool) -> Trial:
        candidate = Unreliable(Nearest(), lambda task: down)
        return Trial(present=Nearest(), candidate=candidate, teacher=ScriptedExpert(), samples=1)

    tasks = Alfworld().tasks(HOMES, 2)
    for down in (True, False):
        before = Run(tmp_path / "run").results() if not down else []
        with RunWriter(tmp_path / "run", {"kind": "promotion"}) as writer:
            episodes = await trial(down).play(tasks, (0,), writer, run="run", max_steps=3, before=before)
        assert len(episodes) == len(set(keys(episodes))) == 12
        assert any(e.stop is Stop.ERROR for e in episodes) == down


# --- the command line -------------------------------------------------------------------------------------------------


def test_commands_say_what_was_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["bench", "alfworld", "--n", "2", "--demos", "0", "--embedder", "hash", "--arms", "student", "-o", "run"]
    command += ["--max-steps", "3", "--json"]
    models: list[Any] = []

    def loaded(name: str, price: Any = None) -> Any:
        inner = Nearest() if name == "nearest" else ScriptedExpert()
        models.append(Unreliable(inner, lambda task: down(task)))
        return models[-1]

    monkeypatch.setattr("atlas.models.load", loaded)
    down: Callable[[str], bool] = home(0)
    main(command)
    capsys.readouterr()
    down = never
    main([*command, "--keep-errors"])
    assert json.loads(capsys.readouterr().out)["arms"][0]["errors"] == 1
    main(command)
    out, err = capsys.readouterr()
    row = json.loads(out)["arms"][0]
    assert (row["episodes"], row["errors"]) == (2, 0) and "(1 again after an error)" in err
    main(["traces", "show", "run"])
    assert "1 played again after an error" in capsys.readouterr().out
    main(["traces", "show", "run", "--json"])
    assert json.loads(capsys.readouterr().out)["cut_off"]["retried"] == 1
    main(["traces", "show", "run", "--arm", "student"])
    assert "error, retried" in capsys.readouterr().out
    main(["traces", "ls", ".", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed["episodes"] == 2 and listed["dollars"] == pytest.approx(0.25)


async def test_an_export_leaves_the_earlier_attempt_out(tmp_path: Path) -> None:
    from atlas.export.rows import run_rows

    with pytest.raises(DataError):
        await bench(tmp_path / "run", lambda task: True, n=1).run()
    (result,) = await bench(tmp_path / "run", n=1).run()
    assert {row.episode for row in run_rows(Run(tmp_path / "run"))} == {result.id}
    assert total(s for e in Run(tmp_path / "run").episodes() for s in e.spend).calls > total(result.spend).calls
