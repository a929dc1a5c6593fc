"""What policies, memories, budgets and rollouts are made with: what cannot be meant is one sentence."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from atlas.actions import TextActions
from atlas.benchmarks.arm import Arm
from atlas.budget import Budget
from atlas.errors import ConfigError
from atlas.evaluators import Axis, Case, EnsembleJudge, ModelJudge
from atlas.evaluators.verdict import Reference
from atlas.export import ExportPlan, Filters
from atlas.given import Given, shown
from atlas.loop import Rollout
from atlas.memory import DemonstrationStore, Memory, Source, from_steps
from atlas.memory.gate import Rule
from atlas.memory.pamphlet import Entry, Origin
from atlas.memory.pamphlets import PamphletStore
from atlas.models import load
from atlas.models.retry import Retry
from atlas.policies import (
    Cascade,
    Coach,
    Guarded,
    Guided,
    LaneRules,
    Lanes,
    Onward,
    Paired,
    Probe,
    Recall,
    Solo,
    TeacherReview,
    Watch,
)
from atlas.policies.triggers import Errors, Stall
from atlas.records import DemoStep, Episode, Observation, Price, Record, Task, View
from atlas.runner import Job, play
from atlas.testing import ScriptedModel
from atlas.traces import Run, RunWriter
from atlas.traces.roles import Role
from atlas.trust import Trust
from atlas.wrap import Agent

MODEL = ScriptedModel(lambda ask: "a", name="small")
SOLO = Solo(MODEL)
NAN = math.nan


class Room:
    task = Task(id="t", goal="g")

    async def open(self) -> Observation:
        return Observation(text="a room")

    async def step(self, action: str) -> Observation:
        return Observation(text="", done=True)

    async def close(self) -> None: ...


DEMO = from_steps(Room.task, [DemoStep(observation="a room", action="look")])
ENTRY = Entry(cue="a room", action="look")
VIEW = View(task=Room.task, opening="a room")

Make = Callable[[Any], object]

WRONG: list[tuple[Make, str, list[Any]]] = [
    (Solo, "what acts alone is a model", ["openai/gpt-4.1", None, 5, ScriptedModel, SOLO]),
    (lambda v: Cascade(v, MODEL), "student is a model", ["openai/gpt-4.1", None, ScriptedModel]),
    (lambda v: Cascade(MODEL, v), "teacher is a model", ["openai/gpt-4.1", None, Solo]),
    (lambda v: Cascade(MODEL, MODEL, samples=v), "1 to 1,000 samples", ["a", None, True, 1.5, NAN]),
    (lambda v: Cascade(MODEL, MODEL, audit=v), "audit is a number from 0 to 1", ["a", None, True, NAN]),
    (lambda v: Cascade(MODEL, MODEL, temperature=v), "a temperature is a number", ["a", None, -1, NAN, math.inf]),
    (lambda v: Cascade(MODEL, MODEL, max_tokens=v), "max_tokens is a whole number", ["a", 0, True, 1.5]),
    (lambda v: Cascade(MODEL, MODEL, trust=v), "trust is an atlas.Trust", [0.5, None, Trust]),
    (lambda v: Cascade(MODEL, MODEL, actions=v), "actions are atlas.TextActions", ["a", TextActions]),
    (lambda v: Recall(v, _memory()), "recall is around is a policy", ["gpt", None, MODEL, Solo]),
    (lambda v: Recall(SOLO, v), "recall shows what an atlas.Memory", ["m.sqlite", None, 5]),
    (lambda v: Recall(SOLO, _memory(), v), "k of 1 to 1,000", ["a", None, True, -1, 1.5]),
    (lambda v: Recall(SOLO, _memory(), planner=v), "planner is a model", ["gpt", 5]),
    (lambda v: Recall(SOLO, _memory(), reranker=v), "reranker is one of", ["gpt", 5]),
    (lambda v: Guided(v, _memory().entries), "guidance is around is a policy", ["gpt", None, MODEL]),
    (lambda v: Guided(SOLO, v), "give memory.entries", ["m.sqlite", None, Memory(":memory:", "hash")]),
    (lambda v: Guided(SOLO, _memory().entries, v), "a budget of 1 to", ["a", None, True, 1.5]),
    (lambda v: Guided(SOLO, _memory().entries, share=v), "a number from 0 to 1", ["a", None, True]),
    (lambda v: Guided(SOLO, _memory().entries, p=v), "between 0 and 1", ["a", None, True]),
    (lambda v: Watch(v, MODEL), "a watch is around is a policy", ["gpt", None, MODEL]),
    (lambda v: Watch(SOLO, v), "a watch's teacher is a model", ["gpt", None, SOLO]),
    (lambda v: Watch(SOLO, MODEL, triggers=v), "triggers are a list of signs", ["loop", 5, Stall(), [Stall], [5]]),
    (lambda v: Watch(SOLO, MODEL, steps=v), "1 step or more", ["a", None, True, 1.5, NAN]),
    (lambda v: Watch(SOLO, MODEL, rest=v), "0 turns or more", ["a", None, True, 1.5, NAN]),
    (Stall, "looks at 1 turn or more", ["a", None, True, 1.5, NAN]),
    (lambda v: Errors(3, v), "refusals are a pattern", ["no", None]),
    (lambda v: Guarded(SOLO, v, MODEL), "ask_for", [5, None, (rule for rule in [5])]),
    (lambda v: Guarded(v, ["refund"]), "ask_for guards is a policy", [MODEL, None]),
    (lambda v: Coach(v, MODEL), "a coach is around is a policy", [MODEL, None]),
    (lambda v: Coach(SOLO, v), "a coach is a model", ["gpt", None]),
    (TeacherReview, "who reviews is a model", ["gpt", None, SOLO]),
    (Onward, "is a policy", ["gpt", MODEL]),
    (lambda v: Paired(SOLO, v), "a reviewer is", [MODEL, None]),
    (lambda v: Lanes(v, SOLO, v), "the lane auto is a policy", [MODEL, None]),
    (lambda v: Memory(v, "hash"), "a memory is at a path or a URL, not at", [5, None, {}, b"m.sqlite"]),
    (lambda v: PamphletStore(v, "hash"), "a memory is at a path or a URL, not at", [5, None]),
    (lambda v: Memory("half\ud800" if v else "nul\0", "hash"), "which no path may", [False, True]),
    (lambda v: Memory(":memory:", v), "an embedder is one, or the name of one", [5, None]),
    (lambda v: Memory(":memory:", "hash", index=v), "there is no index", [5, None]),
    (lambda v: Memory(":memory:", "hash", keys=v), "keys are a list", ["goal", 5, [], (k for k in ["goal"])]),
    (lambda v: Memory(":memory:", "hash", weights=v), "weights", [5, {"goal": NAN}, {"goal": "a"}, {"goal": True}]),
    (lambda v: Memory(":memory:", "hash", window=v), "window is 0 to", ["a", None, True, 1.5]),
    (lambda v: Memory(":memory:", "hash", cap=v), "at least 1 entry", ["a", None, True, 1.5, NAN]),
    (lambda v: Memory(":memory:", "hash", rule=v), "rule is one of", [5]),
    (lambda v: Budget(dollars=v), r"dollars of Budget\(...\) should be a valid number", ["a", [1], 10**400]),
    (lambda v: Budget(tokens=v), r"tokens of Budget\(...\) should be a", ["a", [1], 1.5, NAN]),
    (lambda v: Budget(tokens=v), "are numbers, and True and False are none", [True]),
    (lambda v: Budget(**v), "takes no 'dollar': it takes dollars and tokens", [{"dollar": 5}]),
    (lambda v: Trust(threshold=v), r"threshold of Trust\(...\) should be a valid number, not", [[1], {}]),
    (lambda v: Trust(threshold=v), "a threshold lies between 0 and 1, not at", [2, -0.1, NAN]),
    (lambda v: Trust(signals=v), r"signals of Trust\(...\) should be a valid tuple, not", ["votes", 5, None]),
    (lambda v: Trust(signals=v), "trust rests on one or more of votes, .*, each named once, not on", [[], ["vote"]]),
    (lambda v: Trust(**v), "takes no 'treshold': it takes signals, threshold and certificate", [{"treshold": 1}]),
    (lambda v: Price(prompt=v, completion=1), r"prompt of Price\(...\) should be", ["a", None, -1, NAN, math.inf]),
    (lambda v: Price(**v), r"^Price\(...\) needs completion$", [{"prompt": 1}]),
    (lambda v: Price(**v), r"^Price\(...\) needs prompt and completion$", [{}]),
    (lambda v: Rule(alpha=v), r"alpha of Rule\(...\) should be", ["a", None, 0, 1, NAN]),
    (lambda v: Rule(patience=v), r"patience of Rule\(...\) should be", ["a", 0, 1.5]),
    (lambda v: LaneRules(force=v), r"force of LaneRules\(...\) should be a valid string", [5, ["auto"]]),
    (lambda v: LaneRules(forbid=v), r"forbid of LaneRules\(...\) should be a valid tuple", ["coach", 5]),
    (lambda v: LaneRules(dollars={"auto": v}), r"dollars.auto of LaneRules\(...\) should be", ["a", None]),
    (lambda v: Retry(retries=v), r"retries of Retry\(...\) should be", ["a", -1, 1.5]),
    (lambda v: Retry(base=v), r"base of Retry\(...\) should be", ["a", -1, NAN, math.inf]),
    (lambda v: Task(id="t", goal=v), r"goal of Task\(...\) should be a valid string", [5, None]),
    (lambda v: DemoStep(observation=v, action="a"), r"observation of DemoStep\(...\)", [5, None]),
    (lambda v: from_steps(Room.task, v), r"steps(.0)? of Demonstration\(...\) should", [[], ["look"]]),
    (lambda v: Source(run=v), r"run of Source\(...\) should be a valid string", [5]),
    (lambda v: Entry(cue=v, action="a"), r"cue of Entry\(...\) should", [5, None, ""]),
    (lambda v: Entry(cue=v, action="a"), "an entry needs a cue and an action", [" "]),
    (
        lambda v: Entry(cue="c", action="a", kind=v),
        r"kind of Entry\(...\) should be 'principle', .* or 'guard', not",
        ["rumour"],
    ),
    (lambda v: Origin(task=v), r"task of Origin\(...\) should be a valid string", [5]),
    (lambda v: Case(id="c", task=v), r"task of Case\(...\) should be", ["t", None]),
    (lambda v: Axis(name=v, means="m"), r"name of Axis\(...\) should be a valid string", [5, None]),
    (lambda v: Reference(answer=v), r"answer of Reference\(...\) should be a valid string", [5, None]),
    (lambda v: Role(name=v), r"name of Role\(...\) should be a valid string", [5, None]),
    (lambda v: Filters(arms=v), r"arms of Filters\(...\) should be a valid tuple", ["student", 5]),
    (lambda v: ExportPlan(format="sft", holdout=v), r"holdout of ExportPlan\(...\) should be a valid number", ["a"]),
    (lambda v: Rollout(v, SOLO), "an environment has", [5, Room]),
    (lambda v: Rollout(Room(), v), "who plays an episode is a policy", [MODEL, "gpt", None]),
    (lambda v: Rollout(Room(), SOLO, max_steps=v), "at least 1 step", ["a", None, True, 1.5]),
    (lambda v: Rollout(Room(), SOLO, seed=v), "seed of an episode is a whole number", ["1", None, 1.5]),
    (lambda v: Rollout(Room(), SOLO, budget=v), "a budget is an atlas.Budget", [5, 0, "1"]),
    (lambda v: Rollout(Room(), SOLO, arm=v), "arm of an episode is a text", [5, None]),
    (lambda v: Rollout(Room(), SOLO, recorder=v), "a recorder is", [5, "run", RunWriter]),
    (lambda v: played(v), "what is played are jobs, not", [5, [5]]),
    (lambda v: played([job()], concurrency=v), "concurrency is a whole number", ["a", None, NAN]),
    (lambda v: played([job(environment=v)]), "a job's environment is what makes one", [Room(), "room"]),
    (lambda v: played([job(policy=v)]), "who plays an episode is a policy", [MODEL]),
    (RunWriter, "a run is at a path or a URL, not at", [5, None, [], {}]),
    (Run, "a run is at a path or a URL, not at", [5, None]),
    (load, "a model's name is a text, not", [5, None, MODEL]),
    (lambda v: load("nearest", price=v), "a price is an atlas.Price", [5, [1, 2]]),
    (ModelJudge, "who judges is a model", ["openai/gpt-4.1", None, 5]),
    (lambda v: EnsembleJudge(v, ModelJudge(MODEL)), "an ensemble's judges are a list", ["gpt", 5, None]),
    (lambda v: EnsembleJudge([v, v], ModelJudge(MODEL)), "an ensemble is of judges", ["gpt", MODEL]),
    (lambda v: LaneRules(dollars={"auto": v}).check(), "dollars of the lane auto are 0 or more", [-1, NAN]),
    (lambda v: Rollout(Room(), SOLO, success_at=v), "success_at, a score, is a finite number", ["1", None, NAN]),
]


WRONG += [
    (lambda v: _memory().add(v), r"what a memory takes is a Demonstration, not .*from_episode", [5, None, "d"]),
    (
        lambda v: _memory().demonstrations.add_many(v),
        "what a memory takes is given as a list",
        [5, None, "d", DEMO, b"d"],
    ),
    (lambda v: _memory().demonstrations.add_many(v), "what a memory takes is a Demonstration", [[5], [DEMO, 5]]),
    (lambda v: _memory().demonstrations.add(DEMO, status=v), "there is no status", ["nonsense", 5, ["trial"]]),
    (lambda v: _memory().demonstrations.add(DEMO, reason=v), "the reason of a change is a text, not", [5, None]),
    (lambda v: _memory().entries.add_many([ENTRY], author="person:ann", reason=v), "the reason of a change is", [5]),
    (lambda v: _memory().demonstrations.find(v), "what is looked for in a memory is a Demonstration", [5, None]),
    (lambda v: _memory().demonstrations.limit(v), "a limit of demonstrations is a whole number", ["a", None, -1, True]),
    (
        lambda v: _memory().demonstrations.subset(v),
        "a subset of demonstrations is a list of ids",
        [5, None, "abc", [5]],
    ),
    (lambda v: _memory().search(v, 3), "what a memory is searched for is a View, not", ["text", 5, None, Room.task]),
    (lambda v: _memory().similar(v, 3), "what a memory is searched for is a View, not", ["text", 5, None]),
    (lambda v: _memory().search(VIEW, v), "how many are searched for is a whole number", ["a", None, True, 1.5, -1]),
    (lambda v: _memory().similar(VIEW, v), "how many are searched for is a whole number", ["a", None, True, -1]),
    (lambda v: _memory().keep(v, []), "what a memory keeps is an Episode, not", [5, None, "e", DEMO]),
    (
        lambda v: _memory().keep(_episode(), v),
        "what was done in an episode is (a Step|given as a list), not",
        [5, "s", [5]],
    ),
    (lambda v: _memory().outcomes.add(v), "what a history takes is an Outcome", [5, None]),
    (lambda v: _memory().outcomes.near(v, 3), "a goal is a text, not", [5, None]),
    (
        lambda v: _memory().entries.add_many(v, author="person:ann", reason="r"),
        "a memory takes is",
        [5, ENTRY, [5], "e"],
    ),
    (lambda v: _memory().entries.learn("run/e", v), "what a memory takes is", [5, ENTRY, [5], [DEMO]]),
    (lambda v: _memory().entries.learn(v, [ENTRY]), "what entries are learned from is a text", [5, None]),
    (lambda v: _memory().entries.search(v, 100), "what a memory is searched for is a View, not", ["text", None]),
    (
        lambda v: _memory().entries.search(VIEW, v),
        "what entries may take, in tokens, is a whole number",
        ["a", None, 1.5, -1],
    ),
    (lambda v: _memory().entries.part(v), "entries are for student or teacher", [5, None, "all"]),
    (lambda v: _memory().trials.add(v), "what is known of an entry is", [5, [5], "t"]),
    (lambda v: _memory().trials.settle(v), "rule is one of atlas.memory.gate, Rule", [5, None]),
    (Memory.around, "a memory is around a DemonstrationStore, not", [5, None, "m.sqlite"]),
    (
        Probe,
        "a probe looks at the outcomes of a memory, not at .*: give memory.outcomes",
        [5, None, "m", Memory(":memory:", "hash")],
    ),
    (lambda v: Probe(_memory().outcomes, floor=v), "a probe's floor is a number from 0 to 1", ["a", None, NAN, 2]),
    (lambda v: Probe(_memory().outcomes, estimator=v), "a probe's estimator is a model", ["gpt", 5]),
    (lambda v: Probe(_memory().outcomes, foresight=v), "a probe's foresight is what Foresight.load", ["f.json", 5]),
    (lambda v: Probe(_memory().outcomes, student=v), "a probe's student is a text", [5, None]),
    (lambda v: Lanes(SOLO, SOLO, v), "what chooses a lane is an atlas.Probe", [5, None, MODEL]),
]


BROKEN = ["a\nb", "a,b", "tab\there", " a", "a ", "a\u2028b", "\x1b[31ma", "nul\0"]
"""What no table shows on a line, and no list between commas holds."""
WRONG += [
    (lambda v: Rollout(Room(), SOLO, arm=v), "the arm of an episode is one line without commas", BROKEN),
    (lambda v: Rollout(Room(), SOLO, arm=v), "the arm of an episode", ["half\ud800", "  "]),
    (lambda v: job(arm=v), "the arm of a job is one line without commas", BROKEN),
    (lambda v: job(arm=v), "the arm of a job is a text", [5, None]),
    (lambda v: Agent(SOLO.model, arm=v), "an agent's arm.* is one line without commas", BROKEN),
    (lambda v: Arm(v, "says", lambda stage: SOLO), "the name of an arm is one line without commas", BROKEN),
    (lambda v: Arm(v, "says", lambda stage: SOLO), "the name of an arm is a text", [5, None, ""]),
]


def job(**given: Any) -> Job:
    return Job(**{"arm": "a", "task_id": "t", "policy": SOLO, "environment": Room, **given})


def played(jobs: Any, **given: Any) -> object:
    return asyncio.run(play(jobs, **given))


def _episode() -> Episode:
    return asyncio.run(play([job()]))[0]


def _memory() -> Memory:
    return Memory(":memory:", "hash")


@pytest.mark.parametrize(
    ("make", "said", "value"),
    [(make, said, value) for make, said, values in WRONG for value in values],
    ids=lambda part: "" if callable(part) else shown(part)[:40],
)
def test_what_cannot_be_meant_is_one_sentence(
    make: Make, said: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said) as raised:
        make(value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())  # no file named 5


@pytest.mark.parametrize("arm", ["", "my agent", "group/cascade:votes:0.67@50", "größer 👩‍💻", "a-b_c.d"])
def test_an_arm_is_named_freely_otherwise(arm: str) -> None:
    assert asyncio.run(play([job(arm=arm)]))[0].arm == arm


def test_rules_of_a_generator_guard() -> None:
    assert Guarded(SOLO, (rule for rule in ["refund"]), MODEL).ask_for == ("refund",)  # type: ignore[arg-type]


def test_who_changed_a_memory_and_why_are_texts() -> None:
    wrong: Any = 5
    with DemonstrationStore(":memory:", "hash") as store:
        memory = Memory.around(store)
        with pytest.raises(ConfigError, match="reason of a change is a text, not 5"):
            memory.freeze(author="person:ann", reason=wrong)
        with pytest.raises(Exception, match="5 is no author of a change"):
            memory.freeze(author=wrong, reason="shipped")
        with pytest.raises(Exception, match="there is no version a in"):
            memory.rollback("a", author="person:ann", reason="a mistake")  # type: ignore[arg-type]
        assert memory.frozen is None


def test_a_budget_in_text_is_the_number_that_it_says() -> None:
    given: Any = {"dollars": "5", "tokens": "60"}
    assert Budget(**given) == Budget(dollars=5, tokens=60)


def test_what_a_file_holds_is_for_its_reader_to_tell() -> None:
    """It knows the file: in its own sentence."""
    with pytest.raises(ValidationError):
        Trust.model_validate({"threshold": 2})
    with pytest.raises(ValidationError):
        Trust.model_validate_json('{"threshold": 2}')
    with pytest.raises(ValidationError):
        Kept.model_validate({"price": {"prompt": -1, "completion": 1}})
    with pytest.raises(ValueError, match="a threshold lies"):
        Trust.named("votes:2")


class Kept(Record):
    price: Price


def test_given_records_say_what_they_take() -> None:
    assert str(inspect.signature(Price)).startswith("(*, prompt:")
    assert all("__init__" not in vars(kind) for kind in Given.__subclasses__())
