"""What an episode was worth: by its environment, by the expected answer, by models that judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.evaluators.calibration import Calibration, Judged, calibrate
    from atlas.evaluators.ensemble import EnsembleJudge
    from atlas.evaluators.judge import ModelJudge
    from atlas.evaluators.outcome import success
    from atlas.evaluators.rubric import Axis
    from atlas.evaluators.rules import AnswerJudge, OutcomeJudge
    from atlas.evaluators.verdict import Case, Judge, Verdict

__all__ = [
    "AnswerJudge",
    "Axis",
    "Calibration",
    "Case",
    "EnsembleJudge",
    "Judge",
    "Judged",
    "ModelJudge",
    "OutcomeJudge",
    "Verdict",
    "calibrate",
    "success",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.evaluators.calibration": "Calibration Judged calibrate",
        "atlas.evaluators.ensemble": "EnsembleJudge",
        "atlas.evaluators.judge": "ModelJudge",
        "atlas.evaluators.outcome": "success",
        "atlas.evaluators.rubric": "Axis",
        "atlas.evaluators.rules": "AnswerJudge OutcomeJudge",
        "atlas.evaluators.verdict": "Case Judge Verdict",
    },
)
