"""One household game, as its file describes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from atlas.errors import DataError
from atlas.jsontext import read_json
from atlas.records import Record

_TASK = re.compile(r"Your task is to:(?P<goal>[^\"]*)\"")


class Game(Record):
    """A game: rules and start in PDDL, texts as a grammar, and what is known about it.

    Attributes:
        id: The path of the game's file relative to its data root, without the file's name.
        task_type: For example ``pick_heat_then_place_in_recep``; empty if unknown.
        scene: The room, for example ``10``; empty if unknown.
        goal: The task as the player reads it, without ``Your task is to:`` and without the full stop.
        walkthrough: Commands that win, from a planner that knows everything. For checks, not for teaching.
    """

    id: str
    task_type: str = ""
    scene: str = ""
    goal: str = ""
    pddl_domain: str
    pddl_problem: str
    grammar: str
    walkthrough: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path | str, root: Path | str | None = None) -> Self:
        """Read a ``game.tw-pddl`` file.

        Raises:
            DataError: the file is absent, truncated, not JSON, or lacks something.
        """
        path = Path(path)
        try:
            data = read_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read the game file {path}: {error.strerror}") from error
        except ValueError as error:
            raise DataError(f"the game file {path} is truncated or not JSON ({error}); fetch it again") from error
        return cls.from_data(data, game_id(path, root), source=str(path))

    @classmethod
    def from_data(cls, data: Any, id: str, source: str = "") -> Self:
        """Make a game of the JSON object in a game file.

        Beside ALFWorld's own keys it may carry ``task_type``, ``scene`` and ``goal``; else its id and grammar tell.

        Raises:
            DataError: a key is missing or not text.
        """
        named = f"the game file {source}" if source else f"the game {id}"
        if not isinstance(data, Mapping):
            raise DataError(f"{named} must hold a JSON object with pddl_domain, pddl_problem and grammar")
        missing = [key for key in ("pddl_domain", "pddl_problem", "grammar") if key not in data]
        if missing:
            raise DataError(f"{named} lacks {', '.join(missing)}; is it a game.tw-pddl file of ALFWorld?")
        task_type, scene = _from_folder(id)
        try:
            return cls(
                id=id,
                task_type=data.get("task_type") or task_type,
                scene=data.get("scene") or scene,
                goal=data.get("goal") or goal_of(data["grammar"]),
                pddl_domain=data["pddl_domain"],
                pddl_problem=data["pddl_problem"],
                grammar=data["grammar"],
                walkthrough=tuple(data.get("walkthrough") or ()),
            )
        except (ValidationError, TypeError) as error:
            raise DataError(f"{named} has a value that is not text where text must stand") from error

    def save(self, path: Path | str) -> None:
        """Write the game as a file that `load`, and ALFWorld itself, can read."""
        data = self.model_dump(mode="json", exclude={"id"}) | {"solvable": True}
        try:
            Path(path).write_text(json.dumps(data), encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write the game file {path}: {error.strerror}") from error


def game_id(path: Path, root: Path | str | None = None) -> str:
    """A game's id: its folder relative to `root`, or else its last three folders (split, task, trial)."""
    folder = path.parent if path.name == "game.tw-pddl" else path.with_suffix("")
    if root is not None and folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return "/".join(folder.parts[-3:]).lstrip("/")


def goal_of(grammar: str) -> str:
    """The task line inside a grammar, without its full stop; empty if there is none."""
    match = _TASK.search(grammar)
    return match["goal"].strip().removesuffix(".") if match else ""


def _from_folder(id: str) -> tuple[str, str]:
    """Task type and scene from a folder like ``pick_two_obj_and_place-Newspaper-None-Drawer-224``."""
    for part in id.split("/"):
        fields = part.split("-")
        if len(fields) == 5:
            return fields[0], fields[4]
    return "", ""
