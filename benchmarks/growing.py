"""Arms that learn while they serve: what their memory takes from an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from atlas.benchmarks.arm import Played, Stage
from atlas.benchmarks.arms import build
from atlas.memory import DemonstrationStore, Memory, from_episode
from atlas.protocols import Policy, Reviewer
from atlas.records import INTERRUPTED, Episode, Step


class Learner:
    """Takes demonstrations from successful episodes."""

    def __init__(self, demos: DemonstrationStore) -> None:
        self.demos = demos

    def learn(self, episode: Episode, steps: Sequence[Step]) -> None:
        """Learning twice from an episode is learning once; one that was interrupted teaches nothing."""
        if episode.stop not in INTERRUPTED and episode.success:
            self.demos.add(from_episode(episode, steps))

    def learned(self) -> set[str]:
        """The ids of the episodes that nothing is left to be learned from."""
        return {episode for demo in self.demos.all() for episode in demo.episodes}


class Growing(Learner):
    """A memory of its own, empty at first, and the policy that is played on it."""

    def __init__(self, arm: Played, stage: Stage, path: Path) -> None:
        self.memory = Memory(path, stage.options.embedder, window=stage.options.around)
        super().__init__(self.memory.demonstrations)
        own = replace(stage, memory=self.memory)
        self.policy: Policy = build(arm, own)
        self.reviewer: Reviewer | None = own.reviewer(arm)

    def learn(self, episode: Episode, steps: Sequence[Step]) -> None:
        self.memory.keep(episode, steps)

    def learned(self) -> set[str]:
        return {known.episode for known in self.memory.outcomes.all()}

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.close()
