"""``python -m atlas.benchmarks...``: what is typed wrongly is one sentence and exit code 2, and costs no work."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import atlas
from atlas.benchmarks.program import Listed, Program, Written

FOLDER = Path(atlas.__file__).parent / "benchmarks"
CHILDREN = {"measured", "retrieval_apart", "serve_load", "local", "drive_arc", "drive_atlas", "drive_icrl"}
"""What these are told they are told by our own programs, and nobody types it."""


def programs() -> Iterator[str]:
    for path in sorted(FOLDER.rglob("*.py")):
        if path.stem not in CHILDREN and re.search(r"^if __name__ == ", path.read_text(encoding="utf-8"), re.M):
            parts = path.relative_to(FOLDER).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__main__" else parts)


def program(name: str) -> click.Command:
    folder = FOLDER.joinpath(*name.split("."))
    module = import_module(f"atlas.benchmarks.{name}{'.__main__' if folder.is_dir() else ''}")
    found = getattr(module, "main", None) or module.command
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", list(programs()))
def test_what_can_be_typed_is_a_program(name: str) -> None:
    made = program(name)
    assert isinstance(made, Program)
    assert CliRunner().invoke(made, ["--help"]).exit_code == 0


WRONG = (
    ("thirds nothere", "holds no run"),
    ("poison empty", "no list of texts"),
    ("reliability kills --only nothere", "no row is called nothere"),
    ("reliability kills --minutes nan", "nan is no number"),
    ("reliability kills --log nothere/log", "no file can be made"),
    ("peers --limit nan", "nan is no number"),
    ("excytin.agreement --data empty", "no recorded runs"),
    ("excytin.comparison --n 3 --record nothere/file", "no file can be made"),
    ("excytin.incidents file", "cannot be written"),
    ("excytin.logged.foreseeing empty", "holds no run"),
    ("excytin.logged.selecting empty", "holds no run"),
    ("excytin.logged.tables empty", "holds no run"),
    ("excytin.replay --data empty", "neither questions/ nor db/"),
    ("recipes --traces empty -o out", "holds no run"),
    ("recipes --traces empty -o file", "file cannot be written"),
    ("recipes --traces run -o out --split nothere", "no split 'nothere'"),
    ("recipes --traces run -o out --split homes --kd-teacher empty", "holds no student"),
    ("recipes --traces empty -o out --seeds 0,,1", "names nothing somewhere"),
    ("transfer -o out --to abc", "'--to': 'abc' is not a valid integer"),
    ("transfer -o out --orders x", "'--orders': 'x' is not a valid integer"),
    ("transfer -o out --arms nothere", "no arm 'nothere'"),
    ("transfer -o file", "file cannot be written"),
    ("transfer -o out --memory nothere", "no memory at nothere"),
    ("transfer -o out --guidance-tokens -1", "not in the range"),
    ("alfworld.verify --walkthroughs abc", "give a number, or all"),
    ("perf imports --against HEAD", "not measured against"),
    ("perf.families --embedders ,", "names nothing somewhere"),
    ("perf.pgvector nonsense --windows 0", "not in the range"),
    ("perf.pgvector nonsense --queries 0", "not in the range"),
    ("perf.retrieval --sizes abc", "'--sizes': 'abc' is not a valid integer"),
    ("perf.retrieval --sizes 1000,", "names nothing somewhere"),
    ("perf.retrieval --sizes 0", "not in the range"),
    ("perf.retrieval --memory nothere", "no memory at nothere"),
    ("perf.retrieval --memory memory.sqlite", "holds no demonstrations"),
    ("perf.retrieval --sizes 9 --embedder nonsense", "no embedder 'nonsense'"),
    ("perf.retrieval --sizes 9 --files file/x", "cannot be written"),
    ("perf.traces --steps 40 --folder file/x", "cannot be written"),
    ("perf.traces --steps 40 --length abc", "not a valid integer"),
    ("forced nothere nearest", "no memory at nothere"),
    ("forced memory.sqlite nothere/ --games 1", "nothere"),
    ("forced memory.sqlite nearest --games 1 -o nothere/file", "no file can be made"),
)


@pytest.mark.parametrize(("typed", "said"), WRONG)
def test_wrong_input_is_one_sentence(typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.memory import Memory
    from atlas.traces import RunWriter

    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").write_text("x", encoding="utf-8")
    RunWriter("run", {"title": "t"}).close()
    Memory("memory.sqlite", "hash").close()
    name, *words = typed.split()
    done = CliRunner().invoke(program(name), words)
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.exception
    assert said in done.output and "Traceback" not in done.output
    assert done.stderr.strip().splitlines()[-1].startswith(("atlas: ", "Error: "))
    assert not Path("out").exists(), "before any work"


def test_a_server_that_cannot_be_used_is_told_without_its_password() -> None:
    pytest.importorskip("psycopg")
    done = CliRunner().invoke(program("perf.pgvector"), ["postgresql://me:open-sesame@127.0.0.1:9/test"])
    assert done.exit_code == 2 and "cannot be used" in done.output and "open-sesame" not in done.output


def test_training_is_measured_with_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(program("perf.training"), [])
    assert done.exit_code == 2 and "needs packages that are not installed" in done.output


def test_a_memory_smaller_than_what_is_asked_for_is_measured() -> None:
    done = CliRunner().invoke(program("perf.retrieval"), ["--sizes", "3,30", "--queries", "2", "--no-chroma", "--json"])
    assert done.exit_code == 0 and '"recall": 1.0' in done.output


def test_a_student_that_reads_no_prompt_is_asked(tmp_path: Path) -> None:
    from atlas.memory import Memory

    Memory(tmp_path / "memory.sqlite", "hash").close()
    words = [str(tmp_path / "memory.sqlite"), "nearest", "--split", "homes", "--games", "1", "--each", "9"]
    done = CliRunner().invoke(program("forced"), words)
    assert done.exit_code == 0 and "0 % of them cached" in done.output


def test_a_list_is_of_values_each_once() -> None:
    of = Listed(click.IntRange(1))
    assert of.convert("3, 1,3", None, None) == (3, 1)
    assert of.convert((2,), None, None) == (2,)
    for wrong in ("", ",", "1,,2", "0", "a"):
        with pytest.raises(click.BadParameter):
            of.convert(wrong, None, None)


def test_a_file_is_written_where_one_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Written().convert("new", None, None) == Path("new") and not os.listdir()
    for wrong in (".", "nothere/new"):
        with pytest.raises(click.BadParameter):
            Written().convert(wrong, None, None)
