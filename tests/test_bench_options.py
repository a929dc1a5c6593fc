"""No option of ``atlas bench`` does nothing silently: each is read by an arm of the run, or refused. Names of arms."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arms import ARMS, GROWING, ROUTES, Cast, build, split_name
from atlas.benchmarks.growing import Growing
from atlas.benchmarks.library import Library
from atlas.cli import main
from atlas.cli.bench import DEFAULT_ARMS, alfworld
from atlas.cli.bench_excytin import excytin
from atlas.cli.bench_options import READ_BY, check_read
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError
from atlas.memory import DemonstrationStore, load_embedder
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import LaneRules
from tests.memory_fixtures import demo

HERE = Path(__file__).parent.parent
CAST = Cast(student=Nearest(), teacher=ScriptedExpert())
CHANGED: dict[str, dict[str, Any]] = {
    "trials": {"trials": 0.5},
    "guidance_tokens": {"guidance_tokens": 77},
    "samples": {"samples": 7},
    "temperature": {"temperature": 0.7},
    "audit": {"audit": 0.5},
    "k": {"k": 9},
    "plan": {"plan": True},
    "force_lane": {"rules": LaneRules(force="coach")},
    "forbid_lane": {"rules": LaneRules(forbid=("coach",))},
    "lane_dollars": {"rules": LaneRules(dollars={"coach": 1.0})},
    "window": {},
    "share": {},
}
"""Option -> what of the cast it changes; the window and the share are given beside the cast."""


def config(arm: str, folder: Path, cast: Cast, *, window: int = 5, share: float = 0.5) -> object:
    """What determines the decisions of ``arm``."""
    if arm in GROWING:
        with Growing(arm, cast, folder / f"{arm}.sqlite", embedder="hash", window=window) as growing:
            return growing.policy.config()
    with DemonstrationStore(":memory:", embedder="hash", window=window) as memory:
        memory.add(demo(1))
        embedder = load_embedder("hash")
        library = Library(memory, PamphletStore(memory.database, embedder), (), embedder)
        return build(arm, cast, memory, share=share if arm in ROUTES else None, library=library).config()


@pytest.mark.parametrize("option", CHANGED)
def test_the_arms_that_read_an_option_are_those_that_it_changes(option: str, tmp_path: Path) -> None:
    given = {"window": {"window": 9}, "share": {"share": 0.1}}.get(option, {})
    cast = replace(CAST, **CHANGED[option])
    changed = [arm for arm in ARMS if config(arm, tmp_path, CAST) != config(arm, tmp_path, cast, **given)]
    assert set(READ_BY[option]) == set(changed)


def test_every_option_of_the_cast_is_looked_at() -> None:
    assert READ_BY.keys() == CHANGED.keys()
    for command in (alfworld, excytin):
        assert READ_BY.keys() <= {param.name for param in command.params}


@pytest.mark.parametrize("benchmark", ["alfworld", "excytin"])
@pytest.mark.parametrize(
    "given",
    [
        ("--trials", "0.2"), ("--guidance-tokens", "300"), ("--samples", "3"), ("--temperature", "0.1"),
        ("--audit", "0.1"), ("--k", "3"), ("--window", "2"), ("--plan",), ("--share", "0.5"),
        ("--force-lane", "coach"), ("--forbid-lane", "coach"), ("--lane-dollars", "coach=1"),
    ],
)  # fmt: skip
def test_an_option_that_no_arm_reads_is_refused_before_there_is_a_run(
    benchmark: str,
    given: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as stop:
        main(["bench", benchmark, "--n", "1", "--demos", "0", "--arms", "student,teacher", *given])
    said = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2
    assert said.startswith(f"atlas: none of the arms student,teacher reads {given[0]}: leave it out")
    assert READ_BY[given[0].removeprefix("--").replace("-", "_")][0] in said
    assert not (tmp_path / "runs").exists()


# --- what the documents say -------------------------------------------------------------------------------------------

DOCUMENTS = [HERE / "README.md", HERE / "Makefile", *sorted((HERE / "docs").rglob("*.md"))]


def commands() -> Iterator[tuple[str, list[str]]]:
    """The ``atlas bench`` commands of all documents, in blocks and within lines."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8").replace("\\\n", "")
        inline = re.findall(r"(?<!`)`(atlas bench (?:alfworld|excytin)[^`]*)`", text)
        for found in (*inline, *re.findall(r"^\s*(atlas bench (?:alfworld|excytin).*)$", text, re.MULTILINE)):
            yield document.name, shlex.split(found.replace(",...", ""), comments=True)[2:]


def test_the_commands_of_the_documents_are_accepted() -> None:
    found = list(commands())
    assert len(found) > 20
    for document, (name, *arguments) in found:
        command = {"alfworld": alfworld, "excytin": excytin}[name]
        try:
            with command.make_context(name, list(arguments)) as context:
                check_read((context.params["arms"] or DEFAULT_ARMS).split(","))
        except (click.ClickException, ConfigError) as error:
            pytest.fail(f"{document}: {shlex.join(arguments)}: {error}")


@pytest.mark.parametrize(
    ("arm", "expected"), [("icd@20", ("icd", 20)), ("cascade", ("cascade", None)), ("teacher", ("teacher", None))]
)
def test_names_of_arms(arm: str, expected: tuple[str, int | None]) -> None:
    assert split_name(arm) == expected


@pytest.mark.parametrize("arm", ["", "icd@", "icd@x", "icd@-1", "teacher@5", "student@1", "online@3", "Cascade"])
def test_names_that_are_no_arm(arm: str) -> None:
    with pytest.raises(ConfigError, match="arm"):
        split_name(arm)
