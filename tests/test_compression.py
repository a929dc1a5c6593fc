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
from atlas.compression import LearnedCompressor, TokenClassifier, compressed, load_compressor
from atlas.compression import learned as learned_module
from atlas.compression.learned import Answer, answer, learn, moments
from atlas.compression.pieces import FEATURES, LEFT_OUT, cut, features, pieces, tokens
from atlas.errors import ConfigError, DataError
from atlas.policies import Compressed, Recall, Solo
from atlas.records import Ask, DemoStep, Task, View, Window
from atlas.testing import ScriptedModel

THINGS = ("cup", "plate", "spoon", "lamp", "book", "towel", "vase", "knife", "apple", "mug", "key", "pen")
OTHERS = "a dust cover, a loose nail, a scrap of paper, a dead fly, a bit of string"


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


def window(number: int = 0) -> Window:
    shown = demonstration(number)
    return Window(demo_id=shown.id, task_id=shown.task_id, goal=shown.goal, steps=shown.steps)


@given(st.text(alphabet="ab ,.;:!?\n\u00e9\u4e2d", max_size=80))
def test_pieces_are_the_whole(text: str) -> None:
    assert "".join(pieces(text)) == text and all(pieces(text))


@given(
    st.lists(st.text(alphabet="ab, .\n", max_size=60), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
    st.lists(st.floats(-1, 1), min_size=len(FEATURES), max_size=len(FEATURES)),
)
def test_a_budget_holds_and_actions_stay(seen: list[str], keep: float, weights: list[float]) -> None:
    steps = tuple(DemoStep(observation=text, action=f"do {n}") for n, text in enumerate(seen))
    whole = Window(demo_id="d", task_id="t", goal="do all", steps=steps)
    short = compressed(whole, LearnedCompressor(student="s", weights=tuple(weights)), keep, "do it")
    assert [step.action for step in short.steps] == [step.action for step in steps]
    flags = [[False] * len(pieces(step.observation)) for step in steps]
    assert tokens(short) <= max(keep * tokens(whole) + len(steps), tokens(cut(whole, flags)))
    for step, was in zip(short.steps, steps, strict=True):
        left = iter(was.observation)
        assert step.observation == LEFT_OUT or all(char in left for char in step.observation), "nothing is made up"


def test_all_of_it_is_the_same_object() -> None:
    whole = window()
    assert compressed(whole, LearnedCompressor(student="s", weights=(1.0,) * len(FEATURES)), 1.0, "x") is whole
    everything = cut(whole, [[True] * len(pieces(step.observation)) for step in whole.steps])
    assert all(a is b for a, b in zip(everything.steps, whole.steps, strict=True))


def test_the_student_is_shown_less_the_same_at_all_steps_and_its_hits_are_told(tmp_path: Path) -> None:
    needs = dict.fromkeys(FEATURES, 0.0) | {"next": 1.0}
    cutter = LearnedCompressor(student="s", weights=tuple(needs.values()))
    model = ScriptedModel(["Action: look"] * 4)
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        memory.demonstrations.add_many([demonstration(0)])
        policy = Recall(Compressed(Solo(model), cutter, 0.5), memory, 1, every="episode")
        view = View(task=Task(id="mine", goal="put a cup on the desk"), opening="You see a table.")
        decided = [asyncio.run(policy.decide(view, Desk())) for _ in range(2)]
    assert all(len(one.retrieved) == 1 for one in decided)
    first, second = (ask.prompt.retrieved for ask in model.asks)
    assert first == second and "It holds" not in first and "a cup" in first
    assert policy.config()["inner"] == {
        "policy": "compressed",
        "compressor": cutter.digest,
        "keep": 0.5,
        "inner": Solo(model).config(),
    }


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        Compressed(Solo(ScriptedModel([])), LearnedCompressor(student="s", weights=(0.0,) * len(FEATURES)), keep)


# --- what is learned --------------------------------------------------------------------------------------------------


def needy(ask: Ask) -> str:
    """Knows what to take only where the demonstration still says what was there to be taken."""
    view = ask.view
    thing, place = view.task.goal.removeprefix("put a ").split(" on the ")
    (shown,) = view.retrieved
    theirs = shown.goal.removeprefix("put a ").split(" on the ")[0]
    right = ("go to the table", f"take the {thing}", f"put it on the {place}")[view.index]
    return "Action: wait" if view.index == 1 and theirs not in shown.steps[1].observation else f"Action: {right}"


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
        short = compressed(window(number), made, 0.55, "put a brush on the shelf")
        assert f"a {THINGS[number]}" in short.steps[1].observation
        assert tokens(short) <= 0.6 * tokens(window(number)) < tokens(window(number))


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


def test_features_say_what_a_piece_has_to_do_with_the_actions() -> None:
    table = features(window().steps, 0, window().goal, "put a cup on a desk")
    rows = {piece: dict(zip(FEATURES, row, strict=True)) for step, of in zip(window().steps, table, strict=True)
            for piece, row in zip(pieces(step.observation), of, strict=True)}  # fmt: skip
    assert rows["a cup, "]["next"] == 1.0 and rows["a loose nail, "]["next"] == 0.0
    assert rows["You see a table, "]["opening"] == 1.0 == rows["You see a table, "]["first"]
    assert rows["You are there. "]["same action"] == 0.0 and rows["a cup, "]["task"] > 0


# --- files and commands -----------------------------------------------------------------------------------------------


def test_the_command_learns_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path / "m.sqlite").close()
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    call = ["memory", "compressor", "m.sqlite", "--student", "python:own.py:student", "--states", "12", "--parts", "8"]
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
    LearnedCompressor(student="s", weights=(1.0,) * len(FEATURES)).save(tmp_path / "c.json")
    call = ["bench", "alfworld", "--split", "homes", "--n", "1", "--demos", "3", "--arms", "icd", "--embedder", "hash"]
    with pytest.raises(SystemExit) as stop:
        main([*call, "--compress", str(tmp_path / "c.json"), "-o", str(tmp_path / "run")])
    assert stop.value.code == 2 and "reads no prompt" in capsys.readouterr().err


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
    steps = (
        DemoStep(observation="you see a cup, a cup. you see.", action="take a cup"),
        DemoStep(observation="", action="wait"),
        DemoStep(observation="a cup, " * 30, action="stop"),
    )
    whole = Window(demo_id="d", task_id="t", goal="g", steps=steps)
    worth = cutter.worth(whole, "x")
    assert [len(row) for row in worth] == [3, 0, 30] and all(0 < one < 1 for one in worth[0])
    assert worth[2][-1] == 0.0, "beyond what it reads"
    assert tokens(compressed(whole, cutter, 0.5, "x")) <= 0.5 * tokens(whole) + 3
