"""An experiment by the LangGraph graph: the same episodes, and what models replied kept in a journal."""

from __future__ import annotations

from atlas.asking import Account
from atlas.benchmarks.growing import Growing, Learner
from atlas.graph import Journal, LoopContext, looped
from atlas.loop import Rollout
from atlas.records import INTERRUPTED, Episode
from atlas.runner import Learns, Plays
from atlas.traces import Run
from atlas.traces.place import Place


def by_graph(learner: Learner | None) -> Plays:
    """How episodes are played that ``learner`` learns from."""

    async def plays(rollout: Rollout, learns: Learns | None) -> Episode:
        context = LoopContext(rollout=rollout, learns=learns)
        if isinstance(learner, Growing) and learner.learning is not None and learner.after is not None:
            keeps = learner.keeps
            context.learning, context.recorder = learner.learning, learner.after.recorder
            context.account = Account([learner.after.meter])
            context.learn = lambda episode, steps: keeps
        return await looped(context)

    return plays


def journal_of(folder: Place, arm: str) -> Journal:
    """What the models of ``arm`` replied, less what the trace counts of attempts that were cut off."""
    journal = Journal(folder, arm)
    for stored in Run(folder).episodes():
        result = stored.result
        if stored.arm != arm or (result is not None and result.stop not in INTERRUPTED):
            continue
        first: dict[int, int] = {}
        steps = [(step.attempt, step.index - first.setdefault(step.attempt, step.index)) for step in stored.steps]
        journal.counted(stored.task.id, stored.seed, steps)
    return journal
