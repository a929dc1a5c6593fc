"""Demonstrations in fewer tokens: what stays, that a budget holds, and that what a student needs is learned."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas import Demonstration, Memory
from atlas.asking import Desk
from atlas.cli import main
from atlas.compression import (
    ActionsFirst,
    Compressor,
    LearnedCompressor,
    TokenClassifier,
    compressed,
    load_compressor,
)
from atlas.compression import learned as learned_module
from atlas.compression.learned import Answer, answer, learn, moments
from atlas.compression.pieces import LEFT_OUT, OF_ACTIONS, OF_PIECES, Stay, cut, features, pieces, to_the_end, tokens
from atlas.errors import ConfigError, DataError
from atlas.policies import Compressed, Recall, Solo
from atlas.records import Ask, DemoStep, Task, View, Window
from atlas.testing import ScriptedModel

THINGS = ("cup", "plate", "spoon", "lamp", "book", "towel", "vase", "knife", "apple", "mug", "key", "pen")
OTHERS = (
    "a dust cover, a loose nail, a scrap of paper, a dead fly, a bit of string, a torn page, a burnt match, a bent pin"
)


def demonstration(number: int) -> Demonstration:
    """Find a thing in a room with many others, and take it where it belongs."""
    thing, place = THINGS[number % len(THINGS)], f"shelf {number}"
    return Demonstration(
        task_id=f"task-{number}",
        goal=f"put a {thing} on the {place}",
        success=True,
        steps=(
            DemoStep(observation=f"You see a table, {OTHERS}. Nothing else is here.", action="go to the table"),
            DemoStep(
                observation=f"You are there. It holds {OTHERS}, a {thing}, more dust.", action=f"take the {thing}"
            ),
            DemoStep(observation=f"You hold it, with some dust. {OTHERS}.", action=f"put it on the {place}"),
        ),
    )


def by(actions: float = 1.0, **of_pieces: float) -> LearnedCompressor:
    """One that goes by these features of pieces, and by how an action is used later."""
    of_actions = dict.fromkeys(OF_ACTIONS, 0.0) | {"used later": actions}
    numbers = dict.fromkeys(OF_PIECES, 0.0) | of_pieces
    return LearnedCompressor(student="s", actions=tuple(of_actions.values()), pieces=tuple(numbers.values()))


def window(number: int = 0) -> Window:
    shown = demonstration(number)
    return Window(demo_id=shown.id, task_id=shown.task_id, goal=shown.goal, steps=shown.steps)


@given(st.text(alphabet="ab ,.;:!?\n\u00e9\u4e2d", max_size=200))
def test_pieces_are_the_whole_of_what_is_long(text: str) -> None:
    found = pieces(text)
    assert not found or ("".join(found) == text and all(found))


@given(
    st.lists(st.text(alphabet="ab, .\n\u4e2d", max_size=90), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
    st.integers(0, 5),
    st.one_of(
        st.none(),
        st.lists(
            st.floats(-1, 1), min_size=len(OF_ACTIONS) + len(OF_PIECES), max_size=len(OF_ACTIONS) + len(OF_PIECES)
        ),
    ),
)
def test_a_budget_holds_and_nothing_is_made_up(
    seen: list[str], keep: float, best: int, weights: list[float] | None
) -> None:
    steps = tuple(DemoStep(observation=text, action=f"do {n}") for n, text in enumerate(seen))
    best = min(best, len(steps) - 1)
    whole = Window(demo_id="d", task_id="t", goal="do all", steps=steps, best=best)
    cutter: Compressor = ActionsFirst()
    if weights is not None:
        cutter = LearnedCompressor(
            student="s", actions=tuple(weights[: len(OF_ACTIONS)]), pieces=tuple(weights[len(OF_ACTIONS) :])
        )
    short = compressed(whole, cutter, keep, "do it")
    none = tuple((False,) * len(pieces(s.observation, cutter.long)) for s in steps)
    least = cut(whole, Stay((False,) * len(steps), none), cutter.long)
    assert tokens(short) <= max(keep * tokens(whole) + len(steps), tokens(least))
    assert short.steps[short.best].action == steps[best].action and short.steps[-1].action == steps[-1].action
    order = iter(steps)
    assert all(any(step.action == was.action for was in order) for step in short.steps), "in their order"
    for step in short.steps:
        assert step.observation == LEFT_OUT or any(_within(step.observation, was.observation) for was in steps)


def test_all_that_was_done_stays_before_any_of_what_was_seen() -> None:
    whole, name = window(), load_compressor("actions")
    done = [step.action for step in whole.steps]
    short = compressed(whole, name, 0.33, "x")
    assert [step.action for step in short.steps] == done and tokens(short) <= 0.33 * tokens(whole)
    # What of it names what is done next goes last.
    assert "a cup" in short.steps[1].observation and "a dead fly" not in short.steps[1].observation
    least = compressed(whole, name, 0.155, "x")
    assert [step.action for step in least.steps] == done
    assert {step.observation for step in least.steps} == {LEFT_OUT}
    # Where not even they fit, the later ones stay.
    assert [step.action for step in compressed(to_the_end(whole), name, 0.12, "x").steps] == done[-2:]


def _within(short: str, text: str) -> bool:
    left = iter(text)
    return all(char in left for char in short)


def test_all_of_it_is_the_same_object() -> None:
    whole = window()
    assert compressed(whole, by(), 1.0, "x") is whole is cut(whole, Stay.whole(whole))


def test_an_action_is_seen_after_what_the_last_one_that_stays_brought_about() -> None:
    steps = tuple(DemoStep(observation=f"seen {n}", action=f"do {n}") for n in range(5))
    whole = Window(demo_id="d", task_id="t", goal="g", steps=steps, best=1)
    short = cut(whole, Stay((False, True, False, True, False), ((),) * 5))
    assert [(s.observation, s.action) for s in short.steps] == [
        ("seen 0", "do 1"),
        ("seen 2", "do 3"),
        ("seen 4", "do 4"),
    ]
    assert short.best == 0
    none = Stay((False,) * 5, ((),) * 5)
    assert [s.action for s in cut(whole, none).steps] == ["do 1", "do 4"]
    assert [s.action for s in cut(to_the_end(whole), none).steps] == ["do 4"]


def test_the_student_is_shown_less_the_same_at_all_steps_and_its_hits_are_told(tmp_path: Path) -> None:
    cutter = by(later=1.0)
    model = ScriptedModel(["Action: look"] * 4)
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        memory.demonstrations.add_many([demonstration(0)])
        policy = Recall(Compressed(Solo(model), cutter, 0.6), memory, 1, every="episode")
        view = View(task=Task(id="mine", goal="put a cup on the desk"), opening="You see a table.")
        decided = [asyncio.run(policy.decide(view, Desk())) for _ in range(2)]
    assert all(len(one.retrieved) == 1 and one.retrieved[0].length == 3 for one in decided)
    first, second = (ask.prompt.retrieved for ask in model.asks)
    assert first == second and "take the cup" in first and "put it on the shelf 0" in first
    assert len(first) < len(demonstration(0).model_dump_json())
    assert policy.config()["inner"] == {
        "policy": "compressed",
        "compressor": cutter.digest,
        "keep": 0.6,
        "inner": Solo(model).config(),
    }


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        Compressed(Solo(ScriptedModel([])), by(), keep)


# --- what is learned --------------------------------------------------------------------------------------------------


def needy(ask: Ask) -> str:
    """Knows what to take only where the demonstration still says what was there to be taken."""
    view = ask.view
    thing, place = view.task.goal.removeprefix("put a ").split(" on the ")
    (shown,) = view.retrieved
    theirs = shown.goal.removeprefix("put a ").split(" on the ")[0]
    right = ("go to the table", f"take the {thing}", f"put it on the {place}")[view.index]
    known = any(theirs in step.observation for step in shown.steps)
    return f"Action: {right}" if known or view.index != 1 else "Action: wait"


OWN = """
from atlas.testing import ScriptedModel
from tests.test_compression import needy


def student():
    return ScriptedModel(needy, name="needy")
"""


def filled(path: Path) -> Memory:
    memory = Memory(path, "hash")
    memory.demonstrations.add_many([demonstration(number) for number in range(12)])
    return memory


async def learned(memory: Memory, student: ScriptedModel) -> LearnedCompressor:
    known = [(Task(id=d.task_id, goal=d.goal), d.steps) for d in memory.demonstrations.all()]
    found = moments(known, memory.demonstrations, 12)
    rows = [await answer(student, found[n], n, part, 0, 2) for n in range(len(found)) for part in range(10)]
    return learn(found, rows, "needy")


async def test_what_the_student_needs_is_learned_and_stays(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory:
        made = await learned(memory, ScriptedModel(needy))
        assert made.explained is not None and made.explained > 0.1 and made.states == 12 and made.asked == 120
        again = await learned(memory, ScriptedModel(needy))
    assert again == made, "the same answers, the same file"
    for number in range(6):
        whole = to_the_end(window(number))
        short = compressed(whole, made, 0.6, "put a brush on the shelf")
        assert any(THINGS[number] in step.observation for step in short.steps)
        assert tokens(short) <= 0.62 * tokens(whole)


async def test_a_moment_offers_what_was_done_and_its_demonstration_is_of_another_task(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory:
        known = [(Task(id=d.task_id, goal=d.goal), d.steps) for d in memory.demonstrations.all()]
        found = moments(known, memory.demonstrations, 5)
    assert len(found) == 5 and {moment.view.index for moment in found} == {0, 1, 2}
    for moment in found:
        assert moment.action in moment.view.admissible and moment.window.task_id != moment.view.task.id
        assert set(step.action for step in moment.window.steps) <= set(moment.view.admissible)


async def test_what_teaches_nothing_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "m.sqlite") as memory, pytest.raises(ConfigError, match="never changed"):
        await learned(memory, ScriptedModel("Action: wait"))
    with pytest.raises(ConfigError, match="8 states or more"):
        learn([], [Answer(0, 0, 1.0)], "s")


def test_features_say_what_a_part_has_to_do_with_the_actions() -> None:
    of_actions, of_pieces = features(window().steps, window().goal, "put a cup on a desk")
    rows = {
        piece: dict(zip(OF_PIECES, row, strict=True))
        for step, of in zip(window().steps, of_pieces, strict=True)
        for piece, row in zip(pieces(step.observation), of, strict=True)
    }
    assert rows["a cup, "]["next"] > 0.3 > rows["a loose nail, "]["next"] == 0.0
    assert rows["You see a table, "]["opening"] == 1.0 == rows["You see a table, "]["first"]
    assert rows["a cup, "]["opening"] == 0.0 < rows["a cup, "]["task"] and rows["a scrap of paper, "]["repeats"] == 1.0
    first, second, last = (dict(zip(OF_ACTIONS, row, strict=True)) for row in of_actions)
    assert first["place"] == 0.0 and last["place"] == 1.0 and last["shows"] == 0.0 and first["shows"] > 0.3
    assert second["goal"] > 0.0 == second["repeats"]


# --- files and commands -----------------------------------------------------------------------------------------------


def test_the_command_learns_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path / "m.sqlite").close()
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    call = ["memory", "compressor", "m.sqlite", "--student", "python:own.py:student", "--states", "12", "--parts", "8"]
    call += ["--embedder", "hash"]
    main([*call, "-o", "c.json", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(Path("c.json").read_text()) and told["student"] == "python:own.py:student"
    assert load_compressor("c.json") == LearnedCompressor.load("c.json")
    assert not Path("c.json.answers.jsonl").exists()


def test_a_killed_command_goes_on_with_the_answers_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path / "m.sqlite").close()
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    call = ["memory", "compressor", "m.sqlite", "--student", "python:own.py:student", "--states", "12", "--parts", "4"]
    call += ["--embedder", "hash"]
    counted: list[Answer] = []

    async def dies(*asked: Any) -> Answer:
        if len(counted) == 20:
            raise KeyboardInterrupt
        counted.append(await answer(*asked))
        return counted[-1]

    monkeypatch.setattr(learned_module, "answer", dies)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        main([*call, "-o", "c.json"])
    kept = Path("c.json.answers.jsonl")
    kept.write_text(kept.read_text() + '{"key": "cut')
    assert len(kept.read_text().splitlines()) == 21
    counted.clear()
    counted.extend([Answer(0, 0, 0.0)] * 21)
    main([*call, "-o", "c.json", "--json"])
    assert len(counted) == 21 + 48 - 20
    first = LearnedCompressor.load("c.json")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    main([*call, "-o", "again.json", "--json"])
    assert LearnedCompressor.load("again.json") == first


def test_what_is_no_compressor_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match="holds no compressor"):
        load_compressor(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="there is no compressor"):
        load_compressor(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="holds no token classifier"):
        load_compressor(tmp_path)
    filled(tmp_path / "m.sqlite").close()
    with pytest.raises(SystemExit) as stop:
        main(
            ["memory", "compressor", str(tmp_path / "m.sqlite"), "--student", "nearest", "-o", str(tmp_path / "c.json")]
        )
    assert stop.value.code == 2 and "reads no prompt" in capsys.readouterr().err


def test_a_bench_is_played_with_it_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by().save(tmp_path / "c.json")
    call = ["bench", "alfworld", "--split", "homes", "--n", "1", "--demos", "3", "--arms", "icd", "--embedder", "hash"]
    with pytest.raises(SystemExit) as stop:
        main([*call, "--compress", str(tmp_path / "c.json"), "-o", str(tmp_path / "run")])
    assert stop.value.code == 2 and "reads no prompt" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*call, "--compress-to", "0.5", "-o", str(tmp_path / "run")])
    assert stop.value.code == 2 and "--compress-to is for --compress" in capsys.readouterr().err


@pytest.mark.torch
def test_a_token_classifier_in_a_folder_says_what_stays(tmp_path: Path) -> None:
    """A random one, of the shape that LLMLingua-2's have: that its figures are means over the tokens of each piece."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "see", "a", "cup", ",", "."])
    )
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2,
        max_position_embeddings=24,
    )  # fmt: skip
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path)
    cutter = load_compressor(tmp_path)
    assert isinstance(cutter, TokenClassifier) and cutter.digest == TokenClassifier(tmp_path).digest
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path)
    assert TokenClassifier(tmp_path).digest != cutter.digest, "of the same shape, and another"
    steps = (
        DemoStep(observation="you see a cup, a cup. you see.", action="take a cup"),
        DemoStep(observation="", action="wait"),
        DemoStep(observation="a cup, " * 30, action="stop"),
    )
    whole = Window(demo_id="d", task_id="t", goal="g", steps=steps)
    worth = cutter.worth(whole, "x")
    assert [len(row) for row in worth.pieces] == [0, 0, 30] and all(0 < one < 1 for one in worth.actions)
    assert worth.pieces[2][-1] == 0.0 < worth.pieces[2][0], "beyond what it reads"
    assert tokens(compressed(whole, cutter, 0.5, "x")) <= 0.5 * tokens(whole) + 3
