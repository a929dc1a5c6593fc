"""Several processes at one run: each episode is played and paid once, and one budget is the budget of all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.sharing import Shared
from atlas.budget import Budget, Meter
from atlas.copying.nearest import Nearest
from atlas.errors import BudgetExceeded, StoreError
from atlas.records import Stop, Usage, total
from atlas.testing import ScriptedModel
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.claims import CLAIMS, Claims
from tests.shared_player import COSTS

PLAYER = Path(__file__).with_name("shared_player.py")
FIRST_USE = Usage(calls=1, completion_tokens=7, dollars=0.5)


def start(folder: Path, kind: str, **settings: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(PLAYER), str(folder), json.dumps({"kind": kind, **settings})]
    path = os.pathsep.join([str(PLAYER.parent.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(processes: list[subprocess.Popen[str]]) -> list[str]:
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [err[-2000:] for _, err in said]
    return [out for out, _ in said]


def billed(folder: Path) -> int:
    """Calls that were paid, whoever made them."""
    return len(folder.with_suffix(".bill").read_text().splitlines())


def nothing() -> Usage:
    return Usage()


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_benches_in_one_folder_pay_each_episode_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan: dict[str, Any] = {"arms": ["student", "cascade", "online", "random-route"], "n": 3, "demos": 3}
    results = finished([start(folder, "bench", **plan) for _ in range(8)])
    stored = Run(folder).episodes()
    keys = Counter((e.arm, e.task.id, e.seed) for e in stored)
    assert set(keys.values()) == {1} and len(keys) == 3 + 4 * 3
    assert len(set(results)) == 1, "every one of them ends with the results of all"
    assert billed(folder) == total(s for e in stored for s in e.spend).calls


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"budget_tokens": 20 * COSTS}, {"budget_dollars": 20 * COSTS / 1e6}])
def test_four_benches_stay_within_one_call_each_of_one_budget(tmp_path: Path, limit: dict[str, float]) -> None:
    folder = tmp_path / "run"
    finished([start(folder, "bench", arms=["teacher"], n=12, seconds=0.02, **limit) for _ in range(4)])
    assert 20 <= billed(folder) <= 24
    finished([start(folder, "bench", arms=["teacher"], n=12, **limit)])
    assert billed(folder) <= 24, "it stays spent"


@pytest.mark.slow
def test_four_agents_stay_within_one_call_each_of_one_budget(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finished([start(folder, "agent", tokens=40 * COSTS) for _ in range(4)])
    assert 40 <= billed(folder) <= 44
    finished([start(folder, "agent", tokens=40 * COSTS)])
    assert billed(folder) <= 44, "what earlier processes used counts"


@pytest.mark.slow
def test_what_a_killed_process_was_at_is_played_by_another(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan: dict[str, Any] = {"arms": ["teacher"], "n": 3, "seconds": 0.1}
    killed = start(folder, "bench", **plan)
    deadline = time.monotonic() + 60
    while not folder.with_suffix(".bill").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    other = start(folder, "bench", **plan)
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished([other])
    results = Run(folder).results()
    assert len(results) == 3 and all(e.stop is Stop.DONE for e in results)


# --- within one -------------------------------------------------------------------------------------------------------


async def test_two_benches_of_one_process_share_a_run(tmp_path: Path) -> None:
    options = BenchOptions(split=HOMES, arms=("student", "online"), n=3, demos=0, embedder="hash", max_steps=4)
    cast = Cast(student=Nearest(), teacher=ScriptedExpert())
    both = [Bench(suite=Alfworld(), cast=cast, options=replace(options), folder=tmp_path / "run") for _ in range(2)]
    one, other = await asyncio.gather(*(bench.run() for bench in both))
    assert {e.id for e in one} == {e.id for e in other} and len(one) == 6 == len(Run(tmp_path / "run").episodes())
    assert both[0].unplayed == both[1].unplayed == 0


def test_a_claim_ends_with_whoever_made_it(tmp_path: Path) -> None:
    one, other = Claims(tmp_path, nothing), Claims(tmp_path, nothing)
    key = ("arm", "task \ud800", 0)
    assert one.claim(key) and not other.claim(key) and other.claim(("arm", "task", 1))
    one.release(key)
    assert other.claim(key) and not one.claim(key)
    other.close()
    assert one.claim(key)
    one.close()


def test_the_ledger_adds_up_what_all_have_used(tmp_path: Path) -> None:
    with Claims(tmp_path, lambda: FIRST_USE) as one:
        first = Meter(Budget(tokens=100), what="run", past=FIRST_USE, ledger=one)
        with Claims(tmp_path, nothing) as other:
            second = Meter(Budget(tokens=100), what="run", ledger=other)
            first.add(Usage(calls=1, prompt_tokens=50, dollars=0.25))
            second.add(Usage(calls=1, prompt_tokens=40, dollars=0.25))
            assert one.total() == other.total() == (1.0, 97)
            assert not first.spent and not second.spent
            second.add(Usage(calls=1, prompt_tokens=40, dollars=0.25))
            with pytest.raises(BudgetExceeded, match="100 tokens"):
                first.check()
        with Claims(tmp_path, nothing) as third:
            third.post(0.125, 3)
            assert third.total() == (1.375, 140), "it has the row of one that is gone, and what stood there counts"
    with Claims(tmp_path, lambda: FIRST_USE) as alone:
        assert alone.total() == (1.375, 140), "more than the trace says: a kill came between the two"
    (tmp_path / CLAIMS).unlink()
    with Claims(tmp_path, lambda: FIRST_USE) as alone:
        assert alone.total() == (0.5, 7), "without a ledger it is what the trace says"


def test_unknown_dollars_of_one_are_unknown_to_all_and_poison_nothing(tmp_path: Path) -> None:
    with Claims(tmp_path, nothing) as one, Claims(tmp_path, nothing) as other:
        one.post(None, 5)
        assert other.total() == (None, 5)
    with Claims(tmp_path, lambda: FIRST_USE) as later:
        assert later.total() == (0.5, 7)


def test_a_forked_child_counts_once(tmp_path: Path) -> None:
    with Claims(tmp_path, nothing) as claims:
        claims.claim("mine")
        claims.post(1.0, 10)
        child = os.fork()
        if not child:
            claims.post(1.5, 15)  # its meter began with what the parent had
            os._exit(0 if claims.total() == (1.5, 15) and not claims.claim("mine") else 1)
        assert os.waitpid(child, 0)[1] == 0
        claims.post(2.0, 20)
        assert claims.total() == (2.5, 25)


def test_a_folder_that_cannot_keep_claims_says_so(tmp_path: Path) -> None:
    (tmp_path / CLAIMS).mkdir()
    with pytest.raises(StoreError, match="or choose another"):
        Claims(tmp_path, nothing)


def test_an_agent_counts_what_its_run_has_used(tmp_path: Path) -> None:
    def serve() -> None:
        model = ScriptedModel("word " * 50)
        with (
            atlas.Agent(None, model, run=tmp_path / "run", run_budget=Budget(tokens=50)) as agent,
            agent.episode(goal="g") as episode,
        ):
            episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    serve()
    with pytest.raises(openai.BadRequestError, match="50 tokens"):
        serve()
    assert [e.stop for e in Run(tmp_path / "run").results()] == [Stop.DONE, Stop.RUN_BUDGET]


def test_an_end_that_was_told_anew_is_one_result_and_the_last_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"online": MadeUpArm(3, 0.5)})
    first, second, _ = Run(folder).results()
    with RunWriter(folder, Run(folder).settings) as writer, Shared(folder) as before:
        writer.end(first.replace(score=0.25, success=False))
        with Shared(folder) as resumed:
            assert [e.score for e in resumed.episodes] == [e.score for e in Run(folder).results()]
            writer.end(second.replace(score=0.5, success=False))
            for shared in (before, resumed):
                shared.look()
                assert shared.episodes == Run(folder).results() and len(shared.episodes) == 3
                shared.add([second.replace(score=0.75)])
                assert [e.score for e in shared.episodes][:2] == [0.25, 0.75]
