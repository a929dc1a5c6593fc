"""Which supervision a task needs: how the student did by itself on tasks like it (arXiv 2511.01093, triage)."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from statistics import fmean

from atlas.asking import Desk
from atlas.chances.foresight import Foresight
from atlas.errors import ConfigError
from atlas.given import check_model, check_share, check_text, has, real, shown, whole
from atlas.memory.history import COACH as COACH
from atlas.memory.history import CORRECTED as CORRECTED
from atlas.memory.history import STOOD as STOOD
from atlas.memory.history import UNGUIDED as UNGUIDED
from atlas.memory.history import History, Near
from atlas.memory.history import outcome as outcome
from atlas.memory.history import unaided as unaided
from atlas.policies.recall import MOST_SHOWN
from atlas.protocols import Model
from atlas.records import LaneChoice, Message, Prompt, Turn, View

AUTO, PAIRED = "auto", "paired"
LANES = (AUTO, PAIRED, COACH)
"""From the cheapest to the closest supervision."""

AUTO_AT, PAIRED_AT = 0.75, 0.45
"""From which chance of the student on, where supervised tasks succeed. Chosen on generated homes, --tasks-seed 0."""
SUPERVISED = (PAIRED, COACH)
LOOKED = 4
"""How many times ``k`` tasks are looked through for supervised ones, which are few where the student is let alone."""
SURE = 2.0
"""Supervised tasks that count as succeeded before there are any."""
FORESEEN = 4.0
"""Tasks like the present one that foresight counts as: so many outcomes of the student's own weigh as much."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Probe:
    """Estimates the student's chance by itself and picks the lane.

    The estimate is the mean of :attr:`Outcome.unaided` over the newest ``k`` tasks that are at least ``floor`` alike,
    weighted by likeness and halved in weight with every ``half_life`` newer ones, so that a drop in success counts at
    once; ``doubt`` more tasks count as failed, or as ``estimator`` says where a model is asked.

    Supervision is worth what it adds. How often such tasks succeed when they are paired or coached is the mean over
    the newest of those, all alike, as a teacher does not learn, and over :data:`SURE` that count as succeeded. ``auto``
    from ``auto_at`` on, ``paired`` from ``paired_at`` on and ``coach`` below where supervised tasks succeed; where a
    share of them fails too, earlier by that share, and by that share what supervisors thought of the student counts
    less. So often, too, the student is let alone all the same, by a coin, to learn how it does; less often where that
    is known (:meth:`stands` does the same with answers that were rejected).

    With ``foresight``, which was learned from other episodes of ``student`` or of students like it, what it says counts
    as :data:`FORESEEN` tasks in place of the doubt; in mid-episode it says it again, by the first steps.
    """

    def __init__(
        self,
        history: History,
        *,
        k: int = 12,
        floor: float = 0.35,
        half_life: float = 4.0,
        doubt: float = 0.5,
        auto_at: float = AUTO_AT,
        paired_at: float = PAIRED_AT,
        estimator: Model | None = None,
        foresight: Foresight | None = None,
        student: str = "",
    ) -> None:
        if not has(history, "near", "all"):
            raise ConfigError(
                f"a probe looks at the outcomes of a memory, not at {shown(history)}: give memory.outcomes"
            )
        check_share("a probe's floor", floor)
        if estimator is not None:
            check_model("a probe's estimator", estimator)
        if foresight is not None and not isinstance(foresight, Foresight):
            raise ConfigError(f"a probe's foresight is what Foresight.load(FILE) gives, not {shown(foresight)}")
        check_text("a probe's student", student, "give the name of a model, or leave it out")
        if not (real(paired_at) and real(auto_at)) or not 0 <= paired_at <= auto_at <= 1:
            raise ConfigError(f"lanes need 0 <= paired_at <= auto_at <= 1, not {shown(paired_at)} and {shown(auto_at)}")
        if not (whole(k) and real(half_life) and real(doubt)) or not 1 <= k <= MOST_SHOWN or min(half_life, doubt) <= 0:
            raise ConfigError(f"a probe needs k of 1 to {MOST_SHOWN:,}, and a half-life and a doubt above 0")
        self.history = history
        self.k = k
        self.floor = floor
        self.half_life = half_life
        self.doubt = doubt
        self.auto_at = auto_at
        self.paired_at = paired_at
        self.estimator = estimator
        self.foresight = foresight
        self.student = student
        if foresight is not None:
            foresight.check(history.embedder)

    async def choose(self, view: View, desk: Desk) -> LaneChoice:
        """The lane for a task that has not begun."""
        return await self._choice(view, await self._estimate(view, desk), ())

    async def stands(self, view: View) -> bool:
        """Whether an answer that the teacher rejected is given all the same: by a coin, as often as supervised tasks
        fail, so that it is known what a rejection is worth."""
        supervised = _supervised(await self._alike(view))
        return random.Random(f"stands/{view.moment}").random() < 1 - _reached(supervised)

    async def again(self, view: View) -> LaneChoice | None:
        """The lane for one that has come to where foresight looks at its steps; None at any other step."""
        found = self.foresight
        if found is None or not view.index or found.stage(view.index).after != view.index:
            return None
        return await self._choice(view, None, view.turns)

    async def _choice(self, view: View, stated: float | None, turns: Sequence[Turn]) -> LaneChoice:
        alike = await self._alike(view)
        near = alike[: self.k]
        known = [n for n in near if n.outcome.unaided is not None]
        supervised = _supervised(alike)
        foreseen = None
        if self.foresight is not None:
            foreseen = await asyncio.to_thread(
                self.foresight.chance, view.task.goal, turns, self.student, self.history.embedder
            )
        reached = _reached(supervised)
        chance = self._chance(known, reached, stated, foreseen)
        short = reached - chance
        lane = AUTO if short <= 1 - self.auto_at else PAIRED if short <= 1 - self.paired_at else COACH
        tried = lane != AUTO and not turns and self._tries(view, known, reached)
        lane = AUTO if tried else lane
        dollars = [n.outcome.dollars for n in near if n.outcome.dollars is not None]
        about = f"{len(known)} tasks like this one" if known else "no task like this one yet"
        said = f", a model's estimate {stated:.2f}" if stated is not None else ""
        said += f", foreseen {foreseen:.2f}" if foreseen is not None else ""
        said += f", after {len(turns)} steps" if turns else ""
        said += f"; supervised {reached:.2f}, {len(supervised)} tasks" if supervised else ""
        said += "; let alone to learn it" if tried else ""
        return LaneChoice(
            lane=lane,
            reason=f"chance of the student by itself {chance:.2f} ({about}{said})",
            tasks=len(known),
            similarity=fmean(n.similarity for n in known) if known else None,
            success=_share([n.outcome.success for n in near]),
            dollars=fmean(dollars) if dollars else None,
            estimate=stated,
            chance=chance,
        )

    async def _alike(self, view: View) -> list[Near]:
        most = LOOKED * self.k
        return await asyncio.to_thread(self.history.near, view.task.goal, most, floor=self.floor, besides=view.task.id)

    def _tries(self, view: View, known: Sequence[Near], reached: float) -> bool:
        alone = sum(n.outcome.lane not in SUPERVISED for n in known)
        return random.Random(f"tried/{view.moment}").random() < (1 - reached) * SURE / (SURE + alone)

    def _chance(self, known: Sequence[Near], reached: float, stated: float | None, foreseen: float | None) -> float:
        seen = [
            (
                max(0.0, n.similarity)
                * 0.5 ** (age / self.half_life)
                * (reached if n.outcome.lane in SUPERVISED else 1.0),
                n.outcome.unaided or 0.0,
            )
            for age, n in enumerate(known)
        ]
        if foreseen is None:
            return _mean(seen, stated or 0.0, self.doubt)
        return _mean(seen, foreseen if stated is None else (foreseen + stated) / 2, FORESEEN)

    async def _estimate(self, view: View, desk: Desk) -> float | None:
        if self.estimator is None:
            return None
        prompt = Prompt(
            stable=view.task.instructions,
            history=(Message(role="user", content=f"Task: {view.task.goal}\n\n{view.opening}"),),
            ask="Before anything is done: how likely is it that a small model solves this task without help? "
            "Reply with one number between 0 and 1.",
        )
        answer = await desk.ask(self.estimator, view, actor="probe", purpose="estimate", prompt=prompt, max_tokens=16)
        found = _NUMBER.search(answer.text)
        stated = float(found[0]) if found else None
        return stated if stated is not None and stated <= 1 else None

    def config(self) -> dict[str, object]:
        return {
            "k": self.k,
            "floor": self.floor,
            "half_life": self.half_life,
            "doubt": self.doubt,
            "auto_at": self.auto_at,
            "paired_at": self.paired_at,
            "sure": SURE,
            "estimator": self.estimator.name if self.estimator else None,
            **({"foresight": self.foresight.digest, "student": self.student} if self.foresight else {}),
        }


def _supervised(alike: Sequence[Near]) -> list[Near]:
    return [n for n in alike if n.outcome.lane in SUPERVISED and n.outcome.success is not None]


def _reached(supervised: Sequence[Near]) -> float:
    """How often a task succeeds under supervision."""
    return _mean([(max(0.0, n.similarity), float(n.outcome.success or 0.0)) for n in supervised], 1.0, SURE)


def _mean(seen: Sequence[tuple[float, float]], before: float, tasks: float) -> float:
    """The mean of what was seen, as (weight, value), and of so many ``tasks`` more that were as ``before``."""
    return float((sum(w * v for w, v in seen) + tasks * before) / (sum(w for w, _ in seen) + tasks))


def _share(values: Sequence[bool | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return fmean(known) if known else None
