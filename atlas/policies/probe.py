"""Which supervision a task needs: how the student did by itself on tasks like it (arXiv 2511.01093, triage)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from statistics import fmean

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.memory.history import COACH as COACH
from atlas.memory.history import CORRECTED as CORRECTED
from atlas.memory.history import UNGUIDED as UNGUIDED
from atlas.memory.history import History, Near
from atlas.memory.history import outcome as outcome
from atlas.memory.history import unaided as unaided
from atlas.protocols import Model
from atlas.records import LaneChoice, Message, Prompt, View

AUTO, PAIRED = "auto", "paired"
LANES = (AUTO, PAIRED, COACH)
"""From the cheapest to the closest supervision."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Probe:
    """Estimates the student's chance by itself and picks the lane.

    The estimate is the mean of :attr:`Outcome.unaided` over the newest ``k`` tasks that are at least ``floor`` alike,
    weighted by likeness and halved in weight with every ``half_life`` newer ones, so that a drop in success counts at
    once; ``doubt`` more tasks count as failed, or as ``estimator`` says where a model is asked. ``auto`` from
    ``auto_at`` on, ``paired`` from ``paired_at`` on, ``coach`` below.
    """

    def __init__(
        self,
        history: History,
        *,
        k: int = 12,
        floor: float = 0.35,
        half_life: float = 4.0,
        doubt: float = 0.5,
        auto_at: float = 0.75,
        paired_at: float = 0.45,
        estimator: Model | None = None,
    ) -> None:
        if not 0 <= paired_at <= auto_at <= 1:
            raise ConfigError(f"lanes need 0 <= paired_at <= auto_at <= 1, not {paired_at:g} and {auto_at:g}")
        if k < 1 or half_life <= 0 or doubt <= 0:
            raise ConfigError("a probe needs k of at least 1, and a half-life and a doubt above 0")
        self.history = history
        self.k = k
        self.floor = floor
        self.half_life = half_life
        self.doubt = doubt
        self.auto_at = auto_at
        self.paired_at = paired_at
        self.estimator = estimator

    async def choose(self, view: View, desk: Desk) -> LaneChoice:
        """The lane for a task that has not begun."""
        near = await asyncio.to_thread(
            self.history.near, view.task.goal, self.k, floor=self.floor, besides=view.task.id
        )
        stated = await self._estimate(view, desk)
        known = [n for n in near if n.outcome.unaided is not None]
        chance = self._chance(known, stated)
        lane = AUTO if chance >= self.auto_at else PAIRED if chance >= self.paired_at else COACH
        dollars = [n.outcome.dollars for n in near if n.outcome.dollars is not None]
        about = f"{len(known)} tasks like this one" if known else "no task like this one yet"
        said = f", a model's estimate {stated:.2f}" if stated is not None else ""
        return LaneChoice(
            lane=lane,
            reason=f"chance of the student by itself {chance:.2f} ({about}{said})",
            tasks=len(known),
            similarity=fmean(n.similarity for n in known) if known else None,
            success=_mean([n.outcome.success for n in near]),
            dollars=fmean(dollars) if dollars else None,
            estimate=stated,
        )

    def _chance(self, known: Sequence[Near], stated: float | None) -> float:
        weights = [max(0.0, n.similarity) * 0.5 ** (age / self.half_life) for age, n in enumerate(known)]
        seen = sum(w * (n.outcome.unaided or 0.0) for w, n in zip(weights, known, strict=True))
        return float((seen + self.doubt * (stated or 0.0)) / (sum(weights) + self.doubt))

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
            "estimator": self.estimator.name if self.estimator else None,
        }


def _mean(values: Sequence[bool | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return fmean(known) if known else None
