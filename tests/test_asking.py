"""The desk: everybody who asks a model asks there, and what was used is charged whatever happens to the answer."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from atlas.asking import Account, Desk
from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded, ConfigError, ModelError
from atlas.memory import Memory
from atlas.policies import Cascade, Coach, Probe, Recall, Solo, TeacherReview
from atlas.records import Ask, Completion, Message, Prompt, Reply, Task, ToolCall, Usage, View
from atlas.testing import FlakyModel, ScriptedModel

TASK = Task(id="t", goal="g")
TOOLS = ({"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}},)
WRAPPED = View(
    task=TASK,
    opening="o",
    messages=(Message(role="user", content="hello"),),
    tools=TOOLS,
    options={"tool_choice": "required", "response_format": {"type": "json_object"}, "max_tokens": 7},
)
"""What a wrapped agent sends: its tools and call options belong to what it asks."""


def says(text: str = "Action: go", **options: Any) -> ScriptedModel:
    return ScriptedModel(lambda ask: text, **options)


# --- what a model is sent ---------------------------------------------------------------------------------------------


async def test_tools_and_call_options_go_with_the_next_action() -> None:
    model = says()
    await Solo(model).decide(WRAPPED, Desk())
    (ask,) = model.asks
    assert (ask.purpose, ask.max_tokens, ask.view.options["tool_choice"]) == ("act", 7, "required")
    assert ask.view.tools == ask.prompt.tools == TOOLS


async def test_nobody_else_gets_the_agents_tools_options_and_limit() -> None:
    coach, reviewer, planner, estimator = says("Verdict: good"), says("Verdict: yes"), says("a plan"), says("0.5")
    desk = Desk()
    await Coach(Solo(says()), coach).decide(WRAPPED, desk)
    await TeacherReview(reviewer).review(WRAPPED, desk)
    with Memory(":memory:", "hash") as memory:
        await Recall(Solo(says()), memory, planner=planner).decide(WRAPPED, desk)
        await Probe(memory.outcomes, estimator=estimator).choose(WRAPPED, desk)
    for model, purpose in ((coach, "guide"), (reviewer, "review"), (planner, "plan"), (estimator, "estimate")):
        (ask,) = model.asks
        assert ask.purpose == purpose
        assert (ask.view.tools, ask.view.options, ask.prompt.tools) == ((), {}, ())
        assert ask.max_tokens != 7


# --- before the call --------------------------------------------------------------------------------------------------


async def test_a_spent_meter_stops_before_the_call_within_a_step() -> None:
    student, teacher = ScriptedModel(["Action: a", "Action: b"]), says("Action: c")
    account = Account([Meter(Budget(tokens=1))])
    with pytest.raises(BudgetExceeded):
        await Cascade(student, teacher).decide(View(task=TASK, opening="o"), Desk(account))
    assert len(student.asks) == 1 and not teacher.asks, "the second sample was asked for with a spent budget"


async def test_an_unpriced_model_is_not_asked_under_a_budget_in_dollars() -> None:
    model = says(price=None)
    with pytest.raises(ConfigError, match="the model scripted has no price: state one"):
        await Solo(model).decide(View(task=TASK, opening="o"), Desk(Account([Meter(Budget(dollars=1))])))
    assert not model.asks


# --- what was used is charged -----------------------------------------------------------------------------------------


class Bills:
    """Uses ten tokens, tells them, and then does something else: what it does is up to the test."""

    name, price, shares_prompt = "bills", None, False

    def __init__(self, then: Callable[[], Any]) -> None:
        self.then = then

    async def sample(self, ask: Ask) -> Completion:
        ask.paid(Usage(calls=1, prompt_tokens=10))
        await self.then()
        return Completion(replies=(Reply(text="never"),))


async def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ModelError("gone"), RuntimeError("a bug"), KeyboardInterrupt()])
async def test_what_a_failing_call_used_is_charged_whatever_it_raises(error: BaseException) -> None:
    account = Account()
    desk = Desk(account)
    with pytest.raises(type(error)):
        await Solo(Bills(lambda: raising(error))).decide(View(task=TASK, opening="o"), desk)
    assert [(s.actor, s.usage.prompt_tokens) for s in desk.spent] == [("student", 10)] and account.spent == desk.spent


async def test_a_cancelled_step_leaves_what_it_used() -> None:
    account = Account()
    asked = asyncio.Event()

    async def stays() -> None:
        asked.set()
        await asyncio.Event().wait()

    cascade = Cascade(ScriptedModel(["Action: a", "Action: b"]), Bills(stays))
    step = asyncio.create_task(cascade.decide(View(task=TASK, opening="o"), Desk(account)))
    await asked.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert [(s.actor, s.usage.calls) for s in account.spent] == [("student", 2), ("teacher", 1)]


async def test_an_error_that_reaches_several_asks_is_charged_to_each_as_it_was() -> None:
    broken = FlakyModel(says(), error=ModelError("one object for all"), used=Usage(calls=1, prompt_tokens=10))
    accounts = [Account() for _ in range(3)]
    asked = (Solo(broken).decide(View(task=TASK, opening="o"), Desk(account)) for account in accounts)
    assert all(isinstance(said, ModelError) for said in await asyncio.gather(*asked, return_exceptions=True))
    assert [account.spent[0].usage.calls for account in accounts] == [1, 1, 1]


async def test_a_desk_apart_tells_its_part_and_charges_the_whole() -> None:
    account = Account([Meter(Budget(tokens=10**6))])
    desk = Desk(account)
    view, prompt = View(task=TASK, opening="o"), Prompt(ask="?")
    await desk.ask(says(), view, actor="a", purpose="plan", prompt=prompt)
    inner = desk.apart().apart()
    await inner.ask(says(), view, actor="b", purpose="plan", prompt=prompt)
    assert [s.actor for s in inner.spent] == ["b"] and [s.actor for s in desk.spent] == ["a", "b"]
    assert account.spent == desk.spent
    assert account.meters[0].used.calls == 2


def test_the_noise_of_a_step_is_its_own_in_every_task_and_attempt() -> None:
    from atlas.models.chat import seed_of

    def seed(task: str, attempt: int = 0, sample: int = 0) -> int:
        view = View(task=Task(id=task, goal="g"), opening="o", attempt=attempt, seed=3)
        return seed_of(Ask(view=view, prompt=Prompt()), sample)

    assert seed("a") == seed("a")
    assert len({seed("a"), seed("b"), seed("a", attempt=1), seed("a", sample=1)}) == 4


async def test_an_ask_is_gone_when_its_step_is_over_without_a_garbage_collector() -> None:
    """A circle of ask and account would keep every prompt of a thousand episodes until the collector comes."""
    model = says()
    gc.collect()
    gc.disable()
    try:
        await Solo(model).decide(View(task=TASK, opening="o"), Desk())
        held = weakref.ref(model.asks.pop())
        assert held() is None
    finally:
        gc.enable()


async def test_halves_of_characters_are_mended_in_all_of_a_reply() -> None:
    half, call = "\ud800", ToolCall(id="a\udfff", name="sh", arguments="\ud800", kind="custom")
    reply = Reply(text=half, tool_calls=(call,), message={"reasoning_content": half, "parts": [{half: "\u00e9"}]})
    answer = await Desk().ask(ScriptedModel([reply]), View(task=TASK, opening="o"), actor="student")
    (mended,) = answer.replies
    assert mended.text == "\ufffd" and mended.tool_calls[0] == call.replace(id="a\ufffd", arguments="\ufffd")
    assert mended.message == {"reasoning_content": "\ufffd", "parts": [{"\ufffd": "\u00e9"}]}
