"""Guided: what is shown, withheld and cited; and how the copying student follows entries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast, Stage
from atlas.benchmarks.arms import build, played
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.library import Elsewhere, exchanged
from atlas.benchmarks.options import BenchOptions
from atlas.copying.nearest import Nearest, proposals
from atlas.copying.playbook import EXTRA, SMALL_WORD, UNMET, bind, follow, read
from atlas.errors import ConfigError
from atlas.memory.assignment import assignment
from atlas.memory.evidence import EvidenceTable
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import Cascade, Guided, Recall, Solo
from atlas.records import Guidance, Task, Turn, View, Window
from atlas.testing import ScriptedModel
from atlas.traces import Run

NOTE = Guidance(id="n1", cue="you need a mug", action="look at a shelf", score=0.9)
OTHER = Guidance(id="n2", cue="a fridge is closed", action="open it", score=0.5)
FOR_TEACHER = Guidance(id="n3", cue="it hesitates", action="check its hand", audience="teacher", score=0.7)


class Listed:
    """Pamphlets that always find the same."""

    def __init__(self, *entries: Guidance, seconds: float = 0.0) -> None:
        self.entries, self.seconds = entries, seconds
        self.asked: list[int] = []

    def search(self, view: View, tokens: int) -> Sequence[Guidance]:
        self.asked.append(tokens)
        time.sleep(self.seconds)
        return self.entries

    def config(self) -> dict[str, object]:
        return {"listed": [entry.id for entry in self.entries]}


class Empty:
    """Demonstrations that find nothing."""

    def search(self, view: View, k: int) -> Sequence[Window]:
        return []

    similar = search

    def config(self) -> dict[str, object]:
        return {}


def view(**changes: Any) -> View:
    return View(task=Task(id="t", goal="put a mug in cabinet"), opening="A room.").replace(**changes)


# --- the policy -------------------------------------------------------------------------------------------------------


async def test_entries_reach_the_prompt_of_whom_they_are_for_and_are_cited() -> None:
    student, teacher = ScriptedModel(["a", "b"]), ScriptedModel(["Action: c"])
    policy = Guided(Cascade(student, teacher, samples=2), Listed(NOTE, FOR_TEACHER), tokens=99)
    decided = await policy.decide(view(), Desk())
    assert "[n1]" in student.asks[0].prompt.guidance and "[n3]" not in student.asks[0].prompt.guidance
    assert "[n3]" in teacher.asks[0].prompt.guidance and "[n1]" not in teacher.asks[0].prompt.guidance
    assert [(c.id, c.score, c.shown, c.randomised) for c in decided.guidance] == [
        ("n1", 0.9, True, False),
        ("n3", 0.7, True, False),
    ]
    assert decided.seconds["guidance"] >= 0


async def test_what_nobody_was_shown_is_not_cited() -> None:
    decided = await Guided(
        Cascade(ScriptedModel(["a", "a"]), ScriptedModel([]), samples=2), Listed(FOR_TEACHER)
    ).decide(view(), Desk())
    assert decided.guidance == ()


async def test_a_coin_decides_for_a_whole_episode_and_its_retry() -> None:
    policy = Guided(Solo(ScriptedModel(lambda ask: "Action: go")), Listed(NOTE, OTHER), share=1.0)
    seen: dict[str, set[bool]] = {"n1": set(), "n2": set()}
    for seed in range(40):
        first = await policy.decide(view(seed=seed), Desk())
        later = await policy.decide(view(seed=seed, turns=(Turn(action="go", observation="x"),)), Desk())
        retry = await policy.decide(view(seed=seed, attempt=1), Desk())
        assert first.guidance == later.guidance == retry.guidance
        for cited in first.guidance:
            coin = assignment(cited.id, "t", seed, share=1.0)
            assert cited.randomised and cited.shown == coin.shown == (f"[{cited.id}]" in first.prompt.guidance)
            seen[cited.id].add(cited.shown)
    assert seen == {"n1": {True, False}, "n2": {True, False}}


async def test_it_composes_with_demonstrations_and_searches_beside_the_loop() -> None:
    listed = Listed(NOTE, seconds=0.002)
    policy = Guided(Recall(Solo(ScriptedModel(lambda ask: "Action: go")), Empty()), listed, tokens=50)
    for _ in range(2):
        assert (await policy.decide(view(), Desk())).guidance[0].id == "n1"
    assert listed.asked == [50, 50]
    config = policy.config()
    assert config["pamphlets"] == {"listed": ["n1"]} and config["tokens"] == 50 and "recall" in str(config["inner"])


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"share": 1.5}, {"p": 0.0}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Guided(Solo(Nearest()), Listed(), **wrong)


# --- the student that follows entries ---------------------------------------------------------------------------------

ROOM = "You are in a room. You see a cabinet 1, a cabinet 2, a countertop 1, a fridge 1, and a shelf 1."
PLAN = Guidance(
    id="plan",
    cue='the task is "put a cool {object} in {place}"',
    action="do these in order",
    pattern=(
        "go to {somewhere}",
        "take {object} from {somewhere}",
        "go to {fridge}",
        "cool {object} with {fridge}",
        "go to {place}",
        "move {object} to {place}",
    ),
)
TIP = Guidance(id="tip", cue="you need a mug", action="look", pattern=("go to {shelf}",), score=0.5)
OPEN = Guidance(
    id="open",
    cue='you observe "You arrive at {thing}. The {thing} is closed."',
    action="open it",
    pattern=("open {thing}",),
)
PLACES = tuple(f"go to {place}" for place in ("cabinet 1", "cabinet 2", "countertop 1", "fridge 1", "shelf 1"))
AT_SHELF = ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a mug 2.")
TAKEN = ("take mug 2 from shelf 1", "You pick up the mug 2 from the shelf 1.")
AT_FRIDGE = ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.")
COOLED = ("cool mug 2 with fridge 1", "You cool the mug 2 using the fridge 1.")
AT_CABINET = ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed.")


def moment(
    *turns: tuple[str, str],
    more: tuple[str, ...] = (),
    shown: tuple[Guidance, ...] = (PLAN, TIP, OPEN),
    goal: str = "put a cool mug in cabinet.",
) -> View:
    past = tuple(Turn(action=action, observation=seen) for action, seen in turns)
    return View(
        task=Task(id="t", goal=goal), opening=ROOM, turns=past, admissible=(*PLACES, *more, "look"), guidance=shown
    )


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (moment(), "go to shelf 1"),
        (moment(shown=(PLAN, OPEN)), "go to cabinet 1"),
        (moment(AT_SHELF, more=(TAKEN[0],)), TAKEN[0]),
        (moment(AT_SHELF, ("go to countertop 1", "You see nothing.")), "go to shelf 1"),
        (moment(AT_SHELF, TAKEN), "go to fridge 1"),
        (moment(AT_SHELF, TAKEN, AT_FRIDGE, more=("open fridge 1", COOLED[0])), COOLED[0]),
        (moment(AT_SHELF, TAKEN, AT_FRIDGE, COOLED), "go to cabinet 1"),
        (moment(AT_SHELF, TAKEN, AT_FRIDGE, COOLED, AT_CABINET, more=("open cabinet 1",)), "open cabinet 1"),
        (moment(AT_SHELF, TAKEN, AT_FRIDGE, COOLED, AT_CABINET, shown=(PLAN,)), "go to cabinet 2"),
        (moment(AT_CABINET, more=("open cabinet 1",)), "open cabinet 1"),
        (moment(("take mug 9 from shelf 1", "Nothing happens.")), "go to shelf 1"),
    ],
)
def test_a_plan_is_followed_from_wherever_the_episode_stands(seen: View, wanted: str) -> None:
    (proposal,) = follow(seen)
    assert proposal.action == wanted and "(entry plan)" in proposal.thought


def test_a_second_thing_is_another_thing_and_goes_to_the_same_place() -> None:
    two = ("take {object} from {somewhere}", "go to {place}", "move {object} to {place}")
    plan = Guidance(
        id="two", cue='"put two {object} in {place}"', action="do", pattern=("go to {somewhere}", *two, *two)
    )
    past = (
        AT_SHELF,
        TAKEN,
        ("go to cabinet 2", "The cabinet 2 is open. In it, you see nothing."),
        ("move mug 2 to cabinet 2", "You move the mug 2 to the cabinet 2."),
    )
    goal = "put two mug in cabinet"
    (again,) = follow(moment(*past, more=("take mug 2 from cabinet 2",), shown=(plan,), goal=goal))
    assert again.action not in ("take mug 2 from cabinet 2", "go to cabinet 2")
    seen = (
        *past,
        ("go to countertop 1", "On the countertop 1, you see a mug 1."),
        ("take mug 1 from countertop 1", "You take it."),
    )
    (there,) = follow(moment(*seen, shown=(plan,), goal=goal))
    assert there.action == "go to cabinet 2"


def test_what_a_plan_is_for_is_read_off_the_goal() -> None:
    cue = 'the task is "put a cool {object} in {place}"'
    things = (("object", "mug"), ("place", "cabinet"))
    assert bind(cue, "put a cool mug in cabinet.") == (things, 0)
    assert bind(cue, "put a hot mug in cabinet.") == (things, UNMET + EXTRA)
    assert bind(cue, "put some mug on cabinet") == (things, EXTRA + 4 * SMALL_WORD)
    assert bind(cue, "cool some mug and put it in cabinet") == (things, 4 * SMALL_WORD)
    two = bind('"put two {object} in {place}"', "find two mug and put them in cabinet")
    assert two == (things, UNMET + 2 * SMALL_WORD)
    assert bind(cue, "") is None and bind("no slots", "put a mug") == ((), 2 * EXTRA + 2 * UNMET + SMALL_WORD)
    assert [stage.action.form for stage in read(PLAN.pattern)] == ["take _ from _", "cool _ with _", "move _ to _"]
    other = PLAN.model_copy(update={"cue": 'the task is "put a hot {object} in {place}"', "id": "other"})
    fits = {p.thought.rpartition(" ")[2]: p.fit for p in follow(moment(shown=(PLAN, other)))}
    assert fits["plan)."] > fits["other)."]


async def test_without_entries_the_student_is_what_it_was() -> None:
    bare = moment(shown=())
    assert proposals(bare) == [] == follow(bare)
    assert proposals(moment(shown=(TIP, OPEN))) == []


WORDS = st.sampled_from('go take to from mug cabinet 1 2 {object} {place} {thing} {} { } put a in . " İ 鍋'.split())
TEXT = st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=30)
GUIDANCE = st.builds(Guidance, id=st.just("g"), cue=TEXT, action=TEXT, pattern=st.lists(TEXT, max_size=4).map(tuple))


@settings(max_examples=300, deadline=None)
@given(
    shown=st.lists(GUIDANCE, max_size=4),
    goal=TEXT,
    opening=TEXT,
    turns=st.lists(st.tuples(TEXT, TEXT), max_size=5),
    possible=st.lists(TEXT, max_size=6),
)
def test_following_never_fails_and_names_what_is_possible(
    shown: list[Guidance], goal: str, opening: str, turns: list[tuple[str, str]], possible: list[str]
) -> None:
    seen = View(
        task=Task(id="t", goal=goal),
        opening=opening,
        turns=tuple(Turn(action=action, observation=text) for action, text in turns),
        admissible=tuple(possible),
        guidance=tuple(shown),
    )
    assert all(proposal.action in possible for proposal in follow(seen))


# --- the arms ---------------------------------------------------------------------------------------------------------


def bench(folder: Any, arms: str, *, demos: int = 10, n: int = 4, trials: float = 0.0) -> Bench:
    cast = Cast(student=Nearest(), teacher=ScriptedExpert())
    names = tuple(arms.split(","))
    options = BenchOptions(split=HOMES, arms=names, n=n, demos=demos, embedder="hash", max_steps=30, trials=trials)
    return Bench(suite=Alfworld(), cast=cast, options=options, folder=folder)


async def test_arms_with_pamphlets_their_controls_and_the_evidence(tmp_path: Any) -> None:
    names = "pamphlets,pamphlets-shuffled,both,pamphlets@4,icd-elsewhere,both-elsewhere,cascade-both"
    run = bench(tmp_path / "run", names, trials=1.0)
    episodes = await run.run()
    assert {e.arm for e in episodes} == {"collect", *names.split(",")} and not [e for e in episodes if e.failure]
    by_arm = {name: [e for e in Run(run.folder).episodes() if e.arm == name] for name in names.split(",")}
    assert all(any(s.decision.guidance for s in e.steps) for e in by_arm["pamphlets"])
    assert not any(s.decision.guidance for e in by_arm["icd-elsewhere"] for s in e.steps)
    with PamphletStore(tmp_path / "run" / "memory.sqlite", "hash") as memory:
        entries = memory.all()
        assert len(entries) > 30 and all(entry.origins[0].run == "run" for entry in entries)
        ids = {entry.id for entry in entries}
        cited = {c.id for e in by_arm["both"] for s in e.steps for c in s.decision.guidance}
        assert cited and cited <= ids
        assert not {c.id for e in by_arm["pamphlets-shuffled"] for s in e.steps for c in s.decision.guidance} & ids
        evidence = EvidenceTable(memory.database).all()
        assert cited <= set(evidence) and all(found.trials for found in evidence.values())
        versions = len(memory.database.versions())
    again = await bench(tmp_path / "run", names, trials=1.0).run()
    assert len(again) == len(episodes)
    with PamphletStore(tmp_path / "run" / "memory.sqlite", "hash") as memory:
        assert len(memory.database.versions()) == versions, "a resumed run learns nothing twice"


async def test_pamphlets_of_few_demonstrations_make_the_student_act(tmp_path: Any) -> None:
    episodes = await bench(tmp_path / "run", "student,pamphlets", demos=30, n=12).run()
    rate = {arm: sum(bool(e.success) for e in episodes if e.arm == arm) / 12 for arm in ("student", "pamphlets")}
    assert rate["student"] == 0 and rate["pamphlets"] >= 0.5


async def test_elsewhere_plays_every_family_with_a_memory_without_it() -> None:
    made: list[str] = []

    def make(family: str) -> Solo:
        made.append(family)
        return Solo(ScriptedModel(lambda ask: "Action: go"))

    policy = Elsewhere(make)
    for family in ("heat", "cool", "heat"):
        await policy.decide(view(task=Task(id="t", goal="g", family=family)), Desk())
    assert made == ["heat", "cool"]


def test_exchanged_entries_say_the_same_things_at_the_wrong_moments() -> None:
    entries = [Entry(cue=f"cue {n}", action=f"action {n}", pattern=(f"go {n}",)) for n in range(5)]
    mixed = exchanged(entries)
    assert {e.cue for e in mixed} == {e.cue for e in entries}
    assert {(e.action, e.pattern) for e in mixed} == {(e.action, e.pattern) for e in entries}
    assert not {e.id for e in mixed} & {e.id for e in entries} and exchanged(reversed(entries)) == mixed
    same = [Entry(cue=f"cue {n % 2}", action=f"action {n // 2}") for n in range(4)]
    assert not {e.id for e in exchanged(same)} & {e.id for e in same}


async def test_arms_without_what_they_need_say_so(tmp_path: Any) -> None:
    cast = Cast(student=Nearest(), teacher=ScriptedExpert())
    with pytest.raises(ConfigError, match="needs pamphlets"):
        build("pamphlets", Stage(cast, BenchOptions()))
    both = played("cascade-both@20")
    assert (both.arm.name, both.count) == ("cascade-both", 20)
    with pytest.raises(ConfigError, match="--demos"):
        await bench(tmp_path / "run", "pamphlets", demos=0).run()
