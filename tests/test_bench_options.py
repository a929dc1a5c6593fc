"""No option of ``atlas bench`` does nothing silently: each is read by an arm of the run, or refused. Names of arms."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import pytest

from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast, Stage
from atlas.benchmarks.arms import ARMS, build, played, readers
from atlas.benchmarks.growing import After, Growing
from atlas.benchmarks.library import Library
from atlas.benchmarks.options import BenchOptions
from atlas.book import Unrecorded
from atlas.budget import Meter
from atlas.cli import main
from atlas.cli.bench import command as bench
from atlas.cli.bench_excytin import command as excytin
from atlas.cli.bench_options import check_read
from atlas.cli.judging import judge_named
from atlas.compression import LearnedCompressor
from atlas.compression.pieces import OF_ACTIONS, OF_PIECES
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError
from atlas.evaluators import EnsembleJudge
from atlas.evaluators.review import ReviewJudge
from atlas.evaluators.verdict import Judge
from atlas.memory import Memory
from atlas.memory.distil import Distiller
from atlas.memory.distil_model import ModelDistiller
from atlas.reranking import LearnedReranker
from atlas.reranking.features import OF_WINDOWS
from atlas.testing import ScriptedModel
from atlas.traces.place import place_of
from tests.chances_fixtures import foresight, selector
from tests.memory_fixtures import demo

HERE = Path(__file__).parent.parent
alfworld = bench.commands["alfworld"]
CAST = Cast(student=Nearest(), teacher=ScriptedExpert())
HELD = Path(mkdtemp())
COMPRESSORS = HELD / "compressor.json", HELD / "another.json"
for number, path in enumerate(COMPRESSORS):
    weight = float(number)
    LearnedCompressor(student="s", actions=(weight,) * len(OF_ACTIONS), pieces=(weight,) * len(OF_PIECES)).save(path)
RERANKERS = HELD / "reranker.json", HELD / "other.json"
for number, path in enumerate(RERANKERS):
    weights = dict.fromkeys(OF_WINDOWS, float(number))
    LearnedReranker(student="s", every="step", candidates=5, weights=weights).save(path)
OPTIONS = BenchOptions(
    embedder="hash",
    student="openai/any",
    share=0.5,
    judges=("rule:grounded", "rule:sure"),
    compress=COMPRESSORS[0],
    rerank=RERANKERS[0],
)
FORESIGHT = HELD / "foresight.json"
foresight().save(FORESIGHT)
CHANGED: dict[str, Any] = {
    "trials": 0.5,
    "guidance_tokens": 77,
    "samples": 7,
    "temperature": 0.7,
    "audit": 0.5,
    "k": 9,
    "plan": True,
    "recall": "episode",
    "from_memory": True,
    "compress": COMPRESSORS[1],
    "compress_to": 0.5,
    "rerank": RERANKERS[1],
    "history_to": 500,
    "force_lane": "coach",
    "forbid_lane": ("coach",),
    "lane_dollars": ("coach=1",),
    "window": 9,
    "share": 0.1,
    "without": ("plans",),
    "judges": ("rule:sure", "rule:grounded"),
    "arbiter": "another",
    "reward": "judged",
    "distiller": "another",
    "foresight": FORESIGHT,
}
"""Option that only some arms read -> another value of it."""


def config(arm: str, folder: Path, options: BenchOptions) -> object:
    """What determines the decisions of ``arm``."""
    stage = Stage(CAST, options, share=options.share)
    if ARMS[arm].grows:
        after = After(Unrecorded(), place_of(folder), Meter(None), *_learning(options)) if ARMS[arm].distils else None
        with Growing(played(arm), stage, folder / f"{arm}.sqlite", after) as growing:
            return growing.config()
    with Memory(":memory:", "hash", window=options.around) as memory:
        memory.add(demo(1))
        return build(arm, replace(stage, memory=memory, library=Library(memory, ()))).config()


def _learning(options: BenchOptions) -> tuple[Distiller, Judge]:
    """Who distils and who judges in the arm atlas; models are stood in for."""
    distiller = ModelDistiller(ScriptedModel("", name=options.distiller or "a model"))
    judges = [judge_named(name, CAST.teacher) for name in options.judges]
    arbiter = ReviewJudge(ScriptedModel("", name=options.arbiter))
    return distiller, EnsembleJudge(judges, arbiter)


@pytest.mark.parametrize("option", CHANGED)
def test_the_arms_that_read_an_option_are_those_that_it_changes(option: str, tmp_path: Path) -> None:
    # A reranker goes with one way to recall.
    first = replace(OPTIONS, rerank=None) if option == "recall" else OPTIONS
    other = replace(first, **{option: CHANGED[option]})
    changed = [arm for arm in ARMS if config(arm, tmp_path, first) != config(arm, tmp_path, other)]
    assert list(readers(option)) == changed


def test_every_option_of_some_arms_is_looked_at() -> None:
    assert {param.name for param in alfworld.params if readers(param.name or "")} == CHANGED.keys()
    assert {param.name for param in excytin.params if readers(param.name or "")} == CHANGED.keys()


@pytest.mark.parametrize("benchmark", ["alfworld", "excytin"])
@pytest.mark.parametrize(
    "given",
    [
        ("--trials", "0.2"), ("--guidance-tokens", "300"), ("--samples", "3"), ("--temperature", "0.1"),
        ("--audit", "0.1"), ("--k", "3"), ("--window", "2"), ("--plan",), ("--share", "0.5"),
        ("--recall", "episode"),
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
    assert readers(given[0].removeprefix("--").replace("-", "_"))[0] in said
    assert not (tmp_path / "runs").exists()


def test_the_help_says_what_every_arm_is() -> None:
    for command in (alfworld, excytin):
        said = " ".join(command.get_help(click.Context(command, terminal_width=200)).split())
        assert not [arm for arm in ARMS.values() if f"{arm.name} {arm.says}" not in said]


# --- what the documents say -------------------------------------------------------------------------------------------

DOCUMENTS = [HERE / "README.md", HERE / "Makefile", *sorted((HERE / "docs").rglob("*.md"))]


def commands() -> Iterator[tuple[str, list[str]]]:
    """The ``atlas bench`` commands of all documents, in blocks and within lines."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8").replace("\\\n", "")
        inline = re.findall(r"(?<!`)`(atlas bench (?:alfworld|excytin)[^`]*)`", text)
        for found in (*inline, *re.findall(r"^\s*(atlas bench (?:alfworld|excytin).*)$", text, re.MULTILINE)):
            yield document.name, shlex.split(found.replace(",...", ""), comments=True)[2:]


def test_the_commands_of_the_documents_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    selector("student", "cascade", "teacher").save("pick.json")
    found = list(commands())
    assert len(found) > 20
    for document, (name, *arguments) in found:
        command = {"alfworld": alfworld, "excytin": excytin}[name]
        try:
            with command.make_context(name, list(arguments)) as context:
                check_read(context.params["arms"])
        except (click.ClickException, ConfigError) as error:
            pytest.fail(f"{document}: {shlex.join(arguments)}: {error}")


@pytest.mark.parametrize(
    ("arm", "expected"), [("icd@20", ("icd", 20)), ("cascade", ("cascade", None)), ("teacher", ("teacher", None))]
)
def test_names_of_arms(arm: str, expected: tuple[str, int | None]) -> None:
    found = played(arm)
    assert (found.arm.name, found.count) == expected


@pytest.mark.parametrize("arm", ["", "icd@", "icd@x", "icd@-1", "teacher@5", "student@1", "online@3", "Cascade"])
def test_names_that_are_no_arm(arm: str) -> None:
    with pytest.raises(ConfigError, match="arm"):
        played(arm)
