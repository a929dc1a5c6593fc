"""What the copying student is offered by one demonstration or one entry of a pamphlet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Proposal:
    """An action, the reason given for it, and how well what proposes it fits (nats, larger is better)."""

    action: str
    thought: str
    fit: float
