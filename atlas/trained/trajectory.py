"""An episode as a student reads it, in training and at play.

A trajectory has a weight at each step: how much its action counts in the loss. A weight of 0 leaves the step in as
context, so that recipes choose steps without cutting episodes up.
"""

from __future__ import annotations

from collections.abc import Iterable

from atlas.prompts import REPLY_FORMAT, guidance_part
from atlas.records import STUDENT, Record, Task, Turn, View, Window


class Moment(Record):
    """One step: what was seen before it, what was done, by whom and why."""

    observation: str
    action: str
    thought: str = ""
    reply: str = ""
    """What was said where that is in no form of ours: a wrapped agent's words and calls (:mod:`atlas.calling`)."""
    actor: str = STUDENT
    model: str = ""
    """Whose reply it was; empty where the trace does not tell."""
    escalated: bool = False
    """Whether the student was asked, was in doubt, and the teacher acted."""
    guidance: str = ""
    """What the prompt held that a later student shall do without: a pamphlet's text."""
    weight: float = 1.0
    """Of the action in the loss; 0 where it is context only."""


class Trajectory(Record):
    """One episode as it is trained on."""

    task: str
    goal: str
    stable: str = ""
    """How to act: the part of the prompt that is the same at every step, for bases that read prompts."""
    talk: bool = False
    """Whether it is a wrapped agent's conversation, which has no lines of ours around what is seen and done."""
    tools: str = ""
    """What is told of the tools of such an agent."""
    family: str = ""
    success: bool | None = None
    holdout: bool = False
    """Whether it is kept apart to measure the loss on."""
    advantage: float = 0.0
    """Its reward less a baseline, for recipes that learn from rewards."""
    shown: tuple[Window, ...] = ()
    """Demonstrations that stand in the prompt for the whole episode, best first."""
    moments: tuple[Moment, ...]

    def weighted(self, weights: Iterable[float]) -> Trajectory:
        """The same trajectory with other weights, one for each moment."""
        moments = tuple(m.model_copy(update={"weight": w}) for m, w in zip(self.moments, weights, strict=True))
        return self.model_copy(update={"moments": moments})


def from_view(view: View, *, windows: bool = False) -> Trajectory:
    """The past of a view: what a student is shown when it is asked for the next action, which is left empty.

    Its guidance is that of the next action: what stood beside earlier ones, a view does not hold. ``windows``: with the
    demonstrations that were retrieved.
    """
    seen = [view.opening, *(turn.observation for turn in view.turns)]
    past = [Moment(observation=o, action=t.action) for o, t in zip(seen, view.turns, strict=False)]
    moments = (*past, Moment(observation=seen[-1], action="", guidance=guidance_part(view.guidance)))
    return Trajectory(task=view.task.id, goal=view.task.goal, shown=view.retrieved if windows else (), moments=moments)


def view_of(trajectory: Trajectory, index: int) -> View:
    """What a student is shown that plays step ``index`` of it. Its guidance is text already, and stands in the moment.

    A student that ranks actions writes no thoughts, so its history has none.
    """
    moments = trajectory.moments
    instructions = trajectory.stable.removesuffix(REPLY_FORMAT).removesuffix("\n\n")
    return View(
        task=Task(id=trajectory.task, goal=trajectory.goal, instructions=instructions),
        opening=moments[0].observation,
        turns=tuple(Turn(action=moments[i].action, observation=moments[i + 1].observation) for i in range(index)),
        retrieved=trajectory.shown,
        lasting=True,
    )
