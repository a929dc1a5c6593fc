"""Arms that learn while they serve: what their memory takes from an episode, and the lanes it chooses by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas.benchmarks.arms import LANES, Cast, build, recall
from atlas.memory import DemonstrationStore
from atlas.memory.demonstration import from_episode
from atlas.memory.embed import load_embedder
from atlas.memory.history import History
from atlas.policies import Coach, InLane, Lanes, Probe, Solo, TeacherReview
from atlas.policies.probe import outcome
from atlas.protocols import Policy, Reviewer
from atlas.records import INTERRUPTED, Episode, Step


class Learner:
    """Takes demonstrations from successful episodes and, where there is a history, the outcome of every episode."""

    def __init__(self, demos: DemonstrationStore, history: History | None = None) -> None:
        self.demos = demos
        self.history = history

    def learn(self, episode: Episode, steps: Sequence[Step]) -> None:
        """Learning twice from an episode is learning once; one that was interrupted teaches nothing."""
        if episode.stop in INTERRUPTED:
            return
        if episode.success:
            self.demos.add(from_episode(episode, steps))
        if self.history is not None:
            self.history.add(outcome(episode, steps))

    def learned(self) -> set[str]:
        """The ids of the episodes that nothing is left to be learned from."""
        if self.history is not None:
            return {known.episode for known in self.history.all()}
        return {demo.source.episode for demo in self.demos.all()}


class Growing(Learner):
    """A memory of its own, empty at first, and the policy that is played on it."""

    def __init__(self, arm: str, cast: Cast, path: Path, *, embedder: str, window: int) -> None:
        shared = load_embedder(embedder)
        demos = DemonstrationStore(path, embedder=shared, window=window)
        super().__init__(demos, History(demos.database, shared) if arm == LANES else None)
        self.policy: Policy
        self.reviewer: Reviewer | None = None
        if self.history is None:
            self.policy = build(arm, cast, demos)
        else:
            auto = recall(Solo(cast.student, max_tokens=cast.max_tokens), demos, cast)
            coach = Coach(auto, cast.teacher, max_tokens=cast.max_tokens)
            self.policy = Lanes(auto, coach, Probe(self.history), rules=cast.rules)
            self.reviewer = InLane(TeacherReview(cast.teacher))

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.demos.close()
