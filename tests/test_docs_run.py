"""Every fenced command and snippet of the README and the guides runs, as it stands there.

A block that needs what a plain machine has not says so in the line above it, where a reader of the source sees it:

    <!-- needs: data -->

``make test`` plays each bench in small: a task, a few demonstrations. ``make test-slow`` plays them as written.
Hosted models are named and loaded as in the document, with a key of no worth; who answers is scripted.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import atlas
import atlas.models
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.memory import Memory
from atlas.records import Ask
from atlas.testing import ScriptedModel
from atlas.traces import Run

HERE = Path(__file__).parent.parent
DOCUMENTS = [HERE / "README.md", *sorted((HERE / "docs" / "guides").glob("*.md"))]
NEEDS = {
    "data": "a download of a benchmark, or what is made of it",
    "torch": "packages that take gigabytes",
    "gpu": "an NVIDIA GPU",
    "compiler": "a compiler, and minutes of it",
    "frameworks": "packages and programs of other agents: tests/clients runs these snippets whole",
    "long": "hours",
    "server": "a server or a cluster, with a user and rights there",
}
SHOWN = ("text", "yaml", "json", "toml", "mermaid")
"""Languages of what is shown and not run."""
MAY_SAY_NO = ("trust calibrate", "promote", "regrade", "traces check")
"""Commands whose exit code 1 is an answer."""
OTHERS = ("export", "vllm", "chroma", "curl", "cd", "cp", "docker", "CUDA_VISIBLE_DEVICES=0")
"""Programs of others, which are not run."""
STARTS_A_SERVER = ("serve", "mcp")
"""Commands that run until they are stopped: their options are read, and no more."""


class Block(NamedTuple):
    line: int
    language: str
    needs: tuple[str, ...]
    text: str


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for found in re.finditer(r"^(?:<!-- needs: ([\w, ]+) -->\n)?```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        needs = tuple(part.strip() for part in (found[1] or "").split(",") if part.strip())
        yield Block(text[: found.start()].count("\n") + 1, found[2], needs, found[3])


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if parts := shlex.split(line, comments=True):
            yield parts


# --- what a block may ask for ---------------------------------------------------------------------------------------


def test_what_is_not_run_is_little_and_says_why() -> None:
    every = [(path, block) for path in DOCUMENTS for block in blocks(path)]
    assert len(every) > 60, "blocks are found"
    for path, block in every:
        assert set(block.needs) <= set(NEEDS), f"{path.name}:{block.line}"
        assert block.language in ("", "sh", "python", "js", *SHOWN), f"{path.name}:{block.line}"
    ours = [block for _, block in every if "frameworks" not in block.needs]
    assert len([block for block in ours if block.needs]) <= len(ours) / 3, "two of three can be tried by anybody"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_block_needs_can_be_seen_in_it(path: Path) -> None:
    """A mark is no way out for what could run: each stands for something that the block names."""
    signs = {
        "data": r"valid_|--split train|--data|--mysql|LOGS|RECORDED|alfworld\.verify|--incident \d+ |runs/teach|poison",
        "torch": r"train |hf:|clerk-1|students/|datasets|torch|sentence-transformers|atlas\.train"
        r"|benchmarks\.(?:perf\.training|recipes)",
        "gpu": r"CUDA|smollm2|vllm",
        "compiler": r"alfworld-reference",
        "frameworks": r"episode\.|[Mm]odel|Agent|Client|claude|codex|dspy",
        "long": r"000000",
        "server": r"postgresql://|--ray",
    }
    for block in blocks(path):
        for need in block.needs:
            assert re.search(signs[need], block.text), f"{path.name}:{block.line} does not look as if it needed {need}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_not_run_is_at_least_no_nonsense(path: Path) -> None:
    """Options of commands that need more than there is here are read all the same."""
    for block in blocks(path):
        if block.language in ("", "sh"):
            for parts in commands(block.text):
                _known(parts, f"{path.name}:{block.line}")


def _known(parts: list[str], where: str) -> None:
    match parts:
        case ["atlas", *rest] | ["docker", "compose", "exec", _, "atlas", *rest]:
            _parsed(rest, where)
        case ["pip", "install", *what]:
            for name in what:
                if found := re.fullmatch(r"\.\[([\w,-]+)\]", name):
                    extras = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
                    assert set(found[1].split(",")) <= set(extras), where
                assert "atlas-cascade" not in name, f"{where}: it is on no package index"
        case ["make", target]:
            assert f"\n{target}:" in (HERE / "Makefile").read_text(), where
        case ["python", "-m", module, *_]:
            assert module == "pytest" or (HERE / (module.replace(".", "/") + ".py")).exists() or _package(module), where
        case _:
            assert parts[0] in OTHERS, f"{where}: {parts}"


def _package(module: str) -> bool:
    return (HERE / module.replace(".", "/") / "__main__.py").exists()


def _parsed(rest: list[str], where: str) -> None:
    """The options are those that the command has."""
    import click

    from atlas.cli import app

    found: click.Command = app
    for depth, part in enumerate(rest):
        if not isinstance(found, click.Group):
            break
        if part.endswith((":Tickets",)):
            return  # a suite of the reader's own
        step = found.get_command(click.Context(found), part)
        assert step is not None, f"{where}: atlas {' '.join(rest[: depth + 1])}"
        found = step
    options = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
    for part in rest[: rest.index("--")] if "--" in rest else rest:
        if part.startswith("-") and not re.fullmatch(r"-\d+", part):
            assert part.partition("=")[0] in options, f"{where}: {' '.join(rest)} has no {part}"


# --- running them -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a memory, as the documents speak of one."""
    place = tmp_path_factory.mktemp("world")
    run = str(place / "runs" / "played")
    bench = "bench alfworld --n 2 --demos 6 --embedder hash --arms student,icd,cascade,teacher,pamphlets --trials 0.5"
    main([*bench.split(), "-o", run])
    main(["export", run, "--format", "atif", "--any-outcome", "-o", str(place / "trajectories")])
    return place


@pytest.fixture
def world(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder of a reader who has played a little: a run, two small files, and modules of her own."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in {
        "ATLAS_CONFIG": str(tmp_path / "config"),
        "OPENAI_API_KEY": "sk-of-no-worth",
        "ANTHROPIC_API_KEY": "sk-of-no-worth",
        "GEMINI_API_KEY": "of-no-worth",
    }.items():
        monkeypatch.setenv(name, value)
    # atlas.load first: it is resolved when it is first looked at, and what it is then stays in its place.
    monkeypatch.setattr(atlas, "load", stand_in(atlas.load))
    monkeypatch.setattr(atlas.models, "load", atlas.load)
    own = (HERE / "examples" / "own_benchmark.py").read_text(encoding="utf-8")
    clerk = '\n\nclass Clerk(ScriptedModel):\n    def __init__(self):\n        super().__init__(knows, name="clerk")\n'
    mine = own.partition("\nif __name__")[0] + clerk
    Path("mine.py").write_text(mine)
    Path("mine").mkdir()
    for module in ("__init__", "suites", "arms", "models"):
        Path("mine", f"{module}.py").write_text(mine.replace("demos=True)", "demos=True, trusted=True, samples=True)"))
    Path("answers.json").write_text("{}")
    Path("scores.json").write_text("{}")
    Path("Makefile").write_text("test:\n\ttrue\n")
    agent = Path("bin/my-agent")
    agent.parent.mkdir()
    agent.write_text('#!/bin/sh\ntest -n "$OPENAI_BASE_URL"\n')
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{agent.parent.resolve()}:{os.environ['PATH']}")
    student = Path("students/first")
    student.mkdir(parents=True)
    for name in ("vocabulary.json", "weights.safetensors"):
        (student / name).touch()
    return tmp_path


def stand_in(load: Callable[..., Any]) -> Callable[..., Any]:
    """``load``, but that who answers for a hosted model is scripted. That there is such a model is still looked at."""

    def loaded(spec: str, **options: Any) -> Any:
        model = load(spec, **options)
        hosted = type(model).__name__ == "Hosted"
        return ScriptedModel(_says, name=model.name) if hosted else model

    return loaded


def _says(ask: Ask) -> str:
    if ask.purpose == "judge":
        axes = ("factuality", "instruction_following", "efficiency", "safety")
        return (
            f"Principles:\n- the goal\nVerdict:\n{json.dumps({'scores': dict.fromkeys(axes, 1.0), 'uncertainty': 0})}"
        )
    if ask.purpose == "distil":
        return '{"entries": []}'
    return f"Action: {ask.view.admissible[0] if ask.view.admissible else 'look'}"


def small(rest: list[str]) -> list[str]:
    """A bench of one task: the last of an option that is given twice counts."""
    if rest[0] != "bench":
        return rest
    less = ["--n", "1", "--embedder", "hash"]
    counts = [int(count) for count in re.findall(r"@(\d+)", " ".join(rest))]
    if "--demos" not in rest or rest[rest.index("--demos") + 1] != "0":
        less += ["--demos", str(max(3, *counts, 0))]
    if rest[1] == "excytin":
        less += ["--rows", "300"]
    return [*rest, *less]


def in_place(parts: list[str]) -> list[str]:
    """What stands for something of the reader's: a run, a model, an entry."""
    with Memory("runs/played/memory.sqlite", "hash") as memory:
        entries = [item.id for item in memory.database.rows("entry") if item.status != "absent"]
        demos = [item.id for item in memory.database.rows("demonstration") if item.status != "absent"]
    stands = {
        "RUN": "runs/played",
        "MODEL": "openai/gpt-4.1-mini",
        "FILES_OR_FOLDERS": "trajectories",
        "1ca20": entries[0],
        "2d6f": entries[0],
        "315d": entries[1],
        "b541": entries[2],
        "4a1c": demos[0],
        "v8": "v1",
        "v12": "v2",
    }
    return [stands.get(part, part) for part in parts]


def called(rest: list[str], where: str) -> None:
    name = " ".join(rest)
    try:
        main(rest)
    except SystemExit as stop:
        allowed = (0, 1) if name.startswith(MAY_SAY_NO) else (0,)
        assert (stop.code or 0) in allowed, f"{where}: atlas {name}"


def run_commands(block: Block, where: str, as_it_is: bool) -> None:
    for parts in commands(block.text):
        match in_place(parts):
            case ["atlas", command, *_] if command in STARTS_A_SERVER:
                continue
            case ["atlas", *rest]:
                called(rest if as_it_is else small(rest), where)
            case ["python", "-m", "pytest", *more]:
                assert (HERE / more[-1]).exists(), where
            case ["python", *rest]:
                subprocess.run([sys.executable, *rest], check=True, timeout=600, capture_output=True)
            case _:
                pass  # read above


def names() -> dict[str, Any]:
    """What a snippet speaks of and does not show: objects of the reader's."""
    from atlas.benchmarks.alfworld.env import HouseholdEnv
    from atlas.benchmarks.alfworld.homes import homes
    from atlas.benchmarks.alfworld.teacher import ScriptedExpert
    from atlas.records import Task
    from atlas.runner import Job

    kept = Memory("runs/played/memory.sqlite", "hash")
    student, home = Nearest(), homes("train", 1)[0]

    def my_loop(client: Any) -> str:
        said = client.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}])
        return str(said.choices[0].message.content)

    played = next(e for e in Run("runs/played").episodes() if e.result is not None)
    entry = next(item.id for item in kept.database.rows("entry"))
    return {
        "student": student,
        "model": student,
        "teacher": ScriptedExpert(),
        "memory": kept,
        "demos": kept,
        "tickets": [SimpleNamespace(text=f"ticket {n}", accepts=lambda answer: bool(answer)) for n in range(3)],
        "my_loop": my_loop,
        "is_right": bool,
        "jobs": [Job("student", "t", atlas.Solo(student), lambda: HouseholdEnv(home), 0)],
        "tasks": [Task(id=home.id, goal="g")],
        "HelpDesk": lambda task_id: HouseholdEnv(home),
        "builder": SimpleNamespace(compile=lambda store: store),
        "entry_id": entry,
        "episode": played.result,
        "steps": played.steps,
        "print": lambda *words: None,
    }


def run_snippet(text: str, known: dict[str, Any], where: str) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(text, where, "exec", flags=flags)
    done = eval(code, known)
    if inspect.iscoroutine(done):
        asyncio.run(done)


def run_document(path: Path, *, as_it_is: bool) -> None:
    if not any('"runs/desk"' in block.text for block in blocks(path) if block.language == "python"):
        shutil.copytree("runs/played", "runs/desk")  # a document that does not show how it came to be
    stand_ins = names()
    known: dict[str, Any] = {}
    try:
        for block in blocks(path):
            if block.needs or block.language in SHOWN:
                continue
            where = f"{path.name}:{block.line}"
            if block.language == "python":
                known |= stand_ins  # what a snippet before this one named like them is its own
                run_snippet(block.text.replace('"2d6f"', repr(known["entry_id"])), known, where)
            else:
                run_commands(block, where, as_it_is)
    finally:
        stand_ins["memory"].close()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_says_runs(path: Path, world: Path) -> None:
    run_document(path, as_it_is=False)


def test_what_the_readme_wraps_is_found_by_the_commands(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``memory ls runs/desk`` found no memory after the README's own snippet, which kept it elsewhere."""
    run_document(HERE / "README.md", as_it_is=False)
    for command in ("memory ls", "memory log", "traces show", "traces check"):
        called([*command.split(), "runs/desk"], command)
    assert "fine: nothing to look at" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_says_runs_as_it_stands_there(path: Path, world: Path) -> None:
    run_document(path, as_it_is=True)
