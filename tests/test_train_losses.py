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


def test_the_joint_objective_is_the_score_function_where_the_student_just_played() -> None:
    """On a categorical policy of which all actions are listed, against autograd of the exact expectations."""
    from atlas.train.losses import joint_objective, kl

    guided, plain = some(1, WORDS, seed=1), some(1, WORDS, seed=2)
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    alpha, beta, baseline = 0.3, 0.2, 0.4
    t, s = guided.log_softmax(-1), plain.log_softmax(-1)
    j_t = (t.exp() * rewards).sum() - beta * kl(t, s.detach())[0]
    j_s = (t.detach().exp() * (s - t.detach()).exp() * rewards).sum() - beta * kl(t.detach(), s)[0]
    wanted = torch.autograd.grad(-alpha * j_t - (1 - alpha) * j_s, [guided, plain])
    # Every action once, in place of draws: each weighs as much as the chance that it was drawn. A baseline adds
    # nothing. The clip is out of the way, as the student without guidance is far from who played.
    every, played = torch.arange(WORDS), t.detach()[0]
    rows, others = (z.expand(WORDS, WORDS) for z in (guided, plain))
    gains = rewards - baseline
    loss = joint_objective(rows, others, played, every, played.exp(), gains, alpha=alpha, beta=beta, clip=1e6)
    got = torch.autograd.grad(loss, [guided, plain])
    assert all(torch.allclose(g, w) for g, w in zip(got, wanted, strict=True))


def test_fixed_points_of_the_joint_objective(targets: Any, weights: Any) -> None:
    from atlas.train.losses import joint_objective, logprobs

    guided, plain = some(TARGETS, WORDS, seed=1), some(TARGETS, WORDS, seed=2)
    played = logprobs(guided, targets).detach()
    gains = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.5], dtype=torch.float64)

    def moved(gains: Any, **settings: float) -> list[bool]:
        loss = joint_objective(guided, plain, played, targets, weights, gains, **settings)
        return [bool(g.abs().max() > 1e-12) for g in torch.autograd.grad(loss, [guided, plain])]

    assert moved(gains, alpha=1.0) == [True, False], "only the one with guidance moves"
    assert moved(gains, alpha=0.0) == [False, True]
    assert moved(gains * 0, beta=0.0) == [False, False], "equal rewards teach nothing"
    assert moved(gains * 0, beta=0.1) == [True, True], "but both are drawn together"


def test_a_ratio_counts_up_to_its_clip() -> None:
    from atlas.train.losses import surrogate

    ratios = torch.tensor([0.5, 1.0, 2.0, 0.5, 1.0, 2.0], dtype=torch.float64).log().requires_grad_(True)
    gains = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    found = surrogate(ratios, gains, 0.2)
    assert found.tolist() == pytest.approx([0.5, 1.0, 1.2, -0.8, -1.0, -2.0])
    found.sum().backward()
    assert ratios.grad.tolist() == pytest.approx([0.5, 1.0, 0.0, 0.0, -1.0, -2.0])


def test_a_baseline_knows_nothing_of_its_own_episode() -> None:
    from atlas.train.losses import leave_one_out

    assert leave_one_out([1, 0, 0], ["a", "a", "a"]) == pytest.approx([1, -0.5, -0.5])
    assert leave_one_out([1, 0, 1], ["a", "a", "b"]) == pytest.approx([1, -1, 0.5]), "b is alone: against all others"
    assert leave_one_out([1, 1], ["a", "a"]) == [0, 0]
    assert leave_one_out([1], ["a"]) == [0]
    for own in (0.0, 1.0):
        assert own - leave_one_out([own, 1, 0], ["a", "a", "a"])[0] == 0.5, "the same baseline, however it ended"
