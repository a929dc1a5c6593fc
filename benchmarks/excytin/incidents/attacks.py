"""An attack drawn from a shape: which stages it has, who and what takes part, when each alert was raised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from atlas.benchmarks.excytin.incidents.names import Namer, guid, syllables
from atlas.benchmarks.excytin.incidents.records import Alert, Attack, AttackStep, Company, Entity, Shape

_PLACE = re.compile(r"\{(\w+)\}")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{n}.0.{m}.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.{m}",
    "python-requests/2.{n}.{m}",
    "axios/1.{n}.{m}",
)
_COUNTRIES = ("AR", "BR", "CA", "CZ", "FI", "ID", "KE", "MX", "NG", "PT", "RO", "TH", "TR", "UA", "VN", "ZA")


def company(namer: Namer, people: int, computers: int) -> Company:
    """A company with so many accounts and computers."""
    rng = namer.rng
    prefix = namer.word()
    numbers = "-".join(str(rng.randint(10**8, 2 * 10**9)) for _ in range(3))
    made = Company(namer.split, f"{prefix}.example", prefix, namer.guid(), f"S-1-5-21-{numbers}")
    made.people = [_person(namer, made) for _ in range(people)]
    made.computers = [_computer(namer, made, "ws") for _ in range(computers)]
    return made


def attack(shape: str, kind: Shape, within: Company, namer: Namer, number: int, start: datetime) -> Attack:
    """An attack of that kind on the company.

    Its people and computers are taken from the company's, so they have a life in the logs besides the attack; all else
    is the attack's own. Optional stages are left out only where the graph stays connected.
    """
    rng = namer.rng
    branches = rng.randint(*kind.branches)
    stages = _chosen(kind.stages, rng)
    cast = _Cast(kind, within, namer)
    time = start
    alerts: list[Alert] = []
    for stage in stages:
        for branch in range(branches if stage.branches else 1):
            time += timedelta(seconds=rng.randint(120, 5 * 3600), microseconds=rng.randrange(10**6))
            taking = {role: cast.of(role, branch) for role in stage.entities}
            alerts.append(
                Alert(
                    key=len(alerts),
                    stage=stage,
                    id=guid(rng),
                    time=time,
                    told=_told(rng.choice(stage.told), taking),
                    hint=rng.choice(stage.hint),
                    entities=tuple(taking.values()),
                )
            )
    numbered = _numbered(alerts)
    return Attack(shape=shape, title=kind.title, number=number, guid=guid(rng), alerts=numbered)


def _told(text: str, taking: dict[str, Entity]) -> str:
    for role, entity in taking.items():
        text = text.replace("{" + role + "}", f"`{entity.name}`" if entity.kind == "process" else entity.name)
    return text


def _numbered(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """Every entity with its node, counted on from the alerts."""
    keys: dict[int, int] = {}
    found = []
    for alert in alerts:
        own = []
        for entity in alert.entities:
            key = keys.setdefault(id(entity.fields), len(alerts) + len(keys))
            own.append(replace(entity, key=key))
        found.append(replace(alert, entities=tuple(own)))
    return tuple(found)


def _chosen(stages: Sequence[AttackStep], rng: Random) -> list[AttackStep]:
    chosen = list(stages)
    for stage in stages:
        if rng.random() < stage.optional:
            continue
        rest = [one for one in chosen if one is not stage]
        if _connected(rest):
            chosen = rest
    return chosen


def _connected(stages: Sequence[AttackStep]) -> bool:
    reached = set(stages[0].entities)
    open_ = list(stages[1:])
    while joined := [stage for stage in open_ if reached.intersection(stage.entities)]:
        open_ = [stage for stage in open_ if stage not in joined]
        reached.update(role for stage in joined for role in stage.entities)
    return not open_


class _Cast:
    """Who plays which role in an attack."""

    def __init__(self, kind: Shape, within: Company, namer: Namer) -> None:
        self._kind, self._company, self._namer = kind, within, namer
        self._roles: dict[tuple[str, int], Entity] = {}
        self._people = namer.rng.sample(within.people, len(within.people))
        self._computers = namer.rng.sample(within.computers, len(within.computers))

    def of(self, role: str, branch: int) -> Entity:
        place = (role, branch if role.endswith("*") else 0)
        if place not in self._roles:
            self._roles[place] = self._made(role)
        return self._roles[place]

    def _made(self, role: str) -> Entity:
        kind, _, part = role.partition(":")
        namer, rng = self._namer, self._namer.rng
        patterns = self._kind.make.get(role, ())
        if kind == "account":
            if part.startswith("new"):
                return _person(namer, self._company)
            return self._people.pop()
        if kind == "host":
            return _computer(namer, self._company, rng.choice(patterns)) if patterns else self._computers.pop()
        if kind == "ip":
            address = namer.inside() if part.startswith("inner") else namer.outside()
            agent = rng.choice(_AGENTS).format(n=rng.randint(20, 140), m=rng.randint(0, 9_999))
            return Entity("ip", {"address": address, "agent": agent, "country": rng.choice(_COUNTRIES)})
        if kind == "url":
            pattern = rng.choice(patterns) if patterns else "https://{word}.example/{digits}"
            return Entity("url", {"url": namer.fresh(lambda: self._filled(pattern))})
        if kind == "file":
            pattern = rng.choice(patterns) if patterns else "{word}.exe"
            name = namer.fresh(lambda: self._filled(pattern))
            return _file(namer, name)
        if kind == "process":
            image, parent, command = patterns
            image = self._filled(image)
            line = namer.fresh(lambda: self._filled(command))
            pid = namer.fresh(lambda: str(rng.randint(1_000, 60_000)))
            return Entity("process", {"pid": pid, "command": line, "image": image, "parent": self._filled(parent)})
        if kind == "mail":
            pattern = rng.choice(patterns)
            sender = f"{namer.word()}@{namer.word()}.example"
            return Entity(
                "mail",
                {
                    "subject": namer.fresh(lambda: self._filled(pattern)),
                    "sender": sender,
                    "message": namer.guid(),
                    "sender_ip": namer.outside(),
                },
            )
        name = namer.fresh(lambda: self._filled(rng.choice(patterns)) if patterns else syllables(rng).title())
        return Entity("app", {"name": name, "id": namer.guid()})

    def _filled(self, pattern: str) -> str:
        rng = self._namer.rng
        values = {
            "word": lambda: self._namer.word(),
            "org": lambda: self._company.prefix,
            "digits": lambda: str(rng.randint(100, 9_999)),
            "blob": lambda: f"{rng.getrandbits(160):040X}",
        }
        return _PLACE.sub(lambda found: values[found[1]](), pattern)


def _person(namer: Namer, within: Company) -> Entity:
    first, last = namer.person()
    login = f"{first}.{last}".lower()
    return Entity(
        "account",
        {
            "display": f"{first} {last}",
            "login": login,
            "upn": f"{login}@{within.domain}",
            "sid": namer.sid(within.authority),
            "object": namer.guid(),
        },
    )


def _computer(namer: Namer, within: Company, what: str) -> Entity:
    name = namer.fresh(lambda: f"{within.prefix}-{what}{namer.rng.randint(1, 9_999):02}")
    return Entity(
        "host",
        {
            "name": name,
            "fqdn": f"{name}.{within.domain}",
            "device": namer.digest(160),
            "inside": namer.inside(),
            "public": namer.outside(),
        },
    )


def _file(namer: Namer, name: str) -> Entity:
    folder = namer.rng.choice(
        ("C:\\Users\\Public", "C:\\ProgramData", "C:\\Windows\\Temp", "C:\\Users\\Public\\Downloads")
    )
    return Entity("file", {"name": name, "folder": folder, "sha1": namer.digest(160), "sha256": namer.digest(256)})
