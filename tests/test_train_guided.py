"""Guidance in what a student reads: the same tokens while it trains and while it plays."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.models.nearest import Nearest
from atlas.prompts import guidance_part, render
from atlas.protocols import ReadsView
from atlas.records import STUDENT, TEACHER, Ask, Guidance, Task, Turn, View
from atlas.train.trajectories import Moment, Trajectory, from_view
from atlas.train.vocabulary import ACT, LONGEST, NOTE, SEE, Reader, Vocabulary, encode, encode_guided, prompt
from tests.train_fixtures import THINGS, trained


def said(student: Any, ask: Ask) -> str:
    return str(asyncio.run(student.sample(ask)).replies[0].text)


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


def test_a_word_that_is_renamed_stands_in_notes_once_it_was_met(vocabulary: Vocabulary) -> None:
    """As a new word does when it is played."""
    reader = Reader(vocabulary, {" drawer": 9})
    note = guidance_part([entry(1)])
    assert 9 not in reader.notes(note)
    reader.seen("You see a drawer.")
    assert 9 in reader.notes(note)


# --- the trace --------------------------------------------------------------------------------------------------------


def test_a_trace_holds_the_guidance_that_a_local_student_read_and_no_more() -> None:
    shown = view(0).replace(guidance=(*SHOWN[0], entry(3, audience=TEACHER)))
    asked = asyncio.run(Desk().ask(Nearest(), shown, actor=STUDENT, actions=TextActions()))
    assert asked.prompt.guidance == guidance_part(SHOWN[0])
    assert asked.prompt.guidance == from_view(view(0)).moments[-1].guidance, "the text that training will see"

    class Deaf(Nearest):
        reads_guidance = False

    assert asyncio.run(Desk().ask(Deaf(), shown, actor=STUDENT, actions=TextActions())).prompt.guidance == ""
    assert not ReadsView.reads_guidance


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_thread() -> None:
    pytest.importorskip("torch", reason="needs the extra train").set_num_threads(1)


def entry_of(thing: str) -> Guidance:
    return entry(1, cue="you see things", action=f"take the {thing}", pattern=())


STOP = entry(2, cue="it is taken", action="stop", pattern=())


def hinted(i: int) -> Trajectory:
    """Two steps of which nothing tells what to do but the guidance of each."""
    thing = THINGS[i % len(THINGS)]
    seen, done, notes = ("Things.", "Taken."), (f"take {thing}", "stop"), (entry_of(thing), STOP)
    moments = tuple(
        Moment(observation=o, action=a, guidance=guidance_part([note]))
        for o, a, note in zip(seen, done, notes, strict=True)
    )
    return Trajectory(task=f"hinted {i}", goal="do it", success=True, moments=moments)


def question(trajectory: Trajectory, shown: tuple[Guidance, ...], step: int = 0) -> Ask:
    first, second = trajectory.moments
    turns = (Turn(action=first.action, observation=second.observation),)[:step]
    task = Task(id=trajectory.task, goal=trajectory.goal)
    listed = (*(f"take {thing}" for thing in THINGS), "stop")
    asked = View(task=task, opening=first.observation, turns=turns, admissible=listed, guidance=shown)
    return Ask(view=asked, prompt=render(asked, list_actions=False))


def fitted(recipe: Any, base: Any, data: Sequence[Trajectory], steps: int) -> Any:
    """``base`` after some steps of the recipe's loss on all of ``data``, without what the trainer does beside."""
    recipe.begin(base)
    items = recipe.examples(base, data, random.Random(0))
    optimizers = base.optimizers(1e-2)
    for _ in range(steps):
        base.net.zero_grad()
        recipe.loss(base, items, 0.0).backward()
        for optimizer in optimizers:
            optimizer.step()
    return base


@pytest.fixture(scope="module")
def reader(one_thread: None) -> Any:
    """A base that learnt to read notes."""
    from atlas.train.guided import Internalise
    from atlas.train.scratch import ScratchBase

    data = [hinted(i) for i in range(8)]
    return fitted(Internalise(alpha=1.0, beta=0.0), ScratchBase.new("tiny", data), data[:4], 120)


@pytest.fixture
def student(reader: Any, tmp_path: Path) -> Any:
    from atlas.models import load

    reader.save(tmp_path / "s", {"training": {"recipe": "internalise", "reads_guidance": True}})
    return load(f"scratch:{tmp_path / 's'}")


@pytest.mark.torch
def test_a_branch_scores_as_the_sequence_it_stands_for(reader: Any) -> None:
    import torch

    from atlas.train.vocabulary import Encoded

    batch = [reader.encode(hinted(i), guided=True)[0] for i in (5, 6, 7)]
    whole = [
        Encoded(item.tokens[: b.after] + b.tokens, [0.0] * b.after + b.weights) for item in batch for b in item.branches
    ]
    with torch.no_grad():
        together, alone = reader.scores(batch), reader.scores(whole)
    assert torch.equal(together.targets, alone.targets)
    assert together.owners.unique().tolist() == [0, 1, 2]
    assert (together.logits - alone.logits).abs().max() < 0.1, "but for half precision"


@pytest.mark.torch
def test_a_student_that_was_trained_with_guidance_follows_it(student: Any) -> None:
    for i, thing in enumerate(THINGS):
        task = hinted(i + 1)
        assert said(student, question(task, (entry_of(thing),))) == f"Action: take {thing}"
        assert said(student, question(task, (STOP,), step=1)) == "Action: stop"
    assert len({said(student, question(hinted(i), ())) for i in range(4)}) == 1, "without a note it cannot know"


@pytest.mark.torch
def test_what_was_read_beside_other_notes_is_not_used_again(reader: Any, student: Any) -> None:
    from atlas.models.scratch import Scratch

    task = hinted(0)
    asks = [question(task, (entry_of(thing),)) for thing in THINGS]
    asks += [question(task, ()), question(task, (STOP,), step=1), asks[0]]
    for ask in asks:
        cold = Scratch.of(reader.net, reader.vocabulary)
        cold.reads_guidance = True
        got, fresh = (asyncio.run(model.sample(ask)).replies[0] for model in (student, cold))
        assert got.text == fresh.text
        assert got.logprob == pytest.approx(fresh.logprob, abs=1e-4)
    assert asyncio.run(student.sample(asks[-2])).usage.cached_tokens > 0


@pytest.mark.torch
def test_who_was_not_trained_with_guidance_does_not_read_it(one_thread: None, tmp_path: Path) -> None:
    from atlas.models import load
    from atlas.train.guided import Internalise, OnPolicy

    data = [hinted(i) for i in range(20)]
    for recipe, reads in ((None, False), (Internalise(alpha=0.0), False), (Internalise(), True), (OnPolicy(), True)):
        assert load(f"scratch:{trained(tmp_path, recipe, data, epochs=1).out}").reads_guidance is reads
    plain = load(f"scratch:{trained(tmp_path, None, data, epochs=1).out}")
    without, withit = (asyncio.run(plain.sample(question(data[0], shown))) for shown in ((), (STOP,)))
    assert without.replies == withit.replies
    assert without.usage.prompt_tokens == withit.usage.prompt_tokens


@pytest.mark.torch
def test_without_alpha_and_beta_it_is_plain_training(reader: Any) -> None:
    """Context, renamed words and all: so that only what guidance adds is compared."""
    import torch

    from atlas.train.guided import Internalise
    from atlas.train.recipes import SftSuccess

    recipe, data = Internalise(alpha=0.0, beta=0.0), [hinted(i) for i in range(8)]
    items = recipe.examples(reader, data, random.Random(1))
    assert any(0 < weight < 1 for item in items for weight in item.weights)
    with torch.no_grad():
        loss, plain = recipe.loss(reader, items, 0.0), SftSuccess().loss(reader, items, 0.0)
        Internalise().loss(reader, items, 0.0)
    assert float(loss) == pytest.approx(float(plain), rel=1e-5)
    # Equal actions with and without guidance, also where words were renamed.
    assert len({tuple(item.tokens) for item in items}) > 4


# --- the joint objective ----------------------------------------------------------------------------------------------


def played(i: int, *, success: bool = True, **changes: Any) -> Trajectory:
    """What a student called ``own`` did: what the note says, or some other thing."""
    right = hinted(i)
    done = right.moments[0].action if success else hinted(i + 1).moments[0].action
    moments = [m.model_copy(update={"model": "own", **changes}) for m in right.moments]
    moments[0] = moments[0].model_copy(update={"action": done})
    return right.model_copy(update={"success": success, "moments": tuple(moments), "task": f"hinted {i % 4}"})


@pytest.mark.torch
def test_joint_takes_what_the_student_played_won_and_lost(one_thread: None) -> None:
    from atlas.errors import ConfigError, DataError
    from atlas.train.guided import Joint

    both = [played(0), played(4, success=False), played(8, success=False), played(1), played(2, success=False)]
    prepared = Joint(player="own").prepare([*both, played(3, model="nearest"), played(3).weighted([0.0, 0.0])])
    assert [t.advantage for t in prepared] == pytest.approx([1.0, -0.5, -0.5, 0.75, -0.5])
    for found, message in (
        ([t.model_copy(update={"moments": tuple(m.model_copy(update={"guidance": ""}) for m in t.moments)})
          for t in both], "no prompt held guidance"),
        ([played(0, model="nearest"), played(1, model="nearest", success=False)], "own's own.*are of nearest"),
        ([played(0, actor=TEACHER)], "no step was own's own"),
        ([played(0), played(1)], "all 2 episodes succeeded: play harder tasks"),
        ([played(0, success=False)], "all 1 episodes failed: play easier tasks"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            Joint(player="own").prepare(found)
    with pytest.raises(ConfigError, match="clip lies between"):
        Joint(clip=0.0)


@pytest.mark.torch
def test_joint_makes_what_won_likelier_without_notes(reader: Any) -> None:
    import torch

    from atlas.train.guided import Joint
    from atlas.train.losses import logprobs
    from atlas.train.scratch import ScratchBase

    base = ScratchBase(copy.deepcopy(reader.net), reader.vocabulary)
    right, wrong = hinted(0), played(0, success=False)

    def chance(trajectory: Trajectory) -> float:
        with torch.no_grad():
            scores = base.scores(base.encode(trajectory.weighted([1.0, 0.0])))
        return float(logprobs(scores.logits, scores.targets).sum().exp())

    before = chance(right), chance(wrong)
    recipe = Joint(alpha=0.0, beta=0.05)
    fitted(recipe, base, recipe.prepare([played(0), wrong] * 2), 10)
    assert chance(right) > before[0]
    assert chance(wrong) < before[1] or before[1] < 1e-3


@pytest.mark.torch
def test_joint_is_told_apart_on_the_command_line(
    tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.cli import main

    rest = ["--data", str(tmp_path), "--joint", "-o", str(tmp_path / "s")]
    with pytest.raises(SystemExit):
        main(["train", "sft-success", *rest])
    assert "belongs to internalise, not to sft-success" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "internalise", "--base", "scratch:tiny", *rest])
    assert "begins from nothing: give the folder" in capsys.readouterr().err
