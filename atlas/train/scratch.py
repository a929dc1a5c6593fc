"""The base that begins from nothing: a small transformer and a vocabulary read off the data."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas.errors import ConfigError
from atlas.models.scratch import Scratch as Student
from atlas.train.base import Scores
from atlas.train.muon import WholeMuon
from atlas.trained import student
from atlas.trained.net import SIZES, Net
from atlas.trained.precision import passes, precision_for
from atlas.trained.trajectory import Trajectory
from atlas.trained.vocabulary import PAD, Encoded, Reader, Vocabulary, encode, encode_guided, encode_reason, renaming

CONTEXT = 0.2
"""Weight of the other tokens while training. To foretell what is seen next teaches how words are copied, which actions
need too; it is what makes a small network learn fast."""
DECAY = 0.1
"""Weight decay of matrices."""
RENAMED, SHARE = 0.3, 0.3
"""The share of trajectories in which words are renamed, and of their words."""


class ScratchBase:
    """Implements :class:`atlas.train.base.Base`."""

    def __init__(self, net: Net, vocabulary: Vocabulary) -> None:
        self.net = net
        self.vocabulary = vocabulary
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net.to(self.device)
        self.precision = precision_for(self.device)

    @classmethod
    def new(
        cls, size: str, trajectories: Sequence[Trajectory], *, thoughts: bool = False, seed: int = 0
    ) -> ScratchBase:
        """A network with random weights of a size named in ``SIZES``. ConfigError for one that is not there."""
        if size not in SIZES:
            raise ConfigError(f"there is no size {size!r} of scratch: choose one of {', '.join(SIZES)}")
        vocabulary = Vocabulary.of(trajectories, thoughts=thoughts)
        torch.manual_seed(seed)
        return cls(Net(len(vocabulary), SIZES[size]), vocabulary)

    @classmethod
    def load(cls, folder: Path | str) -> ScratchBase:
        """A student to train further. DataError where the folder holds none."""
        return cls(*student.load(folder))

    def encode(
        self, trajectory: Trajectory, rng: random.Random | None = None, *, guided: bool = False
    ) -> list[Encoded]:
        share = SHARE if rng is not None and rng.random() < RENAMED else 0.0
        reader = Reader(self.vocabulary) if rng is None else renaming(trajectory, self.vocabulary, rng, share)
        if guided:
            return [encode_guided(trajectory, reader)]
        return [encode(trajectory, reader, context=0.0 if rng is None else CONTEXT)]

    def encode_reason(self, trajectory: Trajectory, index: int) -> Encoded:
        return encode_reason(trajectory, index, Reader(self.vocabulary))

    def scores(self, batch: Sequence[Encoded]) -> Scores:
        tokens = self._padded([item.tokens for item in batch])
        if any(item.branches for item in batch):
            return self._branched(batch, tokens)
        weights = self._padded([item.weights for item in batch])
        with passes(self.device, self.precision):
            hidden, _ = self.net(tokens[:, :-1])
            rows, columns = weights[:, 1:].nonzero(as_tuple=True)
            logits = self.net.logits(hidden[rows, columns])
        return Scores(logits.float(), tokens[rows, columns + 1], weights[rows, columns + 1], rows)

    def _branched(self, batch: Sequence[Encoded], trunks: Tensor) -> Scores:
        """The trunks are read once; then all branches, each after the keys and values of its trunk."""
        owners = torch.tensor([i for i, item in enumerate(batch) for _ in item.branches], device=self.device)
        branches = [branch for item in batch for branch in item.branches]
        tokens = self._padded([branch.tokens for branch in branches])
        weights = self._padded([branch.weights for branch in branches])
        after = torch.tensor([branch.after for branch in branches], device=self.device)[:, None, None]
        trunk, width = trunks.shape[1], tokens.shape[1] - 1
        # (branches, heads, tokens) and (branches, heads, tokens, what they see): all heads alike.
        places = after + torch.arange(width, device=self.device)
        own = torch.ones(width, width, dtype=torch.bool, device=self.device).tril().expand(len(branches), 1, -1, -1)
        before = (torch.arange(trunk, device=self.device) < after)[:, None].expand(-1, -1, width, -1)
        with passes(self.device, self.precision):
            _, kept = self.net(trunks)
            past = [(keys[owners], values[owners]) for keys, values in kept]
            hidden, _ = self.net(tokens[:, :-1], places=places, past=past, sees=torch.cat([before, own], -1))
            rows, columns = weights[:, 1:].nonzero(as_tuple=True)
            logits = self.net.logits(hidden[rows, columns])
        return Scores(logits.float(), tokens[rows, columns + 1], weights[rows, columns + 1], owners[rows])

    def _padded(self, lists: Sequence[Sequence[float]]) -> Tensor:
        width = max(map(len, lists))
        return torch.tensor([[*numbers, *[PAD] * (width - len(numbers))] for numbers in lists], device=self.device)

    def optimizers(self, lr: float) -> list[Any]:
        """Muon for the matrices between layers (arXiv 2502.16982), AdamW for the embedding and the norms.

        On household games one pass over the data with Muon taught as much as two with AdamW alone.
        """
        inner = [p for name, p in self.net.named_parameters() if p.dim() == 2 and name != "embed.weight"]
        norms = [p for p in self.net.parameters() if p.dim() == 1]
        rest = [{"params": [self.net.embed.weight], "weight_decay": DECAY}, {"params": norms, "weight_decay": 0.0}]
        muon = torch.optim.Muon if self.precision == "bfloat16" else WholeMuon
        return [
            muon(inner, lr=lr, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95)),
        ]

    def frozen(self) -> ScratchBase:
        other = ScratchBase(copy.deepcopy(self.net).eval(), self.vocabulary)
        other.net.requires_grad_(False)
        other.precision = self.precision
        return other

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        student.save(folder, self.net, self.vocabulary, about)

    def model(self) -> Student:
        return Student.of(copy.deepcopy(self.net).cpu(), self.vocabulary)

    def config(self) -> dict[str, Any]:
        return {
            "base": "scratch",
            "shape": self.net.shape.model_dump(),
            "vocabulary": len(self.vocabulary),
            "parameters": sum(p.numel() for p in self.net.parameters()),
        }
