"""Policies that compose: each decides the next action, alone or around another."""

from atlas.policies.abridged import Abridged
from atlas.policies.cascade import Cascade
from atlas.policies.coach import Coach
from atlas.policies.compressed import Compressed
from atlas.policies.guarded import Guarded
from atlas.policies.guided import Guided
from atlas.policies.lanes import InLane, LaneRules, Lanes
from atlas.policies.onward import Onward
from atlas.policies.paired import Paired
from atlas.policies.planned import Planned
from atlas.policies.probe import Probe
from atlas.policies.recall import Recall
from atlas.policies.review import TeacherReview
from atlas.policies.route import RandomRoute
from atlas.policies.select import Replayed, Select
from atlas.policies.solo import Solo
from atlas.policies.validated import Unanswered, Validated
from atlas.policies.watch import Watch

__all__ = [
    "Abridged",
    "Cascade",
    "Coach",
    "Compressed",
    "Guarded",
    "Guided",
    "InLane",
    "LaneRules",
    "Lanes",
    "Onward",
    "Paired",
    "Planned",
    "Probe",
    "RandomRoute",
    "Recall",
    "Replayed",
    "Select",
    "Solo",
    "TeacherReview",
    "Unanswered",
    "Validated",
    "Watch",
]
