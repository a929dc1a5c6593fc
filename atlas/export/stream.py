"""Episodes of a run as they end, in a format of whole episodes: for what reads a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from atlas.errors import ConfigError
from atlas.export.clean import Cleaner
from atlas.export.formats import FORMATS, encoded
from atlas.export.permitted import permissions
from atlas.export.rows import episode_rows
from atlas.export.whole import Whole
from atlas.records import Episode
from atlas.traces.reader import Results, Run, StoredEpisode

WHOLE = tuple(name for name, form in FORMATS.items() if form.whole is not None)
"""The formats whose records are episodes."""


def streamed(run: Run, form: str, more: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """A line for each episode of ``run`` that has ended, as ``atlas export`` has it, in the order of their ends; and of
    those that end later, as long as ``more``, which waits a while, says so.

    An episode that is scored again is told again, with the same ids. One without steps has no line. Secrets are taken
    out. Raises ConfigError for a format whose records are no episodes, StoreError for a damaged trace.
    """
    chosen = FORMATS.get(form)
    if chosen is None or chosen.whole is None:
        raise ConfigError(f"{form!r} is no format of whole episodes: choose one of {', '.join(WHOLE)}")
    clean, rules = Cleaner(), permissions(run.about)
    results = Results(run.place)
    while True:
        ended = {result.id: result for result in results.new()}
        for episode, result in _stored(run, ended):
            rows = list(episode_rows(run.name, episode, result, rules))
            if rows:
                record, _ = clean.record(chosen.whole(Whole(run.name, result, episode.steps, rows)))
                yield encoded(chosen.finish(record))
        if not more():
            return


def _stored(run: Run, ended: dict[str, Episode]) -> Iterator[tuple[StoredEpisode, Episode]]:
    """With the steps of each, one at a time."""
    if ended:
        there = {episode.id: episode for episode in run.episodes(among=ended.__contains__)}
        for id, result in ended.items():
            if (episode := there.pop(id, None)) is not None:  # else it was taken out meanwhile
                yield episode, result
