"""Every pattern of the packages takes linear time, whatever text it is run on.

Texts come from models, tools, web pages and files: one that a pattern reads in quadratic time stops an agent and all
threads with it, as :mod:`re` holds the interpreter's lock. Patterns are found, not listed, so that a new one is tested
from its first day; each is run on texts made from its own parts. What puts a pattern together as it runs is listed.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import atlas
from atlas.benchmarks.excytin.catalog import like
from atlas.copying.playbook import _observed
from atlas.memory.cues import says

LENGTH = 6_000
"""Characters of an attack: a linear pattern takes some milliseconds, a quadratic one many times that."""
SECONDS = 0.25
SHORT = 300
MOST = 150
SLOWEST = 12
"""Attacks of a pattern that are tried in full length: those that were slowest when short."""
TAKEN = {"atlas.benchmarks.alfworld.goal:_PATTERNS": 500}
"""Characters that what calls a pattern gives it at most, where that is less than an attack has."""
ALPHABET = "aA0 \n-._\"'\\(<[{=:/@,!|*\u00e9\u2028"


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(atlas.__path__, "atlas."):
        if not found.name.endswith("__main__"):
            try:
                yield importlib.import_module(found.name)
            except ImportError:  # an extra that is not installed here
                continue


def _held(value: Any, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        yield from _held(tuple(value.values()), depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _held(part, depth - 1)
    elif depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _held([getattr(value, field.name) for field in dataclasses.fields(value)], depth - 1)


def _patterns() -> dict[str, re.Pattern[Any]]:
    """Each once, by where it stands."""
    found: dict[str, re.Pattern[Any]] = {}
    known = set()
    for module in _modules():
        for name, value in vars(module).items():
            for index, pattern in enumerate(_held(value)):
                if pattern not in known:
                    known.add(pattern)
                    found[f"{module.__name__}:{name}" + (f"[{index}]" if index else "")] = pattern
    return found


PATTERNS = _patterns()


def _ways(where: str) -> set[str]:
    """The methods by which the module uses its pattern: one that is only matched from the start is tested so."""
    module, _, name = where.partition(":")
    source = Path(importlib.import_module(module).__file__ or "").read_text()
    used = set(re.findall(rf"\b{re.escape(name)}\.(\w+)", source))
    return used if used and used <= {"match", "fullmatch"} else {"finditer"}


def _samples(op: Any, value: Any) -> list[str]:
    """Characters that a single-character node takes."""
    if op is codes.LITERAL:
        return [chr(value)]
    if op not in (codes.IN, codes.ANY, codes.NOT_LITERAL):
        return []
    tree = parser.SubPattern(parser.State(), [(op, value)])
    compiled = _compiler(tree)
    fits = [char for char in ALPHABET if compiled.fullmatch(char)]
    if op is codes.IN:
        fits += [chr(v) for o, v in value if o is codes.LITERAL] + [chr(v[0]) for o, v in value if o is codes.RANGE]
    return list(dict.fromkeys(fits))[:6]


def _compiler(tree: Any) -> re.Pattern[str]:
    from re import _compiler  # type: ignore[attr-defined]

    return _compiler.compile(tree, re.DOTALL)  # type: ignore[no-any-return]


def _least(tree: Any) -> str:
    """A short text that the tree takes, but for what it looks around for."""
    return "".join(map(_least_of, tree))


def _least_of(node: tuple[Any, Any]) -> str:
    op, value = node
    if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return _least(value[2]) * min(max(value[0], 1), 40)
    if op is codes.SUBPATTERN:
        return _least(value[3])
    if op is codes.ATOMIC_GROUP:
        return _least(value)
    if op is codes.BRANCH:
        return _least(value[1][0])
    return (_samples(op, value) or [""])[0]


def _attacks(pattern: re.Pattern[str], length: int) -> list[str]:
    """Texts in which parts of ``pattern`` stand again and again, and what would end a match does not."""
    units = set(ALPHABET)
    long: set[tuple[str, str]] = set()

    def walk(tree: Any, before: str) -> None:
        for op, value in tree:
            if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
                inner = value[2]
                for part in inner:
                    long.update((before, char) for char in _samples(*part))
                long.add((before, _least(inner)))
                walk(inner, before)
            elif op is codes.SUBPATTERN:
                walk(value[3], before)
            elif op is codes.ATOMIC_GROUP:
                walk(value, before)
            elif op is codes.BRANCH:
                for branch in value[1][:12]:
                    walk(branch, before)
                    units.add(before + _least(branch))
            before += _least_of((op, value))
            units.add(before)

    walk(parser.parse(pattern.pattern, pattern.flags), "")
    texts: set[str] = set()
    for unit in units:
        if unit:
            texts.update(unit.join(["", *[joint] * (length // len(unit + joint))]) for joint in ("", "-", "\n"))
    for before, char in long:
        if char:
            texts.add(before + char * (length // len(char)))
            texts.add((before + char * 30) * (length // len(before + char * 30)))
    # Rules of many alternatives give thousands: every so many of them.
    return sorted(texts)[:: 1 + len(texts) // MOST]


BYTES = {f"atlas.traces.format:{name}" for name in ("STEP", "TEXT", "EVENT", "PRUNED")} | {
    "atlas.traces.copying:END",
    "atlas.traces.open_log:_LINE",
    "atlas.traces.prune:_HASHES",
    *(f"atlas.traces.index:{name}" for name in ("_EPISODE", "_OTHERS", "_RETRIES")),
}
"""Tried at the beginning of a line alone; hashes of one length; and what ends at the quote with which it would begin
again."""


@pytest.mark.parametrize("where", PATTERNS)
def test_a_pattern_takes_linear_time(where: str) -> None:
    pattern = PATTERNS[where]
    assert isinstance(pattern.pattern, str) or where in BYTES, "bytes are read by patterns that have one beginning"
    if isinstance(pattern.pattern, bytes):
        return
    for way in _ways(where):
        # All short ones first: what takes long on those would take forever on long ones.
        short = {text: _seconds(pattern, way, text) for text in _attacks(pattern, SHORT)}
        slowest = sorted(short, key=lambda text: -short[text])
        assert short[slowest[0]] < SECONDS, f"{where}.{way} takes {short[slowest[0]]:.2f} s on {slowest[0]!r}"
        begun = {text[: SHORT // 2] for text in slowest[:SLOWEST]}
        for text in _attacks(pattern, TAKEN.get(where.partition("[")[0], LENGTH)):
            if text[: SHORT // 2] in begun:
                taken = min(_seconds(pattern, way, text), _seconds(pattern, way, text))
                assert taken < SECONDS or taken < _slow(), (
                    f"{where}.{way} takes {taken:.2f} s on {len(text):,} like {text[:90]!r}"
                )


def _slow() -> float:
    """The bound on a machine that is slow or busy: its CPU seconds are longer, for any pattern alike."""
    known = re.compile("(?:ab)*c")
    return 5 * min(_seconds(known, "search", "ab" * (LENGTH // 2)) for _ in range(3))


def _seconds(pattern: re.Pattern[str], way: str, text: str) -> float:
    started = time.thread_time()
    found = getattr(pattern, way)(text)
    for _ in found if way == "finditer" else ():
        pass
    return time.thread_time() - started


LONG = "w" * 6_000
FROM_DATA: dict[str, Callable[[], object]] = {
    "slots side by side": lambda: says('on "{a}{b}{c}{d}{e}{f}{g}{h} end"', LONG),
    "a hundred slots, and no end": lambda: says(f'on "{"{a}" * 100} end"', LONG + " end."),
    "slots with a letter between": lambda: says(f'on "{"{a}w" * 100}x"', LONG + "x"),
    "slots with numbers between": lambda: says(f'on "{"{a} 1" * 100}x"', "w 1" * 2_000 + "x"),
    "a plan's slots": lambda: _observed("{a}" * 50 + "!", "mug 1" * 1_000),
    "a plan's slots in a long word": lambda: _observed("you see {a} " * 20, "you see " + LONG),
    "LIKE with a percent sign after each letter": lambda: like("a" * 60, "%a" * 40 + "%b"),
    "LIKE with percent signs alone": lambda: like("a" * 60, "%" * 60 + "b"),
}
"""Patterns that are made of what an entry, a model or an agent wrote, on what is worst for them."""


@pytest.mark.parametrize("case", FROM_DATA)
def test_a_pattern_made_of_data_takes_linear_time(case: str) -> None:
    started = time.thread_time()
    FROM_DATA[case]()
    taken = time.thread_time() - started
    assert taken < SECONDS or taken < _slow()


MADE = {
    "atlas/chances/attempt.py:answer_in": "a constant of this package, or a pattern that its caller states in code",
    "atlas/chances/selector.py:compiled": "a pattern that the user gives, on actions of runs of their own",
    "benchmarks/excytin/slices.py:_answer": "one value, escaped",
    "benchmarks/excytin/slices.py:_origin": "one value, escaped",
    "memory/distil.py:_stands": "one value, escaped",
    "atlas/traces/prune.py:needle": "texts that the user gives, escaped",
    "memory/versions.py:reason_for": "one id, escaped",
    "atlas/fanout/cluster.py:_why": "two words of this package",
    "atlas/copying/free_text.py:_retold": "values one after the other, escaped",
    "atlas/copying/playbook.py:_expression": "tested above",
    "atlas/models/rules.py:fits": "rules of this package, on names of models",
    "atlas/models/request.py:call_id": "rules of this package: a set of letters and a length",
    "atlas/models/faults.py:blamed": "the name of a setting, escaped",
    "benchmarks/excytin/catalog.py:answer": "a constant of this package",
    "benchmarks/excytin/catalog.py:like": "tested above",
    "benchmarks/excytin/importing/download.py:_parts": "the name of a folder, escaped",
    "benchmarks/excytin/judge.py:_holds": "one value, escaped",
    "atlas/calling.py:_names": "names of tools, escaped, at the beginning of a line",
    "atlas/models/faults.py:used_by": "a choice between two constants",
    "benchmarks/excytin/mysql_names.py:_read": "a constant of this package",
    "benchmarks/excytin/mysql_names.py:_told": "a constant of this package",
    "evaluators/answer.py:items": "a choice between two constants",
    "memory/safety_rules.py:_compiled": "rules of this package, tested above",
    "memory/safety_rules.py:_tongues": "rules of this package, tested above",
    "memory/safety_rules.py:_calls": "rules of this package, tested above",
}
"""Functions that put a pattern together while they run, and why what is in it is bounded."""


def test_what_makes_a_pattern_of_data_is_known() -> None:
    root = Path(atlas.__file__).parents[1]
    found = set()
    for path in (
        path for part in ("atlas", "memory", "evaluators", "benchmarks") for path in (root / part).rglob("*.py")
    ):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("re.") and call.args:
                        plain = isinstance(call.args[0], ast.Constant) or ast.unparse(call.func) == "re.escape"
                        if not plain:
                            found.add(f"{path.relative_to(root)}:{function.name}")
    assert found == set(MADE)
