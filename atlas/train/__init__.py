"""Training a local student from traces. Needs the extra ``train``; importing this package loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.train.bases import base_of
    from atlas.train.critic import StepCritic
    from atlas.train.guided import Internalise, Joint, OnPolicy
    from atlas.train.recipes import Escalations, KdWhitebox, Rationale, Redi, SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer
    from atlas.train.trajectories import read

__all__ = [
    "Escalations",
    "Internalise",
    "Joint",
    "KdWhitebox",
    "OnPolicy",
    "Rationale",
    "Redi",
    "ScratchBase",
    "Settings",
    "SftSuccess",
    "StepCritic",
    "Trainer",
    "base_of",
    "read",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.train.bases": "base_of",
        "atlas.train.guided": "Internalise Joint OnPolicy",
        "atlas.train.critic": "StepCritic",
        "atlas.train.recipes": "Escalations KdWhitebox Rationale Redi SftSuccess",
        "atlas.train.scratch": "ScratchBase",
        "atlas.train.trainer": "Settings Trainer",
        "atlas.train.trajectories": "read",
    },
)
