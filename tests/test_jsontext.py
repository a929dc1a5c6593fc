"""A thousand brackets are no end of a program: JSON that is nested more deeply than Python reads is no JSON."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import atlas
from atlas.cli import main
from atlas.evaluators.answer import items, same, unquoted
from atlas.jsontext import read_json
from atlas.testing import ScriptedModel
from atlas.traces import Run

PACKAGE = Path(atlas.__file__).parent
DEEP = "[" * 200_000
OWN = {
    # what only this package writes, or what is no text of others
    "errors", "traces/format", "graph/notes", "models/prices", "cli/train", "wire/free_text", "wire/kept_file",
    "testing/server", "models/llama_engine", "benchmarks/excytin/incidents/build", "benchmarks/excytin/recorded",
    "benchmarks/excytin/recorded_queries", "benchmarks/excytin/importing/to_mysql",
    "benchmarks/excytin/emulated/jsonpaths",
    "benchmarks/perf/__main__", "benchmarks/perf/local", "benchmarks/perf/measured", "benchmarks/perf/against",
    "benchmarks/tuning", "benchmarks/peers/drive_arc", "benchmarks/peers/drive_atlas", "benchmarks/peers/drive_icrl",
}  # fmt: skip


def test_it_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="too deeply"):
        read_json(DEEP)
    assert read_json(b'{"a": [1]}') == {"a": [1]}


def test_a_line_of_brackets_in_a_trace_costs_the_line(tmp_path: Path) -> None:
    with atlas.Agent(ScriptedModel("done"), run=str(tmp_path / "run")) as agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="x", messages=[{"role": "user", "content": "go"}])
        episode.score(1.0)
    trace = tmp_path / "run" / "trace.jsonl"
    trace.write_text(f"{DEEP}\n{trace.read_text()}{DEEP}\n")
    assert [episode.score for episode in Run(tmp_path / "run").results()] == [1.0]


def test_an_answer_of_brackets_is_an_answer() -> None:
    assert not same(DEEP, "5") and items(DEEP) and unquoted(DEEP) == DEEP


@pytest.mark.parametrize("content", [DEEP, '{"steps": ' + DEEP, DEEP + "]" * 200_000])
def test_a_file_of_brackets_is_refused_in_a_sentence(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trajectory.json").write_text(content)
    (tmp_path / "scores.json").write_text(content)
    for given in (["trajectory.json"], ["trajectory.json", "--scores", str(tmp_path / "scores.json")]):
        paths = [str(tmp_path / given[0]), *given[1:], "-o", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as ended:
            main(["traces", "import", "atif", *paths])
        assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_whoever_reads_json_of_others_reads_it_so() -> None:
    unread = []
    for path in sorted(set(_sources())):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        source = path.read_text(encoding="utf-8")
        reads = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and node.attr in ("load", "loads") and ast.unparse(node.value) == "json"
        ]
        if (
            reads
            and "RecursionError" not in source
            and name not in OWN
            and not name.startswith("benchmarks/reliability/")
        ):
            unread.append(name)
    assert not unread, "json.loads without a word on RecursionError: use atlas.jsontext.read_json"


def _sources() -> list[Path]:
    folders = [PACKAGE, *(PACKAGE / part for part in ("memory", "evaluators", "benchmarks"))]
    return [path for folder in folders for path in folder.rglob("*.py")]


def test_what_was_deep_is_told_apart_from_what_is_wrong() -> None:
    with pytest.raises(json.JSONDecodeError):
        read_json("{")
