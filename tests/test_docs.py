"""What the documents name is there: modules, names, files, and the signatures of what a reader is to write."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
DOCUMENTS = [HERE / "README.md", HERE / "CONTRIBUTING.md", HERE / "AGENTS.md", *sorted((HERE / "docs").rglob("*.md"))]
WRITTEN = {
    "decide": ["self", "view", "desk"],
    "judge": ["self", "case", "desk", "opinions"],
    "review": ["self", "view", "desk"],
}
"""Methods of what users write themselves, with their parameters."""


def named(text: str) -> Iterator[str]:
    """The names of atlas that stand in backticks, are imported in a snippet, or read there off ``atlas``."""
    yield from re.findall(r"`(atlas(?:\.\w+)+)`", text)
    for tree in snippets(text):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "atlas":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "atlas":
                yield f"atlas.{node.attr}"


def snippets(text: str) -> Iterator[ast.Module]:
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if not code.startswith("except"):  # two ways to end a statement that is not shown
            yield ast.parse(code)


def found(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module, rest = ".".join(parts[:length]), parts[length:]
        try:
            thing = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("atlas"):
                return True  # needs what is not installed here
            continue
        for part in rest:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [name for name in named(text) if not found(name)]
    files = re.findall(r"`((?:atlas|memory|evaluators|benchmarks|tests|examples|docs)/[\w./-]+\.\w+)`", text)
    assert not [name for name in files if not (HERE / name).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_reader_is_to_write_has_the_parameters_of_its_seam(path: Path) -> None:
    for tree in snippets(path.read_text(encoding="utf-8")):
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef) and node.name in WRITTEN:
                assert [arg.arg for arg in node.args.args] == WRITTEN[node.name], node.name


def test_the_seams_have_the_parameters_that_documents_show() -> None:
    from atlas.evaluators import Judge
    from atlas.protocols import Policy, Reviewer

    for method in (Policy.decide, Judge.judge, Reviewer.review):
        code = method.__code__
        assert list(code.co_varnames[: code.co_argcount]) == WRITTEN[method.__name__]
