"""An agent whose loop is yours: who acts in it, what it remembers, where it is recorded."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any

from atlas.actions import Actions, ChatActions
from atlas.background import Background
from atlas.book import Book, Unrecorded
from atlas.budget import Budget, Meter
from atlas.errors import ConfigError, FrozenMemory
from atlas.memory import DemonstrationStore, Memory, from_episode
from atlas.policies import Guarded, LaneRules
from atlas.policies.triggers import Trigger
from atlas.protocols import Embedder, Model, Policy, Recorder
from atlas.records import TEACHER, Episode, Step, Stop, Task, Usage, content_hash, total
from atlas.traces.audit import CASCADED
from atlas.traces.events import Event, Learned, Supervised, Tells
from atlas.trust import Trust
from atlas.wrap.compose import Composer, Learns, signs, trusted
from atlas.wrap.decorate import Wrap
from atlas.wrap.supervision import InMemory, InProcess, InTrace, Supervision
from atlas.wrap.wrapped import WrappedEpisode

AUDIT = 0.02
"""The share of the student's steps that a teacher looks at where nobody says otherwise."""


class Agent:
    """A student, its teacher and their memory, for a loop that you have already.

        agent = atlas.Agent("openai/gpt-4.1-mini", "anthropic/claude-sonnet-4-5", memory="memory.db", run="runs/desk")
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
        run: Recorder | str | Path | None = None,
        permitted: Sequence[str] = (),
        arm: str = "agent",
        samples: int = 3,
        k: int = 6,
        max_tokens: int | None = None,
        actions: Actions | None = None,
        learn: bool = True,
        lanes: bool | LaneRules = False,
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
        run: the folder to record in, or a recorder; None records nothing.
        permitted: models whose terms allow training on their words, by name or pattern (``openai/*``): kept in the
            run's folder, for exports and training.
        arm: the name its episodes are compared under.
        samples, k: votes of the student at each step, and demonstrations shown to it.
        max_tokens: of one reply, where the loop does not say. None sets no limit: a hosted model's own holds.
        actions: when two replies are the same; tool calls by content, texts by their words.
        learn: whether successful episodes become demonstrations. Where there is a teacher, only those in which it acted
            do: the others repeat what the memory holds.
        lanes: choose the supervision of each episode (auto, paired, coach) by how tasks like it went: the student with
            what is recalled alone, with its answer validated, or with every step looked at by the teacher. Needs a
            student, a teacher and a memory; rules say which lanes are forced, forbidden or budgeted.
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
        if policy is not None and (student is not None or teacher is not None):
            raise ConfigError("an agent has a policy, or a student and a teacher: give one of the two")
        if policy is not None and lanes:
            raise ConfigError("lanes are a policy: give lanes with a student and a teacher, or a policy of your own")
        for name, number in (("samples", samples), ("k", k), ("max_tokens", max_tokens)):
            if number is not None and number < 1:
                raise ConfigError(f"an agent's {name} is 1 or more, not {number}")
        if guidance < 0 or not 0.0 <= trials <= 1.0:
            raise ConfigError(
                f"an agent's guidance is 0 tokens or more, its trials a share from 0 to 1, not {guidance} and {trials}"
            )
        if expect is not None and not 0.0 <= expect < 1.0:
            raise ConfigError(f"what an agent is expected to succeed in is a share from 0 to less than 1, not {expect}")
        both = student is not None and teacher is not None and not lanes
        told = [name for name, on in (("trust", trust is not None), ("watch", watch), ("audit", audit)) if on]
        if told and not both:
            raise ConfigError(
                f"{' and '.join(told)} are for an agent that has a student and a teacher, and no lanes: give both "
                "models, or leave it out"
            )
        self.background = Background()
        self.actions = actions or ChatActions()
        self.arm = arm
        self.learn = learn
        self.taught = teacher is not None
        self.success_score = success_score
        self.budget = budget
        self._closed = False
        if otlp_content and otlp is None:
            raise ConfigError("otlp_content is for spans that are sent: give the URL of a collector as otlp")
        self._opens = isinstance(memory, str | Path) or isinstance(run, str | Path) or otlp is not None
        self._tokens: list[Token[Agent | None]] = []
        # What was opened is closed again where something further is wrong.
        with ExitStack() as opened:
            self.memory = self._memory(memory, embedder, opened)
            self.policy: Policy
            given = _model(student), _model(teacher)
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
            if otlp is not None:
                from atlas.export.otel_live import OtelLive

                live = OtelLive(otlp, self.recorder, run=self.run, content=otlp_content)
                self.recorder = opened.enter_context(live)
            self.supervision = self._supervision(expect, run, teaches=both)
            self.meter = self._meter(run, run_budget, opened)
            self._owned = opened.pop_all()

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
        if self._closed and self._opens:
            raise ConfigError(
                "this agent is closed, with the memory or the run that it had opened: begin its episodes inside its "
                "with block, or before close()"
            )
        book = Book(
            Task(id=task or uuid.uuid4().hex[:12], goal=goal, family=family),
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
        if self.supervision is not None:
            book.lane = self.supervision.lane()
        return WrappedEpisode(book, self.policy, self.actions, self.background, ended=self.learn_from, closed=closed)

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
        learn = self.learn and (not self.taught or _informed(episode, steps))
        kept, settled = False, {}
        events: list[Event] = []
        try:
            if isinstance(self.memory, Memory):
                # In one transaction, so that each episode is counted once, whoever keeps it again.
                with self.memory.database.transaction():
                    found = self.memory.keep(episode, steps, learn=learn)
                    events += self._standing(episode) if found.outcome else []
                kept, settled = found.demonstration, {entry: said.status for entry, said in found.settled.items()}
            elif learn and self.memory is not None and episode.success and steps:
                kept = self.memory.add(from_episode(episode, steps))
        except FrozenMemory:
            events = self._standing(episode)
        else:
            events += [] if isinstance(self.memory, Memory) else self._standing(episode)
        self._tell(events, episode, kept, settled)
        return kept

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
        """End the background thread, and close what was opened from a path."""
        self._closed = True
        self.background.close()
        self._owned.close()

    def __enter__(self) -> Agent:
        """Close the agent at the block's end; inside the block it is the one that :func:`episode` uses."""
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())
        self.close()

    def _memory(
        self,
        given: Memory | DemonstrationStore | Learns | str | Path | None,
        embedder: Embedder | str | None,
        opened: ExitStack,
    ) -> Memory | Learns | None:
        if embedder is not None and not isinstance(given, str | Path):
            raise ConfigError("an embedder is for a memory that is given as a path: give the path, or leave it out")
        if isinstance(given, DemonstrationStore):
            return Memory.around(given)
        if not isinstance(given, str | Path):
            return given
        return opened.enter_context(Memory(given, embedder or "minilm"))

    def _meter(self, run: Recorder | str | Path | None, budget: Budget | None, opened: ExitStack) -> Meter:
        if budget is None or not isinstance(run, str | Path):
            return Meter(budget, what="run")
        from atlas.traces import Run
        from atlas.traces.claims import Claims

        def spent() -> Usage:
            return total(s for e in Run(run).episodes() for s in e.spend)

        return Meter(budget, what="run", ledger=opened.enter_context(Claims(run, spent)))

    def _supervision(
        self, expect: float | None, run: Recorder | str | Path | None, *, teaches: bool
    ) -> Supervision | None:
        if expect is None:
            return None
        folder = Path(run) if isinstance(run, str | Path) else None
        place: InProcess
        if isinstance(self.memory, Memory) and (self.memory.frozen is None or folder is None):
            place = InMemory(self.arm, expect, self.memory)
        else:
            place = InTrace(self.arm, expect, folder) if folder is not None else InProcess(self.arm, expect)
        return Supervision(self.arm, place, teaches=teaches, run="" if folder is None else str(folder))

    def _recorder(
        self, given: Recorder | str | Path | None, permitted: Sequence[str], expect: float | None, opened: ExitStack
    ) -> tuple[Recorder, str]:
        if isinstance(permitted, str):
            raise ConfigError(f"permitted is a list of names of models: write permitted=[{permitted!r}]")
        if permitted and not isinstance(given, str | Path):
            raise ConfigError(
                "permitted is kept in a run's folder: give the folder as run, or permitted to your own recorder "
                "(RunWriter's about)"
            )
        if given is None:
            return Unrecorded(), ""
        if not isinstance(given, str | Path):
            return given, str(getattr(given, "name", ""))
        from atlas.traces.writer import RunWriter

        # The policy is no setting of the run: several agents may share one, each under an arm of its own.
        about: dict[str, Any] = {"arm": self.arm, "policy": self.policy.config(), "expect": expect}
        if isinstance(self.memory, Memory) and self.memory.path != ":memory:":
            about["memory"] = self.memory.path
        told = {**about, "permitted": list(permitted)} if permitted else about
        writer = opened.enter_context(RunWriter(given, {"kind": "wrapped"}, about=told))
        return writer, writer.name


_current: ContextVar[Agent | None] = ContextVar("atlas_agent", default=None)
"""The agent of the ``with agent:`` block that this thread or task is in."""


def episode(
    goal: str, *, agent: Agent | None = None, task: str | None = None, family: str = "", seed: int = 0, **settings: Any
) -> WrappedEpisode:
    """An episode of ``agent``; of the agent whose ``with agent:`` block this is called in; or of one made here from
    ``settings`` (the arguments of :class:`Agent`) and closed with the episode.

    Tasks started inside of a ``with agent:`` block know that agent, new threads do not: pass it to them.
    """
    if settings:
        if agent is not None:
            raise ConfigError(
                f"atlas.episode() was given an agent and settings for one ({', '.join(sorted(settings))})"
            )
        agent = Agent(**settings)
    owner = agent or _current.get()
    if owner is None:
        raise ConfigError(
            "atlas.episode() knows no agent here: call it inside 'with atlas.Agent(...):', or give it agent=, or "
            "student= and teacher="
        )
    return owner.episode(goal, task=task, family=family, seed=seed, closed=owner.close if settings else lambda: None)


def _informed(episode: Episode, steps: Sequence[Step]) -> bool:
    """Whether the teacher had a part in what was done. An audit only looks: what the student then did all the same
    repeats what the memory holds."""
    asked = (step for step in steps if any(spend.actor == TEACHER for spend in step.spend))
    return episode.teacher_steps > 0 or any(step.decision.reason not in CASCADED for step in asked)


def _model(given: Model | str | None) -> Model | None:
    if not isinstance(given, str):
        return given
    from atlas.models import load

    return load(given)
