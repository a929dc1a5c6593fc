"""The arms of an experiment: each is a policy, composed in one line.

``name@N`` is the arm with the first N demonstrations only: a point of its learning curve. ``cascade:T`` is the cascade
whose student acts where its score reaches T: its votes alone, or ``cascade:votes+similarity:T``. ``cascade:judge:T``
defers to the teacher where a trained judge of steps puts the chance of success below T. ``random-route:judge:T`` is the
control of that cascade: the teacher acts on as many steps, at random. ``-nodemos`` arms are named in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas.benchmarks.guided_arms import GUIDED_ARMS, guided
from atlas.benchmarks.library import Library
from atlas.errors import ConfigError
from atlas.memory import DemonstrationStore
from atlas.memory.irrelevant import Irrelevant
from atlas.policies import Cascade, LaneRules, RandomRoute, Recall, Solo, Watch
from atlas.protocols import Demonstrations, JudgesSteps, Model, Policy
from atlas.records import TEACHER
from atlas.trust import UNANIMITY, Trust

ARMS = {
    "student": "the student alone, without demonstrations",
    "icd": "the student with retrieved demonstrations (in-context distillation)",
    "icd-irrelevant": "the student with demonstrations drawn at random: a control",
    "cascade": "icd, and the teacher acts where the student's samples disagree",
    "cascade-watch": "the cascade, and the teacher also acts where an episode goes in circles or gets nowhere",
    "cascade-nodemos": "the cascade without demonstrations",
    "cascade-watch-nodemos": "cascade-watch without demonstrations",
    "random-route": "icd, and the teacher acts at random, at the cascade's share of steps: a control",
    "random-route-nodemos": "the same without demonstrations, at the share of cascade-nodemos",
    "online": "the cascade, its memory empty at first and growing with every success while it serves",
    "lanes": "auto, paired or coached by how such tasks went; student + demonstrations, its memory growing as online's",
    "teacher": "the teacher alone",
    **GUIDED_ARMS,
}

ONLINE = "online"
LANES = "lanes"
GROWING = (ONLINE, LANES)
"""Arms whose memory is empty at first and grows while they serve, one episode after the other."""
ROUTED = "random-route"
ROUTES = (ROUTED, f"{ROUTED}-nodemos")
TRUSTED = ("cascade", "cascade-watch", "cascade-nodemos", "cascade-watch-nodemos", *ROUTES)
"""Arms whose name may say by what the student is trusted; a route's is that of the cascade it is the control of."""


@dataclass(frozen=True)
class Cast:
    """Who plays, and how: what all arms of a run share."""

    student: Model
    teacher: Model
    k: int = 6
    samples: int = 3
    temperature: float = 0.1
    max_tokens: int = 256
    plan: bool = False
    """Whether the student writes a plan before it acts."""
    audit: float = 0.0
    """Share of the steps on which a cascade lets the student act that the teacher is asked about as well."""
    trust: Trust = UNANIMITY
    """By what the student of a cascade is trusted, in arms that do not say."""
    judge: JudgesSteps | None = None
    """What the signal ``judge`` of a trust asks."""
    rules: LaneRules = field(default_factory=LaneRules)
    """Which lanes are forced, forbidden or budgeted."""
    guidance_tokens: int = 300
    """What the entries of pamphlets may take of a prompt."""
    trials: float = 0.0
    """Share of episodes in which a coin decides for each entry whether it is shown."""


def split_name(arm: str) -> tuple[str, int | None]:
    """``icd@50`` -> (``icd``, 50). ConfigError for an arm that does not exist."""
    whole, at, count = arm.partition("@")
    name = whole.partition(":")[0]
    if name not in ARMS or (at and not count.isdigit()):
        raise ConfigError(f"there is no arm {arm!r}: choose among {', '.join(ARMS)}, or NAME@N for N demonstrations")
    trust_of(arm)
    if at and not needs_demos(name):
        raise ConfigError(f"the arm {name!r} uses no demonstrations, so {arm!r} is no point of a learning curve")
    return name, int(count) if at else None


def trust_of(arm: str) -> Trust:
    """What the student of a cascade is trusted by: ``cascade:0.67`` by two votes of three, others by unanimity."""
    name, colon, trust = arm.partition("@")[0].partition(":")
    if not colon:
        return UNANIMITY
    try:
        found = Trust.named(trust)
    except ValueError:
        found = None
    if found is None or name not in TRUSTED:
        raise ConfigError(f"the arm {arm!r} is no cascade with a threshold, such as cascade:0.67 or cascade:votes:0.67")
    return found


def needs_judge(arm: str) -> bool:
    """Whether the arm asks a judge of steps. A control at a cascade's share asks none."""
    return split_name(arm)[0] not in ROUTES and trust_of(arm).needs_judge


def needs_demos(arm: str) -> bool:
    """Whether the arm reads demonstrations that were collected before."""
    name = arm.partition("@")[0].partition(":")[0]
    return name in GUIDED_ARMS or name in ("icd", "icd-irrelevant", "cascade", "cascade-watch", ROUTED)


def build(
    arm: str,
    cast: Cast,
    memory: DemonstrationStore | None,
    *,
    share: float | None = None,
    seed: int = 0,
    library: Library | None = None,
) -> Policy:
    """The policy of ``arm``. ``share`` is the teacher's share of steps under random routing; ``library`` is what arms
    with pamphlets read."""
    name, count = split_name(arm)
    student = Solo(cast.student, temperature=0.0, max_tokens=cast.max_tokens)
    trust = trust_of(arm) if ":" in arm and name not in ROUTES else cast.trust
    if trust.needs_judge and cast.judge is None:
        raise ConfigError(
            f"the student of {arm!r} is trusted by a judge of steps: give the folder of one as --step-judge"
        )
    cascade = Cascade(
        cast.student,
        cast.teacher,
        samples=cast.samples,
        temperature=cast.temperature,
        max_tokens=cast.max_tokens,
        trust=trust,
        audit=cast.audit,
        judge=cast.judge if "judge" in trust.signals else None,
    )
    if name == "student":
        return student
    if name == "teacher":
        return Solo(cast.teacher, actor=TEACHER, max_tokens=cast.max_tokens)
    if name == "cascade-nodemos":
        return cascade
    if name == "cascade-watch-nodemos":
        return Watch(cascade, cast.teacher, max_tokens=cast.max_tokens)
    routed = None
    if name in ROUTES:
        if share is None:
            raise ConfigError(
                f"{arm} needs the cascade's share: add the arm {arm.replace(ROUTED, 'cascade')!r}, or give --share"
            )
        routed = RandomRoute(cast.student, cast.teacher, share=share, max_tokens=cast.max_tokens)
        if name != ROUTED:
            return routed
    if name in GUIDED_ARMS:
        if library is None:
            raise ConfigError(f"the arm {arm!r} needs pamphlets: run it with 'atlas bench', which distils them")
        return guided(name, count, cast, student, cascade, library)
    if memory is None:
        raise ConfigError(f"the arm {arm!r} needs demonstrations: give --demos or --memory")
    if name == ONLINE:
        return recall(cascade, memory, cast)
    # A part of fixed size, so that what an arm knows does not depend on who else adds to the memory meanwhile.
    demos = memory.limit(len(memory) if count is None else count)
    if name == "icd-irrelevant":
        return recall(student, Irrelevant(demos, seed), cast)
    if routed is not None:
        return recall(routed, demos, cast)
    if name == "cascade-watch":
        return Watch(recall(cascade, demos, cast), cast.teacher, max_tokens=cast.max_tokens)
    return recall(student if name == "icd" else cascade, demos, cast)


def recall(inner: Policy, demos: Demonstrations, cast: Cast) -> Recall:
    """``inner`` with demonstrations, as the cast says."""
    return Recall(inner, demos, cast.k, planner=cast.student if cast.plan else None)
