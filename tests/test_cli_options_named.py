"""A sentence that names an option is told by commands that have it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.cli import app
from tests.test_cli_folders import _commands as commands
from tests.test_layers import PACKAGE, sources

OPTION = re.compile(r"(?<![\w./-])(--[a-z][a-z0-9-]+|-[a-zA-Z])(?![\w-])")
QUOTED = re.compile(r"'atlas ([a-z][^']*)'|\(atlas ([a-z][^()]*)\)")
OTHERS = re.compile(r"'(?!atlas )(?:createdb|chroma|ulimit)[^']*'|\(ulimit [^)]*\)")
"""Commands of other programs."""
BENCH = "bench alfworld|bench excytin"
TOLD_BY = {
    "atlas.cli.agent_options": "run|serve",
    "atlas.cli.demo_again": "demo",
    "atlas.cli.train_reads": "train",
    "atlas.export.build": "export",
    "atlas.export.folder": "export",
    "atlas.fanout.cluster": BENCH,
    "atlas.fanout.troupe": BENCH,
    "atlas.report": "report",
    "atlas.report.learned": "report",
    "atlas.serve.moving": "serve",
    "atlas.serve.server": "serve",
    "atlas.traces.account": "report",
    "atlas.traces.prune": "traces prune",
    "atlas.train": "train",
    "atlas.trained.student": "train",
    "atlas.trust.calibrate": "trust calibrate",
    "atlas.benchmarks": BENCH,
    "atlas.benchmarks.excytin": "bench excytin",
    "atlas.benchmarks.excytin.importing": "data excytin import",
    "atlas.cli.bench_options": BENCH,
    "atlas.train.gguf": "models export",
    "atlas.memory.chroma": BENCH,
}
"""Module, or package, whose sentences name options without naming a command -> the commands that tell them, all of
which have to have the option. What is told by others as well names no option."""
ELSEWHERE = tuple(
    f"atlas.benchmarks.{name}"
    for name in ("alfworld.verify", "peers", "perf", "recipes", "reliability", "transfer", "tuning")
)
"""What is called by python -m, with options of its own."""
TOLD = ("echo", "warning", "UsageError", "BadParameter")

COMMANDS = dict(commands(app))
OPTIONS = {
    name: {opt for param in found.params for opt in (*param.opts, *param.secondary_opts)} | {"--help", "--version"}
    for name, found in COMMANDS.items()
}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sentences(path: Path) -> Iterator[tuple[str, int, str]]:
    """(function, line, text) of all that is raised or written to people; what is filled in is ``{}``."""
    for function, node in _inside(ast.parse(path.read_text(encoding="utf-8")), ""):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from ((function, node.lineno, text) for arg in node.exc.args if (text := _text(arg)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TOLD:
            yield from ((function, node.lineno, text) for arg in node.args if (text := _text(arg)))


def _inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        within = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function else function
        yield within, child
        yield from _inside(child, within)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""


def _named(words: str) -> set[str]:
    """The options of the command that ``words`` call, or of those of a group."""
    parts = words.split()
    for n in range(len(parts), 0, -1):
        name = " ".join(parts[:n])
        if of := [options for one, options in OPTIONS.items() if f"{one} ".startswith(f"{name} ")]:
            return set().union(*of)
    return set()


def told_by(module: str, function: str) -> list[str]:
    """The commands that tell the sentences of a function."""
    own = {name: found.callback for name, found in COMMANDS.items() if found.callback is not None}
    here = [name for name, call in own.items() if _unwrapped(call).__module__ == module]
    mine = [name for name in here if _unwrapped(own[name]).__name__ == function]
    parents = [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
    row = next((TOLD_BY[name] for name in (module, *parents) if name in TOLD_BY), "")
    return mine or (row.split("|") if row else here)


def _unwrapped(call: object) -> object:
    while hasattr(call, "__wrapped__"):
        call = call.__wrapped__
    return call


MODULES = {module_of(path): path for path in sources()}


@pytest.mark.parametrize("module", MODULES)
def test_options_are_those_of_the_command(module: str) -> None:
    if module.startswith(ELSEWHERE):
        return
    for function, line, text in sentences(MODULES[module]):
        where = f"{module}:{line}"
        for called in QUOTED.finditer(text):
            words = called[1] or called[2]
            wrong = set(OPTION.findall(words)) - _named(words)
            assert not wrong, f"{where}: 'atlas {words}' has no {', '.join(sorted(wrong))}: {text}"
        options = set(OPTION.findall(OTHERS.sub("", QUOTED.sub("", text))))
        if options:
            by = told_by(module, function)
            assert by, f"{where} names {', '.join(sorted(options))}: leave it out, or say who tells it: {text}"
            some = module.startswith("atlas.cli.") and function not in {
                _unwrapped(c.callback).__name__ for c in COMMANDS.values()
            }
            has = (set.union if some else set.intersection)(*(OPTIONS[name] for name in by))
            wrong = options - has
            assert not wrong, f"{where}: 'atlas {', '.join(by)}' has no {', '.join(sorted(wrong))}: {text}"
