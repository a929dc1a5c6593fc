"""The loop by LangGraph and without it: the same episodes, also where something fails, is killed, or is streamed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the extra langgraph is not installed")

import atlas
from atlas.asking import Desk
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError
from atlas.evaluators import EnsembleJudge
from atlas.evaluators.review import ReviewJudge
from atlas.evaluators.rules import SureJudge
from atlas.graph import LoopContext, looped, streamed
from atlas.graph.__main__ import drawn
from atlas.loop import Rollout
from atlas.memory import Memory
from atlas.policies import Coach, InLane, Lanes, Probe, Solo, TeacherReview, Validated
from atlas.policies.lanes import LaneRules
from atlas.records import Decision, LaneChoice, Observation, Stop, Task, View
from atlas.testing import FlakyModel, ScriptedModel
from atlas.traces import Run, RunWriter

JUDGE = EnsembleJudge(
    [ReviewJudge(ScriptedExpert()), SureJudge()], ReviewJudge(ScriptedModel("Verdict: yes", name="a"))
)
CAST = Cast(student=Nearest(), teacher=ScriptedExpert(), judge=JUDGE)
OPTIONS = BenchOptions(split=HOMES, n=4, demos=3, embedder="hash", judges=("review", "rule:sure"))
DIFFERS = {"id", "run", "seconds", "started", "time", "episode", "retries"}


def bench(folder: Path, *, cast: Cast = CAST, **options: Any) -> Bench:
    return Bench(suite=Alfworld(None), cast=cast, options=replace(OPTIONS, **options), folder=folder)


def plain(value: Any) -> Any:
    """Without what differs from run to run: times and ids."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if name not in DIFFERS}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def told(folder: Path) -> list[Any]:
    """All that the trace holds, but for times and ids."""
    run = Run(folder)
    found: list[Any] = [
        [e.arm, e.seed, e.result and e.result.model_dump(mode="json"), [s.model_dump() for s in e.steps]]
        for e in run.episodes()
    ]
    return [plain(part) for part in [*found, *(event.model_dump(mode="json") for event in run.events())]]


async def test_both_ways_give_the_same_episodes(tmp_path: Path) -> None:
    arms = ("atlas", "lanes", "online", "cascade", "teacher")
    for graph in (False, True):
        await bench(tmp_path / str(graph), arms=arms, graph=graph, concurrency=1).run()
    without, by_graph = told(tmp_path / "False"), told(tmp_path / "True")
    assert len(without) > 20 and without == by_graph


async def test_where_models_fail_too(tmp_path: Path) -> None:
    for graph in (False, True):
        cast = replace(CAST, teacher=FlakyModel(ScriptedExpert(), fails={3, 4, 30, 60, 61}))
        await bench(tmp_path / str(graph), cast=cast, arms=("atlas", "lanes"), demos=0, graph=graph).run()
    assert told(tmp_path / "False") == told(tmp_path / "True")
    assert {e.stop for e in Run(tmp_path / "True").results()} > {Stop.DONE}


class Room:
    """A world whose one answer is 2."""

    def __init__(self, task: str = "t") -> None:
        self.task = Task(id=task, goal="what is one and one?")

    async def open(self) -> Observation:
        return Observation(text="a room", score=0.0)

    async def step(self, action: str) -> Observation:
        done = action.startswith("submit")
        return Observation(text="ok", score=float(action == "submit[2]"), done=done)

    async def close(self) -> None: ...


def rollout(student: ScriptedModel, teacher: ScriptedModel, memory: Memory, lane: str, **settings: Any) -> Rollout:
    auto, coach = Solo(student), Coach(Solo(student), teacher)
    paired = Validated(auto, TeacherReview(teacher))
    rules = LaneRules(force=lane)
    lanes = Lanes(auto, coach, Probe(memory.outcomes), paired=paired, rules=rules, escalates=True)
    return Rollout(Room(), lanes, again=Room, max_steps=4, **settings)


def nodes(context: LoopContext) -> list[str]:
    async def through() -> list[str]:
        return [name async for mode, part in streamed(context) if mode == "updates" for name in part]

    return asyncio.run(through())


def test_the_edges_are_lanes_escalation_and_retry() -> None:
    def student(ask: Any) -> str:
        return "Action: submit[2]" if "coached" in ask.prompt.text() else "Action: look"

    with Memory(":memory:", "hash") as memory:
        right = ScriptedModel("Action: submit[2]")
        for lane in ("auto", "paired", "coach"):
            teacher = ScriptedModel("Verdict: yes\nVerdict: good", name="big")
            passed = nodes(LoopContext(rollout=rollout(right, teacher, memory, lane)))
            assert passed == ["open", "probe", lane, "review", "close"]
        # An answer that is rejected is decided anew; that one is no answer yet: the rest is coached.
        wavers = ScriptedModel(["Action: submit[1]", "Action: look", "Action: submit[2]"])
        teacher = ScriptedModel(["Verdict: no\nFeedback: look first", "Verdict: good"], name="big")
        passed = nodes(LoopContext(rollout=rollout(wavers, teacher, memory, "paired")))
        assert passed == ["open", "probe", "paired", "coach", "review", "close"]
        # An attempt that is rejected at its end is tried again.
        teacher = ScriptedModel(
            lambda ask: "Verdict: no\nFeedback: be coached" if ask.purpose == "review" else "Verdict: good", name="big"
        )
        played = rollout(
            ScriptedModel(student), teacher, memory, "auto", reviewer=InLane(TeacherReview(teacher), ["auto"])
        )
        passed = nodes(LoopContext(rollout=played))
        assert passed == ["open", "probe", "auto", "review", "retry", "review", "close"]
        assert played.book.close(Stop.DONE, 1.0).score == 1.0


class Rises:
    """Supervision that becomes closer at each step."""

    async def choose(self, view: View, desk: Desk) -> LaneChoice:
        return LaneChoice(lane="auto", reason="at first")

    async def decide(self, view: View, desk: Desk) -> Decision:
        lanes = ("auto", "paired", "coach")
        if not view.lane:
            return Decision(action="look", actor="student", reason="a", lane=await self.choose(view, desk))
        here = lanes.index(view.lane)
        next_one = lanes[min(here + 1, 2)]
        action = "submit[2]" if here == 2 else "look"
        return Decision(action=action, actor="student", reason="a", lane=LaneChoice(lane=next_one, reason="closer"))

    def config(self) -> dict[str, object]:
        return {"policy": "rises"}


def test_supervision_that_becomes_closer_goes_on_in_its_own_node(tmp_path: Path) -> None:
    passed = nodes(LoopContext(rollout=Rollout(Room(), Rises())))
    assert passed == ["open", "probe", "auto", "paired", "coach", "review", "close"]


def test_a_policy_without_lanes_and_what_is_learned_pass_too() -> None:
    with Memory(":memory:", "hash") as memory:
        played = Rollout(Room(), Solo(ScriptedModel("Action: submit[2]")))
        context = LoopContext(rollout=played, learns=memory.keep)
        assert nodes(context) == ["open", "probe", "act", "review", "close", "judge", "distil", "remember"]
        assert len(memory) == 1


def test_steps_are_streamed_as_they_are_done() -> None:
    async def steps() -> list[Any]:
        model = ScriptedModel(["Action: look", "Action: submit[2]"])
        context = LoopContext(rollout=Rollout(Room(), Solo(model)))
        return [part async for mode, part in streamed(context) if mode == "custom"]

    assert [(step["action"], step["observation"]) for step in asyncio.run(steps())] == [
        ("look", "ok"),
        ("submit[2]", "ok"),
    ]


def test_who_stops_listening_cancels_the_episode(tmp_path: Path) -> None:
    async def first() -> None:
        model = ScriptedModel(["Action: look"] * 9)
        with RunWriter(tmp_path / "run") as writer:
            stream = streamed(LoopContext(rollout=Rollout(Room(), Solo(model), recorder=writer)))
            async for mode, _ in stream:
                if mode == "custom":
                    break
            await stream.aclose()

    asyncio.run(first())
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.stop is Stop.CANCELLED


async def test_a_wrong_configuration_passes_through_and_closes() -> None:
    class Wrong:
        async def decide(self, view: Any, desk: Any) -> Any:
            raise ConfigError("it is wrong: mend it")

        def config(self) -> dict[str, object]:
            return {}

    with pytest.raises(ConfigError, match="it is wrong: mend it"):
        await looped(LoopContext(rollout=Rollout(Room(), Wrong())))


ARGUMENTS = ("bench", "alfworld", "--arms", "atlas", "--n", "6", "--demos", "0", "--embedder", "hash")


def lines(folder: Path) -> int:
    trace = folder / "trace.jsonl"
    return trace.read_bytes().count(b"\n") if trace.exists() else 0


def test_a_killed_run_goes_on_to_the_same_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*ARGUMENTS, "-o", str(tmp_path / "whole")])
    command = [sys.executable, "-m", "atlas", *ARGUMENTS, "--graph", "-o", str(tmp_path / "halves")]
    for after in (8, 40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while lines(tmp_path / "halves") < after and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    main([*ARGUMENTS, "--graph", "-o", str(tmp_path / "halves")])
    capsys.readouterr()

    def results(folder: Path) -> list[Any]:
        return [plain(episode.model_dump(mode="json")) for episode in Run(folder).results()]

    whole, halves = results(tmp_path / "whole"), results(tmp_path / "halves")
    # What the trace counts of an attempt that was cut off is not counted again: the same steps, for less.
    used = [[e.pop("spend"), e.pop("after")] for e in (*whole, *halves)]
    assert whole == halves and used
    assert len(Run(tmp_path / "halves").results()) == 6


def test_an_agent_learns_the_same_by_the_graph(tmp_path: Path) -> None:
    from tests.test_wrap_learning import agent, serve, teach

    for graph in (False, True):
        folder = tmp_path / str(graph)
        with agent(ScriptedModel(teach, name="big"), folder / "run", graph=graph) as served:
            for number in range(2):
                with served.episode(f"refund order {number}", task=f"t{number}") as episode:
                    episode.client.chat.completions.create(model="any", messages=[{"role": "user", "content": "hi"}])
                    episode.succeed()
                served.flush()
            serve(served, score=None)
    assert told(tmp_path / "False" / "run")[:2] == told(tmp_path / "True" / "run")[:2]
    with pytest.raises(ConfigError, match="the graph is for what an agent learns"):
        atlas.Agent(ScriptedModel("x"), graph=True)


def test_the_guide_shows_what_langgraph_draws() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "langgraph.md").read_text(encoding="utf-8")
    shown = guide.split("```mermaid\n", 1)[1].split("\n```", 1)[0]
    assert shown == drawn(), "print it anew with: python -m atlas.graph"
