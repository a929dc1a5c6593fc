"""The ATIF trajectories in files and folders, what belongs to one run of an agent, and how the runs are called.

In a folder of jobs as Harbor writes it a trial is a folder: ``result.json`` says which task it was and what reward it
got, ``agent/trajectory.json`` is what happened, and ``continued_trajectory_ref`` names the file in which it goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from atlas.errors import DataError
from atlas.export.atif_schema import Trajectory, text_of
from atlas.record import finite

_MARK = b'"ATIF-v'
_USUAL = "trajectory"
"""The name that agents give to the file of a trial's own trajectory."""


@dataclass(frozen=True)
class Found:
    """What one agent did at one task: a trajectory, and those that continue it."""

    name: str
    """The trajectory's own id, the task of its trial, or the name of its file."""
    where: str
    """What it lies in: a name beside others of the same name."""
    documents: tuple[Trajectory, ...]
    known_as: tuple[str, ...] = ()
    """All the names that a score may be given for."""
    base: str = ""
    """What its episode's id is made of, besides its content: the same whatever else is imported with it."""
    reward: float | None = None
    """What its trial's result says."""
    parts: tuple[Trajectory, ...] = ()
    """Its subagents', who are runs of their own."""

    @property
    def first(self) -> Trajectory:
        return self.documents[0]

    @property
    def goal(self) -> str:
        """The first thing that a user said."""
        said = (turn for document in self.documents for turn in document.steps if turn.source == "user")
        return next((text_of(turn.message) for turn in said), self.name)


@dataclass(frozen=True)
class _File:
    path: Path
    document: Trajectory


@dataclass(frozen=True)
class _Trial:
    """A trial's ``result.json``."""

    folder: Path
    task: str
    name: str
    reward: float | None


def trajectories(paths: Sequence[Path], say: Callable[[str], None] = lambda note: None) -> list[Found]:
    """The runs in all files; a folder stands for the trajectories in it and below it.

    Subagents' trajectories come after the one they are part of. Raises DataError for what is no trajectory; other
    files of a folder are passed over, and their number is said.
    """
    files: dict[Path, _File] = {}
    notes: dict[str, None] = {}
    passed = 0
    for path in paths:
        before = len(files)
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            document = _read(file, named=file == path)
            if document is None:
                passed += 1
            else:
                files.setdefault(file.resolve(), _File(file, document))
        if path.is_dir() and len(files) == before and not any(_below(file, path) for file in files):
            raise DataError(f"{path} holds no trajectories (*.json): name the files or the folder they are in")
    if passed:
        notes[f"JSON files that are no trajectories, passed over: {passed}"] = None
    found = list(_runs(files, lambda note: notes.setdefault(note)))
    for note in notes:
        say(note)
    return found


def scored(found: Sequence[Found], scores: Mapping[str, float]) -> list[Found]:
    """``found``, each with its score: the one that ``scores`` gives to a name that is its alone, else its trial's.

    Raises DataError where a score may be meant for either of two.
    """
    named = Counter(name for run in found for name in set(run.known_as))
    scored = []
    for run in found:
        given = [name for name in run.known_as if name in scores]
        alone = next((name for name in given if named[name] == 1), None)
        if alone is not None:
            run = replace(run, reward=scores[alone])
        elif given and run.reward is None:
            names = ", ".join(f"{other.where}/{given[0]}" for other in found if given[0] in other.known_as)
            raise DataError(f"the score of {given[0]!r} fits several trajectories: give one for each of {names}")
        scored.append(run)
    return scored


# --- runs from files --------------------------------------------------------------------------------------------------


def _runs(files: dict[Path, _File], say: Callable[[str], None]) -> Iterator[Found]:
    files = dict(files)
    chains, continues = dict[Path, list[Path]](), set[Path]()
    for place in list(files):
        if place not in continues:
            chains[place] = _chain(place, files, say)
            continues.update(chains[place][1:])
    parts = {place for file in files.values() for place in _subagents(file) if place in files}
    trials = {place: _trial(file.path) for place, file in files.items()}
    heads = [place for place in chains if place not in continues]
    for place in heads:
        documents = tuple(files[part].document for part in chains[place])
        trial = trials[place]
        stem, own = files[place].path.stem, documents[0].trajectory_id
        folder = _folder(files[place].path)
        if trial is None or place in parts or not _main(place, heads, parts, trials):
            usual = stem == _USUAL and files[place].path.absolute().parent.name == "agent"
            name = own or (folder if usual else stem)
            base, reward = own or stem, None
        else:
            folder, name = trial.name, trial.task or trial.name
            base, reward = f"{trial.name}/{own or stem}", trial.reward
        names = dict.fromkeys(filter(None, (own, name, stem, folder if name == folder else None)))
        known = (*(f"{folder}/{known}" for known in names), *names)
        named = [files[other].document for part in chains[place] for other in _subagents(files[part]) if other in files]
        run = Found(name, folder, documents, known, base, reward, (*_inner(documents), *named))
        yield run
        yield from _embedded(run)


def _chain(place: Path, files: dict[Path, _File], say: Callable[[str], None]) -> list[Path]:
    """The files of one run, in order. A file that continues another is read where nobody named it."""
    chain = [place]
    while (told := files[chain[-1]].document.continued_trajectory_ref) is not None:
        at = files[chain[-1]].path
        following = (at.parent / told).resolve()
        if following not in files and following.is_file() and _below(following, at.parent):
            document = _read(following, named=True)
            assert document is not None
            files[following] = _File(at.parent / told, document)
        if following not in files:
            by_id = [other for other, file in files.items() if file.document.trajectory_id == told]
            if len(by_id) != 1:
                say(f"{at} goes on in {told}, which is not there: its run is imported without its end")
                break
            following = by_id[0]
        if following in chain:
            break
        chain.append(following)
    return chain


def _main(place: Path, heads: Sequence[Path], parts: set[Path], trials: Mapping[Path, _Trial | None]) -> bool:
    """Whether a trajectory is the one that its trial's reward is for."""
    others = [other for other in heads if trials[other] == trials[place] and other not in parts]
    return len(others) == 1 or place.stem == _USUAL


def _subagents(file: _File) -> Iterator[Path]:
    """The files of the subagents that a trajectory names."""
    for turn in file.document.steps:
        for result in turn.observation.results if turn.observation else ():
            for reference in result.subagent_trajectory_ref or ():
                if reference.trajectory_path is not None:
                    yield (file.path.parent / reference.trajectory_path).resolve()


def _embedded(run: Found) -> Iterator[Found]:
    for number, part in enumerate(_inner(run.documents), 1):
        name = part.trajectory_id or f"{run.name}.{number}"
        found = Found(name, run.name, (part,), (f"{run.where}/{name}", name), name, parts=_inner((part,)))
        yield found
        yield from _embedded(found)


def _inner(documents: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    return tuple(part for document in documents for part in document.subagent_trajectories or ())


# --- files ------------------------------------------------------------------------------------------------------------


def _read(file: Path, *, named: bool) -> Trajectory | None:
    """The trajectory in a file; None for another JSON document, or what is none, that was found and not ``named``."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): name a file with an ATIF trajectory") from error
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        if not named and _MARK not in content and file.stem != _USUAL:
            return None
        raise DataError(f"{file} is no JSON document ({str(error)[:80]}): export the trajectory again") from error
    if not named and not (isinstance(raw, dict) and str(raw.get("schema_version")).startswith("ATIF-")):
        return None
    try:
        return Trajectory.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise DataError(
            f"{file} is no ATIF trajectory of version 1 ({where}: {first['msg']}): export it again"
        ) from error


def _trial(file: Path) -> _Trial | None:
    """The trial whose agent wrote ``file``; None where it lies in none."""
    for folder in (file.absolute().parent, file.absolute().parent.parent):
        try:
            raw: Any = json.loads((folder / "result.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(raw, dict) and raw.keys() & {"verifier_result", "task_name", "trial_name"}:
            task, name = (_text(raw.get(key)) for key in ("task_name", "trial_name"))
            return _Trial(folder, task, name or folder.name, _reward(raw.get("verifier_result")))
    return None


def _reward(result: Any) -> float | None:
    """The reward of a verifier's result: the one called so, or the only one."""
    rewards = result.get("rewards") if isinstance(result, dict) else None
    if not isinstance(rewards, dict):
        return None
    value = rewards["reward"] if "reward" in rewards else next(iter(rewards.values())) if len(rewards) == 1 else None
    return float(value) if isinstance(value, int | float) and finite(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _folder(file: Path) -> str:
    """The name of the folder that tells a file from others: that of the trial, where an agent's folder is in one."""
    parent = file.absolute().parent
    return parent.parent.name if parent.name == "agent" and parent.parent.name else parent.name


def _below(file: Path, folder: Path) -> bool:
    return file.is_relative_to(folder.resolve())
