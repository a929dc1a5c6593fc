"""Cascades of cascades: each tier is asked where the one before is not trusted, and has rows of its own."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.asking import Desk
from atlas.policies import Cascade, Recall, Solo
from atlas.policies.nesting import tiers
from atlas.protocols import Policy
from atlas.records import Decision, Guidance, Spend, Task, View
from atlas.testing import ScriptedModel

VIEW = View(task=Task(id="t", goal="do it"), opening="a room")


def model(name: str, *actions: str) -> ScriptedModel:
    said = [f"Action: {action}" for action in actions]
    return ScriptedModel(said if len(said) > 1 else said[0], name=name)


async def decided(policy: Policy, view: View = VIEW) -> tuple[Decision, dict[str, tuple[str, int]]]:
    desk = Desk()
    found = await policy.decide(view, desk)
    return found, calls(desk.spent)


def calls(spent: Iterable[Spend]) -> dict[str, tuple[str, int]]:
    return {spend.actor: (spend.model, spend.usage.calls) for spend in spent}


async def test_each_tier_is_asked_where_the_one_before_is_split() -> None:
    small, middle = model("small", "a", "b"), model("middle", "c", "d")
    found, spent = await decided(Cascade(small, Cascade(middle, model("large", "e"), samples=2), samples=2))
    assert (found.action, found.actor, found.reason) == ("e", "teacher", "split")
    assert spent == {"student": ("small", 2), "tier-2": ("middle", 2), "teacher": ("large", 1)}
    assert [(vote.actor, vote.action) for vote in found.votes] == [
        ("student", "a"), ("student", "b"), ("tier-2", "c"), ("tier-2", "d"), ("teacher", "e")
    ]  # fmt: skip


async def test_a_middle_tier_that_agrees_acts_and_the_last_is_not_asked() -> None:
    policy = Cascade(model("small", "a", "b"), Cascade(model("middle", "c"), model("large", "e"), samples=2), samples=2)
    found, spent = await decided(policy)
    assert (found.action, found.actor) == ("c", "tier-2")
    assert "teacher" not in spent and spent["tier-2"] == ("middle", 2)


async def test_four_tiers_have_four_names() -> None:
    split = [model(name, f"{name}1", f"{name}2") for name in ("a", "b", "c")]
    policy = Cascade(split[0], Cascade(split[1], Cascade(split[2], model("d", "x"), samples=2), samples=2), samples=2)
    assert tiers(policy) == 4
    found, spent = await decided(policy)
    assert found.action == "x"
    assert [(actor, name) for actor, (name, _) in spent.items()] == [
        ("student", "a"), ("tier-2", "b"), ("tier-3", "c"), ("teacher", "d")
    ]  # fmt: skip


async def test_a_cascade_may_be_the_student_of_another() -> None:
    inner = Cascade(model("small", "a"), model("middle", "b"), samples=2)
    found, spent = await decided(Cascade(inner, model("large", "c"), samples=2))
    assert (found.action, found.actor, found.reason) == ("a", "student", "agreed")
    assert spent == {"student": ("small", 4)}
    unsure = Cascade(model("small", "a", "b", "a", "b"), model("middle", "c"), samples=2)
    found, spent = await decided(Cascade(unsure, model("large", "d"), samples=2))
    assert (found.action, found.actor) == ("c", "tier-2"), "both times the middle tier was asked, and said the same"
    assert spent == {"student": ("small", 4), "tier-2": ("middle", 2)}
    torn = Cascade(model("small", "a", "b", "a", "b"), model("middle", "c", "d"), samples=2)
    found, spent = await decided(Cascade(torn, model("large", "e"), samples=2))
    assert (found.action, found.actor, found.reason) == ("e", "teacher", "split")
    assert spent["teacher"] == ("large", 1)


async def test_any_policy_is_a_teacher_and_one_that_is_alone_is_called_so() -> None:
    teacher = Solo(model("large", "c"))
    found, spent = await decided(Cascade(model("small", "a", "b"), teacher, samples=2))
    assert (found.action, found.actor) == ("c", "teacher") and spent["teacher"] == ("large", 1)
    config = Cascade(model("small", "a", "b"), teacher, samples=2).config()
    assert config["student"] == "small" and config["teacher"] == teacher.config()


async def test_audits_ask_the_next_tier() -> None:
    policy = Cascade(model("small", "a"), Cascade(model("middle", "a"), model("large", "e"), samples=1), audit=1.0)
    found, spent = await decided(policy)
    assert found.action == "a" and found.actor == "student"
    assert found.votes[-1].actor == "tier-2" and spent["tier-2"] == ("middle", 1)


async def test_what_is_meant_for_a_student_is_shown_to_it_wherever_it_stands() -> None:
    middle = model("middle", "c")
    note = Guidance(id="1", cue="a room", action="look twice")
    await decided(
        Cascade(model("small", "a", "b"), Cascade(middle, model("large", "e"), samples=2), samples=2),
        VIEW.replace(guidance=(note,)),
    )
    assert "look twice" in middle.asks[0].prompt.text()


def test_policies_around_a_cascade_do_not_hide_its_tiers() -> None:
    class Nothing:
        def search(self, view: View, k: int) -> list[object]:
            return []

        similar = search

        def config(self) -> dict[str, object]:
            return {}

    assert tiers(Recall(Cascade(model("a", "x"), model("b", "x")), Nothing())) == 2
    assert tiers(Solo(model("a", "x"))) == tiers(model("a", "x")) == 1
