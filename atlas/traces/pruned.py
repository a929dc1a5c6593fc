"""What a run keeps of episodes that were taken out of it: totals, so that a budget does not come back, and why."""

from __future__ import annotations

from atlas.records import Record, Spend, by_actor


class PrunedArm(Record):
    """The episodes of one arm that are gone."""

    arm: str
    episodes: int = 0
    scored: int = 0
    succeeded: int = 0
    steps: int = 0
    teacher_steps: int = 0
    spend: tuple[Spend, ...] = ()

    def and_of(self, other: PrunedArm) -> PrunedArm:
        """Both together."""
        numbers = ("episodes", "scored", "succeeded", "steps", "teacher_steps")
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        return self.model_copy(update={**sums, "spend": by_actor([*self.spend, *other.spend])})


class PrunedLog(Record):
    """One time that episodes were taken out."""

    time: float
    """Unix time."""
    by: str
    reason: str
    episodes: int


class Pruned(Record):
    """All that was taken out of a run so far."""

    arms: tuple[PrunedArm, ...] = ()
    log: tuple[PrunedLog, ...] = ()

    @property
    def episodes(self) -> int:
        return sum(arm.episodes for arm in self.arms)

    @property
    def steps(self) -> int:
        return sum(arm.steps for arm in self.arms)

    @property
    def spend(self) -> tuple[Spend, ...]:
        return by_actor(spend for arm in self.arms for spend in arm.spend)

    def also(self, other: Pruned) -> Pruned:
        """Both together, an arm once."""
        arms = {arm.arm: arm for arm in self.arms}
        for arm in other.arms:
            arms[arm.arm] = arms[arm.arm].and_of(arm) if arm.arm in arms else arm
        return Pruned(arms=tuple(arms.values()), log=(*self.log, *other.log))
