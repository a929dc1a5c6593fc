"""Questions about a generated incident: a walk over its graph, from an alert that is told of to one to be found."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from atlas.benchmarks.excytin.data import Question
from atlas.benchmarks.excytin.incidents.records import Alert, Attack, Entity

LONGEST = 4
"""Alerts on the shortest path from start to end, both included."""
_SAME = 2
"""Questions at most with the same answer from the same alert."""
_LINKS = ("In the same incident", "As part of the same attack", "Elsewhere in this incident")


@dataclass(frozen=True)
class _Part:
    """Something that can be asked of an entity."""

    name: str
    phrase: str
    table: str = ""
    """The table it stands in, where no alert has it."""
    log: str = ""
    """What the alert's stage must have logged for it to stand there."""


_PARTS: dict[str, tuple[_Part, ...]] = {
    "account": (
        _Part("sid", "security identifier (SID) of the account involved"),
        _Part("object", "Entra ID object id (AadUserId) of the account involved"),
        _Part("upn", "user principal name of the account involved"),
    ),
    "host": (
        _Part("name", "host name of the computer involved"),
        _Part("device", "device id of the computer involved"),
        _Part("public", "public IP address of the computer involved", "DeviceInfo", "any"),
    ),
    "ip": (
        _Part("address", "IP address involved"),
        _Part("agent", "user agent of the sign-in from the IP address involved", "SigninLogs", "signin"),
    ),
    "url": (_Part("url", "URL involved"),),
    "file": (
        _Part("name", "name of the file involved"),
        _Part("sha256", "SHA256 hash of the file involved", "DeviceFileEvents", "file"),
    ),
    "process": (
        _Part("pid", "process id of the process involved"),
        _Part("command", "full command line of the process involved"),
        _Part("parent", "file name of the process that started the process involved", "DeviceProcessEvents", "process"),
    ),
    "mail": (
        _Part("subject", "subject of the message involved"),
        _Part("sender", "sender address of the message involved"),
        _Part("sender_ip", "IP address that the message involved was sent from", "EmailEvents", "email"),
    ),
    "app": (
        _Part("name", "name of the application involved"),
        _Part("id", "application id of the application involved"),
    ),
}


@dataclass(frozen=True)
class _Target:
    start: Alert
    path: tuple[Alert, ...]
    entity: Entity
    part: _Part

    @property
    def end(self) -> Alert:
        return self.path[-1]

    @property
    def answer(self) -> str:
        return self.entity.fields[self.part.name]


def questions(attack: Attack, number: int, count: int, rng: Random) -> list[Question]:
    """At most ``count`` questions of each split, with the benchmark's fields, on the incident called ``number``.

    The start is the only alert of its kind with the entities that the context names, and the end the nearest of its
    kind: a question has one answer. Questions of the splits differ; their answers may not, as in the benchmark.
    """
    targets = sorted(_targets(attack), key=lambda _: rng.random())
    asked: Counter[tuple[int, int, str]] = Counter()
    # Taking turns between the lengths of paths, for most pairs of alerts are near each other.
    by_length: dict[int, deque[_Target]] = {}
    for target in targets:
        by_length.setdefault(len(target.path), deque()).append(target)
    chosen: list[_Target] = []
    while by_length and len(chosen) < 2 * count:
        for length in sorted(by_length):
            target = by_length[length].popleft()
            if not by_length[length]:
                del by_length[length]
            same = (target.end.key, target.entity.key, target.part.name)
            if asked[same] < _SAME:
                asked[same] += 1
                chosen.append(target)
    found: list[Question] = []
    for split, part in (("train", chosen[0::2]), ("test", chosen[1::2])):
        found += [_question(t, number, split, n, rng) for n, t in enumerate(part[:count])]
    return found


def _targets(attack: Attack) -> Iterator[_Target]:
    for start in attack.alerts:
        named = _named(start)
        twins = [a for a in attack.alerts if a.stage is start.stage and named <= {e.key for e in a.entities}]
        if len(twins) != 1:
            continue
        paths = _paths(start, attack.alerts)
        for end, path in paths.items():
            yield from _of_end(attack, start, attack.alerts[end], path, paths)


def _of_end(
    attack: Attack, start: Alert, end: Alert, path: tuple[Alert, ...], paths: dict[int, tuple[Alert, ...]]
) -> Iterator[_Target]:
    alike = [a for a in attack.alerts if a.stage is end.stage and a is not end and a.key in paths]
    if len(path) > LONGEST or any(len(paths[a.key]) <= len(path) for a in alike):
        return
    known = {entity.key for entity in start.entities} if len(path) > 1 else _named(start)
    for entity in end.entities:
        if len(end.of(entity.kind)) > 1 or entity.key in known:
            continue
        for part in _PARTS[entity.kind]:
            if len(path) == 1 and not part.table:
                continue  # It would stand beside what the context tells.
            logged = not part.log or part.log == "any" or part.log in end.stage.logs
            if logged and entity.fields.get(part.name) and entity.fields[part.name] not in start.told:
                yield _Target(start, path, entity, part)


def _named(alert: Alert) -> set[int]:
    return {entity.key for entity in alert.entities if f"`{entity.name}`" in alert.told}


def _paths(start: Alert, alerts: Sequence[Alert]) -> dict[int, tuple[Alert, ...]]:
    """The shortest path to every alert, over shared entities; the alerts' nodes are their indices."""
    found: dict[int, tuple[Alert, ...]] = {start.key: (start,)}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for other in alerts:
            if other.key not in found and _shared(here, other):
                found[other.key] = (*found[here.key], other)
                waiting.append(other)
    return found


def _shared(one: Alert, other: Alert) -> Entity | None:
    keys = {entity.key for entity in other.entities}
    return next((entity for entity in one.entities if entity.key in keys), None)


def _question(target: _Target, number: int, split: str, index: int, rng: Random) -> Question:
    nodes = [target.start.key]
    solution = [_sentence(target.start.told)]
    for before, alert in zip(target.path, target.path[1:], strict=False):
        bridge = _shared(before, alert)
        assert bridge is not None
        nodes += [bridge.key, alert.key]
        solution.append(f"`{bridge.name}` leads to the alert that {alert.hint}.")
    where = f" {target.part.table} shows it." if target.part.table else ""
    solution[-1] = f"{solution[-1]}{where} The {target.part.phrase}: `{target.answer}`."
    if len(target.path) == 1:
        text = f"What is the {target.part.phrase}?"
    else:
        text = f"{rng.choice(_LINKS)}, {target.end.hint}. What is the {target.part.phrase} there?"
    day = f" This was on {target.start.time:%Y-%m-%d}." if rng.random() < 0.5 else ""
    return Question(
        incident=number,
        split=split,
        number=index,
        context=_sentence(target.start.told) + day,
        question=text,
        answer=target.answer,
        solution=tuple(solution),
        start_alert=target.start.key,
        end_alert=target.end.key,
        start_entities=tuple(sorted(_named(target.start))),
        end_entities=(target.entity.key,),
        shortest_alert_path=tuple(nodes),
    )


def _sentence(told: str) -> str:
    return told[0].upper() + told[1:]


def as_file(found: Sequence[Question], split: str) -> str:
    """The questions of a split as the benchmark's files hold them."""
    fields = set(Question.model_fields) - {"incident", "split", "number"}
    return json.dumps([q.model_dump(mode="json", include=fields) for q in found if q.split == split], indent=1)
