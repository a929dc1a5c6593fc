"""JSON as MariaDB reads and writes it: numbers and strings keep their own spelling, spaces are put anew.

Text that is no JSON is an error, as in MySQL; MariaDB gives NULL and a warning.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from atlas.benchmarks.excytin.emulated.jsonpaths import Leg, Path, path_of
from atlas.benchmarks.excytin.emulated.patterns import like
from atlas.benchmarks.excytin.engine import SqlError

_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)


class Number(str):
    """A number as it was spelled."""


class Twice(Exception):
    """An object has a key twice."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Twice
    return found


def load(text: Any, function: str, argument: int = 1) -> Any:
    """The value of a JSON text, its strings as they are spelled between their quotes.

    Raises:
        SqlError: with MySQL's reason, where it is none.
    """
    source = text if isinstance(text, str) else str(text)
    try:
        return _loaded(source)
    except Twice as error:
        raise SqlError(
            "DataError", f"JSON text in argument {argument} to function {function} has a key twice"
        ) from error
    except (ValueError, RecursionError) as error:
        reason, at = getattr(error, "msg", "nested too deeply"), getattr(error, "pos", 0)
        why = "Invalid escape character in string" if "escape" in reason else "Invalid value"
        raise SqlError(
            "DataError",
            f'Invalid JSON text in argument {argument} to function {function}: "{why}." at position {at}.',
        ) from error


def _loaded(source: str) -> Any:
    if "\\" in source:
        # Places are told of the text as it stands.
        json.loads(source, strict=False)
        source = _STRING.sub(lambda found: json.dumps(found[1], ensure_ascii=False), source)
    return json.loads(
        source, strict=False, parse_int=Number, parse_float=Number, parse_constant=_no, object_pairs_hook=_members
    )


def _no(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def dump(value: Any, comma: str = ", ", colon: str = ": ") -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + comma.join(dump(one, comma, colon) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + comma.join(f'"{name}"{colon}{dump(one, comma, colon)}' for name, one in value.items()) + "}"
    return "null" if value is None else "true" if value else "false"


def spoken(raw: str) -> str:
    """A string's value, of its spelling."""
    return raw if "\\" not in raw else str(json.loads(f'"{raw}"', strict=False))


def _found(value: Any, path: str) -> tuple[list[Any], bool]:
    steps = path_of(path)
    return [one for _, one in walk(value, steps)], steps.many


def walk(value: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """What a path finds, each with the place where it stands."""
    found = [("$", value)]
    for leg in path.legs:
        found = [after for place, one in found for after in _after(place, one, leg)]
    yield from found


def _after(place: str, value: Any, leg: Leg) -> Iterator[tuple[str, Any]]:
    if leg.kind == "**":
        yield place, value
        for inner, one in _children(place, value):
            yield from _after(inner, one, leg)
    elif leg.kind == ".*":
        yield from _children(place, value) if isinstance(value, dict) else ()
    elif leg.kind == "[*]":
        yield from _children(place, value) if isinstance(value, list) else ()
    elif leg.kind == ".":
        if isinstance(value, dict):
            yield from ((f"{place}.{name}", one) for name, one in value.items() if spoken(name) == leg.name)
    elif isinstance(value, list):
        size = len(value)
        first, last = (at if at >= 0 else size + at for at in (leg.first, leg.last))
        for at in range(max(0, first), min(last, size - 1) + 1):
            yield f"{place}[{at}]", value[at]
    elif leg.first <= 0 <= leg.last or leg.first == -1:
        # What is no array counts as one of itself.
        yield place, value


def _children(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{place}.{name}", one) for name, one in value.items())
    elif isinstance(value, list):
        yield from ((f"{place}[{at}]", one) for at, one in enumerate(value))


def extract(text: Any, *paths: Any) -> str | None:
    """JSON_EXTRACT: an array where there are several paths or a path of many."""
    value = load(text, "json_extract")
    if len(paths) == 1:
        found, many = _found(value, str(paths[0]))
        return dump(found if many else found[0]) if found else None
    # In the order of the document.
    places = Counter(place for path in paths for place, _ in _placed(value, str(path)))
    found = [one for place, one in _all("$", value) for _ in range(places[place])]
    return dump(found) if found else None


def _all(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield place, value
    for inner, one in _children(place, value):
        yield from _all(inner, one)


def _at(text: Any, path: Any, function: str) -> list[Any]:
    value = load(text, function)
    return [value] if path is None else _found(value, str(path))[0]


def unquote(text: Any) -> str:
    whole = str(text)
    if len(whole) > 1 and whole[0] == whole[-1] == '"':
        try:
            return str(json.loads(whole, strict=False))
        except ValueError:
            return whole
    return whole


def valid(text: Any) -> int:
    try:
        json.loads(str(text), strict=False, parse_constant=_no)
    except (ValueError, RecursionError):
        return 0
    return 1


def length(text: Any, path: Any = None) -> int | None:
    found = _at(text, path, "json_length")
    return None if not found else len(found[0]) if isinstance(found[0], list | dict) else 1


def depth(text: Any) -> int:
    def deep(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(deep, inner), default=0)

    return deep(load(text, "json_depth"))


def keys(text: Any, path: Any = None) -> str | None:
    found = _at(text, path, "json_keys")
    return dump(list(found[0])) if found and isinstance(found[0], dict) else None


def kind(text: Any) -> str:
    value = load(text, "json_type")
    if isinstance(value, Number):
        return "DOUBLE" if "." in value else "INTEGER"
    names = ((dict, "OBJECT"), (list, "ARRAY"), (str, "STRING"), (bool, "BOOLEAN"))
    return next((name for type_, name in names if isinstance(value, type_)), "NULL")


def value(text: Any, path: Any) -> str | None:
    """JSON_VALUE: a scalar, unquoted."""
    for one in _at(text, path, "json_value"):
        if isinstance(one, bool):
            return str(int(one))
        if isinstance(one, str):
            return str(one) if isinstance(one, Number) else spoken(one)
        return None
    return None


def contained(text: Any, candidate: Any, path: Any = None) -> int:
    found = _at(text, path, "json_contains")
    wanted = load(candidate, "json_contains", 2)
    return int(bool(found) and contains(found[0], wanted))


def contains(target: Any, candidate: Any) -> bool:
    """Whether ``target`` holds all of ``candidate``, as JSON_CONTAINS means it."""
    if isinstance(target, list):
        wanted = candidate if isinstance(candidate, list) else [candidate]
        return all(any(contains(item, one) for item in target) for one in wanted)
    if isinstance(target, dict) and isinstance(candidate, dict):
        return all(key in target and contains(target[key], one) for key, one in candidate.items())
    if isinstance(target, Number) and isinstance(candidate, Number):
        return float(target) == float(candidate)
    return type(target) is type(candidate) and bool(target == candidate)


def overlaps(first: Any, last: Any) -> int:
    left, right = load(first, "json_overlaps"), load(last, "json_overlaps", 2)
    if isinstance(left, dict) and isinstance(right, dict):
        return int(any(name in right and right[name] == one for name, one in left.items()))
    if isinstance(left, list) or isinstance(right, list):
        mine, theirs = (one if isinstance(one, list) else [one] for one in (left, right))
        return int(any(contains(one, other) and contains(other, one) for one in mine for other in theirs))
    return int(left == right)


def contains_path(text: Any, how: Any, *paths: Any) -> int | None:
    document = load(text, "json_contains_path")
    found = [bool(_found(document, str(path))[0]) for path in paths]
    return {"one": int(any(found)), "all": int(all(found))}.get(str(how).lower())


def exists(text: Any, path: Any) -> int:
    return int(bool(_at(text, path, "json_exists")))


def search(text: Any, how: Any, pattern: Any, escape: Any = None, *paths: Any) -> str | None:
    """JSON_SEARCH: where strings stand that are as a LIKE says."""
    if text is None or how is None or pattern is None:
        return None
    document = load(text, "json_search")
    begins = [found for path in paths or ("$",) for found in _placed(document, str(path))]
    places: list[str] = []

    def look(place: str, one: Any) -> None:
        if not isinstance(one, dict | list) and place not in places:
            shown = spoken(one) if isinstance(one, str) else dump(one)
            if like(shown, str(pattern), str(escape or "\\"), "u"):
                places.append(place)
        for inner, child in _children(place, one):
            look(inner, child)

    for place, one in begins:
        look(place, one)
    if not places:
        return None
    if str(how).lower() == "one" or len(places) == 1:
        return f'"{places[0]}"'
    return "[" + ", ".join(f'"{place}"' for place in places) + "]"


def _placed(document: Any, path: str) -> list[tuple[str, Any]]:
    return list(walk(document, path_of(path)))


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def compact(text: Any) -> str:
    return dump(load(text, "json_compact"), ",", ":")


def loose(text: Any) -> str:
    return dump(load(text, "json_loose"))


def as_double(text: Any) -> float | None:
    """What a found value counts: a string by the number that it begins with, true 1, objects and null 0."""
    document = load(text, "json_extract")
    if isinstance(document, bool):
        return float(document)
    if isinstance(document, Number):
        return float(document)
    found = (
        re.match(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", spoken(document))
        if isinstance(document, str)
        else None
    )
    return float(found[0]) if found else 0.0


def taken_double(text: Any) -> float | None:
    """The number of what a query beneath found, where every plan of that query reads the same."""
    written = str(text)
    if written[:1] == '"' or written in ("true", "false"):
        raise SqlError(
            "NotSupportedError",
            f"The embedded engine does not read {written[:40]}, which another query found in JSON, as a number: take "
            "it with JSON_VALUE there",
        )
    return as_double(text)


def unquotable(text: Any) -> str:
    """What is found, where it is no string."""
    written = str(text)
    if written[:1] == '"':
        raise SqlError(
            "NotSupportedError",
            f"The embedded engine does not compare {written[:40]} with another value of JSON_EXTRACT, as servers do it "
            "in ways of their own: put JSON_UNQUOTE around both",
        )
    return written


def scalar(text: Any) -> str:
    """What a found value is compared as: a string without its quotes."""
    whole = str(text)
    return unquote(whole) if whole[:1] == '"' else whole


def made_of(values: Sequence[Any], kinds: str) -> list[str]:
    """JSON of values: ``j`` is JSON already, ``n`` a number, ``b`` a truth, ``t`` text."""
    found = []
    for one, form in zip(values, kinds, strict=True):
        if one is None:
            found.append("null")
        elif form == "b":
            found.append("true" if one else "false")
        else:
            found.append(str(one) if form in "jn" else quote(str(one)))
    return found


def array(kinds: str, *values: Any) -> str:
    return "[" + ", ".join(made_of(values, kinds)) + "]"


def object_(kinds: str, *values: Any) -> str:
    names, members = values[::2], made_of(values[1::2], kinds)
    return "{" + ", ".join(f"{quote(str(n))}: {m}" for n, m in zip(names, members, strict=True)) + "}"


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json_array": array,
    "json_compact": compact,
    "json_contains": contained,
    "json_contains_path": contains_path,
    "json_depth": depth,
    "json_double": as_double,
    "taken_double": taken_double,
    "json_exists": exists,
    "json_extract": extract,
    "json_keys": keys,
    "json_length": length,
    "json_loose": loose,
    "json_object": object_,
    "json_overlaps": overlaps,
    "json_quote": quote,
    "json_scalar": scalar,
    "json_search": search,
    "json_type": kind,
    "json_unquotable": unquotable,
    "json_unquote": unquote,
    "json_valid": valid,
    "json_value": value,
}
