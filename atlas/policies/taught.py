"""The closest supervision: where success has dropped, the teacher acts at every step of an episode."""

from __future__ import annotations

from atlas.asking import Desk
from atlas.policies.solo import Solo
from atlas.protocols import Policy
from atlas.records import Decision, View
from atlas.standing import TAUGHT


class Taught:
    """``inner`` decides; in episodes of the lane ``teacher`` it is ``teacher``, at every step, under the reason
    ``supervised``. The lane is its caller's to choose, for a whole episode: see :mod:`atlas.standing`."""

    def __init__(self, inner: Policy, teacher: Solo) -> None:
        self.inner = inner
        self.teacher = teacher

    async def decide(self, view: View, desk: Desk) -> Decision:
        if view.lane != TAUGHT:
            return await self.inner.decide(view, desk)
        decided = await self.teacher.decide(view, desk)
        return decided if decided.reason == "no-action" else decided.replace(reason="supervised")

    def config(self) -> dict[str, object]:
        return {"policy": "taught", "teacher": self.teacher.config(), "inner": self.inner.config()}
