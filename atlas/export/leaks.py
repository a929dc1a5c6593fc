"""Demonstrations of held-out tasks in the prompts of rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from atlas.errors import StoreError
from atlas.export import holdout
from atlas.export.rows import Row
from atlas.memory.demonstration import from_episode
from atlas.records import Task
from atlas.traces.reader import StoredEpisode

REASON = "its prompt shows a demonstration of a held-out task"


class Shown:
    """Which tasks the demonstrations in a prompt came from, as far as the exported runs tell.

    A prompt names its demonstrations by the hash of their content. Those that were learned from an episode of the runs
    are found by making them again; of others, from a memory that was there before, ``unknown`` counts the rows.
    """

    def __init__(
        self, episodes: Sequence[StoredEpisode], group: Callable[[Task], str], share: float, *, rendered: bool
    ) -> None:
        """``rendered`` is whether prompts are exported with their demonstrations at all."""
        self.unknown = 0
        self._episodes = episodes
        self._group = group
        self._share = share
        self._looks = rendered and share > 0

    def reason(self, row: Row) -> str | None:
        """Why a row must not be trained on; None where nothing speaks against it."""
        if not self._looks or row.part == holdout.HOLDOUT or not row.prompt.retrieved:
            return None
        sides = [self._sides.get(hit.demo_id) for hit in row.retrieved]
        if holdout.HOLDOUT in sides:
            return REASON
        self.unknown += None in sides
        return None

    @cached_property
    def _sides(self) -> dict[str, str]:
        """Demonstration id -> side of the split. Made when it is first needed: it reads all successful episodes."""
        found = {}
        for episode in self._episodes:
            if episode.result is None or not episode.result.success:
                continue
            steps = replace(episode).steps
            try:
                demo = from_episode(episode.result, steps)
            except StoreError:  # no step had an effect: no demonstration was made of it
                continue
            found[demo.id] = holdout.part_of(self._group(episode.task), self._share)
        return found
