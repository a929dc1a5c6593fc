"""Reading traces: a run's episodes and steps, also while it is being written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from atlas.errors import StoreError
from atlas.records import Episode, Prompt, Spend, Step, Task, by_actor, counted, retried
from atlas.traces.events import KINDS, Event
from atlas.traces.format import unpack_prompt
from atlas.traces.lines import Tail
from atlas.traces.writer import MANIFEST, TRACE, read_manifest

_STEP = re.compile(rb'\{"type":"step","episode":"([^"\\]+)"')
"""How the writer begins a step's line: enough to know whose it is without parsing it."""
_EVENT = re.compile(rb'\{"type":"(supervised|learned)"')
_INDEX = b',"index":'
"""What stands before the number of a step: nothing before that has such a key, and quotes within texts are escaped."""

log = logging.getLogger("atlas.traces")


@dataclass
class StoredEpisode:
    """An episode as the trace holds it. ``result`` is None while it is running, or where its process was killed.

    Its steps stay in the file until they are asked for: a run of thousands of episodes is listed in little memory.
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
    _trace: Path = field(default=Path(), repr=False)
    _offsets: list[int] = field(default_factory=list, repr=False)
    """Where the lines of its steps begin in the file."""
    _texts: dict[str, str] = field(default_factory=dict, repr=False)
    _indexes: set[int] = field(default_factory=set, repr=False)
    """Which steps these lines say they are; fewer than lines where some do not say."""

    @property
    def lost(self) -> int:
        """How many of its steps are not in the file though they were taken, as the numbers of the others and the result
        tell. Whoever learns from episodes or judges them leaves out those that have lost some."""
        there = len(self._indexes)
        if there < len(self._offsets):  # of a build that wrote lines in another way, or written twice
            there = len(self._offsets)
        last = max(self._indexes, default=-1) + 1
        return max(0, last - there, (self.result.steps if self.result is not None else 0) - there)

    def _has(self, offset: int, line: bytes, retrieved: bool) -> None:
        """A line is one of its steps."""
        self._offsets.append(offset)
        _, _, after = line.partition(_INDEX)
        if (index := after[:12].partition(b",")[0]).isdigit():
            self._indexes.add(int(index))
        self.retrieved = self.retrieved or retrieved

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order, prompts restored: those that are :attr:`lost` are not among them, and the prompts after a
        lost one, of which only what they add is written, are empty. Raises StoreError where a line of one is damaged.
        """
        steps: list[Step] = []
        before = Prompt()
        whole = next((i for i in range(len(self._indexes)) if i not in self._indexes), len(self._offsets))
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
        """What the episode used: by its result, or by its steps where it has none."""
        if self.result is not None:
            return self.result.spend
        rows = (s for line in self._raw_steps() for s in _spent(line))
        return by_actor(Spend.model_validate(s) for s in rows)

    def _raw_steps(self) -> list[dict[str, Any]]:
        found = []
        with self._trace.open("rb") as file:
            for offset in self._offsets:
                file.seek(offset)
                event = _parsed(file.readline())
                if event is not None and "index" in event and "decision" in event:
                    found.append(event)
        return found


class Run:
    """A run folder, opened for reading."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.name = self.folder.name
        if not (self.folder / MANIFEST).is_file():
            raise StoreError(f"{self.folder} holds no run ({MANIFEST} is missing): list runs with 'atlas traces ls'")
        self.manifest = read_manifest(self.folder / MANIFEST)

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked to do."""
        settings: dict[str, Any] = self.manifest["settings"]
        return settings

    @property
    def about(self) -> dict[str, Any]:
        """The settings and all else that is told of the run, for showing: a copy."""
        return {**self.settings, **(self.manifest.get("about") or {})}

    def episodes(self) -> list[StoredEpisode]:
        """All episodes in order of their start, those without an end included."""
        found: dict[str, StoredEpisode] = {}
        texts: dict[str, str] = {}
        strays: dict[str, list[tuple[int, bytes, bool]]] = {}
        for number, offset, line in self._lines():
            step = _STEP.match(line)
            if step is not None:
                episode = found.get(step[1].decode())
                # Quotes within texts are escaped, so this stands nowhere but in a decision.
                used = b'"retrieved":[{' in line or b'"guidance":[{' in line
                if episode is None:
                    strays.setdefault(step[1].decode(), []).append((offset, line, used))
                else:
                    episode._has(offset, line, used)
            elif (event := _parsed(line)) is not None:
                try:
                    self._take(event, found, texts)
                except (KeyError, ValueError) as error:
                    raise self._damaged(number) from error
        for again in retried(e.result for e in found.values() if e.result is not None):
            if again in found:
                found[again].retried = True
        for name, lines in strays.items():
            for place in lines if name in found else ():  # its beginning is lost, and its end tells the same
                found[name]._has(*place)
        self._complain(found, sum(name not in found for name in strays))
        return list(found.values())

    def _complain(self, found: dict[str, StoredEpisode], unknown: int) -> None:
        """Say what lines are missed, once for each look at the run."""
        short = [episode for episode in found.values() if episode.lost]
        if short or unknown:
            steps = sum(episode.lost for episode in short)
            also = f", and the beginnings of {unknown} episodes that have no end" if unknown else ""
            log.warning(
                "%s has lost lines: %d steps of %d episodes (%s)%s. These episodes count in the account; nothing is "
                "learned from them, exported or judged",
                self.folder / TRACE,
                steps,
                len(short),
                ", ".join(episode.id for episode in short[:5]) + (", ..." if len(short) > 5 else ""),
                also,
            )

    def results(self) -> list[Episode]:
        """The results of all finished episodes, in order of their end, without those that were played again after an
        error."""
        results: dict[str, Episode] = {}
        for number, _, line in self._lines():
            event = None if _STEP.match(line) else _parsed(line)
            if event is not None and event.get("type") == "end":
                try:
                    result = _result(event)
                except ValueError as error:
                    raise self._damaged(number) from error
                # One that was scored late has a further line, which counts.
                results[result.id] = result
        return counted(results.values())

    def events(self) -> list[Event]:
        """What the trace tells besides episodes, in the order it happened: changes of supervision, what was learned."""
        found: list[Event] = []
        for number, _, line in self._lines():
            kind = _EVENT.match(line)
            event = _parsed(line) if kind is not None else None
            if kind is not None and event is not None:
                told = {name: value for name, value in event.items() if name != "type"}
                try:
                    found.append(KINDS[kind[1].decode()].model_validate(told))
                except ValueError as error:
                    raise self._damaged(number) from error
        return found

    def _take(self, event: dict[str, Any], found: dict[str, StoredEpisode], texts: dict[str, str]) -> None:
        """Add one event to the episodes ``found`` and the stable ``texts`` so far."""
        match event.get("type"):
            case "text":
                texts[event["hash"]] = event["text"]
            case "start":
                found[event["episode"]] = StoredEpisode(
                    id=event["episode"],
                    arm=event["arm"],
                    task=Task.model_validate(event["task"]),
                    seed=event["seed"],
                    config=event["config"],
                    _trace=self.folder / TRACE,
                    _texts=texts,
                )
            case "end":
                result = _result(event)
                episode = found.setdefault(
                    result.id,
                    StoredEpisode(
                        id=result.id,
                        arm=result.arm,
                        task=result.task,
                        seed=result.seed,
                        config=result.config,
                        _trace=self.folder / TRACE,
                        _texts=texts,
                    ),
                )
                episode.result = result

    def _damaged(self, number: int) -> StoreError:
        return StoreError(f"{self.folder / TRACE}, line {number}, does not fit the trace format: the file is damaged")

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Line numbers, from 1, where the lines begin, and the lines."""
        path = self.folder / TRACE
        if not path.exists():
            return
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, offset, line
                offset += len(line)


class Results:
    """The results of a run as they come, whichever process writes them."""

    def __init__(self, folder: str | Path, *, damaged: bool = False) -> None:
        """``damaged``: whether a result that does not fit the trace format is passed over; else it is a StoreError."""
        self._path = Path(folder) / TRACE
        self._damaged = damaged
        self._tail = Tail(self._path, whole=True)

    def new(self) -> list[Episode]:
        """Those that have come since the last call, in order of their end; interrupted and retried ones too."""
        found = []
        for line in self._tail.lines():
            event = None if _STEP.match(line) else _parsed(line)
            if event is not None and event.get("type") == "end":
                try:
                    found.append(_result(event))
                except ValueError as error:
                    if self._damaged:
                        continue
                    raise StoreError(
                        f"{self._path} has a result that does not fit the trace format: the file is damaged"
                    ) from error
        return found


def _spent(step: dict[str, Any]) -> Any:
    """What a step used."""
    return step.get("spend") or step["decision"].get("spend") or ()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for a line cut off by a kill, or that has no end yet because it is being written."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _result(event: dict[str, Any]) -> Episode:
    return Episode.model_validate({k: v for k, v in event.items() if k != "type"})


def runs(root: str | Path) -> list[Run]:
    """All runs below ``root``, newest last."""
    found = [Run(path.parent) for path in Path(root).glob(f"**/{MANIFEST}")]
    return sorted(found, key=lambda run: float(run.manifest["created"]))


def find_run(name: str | Path, root: str | Path = "runs") -> Run:
    """The run at the path ``name``, or of that name below ``root``."""
    path = Path(name)
    if path.name == MANIFEST:
        path = path.parent
    if not (path / MANIFEST).is_file() and (Path(root) / path / MANIFEST).is_file():
        path = Path(root) / path
    return Run(path)
