"""Free-text actions carried over from a demonstration to the present task."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.copying.free_text import copied
from atlas.copying.nearest import Nearest
from atlas.copying.values import kind_of, ranks, sentences, shown, stems, told
from atlas.prompts import render
from atlas.records import Ask, DemoStep, Task, Turn, View, Window

THEIR_GOAL = "The account `ann@a.example` was misused on `a-ws1`. What is the address of the printer involved?"
OUR_GOAL = "The account `bob@b.example` was misused on `b-ws7`. What is the address of the printer involved?"


def listing(*rows: tuple[str, str, list[dict[str, str]]]) -> str:
    return str([(name, said, json.dumps(things)) for name, said, things in rows])


THEIR_ALERTS = listing(
    ("id-1", "a door was opened", [{"Type": "ip", "Address": "10.0.0.1"}, {"Type": "user", "Name": "ann"}]),
    ("id-2", "the printer was moved", [{"Type": "ip", "Address": "10.0.0.2"}]),
)
OUR_ALERTS = listing(
    ("id-8", "the printer was moved", [{"Type": "user", "Name": "bob"}, {"Type": "ip", "Address": "10.7.7.8"}]),
    ("id-9", "a door was opened", [{"Type": "ip", "Address": "10.7.7.9"}]),
)
STEPS = (
    DemoStep(observation=THEIR_GOAL, action="execute[SHOW TABLES]", thought="What is there?"),
    DemoStep(
        observation="[('Alerts',)]",
        action="execute[SELECT * FROM Alerts WHERE Who LIKE '%ann@a.example%']",
        thought="I look for ann@a.example.",
    ),
    DemoStep(
        observation=THEIR_ALERTS, action="submit[10.0.0.2]", thought="It is 10.0.0.2, by 'the printer was moved'."
    ),
)
WINDOW = Window(demo_id="d", task_id="theirs", goal=THEIR_GOAL, steps=STEPS, score=0.9)


def view(*turns: tuple[str, str], goal: str = OUR_GOAL, shown: tuple[Window, ...] = (WINDOW,)) -> View:
    return View(
        task=Task(id="ours", goal=goal),
        opening=goal,
        turns=tuple(Turn(action=action, observation=seen) for action, seen in turns),
        retrieved=shown,
    )


FIRST = ("execute[SHOW TABLES]", "[('Alerts',)]")
SECOND = ("execute[SELECT * FROM Alerts WHERE Who LIKE '%bob@b.example%']", OUR_ALERTS)


def action(seen: View) -> str:
    found = copied(seen, WINDOW)
    assert found is not None
    return found.action


def test_what_names_nothing_of_the_task_is_copied_as_it_stands() -> None:
    assert action(view()) == "execute[SHOW TABLES]"


def test_a_value_of_the_task_becomes_ours() -> None:
    found = copied(view(FIRST), WINDOW)
    assert found is not None
    assert found.action == SECOND[0]
    assert found.thought == "I look for bob@b.example."


def test_a_value_of_an_observation_becomes_what_plays_its_part_in_the_row_that_the_task_means() -> None:
    found = copied(view(FIRST, SECOND), WINDOW)
    assert found is not None
    assert found.action == "submit[10.7.7.8]"
    assert "10.7.7.8" in found.thought


def test_without_anything_to_play_the_part_it_is_not_proposed() -> None:
    """The second query returned nothing, so nothing can be submitted: an earlier moment is taken up instead."""
    assert not action(view(FIRST, (SECOND[0], "[]"))).startswith("submit[")


def test_wildcards_between_other_strings_are_no_values() -> None:
    steps = (
        STEPS[0],
        DemoStep(observation="[('id-1',)]", action="execute[SELECT CONCAT('%', x, '%') FROM t WHERE y LIKE '%id-1%']"),
    )
    window = WINDOW.model_copy(update={"steps": steps})
    found = copied(view(("execute[SHOW TABLES]", "[('id-77',)]")), window)
    assert found is not None
    assert found.action == "execute[SELECT CONCAT('%', x, '%') FROM t WHERE y LIKE '%id-77%']"


async def test_the_nearest_student_copies_where_no_actions_are_listed() -> None:
    for temperature, n in ((0.0, 1), (0.5, 3)):
        seen = view(FIRST, shown=(WINDOW, WINDOW.model_copy(update={"demo_id": "e"})))
        asked = Ask(view=seen, prompt=render(seen), n=n, temperature=temperature)
        replies = (await Nearest(doubt=0.0).sample(asked)).replies
        assert len(replies) == n
        assert f"Action: {SECOND[0]}" in replies[0].text


async def test_wrapped_agents_are_not_answered_in_free_text() -> None:
    seen = view(FIRST).replace(tools=({"function": {"name": "query"}},))
    (reply,) = (await Nearest().sample(Ask(view=seen, prompt=render(seen)))).replies
    assert reply.text.endswith("Action: ")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("https://a.example/x?y=1", "url"),
        ("7f1b8c1e-8f2d-4f0e-9a54-6d7f0f6d1a11", "guid"),
        ("S-1-5-21-1-2-3-1104", "sid"),
        ("a.b@c.example", "mail"),
        ("10.1.2.3", "ip"),
        ("evil.exe", "file"),
        ("acme-ws12", "name"),
        ("4711", "number"),
        ("Nina Park", "phrase"),
    ],
)
def test_kinds_of_values(value: str, kind: str) -> None:
    assert kind_of(value) == kind


def test_an_observation_is_taken_apart_down_to_json_in_its_cells() -> None:
    seen = shown("Retrieved 2 entries.\n" + THEIR_ALERTS)
    assert [(leaf.text, leaf.row) for leaf in seen.leaves if leaf.text.startswith("10.")] == [
        ("10.0.0.1", 0),
        ("10.0.0.2", 1),
    ]
    assert ranks(stems("What about the printer?"), seen.rows) == [1, 0]
    assert shown("ProgrammingError: no").outcome == "programmingerror"
    assert (shown("[]").outcome, shown("[('x',)]").outcome) == ("nothing", "rows")


TEXT = st.text(max_size=60) | st.sampled_from([THEIR_GOAL, THEIR_ALERTS, STEPS[1].action, "[[[[", "{'a': 'b'}", "''''"])


@given(goal=TEXT, steps=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), turns=st.lists(st.tuples(TEXT, TEXT)))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_copied_from_and_to(
    goal: str, steps: list[tuple[str, str]], turns: list[tuple[str, str]]
) -> None:
    window = Window(
        demo_id="d",
        task_id="t",
        goal=goal,
        steps=tuple(DemoStep(observation=seen, action=done) for seen, done in steps),
    )
    found = copied(view(*turns), window)
    assert found is None or isinstance(found.action, str)
    assert all(one.text in goal for one in told(goal))
    assert "".join(sentences(goal)).replace(" ", "") in goal.replace(" ", "") or sentences(goal)
