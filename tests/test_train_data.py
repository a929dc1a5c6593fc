"""What a student is trained on: trajectories and their tokens. No torch here."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import DataError
from atlas.records import Task, Turn, View
from atlas.traces.writer import RunWriter
from atlas.train.split import split
from atlas.train.trajectories import fingerprint, read
from atlas.trained.trajectory import Moment, Trajectory, from_view
from atlas.trained.vocabulary import (
    ACT,
    LONGEST,
    SEE,
    Reader,
    Vocabulary,
    encode,
    encode_reason,
    renaming,
    seen_words,
    words,
)
from tests.export_fixtures import write_steps


def trajectory(task: str = "t", **changes: object) -> Trajectory:
    moments = (
        Moment(observation="You see a mug 3 on the desk 2.", action="take mug 3 from desk 2", thought="I need it."),
        Moment(observation="You pick up the mug 3.", action="go to shelf 1"),
    )
    return Trajectory(**{"task": task, "goal": "put a mug in shelf", "success": True, "moments": moments, **changes})


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.of([trajectory()], thoughts=True, rare=1)


def test_the_loss_is_on_the_actions_and_on_their_ends(vocabulary: Vocabulary) -> None:
    reader = Reader(vocabulary)
    encoded = encode(trajectory(), reader)
    learnt = [t for t, w in zip(encoded.tokens, encoded.weights, strict=True) if w]
    first, second = (reader.written(m.action) for m in trajectory().moments)
    assert learnt == [*first, SEE, *second, SEE]


def test_a_step_of_weight_0_is_context(vocabulary: Vocabulary) -> None:
    reader = Reader(vocabulary)
    encoded = encode(trajectory().weighted([0.0, 1.0]), reader)
    learnt = [t for t, w in zip(encoded.tokens, encoded.weights, strict=True) if w]
    assert learnt == [*reader.written("go to shelf 1"), SEE]
    assert encoded.tokens == encode(trajectory(), Reader(vocabulary)).tokens


def test_what_is_played_is_read_as_it_was_trained(vocabulary: Vocabulary) -> None:
    whole = trajectory()
    view = View(
        task=Task(id="t", goal=whole.goal),
        opening=whole.moments[0].observation,
        turns=(Turn(action=whole.moments[0].action, observation=whole.moments[1].observation),),
    )
    prompt = encode(from_view(view), Reader(vocabulary)).tokens
    assert prompt[-1] == ACT
    assert encode(whole, Reader(vocabulary)).tokens[: len(prompt)] == prompt


def test_each_step_only_adds_tokens(vocabulary: Vocabulary) -> None:
    """Or the keys and values of the steps before would be of no use."""
    turns = tuple(Turn(action=f"open zork {i}", observation=f"There is a quux {i} in it.") for i in range(3))
    views = [View(task=Task(id="t", goal="find it"), opening="Here.", turns=turns[:i]) for i in range(4)]
    prompts = [encode(from_view(view), Reader(vocabulary)).tokens for view in views]
    assert all(b[: len(a)] == a for a, b in itertools.pairwise(prompts))


def test_a_new_word_is_one_placeholder_throughout_and_can_be_written(vocabulary: Vocabulary) -> None:
    reader = Reader(vocabulary)
    seen, written = reader.seen("You see a zork 77 on the desk 2."), reader.written("take zork 77 from desk 2")
    assert reader.text(written) == "take zork 77 from desk 2"
    assert written[1] in seen and written[2] in seen
    assert written[1] != written[2]


@given(st.text(max_size=60))
def test_an_action_is_kept_letter_by_letter(text: str) -> None:
    reader = Reader(Vocabulary(()))
    plain = " ".join("".join(words(text)).split())
    if len(set(words(text))) <= 32:
        assert reader.text(reader.written(text)) == plain


def test_an_action_with_marks_is_kept() -> None:
    text = "SELECT a_1, b FROM t WHERE x = 'y(z)';"
    assert "".join(words(text)).strip() == text


def test_of_an_observation_articles_and_marks_go_and_of_a_long_one_the_middle() -> None:
    assert "".join(seen_words("On the desk 1, you see a mug 2.")).strip() == "On desk 1 you see mug 2"
    long = seen_words(" ".join(f"w{i} {i}" for i in range(LONGEST)))
    assert len(long) == LONGEST
    assert long[0] == " w" and long[-1] == str(f" {LONGEST - 1}")


def test_renaming_is_consistent_and_leaves_the_rest(vocabulary: Vocabulary) -> None:
    reader = renaming(trajectory(), vocabulary, random.Random(0), 1.0)
    assert len(set(reader.renamed.values())) == len(reader.renamed)
    assert reader.text(reader.written("take mug 3 from desk 2")) == "take mug 3 from desk 2"
    plain = encode(trajectory(), Reader(vocabulary)).tokens
    renamed = encode(trajectory(), reader).tokens
    assert len(plain) == len(renamed) and plain != renamed


def test_a_thought_is_learnt_after_what_was_seen(vocabulary: Vocabulary) -> None:
    reader = Reader(vocabulary)
    encoded = encode_reason(trajectory(), 0, reader)
    learnt = [t for t, w in zip(encoded.tokens, encoded.weights, strict=True) if w]
    assert learnt == [*reader.written("I need it."), SEE]
    later = encode_reason(trajectory(), 1, reader)
    assert reader.written("take mug 3 from desk 2")[0] in later.tokens


def test_a_vocabulary_survives_its_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    (tmp_path / "v.json").write_text("{")
    with pytest.raises(DataError, match="train the student again"):
        Vocabulary.load(tmp_path / "v.json")


def test_no_task_is_on_both_sides_and_marks_are_kept() -> None:
    many = [trajectory(task=f"task {i // 2}") for i in range(400)]
    train, held = split(many)
    assert len(train) + len(held) == 400
    assert 0 < len(held) < 60
    assert not {t.task for t in train} & {t.task for t in held}
    marked = [trajectory(task=str(i), holdout=i == 3) for i in range(5)]
    assert [t.task for t in split(marked)[1]] == ["3"]


def test_the_hash_of_the_data_tells_any_change() -> None:
    assert fingerprint([trajectory()]) == fingerprint([trajectory()])
    assert fingerprint([trajectory()]) != fingerprint([trajectory().weighted([1.0, 0.0])])


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read([tmp_path / "nothing"])
    with pytest.raises(DataError, match="holds no rows"):
        read([tmp_path])


def test_random_routing_without_demonstrations_takes_the_share_of_the_cascade_without_them() -> None:
    from dataclasses import replace

    from atlas.benchmarks.arm import Cast, Stage
    from atlas.benchmarks.arms import build
    from atlas.benchmarks.options import BenchOptions
    from atlas.errors import ConfigError
    from atlas.models import load

    cast = Cast(student=load("nearest"), teacher=load("scripted:alfworld"))
    stage = Stage(cast, BenchOptions())
    assert build("random-route-nodemos", replace(stage, share=0.25)).config()["share"] == 0.25
    with pytest.raises(ConfigError, match="add the arm 'cascade-nodemos'"):
        build("random-route-nodemos", stage)


def rows_of(tmp_path: Path, **changes: tuple[object, ...]) -> Path:
    """A file of rows: one episode of three steps by a model that may be trained on, with some fields changed."""
    from atlas.export import Row
    from atlas.records import Message, Prompt

    lines = []
    for i in range(3):
        row = Row(
            id=f"r/e/{i}",
            run="r",
            episode="e",
            arm="teacher",
            seed=0,
            task="t",
            goal="g",
            index=i,
            observation="o",
            prompt=Prompt(),
            completion=Message(role="assistant", content="x"),
            action="go",
            actor="teacher",
            model="scripted-expert",
            reason="solo",
            success=True,
            permitted={"scripted-expert": "scripted"},
        )
        update = {name: values[i] for name, values in changes.items()}
        lines.append(row.model_copy(update=update).model_dump_json())
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_rows_become_whole_episodes_and_only_what_may_be_is_trained_on(tmp_path: Path) -> None:
    path = rows_of(
        tmp_path, context=("", "duplicate", ""), model=("scripted-expert", "scripted-expert", "openai/gpt-5")
    )
    (found,) = read([path])
    assert [m.weight for m in found.moments] == [1.0, 0.0, 0.0]
    (found,) = read([rows_of(tmp_path, last_attempt=(False, True, True))])
    assert len(found.moments) == 2
    with pytest.raises(DataError, match="name with --permitted"):
        read([rows_of(tmp_path, model=("openai/gpt-5",) * 3)])
    with pytest.raises(DataError, match="steps are missing of episode e"):
        read([rows_of(tmp_path, index=(0, 1, 3))])


def test_half_a_character_in_a_trace_is_replaced_before_it_is_learnt(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["look \ud83d"], seen="an odd \udc00 room")
    (found,) = read([tmp_path / "run"])
    assert (found.moments[0].observation, found.moments[0].action) == ("an odd \ufffd room 0", "look \ufffd")
    assert len(fingerprint([found])) == 16


# --- words without a space before them --------------------------------------------------------------------------------


def called(who: str = "Ada", order: str = "A17") -> Trajectory:
    moments = (
        Moment(observation=f"{who} writes.", action=f'find_order({{"customer": "{who}"}})'),
        Moment(observation=f'{{"order": "{order}"}}', action=f'track({{"order": "{order}", "days": 3}})'),
    )
    return Trajectory(task=who, goal=f"help {who}", success=True, moments=moments)


def test_a_word_is_the_same_token_in_a_goal_and_in_a_call() -> None:
    known, new = Vocabulary.of([called()], rare=1), Vocabulary.of([called(f"{n}") for n in range(30)])
    for vocabulary in (known, new):
        reader = Reader(vocabulary)
        (spaced,) = reader.written("Ada")
        call = reader.written('find_order({"customer": "Ada"})')
        assert spaced in call
        assert reader.text(call) == 'find_order({"customer": "Ada"})'
    assert Reader(new).number(" Ada") not in new.numbers.values(), "it is copied, whoever it is"


def test_what_is_new_in_an_observation_can_be_written_in_a_call() -> None:
    vocabulary = Vocabulary.of([called(f"{n}") for n in range(30)])
    reader = Reader(vocabulary)
    whole = called("Zoe", "B9")
    before = encode(whole.replace(moments=whole.moments[:1]), reader).tokens
    written = reader.written('find_order({"customer": "Zoe"})')
    assert set(written) <= set(before) | set(vocabulary.numbers.values())
    reader.seen('{"order": "B9"}')
    taken = set(reader.renamed)
    reader.written('track({"order": "B9"})')
    assert set(reader.renamed) == taken, "nothing in the call has to be guessed"


@given(st.text(alphabet=st.sampled_from("ab1_ \"'({[:,.-")))
def test_glued_words_are_written_back(text: str) -> None:
    vocabulary = Vocabulary.of([called()], rare=1)
    reader = Reader(vocabulary)
    assert reader.text(reader.written(text)) == " ".join(text.split())


def test_names_of_tools_are_not_taken_for_new_words() -> None:
    vocabulary = Vocabulary.of([called()], rare=1)
    renamed = {word for seed in range(40) for word in renaming(called(), vocabulary, random.Random(seed), 1.0).renamed}
    assert {" Ada", " A", " 17", " order"} == renamed


def test_games_have_the_tokens_that_they_had(vocabulary: Vocabulary) -> None:
    assert not vocabulary.glued and words("put a mug in/on shelf 1") == [
        " put",
        " a",
        " mug",
        " in",
        "/",
        "on",
        " shelf",
        " 1",
    ]
    assert Vocabulary.of([called()], rare=1).glued
