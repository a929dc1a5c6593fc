"""What the student of ``atlas train`` is to read beside an episode, and how it is shown that in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.cli.bench_options import check_cut
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.compression import Compressor
    from atlas.train.recipes import Reads
    from atlas.trained.trajectory import Trajectory


def reads_of(name: str, options: dict[str, Any]) -> Reads | None:
    """What the student is to read; None for nothing."""
    from atlas.train.recipes import Reads

    windows, entries = options["with_demos"] is not None, options["with_entries"]
    if (windows or entries) and name not in ("sft-success", "escalations"):
        raise ConfigError(
            f"--with-demos and --with-entries belong to sft-success and escalations, not to {name}: leave them out"
        )
    if options["embedder"] and not windows:
        raise ConfigError("--embedder is what --with-demos finds demonstrations by: give that too, or leave it out")
    if options["k"] and not windows:
        raise ConfigError("--k counts the demonstrations of --with-demos: give that too, or leave it out")
    if options["drop"] is not None and not (windows or entries):
        raise ConfigError("--drop leaves out what --with-demos and --with-entries show: give one of them, or no --drop")
    if options["rename"] and not windows:
        raise ConfigError("--rename is for readings with demonstrations: give --with-demos too, or leave it out")
    if options["rename"] and _from_scratch(options["base"]):
        raise ConfigError(
            "--rename makes words up, which a student from scratch has no tokens for: give a language model as --base, "
            "or leave it out"
        )
    compressor = _compressor(options, windows)
    if not (windows or entries):
        return None
    drop = Reads.drop if options["drop"] is None else options["drop"]
    keep = options["compress_to"] or Reads.compress_to
    return Reads(windows, entries, drop, options["rename"] or 0.0, compressor, keep)


def _compressor(options: dict[str, Any], windows: bool) -> Compressor | None:
    """What cuts the demonstrations."""
    from atlas.compression import load_compressor

    check_cut(options["compress"], given=options["compress_to"] is not None)
    if options["compress"] is None:
        return None
    if not windows:
        raise ConfigError("--compress cuts the demonstrations of --with-demos: give that too, or leave it out")
    return load_compressor(options["compress"])


def _from_scratch(base: str) -> bool:
    from atlas.trained.student import ABOUT, about

    if base.partition(":")[0] == "scratch":
        return True
    folder = Path(base).expanduser()
    return (folder / ABOUT).is_file() and about(folder).get("base") == "scratch"


def beside(
    memory: Path, embedder: str | None, k: int, *parts: Sequence[Trajectory]
) -> tuple[list[Trajectory], list[Trajectory]]:
    """What is trained on and what is held out, with the demonstrations of ``memory``."""
    from atlas.memory import Memory
    from atlas.train.trajectories import shown

    if not memory.exists():
        raise ConfigError(f"there is no memory {memory}: give one that 'atlas bench' wrote, RUN/memory.sqlite")
    with Memory(memory, embedder or "minilm") as remembered:
        train, held_out = (shown(part, remembered.demonstrations, k) for part in parts)
    if not any(t.shown for t in train):
        raise ConfigError(f"the memory {memory} has no demonstration for these tasks: give one with demonstrations")
    return train, held_out
