"""Reading traces: a run's episodes and steps, also while it is being written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import StoreError
from atlas.records import Episode, Prompt, Spend, Step, Task, by_actor, counted, retried, total
from atlas.traces.events import KINDS, Event
from atlas.traces.format import EVENT, PRUNED, STEP, unpack_prompt
from atlas.traces.index import Among, Index, StepLines, concerns, index_of, parsed
from atlas.traces.outcomes import BEGAN, ENDED, Began, began, ended, result_of, start_of
from atlas.traces.place import MANIFEST, TRACE, Log, Part, Place, is_server, place_of
from atlas.traces.pruned import Pruned
from atlas.traces.spent import spent_in
from atlas.traces.totals import Sums

if TYPE_CHECKING:
    from atlas.traces.newest import Shown

log = logging.getLogger("atlas.traces")


@dataclass
class StoredEpisode:
    """An episode as the trace holds it. ``result`` is None while it is running, or where its process was killed.

    Its steps stay in the trace until they are asked for: a run of thousands of episodes is listed in little memory.
    """

    id: str
    arm: str
    task: Task
    seed: int
    config: str
    result: Episode | None = None
    retrieved: bool = False
    """Whether any step was shown demonstrations, or entries of pamphlets, which are learned from them."""
    retried: bool = False
    """Whether it ended with an error and was played again to a result: it is an earlier attempt, and counts in none."""
    name: str = ""
    """What its client called it; empty where it has no name."""
    resumed: list[str] = field(default_factory=list)
    """How it was found again, each time that its process was stopped and another went on with it."""
    _trace: Log | None = field(default=None, repr=False)
    _lines: list[tuple[int, StepLines]] = field(default_factory=list, repr=False)
    """Where a part of the trace begins, and its lines that are steps of this one."""
    _texts: dict[str, str] = field(default_factory=dict, repr=False)
    _unended: Callable[[], Mapping[str, Iterable[Any]]] = field(default=dict, repr=False)
    """See :meth:`atlas.traces.place.Place.unended`."""

    @property
    def lost(self) -> int:
        """How many of its steps the file does not have, or not whole, though they were taken, as the numbers of the
        others and the result tell. Whoever learns from episodes or judges them leaves out those that have lost some."""
        there = sum(len(lines.places) for _, lines in self._lines)
        last = max((max(lines.indexes, default=-1) for _, lines in self._lines), default=-1) + 1
        return max(0, last - there, (self.result.steps if self.result is not None else 0) - there)

    @property
    def recorded(self) -> int:
        """How many of its steps the trace has."""
        return len(self._indexes())

    def _has(self, lines: StepLines, base: int) -> None:
        """These lines, of a part of the trace that begins at ``base``, are steps of it."""
        self._lines.append((base, lines))
        self.retrieved = self.retrieved or lines.retrieved

    def _indexes(self) -> set[int]:
        """Which steps its lines are: fewer than lines where one was written twice."""
        return {index for _, lines in self._lines for index in lines.indexes}

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order, prompts restored: those that are :attr:`lost` are not among them, and the prompts after a
        lost one, of which only what they add is written, are empty. Raises StoreError where a line of one is damaged.
        """
        steps: list[Step] = []
        before = Prompt()
        there = self._indexes()
        whole = next((i for i in range(len(there)) if i not in there), len(there))
        for raw in sorted(self._raw_steps(), key=lambda line: int(line["index"])):
            body = {k: v for k, v in raw.items() if k not in ("type", "episode", "outcome_admissible", "prompt")}
            try:
                decision = dict(body["decision"])
                # In the first schema the prompt and the spend stood with the decision.
                old = decision.pop("prompt", None), decision.pop("spend", None)
                body["spend"] = _spent(raw)
                packed = raw["prompt"] if "prompt" in raw else old[0]
                before = unpack_prompt(packed, before, self._texts) if raw["index"] < whole else Prompt()
                steps.append(Step.model_validate({**body, "decision": {**decision, "prompt": before}}))
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"step {raw['index']} of episode {self.id} does not fit the trace format: the file is damaged"
                ) from error
        if self.result is not None and len(steps) + self.lost < self.result.steps:
            raise StoreError(f"a step of episode {self.id} does not fit the trace format: the file is damaged")
        return tuple(steps)

    @property
    def spend(self) -> tuple[Spend, ...]:
        """What the episode used: by its result, or, where it has none, by its steps and what its server keeps of it."""
        if self.result is not None:
            return self.result.spend
        rows = (s for line in self._raw_steps() for s in _spent(line))
        steps, kept = (
            by_actor(Spend.model_validate(s) for s in found) for found in (rows, self._unended().get(self.id, ()))
        )
        # What is kept is of the steps, too, unless it could not be written any more.
        return max(kept, steps, key=lambda spend: total(spend).calls)

    def _raw_steps(self) -> list[dict[str, Any]]:
        places = [base + place for base, lines in self._lines for place in lines.places]
        if self._trace is None or not places:
            return []
        events = [event for event in map(parsed, self._trace.at(places)) if event is not None]
        if any(event.get("episode") != self.id for event in events):
            raise StoreError(f"{self._trace.path} was changed meanwhile: do it again")
        return [event for event in events if "index" in event and "decision" in event]


class Run:
    """A run, in a folder or on a server, opened for reading."""

    shown: Shown | None = None
    """Which of its episodes are read; None where all are: see :mod:`atlas.traces.newest`."""

    def __init__(self, folder: str | Path | Place) -> None:
        self.place = place_of(folder)
        self.name = self.place.name
        self.path = self.place.path
        """As a command takes it; a URL is without its password."""
        self.manifest = self.place.manifest()
        self._trace = self.place.log(TRACE)
        self.whole = True
        """Whether all lines were there when its episodes were read last."""

    @property
    def folder(self) -> Path:
        """Raises ConfigError for a run on a server."""
        return self.place.folder()

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked to do."""
        settings: dict[str, Any] = self.manifest["settings"]
        return settings

    @property
    def about(self) -> dict[str, Any]:
        """The settings and all else that is told of the run, for showing: a copy."""
        return {**self.settings, **(self.manifest.get("about") or {})}

    def episodes(
        self, lines: Iterable[tuple[int, int, bytes]] | None = None, *, among: Among | None = None
    ) -> list[StoredEpisode]:
        """All episodes in order of their start, those without an end included; those in some ``lines`` of the trace
        alone, where they are given, and only those whose ids are ``among`` some."""
        if lines is not None:
            return self._stored([index_of(lines)], among, by_now=False)
        return self._stored([*self._indexes()], among)

    def _stored(self, parts: Sequence[Index], among: Among | None, *, by_now: bool = True) -> list[StoredEpisode]:
        """The episodes of these parts of the trace; ``by_now`` with what is known of open ones beyond it."""
        found: dict[str, StoredEpisode] = {}
        anew: dict[str, int] = {}
        """Where those begin that were begun again by the same id: an import that was cut off writes them again."""
        texts = _Texts(self._trace, self._passed())
        for part in parts:
            texts.add(part)
            for (number, line), place in zip(part.told(), part.places, strict=True):
                if not concerns(line, among):
                    continue
                try:
                    if line.startswith(ENDED) and (result := ended(line)) is not None:
                        self._take_end(result, found, texts)
                    elif line.startswith(BEGAN) and (start := began(line)) is not None:
                        if start.episode in found:
                            anew[start.episode] = part.before[1] + place
                        self._take_start(start, found, texts)
                    elif (event := parsed(line)) is not None:
                        if event.get("type") == "start" and event["episode"] in found:
                            anew[event["episode"]] = part.before[1] + place
                        self._take(event, found, texts)
                except (KeyError, ValueError) as error:
                    raise self._damaged(number) from error
        for again in retried(e.result for e in found.values() if e.result is not None):
            if again in found:
                found[again].retried = True
        if among is not None:
            found = {name: episode for name, episode in found.items() if among(name)}
        unknown: set[str] = set()
        for part in parts:
            for name, steps in part.steps.items():
                # Where its beginning is lost its end tells the same.
                if name in found:
                    found[name]._has(steps.since(anew.get(name, 0) - part.before[1]), part.before[1])
                else:
                    unknown.add(name)
        unended = cache(self.place.unended)
        for episode in found.values():
            if episode.result is None and by_now:
                episode._unended = unended
        if by_now:
            self._complain(found, 0 if among else len(unknown))
        return list(found.values())

    def _complain(self, found: dict[str, StoredEpisode], unknown: int) -> None:
        """Say what lines are missed, once for each look at the run."""
        short = [episode for episode in found.values() if episode.lost]
        self.whole = not short and not unknown
        if short or unknown:
            steps = sum(episode.lost for episode in short)
            also = f", and the beginnings of {unknown} episodes that have no end" if unknown else ""
            log.warning(
                "%s has lost lines: %d steps of %d episodes (%s)%s. These episodes count in the account; nothing is "
                "learned from them, exported or judged",
                self._trace.path,
                steps,
                len(short),
                ", ".join(episode.id for episode in short[:5]) + (", ..." if len(short) > 5 else ""),
                also,
            )

    def results(self) -> list[Episode]:
        """The results of all finished episodes, in order of their end, without those that were played again after an
        error."""
        results: dict[str, Episode] = {}
        for number, line in self._told():
            try:
                result = _end_of(line) if concerns(line, None) else None
            except ValueError as error:
                raise self._damaged(number) from error
            if result is not None:
                # One that was scored late has a further line, which counts.
                results[result.id] = result
        return counted(results.values())

    def events(self) -> list[Event]:
        """What the trace tells besides episodes, in the order it happened: changes of supervision, what was learned,
        names of episodes, and those that went on elsewhere."""
        found: list[Event] = []
        for number, line in self._told():
            kind = EVENT.match(line)
            event = parsed(line) if kind is not None else None
            if kind is not None and event is not None:
                told = {name: value for name, value in event.items() if name != "type"}
                try:
                    found.append(KINDS[kind[1].decode()].model_validate(told))
                except ValueError as error:
                    raise self._damaged(number) from error
        return found

    def pruned(self) -> Pruned | None:
        """What was taken out of the run, in totals; None where nothing was."""
        return self._pruned(self._all_parts())

    def _pruned(self, parts: Iterable[Part]) -> Pruned | None:
        found: Pruned | None = None
        for part in parts:
            for number, line in part.head.rare:
                event = parsed(line) if PRUNED.match(line) else None
                if event is not None:
                    try:
                        found = Pruned.model_validate({name: value for name, value in event.items() if name != "type"})
                    except ValueError as error:
                        raise self._damaged(part.before[0] + number) from error
        return found

    def used(self) -> tuple[Spend, ...]:
        """All that the run has used: by its episodes, also those that were cut off, and by those taken out of it. Of
        episodes that are over it reads what their segments tell in totals."""
        return self.sums().spends()

    def sums(self) -> Sums:
        """The same, as it is added up."""
        parts = self._all_parts()
        sums, others, there = spent_in(parts, self._trace)
        if others is None or others:
            among = None if others is None else others.__contains__
            for episode in self._stored([part.index() for part in there], among):
                sums.add(episode.spend)
        gone = self._pruned(parts)
        sums.add(gone.spend if gone is not None else ())
        return sums

    def damaged(self) -> list[str]:
        """What is wrong with the closed segments of its trace, reading all of them; their indexes are made anew where
        they tell something else."""
        return self._trace.damaged()

    def _take(self, event: dict[str, Any], found: dict[str, StoredEpisode], texts: dict[str, str]) -> None:
        """Add one event to the episodes ``found`` and the stable ``texts`` so far."""
        match event.get("type"):
            case "text":
                texts[event["hash"]] = event["text"]
            case "start":
                self._take_start(start_of(event), found, texts)
            case "resumed" if event["episode"] in found:
                found[event["episode"]].resumed.append(str(event["by"]))
            case "named" if event["episode"] in found:
                found[event["episode"]].name = str(event["name"])
            case "end":
                self._take_end(result_of(event), found, texts)

    def _take_start(self, start: Began, found: dict[str, StoredEpisode], texts: dict[str, str]) -> None:
        found[start.episode] = StoredEpisode(
            id=start.episode,
            arm=start.arm,
            task=start.task,
            seed=start.seed,
            config=start.config,
            _trace=self._trace,
            _texts=texts,
        )

    def _take_end(self, result: Episode, found: dict[str, StoredEpisode], texts: dict[str, str]) -> None:
        if result.id not in found:
            self._take_start(Began(result.id, result.arm, result.task, result.seed, result.config), found, texts)
        found[result.id].result = result

    def _damaged(self, number: int) -> StoreError:
        return StoreError(f"{self._trace.path}, line {number}, does not fit the trace format: the file is damaged")

    def _told(self) -> Iterator[tuple[int, bytes]]:
        """Line numbers, from 1, and the lines that are neither steps nor texts."""
        for part in self._indexes():
            yield from part.told()

    def _indexes(self) -> Iterator[Index]:
        """Of the parts of the trace that are read."""
        return self._trace.indexes()

    def _all_parts(self) -> list[Part]:
        return self._trace.parts()

    def _passed(self) -> list[Part]:
        """The others: their texts may be those of episodes that are read."""
        return []


class _Texts(dict[str, str]):
    """The texts of a trace by hash. Those of closed segments are read when they are asked for."""

    def __init__(self, trace: Log, others: list[Part]) -> None:
        super().__init__()
        self._trace = trace
        self._others = others
        """Parts that are looked into, the newest first, where a text is in none that was added."""
        self._places: dict[str, int] = {}

    def add(self, part: Index) -> None:
        self._take(part.texts, part.before[1])

    def _take(self, texts: Mapping[str, str | int], base: int) -> None:
        for name, text in texts.items():
            if isinstance(text, str):
                self[name] = text
            else:
                self._places[name] = base + text

    def __missing__(self, name: str) -> str:
        while name not in self._places and self._others:
            part = self._others.pop()
            self._take(part.texts(), part.before[1])
            if name in self:
                return self[name]
        event = parsed(next(iter(self._trace.at([self._places[name]]))))
        if event is None or event.get("hash") != name:
            raise StoreError(f"{self._trace.path} was changed meanwhile: do it again")
        self[name] = str(event["text"])
        return self[name]


class Results:
    """The results of a run as they come, whichever process writes them."""

    def __init__(self, of: str | Path | Place | Run, *, damaged: bool = False) -> None:
        """Of a run that is open already what it has just read is not read again. ``damaged``: whether a result that
        does not fit the trace format is passed over; else it is a StoreError."""
        trace = of._trace if isinstance(of, Run) else place_of(of).log(TRACE)
        self._path = trace.path
        self._damaged = damaged
        self.tail = trace.tail(whole=True, told=True)

    def new(self) -> list[Episode]:
        """Those that have come since the last call, in order of their end; interrupted and retried ones too. Where a
        server was lost meanwhile some come again."""
        return [*self.each()]

    def each(self) -> Iterator[Episode]:
        """The same, one after the other."""
        for line in self.tail.lines():
            try:
                result = None if STEP.match(line) else _end_of(line)
            except ValueError as error:
                if self._damaged:
                    continue
                raise StoreError(
                    f"{self._path} has a result that does not fit the trace format: the file is damaged"
                ) from error
            if result is not None:
                yield result


def _spent(step: dict[str, Any]) -> Any:
    """What a step used."""
    return step.get("spend") or step["decision"].get("spend") or ()


def _end_of(line: bytes) -> Episode | None:
    """The result that a line tells; None where it is another line. Raises ValueError for one that does not fit."""
    if line.startswith(ENDED) and (result := ended(line)) is not None:
        return result
    if line.startswith(BEGAN):
        return None
    event = parsed(line)
    return result_of(event) if event is not None and event.get("type") == "end" else None


def runs(root: str | Path) -> list[Run]:
    """All runs below ``root``, newest last."""
    found = [Run(path.parent) for path in Path(root).glob(f"**/{MANIFEST}")]
    return sorted(found, key=lambda run: float(run.manifest["created"]))


def find_run(name: str | Path, root: str | Path = "runs") -> Run:
    """The run at the path or the URL ``name``, or of that name below ``root``."""
    if is_server(name):
        return Run(name)
    path = Path(name)
    if path.name == MANIFEST:
        path = path.parent
    if not (path / MANIFEST).is_file() and (Path(root) / path / MANIFEST).is_file():
        path = Path(root) / path
    return Run(path)
