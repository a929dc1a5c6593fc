"""Entries followed where no actions are listed: procedures, answers, and what others forbid."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.copying.asked import asked
from atlas.copying.nearest import Nearest
from atlas.copying.procedures import proceed
from atlas.copying.slots import columns, leaves, name, slot
from atlas.copying.values import shown
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from atlas.records import Ask, Guidance, Prompt, Task, Turn, View

GOAL = "The machine `pc-7` was misused by somebody. What is the IP address of the printer that was moved?"
PATTERN = (
    "execute[SELECT Id, Title FROM Notes WHERE Things LIKE '%{named}%']",
    "execute[SELECT Things FROM Notes WHERE Id = '{Id asked for}']",
    "submit[{what is asked for}]",
)
PLAN = Guidance(id="plan", cue="how to answer", action="look", pattern=PATTERN, score=0.5)
PLACE = Guidance(
    id="place",
    cue="what is asked for is the IP address",
    action="give it",
    pattern=("submit[{Address of ip}]",),
    score=0.6,
)
LISTED = (
    "execute[SELECT Id, Title FROM Notes WHERE Things LIKE '%pc-7%']",
    "[('n-1', 'a door'), ('n-2', 'a printer moved')]",
)
READ = "execute[SELECT Things FROM Notes WHERE Id = 'n-2']"


def things(*of: dict[str, str]) -> str:
    return str([(json.dumps(list(of)),)])


def view(*turns: tuple[str, str], guidance: tuple[Guidance, ...] = (PLAN, PLACE), goal: str = GOAL) -> View:
    return View(
        task=Task(id="ours", goal=goal),
        opening=goal,
        turns=tuple(Turn(action=action, observation=seen) for action, seen in turns),
        guidance=guidance,
    )


def action(seen: View) -> str:
    found = proceed(seen)
    return found[0].action if found else ""


def test_a_procedure_is_gone_through_to_its_answer() -> None:
    first = view()
    assert action(first) == LISTED[0], "the value that the task names"
    assert action(view(LISTED)) == READ, "the row that says most of the question"
    seen = things({"Type": "ip", "Address": "10.0.0.9"}, {"Type": "account", "Name": "ann"})
    assert action(view(LISTED, (READ, seen))) == "submit[10.0.0.9]"


def test_where_a_row_gives_no_answer_the_next_one_is_read() -> None:
    seen = things({"Type": "account", "Name": "ann"})
    assert action(view(LISTED, (READ, seen))) == READ.replace("n-2", "n-1")


def test_what_the_task_tells_itself_is_not_what_it_asks_for() -> None:
    goal = GOAL.replace("somebody", "10.0.0.9")
    seen = things({"Type": "ip", "Address": "10.0.0.9"}, {"Type": "ip", "Address": "10.0.0.10"})
    listed = ("execute[SELECT Id, Title FROM Notes WHERE Things LIKE '%10.0.0.9%']", LISTED[1])
    assert action(view(listed, (READ, seen), goal=goal)) == "submit[10.0.0.10]"


def test_a_value_that_shows_nothing_is_followed_by_another() -> None:
    goal = "The machine `pc-7` was misused by `ann@a.example`. What is the IP address of the printer that was moved?"
    first = action(view(goal=goal))
    assert "ann@a.example" in first
    second = action(view((first, "[]"), goal=goal))
    assert "'%ann%'" in second, "the name without its domain"
    third = action(view((first, "[]"), (second, "OperationalError: gone"), goal=goal))
    assert "pc-7" in third


def test_an_answer_may_take_another_action() -> None:
    place = PLACE.model_copy(
        update={"pattern": ("execute[SELECT Ip FROM Logins WHERE Who = '{Name of account}']", "submit[{Ip}]")}
    )
    seen = things({"Type": "account", "Name": "ann"})
    entries = (PLAN, place)
    look = action(view(LISTED, (READ, seen), guidance=entries))
    assert look == "execute[SELECT Ip FROM Logins WHERE Who = 'ann']"
    assert action(view(LISTED, (READ, seen), (look, "[('10.1.1.1',)]"), guidance=entries)) == "submit[10.1.1.1]"


def test_what_an_entry_forbids_comes_after_what_none_does() -> None:
    other = PLACE.model_copy(update={"id": "other", "pattern": ("submit[{PublicAddress of ip}]",), "score": 0.59})
    never = Guidance(
        id="never",
        cue="what is asked for is the IP address",
        action="do not give {Address of ip} first: it was judged wrong",
        score=0.7,
    )
    seen = things({"Type": "ip", "Address": "10.0.0.9", "PublicAddress": "8.8.8.9"})
    turns = (LISTED, (READ, seen))
    assert action(view(*turns, guidance=(PLAN, PLACE, other))) == "submit[10.0.0.9]"
    assert action(view(*turns, guidance=(PLAN, PLACE, other, never))) == "submit[8.8.8.9]"


def test_parts_of_an_answer_come_from_one_thing() -> None:
    place = Guidance(
        id="mail",
        cue="what is asked for is the mail",
        action="give it",
        pattern=("submit[{Name of account}@{Suffix of account}]",),
        score=0.6,
    )
    goal = "The machine `pc-7` was misused. What is the mail of the printer's owner?"
    seen = things({"Type": "account", "Name": "ann"}, {"Type": "account", "Name": "bob", "Suffix": "b.example"})
    turns = (LISTED, (READ, seen))
    assert action(view(*turns, guidance=(PLAN, place), goal=goal)) == "submit[bob@b.example]"


def test_without_a_procedure_nothing_is_proposed() -> None:
    assert proceed(view(guidance=())) == []
    assert proceed(view(guidance=(PLACE,))) == []


@given(st.text(max_size=200), st.text(max_size=200), st.lists(st.text(max_size=80), max_size=4))
def test_odd_entries_and_observations_never_raise(goal: str, seen: str, pattern: list[str]) -> None:
    odd = Guidance(id="odd", cue=goal or "x", action=seen or "x", pattern=tuple(pattern), score=0.5)
    plan = PLAN.model_copy(update={"pattern": (*pattern, *PATTERN)})
    proceed(view((LISTED[0], seen), (READ, seen), guidance=(odd, plan, PLACE), goal=goal or "x"))


def test_entries_from_a_memory_reach_the_copying_student() -> None:
    instructions = "You answer questions about printers with execute[...] and submit[...]."
    with PamphletStore(":memory:", "hash") as memory:
        entry = Entry(cue="answer questions about printers", action="look", pattern=PATTERN, scope=("execute[",))
        memory.add_many([entry], author="person:ann", reason="test")
        bare = view(guidance=())
        assert not memory.search(bare, 300), "the cue is about the setting, which this task is not of"
        task = bare.task.model_copy(update={"instructions": instructions})
        found = memory.search(bare.replace(task=task), 300)
    assert [entry.cue for entry in found] == ["answer questions about printers"]
    assert action(view(guidance=tuple(found))) == LISTED[0]


async def test_the_copying_student_takes_them_in() -> None:
    said = await Nearest().sample(Ask(view=view(), prompt=Prompt(stable="", ask="")))
    assert LISTED[0] in said.replies[0].text and "plan" in said.replies[0].text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A thing happened. What is the IP address associated with it?", "IP address"),
        ("Can you identify the hostname of the device where it was seen?", "hostname device"),
        ("Who was the user account detected in it?", "user account"),
        ("Please provide the exact command line used to do it.", "command line"),
        ("", ""),
    ],
)
def test_what_a_task_asks_for(text: str, wanted: str) -> None:
    assert asked(text) == wanted


def test_columns_and_names_of_values() -> None:
    assert columns("execute[SELECT DISTINCT a.Id, COUNT(*) AS n, b FROM x a]") == ("Id", "n", "b")
    assert columns("execute[SELECT * FROM x]") == ("",)
    assert columns("execute[SHOW TABLES]") == ()
    seen = shown(str([("n-1", json.dumps([{"Type": "ip", "Address": "10.0.0.9"}]))]))
    names = ("Id", "Things")
    assert [name(leaf, names) for leaf in seen.leaves] == ["Id", "Type of ip", "Address of ip"]
    wanted = slot("Address of ip")
    assert wanted is not None and [leaf.text for leaf in leaves(wanted, seen, names)] == ["10.0.0.9"]
    assert slot("named") is None and slot("what is asked for") is None
