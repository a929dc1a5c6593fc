"""The records: everything that is stored, logged or passed between parts.

What is stored is a frozen model. What lives for one step (:class:`View`, :class:`Ask`) is a frozen dataclass, and
nobody checks its values. Live objects (models, stores, environments) implement the protocols of :mod:`atlas.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import Any

from pydantic import Field

from atlas.framing import quoted
from atlas.messages import Message as Message
from atlas.messages import Prompt as Prompt
from atlas.messages import ToolCall as ToolCall
from atlas.money import Price as Price
from atlas.money import Spend as Spend
from atlas.money import Usage as Usage
from atlas.money import by_actor as by_actor
from atlas.money import total as total
from atlas.record import Record as Record
from atlas.record import content_hash as content_hash
from atlas.verdict import Verdict as Verdict

STUDENT = "student"
TEACHER = "teacher"


# --- tasks and what a policy sees -------------------------------------------------------------------------------------


class Task(Record):
    """One task: what is to be done, and what it is called."""

    id: str
    """Unique within its benchmark. A demonstration is never retrieved for the task it came from."""
    goal: str
    family: str = ""
    """Task type, for tables; a policy never sees it."""
    split: str = ""
    instructions: str = ""
    """How to act in this environment: the stable part of the prompt."""


class Observation(Record):
    """What an environment shows after it opened or after an action."""

    text: str
    admissible: tuple[str, ...] = ()
    """The actions possible now, where the environment can list them."""
    score: float | None = None
    """The reward so far, in the environment's own unit; None where it gives none."""
    done: bool = False


def reply_text(action: str, thought: str = "") -> str:
    """An agent's reply, in the form that prompts ask for."""
    return f"Thought: {thought}\nAction: {action}" if thought else f"Action: {action}"


class Turn(Record):
    """A past step: the action taken, the reason given for it, and what was observed next."""

    action: str
    observation: str
    thought: str = ""

    @cached_property
    def messages(self) -> tuple[Message, Message]:
        """The turn in a chat. Made once: every later step of the episode shows it again."""
        replied = Message.trusted(role="assistant", content=reply_text(self.action, self.thought))
        return replied, Message.trusted(role="user", content=self.observation)


class DemoStep(Record):
    """One step of a demonstration: what was seen, what was thought, what was done."""

    observation: str
    action: str
    thought: str = ""

    @cached_property
    def shown(self) -> str:
        """The step as a prompt shows it: quoted. Made once, as the same steps are shown again and again."""
        return f"Observation: {quoted(self.observation)}\n{reply_text(quoted(self.action), quoted(self.thought))}"


class Window(Record):
    """Consecutive steps of a demonstration around its best match with the present step."""

    demo_id: str
    task_id: str
    goal: str
    plan: str = ""
    steps: tuple[DemoStep, ...]
    start: int = 0
    """Index of ``steps[0]`` in the demonstration."""
    best: int = 0
    """Index of the best match within ``steps``."""
    score: float = 0.0

    @cached_property
    def shown(self) -> str:
        """The window as a prompt shows it, but for its number."""
        lines = [f"Task: {quoted(self.goal)}"]
        if self.plan:
            lines.append(f"Plan: {quoted(self.plan)}")
        lines.extend([step.shown for step in self.steps])
        return "\n".join(lines)


class Guidance(Record):
    """One entry of a pamphlet as it is shown: when something applies, what to do then, and what to expect of it."""

    id: str
    cue: str
    action: str
    effect: str = ""
    pattern: tuple[str, ...] = ()
    """The actions it stands for, in order, with ``{slots}`` for what differs from task to task; may be empty."""
    audience: str = STUDENT
    """Who is shown it: ``student`` or ``teacher``."""
    score: float = 0.0
    """How well its cue fits."""


@dataclass(frozen=True)
class View:
    """Everything a policy may know when it decides: nothing that the agent has not been shown."""

    task: Task
    opening: str
    turns: tuple[Turn, ...] = ()
    admissible: tuple[str, ...] = ()
    plan: str = ""
    guidance: tuple[Guidance, ...] = ()
    retrieved: tuple[Window, ...] = ()
    advice: str = ""
    """What the teacher told the student: about the step to come, or about the attempt before."""
    lane: str = ""
    """The supervision chosen for this episode; empty where none is chosen."""
    attempt: int = 0
    """0 for the first attempt at the task, 1 for the retry after a review that rejected it."""
    messages: tuple[Message, ...] = ()
    """A wrapped agent's own chat history; empty where the history is opening and turns."""
    tools: tuple[dict[str, Any], ...] = ()
    """Tool schemas of a wrapped agent, as chat APIs take them."""
    options: dict[str, Any] = field(default_factory=dict)
    """A wrapped agent's further call options (``tool_choice``, ``response_format``...), passed on to hosted models that
    are asked for the next action."""
    seed: int = 0
    """The episode's seed, the same in all its attempts. See :attr:`moment`."""

    @property
    def index(self) -> int:
        """Zero-based index of the step being decided."""
        return len(self.turns)

    @property
    def observation(self) -> str:
        """The newest observation."""
        return self.turns[-1].observation if self.turns else self.opening

    @property
    def moment(self) -> str:
        """Which step of which attempt of which episode this is: all randomness of a policy and of its models derives
        from it, so that a resumed run draws what the first one would have."""
        first = f"{self.seed}/{self.task.id}/{self.index}"
        return f"{first}/{self.attempt}" if self.attempt else first

    @cached_property
    def history(self) -> tuple[Message, ...]:
        """Task, opening and turns as a chat that only grows."""
        head = [f"Task: {self.task.goal}"]
        if self.plan:
            head.append(f"Plan: {self.plan}")
        opening = Message(role="user", content="\n\n".join([*head, self.opening]))
        return (opening, *chain.from_iterable(turn.messages for turn in self.turns))

    def replace(self, **changes: Any) -> View:
        """A copy with some fields changed."""
        if not changes.keys() <= _IN_VIEW:
            raise TypeError(f"a view has no {', '.join(changes.keys() - _IN_VIEW)}")
        # Not dataclasses.replace, which sets all fields one by one: every policy of every step makes a copy.
        copy = object.__new__(View)
        fields = copy.__dict__
        fields.update(self.__dict__)
        fields.update(changes)
        if "history" in fields and not _IN_HISTORY.isdisjoint(changes):
            del fields["history"]
        return copy

    def after(self, turn: Turn, admissible: tuple[str, ...], *, plan: str, lane: str) -> View:
        """The view of the next step, which grows the history instead of making it anew."""
        view = self.replace(turns=(*self.turns, turn), admissible=admissible, plan=plan, lane=lane)
        if plan == self.plan:
            view.__dict__["history"] = self.history + turn.messages
        return view


_IN_VIEW = frozenset(View.__dataclass_fields__)
_IN_HISTORY = frozenset({"task", "opening", "turns", "plan"})


# --- models -----------------------------------------------------------------------------------------------------------


def _untold(usage: Usage) -> None:
    """Nobody keeps an account."""


@dataclass(frozen=True)
class Ask:
    """One request to a model. Language models read ``prompt``; copying students and scripted experts ``view``."""

    view: View
    prompt: Prompt
    n: int = 1
    """How many samples."""
    first: int = 0
    """Index of the first of them, so that sequential sampling draws what one call of ``n`` would have drawn."""
    temperature: float = 0.0
    max_tokens: int = 256
    purpose: str = "act"
    """``act`` for the next action, ``plan`` for the plan before the first one, ``guide`` for a word on ``proposal``,
    ``review`` for a verdict on the attempt that ``view`` holds, ``estimate`` for the chance of success."""
    proposal: str = ""
    """The action that a student wants to take."""
    paid: Callable[[Usage], None] = field(default=_untold, compare=False, repr=False)
    """To be called with what was used for this ask and will stand in no completion: a model does so before it raises,
    and before it is cancelled. Safe from any thread."""

    def replace(self, **changes: Any) -> Ask:
        """A copy with some fields changed."""
        return replace(self, **changes)


class Reply(Record):
    """One sample of a model."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    logprob: float | None = None
    """Log-probability of the action (natural log), where the model can tell."""
    finish: str = ""
    """The provider's finish reason, as given."""


class Completion(Record):
    """The samples of one request, and what they used."""

    replies: tuple[Reply, ...]
    usage: Usage = Usage(calls=1)


class Vote(Record):
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


class Hit(Record):
    """A retrieved window as the trace keeps it: by reference."""

    demo_id: str
    start: int
    length: int
    best: int
    score: float


class Citation(Record):
    """An entry of a pamphlet that fitted a step, by its id, and whether it was shown."""

    id: str
    score: float = 0.0
    shown: bool = True
    randomised: bool = False
    """Whether a coin decided that it is shown, or withheld, for this whole episode: what its evidence rests on."""
    p: float | None = None
    """The probability with which that coin shows it; None where none was tossed, and 0.5 in traces that do not say."""


class LaneChoice(Record):
    """The supervision of an episode, and what it was chosen by."""

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


class Decision(Record):
    """What a policy decided, by whom, and on what grounds. What it cost is in the desk's account."""

    action: str
    actor: str
    reason: str
    """Why this actor: ``solo``, ``agreed``, ``split``, ``no-action``, ``routed``..."""
    thought: str = ""
    plan: str | None = None
    """A plan made at this step, for the steps after it."""
    lane: LaneChoice | None = None
    """Chosen at an episode's first step, for all of it."""
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
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time by part: ``retrieve``, ``student``, ``teacher``."""


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


class Step(Record):
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
    """What went wrong in an episode that stopped with ``error``."""

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
