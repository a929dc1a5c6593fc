"""Lanes: how closely a task is supervised, chosen once per episode (arXiv 2511.01093).

auto: the student, as configured. paired: the same, and the teacher validates the attempt, with one retry. coach: the
teacher looks at every step before it is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.given import Given, check_policy, has, shown
from atlas.memory.history import History
from atlas.policies.probe import AUTO, COACH, LANES, PAIRED, Probe
from atlas.protocols import Policy, Reviewer
from atlas.records import Decision, LaneChoice, Review, View


class LaneRules(Given):
    """What a user allows, whatever the probe says."""

    force: str | None = None
    """This lane always."""
    forbid: tuple[str, ...] = ()
    """Never these: the next cheaper lane that is allowed stands in, or else the next closer one."""
    dollars: Mapping[str, float] = Field(default_factory=dict)
    """The most that all episodes of a lane together may have cost before it is closed."""

    def check(self) -> None:
        """Raise ConfigError for a lane that does not exist, and for rules that leave none."""
        for lane in (*self.forbid, *self.dollars, *([self.force] if self.force is not None else [])):
            _known(lane)
        for lane, limit in self.dollars.items():
            if not limit >= 0:  # no comparison with NaN is true: nobody would ever have spent it
                raise ConfigError(f"the dollars of the lane {lane} are 0 or more, not {limit}: leave out what has none")
        if self.force in self.forbid:
            raise ConfigError(f"the lane {self.force} is forced and forbidden: take one of the two away")
        if set(self.forbid) >= set(LANES):
            raise ConfigError("every lane is forbidden: allow one of them")

    def allow(self, choice: LaneChoice, spent: Mapping[str, float | None]) -> LaneChoice:
        """``choice``, or what the rules make of it. ``spent`` are the dollars of each lane so far; None is unknown."""
        if self.force is not None:
            return choice.replace(lane=self.force, reason=f"forced; probe: {choice.reason}")
        closed = dict.fromkeys(self.forbid, "forbidden")
        for lane, limit in self.dollars.items():
            used = spent.get(lane, 0.0)
            if used is None:
                raise ConfigError(
                    f"the lane {lane} has a budget in dollars but was played with a model without a price: state its "
                    "price, or take the budget away"
                )
            if used >= limit:
                closed.setdefault(lane, f"budget of ${limit:g} spent")
        if choice.lane not in closed:
            return choice
        at = LANES.index(choice.lane)
        for lane in (*reversed(LANES[:at]), *LANES[at + 1 :]):
            if lane not in closed:
                why = f"{choice.lane} is closed ({closed[choice.lane]}); probe: {choice.reason}"
                return choice.replace(lane=lane, reason=why)
        raise ConfigError("every lane is forbidden or has spent its budget: allow one of them")


class Lanes:
    """Chooses the lane at an episode's first step and plays it: ``auto`` alone, or ``coach`` around the student.

    A paired episode is played by ``paired``. Where there is none it is played by ``auto``; what makes it paired is then
    :class:`InLane` around the teacher's review, given to the rollout as its reviewer. Where it ``escalates``, the retry
    after a rejection is coached. Where the probe looks again in mid-episode the supervision may become closer; it never
    falls, so that what a student did under it is not taken for its own.
    """

    def __init__(
        self,
        auto: Policy,
        coach: Policy,
        probe: Probe,
        *,
        paired: Policy | None = None,
        rules: LaneRules | None = None,
        escalates: bool = False,
    ) -> None:
        for name, lane in (("auto", auto), ("coach", coach), ("paired", auto if paired is None else paired)):
            check_policy(f"the lane {name}", lane)
        if rules is not None and not isinstance(rules, LaneRules):
            raise ConfigError(f"the rules of lanes are atlas.LaneRules(...), not {shown(rules)}")
        if not has(probe, "choose", "again"):
            raise ConfigError(
                f"what chooses a lane is an atlas.Probe, not {shown(probe)}: write Probe(memory.outcomes)"
            )
        self.auto = auto
        self.paired = paired
        self.coach = coach
        self.probe = probe
        self.rules = rules or LaneRules()
        self.escalates = escalates
        self.rules.check()

    async def decide(self, view: View, desk: Desk) -> Decision:
        if view.lane:
            if self.escalates and view.attempt > 0:
                return await self._policy(COACH).decide(view, desk)
            closer = await self._closer(view)
            if closer is None:
                return await self._policy(view.lane).decide(view, desk)
            decided = await self._policy(closer.lane).decide(view.replace(lane=closer.lane), desk)
            return decided if decided.lane is not None else decided.replace(lane=closer)
        choice = await self.choose(view, desk)
        decided = await self._policy(choice.lane).decide(view.replace(lane=choice.lane), desk)
        return decided if decided.lane is not None else decided.replace(lane=choice)

    async def choose(self, view: View, desk: Desk) -> LaneChoice:
        """The lane of a task that has not begun."""
        choice = await self.probe.choose(view, desk)
        return self.rules.allow(choice, lane_dollars(self.probe.history))

    async def _closer(self, view: View) -> LaneChoice | None:
        """Closer supervision from this step on; None where it stays as it is."""
        if view.lane not in LANES or view.attempt or self.rules.force is not None:
            return None
        choice = await self.probe.again(view)
        if choice is None:
            return None
        choice = self.rules.allow(choice, lane_dollars(self.probe.history))
        return choice if LANES.index(choice.lane) > LANES.index(view.lane) else None

    def _policy(self, lane: str) -> Policy:
        if lane == PAIRED and self.paired is not None:
            return self.paired
        return self.coach if lane == COACH else self.auto

    def config(self) -> dict[str, object]:
        return {
            "policy": "lanes",
            "auto": self.auto.config(),
            "paired": self.paired.config() if self.paired is not None else None,
            "coach": self.coach.config(),
            "probe": self.probe.config(),
            "rules": self.rules.model_dump(mode="json"),
            **({"escalates": True} if self.escalates else {}),
        }


class InLane:
    """A reviewer for the episodes of some lanes only."""

    def __init__(self, reviewer: Reviewer, lanes: Sequence[str] = (PAIRED,)) -> None:
        for lane in lanes:
            _known(lane)
        self.reviewer = reviewer
        self.lanes = tuple(lanes)

    async def review(self, view: View, desk: Desk) -> Review | None:
        return await self.reviewer.review(view, desk) if view.lane in self.lanes else None

    def config(self) -> dict[str, object]:
        return {"lanes": list(self.lanes), "reviewer": self.reviewer.config()}


def lane_dollars(history: History) -> dict[str, float | None]:
    """What the episodes of each lane have cost; None where one of them had no price."""
    spent: dict[str, float | None] = dict.fromkeys(LANES, 0.0)
    for outcome in history.all():
        before = spent.get(outcome.lane, 0.0)
        spent[outcome.lane] = None if before is None or outcome.dollars is None else before + outcome.dollars
    return spent


def _known(lane: str) -> None:
    if lane not in LANES:
        raise ConfigError(f"there is no lane {lane!r}: choose among {AUTO}, {PAIRED}, {COACH}")
