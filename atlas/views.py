"""Tasks, and what a policy sees of them."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
from pydantic import field_validator

from atlas.framing import quoted
from atlas.given import Given
from atlas.messages import Message
from atlas.record import Light, once, whole_characters

STUDENT = "student"
TEACHER = "teacher"


class Task(Given):
    """One task: what is to be done, and what it is called."""

    id: str
    """Unique within its benchmark. A demonstration is never retrieved for the task it came from."""
    goal: str
    family: str = ""
    """Task type, for tables; a policy never sees it."""
    split: str = ""
    instructions: str = ""
    """How to act in this environment: the stable part of the prompt."""

    # What a client calls its task, and what it asks for first, is kept in databases.
    @field_validator("id", "goal", "family", "split", "instructions")
    @classmethod
    def _keepable(cls, text: str) -> str:
        return whole_characters(text)


class Observation(Light, kw_only=True):
    """What an environment shows after it opened or after an action."""

    text: str
    admissible: tuple[str, ...] = ()
    """The actions possible now, where the environment can list them."""
    score: float | None = None
    """The reward so far, in the environment's own unit; None where it gives none."""
    done: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.text, str) and isinstance(self.admissible, tuple)):
            self.checked()


def reply_text(action: str, thought: str = "") -> str:
    """An agent's reply, in the form that prompts ask for."""
    return f"Thought: {thought}\nAction: {action}" if thought else f"Action: {action}"


def unled(text: str) -> str:
    """``text`` of which no line begins as an action of a transcript does."""
    return _LED.sub("\u203a", text) if ">" in text else text


_LED = re.compile(r"^>", re.MULTILINE)


def transcript_line(observation: str, action: str) -> str:
    """A step of a transcript."""
    return f"{unled(observation)}\n> {action}"


class Turn(Light, kw_only=True):
    """A past step: the action taken, the reason given for it, and what was observed next."""

    action: str
    observation: str
    thought: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.action, str) and isinstance(self.observation, str)):
            self.checked()

    @property
    def messages(self) -> tuple[Message, Message]:
        """The turn in a chat."""
        replied = Message(role="assistant", content=reply_text(self.action, self.thought))
        return replied, Message(role="user", content=self.observation)


_quoted = lru_cache(maxsize=8192)(quoted)
"""Remembered: windows of the same demonstrations are shown at step after step."""


class DemoStep(Given):
    """One step of a demonstration: what was seen, what was thought, what was done."""

    observation: str
    action: str
    thought: str = ""

    @once
    def shown(self) -> str:
        """The step as a prompt shows it: quoted. Made once, as the same steps are shown again and again."""
        return f"Observation: {_quoted(self.observation)}\n{reply_text(_quoted(self.action), _quoted(self.thought))}"

    @once
    def bare(self) -> str:
        """The same without the thought."""
        return f"Observation: {_quoted(self.observation)}\n{reply_text(_quoted(self.action))}"

    @once
    def line(self) -> str:
        """The same as a transcript shows it."""
        return transcript_line(_quoted(self.observation), _quoted(self.action))


class Window(Light, kw_only=True):
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

    def __post_init__(self) -> None:
        if not isinstance(self.steps, tuple):
            self.checked()

    @property
    def shown(self) -> str:
        """The window as a prompt shows it, but for its number."""
        return self._written("shown")

    @property
    def bare(self) -> str:
        """The same without thoughts: for students that write none."""
        return self._written("bare")

    @property
    def transcript(self) -> str:
        """The same as a transcript: what was seen, and ``> action``."""
        return self._written("line")

    def _written(self, form: str) -> str:
        # By the steps themselves: to compare them costs as much as to write them out.
        key = (form, self.goal, self.plan, *map(id, self.steps))
        known = _WRITTEN.get(key)
        if known is None:
            head = [f"Task: {_quoted(self.goal)}", *([f"Plan: {_quoted(self.plan)}"] if self.plan else [])]
            if len(_WRITTEN) >= _MOST_WRITTEN:
                _WRITTEN.clear()
            known = _WRITTEN[key] = self.steps, "\n".join([*head, *map(attrgetter(form), self.steps)])
        return known[1]


_WRITTEN: dict[tuple[object, ...], tuple[tuple[DemoStep, ...], str]] = {}
"""Remembered: searches make new windows and find the same steps, for this episode and for others, and a text that is
the same object is not hashed and compared again where the trace names it. An entry keeps its steps, so that no others
get their identity."""
_MOST_WRITTEN = 4096


class Guidance(Light, kw_only=True):
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


class Told(Light, kw_only=True):
    """What of an episode so far a student's prompts tell, where that is not all of it."""

    opening: str
    turns: tuple[Turn, ...]


class View(Light, kw_only=True, gc=True, dict=True):
    """Everything a policy may know when it decides: nothing that the agent has not been shown."""

    task: Task
    opening: str
    turns: tuple[Turn, ...] = ()
    admissible: tuple[str, ...] = ()
    told: Told | None = None
    """What a student's prompts tell of opening and turns; all of it where None. Others are told all."""
    plan: str = ""
    guidance: tuple[Guidance, ...] = ()
    retrieved: tuple[Window, ...] = ()
    lasting: bool = False
    """Whether ``retrieved`` is the same at every step of the episode."""
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
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """A wrapped agent's further call options (``tool_choice``, ``response_format``...), passed on to hosted models that
    are asked for the next action."""
    seed: int = 0
    """The episode's seed, the same in all its attempts. See :attr:`moment`."""
    draw: str = ""
    """Which of several answers to the same question this is, where a wrapped agent draws several."""

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
        if self.attempt:
            first = f"{first}/{self.attempt}"
        return f"{first}/{self.draw}" if self.draw else first

    @once
    def history(self) -> tuple[Message, ...]:
        """Task, opening and turns as a chat that only grows."""
        head = [f"Task: {self.task.goal}"]
        if self.plan:
            head.append(f"Plan: {self.plan}")
        opening = Message(role="user", content="\n\n".join([*head, self.opening]))
        return (opening, *chain.from_iterable(turn.messages for turn in self.turns))

    def replace(self, **changes: Any) -> View:
        """A copy with some fields changed. What is told of an episode is of the turns that it was made of."""
        if self.told is not None and not _TOLD_OF.isdisjoint(changes):
            changes = {"told": None, **changes}
        copy = msgspec.structs.replace(self, **changes)
        known = self.__dict__
        if "history" in known and _IN_HISTORY.isdisjoint(changes):
            copy.__dict__["history"] = known["history"]
        return copy

    def after(self, turn: Turn, admissible: tuple[str, ...], *, plan: str, lane: str) -> View:
        """The view of the next step, which grows the history instead of making it anew."""
        view = self.replace(turns=(*self.turns, turn), admissible=admissible, plan=plan, lane=lane)
        if plan == self.plan:
            view.__dict__["history"] = self.history + turn.messages
        return view


_IN_HISTORY = frozenset({"task", "opening", "turns", "plan"})
_TOLD_OF = frozenset({"opening", "turns"})
