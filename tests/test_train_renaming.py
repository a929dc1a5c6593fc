"""Made-up words in the places of others: the same everywhere in a reading, and nothing else is changed."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra train")

from atlas.actions import canonical_call
from atlas.records import DemoStep, ToolCall, Window
from atlas.train.renaming import renamed
from atlas.trained.trajectory import Moment, Trajectory

pytestmark = pytest.mark.torch

WORDS = ("cool", "apple", "fridge", "with", "the", "go", "to", "a1", "Cool", "APPLE", "1", "12", "é", "lamp-post")
texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
steps = st.builds(DemoStep, observation=texts, action=texts, thought=texts)
trajectories = st.builds(
    Trajectory,
    task=st.just("t"),
    goal=texts,
    stable=texts,
    success=st.just(True),
    shown=st.lists(
        st.builds(
            Window,
            demo_id=st.just("d"),
            task_id=st.just("o"),
            goal=texts,
            plan=texts,
            steps=st.lists(steps, min_size=1, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    moments=st.lists(
        st.builds(Moment, observation=texts, action=texts, weight=st.sampled_from([0.0, 1.0])), min_size=1, max_size=3
    ).map(tuple),
)


def every(trajectory: Trajectory) -> list[str]:
    found = [trajectory.goal, trajectory.stable]
    for moment in trajectory.moments:
        found += [moment.observation, moment.action, moment.thought, moment.guidance]
    for window in trajectory.shown:
        found += [window.goal, window.plan]
        found += [text for step in window.steps for text in (step.observation, step.action, step.thought)]
    return found


@given(trajectories, st.integers(0, 10_000))
def test_a_word_has_one_name_in_a_reading_and_no_other_has_it(trajectory: Trajectory, seed: int) -> None:
    told = renamed(trajectory, random.Random(seed))
    before = [part for text in every(trajectory) for part in re.split(r"([A-Za-z]+)", text)]
    after = [part for text in every(told) for part in re.split(r"([A-Za-z]+)", text)]
    names: dict[str, str] = {}
    for old, new in zip(before, after, strict=True):
        assert names.setdefault(old.casefold(), new.casefold()) == new.casefold()
    assert len(set(names.values())) == len(names)
    asked = " ".join([trajectory.goal, *(m.action for m in trajectory.moments)])
    asked += " ".join(text for w in trajectory.shown for text in (w.goal, *(s.action for s in w.steps)))
    for old, new in names.items():
        assert old == new or (old in asked.casefold() and old not in ("with", "the", "go", "to"))
    assert told == renamed(trajectory, random.Random(seed))
    assert [m.weight for m in told.moments] == [m.weight for m in trajectory.moments]


def test_what_the_goal_asks_for_can_be_read_in_the_demonstration_alone() -> None:
    step = DemoStep(observation="You see a fridge 1.", action="cool egg 2 with fridge 1")
    beside = Window(demo_id="d", task_id="o", goal="cool some egg", steps=(step,))
    played = Trajectory(
        task="t",
        goal="cool some apple",
        stable="Commands look like: cool <thing> with <place>",
        success=True,
        shown=(beside,),
        moments=(Moment(observation="You see a Fridge 1.", action="cool apple 1 with fridge 1"),),
    )
    both = 0
    for seed in range(200):
        told = renamed(played, random.Random(seed))
        (moment,), (window,) = told.moments, told.shown
        verb, place = moment.action.split()[0], moment.action.split()[-2]
        assert told.goal.startswith(verb) and window.goal.startswith(verb) and f": {verb} <thing>" in told.stable
        assert window.steps[0].action.endswith(f"{place} 1") and f"a {place.capitalize()} 1." in moment.observation
        both += verb != "cool" and place != "fridge"
    assert both > 30


def test_a_tool_call_stays_one_and_says_what_its_result_does() -> None:
    given = {"flag": True, "note": None, "text": 'first\nsecond\tthird "fourth"', "accent": "\u00e9tage"}
    call = ToolCall(id="1", name="lookup", arguments=json.dumps(given))
    action = canonical_call(call)
    trajectory = Trajectory(
        task="t", goal="look", success=True, moments=(Moment(observation=given["text"], action=action),)
    )
    found = set()
    for seed in range(40):
        (moment,) = renamed(trajectory, random.Random(seed)).moments
        told = json.loads(moment.action.partition("(")[2].removesuffix(")"))
        assert [value for value in told.values() if not isinstance(value, str)] == [True, None]
        assert moment.observation in told.values()
        found.add(moment.action)
    assert len(found) > 1
