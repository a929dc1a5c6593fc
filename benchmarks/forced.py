"""``python -m atlas.benchmarks.forced MEMORY STUDENT...``: is a student's next action right, at states
that the expert came to?

Teacher-forced: the student is asked, and the expert acts. *Good* is the expert's action, or one after which the expert
needs no more steps in all. In minutes of CPU such states say more about a student, its prompt and its demonstrations
than the few games that it could play in them; how it does at states that it brought about itself, they do not say.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import resource
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.benchmarks.alfworld.expert import Expert
from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.program import Program, Written
from atlas.compression import KEEP, Compressor, load_compressor
from atlas.errors import ConfigError
from atlas.figures import percent, percent_interval, points_interval
from atlas.memory import Memory
from atlas.memory.backend import existing
from atlas.models import load
from atlas.policies import Abridged, Compressed, Recall, Solo
from atlas.policies.recall import Every
from atlas.protocols import Environment, Model, Policy
from atlas.records import DemoStep, Observation, Task, Turn, View
from atlas.reranking import Reranker, load_reranker
from atlas.stats import paired, wilson
from atlas.stats.scores import auroc

LONGEST = 50
"""Steps of an episode, as in the benchmark."""


@dataclass(frozen=True)
class State:
    """A state of a game that the expert came to, and which actions are good there."""

    game: str
    view: View
    expert: str
    good: frozenset[str]


@dataclass(frozen=True)
class Asked:
    """What a student did at a state."""

    game: str
    step: int
    action: str
    expert: str
    good: bool
    probability: float | None
    """That of its action, where it tells."""
    prompt_tokens: int
    cached_tokens: int
    cpu: float
    """Seconds of the process, all threads, retrieval included."""


async def states(suite: Alfworld, split: str, games: int, every: int, families: Sequence[str] = ()) -> list[State]:
    """Each ``every``-th state of the expert's episodes in ``games`` games of ``split``, taken evenly from all of it; of
    those of ``families`` alone, where any is named. ConfigError for a family that none of the games is of, and where no
    state is so far on."""
    refs = list(enumerate(suite.tasks(split, games)))
    if families:
        kinds = [(ref.environment().task.family or "", number, ref) for number, ref in refs]
        there = sorted({family for family, _, _ in kinds})
        for family in families:
            if family not in there:
                raise ConfigError(f"none of the games is of a family {family!r}: name one of {', '.join(there)}")
        refs = [(number, ref) for family, number, ref in kinds if family in families]
    found: list[State] = []
    for number, ref in refs:
        path = await _play(ref.environment(), [])
        turns, length = path.turns, len(path.turns)
        for step in range(number % every, length, every):
            view = path.view(step)
            good = {turns[step].action}
            for action in view.admissible:
                if action not in good:
                    other = await _play(ref.environment(), [t.action for t in turns[:step]] + [action])
                    if other.won and len(other.turns) <= length:
                        good.add(action)
            found.append(State(ref.id, view, turns[step].action, frozenset(good)))
    if not found:
        raise ConfigError(f"none of these games takes {every} steps: look at states that are nearer to each other")
    return found


@dataclass(frozen=True)
class _Path:
    """An episode that the expert ended."""

    first: View
    turns: tuple[Turn, ...]
    admissible: tuple[tuple[str, ...], ...]
    """What was possible at each step."""
    won: bool

    def view(self, step: int) -> View:
        return self.first.replace(turns=self.turns[:step], admissible=self.admissible[step])


async def _play(environment: Environment, begun: Sequence[str]) -> _Path:
    """The game, ``begun`` with these actions and played on by the expert."""
    expert = Expert()
    seen: Observation = await environment.open()
    opening, goal = seen.text, environment.task.goal
    turns: list[Turn] = []
    possible = []
    while not seen.done and len(turns) < LONGEST:
        possible.append(seen.admissible)
        history = [(turn.action, turn.observation) for turn in turns]
        action = (
            begun[len(turns)] if len(turns) < len(begun) else expert.act(goal, opening, history, seen.admissible).action
        )
        seen = await environment.step(action)
        turns.append(Turn(action=action, observation=seen.text))
    won = seen.done and (seen.score or 0.0) >= 1.0
    first = View(task=environment.task, opening=opening)
    await environment.close()
    return _Path(first, tuple(turns), tuple(possible), won)


async def expert_steps(environment: Environment) -> tuple[Task, tuple[DemoStep, ...]]:
    """What the expert saw and did in a game, to be remembered; no steps where it did not win."""
    path = await _play(environment, [])
    seen = [path.first.opening, *(turn.observation for turn in path.turns)]
    steps = (DemoStep(observation=o, action=t.action) for o, t in zip(seen, path.turns, strict=False))
    return path.first.task, tuple(steps) if path.won else ()


async def ask(
    student: Model,
    memory: Memory | None,
    found: Sequence[State],
    k: int,
    every: Every,
    compressor: Compressor | None = None,
    keep: float = KEEP,
    *,
    reranker: Reranker | None = None,
    history: int | None = None,
) -> list[Asked]:
    """``student`` at each of the states, with ``k`` demonstrations of ``memory``, or none where that is None; with a
    ``compressor`` a share of ``keep`` of their tokens, with a ``reranker`` those that it chooses, and told of the
    episode what ``history`` tokens hold, or all."""
    solo: Policy = Solo(student, actions=TextActions())
    if history is not None:
        solo = Abridged(solo, history, compressor)
    if compressor is not None:
        solo = Compressed(solo, compressor, keep)
    policy = solo if memory is None else Recall(solo, memory.demonstrations, k, every=every, reranker=reranker)
    rows = []
    for number, state in enumerate(found, 1):
        desk, began = Desk(), cpu_seconds()
        decided = await policy.decide(state.view, desk)
        usage = desk.spent[0].usage
        logprob = decided.votes[0].logprob
        rows.append(
            Asked(
                game=state.game,
                step=state.view.index,
                action=decided.action,
                expert=state.expert,
                good=decided.action in state.good,
                probability=None if logprob is None else math.exp(logprob),
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                cpu=cpu_seconds() - began,
            )
        )
        click.echo(f"\r{student.name}: {number}/{len(found)}", nl=number == len(found), err=True)
    return rows


def cpu_seconds() -> float:
    """Of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def line(name: str, rows: Sequence[Asked], first: Sequence[Asked]) -> str:
    """A row of the table, compared with the ``first`` one."""
    good = [row.good for row in rows]
    rate = wilson(sum(good), len(good))
    likely = [row.probability for row in rows if row.probability is not None]
    knows = auroc(likely, good) if len(likely) == len(good) and len(set(good)) == 2 else None
    tokens, cached = (sum(getattr(row, what) for row in rows) for what in ("prompt_tokens", "cached_tokens"))
    cells = [
        f"{name:44}",
        f"good {percent_interval(rate)}",
        f"AUROC {knows:.2f}" if knows is not None else "AUROC -",
        f"{sum(row.cpu for row in rows) / len(rows):6.2f} CPU s a step",
        f"{tokens / len(rows):6,.0f} tokens",
        # A student that reads no prompt takes none.
        f"{percent(cached / tokens if tokens else 0.0)} of them cached",
    ]
    if first is not rows:
        gap = paired([a.good - b.good for a, b in zip(rows, first, strict=True)])
        cells.append(f"{points_interval(gap)} points against the first")
    return "  ".join(cells)


@dataclass(frozen=True)
class Shown:
    """A student of the command line, and what it is shown."""

    model: str
    k: int = 0
    """Demonstrations; 0 for none, and no memory."""
    every: Every = "episode"
    rerank: bool = False
    keep: float | None = None
    """Share of the demonstrations' tokens; None for all, and no compressor."""
    history: int | None = None
    """Tokens for the episode so far; None for all of it."""

    @classmethod
    def read(cls, name: str, *, rerank: bool, compress: bool) -> Shown:
        """``name`` as it is typed. Raises ConfigError for one that says nothing, or more than was given."""
        model, at, rest = name.partition("@")
        found = _SHOWN.fullmatch(rest)
        k = 0 if found is None else int(found["k"] or (bool(rest) and not rest.startswith(":")))
        if found is None or (at and not rest) or (not k and (found["chooses"] or found["cuts"])):
            raise ConfigError(f"{name} does not say what is shown: write MODEL@K, MODEL@K/step, MODEL@K^~SHARE:TOKENS")
        share = float(found["share"] or KEEP) if found["cuts"] else None
        if share is not None and not compress:
            raise ConfigError(f"{name} is to be shown less: say by what with --compress")
        if found["chooses"] and not rerank:
            raise ConfigError(f"{name} is to be shown what is chosen: say by what with --rerank")
        return cls(
            model,
            k,
            "step" if found["step"] else "episode",
            bool(found["chooses"]),
            share,
            int(found["history"]) if found["history"] else None,
        )


_SHOWN = re.compile(
    r"(?P<k>\d*)(?P<step>/step)?(?P<chooses>\^)?(?P<cuts>~(?P<share>\d+(?:\.\d+)?)?)?(?::(?P<history>\d+))?"
)


@click.command(cls=Program)
@click.argument("memory")
@click.argument("students", nargs=-1, required=True)
@click.option("--split", default="valid_unseen", show_default=True)
@click.option("--games", type=click.IntRange(min=1), default=20, show_default=True, help="Taken evenly from the split.")
@click.option("--family", "families", multiple=True, help="Of those games, the ones of this family alone. Repeatable.")
@click.option(
    "--each", type=click.IntRange(min=1), default=6, show_default=True, help="Each so many-th state of a game."
)
@click.option("--compress", help="What cuts demonstrations, as 'atlas bench --compress' takes it.")
@click.option("--rerank", help="What chooses among demonstrations, as 'atlas bench --rerank' takes it.")
@click.option("-o", "--out", type=Written(), help="Every answer, as JSON lines.")
def main(
    memory: str,
    students: tuple[str, ...],
    split: str,
    games: int,
    families: tuple[str, ...],
    each: int,
    compress: str | None,
    rerank: str | None,
    out: Path | None,
) -> None:
    """Ask STUDENTS at states of the expert, with demonstrations of MEMORY.

    A student is MODEL, MODEL@K for K demonstrations found once an episode, or MODEL@K/step for K windows found at every
    step; with --rerank MODEL@K^ for those that it chooses; with --compress MODEL@K~0.33 for a third of their tokens;
    MODEL@K:400 for the episode so far in 400 tokens, and MODEL@:400 without demonstrations. They go together in this
    order, as MODEL@1^~0.33:400. The first is what the others are compared with.
    """
    read = [Shown.read(name, rerank=bool(rerank), compress=bool(compress)) for name in students]
    compressor = load_compressor(compress) if compress else None
    reranker = load_reranker(rerank) if rerank else None
    with Memory(existing(memory)) as remembered:
        # Before games are played for their states: what is wrong with a name is told at once.
        loaded = {name: load(name) for name in dict.fromkeys(how.model for how in read)}
        found = asyncio.run(states(Alfworld(), split, games, each, families))
        of = f", those of {', '.join(families)}" if families else ""
        click.echo(f"{len(found)} states of {games} games of {split}{of}")
        answers: dict[str, list[Asked]] = {}
        for name, how in zip(students, read, strict=True):
            answers[name] = asyncio.run(
                ask(
                    loaded[how.model],
                    remembered if how.k else None,
                    found,
                    max(1, how.k),
                    how.every,
                    None if how.keep is None else compressor,
                    KEEP if how.keep is None else how.keep,
                    reranker=reranker if how.rerank else None,
                    history=how.history,
                )
            )
            click.echo(line(name, answers[name], answers[students[0]]))
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps({"student": name, **asdict(row)}) + "\n" for row in answers[name])


if __name__ == "__main__":
    main()
