"""Whether a new student may take the place of the present one: both play the same held-out tasks, and count.

The rule is non-inferiority (a one-sided test that is valid at every number of tasks): the new one takes the place when
"it succeeds ``margin`` or more below the present one" is rejected at ``delta``. In the same run the new student plays
in a cascade at a grid of thresholds, from which its trust is calibrated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from atlas.benchmarks.sharing import WAIT, Shared
from atlas.benchmarks.suite import TaskRef
from atlas.memory import DemonstrationStore
from atlas.policies import Cascade, Recall, Solo
from atlas.protocols import Model, Policy, Recorder
from atlas.records import TEACHER, Episode, Record, counted, total
from atlas.runner import Job, failed, play, remaining, retrying
from atlas.stats import Interval, paired
from atlas.traces.roles import CASCADES, Role
from atlas.trust import Trust
from atlas.trust.calibrate import Target, calibrate, success_p

PRESENT, CANDIDATE = "present", "candidate"
THRESHOLDS = (1.0, 0.8, 0.6)


class Promotion(Record):
    """What came of it."""

    promoted: bool
    tasks: int
    """Held-out tasks that both have scored, seeds of a task at their mean."""
    present: float
    candidate: float
    """Success of each."""
    difference: Interval
    """Candidate minus present, 95 %, paired by task."""
    margin: float
    delta: float
    p: float
    """Of "the candidate succeeds ``margin`` or more below the present one"."""
    present_dollars: float | None
    candidate_dollars: float | None
    """Per episode; None where a price is not known."""
    trust: Trust
    """For a cascade around the candidate; its certificate says on what."""


@dataclass(frozen=True)
class Contest:
    """Who plays for the place, and how."""

    present: Model
    candidate: Model
    teacher: Model
    memory: DemonstrationStore | None = None
    """Demonstrations that both recall; None for none."""
    k: int = 6
    samples: int = 5
    margin: float = 0.05
    delta: float = 0.1
    within: float = 0.02
    """Target of the cascade's trust: success at most this far below the teacher's."""
    max_tokens: int = 256

    def policies(self) -> dict[str, Policy]:
        """The arms, by name."""
        arms: dict[str, Policy] = {
            PRESENT: self._recalled(Solo(self.present, max_tokens=self.max_tokens)),
            CANDIDATE: self._recalled(Solo(self.candidate, max_tokens=self.max_tokens)),
            TEACHER: Solo(self.teacher, actor=TEACHER, max_tokens=self.max_tokens),
        }
        for threshold in THRESHOLDS:
            trust = Trust(threshold=threshold)
            cascade = Cascade(
                self.candidate, self.teacher, samples=self.samples, max_tokens=self.max_tokens, trust=trust
            )
            arms[f"cascade:{threshold:g}"] = self._recalled(cascade)
        return arms

    @property
    def roles(self) -> dict[str, Role]:
        """What the arms are to each other."""
        found = {
            PRESENT: Role(name=PRESENT, says="the student that has the role", hue=0),
            CANDIDATE: Role(name=CANDIDATE, says="the student that is to have it", hue=1),
            TEACHER: Role(name=TEACHER, says="the teacher alone", kind=TEACHER, hue=3),
        }
        for threshold in THRESHOLDS:
            arm = f"cascade:{threshold:g}"
            says = "the candidate, and the teacher where it is not trusted"
            trust = Trust(threshold=threshold).name
            found[arm] = Role(name=arm, says=says, kind=CASCADES[0], trust=trust, family="cascade")
        return found

    def _recalled(self, policy: Policy) -> Policy:
        return policy if self.memory is None else Recall(policy, self.memory, self.k)

    async def play(
        self,
        tasks: Sequence[TaskRef],
        seeds: Sequence[int],
        recorder: Recorder,
        *,
        run: str,
        max_steps: int,
        before: Sequence[Episode] = (),
        shared: Shared | None = None,
        concurrency: int = 4,
        seen: Callable[[str, Sequence[Episode]], None] = lambda doing, episodes: None,
    ) -> list[Episode]:
        """Play all arms; episodes of ``before``, or of the run that is ``shared`` with other processes, are not played
        again, but for those that ended with an error. Returns the results of all."""
        episodes = list(shared.episodes if shared is not None else before)
        again = failed(episodes)
        for arm, policy in self.policies().items():
            every = [Job(arm, ref.id, policy, ref.environment, seed) for ref in tasks for seed in seeds]
            jobs = remaining(every, episodes, again)
            seen(f"{arm}: {len(every)} episodes{retrying(jobs)}", episodes)

            def done(episode: Episode, arm: str = arm) -> None:
                episodes.append(episode)
                seen(arm, episodes)

            while jobs:
                played = await play(
                    jobs,
                    recorder=recorder,
                    run=run,
                    concurrency=concurrency,
                    max_steps=max_steps,
                    done=done,
                    shares=shared,
                )
                if shared is None:
                    break
                shared.add(played)
                shared.look()
                jobs = shared.left(jobs)
                if jobs:
                    await asyncio.sleep(WAIT)
        return counted(episodes) if shared is None else shared.episodes

    def settle(self, episodes: Sequence[Episode], *, run: str = "") -> Promotion:
        """Compare, and calibrate the candidate's cascade."""
        first, second = _success(episodes, CANDIDATE), _success(episodes, PRESENT)
        both = [task for task in first if task in second]
        differences = [first[task] - second[task] for task in both]
        p = success_p(differences, self.margin) if differences else 1.0
        return Promotion(
            promoted=p <= self.delta,
            tasks=len(both),
            present=fmean(second[task] for task in both) if both else 0.0,
            candidate=fmean(first[task] for task in both) if both else 0.0,
            difference=paired(differences),
            margin=self.margin,
            delta=self.delta,
            p=p,
            present_dollars=_dollars(episodes, PRESENT),
            candidate_dollars=_dollars(episodes, CANDIDATE),
            trust=calibrate(episodes, Target(within=self.within), roles=self.roles, delta=self.delta, run=run),
        )


def _success(episodes: Sequence[Episode], arm: str) -> dict[str, float]:
    scored: dict[str, list[float]] = {}
    for episode in episodes:
        if episode.arm == arm and episode.success is not None:
            scored.setdefault(episode.task.id, []).append(float(episode.success))
    return {task: fmean(values) for task, values in scored.items()}


def _dollars(episodes: Sequence[Episode], arm: str) -> float | None:
    costs = [total(e.spend).dollars for e in episodes if e.arm == arm]
    known = [cost for cost in costs if cost is not None]
    return fmean(known) if known and len(known) == len(costs) else None
