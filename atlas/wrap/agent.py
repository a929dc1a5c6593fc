"""An agent whose loop is yours: who acts in it, what it remembers, where it is recorded."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import Token
from pathlib import Path
from typing import Any

from atlas.actions import Actions, ChatActions
from atlas.background import Background
from atlas.book import Book, Unrecorded
from atlas.budget import Budget, Meter
from atlas.errors import ConfigError, FrozenMemory
from atlas.evaluators.verdict import Judge
from atlas.learning import informed
from atlas.memory import DemonstrationStore, Memory, from_episode
from atlas.memory.distil import Distiller
from atlas.memory.memory import Kept
from atlas.policies import Guarded
from atlas.policies.triggers import Trigger
from atlas.protocols import Embedder, Model, Policy, Recorder
from atlas.records import INTERRUPTED, Episode, Step, Stop, Task, Usage, content_hash
from atlas.traces.events import Event, Learned, Supervised, Tells
from atlas.traces.folder import FolderRun
from atlas.traces.late import rescored
from atlas.traces.place import Place
from atlas.traces.writer import RunWriter
from atlas.trust import Trust
from atlas.wrap.afterwards import Afterwards, learning_of
from atlas.wrap.compose import Composer, LanesBy, Learns, model_of, signs, trusted
from atlas.wrap.current import current, left
from atlas.wrap.decorate import Wrap
from atlas.wrap.due import Due
from atlas.wrap.given import check_episode, check_given
from atlas.wrap.left_open import left_open
from atlas.wrap.numbers import check_numbers
from atlas.wrap.supervision import InMemory, InProcess, InTrace, Supervision
from atlas.wrap.wrapped import WrappedEpisode

AUDIT = 0.02
"""The share of the student's steps that a teacher looks at where nobody says otherwise."""


class Agent:
    """A student, its teacher and their memory, for a loop that you have already.

        agent = atlas.Agent("openai/gpt-4.1-mini", "anthropic/claude-sonnet-4-5", memory="memory.sqlite", run="desk")
        with agent.episode(goal="book a table for two") as episode:
            my_loop(episode.client)  # written for openai.OpenAI
            episode.score(1.0)

    The student acts where its samples agree, the teacher where they do not (:class:`atlas.policies.Cascade`) or where
    an episode gets nowhere (:class:`atlas.policies.Watch`); what worked before is shown to the student at every step
    (:class:`atlas.policies.Recall`). Where success drops the teacher takes over. One agent serves any number of
    episodes at once, from threads and from tasks.
    """

    def __init__(
        self,
        student: Model | str | None = None,
        teacher: Model | str | None = None,
        *,
        policy: Policy | None = None,
        memory: Memory | DemonstrationStore | Learns | str | Path | None = None,
        embedder: Embedder | str | None = None,
        index: str | None = None,
        run: Recorder | str | Path | None = None,
        permitted: Sequence[str] = (),
        arm: str = "agent",
        samples: int = 3,
        k: int = 6,
        max_tokens: int | None = None,
        actions: Actions | None = None,
        learn: bool = True,
        distil: bool | Model | str | Distiller = True,
        judge: Judge | None = None,
        graph: bool = False,
        lanes: LanesBy = False,
        ask_for: Sequence[str] = (),
        guidance: int = 300,
        trials: float = 0.2,
        success_score: float = 1.0,
        trust: Trust | float | str | Path | None = None,
        watch: bool | Sequence[Trigger] | None = None,
        audit: float | None = None,
        expect: float | None = 0.5,
        budget: Budget | None = None,
        run_budget: Budget | None = None,
        otlp: str | None = None,
        otlp_content: bool = False,
    ) -> None:
        """
        student, teacher: model objects, or names for :func:`atlas.models.load`. One of them alone acts alone.
        policy: what decides, in place of student and teacher; ``memory`` is then only where its successes go.
        memory: an :class:`atlas.Memory`, or the path of one; a store of demonstrations stands for the memory it is a
            part of. Of your own it is what is shown and learned, without entries, evidence and lanes.
        embedder: by which a memory that is given as a path finds things, an object or a name for
            :func:`atlas.memory.load_embedder`; ``minilm`` where None.
        index: what such a memory is searched by, as :class:`atlas.Memory` has it; ``auto`` where None.
        run: the folder to record in, or the URL of a run on a server (postgresql://...?schema=NAME&run=NAME), or a
            recorder; None records nothing.
        permitted: models whose terms allow training on their words, by name or pattern (``openai/*``): kept in the
            run's folder, for exports and training.
        arm: the name its episodes are compared under.
        samples, k: votes of the student at each step, and demonstrations shown to it.
        max_tokens: of one reply, where the loop does not say. None sets no limit: a hosted model's own holds.
        actions: when two replies are the same; tool calls by content, texts by their words.
        learn: whether successful episodes become demonstrations. Where there is a teacher, only those in which it acted
            do: the others repeat what the memory holds.
        distil: whether what episodes teach becomes entries of the memory: those in which the teacher acted, and those
            that failed, once they are scored, one call of the teacher each, in the background. A model, its name, or a
            distiller does it in its place. Nothing is distilled without a memory, or by a teacher that cannot write.
        judge: scores the episodes that nobody scored, in the background: an :class:`atlas.evaluators.EnsembleJudge`,
            say. No verdict is no score.
        graph: whether what follows an episode is done by the LangGraph graph (:mod:`atlas.graph.loop`): the same is
            learned. Your own loop stands in place of the nodes before.
        lanes: choose the supervision of each episode (auto, paired, coach) by how tasks like it went: the student with
            what is recalled alone, with its answer validated, or with every step looked at by the teacher. Needs a
            student, a teacher and a memory; LaneRules force, forbid or budget lanes, a Foresight is where they begin.
        ask_for: actions that always need the teacher's word, whatever the student's samples agree on: names of tools,
            calls, arguments or texts, ``*`` for anything (:class:`atlas.policies.Guarded`). Refused without a teacher.
        guidance: how many tokens of a prompt the entries of pamphlets in the memory may take; 0 shows none.
        trials: the share of episodes in which a coin decides for each entry whether it is shown: what its evidence
            rests on ('atlas memory judge').
        success_score: the score from which an episode counts as successful.
        trust: when the student may act: a trust, the file of one, or the share of its samples that has to agree. Where
            None, what a promoted student was calibrated to, and unanimity for all others.
        watch: the teacher takes a step where one of these signs says that the episode gets nowhere; True, and None
            where there is a teacher, are loops, refusals and stalls (:class:`atlas.policies.Watch`), False is none.
        audit: the share of the student's steps, at random, for which the teacher is asked too; they are taken all the
            same ('atlas trust audit'). None is 0.02 where there is a teacher.
        expect: the share of scored episodes that is to succeed at the least, from 0 to less than 1. Where success falls
            below it, or below what the agent has shown before, a warning is logged, the trace tells, and the teacher
            acts until the student has shown that it does better (:mod:`atlas.standing`). 0 looks only at what was shown
            before; None at nothing.
        budget, run_budget: for each episode, and for all together. Where ``run`` is a folder, that is all of its run:
            what was used before, and what other processes with a budget use in it, counts. Else it is this agent's.
        otlp: URL of an OpenTelemetry collector that is sent spans of all episodes as they happen, besides what ``run``
            keeps (:mod:`atlas.export.otel_live`); keys for it are in the variable OTEL_EXPORTER_OTLP_HEADERS.
        otlp_content: whether those say what was said: goals, prompts, replies, tools' arguments and results.
        """
        check_given(locals())  # before anything is opened, loaded or asked
        check_numbers(samples, k, max_tokens, guidance, trials, expect, success_score)
        both = student is not None and teacher is not None and not lanes
        self.background = Background()
        self.actions = actions or ChatActions()
        self.arm = arm
        self.learn = learn
        self.taught = teacher is not None
        self.success_score = success_score
        self.budget = budget
        self._closed = False
        self._opens = isinstance(memory, str | Path) or isinstance(run, str | Path) or otlp is not None
        self._tokens: list[Token[Agent | None]] = []
        # What was opened is closed again where something further is wrong.
        with ExitStack() as opened:
            self.memory = self._memory(memory, embedder, index, opened)
            self.policy: Policy
            given = model_of(student), model_of(teacher)
            if policy is None:
                usual = AUDIT if audit is None else audit
                composer = Composer(
                    self.memory, trials, self.actions, samples, k, max_tokens, guidance, usual, signs(watch)
                )
                self.policy = (
                    composer.lanes(*given, lanes) if lanes else composer.plain(*given, trusted(trust, student))
                )
            else:
                self.policy = policy
            if ask_for:
                self.policy = Guarded(self.policy, ask_for, given[1], max_tokens=max_tokens, actions=self.actions)
            self.recorder, self.run = self._recorder(run, permitted, expect, opened)
            # One place, so that the recorder, the budget and what is claimed are of one member of the run.
            self.place: Place | None = self.recorder.place if isinstance(self.recorder, RunWriter) else None
            """Where its run is recorded; None where that is its recorder's affair."""
            of_path = self.place if isinstance(run, str | Path) else None
            if otlp is not None:
                from atlas.export.otel_live import OtelLive

                live = OtelLive(otlp, self.recorder, run=self.run, content=otlp_content)
                self.recorder = opened.enter_context(live)
            self.supervision = self._supervision(expect, of_path, teaches=both)
            self.meter = self._meter(of_path, run_budget, opened)
            self._due = Due(self.place, arm) if self.place is not None and isinstance(self.memory, Memory) else None
            self._left = left_open(self.place, arm, self.restored)
            self._afterwards = self._following(given[1], distil, judge, of_path, graph)
            self._owned = opened.pop_all()
        if self._left is not None:
            self._left.record()
        if self._due is not None:
            self._due.catch_up(self.background, self._ended)

    def episode(
        self,
        goal: str,
        *,
        task: str | None = None,
        family: str = "",
        seed: int = 0,
        keeps_steps: bool = True,
        closed: Callable[[], None] = lambda: None,
    ) -> WrappedEpisode:
        """A new episode, to be used as ``with`` or ``async with``.

        ``task`` names what is being done: a demonstration is never shown to the task it came from, and arms are
        compared by it. Without one each episode is a task of its own, so that a goal asked again profits from the
        first time. Without ``keeps_steps`` its steps are recorded and not held: it has none to show, and a memory
        learns nothing from it. ``closed`` is called when the episode is over, whatever happened in it.
        """
        check_episode(goal, task, family, seed)
        self._check_open()
        made = self._episode(
            Task(id=task or uuid.uuid4().hex[:12], goal=goal, family=family), seed, keeps_steps, closed
        )
        if self.supervision is not None:
            made.book.lane = self.supervision.lane()
        made.keeper = self._left
        made.goes_on = self._check_open
        return made

    def _check_open(self) -> None:
        if self._closed and self._opens:
            raise ConfigError(
                "this agent is closed, with the memory or the run that it had opened: begin its episodes inside its "
                "with block, or before close()"
            )

    def restored(self, state: Mapping[str, Any], stored: Sequence[Step] | None, keeps_steps: bool) -> WrappedEpisode:
        """The open episode of :meth:`WrappedEpisode.state`, which another process of this run began."""
        made = self._episode(Task.model_validate(state["task"]), state["seed"], keeps_steps, lambda: None)
        made.restore(state, stored)
        return made

    def _episode(self, task: Task, seed: int, keeps_steps: bool, closed: Callable[[], None]) -> WrappedEpisode:
        book = Book(
            task,
            arm=self.arm,
            run=self.run,
            seed=seed,
            config=content_hash({"policy": self.policy.config()}),
            recorder=self.recorder,
            budget=self.budget,
            run_meter=self.meter,
            success_at=self.success_score,
            keeps_steps=keeps_steps,
        )
        return WrappedEpisode(
            book,
            self.policy,
            self.actions,
            self.background,
            ending=self._ending,
            ended=self._ended,
            late=self._late,
            closed=closed,
        )

    @property
    def folder(self) -> Path | None:
        """The folder of its run; None where it has none."""
        return self.place.folder() if isinstance(self.place, FolderRun) else None

    def wrap(self, goal: str | Callable[..., str], *, score: Callable[[Any], float | None] | None = None) -> Wrap:
        """Decorate a function, sync or async, so that every call of it is an episode.

            @agent.wrap(goal=lambda order: f"handle {order}", score=lambda answer: answer is not None)
            def handle(order, client): ...

        It is called without ``client``, which the decorator supplies (sync or async, as the function is); a parameter
        named ``episode`` is supplied too. ``goal`` is a text or makes one from the call's arguments. ``score`` is given
        what the function returned; None leaves the episode unscored, as does having no ``score``.
        """
        return Wrap(self.episode, goal, score)

    def learn_from(self, episode: Episode, steps: Sequence[Step]) -> bool:
        """Keep a successful episode as a demonstration; whether the memory took it.

        How it went is kept whatever it was: evidence for the entries it was shown, what lanes are chosen by. Whether
        success has dropped is seen here, and said. A frozen memory is used and takes nothing. What nobody scored says
        nothing yet.
        """
        if episode.stop is Stop.DONE and episode.score is None:
            return False  # it may be scored late
        learn = self.learn and (not self.taught or informed(episode, steps))
        kept, settled = False, {}
        events: list[Event] = []
        try:
            if isinstance(self.memory, Memory):
                memory = self.memory
                found, events = memory.database.whole(lambda: self._kept_in(memory, episode, steps, learn))
                kept, settled = found.demonstration, {entry: said.status for entry, said in found.settled.items()}
            elif learn and self.memory is not None and episode.success and steps:
                kept = self.memory.add(from_episode(episode, steps))
        except FrozenMemory:
            events = self._standing(episode)
        else:
            events += [] if isinstance(self.memory, Memory) else self._standing(episode)
        self._tell(events, episode, kept, settled)
        return kept

    def _kept_in(
        self, memory: Memory, episode: Episode, steps: Sequence[Step], learn: bool
    ) -> tuple[Kept, list[Event]]:
        """In one transaction, so that each episode is counted once, whoever keeps it again."""
        with memory.database.transaction():
            found = memory.keep(episode, steps, learn=learn)
            return found, self._standing(episode) if found.outcome else []

    def _ending(self, episode: str, stop: Stop, score: float | None) -> None:
        """One is about to be recorded as over."""
        says = score is not None or stop is not Stop.DONE or (self._afterwards is not None and self._afterwards.judges)
        if self._due is not None and says and stop not in INTERRUPTED:
            self._due.mark(episode)

    def _ended(self, episode: Episode, steps: Sequence[Step]) -> None:
        self.learn_from(episode, steps)
        follows = self._afterwards is not None and self._afterwards.put(episode, steps)
        if self._due is not None and not follows:
            self._due.over(episode.id)

    def scored(self, episode: Episode, steps: Sequence[Step]) -> None:
        """An episode of this agent got its score, or another one, when it was over: it is recorded so, and learned
        from."""
        self._ending(episode.id, episode.stop, episode.score)
        if self._afterwards is None:
            self.recorder.end(episode)
        else:
            episode = self._afterwards.scored(episode)
        self._ended(episode, steps)

    def _late(self, episode: Episode, steps: Sequence[Step], score: float) -> Episode:
        if self._closed:
            raise ConfigError(f"this agent is closed: score {episode.id} before, or by 'atlas score RUN EPISODE VALUE'")
        found = rescored(episode, score, at_least=self.success_score)
        self.scored(found, steps)
        return found

    def flush(self) -> None:
        """Wait until what is learned in the background is learned."""
        if self._due is not None:
            self._due.flush()
        if self._afterwards is not None:
            self._afterwards.flush()

    def _standing(self, episode: Episode) -> list[Event]:
        return list(self.supervision.after(episode)) if self.supervision is not None else []

    def _tell(self, events: Sequence[Event], episode: Episode, kept: bool, settled: Mapping[str, str]) -> None:
        """Record what an episode brought about, and log what somebody has to know."""
        learned = Learned(time=time.time(), arm=self.arm, episode=episode.id, demonstration=kept, settled=dict(settled))
        for event in [*([learned] if kept or settled else []), *events]:
            if isinstance(self.recorder, Tells):
                self.recorder.tell(event)
            if isinstance(event, Supervised) and self.supervision is not None:
                self.supervision.say(event)

    def close(self) -> None:
        """Learn what is left to be learned, end the background threads, and close what was opened from a path."""
        self._closed = True
        try:
            self.flush()
        finally:
            for part in (self._afterwards, self.background, self._due, self._left, self._owned):
                if part is not None:
                    part.close()

    def __enter__(self) -> Agent:
        """Close the agent at the end of the block, of the last one where there are several; inside it is the one that
        :func:`episode` uses."""
        self._tokens.append(current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        left(self._tokens)
        if not self._tokens:
            self.close()

    def _memory(
        self,
        given: Memory | DemonstrationStore | Learns | str | Path | None,
        embedder: Embedder | str | None,
        index: str | None,
        opened: ExitStack,
    ) -> Memory | Learns | None:
        if isinstance(given, DemonstrationStore):
            return Memory.around(given)
        if not isinstance(given, str | Path):
            return given
        return opened.enter_context(Memory(given, embedder or "minilm", index=index or "auto"))

    def _meter(self, run: Place | None, budget: Budget | None, opened: ExitStack) -> Meter:
        if budget is None or run is None:
            return Meter(budget, what="run")
        from atlas.traces.claims import Claims
        from atlas.traces.reader import Run

        def spent() -> Usage:
            return Run(run).sums().total

        return Meter(budget, what="run", ledger=opened.enter_context(Claims(run, spent)))

    def _following(
        self,
        teacher: Model | None,
        distil: bool | Model | str | Distiller,
        judge: Judge | None,
        run: Place | None,
        graph: bool,
    ) -> Afterwards | None:
        learning = learning_of(self.memory, teacher, distil, judge, run, self.run)
        if learning is None:
            if graph:
                raise ConfigError(
                    "the graph is for what an agent learns after its episodes: give it a memory, and a teacher that "
                    "can write, a distiller or a judge, or leave graph out"
                )
            return None
        kept = self.learn_from
        over = self._due.over if self._due is not None else lambda episode: None
        return Afterwards(learning, self.arm, self.recorder, self.meter, kept, over, learn=self.learn, graph=graph)

    def _supervision(self, expect: float | None, run: Place | None, *, teaches: bool) -> Supervision | None:
        if expect is None:
            return None
        place: InProcess
        if isinstance(self.memory, Memory) and (self.memory.frozen is None or run is None):
            place = InMemory(self.arm, expect, self.memory)
        else:
            place = InTrace(self.arm, expect, run) if run is not None else InProcess(self.arm, expect)
        return Supervision(self.arm, place, teaches=teaches, run="" if run is None else run.path)

    def _recorder(
        self, given: Recorder | str | Path | None, permitted: Sequence[str], expect: float | None, opened: ExitStack
    ) -> tuple[Recorder, str]:
        if given is None:
            return Unrecorded(), ""
        if not isinstance(given, str | Path):
            return given, str(getattr(given, "name", ""))
        # The policy is no setting of the run: several agents may share one, each under an arm of its own.
        about: dict[str, Any] = {"arm": self.arm, "policy": self.policy.config(), "expect": expect}
        if isinstance(self.memory, Memory) and self.memory.path != ":memory:":
            about["memory"] = self.memory.path
        told = {**about, "permitted": list(permitted)} if permitted else about
        writer = opened.enter_context(RunWriter(given, {"kind": "wrapped"}, about=told))
        return writer, writer.name
