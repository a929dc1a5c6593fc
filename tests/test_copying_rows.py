"""Which of several rows a task means: learned from demonstrations whose tasks pointed to a row in the same words."""

from __future__ import annotations

from atlas.copying.free_text import copied, pointed
from atlas.records import DemoStep, Task, Turn, View, Window

QUERY = "execute[SELECT Id, Title, Host FROM Alerts]"
RIGHTS = "Somebody got rights over everything."


def rows(*found: tuple[str, str, str]) -> str:
    return str(list(found))


def goal(host: str, points: str) -> str:
    return f"`{host}` was heard of. {points} What is the id of that?"


def window(points: str, answer: str, seen: str, host: str = "pc-1") -> Window:
    steps = (
        DemoStep(observation="", thought="", action=QUERY),
        DemoStep(observation=seen, thought="", action=f"submit[{answer}]"),
    )
    name = f"{points} {answer}"
    return Window(demo_id=name, task_id=name, goal=goal(host, points), steps=steps, score=0.5)


def answered(points: str, seen: str, *shown: Window, host: str = "pc-7") -> str:
    """What is given in a task whose one query has shown ``seen``, by the first of the demonstrations."""
    view = View(
        task=Task(id="now", goal=goal(host, points)),
        opening="",
        turns=(Turn(action=QUERY, observation=seen),),
        retrieved=shown,
    )
    proposal = copied(view, shown[0], pointed(view))
    assert proposal is not None
    return proposal.action


THEIRS = rows(("a-1", "Service set up", "pc-1"), ("a-2", "Member joined the top group", "pc-1"))
OURS = rows(
    ("b-1", "Member joined the top group", "pc-7"),
    ("b-2", "Service set up", "pc-7"),
    ("b-3", "Tunnel opened", "pc-9"),
)


def test_the_row_that_was_meant_by_such_words_is_meant_again() -> None:
    """The words of the task are not those of the row: only the demonstration says that they belong together."""
    assert answered(RIGHTS, OURS, window(RIGHTS, "a-2", THEIRS)) == "submit[b-1]"
    new = "A program starts with the computer."
    assert answered(new, OURS, window(new, "a-1", THEIRS)) == "submit[b-2]"


def test_one_demonstration_says_which_row_and_another_what_to_do() -> None:
    asks = window("A program starts with the computer.", "a-1", THEIRS)
    assert answered(RIGHTS, OURS, asks, window(RIGHTS, "a-2", THEIRS)) == "submit[b-1]"


def test_of_two_such_rows_the_one_about_what_the_task_names_is_meant() -> None:
    title = "Member joined the top group"
    twins = rows(("b-1", title, "pc-9"), ("b-2", title, "pc-7"), ("b-3", "Tunnel opened", "pc-9"))
    shown = window(RIGHTS, "a-2", THEIRS)
    assert answered(RIGHTS, twins, shown, host="pc-7") == "submit[b-2]"
    assert answered(RIGHTS, twins, shown, host="pc-9") == "submit[b-1]"


def test_other_words_point_to_no_row() -> None:
    """Then the row is meant that says as much of the task as theirs did."""
    seen = rows(("b-1", "Member joined the top group", "pc-7"), ("b-2", "Odd tunnel to a payment site", "pc-7"))
    theirs = rows(("a-1", "Scan", "pc-1"), ("a-2", "Tunnel", "pc-1"))
    shown = window("A payment site was reached by a tunnel.", "a-2", theirs)
    assert answered("An odd tunnel was dug.", seen, shown, window(RIGHTS, "a-2", THEIRS)) == "submit[b-2]"
