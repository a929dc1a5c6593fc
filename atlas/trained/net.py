"""A small decoder-only transformer: RMSNorm, rotary positions, SwiGLU, tied embeddings. Nothing in it is unusual.

RMSNorm: arXiv 1910.07467. Rotary positions: arXiv 2104.09864. SwiGLU: arXiv 2002.05202.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas.records import Record

Past = list[tuple[Tensor, Tensor]]
"""Keys and values of what was read before, by layer: each ``(batch, heads, length, width of a head)``."""


class Shape(Record):
    """The size of a network."""

    width: int = 128
    layers: int = 4
    heads: int = 2
    dropout: float = 0.0


SIZES = {
    "tiny": Shape(width=32, layers=2, heads=2),
    "small": Shape(),
    "medium": Shape(width=192, layers=6, heads=3),
}


class Net(nn.Module):  # type: ignore[misc]
    """From token numbers to the next token's distribution."""

    def __init__(self, vocabulary: int, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width)
        self.drop = nn.Dropout(shape.dropout)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                # Layers that write into the residual stream begin smaller, so that it does not grow with depth.
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / ((2 * shape.layers) ** 0.5 if deep else 1))

    def forward(
        self, tokens: Tensor, *, places: Tensor | None = None, past: Past | None = None, sees: Tensor | None = None
    ) -> tuple[Tensor, Past]:
        """Of ``tokens`` ``(batch, length)`` the last hidden states ``(batch, length, width)``, the keys and the values.

        ``places`` are positions in the sequence, by default 0, 1, 2...; ``sees`` is True where a token (row) attends to
        a token (column; those of ``past`` first), by default causal, which needs no ``past``.
        """
        if places is None:
            places = torch.arange(tokens.shape[1], device=tokens.device)
        if sees is None:
            sees = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
        turn = rotation(places, self.shape.width // self.shape.heads)
        hidden = self.drop(self.embed(tokens))
        kept: Past = []
        for i, block in enumerate(self.blocks):
            hidden, pair = block(hidden, turn, past[i] if past else None, sees)
            kept.append(pair)
        return self.norm(hidden), kept

    def logits(self, hidden: Tensor) -> Tensor:
        """``(..., width)`` to ``(..., vocabulary)``: the embedding is the output layer too."""
        return F.linear(hidden, self.embed.weight).float()


class Block(nn.Module):  # type: ignore[misc]
    """Attention, then a gated layer, each on a normed copy of the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = shape.dropout
        inner = -(-shape.width * 8 // 192) * 64  # about 8/3 of the width, in whole tiles
        self.norm1 = nn.RMSNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.norm2 = nn.RMSNorm(shape.width)
        self.up = nn.Linear(shape.width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, shape.width, bias=False)
        self.drop = nn.Dropout(shape.dropout)

    def forward(
        self, hidden: Tensor, turn: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor] | None, sees: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, width = hidden.shape
        q, k, v = self.qkv(self.norm1(hidden)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, turn), rotate(k, turn)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = attention(q, k, v, sees)
        hidden = hidden + self.drop(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        gate, value = self.up(self.norm2(hidden)).chunk(2, dim=-1)
        return hidden + self.drop(self.down(F.silu(gate) * value)), (k, v)


def attention(q: Tensor, k: Tensor, v: Tensor, sees: Tensor) -> Tensor:
    """``softmax(q k' / sqrt(width)) v`` over what each token sees.

    Written out: on a CPU in bfloat16 it takes half the time of torch's fused attention at these widths. The queries are
    scaled, not the scores, of which there are more.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return scores.masked_fill(~sees, -torch.inf).softmax(-1) @ v


def rotation(places: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine for each place: ``(length, width / 2)``."""
    steps = torch.arange(0, width, 2, device=places.device) / width
    angles = places[..., None] * 10_000.0**-steps
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of dimensions by an angle that grows with the place, so that a product tells the distance."""
    cos, sin = (part.to(x.dtype) for part in turn)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
