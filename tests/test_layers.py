"""The shape of the code: who may import whom, how long a file may be, and that every setting does something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import atlas

PACKAGE = Path(atlas.__file__).parent
PARTS = ("memory", "evaluators", "benchmarks")
"""Top-level folders of the repository that are imported below ``atlas``."""

ORCHESTRATION = ("policies", "loop", "runner", "cli", "wrap", "benchmarks", "report")
LONGEST = 450


def sources() -> list[Path]:
    """All modules of the package, each once, named as they are imported: links are followed."""
    folders = [PACKAGE, *(PACKAGE / part for part in PARTS)]
    found = {path for folder in folders for path in folder.rglob("*.py")}
    return sorted(path for path in found if "__pycache__" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, at whatever depth; of ``from a import b`` both readings."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def below(name: str, tops: tuple[str, ...]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def test_all_of_the_package_is_looked_at() -> None:
    names = {module(path) for path in sources()}
    assert len(names) == len(sources())
    assert {"atlas", "atlas.memory.store", "atlas.benchmarks.bench", "atlas.evaluators", "atlas.loop"} <= names


@pytest.mark.parametrize("part", ["memory", "evaluators"])
def test_memory_and_evaluators_know_nothing_of_who_uses_them(part: str) -> None:
    forbidden = tuple(f"atlas.{name}" for name in ORCHESTRATION)
    for path in (PACKAGE / part).rglob("*.py"):
        assert not [name for name in imported(path) if below(name, forbidden)], path


@pytest.mark.parametrize("part", ["records", "protocols", "errors", "prompts", "policies", "loop", "models", "traces"])
def test_the_core_knows_nothing_of_benchmarks_and_the_command_line(part: str) -> None:
    forbidden = ("atlas.benchmarks", "atlas.cli", "atlas.report")
    for path in [p for p in sources() if below(module(p), (f"atlas.{part}",))]:
        # The scripted teacher is a benchmark's and is named like a model: the registry imports it when asked for it.
        names = [name for name in imported(path) if module(path) != "atlas.models.registry"]
        assert not [name for name in names if below(name, forbidden)], path


def test_parts_are_imported_below_atlas() -> None:
    assert not [(module(path), name) for path in sources() for name in imported(path) if below(name, PARTS)]


def test_no_file_is_too_long_to_read() -> None:
    lengths = {module(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


# --- every setting is read somewhere ----------------------------------------------------------------------------------

CONFIGS = {"Budget"}
"""Settings that are no dataclass."""

READ_BY_NAME = {"Entity", "Tally"}
"""A game's own texts say which fields of an entity are printed; a tally is printed and added up whole."""


def configs() -> Iterator[tuple[str, str]]:
    """(class, field) of every dataclass of the package, and of the classes named in CONFIGS."""
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and (node.name in CONFIGS or any(map(is_dataclass, node.decorator_list))):
                for part in node.body:
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                        yield node.name, part.target.id


def is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "dataclass"


@cache
def read() -> frozenset[str]:
    """Names of attributes that some code reads. A field with the same name as another one can hide behind it."""
    nodes = (node for path in sources() for node in ast.walk(tree(path)))
    return frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load))


def test_the_settings_are_found() -> None:
    assert {("BenchOptions", "samples"), ("Arm", "reads"), ("Budget", "tokens"), ("Bench", "until")} <= set(configs())


def test_every_field_is_read() -> None:
    found = [(owner, field) for owner, field in configs() if owner not in READ_BY_NAME]
    assert not [f"{owner}.{field}" for owner, field in found if field not in read()]


def commands() -> Iterator[tuple[Path, str, ast.FunctionDef]]:
    """(file, parameter, function) of every option and argument of the command line."""
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.FunctionDef):
                continue
            for call in (c for c in node.decorator_list if isinstance(c, ast.Call)):
                if isinstance(call.func, ast.Attribute) and call.func.attr in ("option", "argument"):
                    yield path, parameter(call), node


def parameter(call: ast.Call) -> str:
    """The name under which click passes an option: a plain string if one is given, else the longest flag."""
    names = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    plain = [name for name in names if not name.startswith("-")]
    longest = plain[0] if plain else max(names, key=len).partition("/")[0]
    return longest.lstrip("-").replace("-", "_")


def used(path: Path, name: str, function: ast.FunctionDef) -> bool:
    """Whether the function reads its argument, or the module ``options["name"]`` where it takes it among others."""
    if name in {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}:
        nodes = [node for part in function.body for node in ast.walk(part)]
        return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in nodes)
    keys = [node.slice for node in ast.walk(tree(path)) if isinstance(node, ast.Subscript)]
    return any(isinstance(key, ast.Constant) and key.value == name for key in keys)


def test_every_option_of_the_command_line_does_something() -> None:
    found = list(commands())
    assert {("promote", "margin"), ("play", "as_json"), ("demo", "lm_seconds")} <= {(p.stem, n) for p, n, _ in found}
    assert not [f"{path.stem} {name}" for path, name, function in found if not used(path, name, function)]
