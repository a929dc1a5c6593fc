"""What the arms of an experiment may read: all that was collected, its first part, or none of the task's own family."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from atlas.asking import Desk
from atlas.benchmarks.whole import WholeEntries
from atlas.distil import Lesson, distil_run
from atlas.errors import ConfigError
from atlas.memory import Memory
from atlas.memory.distil import Distiller
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from atlas.protocols import Pamphlets, Policy
from atlas.records import Decision, Guidance, View
from atlas.traces import Run
from atlas.traces.account import COLLECT

_TURNS = 20
"""Ways to pair cues with advice that are tried."""

Part = tuple[int | None, str, bool, bool]


@dataclass
class Library:
    """The entries that the demonstrations were distilled to."""

    memory: Memory
    lessons: Sequence[Lesson]
    """In the order of the demonstrations. Empty where the entries were there before this run."""
    won: frozenset[str] = frozenset()
    """The episodes that are demonstrations; lessons of others are of failures."""
    _parts: dict[Part, Pamphlets] = field(default_factory=dict)

    def entries(
        self, count: int | None = None, without: str = "", *, shuffled: bool = False, whole: bool = False
    ) -> Pamphlets:
        """What the first ``count`` demonstrations taught, without those of one family: a memory of its own, learned
        from them alone. Shuffled, each cue has the advice of another entry; whole, a search finds all of them."""
        if count is None and not without and not shuffled and not whole:
            return self.memory.entries
        part = (count, without, shuffled, whole)
        if part not in self._parts:
            self._parts[part] = self._learned(part)
        return self._parts[part]

    def _learned(self, part: Part) -> Pamphlets:
        count, without, shuffled, whole = part
        if not self.lessons and (count is not None or without):
            raise ConfigError(
                "a part of the pamphlets is what a part of the demonstrations taught: collect some with --demos N"
            )
        memory: PamphletStore = self.memory.entries
        if count is not None or without:
            memory = PamphletStore(":memory:", self.memory.embedder)
            for lesson in self._first(count):
                if not without or lesson.family != without:
                    memory.learn(f"library/{lesson.episode}", lesson.distilled.entries)
        if shuffled:
            entries = exchanged(memory.all())
            memory = PamphletStore(":memory:", self.memory.embedder)
            memory.add_many(entries, author="rule:shuffled", reason="a control: cues with the advice of other entries")
        if whole:
            return Extract(WholeEntries(memory), {"count": count, "without": without, "shuffled": shuffled})
        return Extract(memory, {"count": count, "without": without, "shuffled": shuffled})

    def _first(self, count: int | None) -> list[Lesson]:
        """What the first ``count`` demonstrations taught, and the failures before the next one."""
        found, left = [], len(self.lessons) if count is None else count
        for lesson in self.lessons:
            if not self.won or lesson.episode in self.won:
                left -= 1
            if left < 0:
                break
            found.append(lesson)
        return found


async def distilled(run: Run, distiller: Distiller, memory: Memory, seen: Callable[[str], None]) -> Library:
    """The entries that the demonstrations of ``run`` teach, and the failures where ``distiller`` can learn from those,
    in ``memory``; the lessons lie beside the trace. ``seen`` is told what is done."""
    collected = [e for e in run.episodes() if e.arm == COLLECT and e.result is not None]
    won = {e.id for e in collected if e.result is not None and e.result.success}
    if not getattr(distiller, "from_failures", False):
        collected = [e for e in collected if e.id in won]
    others = len(collected) - len(won)
    doing = f"distilling {len(won)} demonstrations" + (f" and {others} failures" if others else "")
    lessons = await distil_run(
        run, distiller, collected, memory.entries, seen=lambda done, of: seen(f"{doing}: {done:,} of {of:,}")
    )
    return Library(memory, lessons, frozenset(won))


class Extract:
    """Entries of a part, named in the configuration of the episodes that read it."""

    def __init__(self, memory: Pamphlets, part: dict[str, object]) -> None:
        self._memory, self._part = memory, part

    def search(self, view: View, tokens: int) -> Sequence[Guidance]:
        return self._memory.search(view, tokens)

    def config(self) -> dict[str, object]:
        return {**self._memory.config(), "part": self._part}


def exchanged(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, each with what another one for the same reader says to do: the same cues, the same advice, and
    nothing to connect them. If these help as much, it is not what the entries say that helps.

    Where chance brings together what belongs together, the pair is left out.
    """
    rows = sorted(entries, key=lambda entry: entry.id)
    known = {entry.id for entry in rows}
    random.Random("exchanged").shuffle(rows)
    made: list[Entry] = []
    for audience in ("student", "teacher"):
        group = [entry for entry in rows if entry.audience == audience]
        best: list[Entry] = []
        for turn in range(1, min(len(group), _TURNS)):
            pairs = map(_with, group, [*group[turn:], *group[:turn]])
            best = max(best, [entry for entry in pairs if entry.id not in known], key=len)
        made += best
    return made


def _with(entry: Entry, other: Entry) -> Entry:
    """The cue of ``entry`` with the advice of ``other``."""
    advice = {"action": other.action, "effect": other.effect, "pattern": other.pattern, "kind": other.kind}
    return entry.model_copy(update=advice)


class Elsewhere:
    """Plays each task with a memory that was learned on other families only. It is the experiment that looks at the
    family, to take something away; the policy inside never does."""

    def __init__(self, make: Callable[[str], Policy]) -> None:
        self._make = make
        self._policies: dict[str, Policy] = {}

    async def decide(self, view: View, desk: Desk) -> Decision:
        family = view.task.family
        if family not in self._policies:
            self._policies[family] = self._make(family)
        return await self._policies[family].decide(view, desk)

    def config(self) -> dict[str, object]:
        return {"policy": "elsewhere", "inner": self._make("").config()}
