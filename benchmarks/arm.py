"""An arm of an experiment, as a record, and the stage that its policy is built on.

An arm of your own is an :class:`Arm` in a module of yours, named as ``--arms mine.py:my_arm``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from atlas.benchmarks.library import Elsewhere, Library
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.whole import WholeDemonstrations
from atlas.chances.foresight import Foresight
from atlas.errors import ConfigError
from atlas.evaluators.verdict import Judge
from atlas.given import check_arm
from atlas.memory import DemonstrationStore, Memory
from atlas.memory.distil import Distiller
from atlas.memory.irrelevant import Irrelevant
from atlas.memory.part import MemoryView
from atlas.policies import (
    Abridged,
    Cascade,
    Coach,
    Compressed,
    Guarded,
    Guided,
    InLane,
    Lanes,
    Probe,
    RandomRoute,
    Recall,
    Solo,
    TeacherReview,
    Unanswered,
    Validated,
    Watch,
)
from atlas.policies.probe import AUTO_AT
from atlas.protocols import Critic, Demonstrations, Environment, Model, Policy, Reviewer
from atlas.records import TEACHER
from atlas.traces.roles import Role
from atlas.trust import UNANIMITY, Trust

SAMPLES = ("samples", "temperature", "audit")
"""The options that every arm reads which draws several samples of the student."""


ATLAS_AUTO = 0.85
"""How near the chance of the student has to come to what is reached under supervision before the arm ``atlas`` lets it
alone. Chosen on generated incidents, --tasks-seed 10 to 13."""


@dataclass(frozen=True)
class Arm:
    """One way to play: all that is told of it anywhere stands here."""

    name: str
    says: str
    build: Callable[[Stage], Policy]
    kind: str = ""
    """What a report tells of it: ``student``, ``icd``, ``cascade``, ``watch`` (a cascade and more), ``teacher``,
    ``pamphlets``; of controls ``route`` and ``shuffled``. Others are told of by their name."""
    reads: tuple[str, ...] | None = None
    """Options that only some arms read, and this one does; None where it may read all of them."""
    demos: bool = False
    """Whether it needs demonstrations, which the teacher gives first."""
    pamphlets: bool = False
    """Whether it needs what the demonstrations were distilled to."""
    samples: bool = False
    """Whether it draws several samples of the student and lets the teacher act where they are not trusted."""
    trusted: bool = False
    """Whether its name may say by what: ``name:0.67``. A control's name says it of the cascade that it belongs to."""
    evidence: bool = False
    """Whether it reads all entries of the run's own, so that what their coins say is evidence."""
    grows: bool = False
    """Whether its memory is its own and grows while it serves, one episode after the other: empty at first, or a copy
    of the run's (``from_memory``)."""
    distils: bool = False
    """Whether what it plays is judged and distilled as well, before its next task."""
    tiers: int = 0
    """How many arms play each task one after the other, each up to its answer; 0 where it is one arm, which answers."""
    replays: Callable[[Callable[[], Environment]], Environment] | None = None
    """What makes an environment of the benchmark one whose answer can be held back."""
    reviewer: Callable[[Stage], Reviewer | None] | None = None
    control_of: str = ""
    """The arm whose control it is: nothing is compared with a control but what it controls."""
    bare: str = ""
    """The arm that is this one without demonstrations: where its learning curve begins."""
    hue: int | None = None
    """Its colour in reports, from 0 to 9, where no other arm of the run has it."""

    def __post_init__(self) -> None:
        check_arm("the name of an arm", self.name)

    @property
    def options(self) -> tuple[str, ...] | None:
        """The options that it reads of those that only some arms do; None where that is not known."""
        return None if self.reads is None else self.reads + (SAMPLES if self.samples else ())

    def reads_option(self, name: str) -> bool:
        return self.options is None or name in self.options

    @property
    def routes(self) -> bool:
        """Whether it needs to be told the teacher's share of steps."""
        return "share" in (self.reads or ())


@dataclass(frozen=True)
class Played:
    """An arm as a run has it: ``cascade:0.8@50``."""

    arm: Arm
    name: str
    """As it stands in the trace, without a group."""
    suffix: str = ""
    """What the name says besides the arm: ``:0.8@50``."""
    count: int | None = None
    """So many demonstrations only: a point of a learning curve."""
    trust: Trust | None = None
    """Where the name states it."""

    @property
    def needs_critic(self) -> bool:
        """Whether it asks a critic. A control at a cascade's share asks none."""
        return self.arm.samples and self.trust is not None and self.trust.needs_critic

    @property
    def control_of(self) -> str:
        """The arm that it is the control of, as that stands in the trace; empty where it is none."""
        return f"{self.arm.control_of}{self.suffix}" if self.arm.control_of else ""

    def role(self, group: str = "") -> Role:
        """What it is to the others of its run, whose arms stand in ``group``: for ``run.json``."""

        def exact(name: str) -> str:
            return f"{group}/{name}" if group and name else name

        point = self.count is not None
        return Role(
            group=group,
            name=self.name,
            says=self.arm.says,
            kind=self.arm.kind,
            base=exact(self.name.partition("@")[0]) if point else "",
            demos=self.count or 0,
            bare=exact(self.arm.bare),
            control_of=exact(self.control_of),
            trust=self.trust.name if self.trust is not None and self.arm.samples else "",
            family=self.arm.name,
            grows=self.arm.grows,
            hue=self.arm.hue,
        )


@dataclass(frozen=True)
class Cast:
    """Who plays: what all arms of a run share."""

    student: Model
    teacher: Model
    trust: Trust = UNANIMITY
    """By what the student of a cascade is trusted, in arms that do not say."""
    critic: Critic | None = None
    """What the signal ``judge`` of a trust asks."""
    judge: Judge | None = None
    """Who judges the episodes of arms that distil."""
    distiller: Distiller | None = None
    """Who distils them; None leaves it to the rules of the suite."""


@dataclass(frozen=True)
class Stage:
    """All that an arm is built from. Its properties are the policies that arms are made of."""

    cast: Cast
    options: BenchOptions
    memory: Memory | None = None
    library: Library | None = None
    """Demonstrations and what they were distilled to."""
    share: float | None = None
    """The teacher's share of steps under random routing."""
    seed: int = 0
    played: Played | None = None
    """The arm that is built, as the run names it."""

    def build(self, played: Played) -> Policy:
        policy = played.arm.build(replace(self, played=played))
        rules, teacher = self.options.ask_for, self.cast.teacher
        return Guarded(policy, rules, teacher, max_tokens=self.options.max_tokens) if rules else policy

    def tier(self, played: Played) -> Policy:
        """The policy of another arm, as a part of this one."""
        return played.arm.build(replace(self, played=played))

    def reviewer(self, played: Played) -> Reviewer | None:
        made = played.arm.reviewer
        return None if made is None else made(replace(self, played=played))

    # --- who decides --------------------------------------------------------------------------------------------------

    def _told(self, inner: Policy) -> Policy:
        """``inner`` with as much of the episode so far as its student is to be told."""
        if (tokens := self.options.told) is None:
            return inner
        return Abridged(inner, tokens, self.options.compressor)

    @property
    def student(self) -> Policy:
        return self._told(Solo(self.cast.student, temperature=0.0, max_tokens=self.options.max_tokens))

    @property
    def sampled(self) -> Policy:
        """The student, each action drawn."""
        options = self.options
        return self._told(Solo(self.cast.student, temperature=options.temperature, max_tokens=options.max_tokens))

    @property
    def teacher(self) -> Solo:
        return Solo(self.cast.teacher, actor=TEACHER, max_tokens=self.options.max_tokens)

    @property
    def cascade(self) -> Policy:
        stated = self.played.trust if self.played and self.played.arm.samples else None
        trust = stated or self.cast.trust
        if trust.needs_critic and self.cast.critic is None:
            raise ConfigError(
                f"the student of {self._name!r} is trusted by a judge of steps: give the folder of one as --step-judge"
            )
        cascade = Cascade(
            self.cast.student,
            self.cast.teacher,
            samples=self.options.samples,
            temperature=self.options.temperature,
            max_tokens=self.options.max_tokens,
            trust=trust,
            audit=self.options.audit,
            critic=self.cast.critic if trust.asks_critic else None,
        )
        return self._told(cascade)

    @property
    def route(self) -> Policy:
        if self.share is None:
            raise ConfigError(
                f"{self._name} needs the cascade's share: add the arm "
                f"{(self.played.control_of if self.played else '') or 'cascade'!r}, or give --share"
            )
        student, teacher = self.cast.student, self.cast.teacher
        return self._told(RandomRoute(student, teacher, share=self.share, max_tokens=self.options.max_tokens))

    @property
    def lanes(self) -> Lanes:
        """The student with demonstrations, alone or coached, by how such tasks went before."""
        auto = self.recall(self.student)
        coach = Coach(auto, self.cast.teacher, max_tokens=self.options.max_tokens)
        return Lanes(auto, coach, self._probe, rules=self.options.rules)

    @property
    def atlas(self) -> Policy:
        """The whole loop of arXiv 2511.01093, around a cascade: supervision by how such tasks went, a plan from the
        plans of similar tasks, demonstrations and entries at every step."""
        cascade, teacher = self._taught(self.cascade), self.cast.teacher
        if "probe" in self.options.without:
            return cascade
        coach = Coach(self._taught(self.student), teacher, max_tokens=self.options.max_tokens)
        probe = self._probe
        paired = Validated(cascade, TeacherReview(teacher), stands=probe.stands)
        return Lanes(cascade, coach, probe, paired=paired, rules=self.options.rules, escalates=True)

    def _taught(self, inner: Policy) -> Policy:
        """``inner`` with all that the memory of this arm has: plans, demonstrations, entries, less what is ablated."""
        without = self.options.without
        if "demonstrations" not in without:
            planner, elder = (None, None) if "plans" in without else (self.cast.student, self.cast.teacher)
            demos, k, every = self.demonstrations(), self.options.shown, self.options.every
            inner = Recall(inner, demos, k, planner=planner, elder=elder, every=every)
        if "pamphlets" not in without and self.memory is not None:
            inner = Guided(inner, self.memory.entries, self.options.guidance_tokens, share=self.options.trials)
        return inner

    @property
    def _probe(self) -> Probe:
        if self.memory is None or not (self.played and self.played.arm.grows):
            raise ConfigError(f"the arm {self._name!r} keeps no outcomes to choose lanes by: say grows=True in it")
        foresight = Foresight.load(self.options.foresight) if self.options.foresight else None
        auto_at = ATLAS_AUTO if self.played.arm.distils else AUTO_AT
        return Probe(self.memory.outcomes, foresight=foresight, student=self.cast.student.name, auto_at=auto_at)

    @property
    def review(self) -> Reviewer:
        """The teacher's review of an attempt, in the lane that has one."""
        return InLane(TeacherReview(self.cast.teacher))

    @property
    def review_unanswered(self) -> Reviewer | None:
        """The same where no answer was reviewed before it was given; none where no lane is chosen."""
        if "probe" in self.options.without:
            return None
        return InLane(Unanswered(TeacherReview(self.cast.teacher)))

    # --- what it is shown ---------------------------------------------------------------------------------------------

    def recall(self, inner: Policy, demos: Demonstrations | None = None, *, without: str = "") -> Recall:
        """``inner`` with demonstrations: all, or the first ones where the arm's name says so; none of one family."""
        planner = self.cast.student if self.options.plan else None
        source: Demonstrations = self.demonstrations(without) if demos is None else demos
        if (compressor := self.options.compressor) is not None:
            inner = Compressed(inner, compressor, self.options.compress_to)
        # Controls are what they are: of demonstrations at random the best would not be at random.
        reranker = self.options.reranker if demos is None else None
        every = self.options.every
        return Recall(inner, source, self.options.shown, planner=planner, every=every, reranker=reranker)

    def demonstrations(self, without: str = "") -> DemonstrationStore | MemoryView:
        arm, memory = self.played.arm if self.played else None, self.memory.demonstrations if self.memory else None
        if memory is None or (arm is not None and not (arm.demos or arm.grows)):
            raise ConfigError(
                f"the arm {self._name!r} needs demonstrations: give --demos or --memory, and in an arm of your own say "
                "demos=True"
            )
        if arm is not None and arm.grows:
            return memory
        count = self.played.count if self.played else None
        count = len(memory) if count is None else count
        if without:
            return memory.subset(demo.id for demo in memory.all()[:count] if demo.family != without)
        # A part of fixed size, so that what an arm knows does not depend on who else adds to the memory meanwhile.
        return memory.limit(count)

    @property
    def irrelevant(self) -> Demonstrations:
        """Demonstrations at random: a control."""
        return Irrelevant(self.demonstrations(), self.seed)

    @property
    def whole(self) -> Demonstrations:
        """All demonstrations in every prompt: a control."""
        return WholeDemonstrations(self.demonstrations())

    def guide(self, inner: Policy, *, without: str = "", shuffled: bool = False, whole: bool = False) -> Guided:
        """``inner`` with the entries that the demonstrations taught; shuffled, each cue has another's advice; whole,
        all of them are in every prompt."""
        if self.library is None:
            raise ConfigError(
                f"the arm {self._name!r} needs pamphlets: run it with 'atlas bench', which distils them, and in an arm "
                "of your own say pamphlets=True"
            )
        count = self.played.count if self.played else None
        entries = self.library.entries(count, without, shuffled=shuffled, whole=whole)
        return Guided(inner, entries, self.options.guidance_tokens, share=self.options.trials)

    def elsewhere(self, make: Callable[[str], Policy]) -> Elsewhere:
        """What ``make`` builds for a task's family, which it is told in order to leave that family out."""
        return Elsewhere(make)

    def watch(self, inner: Policy) -> Watch:
        return Watch(inner, self.cast.teacher, max_tokens=self.options.max_tokens)

    @property
    def _name(self) -> str:
        return self.played.name if self.played else "of this stage"
