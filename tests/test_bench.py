"""Experiments: all arms over the same tasks, and results that survive a kill, a budget and a broken game."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atlas.benchmarks.alfworld.homes import homes, write
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast, Played, Stage
from atlas.benchmarks.arms import ARMS, build
from atlas.benchmarks.bench import Bench, spent
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError, DataError, ModelError
from atlas.export import ExportPlan, export
from atlas.memory import DemonstrationStore, Memory
from atlas.memory.database import Database
from atlas.records import Episode, Stop
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.traces import Run
from atlas.traces.account import COLLECT, arm_rows, comparisons, pair
from atlas.traces.roles import by_name
from tests.export_fixtures import Says

CAST = Cast(student=Nearest(), teacher=ScriptedExpert())
OPTIONS = BenchOptions(split=HOMES, arms=("icd", "cascade"), n=2, demos=6, embedder="hash")


def bench(folder: Path, *, cast: Cast = CAST, data: Path | None = None, **options: Any) -> Bench:
    return Bench(suite=Alfworld(data), cast=cast, options=replace(OPTIONS, **options), folder=folder)


def outcomes(episodes: Sequence[Episode]) -> dict[tuple[str, str, int], tuple[Any, ...]]:
    """What must be equal, whatever interrupted the run."""
    over = [e for e in episodes if e.stop not in (Stop.RUN_BUDGET, Stop.CANCELLED)]
    found = {(e.arm, e.task.id, e.seed): (e.success, e.steps, e.teacher_steps, e.stop) for e in over}
    assert len(found) == len(over), "an episode that had ended was played again"
    return found


# --- arms -------------------------------------------------------------------------------------------------------------


async def test_every_arm_plays_every_task_and_pairs_with_the_cascade(tmp_path: Path) -> None:
    episodes = await bench(tmp_path / "run", arms=tuple(ARMS), n=3, seeds=(0, 1)).run()
    played = {arm: {(e.task.id, e.seed) for e in episodes if e.arm == arm} for arm in (COLLECT, *ARMS)}
    assert len(played[COLLECT]) == 6
    tasks = played["student"]
    assert len(tasks) == 6 and all(played[arm] == tasks for arm in ARMS)
    assert not {task for task, _ in played[COLLECT]} & {task for task, _ in tasks}
    assert {
        (p.first, p.tasks) for p in comparisons(episodes, by_name(e.arm for e in episodes)) if p.first == "cascade"
    } == {("cascade", 3)}
    assert pair(episodes, "cascade", "random-route").tasks == 3
    rows = {row.arm: row for row in arm_rows(episodes)}
    assert rows["teacher"].teacher_share == 1 and rows["student"].teacher_share == rows["icd"].teacher_share == 0
    assert 0 < rows["cascade"].teacher_share < 1
    assert spent(episodes).tokens == sum(row.usage.tokens for row in rows.values())


def test_ctrl_c_is_heard_between_the_texts_of_demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.memory.texts._BATCH", 8)
    read: list[str] = []

    def seen(doing: str, episodes: object) -> None:
        if doing.endswith(" texts"):
            read.append(doing)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(replace(bench(tmp_path / "run"), seen=seen).run())
    assert len(read) == 1, "the rest is read when the run goes on"
    assert {e.arm for e in asyncio.run(bench(tmp_path / "run").run())} == {COLLECT, "icd", "cascade"}


async def test_random_routing_takes_the_share_of_the_cascade_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []

    def watched(arm: Played, stage: Stage) -> Any:
        if stage.share is not None:
            shares.append((arm.name, stage.share))
        return build(arm, stage)

    monkeypatch.setattr("atlas.benchmarks.bench.build", watched)
    arms = ("random-route", "random-route@1", "cascade", "cascade@1")
    episodes = await bench(tmp_path / "run", arms=arms, demos=16).run()
    share = {row.arm: row.teacher_share for row in arm_rows(episodes)}
    assert share["cascade"] < share["cascade@1"]
    assert shares == [("random-route", share["cascade"]), ("random-route@1", share["cascade@1"])]
    shares.clear()
    await bench(tmp_path / "stated", arms=("random-route",), n=1, share=0.25).run()
    assert shares == [("random-route", 0.25)]


async def test_points_of_a_learning_curve_recall_the_first_demonstrations_only(tmp_path: Path) -> None:
    await bench(tmp_path / "run", arms=("icd@2", "icd", "icd@6"), n=1).run()
    with DemonstrationStore(tmp_path / "run" / "memory.sqlite", embedder="hash") as memory:
        stored = [demo.id for demo in memory.all()]
    recalled: dict[str, set[str]] = {}
    for episode in Run(tmp_path / "run").episodes():
        hits = (hit.demo_id for step in episode.steps for hit in step.decision.retrieved)
        recalled.setdefault(episode.arm, set()).update(hits)
    assert recalled["icd@2"] == set(stored[:2])
    assert recalled["icd"] == recalled["icd@6"] == set(stored) and len(stored) == 6
    assert not recalled[COLLECT]


async def test_arms_that_cannot_be_built_say_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--demos"):
        await bench(tmp_path / "a", demos=0).run()
    for arms, needed in [(("random-route",), "cascade"), (("cascade", "random-route:0.5"), "cascade:0.5")]:
        with pytest.raises(ConfigError, match=f"'{needed}'"):
            await bench(tmp_path / "b", arms=arms).run()
        assert not (tmp_path / "b").exists(), "found before its demonstrations are paid"
    with pytest.raises(ConfigError, match=r"icd@100 shows 100 demonstrations, and there are 6 at the most"):
        await bench(tmp_path / "b", arms=("icd", "icd@100")).run()
    assert not (tmp_path / "b").exists(), "6 demonstrations are not called 100"
    with pytest.raises(ConfigError, match="no tasks"):
        await bench(tmp_path / "c", n=0).run()


async def test_a_memory_given_is_used_and_added_to(tmp_path: Path) -> None:
    store = tmp_path / "mine.sqlite"
    await bench(tmp_path / "first", arms=("icd",), n=1, memory=store).run()
    with DemonstrationStore(store, embedder="hash") as memory:
        assert len(memory) == 6
    episodes = await bench(tmp_path / "second", arms=("icd",), n=1, demos=0, memory=store).run()
    assert [e.arm for e in episodes] == ["icd"]
    assert not (tmp_path / "second" / "memory.sqlite").exists()
    with pytest.raises(ConfigError, match=r"icd@7 .* there are 6 at the most"):
        await bench(tmp_path / "third", arms=("icd@7",), n=1, demos=0, memory=store).run()


async def test_a_point_of_a_curve_that_lost_demonstrations_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the teacher wins is known only when it has played."""
    cast = replace(CAST, teacher=FlakyModel(ScriptedExpert(), fails={0}, error=ModelError("it is down")))
    await bench(tmp_path / "run", cast=cast, arms=("icd@6",), n=1).run()
    assert "icd@6 shows 5 demonstrations" in caplog.text


async def test_online_learns_while_it_serves(tmp_path: Path) -> None:
    episodes = await bench(tmp_path / "run", arms=("online",), n=24, demos=0).run()
    with DemonstrationStore(tmp_path / "run" / "online-0.sqlite", embedder="hash") as memory:
        assert len(memory) == sum(bool(e.success) for e in episodes) > 12

    def share(some: Sequence[Episode]) -> float:
        return sum(e.teacher_steps for e in some) / sum(e.steps for e in some)

    assert episodes[0].teacher_steps >= episodes[0].steps - 1, "with an empty memory samples agree by chance only"
    assert share(episodes[-8:]) < share(episodes[:8])


async def test_what_learns_while_it_serves_may_begin_with_the_memory_of_the_run(tmp_path: Path) -> None:
    def held(name: str) -> set[str]:
        with DemonstrationStore(tmp_path / "run" / name, embedder="hash") as memory:
            return {demo.id for demo in memory.all()}

    run = bench(tmp_path / "run", arms=("online", "atlas"), n=6, demos=8, from_memory=True)
    episodes = await run.run()
    taught = held("memory.sqlite")
    assert len(taught) == 8 and sum(e.arm == "collect" for e in episodes) == 8
    with Memory(tmp_path / "run" / "memory.sqlite", "hash") as memory:
        entries = {entry.id for entry in memory.entries.all()}
        assert entries
    for arm in ("online", "atlas"):
        assert held(f"{arm}-0.sqlite") > taught, "it begins with them, and learns more"
    with Memory(tmp_path / "run" / "atlas-0.sqlite", "hash") as memory:
        assert entries <= {entry.id for entry in memory.entries.all()}
        assert memory.database.id != run_id(tmp_path / "run" / "memory.sqlite")
    assert held("memory.sqlite") == taught, "what an arm learns is its own"
    # Called again nothing is played, and nothing begins anew.
    before = held("atlas-0.sqlite")
    assert len(await run.run()) == len(episodes) and held("atlas-0.sqlite") == before
    with pytest.raises(ConfigError, match="no demonstrations to recall"):
        await bench(tmp_path / "none", arms=("online",), n=1, demos=0, from_memory=True).run()


def run_id(path: Path) -> str:
    with closing(Database(str(path))) as database:
        return database.id


async def test_a_control_waits_for_the_errors_of_its_cascade(tmp_path: Path) -> None:
    """It was played at the share of what had not failed, and kept that when the rest was played again."""
    arms = ("cascade-nodemos", "random-route-nodemos")
    whole = await bench(tmp_path / "whole", arms=arms, n=4, demos=0).run()
    for fails in (0, 9):
        teacher = FlakyModel(ScriptedExpert(), fails={fails}, error=ModelError("it is down"))
        run = bench(tmp_path / f"run-{fails}", cast=replace(CAST, teacher=teacher), arms=arms, n=4, demos=0)
        episodes = await run.run()
        assert outcomes([e for e in episodes if e.stop is not Stop.ERROR]) == outcomes(whole)
    # Who is told to keep errors has a control at the share of the rest.
    teacher = FlakyModel(ScriptedExpert(), fails={0}, error=ModelError("it is down"))
    kept = bench(tmp_path / "kept", cast=replace(CAST, teacher=teacher), arms=arms, n=4, demos=0, retry_errors=False)
    assert [e.stop for e in await kept.run()].count(Stop.ERROR) == 1


# --- resume -----------------------------------------------------------------------------------------------------------

ARGUMENTS = ("bench", "alfworld", "--n", "3", "--demos", "8", "--embedder", "hash", "--concurrency", "2")
ARMS_USED = ("--arms", "student,icd@3,cascade,random-route,online")


def lines(folder: Path) -> int:
    trace = folder / "trace.jsonl"
    return trace.read_bytes().count(b"\n") if trace.exists() else 0


def killed(folder: Path, after: int, by: signal.Signals = signal.SIGKILL) -> str:
    """Start the run as a process of its own, kill it once its trace has ``after`` more lines; its last words."""
    command = [sys.executable, "-c", "from atlas.cli import main; main()", *ARGUMENTS, *ARMS_USED, "-o", str(folder)]
    before = lines(folder)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 300
        while lines(folder) < before + after and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
    finally:
        os.kill(process.pid, by)
        _, err = process.communicate()
    assert lines(folder) >= before + after, err.decode()
    return str(err.decode())


def test_a_killed_run_goes_on_to_the_results_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*ARGUMENTS, *ARMS_USED, "-o", str(tmp_path / "whole"), "--json"])
    total = lines(tmp_path / "whole")
    halves = tmp_path / "halves"
    killed(halves, after=40)
    ended = {e.id for e in Run(halves).results()}
    killed(halves, after=total // 3)
    ended_later = {e.id for e in Run(halves).results()}
    assert ended <= ended_later
    assert len(ended_later) < len(Run(tmp_path / "whole").results()), "it was killed too late to show anything"
    # In a folder of its own, right after the beginning: on a busy machine the rest of this run may be over too soon.
    said = killed(tmp_path / "interrupted", after=10, by=signal.SIGINT)
    assert said.endswith(f"-o {tmp_path / 'interrupted'}\n") and "Traceback" not in said
    main([*ARGUMENTS, *ARMS_USED, "-o", str(halves), "--json"])
    whole, resumed = Run(tmp_path / "whole").results(), Run(halves).results()
    assert outcomes(whole) == outcomes(resumed)
    assert ended_later <= {e.id for e in resumed}
    before = (halves / "trace.jsonl").read_bytes()
    main([*ARGUMENTS, *ARMS_USED, "-o", str(halves), "--json"])
    assert (halves / "trace.jsonl").read_bytes() == before, "nothing is left to play"
    capsys.readouterr()


async def test_an_interrupt_is_heard_though_no_model_ever_waits(tmp_path: Path) -> None:
    def interrupt(_: str, episodes: Sequence[Episode]) -> None:
        if len(episodes) == 2:
            task.cancel()

    run = bench(tmp_path / "run", arms=("student",), n=6)
    run.options, run.seen = replace(run.options, concurrency=1), interrupt
    task = asyncio.create_task(run.run())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 2 <= len(outcomes(Run(tmp_path / "run").results())) <= 3
    run.seen = lambda doing, episodes: None
    assert len(outcomes(await run.run())) == 6


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_kill_between_the_trace_and_the_memory_loses_no_demonstration(tmp_path: Path, lost: int) -> None:
    whole = await bench(tmp_path / "whole", arms=("icd@5", "online")).run()
    with DemonstrationStore(tmp_path / "whole" / "memory.sqlite", embedder="hash") as memory:
        demos = memory.all()
    cut = tmp_path / "cut"
    await bench(cut, arms=("icd@5", "online")).run()
    ends = [i for i, line in enumerate((cut / "trace.jsonl").read_bytes().splitlines()) if b'{"type":"end"' in line]
    kept = (cut / "trace.jsonl").read_bytes().splitlines(keepends=True)[: ends[3] + 1]
    (cut / "trace.jsonl").write_bytes(b"".join(kept))
    for left in cut.glob("*.sqlite*"):
        left.unlink()
    with DemonstrationStore(cut / "memory.sqlite", embedder="hash") as memory:
        memory.add_many(demos[: 4 - lost])
    resumed = await bench(cut, arms=("icd@5", "online")).run()
    with DemonstrationStore(cut / "memory.sqlite", embedder="hash") as memory:
        assert [demo.id for demo in memory.all()] == [demo.id for demo in demos]
    assert outcomes(resumed) == outcomes(whole)


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_a_run_stops_at_its_budget_anywhere_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    arms = ("student", "random-route", "icd", "cascade", "teacher")
    whole = await bench(tmp_path / "whole", arms=arms).run()
    tokens = spent(whole).tokens
    run = bench(tmp_path / "run", arms=arms)
    left = []
    for part in (0.01, 0.3, 0.7, 0.9):
        run.options = replace(run.options, budget_tokens=int(tokens * part))
        episodes = await run.run()
        assert spent(episodes).tokens < tokens * part + 3 * 2_000, "at most one step of each episode in flight too far"
        left.append(run.unplayed)
    assert left == sorted(left, reverse=True) and left[0] == 10 and left[-1] > 0
    run.options = replace(run.options, budget_tokens=tokens * 10)
    resumed = await run.run()
    assert run.unplayed == 0
    assert outcomes(resumed) == outcomes(whole)


async def test_a_budget_in_dollars_stops_too(tmp_path: Path) -> None:
    run = bench(tmp_path / "run", arms=("teacher",), n=3, budget_dollars=0.02)
    episodes = await run.run()
    assert run.unplayed and 0.02 <= (spent(episodes).dollars or 0) < 0.08


async def test_an_episode_has_a_budget_of_its_own(tmp_path: Path) -> None:
    run = bench(tmp_path / "run", arms=("teacher",), n=3, episode_tokens=2_000)
    episodes = await run.run()
    assert {e.stop for e in episodes} == {Stop.BUDGET} and run.unplayed == 0
    assert all(e.steps < 5 for e in episodes)


async def test_dollars_are_not_counted_where_a_model_has_no_price(tmp_path: Path) -> None:
    cast = replace(CAST, student=ScriptedModel(lambda ask: "Action: look", name="free", price=None))
    for limit in ("episode_dollars", "budget_dollars"):
        run = bench(tmp_path / limit, cast=cast, **{limit: 1.0})
        with pytest.raises(ConfigError, match=r"free has none.*--student-price"):
            await run.run()
        assert not (tmp_path / limit).exists()


async def test_time_that_is_over_starts_nothing_further(tmp_path: Path) -> None:
    run = bench(tmp_path / "run", arms=("student",))
    run.until = time.monotonic() - 1
    assert await run.run() == [] and run.unplayed == 2
    run.until = None
    assert len(await run.run()) == 2 and run.unplayed == 0


async def test_a_cut_run_stops_in_the_middle_and_goes_on_later(tmp_path: Path) -> None:
    """What is under way at the cut is cancelled, counts in no rate, and is played again."""
    cast = replace(CAST, teacher=SlowModel(ScriptedExpert(), latency=0.05))
    run = bench(tmp_path / "run", cast=cast, arms=("teacher",), n=3)
    run.cut = time.monotonic() + 0.1
    assert not outcomes([e for e in await run.run() if e.arm == "teacher"]) and run.unplayed == 3
    run.cut = None
    assert len(outcomes(await run.run())) == 3


# --- the command line -------------------------------------------------------------------------------------------------

Runs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs ``atlas bench alfworld`` on two homes with two demonstrations; returns exit code, output, messages."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = 0
        try:
            main(["bench", "alfworld", "--n", "2", "--demos", "2", "--embedder", "hash", *map(str, arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def test_results_as_json(command: Runs) -> None:
    code, out, err = command("-o", "run", "--json")
    content = json.loads(out)
    assert code == 0 and "episodes so far" in err
    assert {row["arm"] for row in content["arms"]} == {
        "collect",
        "student",
        "icd",
        "cascade",
        "teacher",
        "random-route",
    }
    assert all(row["episodes"] == 2 for row in content["arms"])
    assert {row["tasks"] for row in content["pairs"]} == {2}
    assert content["break_even"] and content["run"] == "run"


def test_results_as_a_table(command: Runs) -> None:
    code, out, _ = command("-o", "run", "--arms", "teacher,icd@1,icd")
    assert code == 0
    assert all(word in out for word in ("teacher", "icd@1", "success", "errors", "Run: run"))


def test_a_spent_budget_is_said_and_is_no_failure(command: Runs) -> None:
    code, out, err = command("-o", "run", "--budget-tokens", "1", "--json")
    assert code == 0 and json.loads(out)["arms"] == []
    assert "budget is spent, 10 episodes are left" in err
    code, out, err = command("-o", "run", "--budget-tokens", "40000")
    assert code == 0 and "budget is spent" in err and "collect" in out
    code, _, err = command("-o", "run")
    assert code == 0 and "budget" not in err


def test_a_budget_in_dollars_needs_prices(command: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.models.load", lambda name, price: ScriptedModel([], name=name, price=None))
    code, out, err = command("-o", "run", "--budget-dollars", "1")
    assert (code, out) == (2, "")
    assert "nearest and scripted:alfworld has none" in err and "--teacher-price" in err


@pytest.mark.parametrize(
    "wrong",
    [("--demos", "-1"), ("--samples", "0"), ("--share", "1.5"), ("--seeds", "a"), ("--arms", ","), ("--n", "0")],
)
def test_settings_out_of_range_are_refused_before_anything_is_played(command: Runs, wrong: tuple[str, str]) -> None:
    code, out, err = command("-o", "run", *wrong)
    assert (code, out) == (2, "") and err.count("\n") == 1 and wrong[0] in err
    assert not Path("run").exists()


def test_what_a_run_permits_is_exported_without_saying_so_again(command: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, price: str | None) -> Any:
        return Nearest() if name == "nearest" else Says(ScriptedExpert(), name)

    monkeypatch.setattr("atlas.models.load", load)
    run = ("-o", "run", "--arms", "teacher,student", "--teacher", "vendor/large", "--max-steps", "40")
    assert command(*run)[0] == 0
    with pytest.raises(SystemExit):
        main(["export", "run", "--format", "trl-sft", "-o", "before"])
    code, _, err = command(*run, "--permitted", "vendor/large, vendor/lagre")
    assert code == 2 and "vendor/lagre is neither the student (nearest) nor the teacher (vendor/large)" in err
    for names in ("vendor/large", "nearest,vendor/*", "nearest"):
        assert command(*run, "--permitted", names)[0] == 0
    made = Run("run")
    assert made.about["permitted"] == ["vendor/large", "nearest", "vendor/*"]
    assert made.about["command"] and len(made.results()) == 4
    manifest = export([made], Path("after"), ExportPlan(format="trl-sft"))
    assert manifest.permitted["vendor/large"] == "recorded in the run"
    assert manifest.counts.by_model["vendor/large"] > 0


# --- files like the official ones -------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Generated homes in folders and files like the official ones: 3 unseen, 4 of train."""
    for split, name, count in (("unseen", "valid_unseen", 3), ("train", "train", 4)):
        games = [
            game.model_copy(update={"id": f"{name}/{game.task_type}-Thing-None-Place-{i}/trial_{i}"})
            for i, game in enumerate(homes("unseen" if split == "unseen" else "train", count))
        ]
        write(games, tmp_path / "data" / "json_2.1.1")
    return tmp_path / "data"


def broken(data: Path, split: str, share: float = 0.5, count: int = 1) -> list[Path]:
    paths = sorted((data / "json_2.1.1" / split).glob("*/*/game.tw-pddl"))[:count]
    for path in paths:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return paths


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_game_is_recorded_and_the_others_go_on(data: Path, command: Runs, share: float) -> None:
    (path,) = broken(data, "valid_unseen", share)
    broken(data, "train")
    arguments = ("--split", "valid_unseen", "--data", data, "--n", "3", "--demos", "4", "--arms", "icd,teacher")
    code, out, _ = command(*arguments, "-o", "run", "--json")
    assert code == 0
    rows = {row["arm"]: row for row in json.loads(out)["arms"]}
    assert {arm: (row["episodes"], row["scored"], row["errors"]) for arm, row in rows.items()} == {
        "collect": (4, 3, 1),
        "icd": (3, 2, 1),
        "teacher": (3, 2, 1),
    }
    failures = [e.failure for e in Run("run").results() if e.stop is Stop.ERROR and e.arm != COLLECT]
    assert all(f is not None and f.where == "environment" and str(path) in f.message for f in failures)
    assert rows["teacher"]["success"]["mean"] == 1.0


@pytest.mark.parametrize("arm", ["teacher", "icd"])
def test_where_every_game_is_broken_the_command_says_so(data: Path, command: Runs, arm: str) -> None:
    broken(data, "valid_unseen", count=3)
    arguments = ("--split", "valid_unseen", "--data", data, "--n", "3", "--arms", arm)
    code, out, err = command(*arguments, "-o", "run", "--json")
    assert (code, out) == (2, "")
    assert "all 3 episodes failed" in err and "truncated" in err and "run" in err
    assert Counter(e.arm for e in Run("run").results())[arm] == 3


async def test_a_model_that_always_fails_is_said_too(tmp_path: Path) -> None:
    def fail(_: Any) -> str:
        raise ValueError("out of order")

    cast = replace(CAST, teacher=ScriptedModel(fail))
    with pytest.raises(DataError, match="all 2 episodes failed, the first with ValueError: out of order"):
        await bench(tmp_path / "run", cast=cast, arms=("teacher",)).run()


def test_official_demonstrations_are_drawn_by_seed_and_never_from_the_tested_split(data: Path) -> None:
    suite = Alfworld(data)
    drawn = [[ref.id for ref in suite.demo_tasks("valid_unseen", 4, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] and set(drawn[0]) == set(drawn[2]) and all(i.startswith("train/") for i in drawn[0])
    assert [ref.id for ref in suite.demo_tasks("valid_unseen", 2)] == drawn[0][:2]
    assert Counter(len(suite.tasks("valid_unseen", n)) for n in (1, 3, None)) == {1: 1, 3: 2}
    with pytest.raises(ConfigError, match="train cannot be tested on"):
        suite.demo_tasks("train", 2)
