"""What ``atlas bench alfworld`` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atlas.benchmarks.options import BenchOptions, option


@dataclass(frozen=True)
class AlfworldOptions(BenchOptions):
    """The options of every bench, and where the games are."""

    split: str = field(
        default="homes",
        metadata=option("valid_unseen, valid_seen or train; homes or homes-blocks (generated).", "always"),
    )
    teacher: str = field(default="scripted:alfworld", metadata=option("A model.", "apart"))
    tasks_seed: int = field(default=0, metadata=option("Which homes, which train games.", "always"))
    max_steps: int | None = field(default=None, metadata=option("Actions per episode. [default: 50]", "apart", least=1))
    data: Path | None = field(
        default=None, metadata=option("Folder of the official games. [default: ALFWORLD_DATA]", "no")
    )
