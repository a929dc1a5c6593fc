"""The losses, as functions of tensors and nothing else. Each states its formula and where it is from.

Shapes: ``logits`` are ``(targets, vocabulary)``, one row for each token that is learnt, ``targets`` and ``weights``
``(targets,)``. ``owners`` ``(targets,)`` says which sequence of the batch a target belongs to. All return one number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from atlas.errors import ConfigError


def logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """``log pi(target)``: ``(targets,)``."""
    return logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


def per_sequence(values: Tensor, owners: Tensor, count: int) -> Tensor:
    """The mean of ``values`` over each sequence's targets: ``(count,)``, 0 for a sequence without targets."""
    sums = values.new_zeros(count).index_add(0, owners, values)
    sizes = values.new_zeros(count).index_add(0, owners, torch.ones_like(values))
    return sums / sizes.clamp(min=1)


def nll(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """``- sum_i w_i log pi(y_i) / sum_i w_i``: maximum likelihood, of ``sft-success`` and most others."""
    return -(weights * logprobs(logits, targets)).sum() / weights.sum().clamp(min=1e-9)


def rationale(action: Tensor, reason: Tensor, alpha: float = 0.5) -> Tensor:
    """``alpha L_action + (1 - alpha) L_rationale``: Distilling Step-by-Step (arXiv 2305.02301), section 3.2."""
    return alpha * action + (1 - alpha) * reason


def redi(wins: Tensor, losses: Tensor, before: Tensor, *, alpha: float = 0.8, clamp: float = 1.0) -> Tensor:
    """``- mean(wins) + alpha mean(max(losses, before - clamp))``.

    ``wins`` and ``losses`` are the log-probabilities of good and bad sequences, each divided by its length, ``before``
    those of the bad ones under the model that training began with. Reinforcement Distillation (arXiv 2505.24850),
    stage 2, has no clamp: pushing a sequence down has no end, and takes with it what good ones share with it. Here a
    bad sequence that is ``clamp`` nats a token less likely than it was is pushed no further.
    """
    down = torch.maximum(losses, before - clamp).mean() if len(losses) else losses.sum()
    up = wins.mean() if len(wins) else wins.sum()
    return -up + alpha * down


def kd_whitebox(student: Tensor, teacher: Tensor, weights: Tensor, t: float) -> Tensor:
    """``KL(softmax((1 - t) sg(z_S) + t z_T) // pi_S)``, a target that moves from the student to the teacher.

    TAID (arXiv 2501.16937), equation 3; ``t`` grows from about .4 to 1. ``student`` and ``teacher`` are logits over
    one vocabulary. Raises ConfigError where their sizes differ.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise ConfigError(
            f"the student knows {student.shape[-1]:,} tokens and the teacher {teacher.shape[-1]:,}: kd-whitebox needs "
            "a teacher with the student's own vocabulary"
        )
    target = ((1 - t) * student.detach() + t * teacher.detach()).log_softmax(-1)
    return _mean(kl(target, student.log_softmax(-1)), weights)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p // q)`` for each row of log-probabilities: ``(rows,)``."""
    return (p.exp() * (p - q)).sum(-1)


def forward_kl(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """``KL(sg pi_T // pi_S)`` of logits: the student covers all that the teacher does. GKD (arXiv 2306.13649)."""
    return _mean(kl(teacher.detach().log_softmax(-1), student.log_softmax(-1)), weights)


def reverse_kl(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """``KL(pi_S // sg pi_T)`` of logits: the student avoids what the teacher would not do. GKD (arXiv 2306.13649)."""
    return _mean(kl(student.log_softmax(-1), teacher.detach().log_softmax(-1)), weights)


def joint(
    guided: Tensor, plain: Tensor, targets: Tensor, weights: Tensor, *, alpha: float = 0.5, beta: float = 0.1
) -> Tensor:
    """``- alpha J_T - (1 - alpha) J_S`` on the actions of successful episodes, whose reward is 1: pi-Distill
    (arXiv 2602.04942).

    ``J_T = log pi_T(y) - beta KL(pi_T // sg pi_S)``, ``J_S = log pi_S(y) - beta KL(sg pi_T // pi_S)``. One model is
    both: ``guided`` are its logits with the privileged part in the prompt, ``plain`` those without. The published
    objective takes actions drawn from the present ``pi_T`` and weighs ``J_S`` by ``pi_S / sg pi_T``; on stored actions
    that were drawn from an older one both terms become likelihoods. So this is an offline proxy;
    :func:`joint_objective` is the objective.
    """
    t, s = guided.log_softmax(-1), plain.log_softmax(-1)
    j_t = logprobs(guided, targets) - beta * kl(t, s.detach())
    j_s = logprobs(plain, targets) - beta * kl(t.detach(), s)
    return -_mean(alpha * j_t + (1 - alpha) * j_s, weights)


def joint_objective(
    guided: Tensor,
    plain: Tensor,
    played: Tensor,
    targets: Tensor,
    weights: Tensor,
    advantages: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.1,
    clip: float = 0.2,
) -> Tensor:
    """``- alpha J_T - (1 - alpha) J_S`` on actions that ``pi_T`` drew, won or lost: Privileged Information Distillation
    for Language Models (arXiv 2602.04942), the joint objective.

    ``J_T = E_T[R] - beta KL(pi_T // sg pi_S)`` and ``J_S = E_T[(pi_S / sg pi_T) R] - beta KL(sg pi_T // pi_S)``. One
    model is both: ``guided`` are its logits with the privileged part in the prompt, ``plain`` those without. The
    actions were drawn from an older ``pi_T``, whose log-probabilities ``played`` ``(targets,)`` are, so ``E_T[f]`` is
    the mean of ``(pi_T / pi_played) f``: its gradient is the score function's, weighed by that ratio. Within ``J_S``
    it cancels against ``sg pi_T``, and ``pi_S / pi_played`` is left. Both ratios are clipped by :func:`surrogate`.
    ``advantages`` ``(targets,)`` are the rewards less a baseline, see :func:`leave_one_out`.
    """
    t, s = guided.log_softmax(-1), plain.log_softmax(-1)
    won_t = surrogate(logprobs(guided, targets) - played, advantages, clip)
    won_s = surrogate(logprobs(plain, targets) - played, advantages, clip)
    j_t = won_t - beta * kl(t, s.detach())
    j_s = won_s - beta * kl(t.detach(), s)
    return -_mean(alpha * j_t + (1 - alpha) * j_s, weights)


def surrogate(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """``min(r A, clip(r, 1 - c, 1 + c) A)`` with ``r = exp(log_ratio)``: ``(targets,)``. PPO (arXiv 1707.06347),
    equation 7.

    At ``r = 1`` its gradient is ``A grad log pi``. What is already ``c`` more likely than it was when it was played,
    and good, is pushed no further up; what is ``c`` less likely, and bad, no further down.
    """
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def leave_one_out(rewards: Sequence[float], groups: Sequence[str]) -> list[float]:
    """Each reward less the mean of the others of its group; where it is alone there, of all others.

    RLOO (arXiv 2402.14740), section 2.3. The gradient stays unbiased: a baseline ``b`` that does not depend on the
    episode's own actions adds ``E[b grad log pi] = b grad 1 = 0``. A mean that holds the episode's own reward does
    depend on them. That of the same group (one task) varies less than that of all, as tasks differ in difficulty.
    """
    sizes, sums = Counter(groups), dict.fromkeys(groups, 0.0)
    for reward, group in zip(rewards, groups, strict=True):
        sums[group] += reward
    count, whole = len(rewards), sum(rewards)
    found = []
    for reward, group in zip(rewards, groups, strict=True):
        others, total = (sizes[group], sums[group]) if sizes[group] > 1 else (count, whole)
        found.append(reward - (total - reward) / (others - 1) if others > 1 else 0.0)
    return found


def logistic(scores: Tensor, good: Tensor) -> Tensor:
    """``- mean(good log sigma(score) + (1 - good) log sigma(-score))``: the judge, on steps with a known outcome."""
    return F.binary_cross_entropy_with_logits(scores, good)


def pairwise(better: Tensor, worse: Tensor) -> Tensor:
    """``- mean(log sigma(better - worse))``: Bradley-Terry, for a judge that learns from pairs."""
    return -F.logsigmoid(better - worse).mean()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum() / weights.sum().clamp(min=1e-9)
