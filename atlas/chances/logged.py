"""Episodes of a run as what is learned from."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.chances.attempt import ANSWERS, Attempt, answer_in
from atlas.chances.foresight import Past
from atlas.chances.selector import Case, Tried
from atlas.records import STUDENT, Turn, total
from atlas.traces.reader import StoredEpisode


def attempt_of(episode: StoredEpisode, answers: str = ANSWERS) -> Attempt:
    """The episode up to its answer, where its last action gives one."""
    last = episode.steps[-1].decision.action if episode.steps else ""
    return Attempt.of_steps(episode.task.goal, episode.steps, answer_in(last, answers))


def cases_of(episodes: Sequence[StoredEpisode], tiers: Sequence[str]) -> list[Case]:
    """The tasks that the arms ``tiers`` have all played to a score, each by its first seed; families are groups."""
    tried: dict[tuple[str, str], Tried] = {}
    groups: dict[str, str] = {}
    for episode in sorted(episodes, key=lambda e: -e.seed):
        if episode.arm in tiers and not episode.retried and episode.result and episode.result.score is not None:
            found = Tried(
                attempt_of(episode), episode.result.score, total(episode.spend).dollars, episode.result.success
            )
            tried[episode.task.id, episode.arm] = found
    for episode in episodes:
        groups.setdefault(episode.task.id, episode.task.family)
    return [
        Case(task, group, tuple(tried[task, tier] for tier in tiers))
        for task, group in groups.items()
        if all((task, tier) in tried for tier in tiers)
    ]


def past_of(episodes: Sequence[StoredEpisode]) -> list[Past]:
    """The scored episodes in which no teacher had a part. The student is the model that acted; families are groups."""
    found = []
    for episode in episodes:
        result = episode.result
        if result is None or result.success is None or episode.retried or result.asked_steps or result.teacher_steps:
            continue
        turns = [
            Turn(action=s.decision.action, observation=s.outcome.text, thought=s.decision.thought)
            for s in episode.steps
            if s.attempt == 0 and answer_in(s.decision.action) is None
        ]
        acted = [spend.model for spend in episode.spend if spend.actor == STUDENT]
        found.append(
            Past(
                task=episode.task.id,
                group=episode.task.family,
                student=acted[0] if acted else episode.arm,
                goal=episode.task.goal,
                turns=tuple(turns),
                success=float(result.success),
                arm=episode.arm,
            )
        )
    return found
