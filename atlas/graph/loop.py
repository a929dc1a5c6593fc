"""The loop as a graph: supervision chosen, an attempt under it, closer supervision where it is rejected, a retry, and
what is learned once it is over. ``python -m atlas.graph`` draws it.

Its nodes are the phases of :class:`atlas.loop.Rollout` and of :class:`atlas.learning.Learning`, which play and learn in
the same way without it. An episode that is cut off is begun again, as everywhere: what its models replied is in the
:class:`atlas.graph.journal.Journal`, where there is one, and what was judged and distilled beside the trace. The state
holds plain JSON values; live objects are in the context.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from atlas.asking import Account
from atlas.evaluators.verdict import Verdict
from atlas.learning import Learning, Lived, worth_telling
from atlas.loop import Rollout
from atlas.memory.distil import Distilled
from atlas.protocols import Recorder
from atlas.records import INTERRUPTED, Decision, Episode, Observation, Step
from atlas.runner import Learns
from atlas.traces.events import Tells

Json = dict[str, Any]

AUTO, PAIRED, COACH, ACT = "auto", "paired", "coach", "act"


class LoopState(TypedDict, total=False):
    """What the edges go by, and what came of it."""

    over: bool
    """The episode is over already: it is only learned from."""
    lane: str
    """The supervision that it has now; empty where none is chosen."""
    waits: bool
    """The attempt goes on under another supervision."""
    rejected: bool
    """It is tried again."""
    learns: bool
    """There is something that learns from it."""
    episode: Json
    """:class:`atlas.records.Episode`."""
    verdict: Json | None
    lesson: Json | None
    learned: Json | None
    """:class:`atlas.traces.events.Learned`."""


@dataclass
class LoopContext:
    """The live objects of one episode."""

    rollout: Rollout | None = None
    """None for an episode that is over."""
    episode: Episode | None = None
    steps: Sequence[Step] = ()
    learning: Learning | None = None
    learns: Learns | None = None
    """What learns from it where there is no ``learning``."""
    account: Account = field(default_factory=Account)
    """Is charged for judging and distilling."""
    recorder: Recorder | None = None
    learn: Callable[[Episode, Sequence[Step]], bool] = lambda episode, steps: True
    """Whether a success may become a demonstration."""
    scored: Callable[[Episode, Sequence[Step]], object] = lambda episode, steps: None
    """Called where judges have scored what had no score."""

    def tell(self, lived: Lived) -> None:
        if isinstance(self.recorder, Tells) and worth_telling(lived.learned):
            self.recorder.tell(lived.learned)


Loop = CompiledStateGraph[LoopState, LoopContext, LoopState, LoopState]


def _rollout(runtime: Runtime[LoopContext]) -> Rollout:
    rollout = runtime.context.rollout
    assert rollout is not None
    return rollout


async def open_world(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """The episode begins."""
    await _rollout(runtime).open()
    return {"lane": "", "waits": False, "rejected": False}


async def probe(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """How closely it is supervised."""
    return {"lane": await _rollout(runtime).choose()}


async def auto(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """Steps of the student as composed, until it is supervised more closely."""
    return await _attempt(runtime, (PAIRED, COACH))


async def paired(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """Steps that the teacher validates, until it coaches."""
    return await _attempt(runtime, (COACH,))


async def attempt(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """Steps under the supervision that there is, to the end."""
    return await _attempt(runtime, ())


async def _attempt(runtime: Runtime[LoopContext], closer: tuple[str, ...]) -> LoopState:
    rollout = _rollout(runtime)
    rollout.told = _streaming(runtime)
    await rollout.attempt(pause=closer)
    return {"lane": rollout.book.lane, "waits": rollout.waits}


async def review(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """The teacher's word on an attempt that has ended, in the lane that has one."""
    rollout = _rollout(runtime)
    await rollout.review()
    return {"rejected": rollout.rejected}


async def retry(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """Once more, in a fresh environment, told what was said, and coached where the lanes escalate."""
    rollout = _rollout(runtime)
    rollout.told = _streaming(runtime)
    await rollout.retry()
    return {"lane": rollout.book.lane, "rejected": False}


async def close(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """The episode's record."""
    context, rollout = runtime.context, _rollout(runtime)
    context.episode, context.steps = await rollout.end(), rollout.steps
    has_result = context.episode.stop not in INTERRUPTED
    learns = context.learns is not None or (context.learning is not None and has_result)
    return {"learns": learns, "episode": context.episode.model_dump(mode="json")}


async def judge(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """What it was worth, where somebody judges."""
    context = runtime.context
    if context.learning is None or context.episode is None:
        return {"verdict": None}
    verdict = await context.learning.judged(context.episode, context.steps, context.account)
    return {"verdict": verdict.model_dump(mode="json") if verdict is not None else None}


async def distil(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """What it teaches."""
    context = runtime.context
    if context.learning is None or context.episode is None:
        return {"lesson": None}
    learning, verdict = context.learning, _verdict(state)
    rewarded = learning.rewarded(context.episode, verdict)
    lesson = await learning.distilled(rewarded, context.steps, context.account)
    return {"lesson": lesson.model_dump(mode="json") if lesson is not None else None}


async def remember(state: LoopState, runtime: Runtime[LoopContext]) -> LoopState:
    """The memory takes it, and the trace tells what that cost."""
    context = runtime.context
    assert context.episode is not None
    if context.learning is None:
        if context.learns is not None and inspect.isawaitable(
            learning := context.learns(context.episode, context.steps)
        ):
            context.episode = await learning
        return {"learned": None}
    written, verdict = state.get("lesson"), _verdict(state)
    lesson = Distilled.model_validate(written) if written is not None else None
    told = context.learning.told(context.episode, verdict, lesson)
    if told != context.episode and context.recorder is not None:
        context.recorder.end(told)
    if context.episode.score is None and told.score is not None:
        context.scored(told, context.steps)
    learn = context.learn(told, context.steps)
    lived = context.learning.remember(told, context.steps, verdict, lesson, learn=learn)
    context.tell(lived)
    context.episode = lived.episode
    return {"episode": lived.episode.model_dump(mode="json"), "learned": lived.learned.model_dump(mode="json")}


# --- edges ------------------------------------------------------------------------------------------------------------


def begun(state: LoopState) -> Literal["open", "judge"]:
    return "judge" if state.get("over") else "open"


def by_lane(state: LoopState) -> Literal["auto", "paired", "coach", "act"]:
    lane = state.get("lane")
    return "auto" if lane == AUTO else "paired" if lane == PAIRED else "coach" if lane == COACH else "act"


def closer(state: LoopState) -> Literal["paired", "coach", "review"]:
    """What began alone goes on where the probe sees that it will not do."""
    return "review" if not state.get("waits") else "paired" if state.get("lane") == PAIRED else "coach"


def escalated(state: LoopState) -> Literal["coach", "review"]:
    """An answer that the teacher rejected is coached from there on."""
    return "coach" if state.get("waits") else "review"


def by_review(state: LoopState) -> Literal["retry", "close"]:
    return "retry" if state.get("rejected") else "close"


def learning(state: LoopState) -> Literal["judge", "__end__"]:
    return "judge" if state.get("learns") else "__end__"


@cache
def loop_graph() -> Loop:
    """The graph, the same for all episodes."""
    graph = StateGraph(LoopState, context_schema=LoopContext)
    nodes: dict[str, Any] = {"open": open_world, "probe": probe}
    nodes |= {AUTO: auto, PAIRED: paired, COACH: attempt, ACT: attempt}
    nodes |= {"review": review, "retry": retry, "close": close}
    nodes |= {"judge": judge, "distil": distil, "remember": remember}
    for name, node in nodes.items():
        graph.add_node(name, node)
    graph.add_conditional_edges(START, begun)
    graph.add_edge("open", "probe")
    graph.add_conditional_edges("probe", by_lane)
    graph.add_conditional_edges(AUTO, closer)
    graph.add_conditional_edges(PAIRED, escalated)
    for lane in (COACH, ACT):
        graph.add_edge(lane, "review")
    graph.add_conditional_edges("review", by_review)
    graph.add_edge("retry", "review")
    graph.add_conditional_edges("close", learning)
    graph.add_edge("judge", "distil")
    graph.add_edge("distil", "remember")
    graph.add_edge("remember", END)
    return graph.compile(name="loop")


async def streamed(context: LoopContext) -> AsyncIterator[tuple[str, Any]]:
    """An episode as it goes: ``("updates", {node: what it changed})`` after each node, and ``("custom", step)`` after
    each step of an attempt. Where it is broken off the episode ends as cancelled."""
    given: LoopState = {} if context.rollout is not None else {"over": True}
    try:
        async for mode, part in loop_graph().astream(given, context=context, stream_mode=["updates", "custom"]):
            yield str(mode), part
    finally:
        if context.rollout is not None:
            await context.rollout.abandon()


async def looped(context: LoopContext) -> Episode:
    """Play and learn from one episode by the graph."""
    given: LoopState = {} if context.rollout is not None else {"over": True}
    try:
        await loop_graph().ainvoke(given, context=context)
    finally:
        if context.rollout is not None:
            await context.rollout.abandon()
    assert context.episode is not None
    return context.episode


def _verdict(state: LoopState) -> Verdict | None:
    said = state.get("verdict")
    return Verdict.model_validate(said) if said is not None else None


def _streaming(runtime: Runtime[LoopContext]) -> Callable[[Decision, Observation], None]:
    """Who listens to the stream hears of each step."""

    def told(decided: Decision, outcome: Observation) -> None:
        runtime.stream_writer(
            {
                "action": decided.action,
                "actor": decided.actor,
                "reason": decided.reason,
                "observation": outcome.text,
            }
        )

    return told
