"""What LangGraph's searches ask of a value and of a namespace, as its own stores read it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langgraph.store.base import MatchCondition

_EQUAL = {"$eq": True, "$ne": False}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def check(wanted: Mapping[str, Any]) -> None:
    """Raises ValueError for an operator that is not there, as LangGraph's own stores do."""
    for sign in _signs(wanted):
        if sign not in _EQUAL and sign not in _ORDER:
            raise ValueError(f"there is no filter {sign!r}: use one of {', '.join((*_EQUAL, *_ORDER))}")


def _signs(wanted: Any) -> Iterator[str]:
    """All operators in a filter, at whatever depth, and what stands beside one."""
    if isinstance(wanted, Mapping):
        for test in wanted.values():
            if _is_test(test):
                yield from map(str, test)
            else:
                yield from _signs(test)
    elif isinstance(wanted, list | tuple):
        for test in wanted:
            yield from _signs({"": test})


def fits(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether each field that is named is as it is wanted."""
    return all(_as_wanted(value.get(name), test) for name, test in wanted.items())


def _as_wanted(have: Any, test: Any) -> bool:
    if _is_test(test):
        return all(_compared(have, sign, other) for sign, other in test.items())
    if isinstance(test, Mapping):
        return isinstance(have, Mapping) and fits(have, test)
    if isinstance(test, list | tuple):
        return isinstance(have, list | tuple) and len(have) == len(test) and all(map(_as_wanted, have, test))
    return bool(have == test)


def _is_test(test: Any) -> bool:
    return isinstance(test, Mapping) and any(str(key).startswith("$") for key in test)


def _compared(have: Any, sign: str, other: Any) -> bool:
    if sign in _EQUAL:
        return (have == other) is _EQUAL[sign]
    try:
        return _ORDER[sign](float(have), float(other))
    except (TypeError, ValueError, OverflowError):
        # Texts have an order of their own; what else cannot be compared does not fit.
        return isinstance(have, str) and isinstance(other, str) and _ORDER[sign](have, other)


def matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    """Whether a namespace begins, or ends, as the condition says."""
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", have) for wanted, have in zip(path, part, strict=True))
