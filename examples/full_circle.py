"""The whole circle: play, export, train, promote, play again at less cost. Household games generated here, no key.

python examples/full_circle.py [FOLDER [HOMES [EPOCHS]]]     (needs the extra train: pip install '.[train]')
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from atlas.cli import main as atlas
from atlas.records import total
from atlas.traces import Run
from atlas.trained.student import need_torch


def dollars(run: Path) -> float:
    """What an episode of the cascade cost, all actors together."""
    episodes = [e for e in Run(run).results() if e.arm == "cascade-nodemos"]
    won, asked = sum(bool(e.success) for e in episodes), sum(e.teacher_steps for e in episodes)
    cost = sum(total(e.spend).dollars or 0.0 for e in episodes) / len(episodes)
    print(f"   {won} of {len(episodes)} won, ${cost:.4f} an episode, the teacher took {asked} steps")
    return cost


def main(folder: Path, homes: int = 1000, epochs: int = 6) -> None:
    need_torch()  # before anything is played
    os.environ["ATLAS_CONFIG"] = str(folder / "config")  # names are kept here, not in your own configuration
    homes_of = ["bench", "alfworld", "--split", "homes", "--demos", "0"]
    serve = [*homes_of, "--n", "20", "--student", "clerk", "--temperature", "1.0", "--arms", "cascade-nodemos"]

    print("1. The clerk is a student that knows nothing: its teacher (scripted, at a stated price) does the work.")
    atlas(["models", "add", "alias", "clerk", "nearest"])
    atlas([*serve, "-o", str(folder / "before")])
    before = dollars(folder / "before")

    print(f"2. The teacher plays {homes} other homes, and what it did is exported.")
    atlas([*homes_of, "--tasks-seed", "1", "--n", str(homes), "--arms", "teacher", "-o", str(folder / "taught")])
    atlas(["export", str(folder / "taught"), "--format", "rows", "-o", str(folder / "rows")])

    print("3. A small transformer is trained on these rows, from nothing.")
    recipe = ["train", "sft-success", "--data", str(folder / "rows"), "--base", "scratch", "--epochs", str(epochs)]
    atlas([*recipe, "--batch-tokens", "1536", "--out", str(folder / "student")])

    print("4. It becomes the clerk, if it is not worse on homes that neither has seen.")
    atlas(["models", "add", "local", "trained", str(folder / "student")])
    held_out = ["--tasks-seed", "2", "--n", "24", "--margin", "0.2"]
    atlas(["promote", "clerk", "trained", *held_out, "-o", str(folder / "promotion")])

    print("5. The same homes as at first, by the same command: who is meant by 'clerk' has changed.")
    atlas([*serve, "-o", str(folder / "after")])
    after = dollars(folder / "after")
    print(f"An episode cost ${before:.4f} before and ${after:.4f} after ({1 - after / before:.0%} less).")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["circle"]), *map(int, sys.argv[2:]))
