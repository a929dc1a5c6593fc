"""The records: everything that is stored, logged or passed between parts.

All are frozen. A :class:`Record` is checked when it is made; a :class:`Light` one, of which a step makes dozens, where
code of others makes it or a file holds it. Live objects (models, stores, environments) implement the protocols of
:mod:`atlas.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import structs

from atlas.messages import BARE as BARE
from atlas.messages import CHAT as CHAT
from atlas.messages import TRANSCRIPT as TRANSCRIPT
from atlas.messages import Form as Form
from atlas.messages import Message as Message
from atlas.messages import Prompt as Prompt
from atlas.messages import Rank as Rank
from atlas.messages import ToolCall as ToolCall
from atlas.money import Price as Price
from atlas.money import Spend as Spend
from atlas.money import Usage as Usage
from atlas.money import by_actor as by_actor
from atlas.money import total as total
from atlas.record import Light as Light
from atlas.record import Record as Record
from atlas.record import content_hash as content_hash
from atlas.verdict import Verdict as Verdict
from atlas.views import STUDENT as STUDENT
from atlas.views import TEACHER as TEACHER
from atlas.views import DemoStep as DemoStep
from atlas.views import Guidance as Guidance
from atlas.views import Observation as Observation
from atlas.views import Task as Task
from atlas.views import Told as Told
from atlas.views import Turn as Turn
from atlas.views import View as View
from atlas.views import Window as Window
from atlas.views import reply_text as reply_text

# --- models -----------------------------------------------------------------------------------------------------------


def _untold(usage: Usage) -> None:
    """Nobody keeps an account."""


class Ask(msgspec.Struct, frozen=True, weakref=True):
    """One request to a model. Language models read ``prompt``; copying students and scripted experts ``view``."""

    view: View
    prompt: Prompt
    n: int = 1
    """How many samples."""
    first: int = 0
    """Index of the first of them, so that sequential sampling draws what one call of ``n`` would have drawn."""
    temperature: float = 0.0
    max_tokens: int = 256
    """Of one reply."""
    bound: bool = True
    """False where nobody set ``max_tokens``: a model whose provider has a limit of its own keeps to that alone."""
    purpose: str = "act"
    """``act`` for the next action, ``plan`` for the plan before the first one, ``guide`` for a word on ``proposal``,
    ``review`` for a verdict on the attempt that ``view`` holds, ``estimate`` for the chance of success."""
    proposal: str = ""
    """The action that a student wants to take."""
    paid: Callable[[Usage], None] = _untold
    """To be called with what was used for this ask and will stand in no completion: a model does so before it raises,
    and before it is cancelled. Safe from any thread."""
    heard: Callable[[dict[str, Any]], None] | None = None
    """Where somebody listens: to be called with each piece of the one reply as it comes, in the event loop of the ask:
    a ``delta`` of the chat-completions API. A model that cannot need not."""
    schema: dict[str, Any] | None = None
    """JSON schema of the reply. A model that can be held to one writes nothing else; for others the prompt says it."""
    grammar: str = ""
    """The same for a reply of lines: see :mod:`atlas.grammar`."""

    def replace(self, **changes: Any) -> Ask:
        """A copy with some fields changed."""
        return structs.replace(self, **changes)


class Reply(Light, kw_only=True):
    """One sample of a model."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    logprob: float | None = None
    """Log-probability of the action (natural log), where the model can tell."""
    finish: str = ""
    """The provider's finish reason, as given."""
    message: dict[str, Any] | None = None
    """The assistant message as its provider wrote it in the chat-completions form, where that holds more than text and
    tool calls (``reasoning_content``, ``thinking_blocks``, a refusal): goes back to the caller of a wrapped agent."""

    def __post_init__(self) -> None:
        known = isinstance(self.text, str) and isinstance(self.tool_calls, tuple)
        if not known or not (self.logprob is None or isinstance(self.logprob, float)):
            self.checked()


class Completion(Light, kw_only=True):
    """The samples of one request, and what they used."""

    replies: tuple[Reply, ...]
    usage: Usage = Usage(calls=1)

    def __post_init__(self) -> None:
        if not (isinstance(self.replies, tuple) and isinstance(self.usage, Usage)):
            self.checked()


class Vote(Light, kw_only=True):
    """A sample as the cascade counted it."""

    actor: str
    model: str
    action: str | None
    """The action in canonical form; None where the reply held none."""
    text: str = ""
    logprob: float | None = None
    chance: float | None = None
    """What a judge of steps said: the probability that the episode succeeds if this action is taken. None where it was
    not asked."""


class Hit(Light, kw_only=True):
    """A retrieved window as the trace keeps it: by reference."""

    demo_id: str
    start: int
    length: int
    best: int
    score: float


class Citation(Light, kw_only=True):
    """An entry of a pamphlet that fitted a step, by its id, and whether it was shown."""

    id: str
    score: float = 0.0
    shown: bool = True
    randomised: bool = False
    """Whether a coin decided that it is shown, or withheld, for this whole episode: what its evidence rests on."""
    p: float | None = None
    """The probability with which that coin shows it; None where none was tossed, and 0.5 in traces that do not say."""


class LaneChoice(Record):
    """The supervision of an episode, and what it was chosen by: at its first step, or later where it is made closer."""

    lane: str
    reason: str
    tasks: int = 0
    """How many past tasks like this one were looked at."""
    similarity: float | None = None
    """Their mean similarity; None where there are none."""
    success: float | None = None
    """The share of them that ended well, as the choice weighed them."""
    dollars: float | None = None
    """What they cost on average; None where that is not known."""
    estimate: float | None = None
    """The chance of success that a model stated, where one was asked."""
    chance: float | None = None
    """That the student succeeds by itself, as the choice put it; None in traces that do not say."""


class Review(Record):
    """What a reviewer said of an attempt, without knowing its score."""

    attempt: int
    approved: bool | None
    """None where the reviewer gave no verdict: then nothing follows from it."""
    feedback: str = ""
    """What to do better; the retry is told."""
    model: str = ""
    spend: tuple[Spend, ...] = ()
    """What it cost: a part of what the step or the episode used."""


class Decision(Light, kw_only=True):
    """What a policy decided, by whom, and on what grounds. What it cost is in the desk's account."""

    action: str
    actor: str
    reason: str
    """Why this actor: ``solo``, ``agreed``, ``split``, ``no-action``, ``routed``..."""
    thought: str = ""
    plan: str | None = None
    """A plan made at this step, for the steps after it."""
    lane: LaneChoice | None = None
    """Chosen at an episode's first step, for the steps from there on."""
    advice: str = ""
    """What the student was told before this step."""
    reviews: tuple[Review, ...] = ()
    """Of the answer that this step gives."""
    votes: tuple[Vote, ...] = ()
    guidance: tuple[Citation, ...] = ()
    retrieved: tuple[Hit, ...] = ()
    prompt: Prompt = Prompt()
    tool_calls: tuple[ToolCall, ...] = ()
    """The chosen reply's tool calls, for wrapped agents."""
    text: str = ""
    """The chosen reply as the model wrote it."""
    finish: str = ""
    """The chosen reply's finish reason, as its provider gave it."""
    message: dict[str, Any] | None = None
    """The chosen reply's ``message``."""
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    """Wall time by part: ``retrieve``, ``student``, ``teacher``."""

    def __post_init__(self) -> None:
        if not (isinstance(self.action, str) and isinstance(self.votes, tuple) and isinstance(self.reviews, tuple)):
            self.checked()


# --- episodes ---------------------------------------------------------------------------------------------------------


class Stop(StrEnum):
    """Why an episode ended. Every episode has one. ``run_budget`` and ``cancelled`` are played again on
    resume, and so is ``error``, which is a result until then."""

    DONE = "done"
    MAX_STEPS = "max_steps"
    BUDGET = "budget"
    RUN_BUDGET = "run_budget"
    ERROR = "error"
    CANCELLED = "cancelled"


INTERRUPTED = (Stop.RUN_BUDGET, Stop.CANCELLED)
"""Stops of episodes that are played again when the run resumes: paid, but no result."""


class Step(Light, kw_only=True):
    """One step of an episode as the trace keeps it."""

    index: int
    """Within the episode, over all its attempts."""
    attempt: int = 0
    observation: str
    """What was seen before acting."""
    admissible: int = 0
    """How many actions were admissible."""
    decision: Decision
    outcome: Observation
    spend: tuple[Spend, ...] = ()
    """What was used to decide it, a row per actor and model."""
    seconds: float
    """Wall time of the whole step."""


class Failure(Record):
    """What went wrong: in an episode that stopped with ``error``, or in the last call of a wrapped agent, which went on
    without it."""

    kind: str
    message: str
    where: str
    """``environment``, ``policy``, ``reviewer``, ``judge`` or ``agent``."""


class Episode(Record):
    """The result of one rollout. ``score`` None means that nothing scored it, which is not a score of 0."""

    id: str
    run: str
    arm: str
    task: Task
    seed: int
    config: str
    """Hash of the configuration it ran under."""
    stop: Stop
    score: float | None
    success: bool | None
    steps: int
    teacher_steps: int
    spend: tuple[Spend, ...]
    seconds: float
    started: float
    """Unix time."""
    plan: str = ""
    lane: str = ""
    """The supervision it had; empty where none was chosen."""
    asked_steps: int = 0
    """Steps for which the teacher was asked, whoever acted."""
    reviews: tuple[Review, ...] = ()
    """One per attempt that was reviewed; the score is the last attempt's."""
    verdict: Verdict | None = None
    """The judge's, where a judge scored the episode in place of its environment."""
    after: tuple[Spend, ...] = ()
    """What was used once it was over, to judge it and to learn from it: a part of ``spend``."""
    failure: Failure | None = None
    retries: str = ""
    """Id of the episode that ended with an error and that this one plays again; empty for a first one."""


def retried(episodes: Iterable[Episode]) -> set[str]:
    """The ids of the episodes that ended with an error and were played again to a result: what they cost was paid, and
    the later one counts."""
    return {e.retries for e in episodes if e.retries and e.stop not in INTERRUPTED}


def counted(episodes: Iterable[Episode]) -> list[Episode]:
    """``episodes`` without those that :func:`retried` names."""
    found = list(episodes)
    again = retried(found)
    return [e for e in found if e.id not in again] if again else found
