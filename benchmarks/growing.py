"""Arms that learn while they serve: what their memory takes from an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from atlas.benchmarks.arm import Played, Stage
from atlas.benchmarks.arms import build
from atlas.memory import DemonstrationStore
from atlas.memory.demonstration import from_episode
from atlas.memory.embed import load_embedder
from atlas.memory.history import History
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

    def __init__(self, arm: Played, stage: Stage, path: Path) -> None:
        shared = load_embedder(stage.options.embedder)
        demos = DemonstrationStore(path, embedder=shared, window=stage.options.around)
        super().__init__(demos, History(demos.database, shared) if arm.arm.outcomes else None)
        own = replace(stage, memory=demos, history=self.history)
        self.policy: Policy = build(arm, own)
        self.reviewer: Reviewer | None = own.reviewer(arm)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.demos.close()
