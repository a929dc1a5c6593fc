"""Who judges, as the command line names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.benchmarks.options import BenchOptions
    from atlas.evaluators.verdict import Judge
    from atlas.memory.distil import Distiller
    from atlas.protocols import Model

REVIEW, RULES = "review", ("rule:grounded", "rule:sure")


def judge_named(name: str, teacher: Model) -> Judge:
    """``review``, a rule, or a model that judges by the usual axes."""
    from atlas.evaluators import ModelJudge
    from atlas.evaluators.review import ReviewJudge
    from atlas.evaluators.rules import GroundedJudge, SureJudge
    from atlas.models import load

    if name == REVIEW:
        return ReviewJudge(teacher)
    if name.startswith("rule:"):
        if name not in RULES:
            raise ConfigError(f"there is no judge {name!r}: name {REVIEW}, {', '.join(RULES)} or a model")
        return GroundedJudge() if name == RULES[0] else SureJudge()
    return ModelJudge(load(name))


def judge_of(options: BenchOptions, teacher: Model) -> Judge | None:
    """The ensemble that ``options`` name, with its arbiter; None where they name none."""
    from atlas.evaluators import EnsembleJudge

    options.check_parts()
    if not options.judges:
        return None
    judges = [judge_named(name, teacher) for name in options.judges]
    return EnsembleJudge(judges, judge_named(options.arbiter, teacher))


def distiller_named(name: str | None) -> Distiller | None:
    """A model that distils; None where none is named."""
    if name is None:
        return None
    from atlas.memory.distil_model import ModelDistiller
    from atlas.models import load

    return ModelDistiller(load(name))
