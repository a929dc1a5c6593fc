"""The arms of an experiment: each is a policy, composed in one line.

``name@N`` is the arm with the first N demonstrations only: a point of its learning curve. ``cascade:T`` is the cascade
whose student acts where its score reaches T: its votes alone, or ``cascade:votes+similarity:T``. ``cascade:judge:T``
defers to the teacher where a trained judge of steps puts the chance of success below T. ``random-route:judge:T`` is the
control of that cascade: the teacher acts on as many steps, at random. ``-nodemos`` arms are named in the same way.
``select:FILE`` plays the arms that a selector of 'atlas trust select' names, one after the other, and gives the best
answer.
``mine.py:my_arm`` and ``mine.arms:my_arm`` are arms of your own, and may be followed by the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas.benchmarks.arm import Arm, Played, Stage
from atlas.errors import ConfigError
from atlas.own import is_module, load_own
from atlas.policies import Onward
from atlas.protocols import Policy
from atlas.traces.account import COLLECT
from atlas.trust import Trust

STUDENT = ("history_to",)
GIVEN = (*STUDENT, "k", "plan", "window", "recall", "compress", "compress_to")
RECALL = (*GIVEN, "rerank")
GROWN = (*RECALL, "from_memory")
ENTRIES = (*STUDENT, "trials", "guidance_tokens")
LOOP = ("without", "judges", "arbiter", "reward", "distiller")
LANES = ("force_lane", "forbid_lane", "lane_dollars", "foresight")

# fmt: off
BUILT_IN = (
    Arm("student", "the student alone, without demonstrations",
        lambda on: on.student, kind="student", reads=STUDENT, hue=0),
    Arm("icd", "the student with retrieved demonstrations (in-context distillation)",
        lambda on: on.recall(on.student), kind="icd", reads=RECALL, demos=True, bare="student", hue=1),
    Arm("icd-onward", "icd, and no action twice while nothing new is seen: for students that go in circles",
        lambda on: Onward(on.recall(on.student)), kind="icd", reads=RECALL, demos=True),
    Arm("icd-irrelevant", "the student with demonstrations drawn at random: a control",
        lambda on: on.recall(on.student, on.irrelevant), reads=GIVEN, demos=True, control_of="icd"),
    Arm("cascade", "icd, and the teacher acts where the student's samples disagree",
        lambda on: on.recall(on.cascade),
        kind="cascade", reads=RECALL, demos=True, samples=True, trusted=True, bare="cascade-nodemos", hue=2),
    Arm("cascade-watch", "the cascade, and the teacher also acts where an episode goes in circles or gets nowhere",
        lambda on: on.watch(on.recall(on.cascade)),
        kind="watch", reads=RECALL, demos=True, samples=True, trusted=True, bare="cascade-watch-nodemos"),
    Arm("cascade-nodemos", "the cascade without demonstrations",
        lambda on: on.cascade, kind="cascade", reads=STUDENT, samples=True, trusted=True, hue=5),
    Arm("cascade-watch-nodemos", "cascade-watch without demonstrations",
        lambda on: on.watch(on.cascade), kind="watch", reads=STUDENT, samples=True, trusted=True),
    Arm("random-route", "icd, and the teacher acts at random, at the cascade's share of steps: a control",
        lambda on: on.recall(on.route), kind="route",
        reads=(*RECALL, "share"), demos=True, trusted=True, control_of="cascade", bare="random-route-nodemos", hue=4),
    Arm("random-route-nodemos", "the same without demonstrations, at the share of cascade-nodemos",
        lambda on: on.route, kind="route", reads=(*STUDENT, "share"), trusted=True, control_of="cascade-nodemos"),
    Arm("online", "the cascade, its memory empty at first and growing with every success while it serves",
        lambda on: on.recall(on.cascade), kind="online", reads=GROWN, samples=True, grows=True, hue=6),
    Arm("lanes", "auto, paired or coached by how such tasks went; student + demonstrations, its memory growing as "
        "online's", lambda on: on.lanes,
        kind="lanes", reads=(*GROWN, *LANES), grows=True, hue=6,
        reviewer=lambda on: on.review),
    Arm("atlas", "all of it, its memory empty at first: lanes by how such tasks went, plans, demonstrations, entries "
        "distilled after every task, and a cascade", lambda on: on.atlas, kind="atlas",
        reads=("k", "window", "recall", "from_memory", *ENTRIES, *LANES, *LOOP),
        samples=True, grows=True, distils=True, hue=9,
        reviewer=lambda on: on.review_unanswered),
    Arm("teacher", "the teacher alone",
        lambda on: on.teacher, kind="teacher", reads=(), hue=3),
    Arm("pamphlets", "the student with entries distilled from the demonstrations, and no demonstrations",
        lambda on: on.guide(on.student),
        kind="pamphlets", reads=ENTRIES, demos=True, pamphlets=True, evidence=True, hue=7),
    Arm("pamphlets-sampled", "the same, each action drawn at --temperature: traces for 'atlas train internalise "
        "--joint'", lambda on: on.guide(on.sampled), reads=(*ENTRIES, "temperature"), demos=True, pamphlets=True),
    Arm("pamphlets-shuffled", "pamphlets, each cue with the advice of another entry: a control",
        lambda on: on.guide(on.student, shuffled=True),
        kind="shuffled", reads=ENTRIES, demos=True, pamphlets=True, control_of="pamphlets"),
    Arm("pamphlets-whole", "pamphlets, all entries in every prompt: a control",
        lambda on: on.guide(on.student, whole=True),
        reads=ENTRIES, demos=True, pamphlets=True, control_of="pamphlets"),
    Arm("both", "the student with demonstrations and entries",
        lambda on: on.guide(on.recall(on.student)),
        reads=(*RECALL, *ENTRIES), demos=True, pamphlets=True, evidence=True, hue=8),
    Arm("both-shuffled", "the same, each cue with the advice of another entry: a control",
        lambda on: on.guide(on.recall(on.student), shuffled=True),
        kind="shuffled", reads=(*RECALL, *ENTRIES), demos=True, pamphlets=True, control_of="both"),
    Arm("both-whole", "the same, the whole memory in every prompt: a long context in place of retrieval, a control",
        lambda on: on.guide(on.recall(on.student, on.whole), whole=True),
        reads=(*GIVEN, *ENTRIES), demos=True, pamphlets=True, control_of="both"),
    Arm("cascade-pamphlets", "pamphlets, and the teacher acts where the student's samples disagree",
        lambda on: on.guide(on.cascade),
        kind="cascade", reads=ENTRIES, demos=True, pamphlets=True, samples=True, evidence=True, hue=5),
    Arm("cascade-both", "both, and the teacher acts where the student's samples disagree",
        lambda on: on.guide(on.recall(on.cascade)), kind="cascade",
        reads=(*RECALL, *ENTRIES), demos=True, pamphlets=True, samples=True, evidence=True, hue=9),
    Arm("icd-elsewhere", "icd with demonstrations of other task families only",
        lambda on: on.elsewhere(lambda family: on.recall(on.student, without=family)),
        reads=RECALL, demos=True, pamphlets=True, control_of="icd"),
    Arm("pamphlets-elsewhere", "pamphlets from other task families only: a frozen memory that is carried over",
        lambda on: on.elsewhere(lambda family: on.guide(on.student, without=family)),
        reads=ENTRIES, demos=True, pamphlets=True, control_of="pamphlets"),
    Arm("both-elsewhere", "both from other task families only",
        lambda on: on.elsewhere(lambda family: on.guide(on.recall(on.student, without=family), without=family)),
        reads=(*RECALL, *ENTRIES), demos=True, pamphlets=True, control_of="both"),
)
# fmt: on

ARMS = {arm.name: arm for arm in BUILT_IN}

_SPELLED = re.compile(r"(?P<name>[^:@]*)(?P<suffix>(?::(?P<trust>[^@]*))?(?:@(?P<count>.*))?)", re.DOTALL)
_OWN = re.compile(rf"(?P<place>[^:@]+):(?P<own>[A-Za-z_]\w*){_SPELLED.pattern.partition(')')[2]}", re.DOTALL)


def played(text: str) -> Played:
    """The arm that ``text`` names. ConfigError for one that does not exist."""
    if text.startswith("select:"):
        from atlas.benchmarks.selecting import selecting

        return selecting(text.partition(":")[2])
    found = _SPELLED.fullmatch(text)
    own = _OWN.fullmatch(text)
    if found is not None and found["name"] in ARMS:
        arm = ARMS[found["name"]]
    elif own is not None and _is_own(own["place"]):
        found, arm = own, _own(f"{own['place']}:{own['own']}")
    else:
        found = None
    if found is None or (found["count"] is not None and not found["count"].isdecimal()):
        raise ConfigError(
            f"there is no arm {text!r}: choose among {', '.join(ARMS)}, or NAME@N for N demonstrations, or "
            "select:FILE, or name one of your own as FILE.py:NAME or MODULE:NAME"
        )
    trust = _trust(text, arm, found["trust"])
    if found["count"] is not None and not arm.demos:
        raise ConfigError(f"the arm {arm.name!r} uses no demonstrations, so {text!r} is no point of a learning curve")
    suffix = found["suffix"]
    count = int(found["count"]) if found["count"] is not None else None
    return Played(arm, f"{arm.name}{suffix}", suffix, count, trust)


def _trust(text: str, arm: Arm, stated: str | None) -> Trust | None:
    """What the student is trusted by: in ``cascade:0.67`` by two votes of three. None where the name does not say."""
    if stated is None:
        return None
    try:
        found = Trust.named(stated)
    except ValueError:
        found = None
    if found is None or not arm.trusted:
        raise ConfigError(
            f"the arm {text!r} is no cascade with a threshold, such as cascade:0.67 or cascade:votes:0.67"
        )
    return found


def _is_own(place: str) -> bool:
    """Whether it can be a file or a module, and not a mistyped name of an arm."""
    return place.endswith(".py") or "." in place or is_module(place)


def _own(name: str) -> Arm:
    arm = load_own(name)
    if not isinstance(arm, Arm):
        raise ConfigError(f"{name} is no arm (it is of type {type(arm).__name__}): make it an atlas.benchmarks.arm.Arm")
    if arm.name in ARMS or arm.name == COLLECT or not re.fullmatch(r"[\w.-]+", arm.name):
        raise ConfigError(
            f"the arm {name} calls itself {arm.name!r}: give it a name of letters, digits, '.', '_' and '-' that no "
            "built-in arm has"
        )
    return arm


def all_played(texts: Sequence[str]) -> tuple[Played, ...]:
    """The arms of a run. ConfigError where two of them have one name."""
    found = tuple(map(played, texts))
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two of the arms are named {twice!r}: leave one out, or give it another name")
    return found


def readers(option: str) -> tuple[str, ...]:
    """The built-in arms that read ``option``; none where it is read whatever the arms are."""
    return tuple(arm.name for arm in BUILT_IN if arm.reads_option(option))


def build(arm: Played | str, stage: Stage) -> Policy:
    """The policy of ``arm``, made of what ``stage`` has."""
    return stage.build(played(arm) if isinstance(arm, str) else arm)
