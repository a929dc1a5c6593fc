"""Two tiers of judges: fast ones, and an arbiter for what they disagree about or are unsure of (arXiv 2511.01093)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean, pstdev

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.evaluators.verdict import Case, Judge, Verdict
from atlas.given import has, shown
from atlas.records import by_actor

AGREEMENT = "agreement"


class EnsembleJudge:
    """Several fast judges, and an arbiter who decides where they do not.

    The arbiter is asked when the standard deviation of the fast judges' scores on any axis, or overall, passes
    ``disagreement``; when the mean of the uncertainty they state passes ``uncertainty``; or when fewer than two of
    them gave a verdict. It sees the case and their opinions. If it gives no verdict there is none.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        arbiter: Judge,
        *,
        disagreement: float = 0.15,
        uncertainty: float = 0.5,
        name: str = "ensemble",
    ) -> None:
        if isinstance(judges, str) or not isinstance(judges, Sequence):
            raise ConfigError(f"an ensemble's judges are a list, not {shown(judges)}: write [ModelJudge(model), ...]")
        for judge in (*judges, arbiter):
            if not has(judge, "judge") or not hasattr(judge, "name"):
                raise ConfigError(f"an ensemble is of judges, ModelJudge(model) say, not of {shown(judge)}")
        if len(judges) < 2:
            raise ConfigError("an ensemble needs at least two fast judges: name more of them")
        names = [judge.name for judge in (*judges, arbiter)]
        if len(set(names)) < len(names):
            raise ConfigError(f"judges of one ensemble need different names, these are {', '.join(names)}")
        if disagreement < 0 or uncertainty < 0:
            raise ConfigError("the thresholds of an ensemble are 0 or more")
        self.name = name
        self._judges = tuple(judges)
        self._arbiter = arbiter
        self._disagreement = disagreement
        self._uncertainty = uncertainty

    def config(self) -> dict[str, object]:
        return {
            "judge": self.name,
            "judges": [judge.config() for judge in self._judges],
            "arbiter": self._arbiter.config(),
            "disagreement": self._disagreement,
            "uncertainty": self._uncertainty,
        }

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        said = tuple(await asyncio.gather(*(judge.judge(case, desk, opinions) for judge in self._judges)))
        scored = [v for v in said if v.score is not None]
        spread = _spread(scored)
        stated = [v.uncertainty for v in scored if v.uncertainty is not None]
        unsure = fmean(stated) if stated else None
        reason = self._why_arbiter(len(scored), spread, unsure)
        if not reason:
            return Verdict(
                judge=self.name,
                score=fmean(v.score for v in scored if v.score is not None),
                principles=tuple(dict.fromkeys(p for v in scored for p in v.principles)),
                uncertainty=unsure,
                rationale=f"{len(scored)} of {len(said)} judges agree",
                spend=by_actor(s for v in said for s in v.spend),
                axes=_mean_axes(self.name, scored),
                opinions=said,
                disagreement=spread,
                decided_by=AGREEMENT,
            )
        last = await self._arbiter.judge(case, desk, (*opinions, *said))
        return last.model_copy(
            update={
                "judge": self.name,
                "missing": f"{reason}, and the arbiter: {last.missing}" if last.missing else "",
                "rationale": f"arbiter, as {reason}: {last.rationale}" if last.score is not None else "",
                "spend": by_actor(s for v in (*said, last) for s in v.spend),
                "opinions": (*said, last),
                "disagreement": spread,
                "decided_by": self._arbiter.name if last.score is not None else "",
            }
        )

    def _why_arbiter(self, scored: int, spread: float | None, unsure: float | None) -> str:
        if scored < 2:
            return f"{scored} of {len(self._judges)} fast judges gave a verdict"
        if spread is not None and spread > self._disagreement:
            return f"scores differ (standard deviation {spread:.2f})"
        if unsure is not None and unsure > self._uncertainty:
            return f"the fast judges are unsure ({unsure:.2f})"
        return ""


def _spread(scored: Sequence[Verdict]) -> float | None:
    """The largest standard deviation over axes and overall; None for fewer than two verdicts."""
    if len(scored) < 2:
        return None
    scores: dict[str, list[float]] = {}
    for verdict in scored:
        for part in (verdict, *verdict.axes):
            if part.score is not None:
                scores.setdefault(part.axis, []).append(part.score)
    return max(pstdev(values) for values in scores.values())


def _mean_axes(name: str, scored: Sequence[Verdict]) -> tuple[Verdict, ...]:
    scores: dict[str, list[float]] = {}
    for verdict in scored:
        for part in verdict.axes:
            if part.score is not None:
                scores.setdefault(part.axis, []).append(part.score)
    return tuple(Verdict(judge=name, axis=axis, score=fmean(values)) for axis, values in scores.items())
