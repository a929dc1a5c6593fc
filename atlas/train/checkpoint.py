"""The state of an unfinished training, in one file beside the student's folder, always whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from atlas.errors import ConfigError, DataError


def place_of(out: Path) -> Path:
    """Where the checkpoint of the student ``out`` lies while it is trained."""
    return out.with_name(f"{out.name}.training.pt")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` and put it in the place of the last one. Raises DataError where there is no room."""
    import torch

    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # torch wraps what the file system says
        raise DataError(
            f"the checkpoint {path} cannot be written ({error}): make room there or choose another --out; "
            "no student was changed"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def load(path: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The state of the training that ``config`` describes; None where none was saved.

    Raises ConfigError where the checkpoint is of another training, DataError where it cannot be read.
    """
    import torch

    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # the boundary to a loader that raises whatever a broken file makes it
        raise DataError(f"the checkpoint {path} is damaged: remove it and train again") from error
    if state["config"] != config:
        other = sorted(k for k in {*config, *state["config"]} if config.get(k) != state["config"].get(k))
        raise ConfigError(
            f"{path} is of a training with another {', '.join(other)}: give the same options, or remove it to begin "
            "anew"
        )
    return state
