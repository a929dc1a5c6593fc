"""Guidance in what a student reads: the same tokens while it trains and while it plays."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from atlas.actions import TextActions
from atlas.models.nearest import Nearest
from atlas.policies.consult import consult
from atlas.prompts import guidance_part, render
from atlas.protocols import ReadsView
from atlas.records import STUDENT, TEACHER, Ask, Guidance, Task, Turn, View
from atlas.train.trajectories import Moment, Trajectory, from_view
from atlas.train.vocabulary import ACT, LONGEST, NOTE, SEE, Reader, Vocabulary, encode, encode_guided, prompt
from tests.train_fixtures import errand, trained


def entry(i: int, **changes: Any) -> Guidance:
    said = {"cue": f"you need a fork {i}", "action": "look at a drawer", "pattern": ("go to {drawer}",)}
    return Guidance(id=f"274b4c7686a{i}", **{**said, **changes})


SHOWN = ((entry(1), entry(2)), (entry(2),), (), (entry(2, cue="you see a zork"),))
"""What is shown at each step: it changes, goes and comes back."""
SEEN = ("You see a drawer 1 and a quux 7.", "It is closed.", "In it is a fork 2.", "You take the zork 3.")
DONE = ("go to drawer 1", "open drawer 1", "take fork 2 from drawer 1", "put fork 2 in quux 7")


def noted() -> Trajectory:
    """As the trainer has it: with the text that each prompt held."""
    moments = tuple(
        Moment(observation=o, action=a, guidance=guidance_part(g)) for o, a, g in zip(SEEN, DONE, SHOWN, strict=True)
    )
    return Trajectory(task="t", goal="put a fork in the quux", success=True, moments=moments)


def view(step: int) -> View:
    """As the student has it at a step: only the guidance of that step."""
    turns = tuple(Turn(action=a, observation=o) for a, o in zip(DONE[:step], SEEN[1:], strict=False))
    return View(task=Task(id="t", goal="put a fork in the quux"), opening=SEEN[0], turns=turns, guidance=SHOWN[step])


@pytest.fixture
def vocabulary() -> Vocabulary:
    """It knows the words of entries and most of the episode's, and of the ids none."""
    known = [Moment(observation="You see fork drawer closed put need look at it is in", action="go to open take from")]
    return Vocabulary.of([Trajectory(task="t", goal="a 1 2 3", moments=tuple(known))], rare=1)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_step_is_read_while_it_is_played_as_it_was_trained(vocabulary: Vocabulary) -> None:
    trained_on = encode_guided(noted(), Reader(vocabulary))
    assert len(trained_on.branches) == len(SHOWN)
    for step, branch in enumerate(trained_on.branches):
        reader = Reader(vocabulary)
        played = prompt(from_view(view(step)), reader, guided=True)
        action = [*reader.written(DONE[step]), SEE]
        assert trained_on.tokens[: branch.after] + branch.tokens == played + action
        assert [t for t, w in zip(branch.tokens, branch.weights, strict=True) if w] == action
    assert [branch.tokens.count(NOTE) for branch in trained_on.branches] == [2, 1, 0, 1]


def test_without_guidance_the_same_is_learnt_and_nothing_of_it_read(vocabulary: Vocabulary) -> None:
    plain, guided = encode(noted(), Reader(vocabulary)), encode_guided(noted(), Reader(vocabulary))
    learnt = [t for t, w in zip(plain.tokens, plain.weights, strict=True) if w]
    assert learnt == [t for b in guided.branches for t, w in zip(b.tokens, b.weights, strict=True) if w]
    assert NOTE not in plain.tokens
    assert plain.tokens == [*guided.tokens, SEE], "what stands before a branch is the same"
    skipped = noted().weighted([0.0, 1.0, 0.0, 1.0])
    assert len(encode_guided(skipped, Reader(vocabulary)).branches) == 2


def test_each_step_shares_with_the_next_all_but_its_notes(vocabulary: Vocabulary) -> None:
    """Or keys and values of the steps before would be of no use."""
    prompts = [prompt(from_view(view(i)), Reader(vocabulary), guided=True) for i in range(4)]
    for step, (before, after) in enumerate(pairwise(prompts)):
        notes = Reader(vocabulary).notes(guidance_part(SHOWN[step]))
        shared = len(before) - len(notes) - 1
        assert before[:shared] == after[:shared] and after[shared] == ACT


def test_notes_are_short_and_take_no_placeholder(vocabulary: Vocabulary) -> None:
    reader = Reader(vocabulary)
    many = guidance_part([entry(i % 9, action="unheard of words " + "look at drawer " * 9) for i in range(30)])
    tokens = reader.notes(many)
    assert len(tokens) == LONGEST and tokens[0] == NOTE
    assert not reader.renamed, "neither ids nor new words"
    reader.seen("You see a zork.")
    assert reader.renamed[" zork"] in reader.notes(guidance_part(SHOWN[3])), "a word that was met is the same in a note"
    assert reader.notes("") == []
    assert len(reader.notes("When you need a fork: look at it.")) == 6, "guidance of another form is one note a line"


# --- the trace --------------------------------------------------------------------------------------------------------


def test_a_trace_holds_the_guidance_that_a_local_student_read_and_no_more() -> None:
    shown = view(0).replace(guidance=(*SHOWN[0], entry(3, audience=TEACHER)))
    asked = asyncio.run(consult(Nearest(), shown, actor=STUDENT, actions=TextActions()))
    assert asked.prompt.guidance == guidance_part(SHOWN[0])
    assert asked.prompt.guidance == from_view(view(0)).moments[-1].guidance, "the text that training will see"

    class Deaf(Nearest):
        reads_guidance = False

    assert asyncio.run(consult(Deaf(), shown, actor=STUDENT, actions=TextActions())).prompt.guidance == ""
    assert not ReadsView.reads_guidance


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_thread() -> None:
    pytest.importorskip("torch", reason="needs the extra train").set_num_threads(1)


def hinted(i: int) -> Trajectory:
    """Two steps whose goal says nothing: only the guidance of each names what to do there."""
    plain = errand(i)
    thing = plain.goal.split()[-1]
    notes = [entry(1, cue=f"you see a {thing}", action="take it"), entry(2, cue="it is taken", action="stop")]
    moments = tuple(
        m.model_copy(update={"guidance": guidance_part([note])}) for m, note in zip(plain.moments, notes, strict=True)
    )
    return plain.model_copy(update={"goal": "do it", "moments": moments})


def question(trajectory: Trajectory, shown: tuple[Guidance, ...], step: int = 0) -> Ask:
    first, second = trajectory.moments
    turns = (Turn(action=first.action, observation=second.observation),)[:step]
    task = Task(id=trajectory.task, goal=trajectory.goal)
    listed = tuple(f"take {t} {n} from {p} {m}" for t in ("mug", "fork", "apple", "book") for n in range(1, 7)
                   for p in ("desk", "shelf", "drawer", "bed") for m in (1, 2, 3))  # fmt: skip
    asked = View(task=task, opening=first.observation, turns=turns, admissible=(*listed, "stop"), guidance=shown)
    return Ask(view=asked, prompt=render(asked, list_actions=False))


@pytest.fixture(scope="module")
def reader(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from atlas.train.guided import Internalise

    recipe = Internalise(alpha=1.0, beta=0.0)
    return trained(tmp_path_factory.mktemp("reads"), recipe, [hinted(i) for i in range(300)], epochs=30)


@pytest.mark.torch
def test_a_branch_scores_as_the_sequence_it_stands_for(reader: Any) -> None:
    import torch

    from atlas.train.vocabulary import Encoded

    batch = [reader.base.encode(hinted(i), guided=True)[0] for i in (5, 6, 7)]
    whole = [
        Encoded(item.tokens[: b.after] + b.tokens, [0.0] * b.after + b.weights) for item in batch for b in item.branches
    ]
    with torch.no_grad():
        together, alone = reader.base.scores(batch), reader.base.scores(whole)
    assert torch.equal(together.targets, alone.targets)
    assert together.owners.unique().tolist() == [0, 1, 2]
    assert (together.logits - alone.logits).abs().max() < 0.1, "but for half precision"


@pytest.mark.torch
def test_a_student_that_was_trained_with_guidance_reads_it_and_others_do_not(reader: Any) -> None:
    from atlas.models import load

    student = load(f"scratch:{reader.out}")
    assert student.reads_guidance
    right = other = 0
    for i in range(2000, 2020):
        task = hinted(i)
        names = [m.action.split()[1] for m in (errand(i).moments[0], errand(i, success=False).moments[0])]
        for name in names:
            note = entry(1, cue=f"you see a {name}", action="take it")
            said = asyncio.run(student.sample(question(task, (note,)))).replies[0].text
            right += said.split()[2] == name
        other += asyncio.run(student.sample(question(task, ()))).replies[0].text.split()[2] == names[0]
    assert right >= 34, f"{right} of 40 follow the note, whichever thing it names"
    assert other <= 17, "without a note it has to guess"


@pytest.mark.torch
def test_what_was_read_beside_other_notes_is_not_used_again(reader: Any) -> None:
    from atlas.models import load

    def fresh() -> Any:
        return load(f"scratch:{reader.out}")

    warm, task = fresh(), hinted(3000)
    asks = [question(task, (entry(1, cue=f"you see a {name}", action="take it"),)) for name in ("mug", "fork", "book")]
    asks += [question(task, ()), question(task, (entry(2, cue="it is taken", action="stop"),), step=1)]
    for ask in (*asks, asks[0]):
        got, cold = (asyncio.run(model.sample(ask)).replies[0] for model in (warm, fresh()))
        assert got.text == cold.text
        assert got.logprob == pytest.approx(cold.logprob, abs=1e-4)
    assert asyncio.run(warm.sample(asks[-1])).usage.cached_tokens > 0


@pytest.mark.torch
def test_the_flag_stands_beside_the_weights(one_thread: None, tmp_path: Path) -> None:
    from atlas.models import load
    from atlas.train.guided import Internalise, OnPolicy

    data = [hinted(i) for i in range(20)]
    for name, recipe, reads in (
        ("plain", None, False),
        ("no-alpha", Internalise(alpha=0.0), False),
        ("own", OnPolicy(), True),
    ):
        out = trained(tmp_path / name, recipe, data, epochs=1).out
        assert load(f"scratch:{out}").reads_guidance is reads
    plain = load(f"scratch:{tmp_path / 'plain' / 'student'}")
    asks = [question(data[0], shown) for shown in ((), (entry(1),))]
    replies = [asyncio.run(plain.sample(ask)).replies for ask in asks]
    assert replies[0] == replies[1]
