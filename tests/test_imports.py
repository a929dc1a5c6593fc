"""What importing costs: users pay it at every start."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import atlas


def loaded_after(code: str, *watched: str) -> set[str]:
    report = f"import sys, json; {code}; print(json.dumps([m for m in {watched!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_atlas_loads_nothing_heavy() -> None:
    assert not loaded_after(
        "import atlas",
        "litellm",
        "openai",
        "langgraph",
        "psycopg",
        "chromadb",
        "torch",
        "numpy",
        "pydantic",
        "onnxruntime",
        "click",
        "rich",
    )


def test_help_loads_no_model_library() -> None:
    help_text = "from click.testing import CliRunner; from atlas.cli import app; CliRunner().invoke(app, ['--help'])"
    assert not loaded_after(
        help_text, "litellm", "openai", "langgraph", "psycopg", "chromadb", "torch", "numpy", "onnxruntime"
    )


def test_composing_policies_loads_no_provider_library() -> None:
    assert not loaded_after(
        "from atlas import Agent, Cascade, DemonstrationStore, Recall, play, episode",
        "litellm",
        "openai",
        "langgraph",
        "psycopg",
        "chromadb",
        "torch",
        "onnxruntime",
    )


def test_import_is_quick() -> None:
    code = (
        "import sys, time; began = time.process_time(); import atlas; spent = time.process_time() - began; "
        "ours = sorted(m for m in sys.modules if m.partition('.')[0] == 'atlas'); "
        "assert ours == ['atlas', 'atlas.lazy'], ours; assert spent < 0.5, f'{spent:.3f} s'"
    )
    # The best of three: a busy machine is not the package's fault. A quiet one takes a hundredth of a second.
    results = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert any(r.returncode == 0 for r in results), results[-1].stderr


NEEDS = {"atlas.train": "torch", "atlas.graph": "langgraph"}
"""Packages whose names need an extra."""


def packages() -> list[str]:
    """The package and its sub-packages, two levels deep, but for folders that hold steps of one command only."""
    found = [Path(atlas.__file__), *Path(atlas.__file__).parent.glob("*/__init__.py")]
    found += Path(atlas.__file__).parent.glob("benchmarks/*/__init__.py")
    return sorted(".".join(path.parent.relative_to(Path(atlas.__file__).parents[1]).parts) for path in found)


@pytest.mark.parametrize("package", packages())
def test_what_a_package_offers_is_there(package: str) -> None:
    if needed := NEEDS.get(package):
        pytest.importorskip(needed)
    module = import_module(package)
    assert module.__all__ and len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", packages())
def test_names_for_type_checkers_are_those_at_run_time(package: str) -> None:
    """A package that loads its names lazily states them three times: for type checkers, for star imports, and where
    they are."""
    place = Path(str(import_module(package).__file__))
    tree = ast.parse(place.read_text())
    typed = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for part in node.body
        if isinstance(part, ast.ImportFrom)
        for alias in part.names
    }
    if typed:
        assert typed == set(import_module(package).__all__) - {"__version__"}
    # A module of the same name would take the place of what is offered as soon as somebody imports it.
    assert not {path.stem for path in place.parent.glob("*.py")} & set(import_module(package).__all__)


def test_a_new_process_finds_all_names_of_atlas_by_star() -> None:
    code = "from atlas import *; import atlas; assert set(atlas.__all__) <= set(globals())"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = atlas.nothing
