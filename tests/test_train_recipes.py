"""Recipes at toy size: each learns what it says it learns."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from atlas.errors import ConfigError, DataError
from atlas.records import TEACHER
from atlas.trained.trajectory import Trajectory
from tests.train_fixtures import (
    asked,
    errand,
    good_trainer,  # noqa: F401
    in_one_thread,  # noqa: F401
    share_right,
    trained,
)

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_escalations_learns_the_teachers_steps_and_not_what_failed(tmp_path: Path) -> None:
    from atlas.train.recipes import Escalations

    def cascade(i: int) -> Trajectory:
        """The student began wrongly, the teacher mended it, and the episode failed all the same."""
        good, bad = errand(i), errand(i, success=False)
        slip = bad.moments[0]
        mended = good.moments[0].model_copy(update={"observation": "No.", "actor": TEACHER, "escalated": True})
        return bad.model_copy(update={"moments": (slip, mended)})

    recipe = Escalations()
    prepared = recipe.prepare([cascade(i) for i in range(20)] + [errand(i) for i in range(5)])
    assert [[m.weight for m in t.moments] for t in prepared[:1]] == [[0.0, 1.0]]
    assert [[m.weight for m in t.moments] for t in prepared[-1:]] == [[1.0, 1.0]]
    trainer = trained(tmp_path, recipe, [cascade(i) for i in range(100)], epochs=2)
    assert (trainer.out / "student.json").is_file()
    with pytest.raises(DataError, match="traces of a cascade"):
        recipe.prepare([errand(1)])


def test_rationale_learns_thoughts_too_and_acts_without_thinking(tmp_path: Path) -> None:
    from atlas.train.recipes import Rationale
    from atlas.trained.vocabulary import Reader, encode_reason

    trainer = trained(tmp_path, Rationale())
    before = trained(tmp_path / "plain", epochs=1).base
    item = encode_reason(errand(1500), 0, Reader(trainer.base.vocabulary))

    def of_thought(base: Any, item: Any) -> float:
        from atlas.train.losses import nll

        with torch.no_grad():
            scores = base.scores([item])
        return float(nll(scores.logits, scores.targets, scores.weights))

    plain = encode_reason(errand(1500), 0, Reader(before.vocabulary))
    assert of_thought(trainer.base, item) < of_thought(before, plain)
    assert share_right(trainer.base.model()) >= 0.6


def test_redi_makes_failures_less_likely_and_keeps_what_is_right(tmp_path: Path, trainer: Any) -> None:
    from atlas.train.recipes import Redi
    from atlas.train.scratch import ScratchBase

    base = ScratchBase.load(trainer.out)
    data = [errand(i) for i in range(100)] + [errand(i, success=False) for i in range(100)]

    def of_failures(base: Any) -> float:
        from atlas.train.losses import nll

        with torch.no_grad():
            scores = base.scores([base.encode(errand(i, success=False))[0] for i in range(3000, 3020)])
        return float(nll(scores.logits, scores.targets, scores.weights))

    before = of_failures(base)
    trained(tmp_path, Redi(), data, base, epochs=3, lr=1e-3)
    assert of_failures(base) > before
    assert share_right(base.model()) >= 0.7
    with pytest.raises(DataError, match="none of the 1 episodes failed"):
        Redi().prepare([errand(1)])


def test_kd_whitebox_copies_a_teacher_of_the_same_words_only(tmp_path: Path, trainer: Any) -> None:
    from atlas.train.recipes import KdWhitebox
    from atlas.train.scratch import ScratchBase

    teacher = ScratchBase.load(trainer.out)
    trainer = trained(tmp_path, KdWhitebox(teacher), epochs=15)
    assert share_right(trainer.base.model()) >= 0.6
    other = ScratchBase.new("tiny", [errand(i, things=["pan", "cup"]) for i in range(9)])
    with pytest.raises(ConfigError, match="same data"):
        trained(tmp_path, KdWhitebox(teacher), base=other)


HINT = "Notes: [n1] When you see a {}: take it from there."


def noted(i: int, **changes: Any) -> Trajectory:
    """An errand whose goal does not say what to take: only the guidance does."""
    plain = errand(i, **changes)
    hint = HINT.format(plain.goal.split()[-1])
    moments = tuple(m.model_copy(update={"guidance": hint}) for m in plain.moments)
    return plain.model_copy(update={"moments": moments})


def test_internalise_learns_with_guidance_to_do_without(tmp_path: Path) -> None:
    from atlas.train.guided import Internalise

    trainer = trained(tmp_path, Internalise(), [noted(i) for i in range(100)], epochs=10)
    first, last = trainer._history
    assert last.held_out < first.held_out, "measured without guidance"
    with pytest.raises(DataError, match="made with pamphlets"):
        Internalise().prepare([errand(1)])


def test_on_policy_draws_the_student_towards_itself_with_guidance(tmp_path: Path) -> None:
    from atlas.train.guided import Internalise, OnPolicy, _both, _twins
    from atlas.train.losses import reverse_kl

    data = [noted(i) for i in range(60)]
    # Some training first: a network that has learnt nothing is the same with and without guidance.
    base = trained(tmp_path / "a", Internalise(alpha=1.0, beta=0.0), data, epochs=10).base
    items = _twins(base, data[:20])

    def distance() -> float:
        with torch.no_grad():
            plain, guided = _both(base, items)
        return float(reverse_kl(plain.logits, guided.logits, plain.weights))

    before = distance()
    failed = [noted(i, success=False) for i in range(60)]
    trained(tmp_path / "b", OnPolicy(), data + failed, base, epochs=5, lr=1e-3)
    assert distance() < before
    with pytest.raises(DataError, match="made with pamphlets"):
        OnPolicy().prepare([errand(1)])


def test_a_judge_tells_good_steps_from_bad_ones(tmp_path: Path) -> None:
    from atlas.models import load
    from atlas.train.critic import StepCritic, StepOutcomes

    data = [errand(i, success=good) for i in range(250) for good in (True, False)]
    trainer = trained(tmp_path, StepOutcomes(), data, epochs=15)
    judge = StepCritic(trainer.out)
    good = [judge.chance(asked(errand(i)).view, errand(i).moments[0].action) for i in range(4000, 4020)]
    bad = [judge.chance(asked(errand(i)).view, errand(i, success=False).moments[0].action) for i in range(4000, 4020)]
    above = sum(g > b for g in good for b in bad) / 400
    assert above >= 0.8, f"AUROC {above}"
    with pytest.raises(DataError, match="all 1 episodes with a score succeeded"):
        StepOutcomes().prepare([errand(1)])
    with pytest.raises(DataError, match="holds a judge"):
        load(f"scratch:{trainer.out}")


def test_selecting_takes_more_of_what_is_hard_and_as_many_as_there_are(tmp_path: Path) -> None:
    from atlas.train.scratch import ScratchBase
    from atlas.train.select import Select, surprise

    base = ScratchBase.load(trained(tmp_path, epochs=15).out)
    easy = [errand(i).model_copy(update={"family": "easy"}) for i in range(50)]
    hard = [errand(i, success=False).model_copy(update={"family": "hard"}) for i in range(50)]
    nll = surprise(base, [base.encode(t) for t in easy + hard], 512)
    assert sum(nll[:50]) < sum(nll[50:])
    for way in ("family", "uncertain"):
        select = Select(way)
        drawn = select.draw(base, easy + hard, 512, random.Random(0))
        assert len(drawn) == 100
        share = sum(i >= 50 for i in drawn) / 100
        assert 0.5 < share < 0.95, "more of what is hard, and never only that"
        assert not select.rates or sum(select.rates.values()) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="family, uncertain"):
        Select("best")


def test_no_success_no_student() -> None:
    from atlas.train.recipes import SftSuccess

    with pytest.raises(DataError, match="none of the 3 episodes succeeded"):
        SftSuccess().prepare([errand(i, success=False) for i in range(3)])
