"""Trust as a record: what a cascade acts by, and the certificate of how it was chosen. Saved as a small JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from atlas.errors import DataError
from atlas.folders import write_whole
from atlas.given import Given
from atlas.records import Record
from atlas.trust.signals import SIGNALS


class Tested(Record):
    """One threshold as it did on the calibration tasks, beside the teacher on the same tasks."""

    signals: tuple[str, ...]
    threshold: float
    tasks: int
    """Tasks that both have scored; the runs of a task under several seeds count as one, at their mean."""
    unscored: int
    """Tasks that one of the two has no score for: in no figure."""
    success: float
    teacher_success: float
    dollars: float | None
    """Mean per episode; None where a model has no price."""
    teacher_share: float
    """Share of steps on which the teacher acted."""
    p: float
    """p-value of "this threshold misses the target"."""
    passed: bool
    """Whether the target is certified for it, together with all others that passed."""


class Certificate(Record):
    """How a threshold was chosen."""

    method: str
    target: str
    delta: float
    """The target is missed with at most this probability over the draw of the calibration tasks."""
    n: int
    """Calibration tasks."""
    teacher_dollars: float | None
    """Of the teacher alone, per episode; None where it has no price."""
    assumes: str
    run: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the run was: the certificate is for this student, teacher, memory and kind of task only."""
    certified: bool
    """False where no threshold passed: then ``threshold`` is the safe choice, not a certified one."""
    tested: tuple[Tested, ...]


class Trust(Given):
    """The student acts where its score reaches ``threshold``; elsewhere the teacher does, this step only. What the
    ``signals`` are is in :mod:`atlas.trust.signals`."""

    signals: tuple[str, ...] = ("votes",)
    threshold: float | None = 1.0
    """Between 0 and 1; None where the teacher always acts."""
    certificate: Certificate | None = None

    @field_validator("signals")
    @classmethod
    def _some(cls, signals: tuple[str, ...]) -> tuple[str, ...]:
        if not signals or len(set(signals)) < len(signals) or not set(signals) <= SIGNALS.keys():
            raise ValueError(f"trust rests on one or more of {', '.join(SIGNALS)}, each named once, not on {signals}")
        return signals

    @field_validator("threshold")
    @classmethod
    def _probability(cls, threshold: float | None) -> float | None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ValueError(f"a threshold lies between 0 and 1, not at {threshold}")
        return threshold

    @property
    def asks_critic(self) -> bool:
        """Whether one of its signals is what a critic says."""
        return any(SIGNALS[name].asks_critic for name in self.signals)

    @property
    def needs_critic(self) -> bool:
        """Whether a cascade has to ask a critic to act by it."""
        return self.asks_critic and self.threshold is not None

    @property
    def name(self) -> str:
        """``votes:0.67``, ``votes+similarity:0.6``; what follows ``cascade:`` in the name of an arm."""
        return f"{'+'.join(self.signals)}:{'never' if self.threshold is None else format(self.threshold, 'g')}"

    @classmethod
    def named(cls, text: str) -> Trust:
        """The trust of a :attr:`name`; ``0.67`` alone is by votes. Raises ValueError for anything else."""
        signals, _, threshold = text.rpartition(":")
        return cls.model_validate(
            {
                "signals": tuple(signals.split("+")) if signals else ("votes",),
                "threshold": None if threshold == "never" else float(threshold),
            }
        )

    @classmethod
    def load(cls, path: str | Path) -> Trust:
        """Read what :meth:`save` wrote. Raises DataError for a file that is none."""
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"the trust {path} cannot be read: {error.strerror}") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"{path} holds no trust: make one with 'atlas trust calibrate RUN -o FILE'") from error

    def save(self, path: str | Path) -> None:
        """Write it as JSON that people can read."""
        try:
            write_whole(Path(path), self.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise DataError(f"the trust cannot be written to {path}: {error.strerror}") from error


UNANIMITY = Trust()
"""All samples name the same action: the rule of arXiv 2512.02543."""
