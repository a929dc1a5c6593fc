"""Making an export: from runs to a folder of files and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import atlas
from atlas.errors import ConfigError
from atlas.export import duplicates, holdout, trl
from atlas.export.clean import Cleaner
from atlas.export.duplicates import Duplicates, States
from atlas.export.folder import MANIFEST, Folder
from atlas.export.formats import FORMATS, Format, Sink, encoded
from atlas.export.leaks import Shown
from atlas.export.manifest import File, Manifest, Source, Tally
from atlas.export.permitted import Permissions, permissions
from atlas.export.rows import PARTS, Row, episode_rows
from atlas.export.select import Filters, Scores, episode_permission_reason, episode_reason, row_reason
from atlas.export.whole import Whole
from atlas.given import Given
from atlas.records import Task
from atlas.traces.folder import FolderRun
from atlas.traces.place import TRACE, log_hash
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.verdicts import VERDICTS

Seen = Callable[[int, int], None]
"""Called with how many episodes were looked at, and how many there are."""


class ExportPlan(Given):
    """What is exported, and how."""

    format: str
    filters: Filters = Filters()
    without: tuple[str, ...] = ()
    """Parts that prompts are rendered without: names of :data:`atlas.export.rows.PARTS`."""
    permitted: tuple[str, ...] = ()
    """Models (or patterns of their names) whose words may be trained on, as the user states it."""
    holdout: float = 0.0
    """Share of the groups that is held out."""
    group: str = "task"
    near: float = 0.9
    """Jaccard similarity from which two steps are near-duplicates; above 1 none are."""
    keep_duplicates: bool = False

    def check(self) -> Format:
        """The format. Raises ConfigError for what does not exist or does not go together."""
        if self.format not in FORMATS:
            raise ConfigError(f"there is no export format {self.format!r}: choose one of {', '.join(FORMATS)}")
        if unknown := [name for name in self.without if name not in PARTS]:
            raise ConfigError(f"prompts have no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
        if self.group not in holdout.GROUPS:
            raise ConfigError(f"there is no group {self.group!r}: choose one of {', '.join(holdout.GROUPS)}")
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"the share that is held out is at least 0 and below 1, not {self.holdout:g}")
        chosen = FORMATS[self.format]
        success = self.filters.success
        if success is None:
            success = chosen.successful and self.filters.min_score is None
        if self.filters.judge and success:
            raise ConfigError("a judge gives scores and does not say what a success is: give --min-score with --judge")
        if chosen.unit == "episode" and self.filters.actors:
            raise ConfigError(f"--actor chooses steps, and {self.format} is made of whole episodes: leave it out")
        return chosen


def export(runs: Sequence[Run], out: str | Path, plan: ExportPlan, seen: Seen = lambda done, of: None) -> Manifest:
    """Write ``runs`` to the folder ``out`` and return the manifest, which is in it as ``manifest.json``.

    The folder is there as a whole or not at all. Raises ConfigError for a plan that does not fit, or where nothing is
    left to export, and StoreError for a damaged trace or a disk that cannot be written.
    """
    chosen = plan.check()
    unique = list({_where(run): run for run in runs}.values())
    with Folder(out) as folder:
        found = [(run, run.episodes()) for run in unique]
        making = _Making(plan, chosen, chosen.sink(folder), [episode for _, episodes in found for episode in episodes])
        total = sum(len(episodes) for _, episodes in found)
        done = 0
        for run, episodes in found:
            scores, rules = Scores(run, plan.filters.judge), permissions(run.about, plan.permitted)
            for episode in episodes:
                making.episode(run, episode, scores, rules)
                done += 1
                seen(done, total)
        making.sink.close()
        if not making.tally.rows:
            raise ConfigError(_nothing(plan, unique, making))
        if chosen.columns:
            parts = sorted(making.tally.counts().by_part, reverse=True)
            folder.write(trl.CARD, trl.card(parts, chosen.columns).encode())
        manifest = _manifest(plan, making, folder, unique)
        folder.write(MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return manifest


_NO_PAIR = "no state at which student and teacher differ"


class _Making:
    """An export under way."""

    def __init__(self, plan: ExportPlan, chosen: Format, sink: Sink, episodes: Sequence[StoredEpisode]) -> None:
        self.plan = plan
        self.format = chosen
        self.sink = sink
        self.tally = Tally()
        trains = chosen.trains
        asked = plan.filters
        # Scores are asked for in place of success.
        usual = chosen.successful and asked.min_score is None
        success = usual if asked.success is None else asked.success
        permitted_only = trains or asked.permitted_only
        self.filters = asked.model_copy(update={"success": success, "permitted_only": permitted_only})
        self.measured = trl.Measured() if chosen.columns else None
        self._clean = Cleaner()
        self._seen = Duplicates(plan.near) if trains and not plan.keep_duplicates else None
        rendered = trains and "demonstrations" not in plan.without
        self._shown = Shown(episodes, self._group, plan.holdout, rendered=rendered)

    @property
    def deduplicates(self) -> bool:
        return self._seen is not None

    def episode(self, run: Run, episode: StoredEpisode, scores: Scores, rules: Permissions) -> None:
        result = episode.result
        score = scores.of(result) if result else None
        reason = episode_reason(episode, score, self.filters)
        if reason is not None or result is None:
            self.tally.leave(reason or "unfinished", rows=result.steps if result else 0, episodes=1)
            return
        group = self._group(episode.task)
        about = {
            "group": group,
            "part": holdout.part_of(group, self.plan.holdout),
            "score": score,
            "scored_by": scores.by,
        }
        # A copy, so that its steps are let go with it: those of thousands of episodes do not fit in memory.
        copy = replace(episode)
        rows = [row.model_copy(update=about) for row in episode_rows(run.name, copy, result, rules)]
        self.tally.scored_by[scores.by] = None
        if not rows:
            self.tally.leave("no steps", rows=0, episodes=1)
        elif self.format.whole is None:
            self._steps(rows)
        elif reason := (episode_permission_reason(rows) if self.filters.permitted_only else None):
            self.tally.leave(reason, rows=len(rows), episodes=1)
        else:
            self._whole(self.format.whole(Whole(run.name, result, copy.steps, rows, self.plan.without)), rows)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the manifest has to know besides."""
        found = []
        if unknown := self._shown.unknown:
            found.append(f"{unknown} rows show demonstrations whose task these runs do not tell: it may be held out")
        if self.measured is not None and (long := self.measured.note()):
            found.append(long)
        splits = self.tally.counts().by_split
        if self.format.trains and len(splits) > 1 and not self.filters.splits:
            names = ", ".join(name or "none" for name in splits)
            found.append(f"tasks of several splits are in it ({names}): choose with --split what may be trained on")
        return tuple(found)

    def _group(self, task: Task) -> str:
        return task.id if self.plan.group == "task" else (task.family or task.id)

    def _whole(self, record: dict[str, Any], rows: Sequence[Row]) -> None:
        first = rows[0]
        cleaned, hidden = self._clean.record(record)
        file = self.sink.add(first.part, f"{first.run}.{first.episode}", self.format.finish(cleaned))
        for i, row in enumerate(rows):
            self.tally.take(row, file, count=int(i == 0), hidden=i == 0 and hidden)

    def _steps(self, rows: Sequence[Row]) -> None:
        states = States(rows[0].goal)
        made: list[_Made] = []
        for row in rows:
            if self._seen is None:
                made.extend(self._step(row, duplicates.empty()))
            else:
                made.extend(self._step(row, states.at(row.observation)))
                states.after(row.action)
        whole = self.format.keeps_episodes and any(one.left is None for one in made)
        for one in made:
            row, name = one.row, f"{one.row.run}.{one.row.episode}"
            if one.left is None:
                file = self.sink.add(row.part, name, one.record)
                self.tally.take(row, file, hidden=one.hidden)
                if self.measured is not None:
                    self.measured.take(one.record)
            elif whole:
                self.tally.leave(f"{one.left} (kept as context)")
                self.tally.take_context(self.sink.add(row.part, name, {**one.record, "context": one.left}))
            else:
                self.tally.leave(one.left)

    def _step(self, row: Row, state: duplicates.Signature) -> Iterator[_Made]:
        """What a step gives: records, or the reason why it gives none."""
        assert self.format.steps is not None
        left = row_reason(row, self.filters) or self._shown.reason(row)
        if left is not None and not self.format.keeps_episodes:
            yield _Made(row, left=left)
            return
        found = False
        for action, record in self.format.steps(row, self.plan.without):
            found = True
            cleaned, hidden = self._clean.record(record)
            if left is None and self._seen is not None:
                content = encoded(self.format.says(cleaned))
                episode = f"{row.run}/{row.episode}"
                again = self._seen.reason(content, state, action, episode=episode, part=row.part)
                yield _Made(row, cleaned, hidden, again)
            else:
                yield _Made(row, cleaned, hidden, left)
        if not found:
            yield _Made(row, left=_NO_PAIR if self.format.unit == "pair" else "no action")


@dataclass(frozen=True)
class _Made:
    """A record of a step, and why it is left out, where it is."""

    row: Row
    record: dict[str, Any] = field(default_factory=dict)
    hidden: bool = False
    """Whether a secret was taken out of it."""
    left: str | None = None


def _nothing(plan: ExportPlan, runs: Sequence[Run], making: _Making) -> str:
    tally = making.tally
    names = ", ".join(run.name for run in runs)
    if not tally.left:
        return f"the run {names} has no episodes yet: nothing was exported"
    why = "; ".join(f"{left.rows} steps: {reason}" for reason, left in sorted(tally.left.items()))
    if any(reason.startswith("no permission") for reason in tally.left):
        mend = "name the models whose terms allow it with --permitted"
    elif making.filters.by_result:
        mend = "collect successes first, or choose episodes with --any-outcome or another --min-score"
    else:
        mend = "choose other filters"
    return f"nothing of {names} is left to export as {plan.format} ({why}): {mend}"


def _manifest(plan: ExportPlan, making: _Making, folder: Folder, runs: Sequence[Run]) -> Manifest:
    tally = making.tally
    method = {"method": duplicates.METHOD, "threshold": plan.near} if making.deduplicates else None
    files = {
        name: File(rows=tally.files[name], bytes=size, sha256=digest) for name, (size, digest) in folder.files().items()
    }
    return Manifest(
        atlas=atlas.__version__,
        format=plan.format,
        rows=tally.rows,
        context_rows=tally.context,
        episodes=tally.episodes,
        tasks=tally.tasks,
        files=files,
        counts=tally.counts(),
        left_out=dict(sorted(tally.left.items())),
        permitted=dict(sorted(tally.permitted.items())),
        filters=making.filters,
        scored_by=tuple(tally.scored_by),
        without=plan.without,
        holdout={"share": plan.holdout, "group": plan.group, "method": holdout.METHOD},
        duplicates=method,
        rows_with_secrets=tally.secrets,
        lengths=making.measured.lengths() if making.measured is not None else None,
        notes=making.notes(),
        sources=tuple(_source(run, plan) for run in runs),
    )


def _where(run: Run) -> str:
    """The same for one run, by whatever way its folder is named."""
    return str(run.folder.resolve()) if isinstance(run.place, FolderRun) else run.path


def _source(run: Run, plan: ExportPlan) -> Source:
    verdicts = log_hash(run.place.log(VERDICTS)) if plan.filters.judge else None
    return Source(
        run=run.name,
        config=str(run.manifest["config"]),
        trace_sha256=log_hash(run.place.log(TRACE)) or "",
        verdicts_sha256=verdicts,
    )
