"""A demonstration: what a successful episode did, without the steps that did nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import Field

from atlas.errors import StoreError
from atlas.records import DemoStep, Episode, Record, Step, Task, content_hash, total

Keep = Callable[[Step], bool]


class Source(Record):
    """Where a demonstration comes from."""

    actor: str = ""
    """Who acted: ``teacher``, ``student``, or both joined by ``+``."""
    model: str = ""
    run: str = ""
    episode: str = ""


class Demonstration(Record):
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

    @property
    def id(self) -> str:
        """Content hash: the same trajectory for the same task is the same demonstration, whoever collected it."""
        steps = [[step.observation, step.thought, step.action] for step in self.steps]
        return content_hash([self.task_id, self.goal, self.plan, steps])


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
