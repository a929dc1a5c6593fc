"""What a wrapped agent learns behind everybody's back: off the hot path, flushed at its close, whatever kills it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.asking import Desk
from atlas.budget import Budget
from atlas.cli.agent_options import AgentOptions
from atlas.distil import read_lessons
from atlas.errors import ConfigError
from atlas.evaluators import EnsembleJudge
from atlas.evaluators.verdict import Case, Verdict
from atlas.memory import Memory
from atlas.records import Ask, Completion, Episode
from atlas.testing import ScriptedModel
from atlas.traces import Run
from atlas.traces.check import check
from atlas.traces.events import Learned
from atlas.traces.late import rescored
from atlas.traces.rewards import rewards
from tests.wrap_fixtures import says, split, user

ENTRY = {"cue": "someone asks for a refund", "action": "look up the order first", "effect": "the amount is known"}
WRITTEN = json.dumps({"entries": [ENTRY]})


def teach(ask: Ask) -> str:
    return WRITTEN if ask.purpose == "distil" else "Refunded."


class Waits:
    """A teacher that distils when it is let."""

    def __init__(self) -> None:
        self.inner = ScriptedModel(teach, name="big")
        self.name, self.price, self.shares_prompt = self.inner.name, self.inner.price, False
        self.let = threading.Event()

    async def sample(self, ask: Ask) -> Completion:
        while ask.purpose == "distil" and not self.let.is_set():
            import asyncio

            await asyncio.sleep(0.01)
        return await self.inner.sample(ask)


class Judges:
    def __init__(self, score: float | None, name: str = "judge") -> None:
        self.score, self.name = score, name

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        return Verdict(judge=self.name, score=self.score, missing="" if self.score is not None else "silent")

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


def serve(agent: atlas.Agent, number: int = 0, score: float | None = 1.0) -> Episode:
    with agent.episode(f"someone asks for a refund of order {number}") as episode:
        episode.client.chat.completions.create(model="any", messages=user(episode.goal))
        if score is not None:
            episode.score(score)
    assert episode.result is not None
    return episode.result


def agent(teacher: Any, folder: Path | None = None, **settings: Any) -> atlas.Agent:
    given: dict[str, Any] = {"memory": ":memory:", "embedder": "hash", "run": folder, "watch": False, "audit": 0.0}
    return atlas.Agent(ScriptedModel(split, name="small"), teacher, **{**given, **settings})


def test_an_answer_never_waits_for_it_and_the_close_does(tmp_path: Path) -> None:
    teacher = Waits()
    served = agent(teacher, tmp_path / "run", memory=str(tmp_path / "memory.sqlite"))
    for number in range(3):
        serve(served, number)
    assert len(read_lessons(tmp_path / "run")) == 0
    teacher.let.set()
    served.close()
    assert len(read_lessons(tmp_path / "run")) == 3
    with Memory(tmp_path / "memory.sqlite", "hash") as memory:
        assert [entry.action for entry in memory.entries.all()] == [ENTRY["action"]]
        assert memory.entries.all()[0].support == 3
        assert (
            sum(v.author.startswith("trace:run/") and v.reason == "distilled" for v in memory.database.versions()) == 3
        )


def test_what_it_cost_is_the_episodes_under_an_actor_of_its_own(tmp_path: Path) -> None:
    with agent(ScriptedModel(teach, name="big"), tmp_path / "run") as served:
        before = serve(served)
        served.flush()
        (after,) = Run(tmp_path / "run").results()
        assert [s.actor for s in after.after] == ["distiller"] and after.replace(spend=before.spend, after=()) == before
        assert {s.actor for s in after.spend} == {"student", "teacher", "distiller"}
        (learned,) = [e for e in Run(tmp_path / "run").events() if isinstance(e, Learned) and e.entries]
        assert learned.spend == after.after
        assert served.meter.used.tokens == sum(s.usage.tokens for s in after.spend)


def test_the_next_episode_is_shown_what_was_learned(tmp_path: Path) -> None:
    with agent(ScriptedModel(teach, name="big"), tmp_path / "run", trials=0.0) as served:
        serve(served, 1)
        served.flush()
        serve(served, 2)
    second = Run(tmp_path / "run").episodes()[1]
    assert ENTRY["action"] in second.steps[0].decision.prompt.guidance


@pytest.mark.parametrize("off", [{"distil": False}, {"memory": None, "embedder": None}])
def test_it_can_be_switched_off(tmp_path: Path, off: dict[str, Any]) -> None:
    teacher = ScriptedModel(teach, name="big")
    with agent(teacher, tmp_path / "run", **off) as served:
        serve(served)
    assert [ask.purpose for ask in teacher.asks] == ["act"]


def test_another_model_may_distil_and_what_nobody_scored_teaches_nothing(tmp_path: Path) -> None:
    teacher, writer = ScriptedModel(teach, name="big"), ScriptedModel(WRITTEN, name="writer")
    with agent(teacher, tmp_path / "run", distil=writer) as served:
        serve(served, score=None)
        served.flush()
        assert writer.asks == []
        serve(served, score=0.0)
    assert len(writer.asks) == 1 and [ask.purpose for ask in teacher.asks] == ["act", "act"]


@pytest.mark.parametrize(
    ("scores", "arbiter", "score"), [((1.0, 1.0), 0.0, 1.0), ((1.0, 0.0), 0.9, 0.9), ((1.0, 0.0), None, None)]
)
def test_judges_score_what_nobody_scored(
    tmp_path: Path, scores: tuple[float, float], arbiter: float | None, score: float | None
) -> None:
    judge = EnsembleJudge([Judges(scores[0], "one"), Judges(scores[1], "two")], Judges(arbiter, "arbiter"))
    with agent(ScriptedModel(teach, name="big"), tmp_path / "run", judge=judge) as served:
        assert serve(served, score=None).score is None, "nobody waits for the verdict"
        served.flush()
        assert isinstance(served.memory, Memory)
        assert len(served.memory) == (score is not None)
    (result,) = Run(tmp_path / "run").results()
    assert result.score == score and (result.verdict is None) == (score is None)


def test_a_spent_budget_asks_nobody_and_says_why(tmp_path: Path) -> None:
    with agent(ScriptedModel(teach, name="big"), distil=False) as served:
        used = sum(spend.usage.tokens for spend in serve(served).spend)
    with agent(ScriptedModel(teach, name="big"), tmp_path / "run", run_budget=Budget(tokens=used)) as served:
        serve(served)
    (event,) = [e for e in Run(tmp_path / "run").events() if isinstance(e, Learned) and e.missing]
    assert "budget" in event.missing and read_lessons(tmp_path / "run") == []


CHILD = """
import sys
from pathlib import Path
from tests.test_wrap_learning import Waits, agent, serve
folder = Path(sys.argv[1])
served = agent(Waits(), folder / "run", memory=str(folder / "memory.sqlite"))
for number in range(2):
    serve(served, number)
print("served", flush=True)
import time
time.sleep(60)
"""


def test_what_a_killed_process_left_is_done_by_the_next(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "served"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert read_lessons(tmp_path / "run") == []
    teacher = ScriptedModel(teach, name="big")
    for _ in range(2):
        with agent(teacher, tmp_path / "run", memory=str(tmp_path / "memory.sqlite")) as served:
            served.flush()
    assert len(read_lessons(tmp_path / "run")) == len(teacher.asks) == 2
    assert all(result.after for result in Run(tmp_path / "run").results())
    with Memory(tmp_path / "memory.sqlite", "hash") as memory:
        assert len(memory.entries.all()) == 1 and len(memory) == 2


def test_lessons_that_come_to_nothing_are_worth_a_look(tmp_path: Path) -> None:
    said = []
    for name, replies in (("bad", "Sure!"), ("good", WRITTEN)):
        with agent(ScriptedModel(says(replies), name="big"), tmp_path / name) as served:
            for number in range(5):
                serve(served, number)
                served.flush()
                said.append([f.said for f in check(Run(tmp_path / name)).findings if f.kind == "lessons"])
    assert not any(said[:3]), "too few to say"
    (last,) = said[4]
    assert last.startswith("5 of the last 5 lessons came to nothing and cost $0.00")
    assert "the reply holds no list of entries" in last
    assert not any(said[5:])


def test_nonsense_of_the_teacher_is_paid_told_and_kept_out(tmp_path: Path) -> None:
    with agent(ScriptedModel("Sure!", name="big"), tmp_path / "run") as served:
        serve(served)
        served.flush()
        assert isinstance(served.memory, Memory) and len(served.memory) == 1 and len(served.memory.entries) == 0
    (event,) = [e for e in Run(tmp_path / "run").events() if isinstance(e, Learned) and e.missing]
    assert event.missing == "the reply holds no list of entries" and event.spend


@pytest.mark.parametrize("flushed", [True, False])
def test_a_score_that_comes_late_stays_and_keeps_what_was_used(tmp_path: Path, flushed: bool) -> None:
    """Whether it comes while judges and the distiller are at it, or after them."""
    teacher = Waits()
    teacher.let.set() if flushed else None
    with agent(teacher, tmp_path / "run", judge=Judges(1.0)) as served:
        with served.episode("someone asks for a refund") as episode:
            episode.client.chat.completions.create(model="any", messages=user(episode.goal))
        assert episode.result is not None
        if flushed:
            served.flush()
        served.scored(rescored(episode.result, 0.0, at_least=1.0), episode.steps)
        teacher.let.set()
        served.flush()
        assert isinstance(served.memory, Memory) and len(served.memory) == 0
    (result,) = Run(tmp_path / "run").results()
    assert (result.score, result.success, result.verdict) == (0.0, False, None)
    assert [spend.actor for spend in result.after] == ["distiller"]
    (row,) = rewards(Run(tmp_path / "run"))
    assert (row.n, row.agreement.mean, row.difference.mean) == (1, 0.0, 1.0)


def test_the_command_line_can_switch_it_off() -> None:
    assert AgentOptions(student="nearest").distil
    with pytest.raises(ConfigError, match="distil: 'no', which is no yes or no"):
        AgentOptions.read({"distil": "no"}, "tenant a")


def test_half_a_character_in_a_goal_keeps_nobody_from_learning(tmp_path: Path) -> None:
    """JavaScript cuts texts between the halves of an emoji, and a client's first turn is its goal."""
    pytest.importorskip("starlette", reason="needs the extra serve")
    from tests.serve_fixtures import CHAT, ask, chat, serving

    memory = tmp_path / "memory.sqlite"
    agent = atlas.Agent(teacher=ScriptedModel(says("done")), memory=memory, embedder="hash", run=tmp_path / "run")
    with serving(agent) as (server, _):
        assert ask(server.url, f"/e/one{CHAT}", chat("look \ud83d"))[0] == 200
        status, _, told = ask(server.url, "/v1/atlas/episodes/one/score", {"score": 1.0})
        assert (status, told["score"]) == (200, 1.0)
    agent.close()
    with Memory(memory, "hash") as kept:
        assert [demo.goal for demo in kept.demonstrations.all()] == ["look \ufffd"]
        assert kept.outcomes.all()[0].goal == "look \ufffd"
