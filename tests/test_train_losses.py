"""The losses against their formulas, and their gradients against finite differences."""

from __future__ import annotations

from typing import Any

import pytest

from atlas.errors import ConfigError

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch

TARGETS, WORDS = 5, 7


def some(*shape: int, seed: int = 0) -> Any:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64).requires_grad_(True)


def right(function: Any, *inputs: Any) -> bool:
    return bool(torch.autograd.gradcheck(function, inputs))


@pytest.fixture
def targets() -> Any:
    return torch.tensor([0, 3, 6, 2, 2])


@pytest.fixture
def weights() -> Any:
    return torch.tensor([1.0, 0.2, 0.0, 1.0, 0.5], dtype=torch.float64)


def test_nll_is_the_weighted_mean_of_minus_log_probability(targets: Any, weights: Any) -> None:
    from atlas.train.losses import nll

    logits = some(TARGETS, WORDS)
    p = logits.softmax(-1)
    by_hand = -sum(w * p[i, t].log() for i, (t, w) in enumerate(zip(targets, weights, strict=True))) / weights.sum()
    assert nll(logits, targets, weights).item() == pytest.approx(by_hand.item())
    assert right(lambda z: nll(z, targets, weights), logits)
    assert nll(logits, targets, weights * 0).item() == 0, "a batch without targets teaches nothing and breaks nothing"


def test_rationale_mixes_both_losses() -> None:
    from atlas.train.losses import rationale

    assert rationale(torch.tensor(2.0), torch.tensor(4.0), 0.25).item() == pytest.approx(0.25 * 2 + 0.75 * 4)


def test_redi_pushes_bad_sequences_down_to_the_clamp_and_no_further() -> None:
    from atlas.train.losses import redi

    wins, bad = some(3, seed=1), some(2, seed=2)
    before = bad.detach() + torch.tensor([0.5, 2.0], dtype=torch.float64)
    assert right(lambda w, x: redi(w, x, before), wins, bad)
    by_hand = -wins.mean() + 0.8 * torch.stack([bad[0], before[1] - 1.0]).mean()
    assert redi(wins, bad, before).item() == pytest.approx(by_hand.item())
    redi(wins, bad, before).backward()
    assert bad.grad[0] > 0, "gradient descent makes it less likely"
    assert bad.grad[1] == 0, "2 nats below where it was: past the clamp of 1"
    none = some(0)
    assert redi(wins, none, none.detach()).item() == pytest.approx(-wins.mean().item())


def test_kd_whitebox_moves_from_the_student_to_the_teacher(weights: Any) -> None:
    from atlas.train.losses import forward_kl, kd_whitebox

    student, teacher = some(TARGETS, WORDS), some(TARGETS, WORDS, seed=1).detach()
    assert kd_whitebox(student, teacher, weights, 0.0).item() == pytest.approx(0.0, abs=1e-12)
    assert kd_whitebox(student, teacher, weights, 1.0).item() == pytest.approx(
        forward_kl(student, teacher, weights).item()
    )
    # The target holds a copy of the student that has no gradient, so finite differences need the same.
    fixed = student.detach()
    mixed = ((1 - 0.6) * fixed + 0.6 * teacher).log_softmax(-1)

    def with_target(z: Any) -> Any:
        rows = (mixed.exp() * (mixed - z.log_softmax(-1))).sum(-1)
        return (weights * rows).sum() / weights.sum()

    assert right(with_target, student)
    (got,) = torch.autograd.grad(kd_whitebox(student, teacher, weights, 0.6), student)
    (wanted,) = torch.autograd.grad(with_target(student), student)
    assert torch.allclose(got, wanted)


def test_kd_whitebox_refuses_another_vocabulary(weights: Any) -> None:
    from atlas.train.losses import kd_whitebox

    with pytest.raises(ConfigError, match="7 tokens and the teacher 8"):
        kd_whitebox(some(TARGETS, WORDS), some(TARGETS, WORDS + 1), weights, 0.5)


def test_both_divergences_are_zero_for_equals_and_their_gradients_are_right(weights: Any) -> None:
    from atlas.train.losses import forward_kl, reverse_kl

    student, teacher = some(TARGETS, WORDS), some(TARGETS, WORDS, seed=1).detach()
    for divergence in (forward_kl, reverse_kl):
        assert divergence(student, student, weights).item() == pytest.approx(0.0, abs=1e-12)
        assert divergence(student, teacher, weights).item() > 0
        assert right(lambda z, d=divergence: d(z, teacher, weights), student)
    assert forward_kl(student, teacher, weights).item() != pytest.approx(reverse_kl(student, teacher, weights).item())


def test_a_judge_learns_from_outcomes_and_from_pairs() -> None:
    from atlas.train.losses import logistic, pairwise

    scores, good = some(4), torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    p = scores.sigmoid()
    by_hand = -(good * p.log() + (1 - good) * (1 - p).log()).mean()
    assert logistic(scores, good).item() == pytest.approx(by_hand.item())
    assert right(lambda s: logistic(s, good), scores)
    better, worse = some(3, seed=3), some(3, seed=4)
    assert pairwise(better, worse).item() == pytest.approx(-(better - worse).sigmoid().log().mean().item())
    assert right(pairwise, better, worse)


def test_the_mean_of_a_sequence_is_over_its_own_targets() -> None:
    from atlas.train.losses import per_sequence

    values, owners = torch.tensor([1.0, 3.0, 10.0]), torch.tensor([0, 0, 2])
    assert per_sequence(values, owners, 3).tolist() == [2.0, 0.0, 10.0]
