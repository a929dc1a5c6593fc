"""The seams: small protocols. Anything that fits them composes with everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atlas.records import (
    BARE,
    Ask,
    Completion,
    Decision,
    Episode,
    Form,
    Guidance,
    Observation,
    Price,
    Rank,
    Review,
    Step,
    Task,
    View,
    Window,
)

if TYPE_CHECKING:
    from atlas.asking import Desk


@runtime_checkable
class Environment(Protocol):
    """A task being played. Single use: opened once, stepped until done, closed; there is no reset."""

    task: Task

    async def open(self) -> Observation: ...

    async def step(self, action: str) -> Observation: ...

    async def close(self) -> None: ...


@runtime_checkable
class Model(Protocol):
    """Anything that answers an :class:`Ask`: a hosted or embedded language model, a copying student, a script.

    Where many processes play, each has a model of its own, but for one that says ``single = True``, as those with
    weights do: it stays where the command is, and the others ask it there.
    """

    name: str
    price: Price | None
    """None where no price is known; its dollars are then reported as unpriced."""
    shares_prompt: bool
    """True where ``n`` samples of one call cost the prompt once. Otherwise samples are drawn one by one."""

    async def sample(self, ask: Ask) -> Completion:
        """The replies and what they used. What was used for an ask that it fails is told to :attr:`Ask.paid`; the
        failure itself is a ModelError."""
        ...


class ReadsView:
    """Base of models that decide by :attr:`Ask.view` alone and never read the prompt.

    Their prompts are rendered without the retrieved part: the trace must not claim, nor pay for, what nobody read.
    Which windows were retrieved stands in the step's hits.
    """

    reads_guidance = False
    """Whether it reads the entries of pamphlets too: then the trace keeps them, for a student that is to learn them."""
    reads_windows = False
    """Whether it reads demonstrations too."""


class RanksActions:
    """Base of models that choose among :attr:`View.admissible` by likelihood.

    Their prompts do not list the actions: each is scored anyway, and the list is what changes most from step to step.
    Nor do their examples hold thoughts, which they do not write.
    """

    form: Form = BARE
    """How their prompts are written where there are actions to rank."""
    rank: Rank = "sum"
    remind: bool = False
    """Whether the goal is told once more at the end of such a prompt, and in a chat what is seen now."""


@runtime_checkable
class Policy(Protocol):
    """Decides the next action. Policies wrap models and other policies; an ablation is one line."""

    async def decide(self, view: View, desk: Desk) -> Decision:
        """``desk`` is where models are asked: it keeps the account. One desk per decision."""
        ...

    def config(self) -> dict[str, object]:
        """All that determines its behaviour, JSON-serialisable; hashed into every episode."""
        ...


class Demonstrations(Protocol):
    """The reading side of a demonstration memory."""

    def search(self, view: View, k: int) -> Sequence[Window]:
        """The ``k`` best windows for the view's next step, best first, none of them from the view's own task."""
        ...

    def similar(self, view: View, k: int) -> Sequence[Window]:
        """The ``k`` best trajectories by goal (and plan where the view has one), as whole-trajectory windows."""
        ...

    def config(self) -> dict[str, object]: ...


class Pamphlets(Protocol):
    """The reading side of a memory of guidance."""

    def search(self, view: View, tokens: int) -> Sequence[Guidance]:
        """The entries that fit the view's next step, best first, which together take at most ``tokens`` when shown."""
        ...

    def config(self) -> dict[str, object]: ...


class Reviewer(Protocol):
    """Validates an attempt after it ended. It sees what the agent saw, not the score."""

    async def review(self, view: View, desk: Desk) -> Review | None:
        """``view`` is as after the attempt's last action. None where this attempt is not to be reviewed."""
        ...

    def config(self) -> dict[str, object]: ...


class Critic(Protocol):
    """Says of an action, before it is taken, how likely the episode is to succeed."""

    name: str
    """Which critic this is: stands in the configuration of the policies that ask it."""

    def chance(self, view: View, action: str) -> float:
        """The probability, from 0 to 1, that the episode succeeds if ``action``, which is not empty, is taken now.
        Called in threads, for several episodes at once."""
        ...


class Embedder(Protocol):
    """Text to unit vectors."""

    name: str

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``(len(texts), dim)``, rows of unit length."""
        ...


class Recorder(Protocol):
    """Takes what happened, as it happens."""

    def start(self, episode_id: str, arm: str, task: Task, seed: int, config: str) -> None: ...

    def step(self, episode_id: str, step: Step) -> None: ...

    def end(self, episode: Episode) -> None: ...
