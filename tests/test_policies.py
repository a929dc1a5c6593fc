"""Policies: what they ask for, whom, when they stop asking, and that no reply breaks them."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.actions import ChatActions, TextActions, canonical_call
from atlas.asking import Desk
from atlas.errors import ConfigError, ModelError
from atlas.loop import Rollout
from atlas.memory import DemonstrationStore, from_steps
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import Cascade, Guided, RandomRoute, Recall, Solo
from atlas.protocols import Policy
from atlas.records import (
    Ask,
    Completion,
    DemoStep,
    Message,
    Observation,
    Price,
    Prompt,
    Reply,
    Stop,
    Task,
    ToolCall,
    Turn,
    Usage,
    View,
)
from atlas.testing import FlakyModel, ScriptedModel
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter


def view(*, index: int = 0, task: str = "t", seed: int = 0, **changes: Any) -> View:
    turns = tuple(Turn(action="wait", observation=f"tick {i}") for i in range(index))
    return View(task=Task(id=task, goal="open the box"), opening="a box", turns=turns, seed=seed, **changes)


def samples(*texts: str) -> ScriptedModel:
    return ScriptedModel([f"Action: {text}" for text in texts], name="small")


# --- the cascade ------------------------------------------------------------------------------------------------------


async def test_unanimity_acts_and_spelling_makes_no_difference() -> None:
    teacher = samples()
    listed = view(admissible=("open the box", "wait"))
    decided = await Cascade(samples("Open the box.", "open the box", '"OPEN  the box"'), teacher).decide(listed, Desk())
    assert (decided.action, decided.actor, decided.reason) == ("open the box", "student", "agreed")
    assert [vote.action for vote in decided.votes] == ["open the box"] * 3
    assert not teacher.asks


async def test_sequential_sampling_stops_at_the_first_disagreement() -> None:
    student, teacher = samples("open", "close", "open"), samples("look")
    desk = Desk()
    decided = await Cascade(student, teacher).decide(view(), desk)
    assert (decided.action, decided.actor, decided.reason) == ("look", "teacher", "split")
    assert [(ask.n, ask.first) for ask in student.asks] == [(1, 0), (1, 1)]
    assert [(s.actor, s.usage.calls) for s in desk.spent] == [("student", 2), ("teacher", 1)]


async def test_a_provider_that_bills_the_prompt_once_is_asked_once() -> None:
    student = ScriptedModel(["Action: a", "Action: b", "Action: a"], shares_prompt=True)
    decided = await Cascade(student, samples("look")).decide(view(), Desk())
    assert [(ask.n, ask.first) for ask in student.asks] == [(3, 0)]
    assert len(decided.votes) == 4


async def test_a_student_without_an_action_asks_the_teacher() -> None:
    student = ScriptedModel(["", "", ""])
    decided = await Cascade(student, samples("look")).decide(view(), Desk())
    assert (decided.actor, decided.reason, len(student.asks)) == ("teacher", "student-no-action", 1)


async def test_a_model_that_returns_nothing_counts_as_one_empty_reply() -> None:
    class Mute:
        name, shares_prompt = "mute", False

        def __init__(self, speaks: int) -> None:
            self.price: Price | None = None
            self.speaks = speaks

        async def sample(self, ask: Ask) -> Completion:
            self.speaks -= 1
            return Completion(replies=(Reply(text="Action: open"),) if self.speaks >= 0 else ())

    decided = await Cascade(Mute(1), samples("look")).decide(view(), Desk())
    assert decided.actor == "teacher" and len(decided.votes) == 3
    alone = await Solo(Mute(0)).decide(view(), Desk())
    assert (alone.action, alone.reason) == ("", "no-action")


async def test_the_teacher_is_shown_no_demonstrations_unless_asked() -> None:
    with DemonstrationStore(":memory:", embedder="hash") as demos:
        demos.add(from_steps(Task(id="other", goal="open the jar"), [DemoStep(observation="a jar", action="twist")]))
        for sees in (False, True):
            student, teacher = samples("a", "b"), samples("look")
            decided = await Recall(Cascade(student, teacher, teacher_sees_demos=sees), demos, 2).decide(view(), Desk())
            assert "twist" in student.asks[0].prompt.retrieved and student.asks[0].prompt is not None
            assert ("twist" in teacher.asks[0].prompt.retrieved) is sees
            assert [hit.length for hit in decided.retrieved] == [1]


USED = Usage(calls=1, prompt_tokens=10, dollars=0.1)


@pytest.mark.parametrize(
    ("student_fails", "teacher_fails", "paid"),
    [([1], [], [("student", 2)]), ([], [0], [("student", 2), ("teacher", 1)])],
)
async def test_a_failure_keeps_what_was_spent_before_it(
    student_fails: list[int], teacher_fails: list[int], paid: list[tuple[str, int]]
) -> None:
    texts = ("a", "a", "a") if student_fails else ("a", "b")
    student = FlakyModel(samples(*texts), fails=student_fails, used=USED)
    teacher = FlakyModel(samples("look"), fails=teacher_fails, used=USED)
    planner, desk = ScriptedModel(["plan"], name="planner"), Desk()
    with DemonstrationStore(":memory:", embedder="hash") as demos, pytest.raises(ModelError):
        await Recall(Cascade(student, teacher), demos, planner=planner).decide(view(), desk)
    assert [(s.actor, s.usage.calls) for s in desk.spent] == [("student", 1), *paid]


# --- random routing ---------------------------------------------------------------------------------------------------


async def test_random_routing_is_the_same_on_every_run_and_near_its_share() -> None:
    async def routes() -> list[str]:
        policy = RandomRoute(ScriptedModel(lambda a: "x"), ScriptedModel(lambda a: "y"), share=0.3)
        return [(await policy.decide(view(index=i % 20, task=str(i // 20), seed=5), Desk())).actor for i in range(400)]

    first = await routes()
    assert first == await routes()
    assert 80 < first.count("teacher") < 160
    student, teacher = ScriptedModel(lambda a: "x"), ScriptedModel(lambda a: "y")
    for share, actor in ((0.0, "student"), (1.0, "teacher")):
        assert (await RandomRoute(student, teacher, share=share).decide(view(), Desk())).actor == actor


@pytest.mark.parametrize(
    "build",
    [
        lambda m: Cascade(m, m, samples=0),
        lambda m: Cascade(m, m, samples=10**30),
        lambda m: RandomRoute(m, m, share=1.5),
        lambda m: Recall(Solo(m), DemonstrationStore(":memory:", embedder="hash"), 0),
        lambda m: Recall(Solo(m), DemonstrationStore(":memory:", embedder="hash"), 10**30),
        lambda m: Recall(Solo(m), DemonstrationStore(":memory:", embedder="hash", window=10**30), 6),
        lambda m: Guided(Solo(m), PamphletStore(":memory:", embedder="hash"), 10**30),
    ],
)
def test_settings_out_of_range_are_refused(build: Any) -> None:
    with pytest.raises(ConfigError):
        build(samples())


# --- recall and prompts -----------------------------------------------------------------------------------------------


async def test_prompts_grow_at_their_end_only() -> None:
    model = ScriptedModel(lambda ask: "Action: wait")
    with DemonstrationStore(":memory:", embedder="hash") as demos:
        demos.add(from_steps(Task(id="other", goal="open the jar"), [DemoStep(observation="a jar", action="twist")]))
        policy = Recall(Solo(model), demos, 2)
        for index in range(4):
            await policy.decide(view(index=index), Desk())
    for before, after in zip(model.asks, model.asks[1:], strict=False):
        assert after.prompt.stable == before.prompt.stable
        assert after.prompt.history[: len(before.prompt.history)] == before.prompt.history
        assert "twist" in after.prompt.messages()[-1].content


async def test_the_plan_is_made_once_and_paid() -> None:
    with DemonstrationStore(":memory:", embedder="hash") as demos:
        planner = ScriptedModel(["go and open it"], name="planner")
        policy = Recall(Solo(samples("a", "b")), demos, planner=planner)
        desk = Desk()
        first = await policy.decide(view(), desk)
        second = await policy.decide(view(index=1, plan="go and open it"), Desk())
    assert (first.plan, second.plan) == ("go and open it", None)
    assert [s.model for s in desk.spent] == ["planner", "small"]
    assert len(planner.asks) == 1 and planner.asks[0].purpose == "plan"


# --- canonical actions ------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.randoms())
def test_the_order_and_spacing_of_json_arguments_make_no_difference(value: dict[str, Any], rng: Any) -> None:
    import json

    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            keys = list(part)
            rng.shuffle(keys)
            return {key: shuffled(part[key]) for key in keys}
        return [shuffled(p) for p in part] if isinstance(part, list) else part

    one = ToolCall(name="f", arguments=json.dumps(value))
    other = ToolCall(name="f", arguments=json.dumps(shuffled(value), indent=2, ensure_ascii=False))
    assert canonical_call(one) == canonical_call(other)


def test_parallel_calls_agree_in_any_order_but_not_with_fewer() -> None:
    a, b = ToolCall(name="a", arguments='{"x": 1}'), ToolCall(name="b")

    def key(*calls: ToolCall) -> str | None:
        return ChatActions().parse(Reply(text="", tool_calls=calls), view()).key

    assert key(a, b) == key(b, a)
    assert len({key(a, b), key(a), key(a, a, b)}) == 3


def test_structured_answers_agree_by_content_and_prose_by_words() -> None:
    def key(text: str) -> str | None:
        return ChatActions().parse(Reply(text=text), view()).key

    assert key('{"a": 1, "b": 2}') == key('{"b":2,\n"a":1}')
    assert key("It is done.") == key("it is  done") != key("All done")
    assert ChatActions(text_key=lambda t: "said").parse(Reply(text="x"), view()).key == "said"


# --- any reply at all -------------------------------------------------------------------------------------------------

anything = st.one_of(
    st.text(st.characters(codec=None), max_size=300),  # all of Unicode: other alphabets, control characters, surrogates
    st.sampled_from(
        [
            "",
            " ",
            "\ud800",
            "\x00\x1b[31m",
            "\n" * 50_000,
            "!" * 50_000 + ":",
            "action" * 20_000,
            "[" * 50_000,
            "Action:" * 9_000,
        ]
    ),
    st.text(string.printable, max_size=80).map(lambda t: f"Thought: {t}\nAction: {t}"),
)
calls = st.lists(st.builds(ToolCall, id=anything, name=anything, arguments=anything), max_size=3).map(tuple)
replies = st.builds(Reply, text=anything, tool_calls=calls)


class Echoing:
    """Answers with what it was told; done after three steps."""

    task = Task(id="t", goal="echo", instructions="Echo.")

    def __init__(self) -> None:
        self.count = 0

    async def open(self) -> Observation:
        return Observation(text="go", admissible=("look", "wait"))

    async def step(self, action: str) -> Observation:
        self.count += 1
        return Observation(text=action, done=self.count == 3, score=0.0)

    async def close(self) -> None: ...


@settings(max_examples=40, deadline=None)
@given(st.lists(replies, min_size=9, max_size=9), st.sampled_from([TextActions(), ChatActions()]), st.booleans())
async def test_no_reply_breaks_an_episode_its_trace_or_its_demonstration(
    tmp_path_factory: pytest.TempPathFactory, given_replies: list[Reply], actions: Any, alone: bool
) -> None:
    model = ScriptedModel(lambda ask: given_replies[(ask.view.index * 3 + ask.first) % 9])
    policy: Policy = Solo(model, actions=actions) if alone else Cascade(model, model, actions=actions)
    folder = tmp_path_factory.mktemp("runs") / "run"
    with DemonstrationStore(":memory:", embedder="hash") as demos, RunWriter(folder) as writer:
        rollout = Rollout(Echoing(), Recall(policy, demos), recorder=writer)
        episode = await rollout.play()
        assert (episode.stop, episode.steps, episode.failure) == (Stop.DONE, 3, None)
        steps = [
            DemoStep(observation=s.observation, action=s.decision.action, thought=s.decision.thought)
            for s in rollout.steps
        ]
        assert demos.add(from_steps(Echoing.task, steps))
        assert len(demos.search(view(task="new"), 3)) == 1
    assert Run(folder).episodes()[0].steps == tuple(rollout.steps)


@settings(max_examples=40, deadline=None)
@given(st.lists(replies, min_size=4, max_size=4), st.booleans())
def test_no_reply_breaks_a_wrapped_agent(given_replies: list[Reply], tools: bool) -> None:
    import atlas

    model = ScriptedModel(lambda ask: given_replies[(ask.view.index + ask.first) % 4])
    with atlas.Agent(model, model) as agent, agent.episode(goal="g") as episode:
        messages: list[Any] = [{"role": "user", "content": "hello"}]
        offered = [{"type": "function", "function": {"name": "f"}}] if tools else None
        for _ in range(3):
            reply = episode.client.chat.completions.create(model="m", messages=messages, tools=offered)
            messages.append(reply.choices[0].message)
            reply.model_dump_json()
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "ok"}
                for call in reply.choices[0].message.tool_calls or ()
            ]
        episode.fail()
    assert episode.result is not None and episode.result.steps == 3


def test_a_wrapped_agents_history_stays_as_it_is() -> None:
    from atlas.prompts import render

    history = (
        Message(role="system", content="Serve."),
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=(ToolCall(id="1", name="f"),)),
        Message(role="tool", content="ok", tool_call_id="1"),
    )
    assert tuple(render(view(messages=history)).messages()) == history


@pytest.mark.parametrize("answer", ["ok", Reply(text="ok")])
async def test_a_scripted_model_that_is_given_one_answer_gives_it_at_every_call(answer: str | Reply) -> None:
    model = ScriptedModel(answer)
    for n in (1, 3, 1):
        done = await model.sample(Ask(view=view(), prompt=Prompt(), n=n))
        assert [reply.text for reply in done.replies] == ["ok"] * n
