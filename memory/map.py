"""What a memory has learned, at a glance: what it holds by family of tasks, what its entries earn, which never help,
what it cost, and what waits for evidence or was turned away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from atlas.memory.database import Database, parsed
from atlas.memory.demonstration import Demonstration
from atlas.memory.embed import HashEmbedder
from atlas.memory.evidence import EvidenceTable
from atlas.memory.gate import Rule
from atlas.memory.history import Outcome
from atlas.memory.pamphlet import Entry
from atlas.memory.rows import record
from atlas.memory.uplift import Evidence
from atlas.memory.versions import reason_for
from atlas.record import Record
from atlas.stats import Interval, wilson

ALIKE = 0.55
"""Likeness of wording from which goals without a family are taken together."""
ANY = "(any)"
"""The family of an entry that comes from no task that is known."""
CLUSTERED = 2_000
"""Goals without a family that are compared; those after them go to the likest group."""


class FamilyMap(Record):
    """What is there for one family of tasks."""

    family: str
    named: bool
    """Whether the tasks say that they are of it; else their goals are alike, and this is one of them."""
    demonstrations: int = 0
    seen: int = 0
    """Episodes that these stand for."""
    entries: dict[str, int] = Field(default_factory=dict)
    """By status."""
    success: Interval | None = None
    """Of the past tasks that were scored; None where there is none."""
    episodes: int = 0
    """Past tasks, scored or not."""
    collected: float | None = None
    """Dollars that collecting the demonstrations cost, of those that tell; None where none does."""
    untold: int = 0
    """Demonstrations whose dollars are not known."""


class EntryMap(Record):
    """An entry, and what it is worth."""

    id: str
    status: str
    family: str
    cue: str
    action: str
    evidence: Evidence
    why: str = ""
    """Why it was turned away."""


class MemoryMap(Record):
    """All of it. Entries are in the order of how sure their worth is."""

    path: str
    version: int
    demonstrations: int
    entries: int
    """That may reach a prompt."""
    outcomes: int
    families: tuple[FamilyMap, ...]
    earns: tuple[EntryMap, ...]
    """Entries that raise the reward, surely: the whole interval is above 0."""
    idle: tuple[EntryMap, ...]
    """Entries that never help: the whole interval is below the gain that a rule waits for."""
    waits: tuple[EntryMap, ...]
    """Entries that were tried, and of which it is not sure yet."""
    untried: int
    """Entries on trial without a trial."""
    turned_away: tuple[EntryMap, ...]
    """Quarantined."""
    gain: float = Rule().effect
    """What :attr:`idle` is judged by, in reward."""

    @property
    def collected(self) -> float | None:
        """Dollars that collecting cost, of the demonstrations that tell."""
        known = [family.collected for family in self.families if family.collected is not None]
        return sum(known) if known else None

    @property
    def untold(self) -> int:
        return sum(family.untold for family in self.families)


def memory_map(database: Database) -> MemoryMap:
    """The map of an open memory, which is only read. Raises StoreError where it is damaged."""
    with database.reading():
        items = database.rows("demonstration")
        demos = [parsed(item, Demonstration, database.path) for item in items if item.searched]
        entries = [(item, parsed(item, Entry, database.path)) for item in database.rows("entry")]
        rows = database.backend.outcomes()
        outcomes = [record(Outcome, text, f"outcome {seq}", database.path) for seq, text in rows]
        table = EvidenceTable(database)
        evidence = table.all()
        trials = {name: table.trials(name) for name in evidence}
        reasons = {
            item.id: reason_for(item, database.history(item.kind, item.id))
            for item, _ in entries
            if item.status == "quarantined"
        }
        head = database.head()
    tasks = {task: demo.family for demo in demos if demo.family for task in demo.tasks}
    tasks |= {trial.task: trial.family for some in trials.values() for trial in some if trial.family}
    goals = {demo.goal for demo in demos if not demo.family}
    goals |= {one.goal for one in outcomes if one.task_id not in tasks}
    groups = _alike(sorted(goals))
    families: dict[str, FamilyMap] = {}

    def family(name: str, named: bool) -> str:
        families.setdefault(name, FamilyMap(family=name, named=named))
        return name

    def change(name: str, **values: object) -> None:
        families[name] = families[name].model_copy(update=values)

    for demo in demos:
        name = family(demo.family, True) if demo.family else family(groups[demo.goal], False)
        tasks.setdefault(demo.task_id, name)
        one = families[name]
        known = demo.dollars is not None
        change(
            name,
            demonstrations=one.demonstrations + 1,
            seen=one.seen + demo.seen,
            collected=(one.collected or 0.0) + (demo.dollars or 0.0) if known else one.collected,
            untold=one.untold + (not known),
        )
    scored: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        named = tasks.get(outcome.task_id)
        name = family(named, True) if named else family(groups[outcome.goal], False)
        change(name, episodes=families[name].episodes + 1)
        if outcome.success is not None:
            scored[name].append(outcome.success)
    for name, won in scored.items():
        change(name, success=wilson(sum(won), len(won)))
    mapped = []
    for item, entry in entries:
        if item.status in ("absent", "removed"):
            continue
        name = family(_family_of(entry, tasks, [t.family for t in trials.get(item.id, ())]), True)
        counts = families[name].entries
        change(name, entries={**counts, item.status: counts.get(item.status, 0) + 1})
        mapped.append(
            EntryMap(
                id=item.id,
                status=item.status,
                family=name,
                cue=entry.cue,
                action=entry.action,
                evidence=evidence.get(item.id, Evidence()),
                why=reasons.get(item.id, ""),
            )
        )
    return _sorted(database, head, demos, outcomes, families, mapped)


def _sorted(
    database: Database,
    head: int,
    demos: Sequence[Demonstration],
    outcomes: Sequence[Outcome],
    families: Mapping[str, FamilyMap],
    mapped: Sequence[EntryMap],
) -> MemoryMap:
    live = [one for one in mapped if one.status != "quarantined"]
    tried = [one for one in live if one.evidence.trials]
    gain = Rule().effect
    earns = [one for one in tried if one.evidence.reward.low > 0]
    idle = [one for one in tried if one.evidence.reward.high < gain and one not in earns]
    waits = [one for one in tried if one not in earns and one not in idle]
    return MemoryMap(
        path=database.path,
        version=head,
        demonstrations=len(demos),
        entries=len(live),
        outcomes=len(outcomes),
        families=tuple(sorted(families.values(), key=lambda f: (-f.demonstrations, -f.episodes, f.family))),
        earns=tuple(sorted(earns, key=lambda one: (-one.evidence.reward.low, one.id))),
        idle=tuple(sorted(idle, key=lambda one: (one.evidence.reward.high, one.id))),
        waits=tuple(sorted(waits, key=lambda one: (-one.evidence.reward.mean, one.id))),
        untried=len(live) - len(tried),
        turned_away=tuple(one for one in mapped if one.status == "quarantined"),
        gain=gain,
    )


def _family_of(entry: Entry, tasks: Mapping[str, str], tried: Iterable[str]) -> str:
    """That of most of the tasks that an entry was learned from, or else tried on."""
    for found in ([tasks[task] for task in sorted(entry.tasks) if task in tasks], [name for name in tried if name]):
        if found:
            return Counter(found).most_common(1)[0][0]
    return ANY


def _alike(goals: Sequence[str]) -> dict[str, str]:
    """For each goal one whose wording is like it: the first in order that was."""
    heads: list[str] = []
    embedder = HashEmbedder()
    vectors = embedder.embed(list(goals)) if goals else None
    places: list[int] = []
    found: dict[str, str] = {}
    for place, goal in enumerate(goals):
        assert vectors is not None
        likeness = vectors[places] @ vectors[place] if places else None
        best = int(likeness.argmax()) if likeness is not None else -1
        if likeness is not None and (likeness[best] >= ALIKE or len(found) >= CLUSTERED):
            found[goal] = heads[best]
            continue
        heads.append(goal)
        places.append(place)
        found[goal] = goal
    return found
