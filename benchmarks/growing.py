"""Arms that learn while they serve: what their memory takes from an episode."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from atlas.asking import Account
from atlas.benchmarks.arm import Played, Stage
from atlas.benchmarks.arms import build
from atlas.budget import Meter
from atlas.evaluators.verdict import Judge
from atlas.learning import Learning, worth_telling
from atlas.memory import DemonstrationStore, Memory, from_episode
from atlas.memory.copying import begun_with
from atlas.memory.database import Database
from atlas.memory.distil import Distiller
from atlas.protocols import Policy, Recorder, Reviewer
from atlas.records import INTERRUPTED, Episode, Step
from atlas.traces.events import Tells
from atlas.traces.place import Place


class Learner:
    """Takes demonstrations from successful episodes.

    ``learn`` may be asynchronous: then the next task waits for it, and the episode is counted as it gives it back.
    """

    def __init__(self, demos: DemonstrationStore) -> None:
        self.demos = demos

    def learn(self, episode: Episode, steps: Sequence[Step]) -> Awaitable[Episode] | None:
        """Learning twice from an episode is learning once; one that was interrupted teaches nothing."""
        if episode.stop not in INTERRUPTED and episode.success:
            self.demos.add(from_episode(episode, steps))
        return None

    def learned(self) -> set[str]:
        """The ids of the episodes that nothing is left to be learned from."""
        return {episode for demo in self.demos.all() for episode in demo.episodes}


@dataclass(frozen=True)
class After:
    """What an arm that distils does once an episode is over."""

    recorder: Recorder
    place: Place
    meter: Meter
    distiller: Distiller | None = None
    judge: Judge | None = None


def begin(memory: Memory, path: Path | str) -> None:
    """Let the memory at ``path`` begin with all that ``memory`` holds, as one of its own. One that has begun stays as
    it is: what it learned since is in it."""
    with closing(Database(str(path))) as own:
        begun_with(memory.database, own)


class Growing(Learner):
    """A memory of its own at ``path``, empty at first or as :func:`begin` left it, and the policy that is played on it.
    With ``after`` it is distilled to, too, before the next task begins: what a task taught can be shown to the very
    next one."""

    def __init__(self, arm: Played, stage: Stage, path: Path | str, after: After | None = None) -> None:
        self.memory = Memory(path, stage.options.embedder, index=stage.options.index, window=stage.options.around)
        super().__init__(self.memory.demonstrations)
        own = replace(stage, memory=self.memory)
        self.policy: Policy = build(arm, own)
        self.reviewer: Reviewer | None = own.reviewer(arm)
        self.after = after
        self.keeps = "demonstrations" not in stage.options.without
        self.from_memory = stage.options.from_memory
        self.learning: Learning | None = None
        if after is not None:
            self.learning = Learning(
                self.memory,
                distiller=after.distiller,
                judge=after.judge,
                reward=stage.options.reward_from,
                folder=after.place,
                run=after.place.name,
            )

    def learn(self, episode: Episode, steps: Sequence[Step]) -> Awaitable[Episode] | None:
        if self.learning is not None and self.after is not None:
            return self._learn(self.learning, self.after, episode, steps)
        self.memory.keep(episode, steps)
        return None

    async def _learn(self, learning: Learning, after: After, episode: Episode, steps: Sequence[Step]) -> Episode:
        if episode.stop in INTERRUPTED:
            return episode
        account = Account([after.meter])
        lived = await learning.after(episode, steps, account, learn=self.keeps, ended=after.recorder.end)
        if isinstance(after.recorder, Tells) and worth_telling(lived.learned):
            after.recorder.tell(lived.learned)
        return lived.episode

    def config(self) -> dict[str, object]:
        """All that determines what it plays and learns."""
        learning = self.learning.config() if self.learning is not None else None
        found = {"policy": self.policy.config(), "keeps": self.keeps, "learning": learning}
        return {**found, "from_memory": True} if self.from_memory else found

    def learned(self) -> set[str]:
        return {known.episode for known in self.memory.outcomes.all()}

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.close()
