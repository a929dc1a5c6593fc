"""The nearest-demonstration student: what it copies, when it is unsure, and that nothing it reads breaks it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.actions import TextActions
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.copying.grounding import purposes, shape, states
from atlas.copying.nearest import Nearest, proposals
from atlas.entities import entities, skeleton
from atlas.goals import align
from atlas.records import Ask, DemoStep, Prompt, Reply, Task, Turn, View, Window

ROOM = "You are in the middle of a room. You see a cabinet 1, a cabinet 2, a countertop 1, a fridge 1, and a shelf 1."
GOAL = "put a cool apple in shelf."
APPLE = [
    (ROOM, "go to countertop 1", "An apple may lie on the countertop 1."),
    ("On the countertop 1, you see a apple 1.", "take apple 1 from countertop 1", "The apple 1 is what I need."),
    ("You pick up the apple 1 from the countertop 1.", "go to fridge 1", "I cool the apple 1 in the fridge 1."),
    ("You arrive at fridge 1. The fridge 1 is closed.", "cool apple 1 with fridge 1", ""),
    ("You cool the apple 1 using the fridge 1.", "go to shelf 1", "The apple goes on the shelf."),
    ("On the shelf 1, you see nothing.", "move apple 1 to shelf 1", ""),
]


def window(goal: str = GOAL, steps: Any = APPLE, *, name: str = "demo", plan: str = "", score: float = 1.0) -> Window:
    made = tuple(DemoStep(observation=seen, action=action, thought=why) for seen, action, why in steps)
    return Window(demo_id=name, task_id=name, goal=goal, plan=plan, steps=made, score=score)


def view(
    *turns: tuple[str, str],
    goal: str = "put a cool mug in cabinet.",
    shown: tuple[Window, ...] = (),
    possible: tuple[str, ...] = (),
    seed: int = 0,
    task: str = "t",
) -> View:
    return View(
        task=Task(id=task, goal=goal),
        opening=ROOM,
        turns=tuple(Turn(action=action, observation=seen) for action, seen in turns),
        admissible=possible,
        retrieved=shown,
        seed=seed,
    )


async def ask(seen: View, n: int = 1, *, first: int = 0, temperature: float = 0.0, purpose: str = "act") -> list[Reply]:
    asked = Ask(view=seen, prompt=Prompt(), n=n, first=first, temperature=temperature, purpose=purpose)
    return list((await Nearest().sample(asked)).replies)


def actions(replies: list[Reply]) -> list[str]:
    return [reply.text.rpartition("Action: ")[2] for reply in replies]


# --- grounding --------------------------------------------------------------------------------------------------------


def test_entities_and_forms() -> None:
    assert entities("take Mug 2 from cabinet 10") == (("mug", "2"), ("cabinet", "10"))
    assert skeleton("Take mug 2 from cabinet 10") == "take _ from _"
    assert shape("You see a mug 2 and a Mug 3.") == shape("You see a cup 1 and a cup 2.") == {"you", "see", "a", "and"}


def test_goals_laid_beside_each_other_tell_which_class_plays_which_part() -> None:
    classes = frozenset({"apple", "shelf", "fridge"})
    assert align("put a cool apple in shelf.", "put a cool mug in cabinet.", classes) == (
        (("apple", "mug"), ("shelf", "cabinet")),
        0,
    )
    pairs, odd = align("put a cool apple in shelf.", "put a hot mug in cabinet.", classes)
    assert (dict(pairs), odd) == ({"apple": "mug", "shelf": "cabinet"}, 1)
    pairs, odd = align("look at apple under the desklamp.", "put a cool mug in cabinet.", classes)
    assert odd >= 3
    assert align("", "", frozenset()) == ((), 0)


def test_a_place_is_meant_when_what_is_in_hand_is_used_there() -> None:
    meant = purposes([action for _, action, _ in APPLE])
    assert meant[2] == {("fridge", "1")}, "it goes to the fridge to cool the apple it holds"
    assert meant[4] == {("shelf", "1")}
    assert ("countertop", "1") not in meant[0], "that the apple lay there was luck"
    assert purposes([]) == []


def test_states_tell_progress_and_what_was_seen_where() -> None:
    turns = [(before[1], after[0]) for before, after in pairwise(APPLE)]
    told = list(states(ROOM, turns, frozenset({"mug", "cabinet"}), {"apple": "mug", "shelf": "cabinet"}))
    assert len(told) == len(APPLE)
    assert told[0].progress == () and told[0].here is None
    assert told[1].visible == {"mug"} and told[1].holds[("countertop", "1")] == {"mug"}
    assert told[1].here == ("countertop", "1") and ("countertop", "1") in told[-1].visited
    assert told[2].progress == ("take _ from _: mug, _",)
    assert told[4].progress == ("take _ from _: mug, _", "cool _ with _: mug, _")
    slot, place = told[1].slots("take apple 1 from countertop 1", frozenset({"mug"}), {"apple": "mug"})
    assert (slot.kind, slot.role) == ("mug", True)
    assert (place.kind, place.role, place.visited, place.here) == ("countertop", False, True, True)


# --- copying ----------------------------------------------------------------------------------------------------------

GONE = ("go to countertop 1", "On the countertop 1, you see a mug 3, and a fork 1.")
TAKEN = ("take mug 3 from countertop 1", "You pick up the mug 3 from the countertop 1.")
AT_FRIDGE = ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed.")
COOLED = ("cool mug 3 with fridge 1", "You cool the mug 3 using the fridge 1.")


@pytest.mark.parametrize(
    ("turns", "possible", "expected"),
    [
        ((GONE,), ("go to shelf 1", "take fork 1 from countertop 1", "take mug 3 from countertop 1"), TAKEN[0]),
        ((GONE, TAKEN), ("go to cabinet 1", "go to fridge 1", "go to shelf 1"), AT_FRIDGE[0]),
        ((GONE, TAKEN, AT_FRIDGE), ("go to shelf 1", "cool mug 3 with fridge 1", "open fridge 1"), COOLED[0]),
        ((GONE, TAKEN, AT_FRIDGE, COOLED), ("go to cabinet 1", "go to fridge 1", "go to shelf 1"), "go to cabinet 1"),
    ],
)
async def test_what_was_done_to_one_thing_is_done_to_another(
    turns: tuple[tuple[str, str], ...], possible: tuple[str, ...], expected: str
) -> None:
    assert actions(await ask(view(*turns, shown=(window(),), possible=possible))) == [expected]


async def test_the_reason_is_told_of_the_things_that_are_here() -> None:
    seen = view(GONE, shown=(window(),), possible=("take mug 3 from countertop 1", "go to shelf 1"))
    (reply,) = await ask(seen)
    assert TextActions().parse(reply, seen).action == "take mug 3 from countertop 1"
    assert "The mug 3 is what I need." in reply.text


async def test_of_equal_places_the_first_is_taken_and_ten_comes_after_two() -> None:
    possible = ("go to armchair 1", *(f"go to countertop {i}" for i in (10, 2, 3)))
    assert actions(await ask(view(shown=(window(),), possible=possible))) == ["go to countertop 2"]


async def test_what_was_done_in_vain_is_not_done_again_for_ever() -> None:
    places = [f"go to countertop {i}" for i in (1, 2, 3)]
    turns = [(place, "You see nothing.") for place in (places[0], places[0], places[1], places[2])]
    assert actions(await ask(view(turns[0], shown=(window(),), possible=tuple(places)))) == [places[1]]
    assert actions(await ask(view(*turns, shown=(window(),), possible=tuple(places[:2])))) == [places[1]]


async def test_the_same_task_about_other_things_counts_more_than_a_similar_text() -> None:
    other = window("look at mug under the desklamp.", [(ROOM, "go to fridge 1", "")], name="other", score=2.0)
    seen = view(shown=(other, window()), possible=("go to countertop 1", "go to fridge 1"))
    assert actions(await ask(seen)) == ["go to countertop 1"]
    assert [p.action for p in proposals(seen)] == ["go to countertop 1", "go to fridge 1"]


# --- doubt ------------------------------------------------------------------------------------------------------------

EVERYWHERE = ("go to cabinet 1", "go to countertop 1", "go to fridge 1", "go to shelf 1", "inventory", "look")


async def test_samples_agree_where_demonstrations_agree() -> None:
    shown = tuple(window(name=f"demo-{i}") for i in range(10))
    replies = await ask(view(GONE, TAKEN, shown=shown, possible=EVERYWHERE), 20, temperature=0.1)
    assert set(actions(replies)) == {"go to fridge 1"}
    assert all(reply.logprob is not None and reply.logprob <= 0 for reply in replies)


async def test_samples_disagree_where_demonstrations_disagree() -> None:
    other = [*APPLE[:2], (APPLE[2][0], "go to cabinet 1", ""), ("The cabinet 1 is open.", "look", "")]
    shown = tuple(window(steps=APPLE if i % 2 else other, name=f"demo-{i}") for i in range(10))
    seen = view(GONE, TAKEN, goal="put a cool mug in shelf.", shown=shown, possible=EVERYWHERE)
    assert len({p.action for p in proposals(seen)}) > 1
    votes = actions(await ask(seen, 40, temperature=0.1))
    assert len(set(votes)) > 1
    (decided,) = await ask(seen)
    assert decided.logprob is not None and math.exp(decided.logprob) < 0.95


async def test_samples_disagree_where_nothing_fits() -> None:
    strange = window("sing about love", [("A stage.", "look", ""), ("Applause.", "inventory", "")], score=0.0)
    votes = actions(await ask(view(GONE, TAKEN, shown=(strange,), possible=EVERYWHERE), 40, temperature=0.1))
    assert len(set(votes)) > 2


async def test_without_demonstrations_it_draws_among_what_is_possible() -> None:
    votes = actions(await ask(view(possible=EVERYWHERE), 60, temperature=0.1))
    assert set(votes) == set(EVERYWHERE)
    (alone,) = await ask(view(possible=EVERYWHERE))
    assert actions([alone])[0] in EVERYWHERE and "Nothing like this" in alone.text


async def test_where_nothing_is_possible_and_nothing_was_shown_it_names_no_action() -> None:
    assert actions(await ask(view(), 2)) == ["", ""]
    assert actions(await ask(view(), 2, temperature=0.5)) == ["", ""]


# --- the same draws on every machine and in every order ---------------------------------------------------------------


@pytest.mark.parametrize("shown", [(), (window(), window("look at apple under the desklamp.", name="other"))])
async def test_three_samples_at_once_are_three_samples_one_by_one(shown: tuple[Window, ...]) -> None:
    seen = view(GONE, shown=shown, possible=EVERYWHERE)
    together = await ask(seen, 3, temperature=0.5)
    assert together == [(await ask(seen, first=i, temperature=0.5))[0] for i in range(3)]
    assert together == await ask(seen, 3, temperature=0.5)


async def test_other_seeds_tasks_and_steps_draw_otherwise() -> None:
    async def drawn(seen: View) -> list[str]:
        return actions(await ask(seen, 30, temperature=0.5))

    base = await drawn(view(possible=EVERYWHERE))
    assert base != await drawn(view(possible=EVERYWHERE, seed=1))
    assert base != await drawn(view(possible=EVERYWHERE, task="u"))
    assert base != await drawn(view(GONE, possible=EVERYWHERE))


# --- plans ------------------------------------------------------------------------------------------------------------


async def planned(goal: str, *shown: Window) -> str:
    return (await ask(view(goal=goal, shown=shown), purpose="plan"))[0].text


async def test_the_plan_of_a_similar_task_is_told_of_ours() -> None:
    plan = "Find an apple, cool it in the fridge, put it on the shelf. Two apples are one apple too many."
    told = "Find an mug, cool it in the fridge, put it on the cabinet. Two mugs are one mug too many."
    assert await planned("put a cool mug in cabinet.", window(plan=""), window(plan=plan)) == told
    assert await planned("put a cool mug in cabinet.") == ""


async def test_names_are_exchanged_at_once_and_as_whole_words() -> None:
    steps = [("You see a shelf 1 and a pan 1.", "move pan 1 to shelf 1", "")]
    shown = window("put a pan in shelf.", steps, plan="Take the pan, put the pan in the shelf, not in the pantry.")
    told = "Take the shelf, put the shelf in the drawer, not in the pantry."
    assert await planned("put a shelf in drawer.", shown) == told


# --- whatever it is shown ---------------------------------------------------------------------------------------------

WORDS = st.sampled_from("go take to from mug cabinet 1 2 10 ٣ _ put a cool in . apple Ω 鍋 İ \u017f".split())
TEXT = st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=30)
SCORE = st.floats(allow_nan=False, allow_infinity=False)
DEMO_STEP = st.builds(DemoStep, observation=TEXT, action=TEXT, thought=TEXT)
WINDOW = st.builds(
    Window,
    demo_id=TEXT,
    task_id=TEXT,
    goal=TEXT,
    plan=TEXT,
    steps=st.lists(DEMO_STEP, max_size=5).map(tuple),
    score=SCORE | st.just(0.5),
)
VIEW = st.builds(
    View,
    task=st.builds(Task, id=TEXT, goal=TEXT),
    opening=TEXT,
    turns=st.lists(st.builds(Turn, action=TEXT, observation=TEXT), max_size=4).map(tuple),
    admissible=st.lists(TEXT, max_size=6).map(tuple),
    retrieved=st.lists(WINDOW, max_size=4).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(seen=VIEW, n=st.integers(1, 4), temperature=st.sampled_from([0.0, 0.1, 2.0]))
async def test_nothing_it_reads_breaks_it(seen: View, n: int, temperature: float) -> None:
    replies = await ask(seen, n, temperature=temperature)
    assert len(replies) == n
    for reply in replies:
        assert reply.logprob is not None and math.isfinite(reply.logprob)
        assert any(reply.text.endswith(action) for action in seen.admissible) or not seen.admissible
    assert len(await ask(seen, purpose="plan")) == 1


@pytest.mark.parametrize("temperature", [0.0, 0.1])
async def test_sizes_at_which_numbers_end(temperature: float) -> None:
    huge = "drawer " + "9" * 10_000
    far = window(" ".join(f"word{i}x" for i in range(500)), score=-1e9)
    near = window(score=1e9)
    for shown in ((far,), (near,), (far, near), (window(steps=[]),)):
        possible = (f"go to {huge}", "go to drawer 2", "go to countertop 1")
        (reply,) = await ask(view(shown=shown, possible=possible), temperature=temperature)
        assert actions([reply])[0] in possible


# --- it learns --------------------------------------------------------------------------------------------------------


async def test_with_demonstrations_it_wins_clearly_more(tmp_path: Path) -> None:
    bench = Bench(
        suite=Alfworld(),
        cast=Cast(student=Nearest(), teacher=ScriptedExpert()),
        options=BenchOptions(split=HOMES, arms=("student", "icd"), n=6, demos=24, embedder="hash"),
        folder=tmp_path / "run",
    )
    episodes = await bench.run()
    won = {arm: sum(bool(e.success) for e in episodes if e.arm == arm) for arm in ("student", "icd")}
    assert won["icd"] >= won["student"] + 3, won
