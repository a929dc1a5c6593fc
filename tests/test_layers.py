"""The shape of the code: who may import whom, how long a file may be, and that every setting does something."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import atlas

PACKAGE = Path(atlas.__file__).parent
PARTS = ("memory", "evaluators", "benchmarks")
"""Top-level folders of the repository that are imported below ``atlas``."""

BASE = (
    "errors folders framing given grammar jsontext lazy messages money prompts protocols record records redact verdict "
    "views"
)
"""What any package above them may import."""

MAY_IMPORT = {
    # what data is
    "record": "",
    "errors": "",
    "given": "errors record",
    "money": "given record",
    "messages": "record",
    "framing": "",
    "grammar": "",
    "jsontext": "",
    "verdict": "money record",
    "views": "framing given messages record",
    "records": "messages money record verdict views",
    "folders": "errors",
    "lazy": "",
    "redact": "",
    "prompts": "framing records views",
    "protocols": "records",
    # small modules that stand on records alone
    "assets": BASE,
    "standing": "record",
    "betting": "",
    "budget": BASE,
    "entities": "",
    "goals": "entities protocols records",
    "loose_json": "",
    "learned_file": BASE,
    "named": BASE,
    "own": "errors",
    "stats": "record records",
    "figures": "stats",
    "tokens": "",
    "meaning": "records",
    "calling": BASE,
    "actions": f"{BASE} calling meaning",
    # the one place that asks a model
    "asking": f"{BASE} actions budget tokens",
    # what an episode was worth, what it came to, what was written and what is remembered of it
    "evaluators": f"{BASE} asking stats",
    "book": f"{BASE} asking budget evaluators",
    "memory": f"{BASE} asking assets betting entities evaluators figures standing stats tokens",
    "traces": f"{BASE} evaluators memory standing stats",
    "regrade": f"{BASE} asking evaluators traces",
    "distil": f"{BASE} asking evaluators memory regrade traces",
    "learning": f"{BASE} asking distil evaluators memory regrade traces",
    # what runs an episode, and many
    "loop": f"{BASE} asking book budget evaluators",
    "runner": f"{BASE} asking budget evaluators loop",
    "fanout": f"{BASE} asking budget runner traces",
    # who acts
    "copying": f"{BASE} entities goals loose_json",
    "trained": BASE,
    "models": f"{BASE} asking assets calling copying named own tokens trained",
    "trust": f"{BASE} betting named stats traces",
    "chances": f"{BASE} evaluators learned_file stats traces trust",
    "utility": f"{BASE} actions asking learned_file",
    "compression": f"{BASE} assets goals tokens utility",
    "reranking": f"{BASE} compression entities goals utility",
    "policies": f"{BASE} actions asking chances compression evaluators goals memory reranking standing trust",
    "export": f"{BASE} actions book evaluators meaning memory models tokens traces",
    "graph": f"{BASE} asking budget distil evaluators learning loop memory regrade runner traces",
    # around agents that exist, and in other frameworks
    "background": BASE,
    "wire": f"{BASE} background tokens",
    "wrap": f"{BASE} actions asking background book budget chances evaluators export graph learning memory models "
    "policies standing traces trust wire",
    "serve": f"{BASE} traces wire wrap",
    "mcp": f"{BASE} memory serve",
    # what comes of it
    "words": "figures records redact traces",
    "tables": "figures records traces words",
    "report": f"{BASE} chances figures memory policies standing stats traces words",
    "train": f"{BASE} assets calling compression export goals models traces trained",
    "testing": f"{BASE} tokens traces",
    # suites, and what is measured on them
    "cli.number": "",
    "benchmarks.program": BASE,
    "benchmarks.scripted": f"{BASE} tokens",
    "benchmarks.suite": f"{BASE} evaluators memory",
    "benchmarks.option": "",
    "benchmarks.options": f"{BASE} benchmarks.option budget chances compression learning memory models policies "
    "reranking",
    "benchmarks.alfworld": f"{BASE} actions assets benchmarks.options benchmarks.program benchmarks.scripted "
    "benchmarks.suite",
    "benchmarks": f"{BASE} asking budget chances distil evaluators export fanout graph learning loop memory own "
    "policies runner stats tables traces train trust benchmarks.alfworld benchmarks.options benchmarks.program "
    "benchmarks.suite",
    "benchmarks.forced": f"{BASE} actions asking benchmarks.alfworld benchmarks.program compression figures memory "
    "models policies reranking stats",
    "benchmarks.tuning": f"{BASE} benchmarks.alfworld benchmarks.forced memory models",
    "benchmarks.perf": f"{BASE} budget fanout tables figures loop memory models policies runner stats traces train "
    "trained benchmarks.alfworld benchmarks.forced benchmarks.program",
    "benchmarks.excytin": f"{BASE} asking assets chances copying evaluators figures loose_json memory models regrade "
    "stats tables traces benchmarks.options benchmarks.perf benchmarks.program benchmarks.scripted benchmarks.suite",
    # who is asked by people
    "cli": f"{BASE} assets benchmarks benchmarks.alfworld benchmarks.excytin benchmarks.option benchmarks.options "
    "benchmarks.suite benchmarks.tuning budget chances cli.number compression distil evaluators export figures mcp "
    "memory models named own regrade report reranking runner serve stats tables traces train trained trust utility "
    "words wrap",
    "__main__": "cli",
    # what breaks all of it on purpose
    "benchmarks.reliability": f"{BASE} cli copying evaluators memory models serve stats tables testing traces wire "
    "wrap benchmarks benchmarks.alfworld benchmarks.options benchmarks.perf benchmarks.program benchmarks.suite "
    "cli.number",
    # who else does the like
    "benchmarks.peers": f"{BASE} testing tokens traces wrap benchmarks.perf benchmarks.program cli.number",
}
"""The layers, from the bottom up: a module of a package may import its own package and those named beside it, at
whatever depth, under ``TYPE_CHECKING`` and inside functions too. A row names rows above it only, so there is no circle.
The longest name that fits a module is its package. All may read the version off ``atlas``, which loads everything else
by name."""

EXCEPTIONS = {
    # A policy is handed a desk, and a desk asks a model: for types alone.
    ("atlas.protocols", "atlas.asking"),
    # Scripted teachers are a benchmark's, and named like models: the registry imports one when it is asked for it.
    ("atlas.models.registry", "atlas.benchmarks.alfworld.teacher"),
    ("atlas.models.registry", "atlas.benchmarks.excytin.teacher"),
    # A suite measures itself, and is listed among the measurements.
    ("atlas.benchmarks.perf.__main__", "atlas.benchmarks.excytin.perf"),
    # A program that plays its incidents by the command looks first whether they are there.
    ("atlas.benchmarks.transfer", "atlas.benchmarks.excytin.suite"),
}
"""(module, what it imports lazily) beyond the table. None of them may happen when the module itself is imported."""

ASKS_FOR_EXCYTIN = re.compile(
    r"atlas\.cli\.\w+_excytin|atlas\.models\.registry|atlas\.benchmarks\.(?:perf\.__main__|transfer)"
)

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
        yield from names_of(node)


def names_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import of {node.module}"
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_all_of_the_package_is_looked_at() -> None:
    names = {module(path) for path in sources()}
    assert len(names) == len(sources())
    assert {"atlas", "atlas.memory.store", "atlas.benchmarks.bench", "atlas.evaluators", "atlas.loop"} <= names


@cache
def modules() -> frozenset[str]:
    return frozenset(module(path) for path in sources())


def package(name: str) -> str:
    """The row of the table that a module belongs to; empty for ``atlas`` itself, and for one without a row."""
    inner = name.removeprefix("atlas").removeprefix(".")
    fitting = [row for row in MAY_IMPORT if inner == row or inner.startswith(f"{row}.")]
    return max(fitting, key=len, default="")


def needed(path: Path) -> set[str]:
    """The modules of ours that a file imports, or names for others to import (``"atlas.cli.bench"``,
    ``"atlas.benchmarks.excytin.teacher:ScriptedAnalyst"``)."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("atlas."):
            found.add(node.value.partition(":")[0])
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in modules() else node.module or "" for name in whole)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & modules()


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """(module, imported module) across packages, but for ``atlas`` itself."""
    pairs = {(module(path), name) for path in sources() for name in needed(path)}
    return frozenset((a, b) for a, b in pairs if a != "atlas" and b != "atlas" and package(a) != package(b))


def test_every_module_has_a_row_and_rows_look_down() -> None:
    assert not [name for name in modules() if name != "atlas" and not package(name)]
    above: set[str] = set()
    for row, may in MAY_IMPORT.items():
        assert not set(may.split()) - above, f"{row} names rows that are not above it"
        above.add(row)


def test_imports_keep_to_the_table() -> None:
    wrong = {(a, b) for a, b in arrows() if package(b) not in MAY_IMPORT[package(a)].split()}
    assert not wrong - EXCEPTIONS
    assert not {(a, b) for a, b in EXCEPTIONS - wrong if b in modules()}, "exceptions that nothing needs"


def test_no_circle_of_packages() -> None:
    graph: dict[str, set[str]] = {}
    for a, b in arrows() - EXCEPTIONS:
        graph.setdefault(package(a), set()).add(package(b))
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def test_exceptions_are_not_imported_with_their_module() -> None:
    for name, wanted in EXCEPTIONS:
        path = next(path for path in sources() if module(path) == name)
        top = {name for node in tree(path).body for name in names_of(node)}
        assert wanted not in top


def test_of_atlas_itself_only_the_version_is_read() -> None:
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "atlas":
                assert node.attr == "__version__" or path.parent.name == "cli", path
            if isinstance(node, ast.ImportFrom) and node.module == "atlas":
                assert all(f"atlas.{alias.name}" in modules() for alias in node.names), path


def test_no_package_imports_what_another_keeps_to_itself() -> None:
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atlas."):
                assert node.module is not None
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private or package(node.module) == package(module(path)), path


def test_excytin_could_be_a_distribution_of_its_own() -> None:
    seams = set(re.findall(r"``(atlas\.[\w.]+)``", ast.get_docstring(tree(PACKAGE / "benchmarks/excytin/__init__.py"))))
    inward = {b for a, b in arrows() if package(a) == "benchmarks.excytin"}
    assert inward - seams == set(), "imported, but no seam of the docstring"
    assert not (seams & modules()) - inward, "a seam of the docstring that nothing imports"
    outward = {a for a, b in arrows() if package(b) == "benchmarks.excytin"}
    assert not [name for name in outward if not ASKS_FOR_EXCYTIN.fullmatch(name)]


def test_parts_are_imported_below_atlas() -> None:
    assert not [
        (module(path), name) for path in sources() for name in imported(path) if name.partition(".")[0] in PARTS
    ]


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
    """Whether the function reads its argument, or where it takes it among others the module, or a part of it
    (train_reads of train), ``options["name"]``."""
    if name in {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}:
        nodes = [node for part in function.body for node in ast.walk(part)]
        return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in nodes)
    parts = [path, *path.parent.glob(f"{path.stem}_*.py")]
    keys = [node.slice for part in parts for node in ast.walk(tree(part)) if isinstance(node, ast.Subscript)]
    return any(isinstance(key, ast.Constant) and key.value == name for key in keys)


def test_every_option_of_the_command_line_does_something() -> None:
    found = list(commands())
    assert {("promote", "margin"), ("play", "as_json"), ("demo", "lm_seconds")} <= {(p.stem, n) for p, n, _ in found}
    assert not [f"{path.stem} {name}" for path, name, function in found if not used(path, name, function)]
