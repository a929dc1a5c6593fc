"""A demonstration: what a successful episode did, without the steps that did nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pydantic import Field

from atlas.errors import StoreError
from atlas.given import Given
from atlas.records import DemoStep, Episode, Record, Step, Task, content_hash, total

Keep = Callable[[Step], bool]


class Source(Given):
    """Where a demonstration comes from."""

    actor: str = ""
    """Who acted: ``teacher``, ``student``, or both joined by ``+``."""
    model: str = ""
    run: str = ""
    episode: str = ""


class Repeat(Record):
    """An episode that did the same again."""

    task_id: str
    run: str = ""
    episode: str = ""


MOST_REPEATS = 32
"""How many episodes that did the same a demonstration names; it counts them all."""


class Demonstration(Given):
    """A trajectory worth imitating."""

    task_id: str
    goal: str
    plan: str = ""
    family: str = ""
    """Task type, for tables; never used to retrieve."""
    steps: tuple[DemoStep, ...] = Field(min_length=1)
    success: bool
    """A store takes only successful ones."""
    score: float | None = None
    """The episode's reward, in the environment's own unit."""
    source: Source = Source()
    dollars: float | None = None
    """What collecting it cost; None where a price is not known."""
    tokens: int = 0
    """Tokens that collecting it used."""
    seen: int = Field(default=1, ge=1)
    """How many episodes did this, for whatever task; what stands above is of the first."""
    repeats: tuple[Repeat, ...] = ()
    """The others, the newest last: of more than :data:`MOST_REPEATS` one for each task before a second for any."""

    @property
    def id(self) -> str:
        """Hash of the content and of the task that it came from first. How often it was seen changes nothing."""
        steps = [[step.observation, step.thought, step.action] for step in self.steps]
        return content_hash([self.task_id, self.goal, self.plan, steps])

    @property
    def tasks(self) -> frozenset[str]:
        """The ids of the tasks that it is known to come from."""
        return frozenset([self.task_id, *(repeat.task_id for repeat in self.repeats)])

    @property
    def episodes(self) -> frozenset[str]:
        """The ids of the episodes that it is known to come from."""
        return frozenset(repeat.episode for repeat in self._all)

    def again(self, other: Demonstration) -> Demonstration:
        """This one, counted with ``other``, which says the same; this very object where that is known already. An
        episode counts once, and what comes from no episode once for each task."""
        known = {_occasion(repeat) for repeat in self._all}
        fresh = [repeat for repeat in other._all if _occasion(repeat) not in known]
        if not fresh:
            return self
        seen = self.seen + len(fresh) + max(0, other.seen - len(other._all))
        return self.model_copy(update={"seen": seen, "repeats": _newest([*self.repeats, *fresh], self.task_id)})

    def without(self, run: str, episode: str) -> Demonstration | None:
        """This one, not counted with that episode; this very object where it does not name it, None where nothing else
        is left of it."""
        kept = tuple([repeat for repeat in self.repeats if (repeat.run, repeat.episode) != (run, episode)])
        first = bool(episode) and (self.source.run, self.source.episode) == (run, episode)
        if not first and len(kept) == len(self.repeats):
            return self
        if self.seen < 2:
            return None
        # Its id is of the task that it came from first, so that stays.
        source = self.source.model_copy(update={"run": "", "episode": ""}) if first else self.source
        return self.model_copy(update={"seen": self.seen - 1, "repeats": kept, "source": source})

    @property
    def _all(self) -> tuple[Repeat, ...]:
        return (Repeat(task_id=self.task_id, run=self.source.run, episode=self.source.episode), *self.repeats)


def _occasion(repeat: Repeat) -> tuple[str, str]:
    return (repeat.run, repeat.episode) if repeat.episode else ("", repeat.task_id)


def _newest(repeats: list[Repeat], task: str) -> tuple[Repeat, ...]:
    """At most :data:`MOST_REPEATS`; first those go, the oldest first, whose task is named elsewhere."""
    named = Counter([task, *(repeat.task_id for repeat in repeats)])
    while len(repeats) > MOST_REPEATS:
        gone = repeats.pop(next((i for i, repeat in enumerate(repeats) if named[repeat.task_id] > 1), 0))
        named[gone.task_id] -= 1
    return tuple(repeats)


def had_effect(step: Step) -> bool:
    """False for an action that the environment answered with "Nothing happens."."""
    return step.outcome.text.strip() != "Nothing happens."


def demo_steps(steps: Iterable[Step], keep: Keep = had_effect) -> tuple[DemoStep, ...]:
    """The steps that ``keep`` accepts.

    A dropped step left the world as it was, so the step after it is shown with what was seen before the dropped one.
    """
    kept: list[DemoStep] = []
    seen: str | None = None
    for step in steps:
        observation = step.observation if seen is None else seen
        if keep(step):
            decision = step.decision
            kept.append(DemoStep(observation=observation, action=decision.action, thought=decision.thought))
            seen = None
        else:
            seen = observation
    return tuple(kept)


def from_episode(episode: Episode, steps: Iterable[Step], keep: Keep = had_effect) -> Demonstration:
    """The demonstration that an episode gives: its last attempt, where it had more than one.

    Raises StoreError for an episode that did not succeed, or of which ``keep`` leaves no step.
    """
    if not episode.success:
        raise StoreError(
            f"episode {episode.id} of task {episode.task.id} did not succeed: only successful episodes become "
            "demonstrations"
        )
    steps = list(steps)
    steps = [step for step in steps if step.attempt == steps[-1].attempt]
    kept = demo_steps(steps, keep)
    if not kept:
        raise StoreError(
            f"episode {episode.id} of task {episode.task.id} has no step that did anything: nothing to keep"
        )
    used = total(episode.spend)
    return Demonstration(
        task_id=episode.task.id,
        goal=episode.task.goal,
        plan=episode.plan,
        family=episode.task.family,
        steps=kept,
        success=True,
        score=episode.score,
        source=_source(episode, steps),
        dollars=used.dollars,
        tokens=used.tokens,
    )


def from_steps(task: Task, steps: Iterable[DemoStep], *, plan: str = "", score: float | None = 1.0) -> Demonstration:
    """A demonstration written by hand, or by a plan that is known to succeed."""
    return Demonstration(
        task_id=task.id,
        goal=task.goal,
        plan=plan,
        family=task.family,
        steps=tuple(steps),
        success=True,
        score=score,
        source=Source(actor="given"),
    )


def _source(episode: Episode, steps: list[Step]) -> Source:
    actors = dict.fromkeys(step.decision.actor for step in steps)
    models = dict.fromkeys(spend.model for spend in episode.spend if spend.actor in actors)
    return Source(actor="+".join(actors), model="+".join(models), run=episode.run, episode=episode.id)


def provenance(demos: Sequence[Demonstration]) -> tuple[str, str]:
    """(author, reason) of demonstrations that are added without saying."""
    traces = {f"trace:{demo.source.run}/{demo.source.episode}" for demo in demos if demo.source.episode}
    if len(traces) == 1 and all(demo.source.episode for demo in demos):
        return traces.pop(), f"succeeded at: {' '.join(demos[0].goal.split())[:80]}"
    return "rule:given", f"{len(demos)} demonstration{'s' if len(demos) != 1 else ''} given"


def counted(repeated: Sequence[Demonstration]) -> list[str]:
    """What the log says of demonstrations that were there."""
    if len(repeated) == 1:
        return [f"seen {repeated[0].seen} times"]
    return [f"{len(repeated)} of them seen before"] if repeated else []
