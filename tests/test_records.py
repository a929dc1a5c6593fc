"""Records: what they refuse, what they make of what they are given, and that a trace gives back what it was told."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pydantic import ValidationError

from atlas.records import (
    Citation,
    Completion,
    Decision,
    DemoStep,
    Hit,
    LaneChoice,
    Light,
    Message,
    Observation,
    Prompt,
    Record,
    Reply,
    Review,
    Spend,
    Step,
    Task,
    ToolCall,
    Turn,
    Usage,
    View,
    Vote,
    Window,
)
from atlas.traces import Run, RunWriter

LIGHT = [Reply(text="t"), Completion(replies=()), Usage(), Message(role="user"), Observation(text="o"), Prompt()]


@pytest.mark.parametrize("record", LIGHT, ids=lambda record: type(record).__name__)
def test_a_light_record_is_immutable_and_knows_its_fields(record: Light) -> None:
    name = structs.fields(record)[0].name
    with pytest.raises(AttributeError):
        setattr(record, name, "other")
    with pytest.raises(TypeError, match="misspelt"):
        record.replace(misspelt=1)
    with pytest.raises(TypeError, match="misspelt"):
        type(record)(**structs.asdict(record), misspelt=1)
    with pytest.raises(ValidationError, match="misspelt"):
        type(record).model_validate({**record.model_dump(), "misspelt": 1})
    assert record.model_copy() == record == type(record).model_validate_json(record.model_dump_json())
    assert repr(record).startswith(f"{type(record).__name__}({name}=")


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (lambda: Reply(text=None), "text"),  # type: ignore[arg-type]
        (lambda: Reply(text="t", tool_calls=[3]), "tool_calls"),  # type: ignore[arg-type]
        (lambda: Completion(replies="t"), "replies"),  # type: ignore[arg-type]
        (lambda: Completion(replies=(), usage=None), "usage"),  # type: ignore[arg-type]
        (lambda: Usage(prompt_tokens="many"), "prompt_tokens"),  # type: ignore[arg-type]
        (lambda: Usage(dollars="some"), "dollars"),  # type: ignore[arg-type]
        (lambda: Observation(text=None), "text"),  # type: ignore[arg-type]
        (lambda: Observation(text="o", admissible=[1]), "admissible"),  # type: ignore[arg-type]
        (lambda: Message(role="user", content=None), "content"),  # type: ignore[arg-type]
        (lambda: Turn(action=None, observation="o"), "action"),  # type: ignore[arg-type]
        (lambda: Decision(action=None, actor="a", reason="r"), "action"),  # type: ignore[arg-type]
        (lambda: Prompt(history=["hello"]), "history"),  # type: ignore[arg-type]
    ],
)
def test_what_code_of_others_makes_is_looked_at(made: Any, wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        made()


def test_lists_become_tuples_and_dictionaries_records() -> None:
    seen = Observation(text="o", admissible=["look", "wait"], score=1)  # type: ignore[arg-type]
    assert seen == Observation(text="o", admissible=("look", "wait"), score=1.0)
    made = Completion(replies=[{"text": "t"}], usage={"calls": 2})  # type: ignore[arg-type]
    assert made == Completion(replies=(Reply(text="t"),), usage=Usage(calls=2))
    assert (
        Window.model_validate(
            {"demo_id": "d", "task_id": "t", "goal": "g", "steps": [{"observation": "o", "action": "a"}]}
        )
        .steps[0]
        .shown.endswith("Action: a")
    )


def test_a_light_record_stands_in_a_checked_one() -> None:
    class Kept(Record):
        usage: Usage | None = None
        said: tuple[Message, ...] = ()

    kept = Kept.model_validate_json('{"usage": {"calls": 3}, "said": [{"role": "user", "content": "x"}]}')
    assert kept == Kept(usage=Usage(calls=3), said=(Message(role="user", content="x"),))
    assert kept.model_dump(exclude_defaults=True) == {
        "usage": {"calls": 3},
        "said": ({"role": "user", "content": "x"},),
    }
    assert "content" not in kept.model_dump(exclude={"said": {0: {"content"}}})["said"][0]
    with pytest.raises(ValidationError, match=r"said\.0\.role"):
        Kept.model_validate({"said": [{"content": "x"}]})


def test_the_garbage_collector_has_nothing_to_look_at_in_a_history() -> None:
    """A thousand episodes in flight hold some hundred thousand messages."""
    view = View(task=Task(id="t", goal="g"), opening="o")
    for number in range(3):
        view = view.after(Turn(action=f"go {number}", observation="here"), (), plan="", lane="")
    history = view.history
    gc.collect()
    assert not gc.is_tracked(history) and not gc.is_tracked(view.turns) and not gc.is_tracked(history[0])


def test_a_copy_of_a_prompt_knows_its_own_examples() -> None:
    prompt = Prompt.of((("", "head"), ("[example 1] ", "one"), ("", "</examples>")), stable="s")
    assert prompt.retrieved == "head\n\n[example 1] one\n\n</examples>"
    assert prompt.examples == Prompt(retrieved=prompt.retrieved).examples
    assert prompt.replace(retrieved="").examples == () != prompt.replace(stable="").examples


# --- a step, to the trace and back ------------------------------------------------------------------------------------

texts = st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('\ud800\udfffa\n"\\\u2028'), max_size=12)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 1 << 40)
maybe = st.none() | numbers
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts, kind=st.sampled_from(["function", "custom"]))
some_calls = st.lists(calls, max_size=2).map(tuple)
plain = st.none() | st.dictionaries(texts, st.none() | texts | st.booleans() | numbers | st.lists(texts), max_size=3)
messages = st.builds(
    Message, role=texts, content=texts, tool_calls=some_calls, tool_call_id=st.none() | texts, sent=plain
)
usages = st.builds(Usage, calls=counts, prompt_tokens=counts, dollars=maybe, most=maybe)
spends = st.lists(st.builds(Spend, actor=texts, model=texts, usage=usages), max_size=2).map(tuple)
lanes = st.builds(LaneChoice, lane=texts, reason=texts, similarity=maybe)
reviews = st.builds(Review, attempt=counts, approved=st.none() | st.booleans(), feedback=texts, spend=spends)
prompts = st.builds(
    Prompt,
    stable=texts,
    history=st.lists(messages, max_size=3).map(tuple),
    guidance=texts,
    retrieved=texts,
    ask=texts,
    tools=st.lists(st.dictionaries(texts, texts, max_size=2), max_size=2).map(tuple),
)
votes = st.builds(Vote, actor=texts, model=texts, action=st.none() | texts, text=texts, logprob=maybe, chance=maybe)
decisions = st.builds(
    Decision,
    action=texts,
    actor=texts,
    reason=texts,
    thought=texts,
    plan=st.none() | texts,
    lane=st.none() | lanes,
    advice=texts,
    reviews=st.lists(reviews, max_size=2).map(tuple),
    votes=st.lists(votes, max_size=3).map(tuple),
    guidance=st.lists(st.builds(Citation, id=texts, score=numbers, shown=st.booleans(), p=maybe), max_size=2).map(
        tuple
    ),
    retrieved=st.lists(
        st.builds(Hit, demo_id=texts, start=counts, length=counts, best=counts, score=numbers), max_size=2
    ).map(tuple),
    prompt=prompts,
    tool_calls=some_calls,
    text=texts,
    finish=texts,
    message=plain,
    seconds=st.dictionaries(texts, numbers, max_size=2),
)
taken = st.builds(
    Step,
    index=st.just(0),
    attempt=counts,
    observation=texts,
    admissible=counts,
    decision=decisions,
    outcome=st.builds(Observation, text=texts, score=maybe, done=st.booleans()),
    spend=spends,
    seconds=numbers,
)


def _kept(folder: Path, *steps: Step) -> list[Step]:
    with RunWriter(folder) as writer:
        writer.start("e", "arm", Task(id="t", goal="g"), 0, "c")
        for step in steps:
            writer.step("e", step)
    (episode,) = Run(folder).episodes()
    return list(episode.steps)


@given(step=taken)
def test_a_trace_gives_every_field_of_a_step_back(step: Step, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert _kept(tmp_path_factory.mktemp("run") / "r", step) == [step]


def _with(held: Any, number: float, name: str) -> Any:
    """``held`` with ``number`` in its field ``name``."""
    return held.replace(**{name: {"part": number} if name == "seconds" and isinstance(held, Decision) else number})


USAGE, OUTCOME = Usage(), Observation(text="")
HOLDERS: dict[type[Any], Callable[[Any], dict[str, Any]]] = {
    Hit: lambda hit: {"retrieved": (hit,)},
    Vote: lambda vote: {"votes": (vote,)},
    Citation: lambda cited: {"guidance": (cited,)},
    LaneChoice: lambda lane: {"lane": lane},
    Usage: lambda usage: {"reviews": (Review(attempt=0, approved=None, spend=(_spend(usage),)),)},
}
PARTS = (
    Hit(demo_id="d", start=0, length=1, best=0, score=0.0),
    Vote(actor="s", model="m", action=None),
    Citation(id="e"),
    LaneChoice(lane="l", reason="r"),
    USAGE,
)


def _spend(usage: Usage) -> Spend:
    return Spend(actor="s", model="m", usage=usage)


def _numbers(held: Any) -> list[str]:
    """The fields that hold numbers with a point."""
    return [name for name, kind in get_type_hints(type(held)).items() if "float" in str(kind) and name[0] != "_"]


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_has_no_word_for_is_kept_whatever_field_holds_it(number: float, tmp_path: Path) -> None:
    decision = Decision(action="a", actor="x", reason="r")
    step = Step(index=0, observation="o", decision=decision, outcome=OUTCOME, spend=(_spend(USAGE),), seconds=1.0)
    made = [_with(step, number, name) for name in _numbers(step)]
    made += [step.replace(outcome=_with(OUTCOME, number, name)) for name in _numbers(OUTCOME)]
    made += [step.replace(spend=(_spend(_with(USAGE, number, name)),)) for name in _numbers(USAGE)]
    made += [step.replace(decision=_with(decision, number, name)) for name in _numbers(decision)]
    made += [
        step.replace(decision=decision.replace(**HOLDERS[type(part)](_with(part, number, name))))
        for part in PARTS
        for name in _numbers(part)
    ]
    made.append(step.replace(decision=decision.replace(message={"deep": [{"er": number}]})))
    said = Message(role="user", content="c", sent={"weight": number})
    made.append(step.replace(decision=decision.replace(prompt=Prompt(history=(said,)))))
    assert len(made) >= 20
    for place, told in enumerate(made):
        (kept,) = _kept(tmp_path / f"run-{place}", told)
        assert str(kept) == str(told)


def test_numbers_and_texts_of_other_libraries_are_written_as_what_they_are(tmp_path: Path) -> None:
    vote = Vote(actor="s", model="m", action=np.str_("go"), logprob=np.float64(-0.5), chance=np.float32(0.5))  # type: ignore[arg-type]
    decision = Decision(action=np.str_("go"), actor="s", reason="r", votes=(vote,))
    outcome = Observation(text="o", score=np.float64(1.0))
    step = Step(index=0, observation="o", admissible=np.int64(3), decision=decision, outcome=outcome, seconds=0.1)  # type: ignore[arg-type]
    (kept,) = _kept(tmp_path / "run", step)
    assert (kept.decision.action, kept.admissible, kept.outcome.score) == ("go", 3, 1.0)
    assert (kept.decision.votes[0].logprob, kept.decision.votes[0].chance) == (-0.5, 0.5)


def test_windows_of_other_steps_are_written_as_themselves() -> None:
    """What is written is remembered by the steps themselves, and new ones may come to stand where others stood."""
    for number in range(200):
        steps = tuple(DemoStep(observation=f"o {number}", action=f"a {number}") for _ in range(2))
        window = Window(demo_id="d", task_id="t", goal="g", steps=steps)
        assert window.shown == window.replace(start=1).shown
        assert window.shown.count(f"o {number}\n") == 2 == window.transcript.count(f"> a {number}")
        assert window.replace(plan="p").shown != window.shown != window.replace(goal="h").shown
