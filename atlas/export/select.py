"""Which episodes and steps are exported, and the reason for each that is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from atlas.errors import ConfigError
from atlas.export.rows import DISPATCHED, Row
from atlas.given import Given
from atlas.records import INTERRUPTED, Episode, Stop
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.verdicts import newest, read_verdicts


class Filters(Given):
    """What is asked for. Empty tuples and None ask for nothing."""

    success: bool | None = None
    """Only episodes that their environment calls successful; None leaves it to the format."""
    min_score: float | None = None
    """Only episodes with at least this score, of the judge where one is named."""
    splits: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    """Only steps on which one of these acted."""
    judge: str | None = None
    """A judge's name, or the beginning of its configuration's hash: its scores count instead of the environment's."""
    permitted_only: bool = Field(default=False)
    """Only what the words of its models may be trained on."""

    @property
    def by_result(self) -> bool:
        """Whether episodes are chosen by how they ended."""
        return bool(self.success) or self.min_score is not None


class Scores:
    """The score that counts for each episode of a run: its own, or its verdict's by the judge that was named.

    Raises ConfigError where the run has no such judge, or several fit.
    """

    def __init__(self, run: Run, judge: str | None) -> None:
        self.by: str = "environment"
        self._verdicts: Mapping[str, float | None] | None = None
        if judge is None:
            return
        lines = read_verdicts(run.place)
        fitting = {line.config: line.verdict.judge for line in lines if _names(judge, line.config, line.verdict.judge)}
        if len(fitting) != 1:
            known = ", ".join(sorted({f"{line.verdict.judge} ({line.config})" for line in lines})) or "none"
            what = "no judge" if not fitting else f"{len(fitting)} judges"
            raise ConfigError(f"the run {run.name} has verdicts of {what} named {judge!r}: its judges are {known}")
        ((config, name),) = fitting.items()
        self.by = f"{name} ({config})"
        chosen = newest(line for line in lines if line.config == config)
        self._verdicts = {episode: line.verdict.score for episode, line in chosen.items()}

    def of(self, result: Episode) -> float | None:
        """The score of an episode; None where it has none."""
        return result.score if self._verdicts is None else self._verdicts.get(result.id)


def _names(judge: str, config: str, name: str) -> bool:
    return judge == name or (len(judge) >= 4 and config.startswith(judge))


def episode_reason(episode: StoredEpisode, score: float | None, filters: Filters) -> str | None:
    """Why an episode is left out as a whole; None where it is not."""
    result, task = episode.result, episode.task
    if result is None:
        return "unfinished: the run was killed or goes on"
    if result.stop in INTERRUPTED:
        return "interrupted: it is played again when the run resumes"
    if episode.retried:
        return "ended with an error and was played again"
    if episode.lost:
        return "steps of it are lost: the trace is damaged"
    if filters.arms and episode.arm not in filters.arms:
        return "another arm"
    if filters.splits and task.split not in filters.splits:
        return "another split"
    if filters.families and task.family not in filters.families:
        return "another family"
    if filters.by_result and result.stop == Stop.ERROR:
        return "ended with an error"
    if filters.success and not result.success:
        return "not successful" if result.success is False else "not scored"
    if filters.min_score is not None:
        if score is None:
            return "not judged" if filters.judge else "not scored"
        if score < filters.min_score:
            return f"score below {filters.min_score:g}"
    return None


def row_reason(row: Row, filters: Filters) -> str | None:
    """Why a step of a chosen episode is left out; None where it is not."""
    if filters.actors and row.actor not in filters.actors:
        return "another actor"
    if filters.by_result and not row.last_attempt:
        return "an attempt that was retried: the episode's score is not its own"
    if filters.permitted_only and row.context:
        return row.context
    if filters.permitted_only and not row.trainable:
        return f"no permission to train on {row.model or 'an unnamed model'}"
    return None


def episode_permission_reason(rows: Iterable[Row]) -> str | None:
    """Why an episode may not be trained on as a whole; None where all who acted in it permit it."""
    wrote = [row for row in rows if row.reason != DISPATCHED]
    models = sorted({row.model or "an unnamed model" for row in wrote if row.model not in row.permitted})
    return f"no permission to train on {', '.join(models)}" if models else None
