"""A trained student's folder: weights, vocabulary, and how it came to be.

It is written beside its place and renamed: a killed training, or a full disk, leaves no broken student, and where a
good one was it stays until the new one is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.errors import DataError, MissingExtra
from atlas.folders import check_own, check_replaceable, check_writable
from atlas.jsontext import read_json
from atlas.trained.vocabulary import Vocabulary

ABOUT = "student.json"
WEIGHTS = "weights.safetensors"
WORDS = "vocabulary.json"
FORM = "form"
"""In its training: how a language model reads prompts, where that is not as a chat."""
FILES = "files"
"""Where :data:`ABOUT` lists all of them."""


def need_torch() -> None:
    """Import torch. Raises MissingExtra where it, or safetensors, is not installed."""
    # Spinning OpenMP threads starve a busy machine. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("a trained student", "train") from None


def check_place(folder: Path) -> None:
    """Whether a student can be written to ``folder``, to be looked at before it is trained. Raises ConfigError where
    anything but a student is there, StoreError where nothing can be written."""
    check_replaceable(folder)
    check_own(folder, _written(folder), "no training wrote")
    check_writable(folder.parent)
    if folder.exists():
        check_writable(folder)


def _written(folder: Path) -> set[str]:
    """The files of the student in ``folder``; none where there is no student."""
    try:
        told = about(folder)
    except DataError:
        return set()
    # Before they were listed a student of transformers had files that only it could name.
    files = told.get(FILES) or ((WEIGHTS, WORDS) if told.get("base") == "scratch" else ())
    return {ABOUT, *files}


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a new folder, and put it in the place of ``folder``. Raises DataError where it cannot, and
    ConfigError where anything but a student is there."""
    check_replaceable(folder)
    check_own(folder, _written(folder), "no training wrote")
    aside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}-{os.getpid()}")
        aside.mkdir()
        write(aside)
        _list_files(aside)
        old = aside.with_name(aside.name + "-old")
        if folder.exists():
            os.rename(folder, old)
        os.rename(aside, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror or error}): make room there or choose another --out; "
            "what was there before is unchanged"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _list_files(folder: Path) -> None:
    """Write down what the student consists of: a folder that holds anything else is not replaced."""
    path = folder / ABOUT
    told = read_json(path.read_text(encoding="utf-8"))
    files = [p for p in folder.rglob("*") if p.is_file()]
    told[FILES] = sorted(p.relative_to(folder).as_posix() for p in files)
    path.write_text(json.dumps(told, indent=2), encoding="utf-8")
    for file in files:
        # safetensors writes for its owner alone, whatever the umask: who may read the text may read the weights.
        shutil.copymode(path, file)


def save(folder: Path, net: Any, vocabulary: Vocabulary, about: dict[str, Any]) -> None:
    """Write a student; ``about`` is what is told of its training."""
    from safetensors.torch import save_file

    def write(place: Path) -> None:
        save_file({name: weight.contiguous() for name, weight in net.state_dict().items()}, place / WEIGHTS)
        vocabulary.save(place / WORDS)
        content = {"base": "scratch", "shape": net.shape.model_dump(), **about}
        (place / ABOUT).write_text(json.dumps(content, indent=2), encoding="utf-8")

    write_folder(folder, write)


def about(folder: str | Path) -> dict[str, Any]:
    """How the student came to be. Raises DataError where the folder holds none."""
    path = Path(folder).expanduser() / ABOUT
    try:
        content = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} holds no student ({ABOUT} cannot be read): give a folder that 'atlas train' wrote"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: train the student again")
    return content


def load(folder: str | Path) -> tuple[Any, Vocabulary]:
    """The network and the vocabulary of a student. Raises DataError for what is absent or broken."""
    need_torch()
    from safetensors.torch import load_file

    from atlas.trained.net import Net, Shape

    place = Path(folder).expanduser()
    told = about(place)
    vocabulary = Vocabulary.load(place / WORDS)
    try:
        net = Net(len(vocabulary), Shape.model_validate(told["shape"]))
        net.load_state_dict(load_file(place / WEIGHTS))
    except Exception as error:  # the boundary to loaders that raise whatever a broken file makes them
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"the student in {place} cannot be loaded ({first}): train it again") from error
    return net, vocabulary
