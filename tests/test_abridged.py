"""The episode so far in a budget of tokens: what stays, that it stays, and who is told all."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas import Memory
from atlas.asking import Desk
from atlas.cli import main
from atlas.compression import ActionsFirst, Compressor, LearnedCompressor
from atlas.compression.history import NEWEST, told
from atlas.compression.pieces import LEFT_OUT, OF_ACTIONS, OF_PIECES, piece_tokens
from atlas.errors import ConfigError
from atlas.policies import Abridged, Cascade, Recall, Solo
from atlas.prompts import render, transcript
from atlas.records import CHAT, TRANSCRIPT, Form, Message, Task, Told, Turn, View
from atlas.testing import ScriptedModel
from tests.test_compression import by, demonstration

LONG = (
    "On the table there are a lamp, a rusty nail, a scrap of paper, a dead fly, a bit of string, a torn page, a pin, "
    "a burnt match, a loose button."
)


def episode(steps: int, *, seen: str = "", thought: str = "") -> View:
    turns = (
        Turn(action=f"open drawer {n}", observation=seen or f"Drawer {n} is open. It is empty.", thought=thought)
        for n in range(steps)
    )
    return View(task=Task(id="t", goal="find the lamp"), opening="You see 40 drawers.", turns=tuple(turns))


def at_each_step(view: View) -> list[View]:
    return [view.replace(turns=view.turns[:n]) for n in range(len(view.turns) + 1)]


def size(seen: Told) -> int:
    """Tokens of the text, counted once more."""
    turns = (f"> {t.action}\n{t.thought}\n{t.observation}" for t in seen.turns)
    return piece_tokens("\n".join([seen.opening, *turns]))


def test_all_of_it_is_told_while_it_fits() -> None:
    view = episode(20)
    assert told(view, 100_000) is None and told(view.replace(turns=()), 1) is None


def test_what_is_told_grows_from_cut_to_cut_and_stays_in_the_budget() -> None:
    budget, texts = 200, []
    for view in at_each_step(episode(60)):
        seen = told(view, budget)
        shown = view if seen is None else view.replace(told=seen)
        texts.append(transcript(render(shown, form=TRANSCRIPT)).removesuffix("\n>"))
        if seen is not None:
            assert size(seen) <= 1.1 * budget
            assert seen.turns[-NEWEST:] == view.turns[-NEWEST:] and seen.opening.startswith("You see 40 drawers.")
    cuts = [n for n, (before, after) in enumerate(pairwise(texts)) if not after.startswith(before)]
    assert cuts and all(later - sooner >= 5 for sooner, later in pairwise(cuts)), "a cache holds for many steps"


def test_something_is_left_out_and_it_says_so() -> None:
    view = episode(30)
    seen = told(view, 150)
    assert seen is not None and seen.opening == f"You see 40 drawers.\n{LEFT_OUT}"
    assert [turn.action for turn in seen.turns] == [turn.action for turn in view.turns[-len(seen.turns) :]]
    assert not any(LEFT_OUT in turn.observation for turn in seen.turns), "without a compressor the oldest goes"


def test_a_compressor_says_what_stays_and_clauses_of_what_was_long() -> None:
    turns = [
        Turn(action="look around", observation=LONG),
        *(Turn(action=f"wait {n}", observation="Nothing happens here at all, as before.") for n in range(12)),
        Turn(action="take the lamp", observation="You hold it."),
    ]
    view = View(task=Task(id="t", goal="find the lamp"), opening="A room.", turns=tuple(turns))
    of_actions = dict.fromkeys(OF_ACTIONS, 0.0) | {"goal": 1.0, "tokens": -0.01}
    of_pieces = dict.fromkeys(OF_PIECES, 0.0) | {"task": 1.0}
    cutter = LearnedCompressor(student="s", actions=tuple(of_actions.values()), pieces=tuple(of_pieces.values()))
    seen = told(view, 150, cutter)
    assert seen is not None and seen.turns[0].action == "look around"
    assert "a lamp" in seen.turns[0].observation and "a loose button" not in seen.turns[0].observation
    assert seen.turns[0].observation.endswith(f"\n{LEFT_OUT}") and LEFT_OUT not in seen.opening
    oldest = told(view, 150)
    assert oldest is not None and "look around" not in [turn.action for turn in oldest.turns]


@given(
    st.lists(st.tuples(st.text("ab, .\n\u4e2d", max_size=90), st.text("ab", max_size=9)), max_size=12),
    st.integers(1, 300),
    st.one_of(
        st.none(),
        st.just(ActionsFirst()),
        st.lists(st.floats(-1, 1), min_size=len(OF_ACTIONS), max_size=len(OF_ACTIONS)),
    ),
)
def test_nothing_is_made_up_and_what_is_out_stays_out(
    seen: list[tuple[str, str]], budget: int, by: list[float] | ActionsFirst | None
) -> None:
    turns = tuple(Turn(action=f"do {n}", observation=text, thought=why) for n, (text, why) in enumerate(seen))
    view = View(task=Task(id="t", goal="do all"), opening="Begin, a b.", turns=turns)
    cutter: Compressor | None = by if not isinstance(by, list) else None
    if isinstance(by, list):
        cutter = LearnedCompressor(student="s", actions=tuple(by), pieces=(1.0,) * len(OF_PIECES))
    gone: set[str] = set()
    for step in at_each_step(view):
        short = told(step, budget, cutter)
        actions = [turn.action for turn in (step.turns if short is None else short.turns)]
        assert not gone & set(actions), "what was left out stays out"
        gone = {turn.action for turn in step.turns} - set(actions)
        order = iter(step.turns)
        assert all(any(action == was.action for was in order) for action in actions), "in their order"
        assert [t.action for t in step.turns[-NEWEST:]] == actions[-NEWEST:][: len(step.turns)]
        assert short is None or short.turns[-1:] == step.turns[-1:]


@pytest.mark.parametrize("form", [CHAT, TRANSCRIPT])
def test_the_students_prompt_tells_it_and_the_rest_of_the_view_is_as_it_was(form: Form) -> None:
    view = episode(30)
    seen = told(view, 150)
    assert seen is not None
    short = view.replace(told=seen)
    assert short.index == 30 and short.moment == view.moment and short.history == view.history
    prompt, whole = render(short, form=form), render(view, form=form)
    assert len(prompt.history) == 1 + 2 * len(seen.turns) < len(whole.history)
    assert [m.role for m in prompt.history[:3]] == ["user", "assistant", "user"]
    assert prompt.history[-1] == whole.history[-1] and LEFT_OUT in prompt.history[0].content
    more = short.replace(turns=(*view.turns, Turn(action="x", observation="y")))
    assert more.told is None, "it is of the turns that it was made of"


def test_the_teacher_of_a_cascade_is_told_all() -> None:
    student, teacher = ScriptedModel(["Action: a", "Action: b", "Action: c"]), ScriptedModel(["Action: look"])
    policy = Abridged(Cascade(student, teacher), 150)
    decided = asyncio.run(policy.decide(episode(30), Desk()))
    assert decided.actor == "teacher"
    assert all(len(ask.prompt.history) < 61 for ask in student.asks)
    assert [len(ask.prompt.history) for ask in teacher.asks] == [61]


def test_it_goes_with_demonstrations_and_says_what_it_is(tmp_path: Path) -> None:
    model = ScriptedModel(["Action: look"])
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        memory.demonstrations.add_many([demonstration(0)])
        policy = Recall(Abridged(Solo(model), 150, by()), memory, 1, every="episode")
        asyncio.run(policy.decide(episode(30), Desk()))
    (ask,) = model.asks
    assert "take the cup" in ask.prompt.retrieved and len(ask.prompt.history) < 61
    assert policy.config()["inner"] == {
        "policy": "abridged",
        "tokens": 150,
        "compressor": by().digest,
        "inner": Solo(model).config(),
    }


def test_thoughts_count_and_go_with_their_action() -> None:
    view = episode(30, thought="I have to look into all of them, one after the other, until I find it.")
    seen, bare = told(view, 300), told(episode(30), 300)
    assert seen is not None and bare is not None and len(seen.turns) < len(bare.turns)
    assert size(seen) <= 330 and all(turn.thought for turn in seen.turns)


def test_what_a_wrapped_agent_sends_stays_as_it_is() -> None:
    model = ScriptedModel(["Action: look"])
    view = episode(30).replace(messages=(Message(role="user", content="my own history"),))
    asyncio.run(Abridged(Solo(model), 50).decide(view, Desk()))
    assert model.asks[0].prompt.history[0].content == "my own history"


@pytest.mark.parametrize("tokens", [0, -5])
def test_no_tokens_are_refused(tokens: int) -> None:
    with pytest.raises(ConfigError, match="1 token or more"):
        Abridged(Solo(ScriptedModel([])), tokens)


def test_who_reads_no_prompt_is_refused_before_anything_is_paid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = "bench alfworld --split homes --n 1 --demos 2 --embedder hash --arms icd --student nearest --history-to 600"
    with pytest.raises(SystemExit) as stop:
        main([*bench.split(), "-o", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "reads no prompt" in said and "demonstrations" not in said
    assert not (tmp_path / "run").exists()
