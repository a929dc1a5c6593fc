"""In-context distillation: demonstrations of the teacher, retrieved afresh at each step, in the student's prompt.

arXiv 2512.02543, with the retrieval of its predecessor, arXiv 2505.00234.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.given import check_model, check_policy, has, shown, whole
from atlas.goals import lasting
from atlas.policies.planned import written_plan
from atlas.protocols import Demonstrations, Model, Policy
from atlas.records import STUDENT, TEACHER, Decision, Hit, View, Window
from atlas.reranking import Reranker, reranked

MOST_SHOWN = 1_000
"""Demonstrations of one step: more are a mistake, and no prompt."""
INSTANT = 0.0005
"""Seconds. To hand work to a thread and back costs about as much on a busy machine."""


Every = Literal["step", "episode"]
"""How often demonstrations are looked for."""

_REMEMBERED = 4096
"""Episodes whose demonstrations are kept. Of one that is forgotten they are looked for again."""


class Recall:
    """Shows ``inner`` demonstrations of ``demos``: the ``k`` best windows at every step, or, ``every="episode"``, the
    ``k`` whole trajectories that are likest at its beginning, at all of its steps.

    What stays for an episode stands before its history in the prompt, so that a language model reads it once; what is
    looked for at each step fits the step, and is read anew at each.

    With a ``planner`` the first step begins with a plan, written from the plans of the most similar tasks; the plan
    then belongs to every later prompt and query. Where no similar task has a plan ``elder`` writes it, if there is one:
    the plan is then the first of its kind.

    With a ``reranker`` as many are found as it chooses from, or ``k`` where that is more, and the ``k`` that it puts
    first are shown, best first. It has to be learned for the same ``every``.
    """

    def __init__(
        self,
        inner: Policy,
        demos: Demonstrations,
        k: int = 6,
        *,
        planner: Model | None = None,
        elder: Model | None = None,
        every: Every = "step",
        reranker: Reranker | None = None,
    ) -> None:
        if elder is not None and planner is None:
            raise ConfigError("recall's elder writes plans where its planner has none to start from: give both")
        check_policy("what recall is around", inner)
        if not has(demos, "search", "similar"):
            raise ConfigError(f"recall shows what an atlas.Memory or its demonstrations hold, not {shown(demos)}")
        for name, writer in (("planner", planner), ("elder", elder)):
            if writer is not None:
                check_model(f"recall's {name}", writer)
        if not whole(k) or not 1 <= k <= MOST_SHOWN:
            raise ConfigError(f"recall needs k of 1 to {MOST_SHOWN:,}, not {shown(k)}")
        if every not in ("step", "episode"):
            raise ConfigError(f"recall looks every 'step' or every 'episode', not every {every!r}")
        if reranker is not None and not hasattr(reranker, "every"):
            raise ConfigError(f"recall's reranker is one of atlas.reranking, not {shown(reranker)}")
        if reranker is not None and reranker.every != every:
            raise ConfigError(
                f"the reranker chooses demonstrations for each {reranker.every}, and recall looks every {every!r}: "
                f"look every {reranker.every!r}, or learn another reranker"
            )
        self.inner = inner
        self.demos = demos
        self.k = k
        self.planner = planner
        self.elder = elder
        self.every: Every = every
        self.reranker = reranker
        self._last_search = math.inf
        self._shown: OrderedDict[str, tuple[Window, ...]] = OrderedDict()
        self._lock = threading.Lock()

    async def decide(self, view: View, desk: Desk) -> Decision:
        plan: str | None = None
        if self.planner is not None and view.index == 0 and not view.plan:
            plan = await self._plan(view, desk, self.planner)
            view = view.replace(plan=plan)
        began = time.perf_counter()
        windows = await (self._search(view) if self.every == "step" else self._lasting(view))
        seconds = time.perf_counter() - began
        shown = view.replace(retrieved=windows, lasting=self.every == "episode")
        decided = await self.inner.decide(shown, desk)
        return decided.replace(
            plan=plan if plan is not None else decided.plan,
            retrieved=tuple(map(_hit, windows)) + decided.retrieved,
            seconds={**decided.seconds, "retrieve": seconds},
        )

    async def _search(self, view: View) -> tuple[Window, ...]:
        """In a thread, so that other episodes go on; directly where the last search took less than starting one."""

        def search() -> tuple[Window, ...]:
            began = time.perf_counter()
            found = self._best(self.demos.search(view, self._sought), view)
            self._last_search = time.perf_counter() - began
            return found

        return search() if self._last_search < INSTANT else await asyncio.to_thread(search)

    async def _lasting(self, view: View) -> tuple[Window, ...]:
        """What was found at the episode's first step, or would have been, had the memory been as it is."""
        episode = f"{view.seed}/{view.attempt}/{view.task.id}/{view.opening}"
        with self._lock:
            found = self._shown.get(episode)
        if found is None:
            found = await asyncio.to_thread(self._found, view.replace(turns=()))
            with self._lock:
                self._shown[episode] = found
                if len(self._shown) > _REMEMBERED:
                    self._shown.popitem(last=False)
        return found

    def _found(self, first: View) -> tuple[Window, ...]:
        return self._best(lasting(self.demos, first, self._sought), first)

    @property
    def _sought(self) -> int:
        return self.k if self.reranker is None else max(self.k, self.reranker.candidates)

    def _best(self, found: Sequence[Window], view: View) -> tuple[Window, ...]:
        return tuple(found) if self.reranker is None else reranked(found, view, self.reranker, self.k)

    async def _plan(self, view: View, desk: Desk, planner: Model) -> str:
        similar = tuple(await asyncio.to_thread(self.demos.similar, view, self.k))
        if self.elder is not None and not any(window.plan for window in similar):
            return await written_plan(self.elder, view, desk, actor=TEACHER)
        return await written_plan(planner, view.replace(retrieved=similar), desk, actor=STUDENT)

    def config(self) -> dict[str, object]:
        return {
            "policy": "recall",
            "k": self.k,
            **({"every": self.every} if self.every != "step" else {}),
            **({"reranker": self.reranker.digest} if self.reranker else {}),
            "planner": self.planner.name if self.planner else None,
            **({"elder": self.elder.name} if self.elder else {}),
            "demos": self.demos.config(),
            "inner": self.inner.config(),
        }


def _hit(window: Window) -> Hit:
    return Hit(
        demo_id=window.demo_id,
        start=window.start,
        length=len(window.steps),
        best=window.best,
        score=round(window.score, 4),
    )
