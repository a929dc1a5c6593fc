"""The phases of an episode as a graph: attempt, judge, distil, remember.

One node per phase, not per step: a checkpoint after every step costs more than the step, and a world cannot be resumed
in the middle anyway. Every node may run again after a kill. It then finds what it did: the episode in the trace, the
verdict in ``verdicts.jsonl``, the lesson in ``lessons.jsonl``, and the memory takes the same thing once. What was asked
of models within a phase that was cut off is in the :class:`atlas.graph.journal.Journal`.

The state holds records as plain JSON values, so that a checkpointer needs no permission to build objects
(``LANGGRAPH_STRICT_MSGPACK=true``). Live objects are in the context, which is given anew by whoever resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Checkpointer

from atlas.asking import Desk, Desks
from atlas.budget import Budget, Meter
from atlas.distil import distil_run
from atlas.errors import BudgetExceeded, ConfigError
from atlas.evaluators.rules import OutcomeJudge
from atlas.evaluators.verdict import Judge, Reference, Verdict
from atlas.given import check_arm
from atlas.graph.journal import Journal
from atlas.memory.demonstration import from_episode
from atlas.memory.distil import Distilled, Distiller
from atlas.memory.pamphlets import PamphletStore
from atlas.memory.safety import vet
from atlas.memory.store import DemonstrationStore
from atlas.protocols import Environment, Policy, Reviewer
from atlas.records import INTERRUPTED, Episode
from atlas.regrade import regrade
from atlas.runner import Job, Key, play
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.writer import RunWriter

Json = dict[str, Any]


class State(TypedDict, total=False):
    """What a checkpoint holds. An episode begins with its key."""

    arm: str
    task: str
    seed: int
    episode: Json
    """:class:`atlas.records.Episode`."""
    verdict: Json
    """:class:`atlas.evaluators.verdict.Verdict`."""
    lesson: Json | None
    """:class:`atlas.memory.distil.Distilled`; None where nothing was distilled."""
    remembered: Json
    """What was given to the memory: the ids of ``entries`` and of the ``demonstration``; or that it is ``frozen``."""


@dataclass
class Context:
    """The live objects of a run, shared by its episodes."""

    recorder: RunWriter
    """Where the run is recorded: what is found there is not done again."""
    policy: Policy
    environment: Callable[[str], Environment]
    """A fresh environment of a task, by its id."""
    judge: Judge = field(default_factory=OutcomeJudge)
    references: Mapping[str, Reference] = field(default_factory=dict)
    """What the judge may know of solutions, by task id."""
    distiller: Distiller | None = None
    pamphlets: PamphletStore | None = None
    """Where what was distilled goes."""
    demonstrations: DemonstrationStore | None = None
    """Where successful episodes go."""
    reviewer: Reviewer | None = None
    """Validates attempts; one that it rejects is followed by a retry."""
    journal: Journal | None = None
    """Keeps what models reply to the policy, the judge and the distiller."""
    max_steps: int = 50
    budget: Budget | None = None
    """For each episode."""
    meter: Meter | None = None
    """For the run: when it is spent, the graph stops before the next attempt, and may be resumed."""
    _found: dict[Key, Episode] | None = field(default=None, init=False, repr=False)
    _stored: dict[str, StoredEpisode] = field(default_factory=dict, init=False, repr=False)

    def desks(self) -> Desks:
        """Makes the desks of the phase that begins."""
        return Desk if self.journal is None else self.journal.phase()

    def settled(self, key: Key) -> Episode | None:
        """The episode of this key that the trace holds. It is read once: nobody else plays this process's episodes."""
        if self._found is None:
            self._found = {}
            for stored in self._read():
                self._note(stored)
        return self._found.get(key)

    def _note(self, stored: StoredEpisode) -> None:
        result = stored.result
        assert self._found is not None
        if result is not None and result.stop not in INTERRUPTED:
            self._found[stored.arm, stored.task.id, stored.seed] = result
        elif self.journal is not None and stored.arm == self.journal.arm:
            first: dict[int, int] = {}
            for step in stored.steps:
                index = step.index - first.setdefault(step.attempt, step.index)
                self.journal.counted(stored.task.id, stored.seed, [(step.attempt, index)])

    def played(self, episode: Episode) -> None:
        if self._found is not None:
            self._found[episode.arm, episode.task.id, episode.seed] = episode

    def stored(self, episode_id: str) -> StoredEpisode:
        """The episode with its steps."""
        if episode_id not in self._stored:
            self._stored = {stored.id: stored for stored in self._read()}
        return self._stored[episode_id]

    def _read(self) -> list[StoredEpisode]:
        return Run(self.recorder.place).episodes()


async def attempt(state: State, runtime: Runtime[Context]) -> State:
    """Play the episode, or find it in the trace."""
    context = runtime.context
    key = (state["arm"], state["task"], state["seed"])
    episode = context.settled(key)
    if episode is None:
        job = Job(
            arm=state["arm"],
            task_id=state["task"],
            policy=context.policy,
            environment=lambda: context.environment(state["task"]),
            seed=state["seed"],
            reviewer=context.reviewer,
        )
        played = await play(
            [job],
            recorder=context.recorder,
            run=context.recorder.name,
            concurrency=1,
            max_steps=context.max_steps,
            budget=context.budget,
            meter=context.meter,
            desks=context.desks(),
        )
        if not played or played[0].stop in INTERRUPTED:
            raise BudgetExceeded("the run's budget is spent: raise it and resume", "run")
        episode = played[0]
        context.played(episode)
    return {"episode": episode.model_dump(mode="json")}


async def judge(state: State, runtime: Runtime[Context]) -> State:
    """Judge the episode, or find the verdict beside the trace."""
    context = runtime.context
    stored = context.stored(state["episode"]["id"])
    run, desks = Run(context.recorder.place), context.desks()
    lines = await regrade(run, context.judge, [stored], references=context.references, desks=desks)
    return {"verdict": lines[-1].verdict.model_dump(mode="json")}


async def distil(state: State, runtime: Runtime[Context]) -> State:
    """Distil the episode, or find its lesson beside the trace."""
    context = runtime.context
    if context.distiller is None:
        return {"lesson": None}
    episode = Episode.model_validate(state["episode"])
    verdict = Verdict.model_validate(state["verdict"])
    stored = context.stored(episode.id)
    run, desks = Run(context.recorder.place), context.desks()
    lessons = await distil_run(run, context.distiller, [stored], verdicts={episode.id: verdict}, desks=desks)
    return {"lesson": lessons[0].distilled.model_dump(mode="json") if lessons else None}


async def remember(state: State, runtime: Runtime[Context]) -> State:
    """Put what was learned into the memory, which takes the same thing once. A frozen memory is left as it is."""
    context = runtime.context
    episode, lesson = Episode.model_validate(state["episode"]), state.get("lesson")
    took: Json = {"entries": [], "demonstration": None, "frozen": False}
    if lesson is not None and context.pamphlets is not None:
        entries = Distilled.model_validate(lesson).entries
        if context.pamphlets.database.frozen() is None:
            context.pamphlets.learn(f"{context.recorder.name}/{episode.id}", entries)
            took["entries"] = [entry.id for entry in entries]
        else:
            took["frozen"] = True
    if episode.success and context.demonstrations is not None:
        if context.demonstrations.database.frozen() is None:
            demo = from_episode(episode, context.stored(episode.id).steps)
            context.demonstrations.add(demo)
            kept = context.demonstrations.find(demo)
            took["demonstration"] = (kept or vet(demo).item).id
        else:
            took["frozen"] = True
    return {"remembered": took}


def episode_graph(checkpointer: Checkpointer = None) -> CompiledStateGraph[State, Context, State, State]:
    """The graph. Without a checkpointer a resumed run goes through its phases again, and finds what it did."""
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("attempt", attempt)
    graph.add_node("judge", judge)
    graph.add_node("distil", distil)
    graph.add_node("remember", remember)
    graph.add_edge(START, "attempt")
    graph.add_edge("attempt", "judge")
    graph.add_edge("judge", "distil")
    graph.add_edge("distil", "remember")
    graph.add_edge("remember", END)
    return graph.compile(checkpointer=checkpointer, name="episode")


async def advance(
    graph: CompiledStateGraph[State, Context, State, State],
    context: Context,
    *,
    arm: str,
    task: str,
    seed: int = 0,
) -> State:
    """Take an episode from where it stands to its end, and return its last state. One that has ended stays as it is.

    The thread of the checkpointer is the episode's key within the run. Each checkpoint is written before the next phase
    begins.
    """
    check_arm("the arm of an episode", arm)
    if not task:
        raise ConfigError("an episode of a graph needs the id of a task")
    thread = f"{context.recorder.name}/{arm}/{task}/{seed}"
    config: Any = {"configurable": {"thread_id": thread}}
    given: State | None = {"arm": arm, "task": task, "seed": seed}
    if graph.checkpointer:
        state = await graph.aget_state(config)
        if state.values.get("remembered") is not None:
            return cast(State, state.values)
        given = None if state.next else given
    durability: Literal["sync"] | None = "sync" if graph.checkpointer else None
    return cast(State, await graph.ainvoke(given, config, context=context, durability=durability))
