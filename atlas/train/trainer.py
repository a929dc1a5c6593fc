"""The training loop: passes over the data, measured as it goes, stopped when it is of no use, resumed when killed."""

from __future__ import annotations

import math
import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import atlas
from atlas.errors import ConfigError, DataError
from atlas.protocols import Model
from atlas.records import Record
from atlas.train import checkpoint, distributed
from atlas.train.average import Average
from atlas.train.base import Base, batches
from atlas.train.recipes import FORWARD, SftSuccess
from atlas.train.select import Select
from atlas.train.trajectories import fingerprint
from atlas.trained.student import check_place
from atlas.trained.trajectory import Trajectory
from atlas.trained.vocabulary import Encoded

Reward = Callable[[Model], float]
"""Plays the student on held-out tasks and says its success, from 0 to 1."""


WRITING = 20
"""Times as long as the last checkpoint took to write until the next is written."""


@dataclass(frozen=True)
class Settings:
    """How long and how fast."""

    epochs: int = 8
    tokens: int | None = None
    """Ends the schedule after about so much work in place of ``epochs``: see :meth:`SftSuccess.work`. Two recipes with
    the same number have been given the same compute."""
    lr: float = 3e-3
    """At its highest: it rises over the first steps and falls in a straight line to 0 (arXiv 2502.15938)."""
    batch_tokens: int = 3072
    seed: int = 0
    evaluations: int = 10
    """How often it is measured, at most after each epoch; it always is at the end."""
    patience: int = 3
    """Measurements over which the loss falls and the reward does not rise before it stops."""
    max_minutes: float | None = None
    """The schedule ends by the clock where that is sooner; such a run is not repeatable."""
    save_seconds: float = 60.0
    """Between checkpoints within an epoch, at least; 0 writes one at every step. Otherwise all of them are so far apart
    that to write them (of a language model, gigabytes) takes at most a twentieth of the time."""


class Measured(Record):
    """How good the student was after some epochs."""

    epoch: int
    share: float
    """Of the schedule that was behind."""
    step: int
    work: int
    """Tokens that the network was trained on, see :meth:`SftSuccess.work`."""
    seconds: float
    loss: float | None
    """Of the training batches since the last measurement, those before a training was resumed included; None where
    there were none."""
    held_out: float | None
    """Of held-out episodes: the negative log-likelihood of a token of their actions, or what the recipe measures in its
    place; None where nothing is held out."""
    reward: float | None = None
    """Success on held-out tasks; None where none are played."""


@dataclass
class Progress:
    """What is told while it trains."""

    epoch: int
    step: int
    steps: int | None
    """How many there will be, as it looks now; None before anything of the schedule is behind."""
    loss: float
    tokens_per_second: float
    seconds: float
    left: float
    """Seconds to go, as it looks now."""
    measured: Measured | None = None


@dataclass
class Trainer:
    """One training of ``base`` by ``recipe``. The student goes to ``out``; what was there stays until it is whole.

    The student is the average of the weights over the last steps, see :class:`atlas.train.average.Average`.
    """

    base: Base
    recipe: SftSuccess
    train: Sequence[Trajectory]
    held_out: Sequence[Trajectory]
    out: Path
    settings: Settings = field(default_factory=Settings)
    reward: Reward | None = None
    select: Select | None = None
    """Draws the trajectories of each epoch; None takes all of them."""
    untrained: bool = False
    """Whether ``base`` knows nothing yet. What it finds hard then says nothing, so the first epoch takes all."""
    about: dict[str, Any] = field(default_factory=dict)
    """Told beside the weights."""
    seen: Callable[[Progress], None] = lambda progress: None
    stops: Callable[[], bool] = lambda: False
    """Asked after each step: where it says so a checkpoint is written, whether one is due or not, and the training ends
    with KeyboardInterrupt. One that has come to its end by then ends as ever."""

    def run(self, *, resume: bool = False) -> list[Measured]:
        """Train, and keep the best student that was measured: by reward where there is one, else by held-out loss,
        and the last one where there is neither.

        ``resume`` goes on from the last checkpoint of the same training. Raises DataError where nothing can be written,
        KeyboardInterrupt where it ``stops``.
        """
        if distributed.world() > 1 and self.settings.max_minutes is not None:
            raise ConfigError("several processes keep no common clock: train for a number of epochs, not of minutes")
        check_place(self.out)
        config = self.config()
        path = checkpoint.place_of(self.out)
        state = checkpoint.load(path, config) if resume else None
        if state is not None:
            self.base.precision = state.get("precision", self.base.precision)
        self.base.precision = distributed.agreed(self.base.precision)
        self._optimizers = self.base.optimizers(self.settings.lr)
        self._history: list[Measured] = []
        self._best: dict[str, Any] | None = None
        self._drawn: list[int] = []
        self._tokens, self._step, self._spent, self._work, epoch, skip = 0, 0, 0.0, 0.0, 0, 0
        self.recipe.begin(self.base)
        self._average = Average(self.base.net)
        if state is not None:
            self.base.net.load_state_dict(state["net"])
            for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self._drawn = state["drawn"]
            if self.select is not None:
                self.select.rates = state["rates"]
            torch.set_rng_state(state["rng"])
            self._average.restore(state["average"])
            self._best, self._step, self._spent = state["best"], state["step"], state["seconds"]
            self._work = state["work"]
            self._history = [Measured.model_validate(m) for m in state["history"]]
            epoch, skip = state["epoch"], state["position"]
        self._began = time.monotonic() - self._spent
        self._saved, self._pause = time.monotonic(), 0.0
        self._config, self._path = config, path
        # Checkpoints of earlier builds do not know it.
        losses: tuple[float, int] = (state or {}).get("losses", (0.0, 0))
        self._sum, self._count = losses
        # A training that ended and could not be written is at its end already.
        over = bool(self._history) and self._history[-1].share >= 1
        while not (over or self._hopeless()):
            over = self._epoch(epoch, skip)
            epoch, skip = epoch + 1, 0
            if over or self._due(self._share(epoch, 0.0)):
                self._measure(epoch)
            # One that has ended is kept for the case that its student cannot be written.
            if over or self._hopeless():
                self._checkpoint(epoch, 0)
            else:
                self._keep(epoch, 0, 0.0)
        why = "the loss fell and the reward did not rise" if self._hopeless() else "the schedule came to its end"
        if self._best is not None:
            self.base.net.load_state_dict(self._best)
        if distributed.first():
            self.base.save(self.out, self._told(why))
            path.unlink(missing_ok=True)
        return self._history

    def config(self) -> dict[str, Any]:
        """What a checkpoint has to agree with: all that determines the result."""
        settings = {k: v for k, v in asdict(self.settings).items() if k != "save_seconds"}
        base = self.base.config()
        return {
            **settings,
            **base,
            **self.recipe.config(),
            "select": self.select.way if self.select else None,
            "processes": distributed.world(),
            "data": fingerprint(self.train),
            "held_out": fingerprint(self.held_out),
        }

    def _epoch(self, epoch: int, skip: int) -> bool:
        """One pass over the data, less its first ``skip`` batches; whether the schedule has come to its end."""
        # All randomness of an epoch derives from its number, so that a resumed one has the same batches.
        rng = random.Random(f"{self.settings.seed}/{epoch}")
        if self.select is not None and not skip:
            self._drawn = self._selected(self.select, epoch, rng)
        chosen = [self.train[i] for i in self._drawn] if self.select else self.train
        # Drawn anew, as a resumed epoch does not select again.
        rng = random.Random(f"{self.settings.seed}/{epoch}/order")
        items = self.recipe.examples(self.base, chosen, rng)
        groups = list(batches(items, self.settings.batch_tokens, rng))
        # Of all processes, so that each of them ends at the same step.
        work = [sum(map(self.recipe.work, group)) for group in distributed.steps(groups)]
        own = distributed.share(groups)
        if not own:
            raise DataError(
                f"an epoch makes {len(groups)} batch{'es' * (len(groups) != 1)} for {distributed.world()} "
                f"process{'es' * (distributed.world() != 1)}: train on more episodes, in fewer processes or with "
                "smaller --batch-tokens"
            )
        for i, batch in enumerate(own[skip:], skip):
            share = self._share(epoch, i / len(own))
            if share >= 1:
                return True
            loss = self._update(batch, share)
            self._work += work[i]
            self._tell(epoch, share, loss)
            self._keep(epoch, i + 1, self.settings.save_seconds)
        return self._share(epoch + 1, 0.0) >= 1

    def _selected(self, select: Select, epoch: int, rng: random.Random) -> list[int]:
        """All trajectories where selecting cannot pay: before anything is learnt, and where reading them all would take
        more than half of what is left."""
        whole = list(range(len(self.train)))
        cost = select.cost(self.base, self.train) * FORWARD
        left = math.inf if self.settings.tokens is None else self.settings.tokens - self._work
        if (self.untrained and epoch == 0) or 2 * cost > left:
            return whole
        self._work += cost
        return select.draw(self.base, self.train, self.settings.batch_tokens, rng)

    def _share(self, epoch: int, part: float) -> float:
        """How much of the schedule is behind: 1 is its end."""
        told = self.settings
        share = (epoch + part) / told.epochs if told.tokens is None else self._work / told.tokens
        return share if told.max_minutes is None else max(share, self._seconds() / (60 * told.max_minutes))

    def _update(self, batch: Sequence[Encoded], share: float) -> float:
        for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
            group["lr"] = self.settings.lr * schedule(share, self._step)
        self.base.net.train()
        loss = self.recipe.loss(self.base, batch, share)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the loss of step {self._step + 1} is {value}: train with a lower --lr; {self.out} is as it was"
            )
        self.base.net.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.base.net.parameters())
        torch.nn.utils.clip_grad_norm_(self.base.net.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
        self._average.update(self.base.net)
        self._step += 1
        self._tokens += sum(map(len, batch))
        self._sum, self._count = self._sum + value, self._count + 1
        return value

    def _due(self, share: float) -> bool:
        measured = math.floor(self._history[-1].share * self.settings.evaluations + 1e-9) if self._history else 0
        return math.floor(share * self.settings.evaluations + 1e-9) > measured

    def _measure(self, epoch: int) -> None:
        self.base.net.eval()
        share = min(self._share(epoch, 0.0), 1.0)
        with self._average.worn(self.base.net):
            measured = Measured(
                epoch=epoch,
                share=share,
                step=self._step,
                work=round(self._work),
                seconds=self._seconds(),
                loss=self._sum / self._count if self._count else None,
                held_out=held_out_loss(self.base, self.recipe, self.held_out, self.settings.batch_tokens),
                reward=self.reward(self.base.model()) if self.reward else None,
            )
            unknown = measured.reward is None and measured.held_out is None
            if unknown or all(goodness(measured) > goodness(other) for other in self._history):
                self._best = {k: v.detach().cpu().clone() for k, v in self.base.net.state_dict().items()}
        self._sum, self._count = 0.0, 0
        self._history.append(measured)
        self._tell(epoch - 1, share, measured.loss or 0.0, measured)

    def _hopeless(self) -> bool:
        """Whether imitation got better and play did not, for ``patience`` measurements (teacher hacking)."""
        recent, earlier = self._history[-self.settings.patience :], self._history[: -self.settings.patience]
        if not earlier or any(m.reward is None or m.held_out is None for m in self._history):
            return False
        best = max(m.reward or 0.0 for m in earlier)
        fell = (recent[-1].held_out or 0.0) < (earlier[-1].held_out or 0.0)
        return fell and all((m.reward or 0.0) <= best for m in recent)

    def _keep(self, epoch: int, position: int, seconds: float) -> None:
        """Write a checkpoint where it is due after so many seconds, or the training is to stop."""
        stops = self.stops()
        if stops or self._save_due(seconds):
            self._checkpoint(epoch, position)
        if stops:
            raise KeyboardInterrupt

    def _save_due(self, seconds: float) -> bool:
        """Whether so many seconds have passed, and as many as the last checkpoint's writing is worth."""
        pause = self._pause if self.settings.save_seconds else 0.0
        return time.monotonic() - self._saved > max(seconds, pause)

    def _checkpoint(self, epoch: int, position: int) -> None:
        began = self._saved = time.monotonic()
        if not distributed.first():
            return
        state = {
            "config": self._config,
            "net": self.base.net.state_dict(),
            "average": self._average.state(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "drawn": self._drawn,
            "rates": self.select.rates if self.select else {},
            "rng": torch.get_rng_state(),
            "precision": self.base.precision,
            "best": self._best,
            "history": [m.model_dump() for m in self._history],
            "epoch": epoch,
            "position": position,
            "step": self._step,
            "seconds": self._seconds(),
            "work": self._work,
            "losses": (self._sum, self._count),
        }
        checkpoint.save(self._path, state)
        self._saved = time.monotonic()
        self._pause = WRITING * (self._saved - began)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, epoch: int, share: float, loss: float, measured: Measured | None = None) -> None:
        seconds = self._seconds()
        self.seen(
            Progress(
                epoch=epoch + 1,
                step=self._step,
                steps=round(self._step / share) if share else None,
                loss=loss,
                tokens_per_second=self._tokens / max(seconds - self._spent, 1e-9),
                seconds=seconds,
                left=seconds * (1 - share) / share if share else math.inf,
                measured=measured,
            )
        )

    def _told(self, why: str) -> dict[str, Any]:
        return {
            **self.about,
            "training": self._config,
            "precision": self.base.precision,
            "stopped": why,
            "seconds": round(self._seconds(), 1),
            "steps": self._step,
            "work": round(self._work),
            "trajectories": len(self.train),
            "measured": [m.model_dump() for m in self._history],
            "versions": {"atlas": atlas.__version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def held_out_loss(base: Base, recipe: SftSuccess, trajectories: Sequence[Trajectory], tokens: int) -> float | None:
    """What the recipe measures on held-out episodes, the mean over targets; None where there are none."""
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches(recipe.examples(base, trajectories, None), tokens, random.Random(0)):
            value, targets = recipe.held_out(base, batch)
            total, count = total + value, count + targets
    return total / count if count else None


def goodness(measured: Measured) -> tuple[float, float]:
    """What the kept student has most of: reward, then likelihood of held-out actions."""
    return (measured.reward or 0.0, -(measured.held_out if measured.held_out is not None else math.inf))


def schedule(share: float, step: int, warmup: int = 30) -> float:
    """From 0 up over the first ``warmup`` steps, and in a straight line down to 0."""
    return min(1.0, (step + 1) / warmup) * max(1 - share, 0.0)
