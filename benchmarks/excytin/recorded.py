"""The verdicts of the benchmark's model judge (GPT-4o), as its logged runs hold them."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas.errors import DataError
from atlas.records import Record

_CORRECT = re.compile(r"Is_Answer_Correct\W*(true|false)", re.IGNORECASE)
_INDEX = re.compile(r"step[ _]?(\d+)", re.IGNORECASE)
"""Recorded replies name a step ``step_0``, ``Step_0`` or ``Step 0``."""


class RecordedVerdict(Record):
    """One submitted answer with the verdict on it. Runs that never submitted have none."""

    agent: str
    question: str
    """Hash of context, question and golden answer: the same question under any agent."""
    submitted: str
    golden: str
    solution: tuple[str, ...]
    correct: bool
    """The verdict after reflection, which is the one the reward follows."""
    steps: tuple[bool, ...] | None
    """The verdict on each step of the solution, after reflection; None where it was not asked for."""
    reward: float


def recorded_verdicts(data: str | Path) -> list[RecordedVerdict]:
    """All verdicts in the ``traces`` folder of ``data``. Raises DataError where there is none or a file is damaged."""
    root = Path(data) / "traces"
    paths = sorted(root.glob("*/*.json.xz"))
    if not paths:
        raise DataError(f"there are no recorded runs (traces/MODEL/*.json.xz) in {data}: name the folder that has them")
    return [verdict for path in paths for verdict in _of_file(path)]


def _of_file(path: Path) -> Iterator[RecordedVerdict]:
    try:
        with lzma.open(path) as file:
            entries = json.load(file)
        for entry in entries:
            # ``agent`` files keep every trial's summary, ``env`` files the trajectory, whose last step was judged.
            question = entry["question_dict"] if "question_dict" in entry else entry["question"]
            ends = list(entry["trials"].values()) if "trials" in entry else entry["trajectory"][-1:]
            for end in ends:
                info = end.get("info") or {}
                if "check_ans_reflection" in info:
                    yield _verdict(path.parent.name, question, info)
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a whole file of logged runs ({error!r}): get it again") from error


def _verdict(agent: str, question: dict[str, Any], info: dict[str, Any]) -> RecordedVerdict:
    said = _CORRECT.findall(info["check_ans_reflection"])
    if not said:
        raise ValueError("a reflection without a verdict")
    solution = tuple(str(step) for step in question["solution"])
    golden = str(question["answer"])
    return RecordedVerdict(
        agent=agent,
        question=question_hash(question),
        submitted=str(info["submitted_answer"]),
        golden=golden,
        solution=solution,
        correct=said[-1].casefold() == "true",
        steps=_steps(info.get("check_sol_reflection"), len(solution)),
        reward=info["reward"],
    )


def question_hash(question: Mapping[str, Any]) -> str:
    """The identity of a question, by its context, text and golden answer."""
    text = json.dumps([question["context"], question["question"], question["answer"]])
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(said: object, count: int) -> tuple[bool, ...] | None:
    if not isinstance(said, dict):
        return None
    by_index = {
        int(found[1]): str(value["is_step_correct"]).casefold() == "true"
        for key, value in said.items()
        if (found := _INDEX.fullmatch(key.strip()))
    }
    return tuple(by_index[i] for i in range(count)) if by_index.keys() >= set(range(count)) else None
