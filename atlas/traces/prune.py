"""Episodes are taken out of a run: their lines, and what is kept of them beside the trace.

What they came to stays as totals, so that a budget does not come back. Texts that other steps were shown as well stay;
those that only they were shown go with them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pydantic import Field

from atlas.errors import ConfigError
from atlas.jsontext import read_json
from atlas.records import Record
from atlas.traces.encode import encoded
from atlas.traces.format import GROWN, SCHEMA, STEP, TEXT
from atlas.traces.open_log import OPEN
from atlas.traces.place import LOGS, TRACE, Log, Place
from atlas.traces.pruned import Pruned, PrunedArm, PrunedLog
from atlas.traces.reader import Run, StoredEpisode

CALLS = "calls.jsonl"
"""Replies that were kept for a resumed graph: they name no episode, so all of them go."""
BESIDE = (OPEN, "talks.jsonl")
"""Logs of servers: what is known of open episodes, and where their conversations are. They are no part of a copy."""
_OF = ("episode", "e", "open", "heard", "over")
"""The fields in which logs name an episode."""
_HASHES = re.compile(rb'"([0-9a-f]{16})"')


class Choice(Record):
    """Which episodes: those that every given condition names."""

    everything: bool = False
    """All of them, where nothing else is given."""
    before: float | None = None
    """Begun before this Unix time."""
    arms: tuple[str, ...] = ()
    episodes: tuple[str, ...] = ()
    """Beginnings of ids."""
    containing: tuple[str, ...] = ()
    """Texts, in whatever case: who asks for a person's data to be removed gives the names and addresses it is under.
    Whatever was recorded of an episode is looked at, also what it was shown of others."""

    @property
    def given(self) -> bool:
        return self.everything or self.before is not None or bool(self.arms or self.episodes or self.containing)


class Going(Record):
    """What is to go from a run, or is gone."""

    run: str
    path: str
    episodes: tuple[str, ...] = ()
    """Ids, in order of their start."""
    arms: tuple[PrunedArm, ...] = ()
    lines: dict[str, int] = Field(default_factory=dict)
    """By log."""
    bytes: int = 0
    manifest: bool = False
    """Whether a text stands in the run's manifest, which is left as it is."""
    done: bool = False


class _Chosen:
    """What is to go from one run."""

    def __init__(self, run: Run, choice: Choice) -> None:
        self.run = run
        self.needle = needle(choice.containing)
        only = Choice(containing=choice.containing)
        self.wide = bool(choice.containing) and choice == only
        """Whether a text goes wherever it stands, also where that is no episode's."""
        self.stored = {episode.id: episode for episode in run.episodes()}
        self.responses = 0
        """How many texts there are of responses that clients may go on from: like replies, all go or none."""
        self.heard = False
        """Whether a text stands in one of them, whosever it is."""
        begun, holding = self._looked()
        ids = self._ids(choice, begun, holding)
        # An attempt that was played again would count in place of the one that goes.
        todo = list(ids)
        while todo:
            episode = self.stored.get(todo.pop())
            earlier = episode.result.retries if episode is not None and episode.result is not None else ""
            if earlier and earlier not in ids:
                ids.add(earlier)
                todo.append(earlier)
        self.ids = ids
        self.drops: dict[str, list[int]] = {}
        self.lines: dict[str, int] = {}
        self.bytes = 0
        self.before = run.pruned() or Pruned()
        for name in (*LOGS, *BESIDE):
            places = [*self._going(name)] if name != TRACE else [*self._of_trace()]
            if places:
                self.drops[name] = places
        self.some = bool(self.drops) or self.heard
        """Whether anything goes."""
        if self.some and self.responses:
            self.lines["responses"] = self.responses

    def _looked(self) -> tuple[dict[str, float], set[str]]:
        """When episodes began, and those in whose lines a text stands, or that were shown one in which it does."""
        begun: dict[str, float] = {}
        holding: set[str] = set()
        tainted: list[bytes] = []
        for _, _, line in self.run.place.log(TRACE).lines():
            there = self._holds(line)
            if (step := STEP.match(line)) is not None:
                if there or any(text in line for text in tainted):
                    holding.add(step[1].decode())
            elif (text := TEXT.match(line)) is not None:
                if there:
                    tainted.append(text[1])
            elif (event := _parsed(line)) is not None and isinstance(name := _whose(event), str):
                if event.get("type") == "start" and isinstance(event.get("time"), int | float):
                    begun[name] = float(event["time"])
                if there:
                    holding.add(name)
        for _, _, line in self.run.place.log(OPEN).lines():
            if self._holds(line) and (event := _parsed(line)) is not None:
                holding.add(str(event.get("episode")))
        for name, kept in self.run.place.beside():
            if not name:
                self.responses += 1
                self.heard = self.heard or (self.wide and self._holds(kept))
            elif self._holds(kept):
                holding.add(name)
        return begun, holding

    def _ids(self, choice: Choice, begun: dict[str, float], holding: set[str]) -> set[str]:
        known = {*self.stored, *holding}
        for beginning in choice.episodes:
            if not any(name.startswith(beginning) for name in known):
                raise ConfigError(f"no episode of {self.run.path} begins with {beginning!r}: see 'atlas traces show'")
        arms = {episode.arm for episode in self.stored.values()}
        if (arm := next((arm for arm in choice.arms if arm not in arms), None)) is not None:
            raise ConfigError(f"the run {self.run.path} has no arm {arm!r}: its arms are {', '.join(sorted(arms))}")
        found = set()
        for name in known:
            episode = self.stored.get(name)
            started = begun.get(name)
            if started is None and episode is not None and episode.result is not None:
                started = episode.result.started
            if choice.before is not None and (started is None or started >= choice.before):
                continue
            if choice.arms and (episode is None or episode.arm not in choice.arms):
                continue
            if choice.episodes and not any(name.startswith(beginning) for beginning in choice.episodes):
                continue
            if choice.containing and name not in holding:
                continue
            found.add(name)
        return found

    def _of_trace(self) -> Iterator[int]:
        """The places of the trace's lines that go."""
        used: set[bytes] = set()
        texts: list[tuple[int, bytes, int]] = []
        for _, place, line in self.run.place.log(TRACE).lines():
            if (step := STEP.match(line)) is not None:
                if step[1].decode() not in self.ids:
                    used.update(_HASHES.findall(line))
                    continue
            elif (text := TEXT.match(line)) is not None:
                texts.append((place, text[1], len(line)))
                continue
            elif (event := _parsed(line)) is None:
                if not (self.wide and self._holds(line)):
                    continue
            elif event.get("type") == "supervised":
                # It says how an arm did, and stays; where a text stands in it, it does not.
                if not (self.wide and self._holds(line)):
                    continue
            elif event.get("type") == "pruned":
                # Its totals are a part of those that are written now.
                if self.ids:
                    yield place
                continue
            elif _whose(event) not in self.ids:
                continue
            self._counted(TRACE, line)
            yield place
        if self.ids:
            for place, name, size in texts:
                if name not in used:
                    self._counted(TRACE, b"", size)
                    yield place

    def _going(self, name: str) -> Iterator[int]:
        log: Log = self.run.place.log(name)
        for _, place, line in log.lines():
            event = _parsed(line)
            names = [event.get(field) for field in _OF] if event is not None else []
            mine = any(isinstance(name, str) and name in self.ids for name in names)
            if mine or (name == CALLS and self.ids) or (self.wide and self._holds(line)):
                self._counted(name, line)
                yield place

    def _counted(self, name: str, line: bytes, size: int = 0) -> None:
        self.lines[name] = self.lines.get(name, 0) + 1
        self.bytes += size or len(line)

    def _holds(self, line: bytes) -> bool:
        return self.needle is not None and self.needle.search(line.decode(errors="replace")) is not None

    def going(self, *, done: bool = False) -> Going:
        told = self._holds(json.dumps(self.run.manifest, ensure_ascii=False).encode("utf-8", "replace"))
        return Going(
            run=self.run.name,
            path=self.run.path,
            episodes=tuple([*(n for n in self.stored if n in self.ids), *sorted(self.ids - self.stored.keys())]),
            arms=totals(episode for name, episode in self.stored.items() if name in self.ids),
            lines=self.lines,
            bytes=self.bytes,
            manifest=told,
            done=done,
        )


def going(place: Place, choice: Choice) -> Going:
    """What ``choice`` would take out of the run. Raises ConfigError for an arm or an episode that is not there."""
    return _Chosen(Run(place), choice).going()


def prune(place: Place, choice: Choice, *, by: str, reason: str) -> Going:
    """Take it out, all at once or not at all.

    Raises StoreError while another process writes the run, ConfigError for a reason that says what is to go.
    """
    check_reason(choice, reason)
    with place.alone() as alone:
        chosen = _Chosen(run := Run(place), choice)
        made = chosen.going(done=True)
        if not chosen.some:
            return made
        added = []
        if chosen.ids:
            log = PrunedLog(time=time.time(), by=by, reason=reason, episodes=len(made.episodes))
            all_of_them = chosen.before.also(Pruned(arms=made.arms, log=(log,)))
            added = [encoded({"type": "pruned", **all_of_them.model_dump(mode="json")})]
        alone.rewrite(chosen.drops, added, {**run.manifest, "schema": max(GROWN, SCHEMA)})
    return made


def check_reason(choice: Choice, reason: str) -> None:
    """Raises ConfigError for a reason in which a text stands that is to be removed: the reason is kept."""
    found = needle(choice.containing)
    if found is not None and found.search(reason):
        raise ConfigError("the reason is kept, and a text that is to go stands in it: give another --reason")


def totals(episodes: Collection[StoredEpisode] | Iterator[StoredEpisode]) -> tuple[PrunedArm, ...]:
    """What ``episodes`` came to, by arm. Steps of one without a result are those that the trace has."""
    arms: dict[str, PrunedArm] = {}
    for episode in episodes:
        result = episode.result
        row = PrunedArm(
            arm=episode.arm,
            episodes=1,
            scored=int(result is not None and result.success is not None),
            succeeded=int(result is not None and bool(result.success)),
            steps=result.steps if result is not None else episode.recorded,
            teacher_steps=result.teacher_steps if result is not None else 0,
            spend=tuple(episode.spend),
        )
        arms[row.arm] = arms[row.arm].and_of(row) if row.arm in arms else row
    return tuple(arms.values())


def needle(texts: Sequence[str]) -> re.Pattern[str] | None:
    """What finds one of ``texts`` in a line of JSON, in whatever case and however it is escaped there."""
    if not texts:
        return None
    if (blank := next((text for text in texts if len(text.strip()) < 2), None)) is not None:
        raise ConfigError(f"--containing {blank!r} stands everywhere: give a longer text")
    forms = dict.fromkeys(
        form for text in texts for form in (json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
    )
    return re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)


def _whose(event: dict[str, Any]) -> object:
    """The episode that an event is of."""
    return event.get("episode", event.get("id"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = read_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
