"""The judges of ExCyTIn-Bench by the names that ``atlas regrade --judge`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas.evaluators.verdict import Judge


def rule_judge() -> Judge:
    """``excytin-rule``: the benchmark's grading by rules, without a model."""
    from atlas.benchmarks.excytin.judge import RuleJudge

    return RuleJudge()


def model_judge(spec: str) -> Judge:
    """``excytin:MODEL``: its grading by a model."""
    from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge
    from atlas.models import load

    return ExcytinModelJudge(load(spec), name=f"excytin:{spec}")
