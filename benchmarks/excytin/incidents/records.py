"""What a generated incident consists of: a company, attacks on it, and the graph of alerts and entities of each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources

from atlas.benchmarks.excytin.incidents.names import Split
from atlas.records import Record

_PRODUCTS = {
    "office": ("OATP", "Microsoft Defender for Office 365", "Microsoft 365 Defender"),
    "endpoint": ("MDATP", "Microsoft Defender for Endpoint", "EDR"),
    "identity": ("AATP", "Microsoft Defender for Identity", "Microsoft Defender for Identity"),
    "signin": ("IPC", "Microsoft Entra ID Protection", "AAD Identity Protection"),
    "cloud": ("MCAS", "Microsoft Defender for Cloud Apps", "Cloud App Security"),
}


class AttackStep(Record):
    """A step of an attack and the alert that it raises; see ``resources/attacks.toml``."""

    title: str
    description: str
    product: str
    severity: str
    tactic: str
    technique: str
    entities: tuple[str, ...]
    told: tuple[str, ...]
    hint: tuple[str, ...]
    logs: tuple[str, ...]
    optional: float = 1.0

    @property
    def provider(self) -> str:
        return _PRODUCTS[self.product][0]

    @property
    def service(self) -> str:
        return _PRODUCTS[self.product][1]

    @property
    def detection(self) -> str:
        return _PRODUCTS[self.product][2]

    @property
    def branches(self) -> bool:
        """Whether it happens once per branch of the attack."""
        return any(name.endswith("*") for name in self.entities)


class Shape(Record):
    """A kind of attack."""

    title: str
    branches: tuple[int, int]
    make: dict[str, tuple[str, ...]]
    stages: tuple[AttackStep, ...]


@dataclass(frozen=True)
class Entity:
    """An account, a computer, an address... ``fields`` holds what is known of it somewhere in the tables."""

    kind: str
    fields: dict[str, str]
    key: int = 0
    """Its node in the graph; 0 before it has one."""

    @property
    def name(self) -> str:
        """What a text calls it by."""
        return self.fields[_NAMES[self.kind]]


_NAMES = {
    "account": "upn",
    "host": "name",
    "ip": "address",
    "url": "url",
    "file": "name",
    "process": "pid",
    "mail": "subject",
    "app": "name",
}


@dataclass(frozen=True)
class Alert:
    """A node of the graph, with the entities that it is linked to."""

    key: int
    stage: AttackStep
    id: str
    time: datetime
    told: str
    hint: str
    entities: tuple[Entity, ...]

    def of(self, kind: str) -> list[Entity]:
        return [entity for entity in self.entities if entity.kind == kind]

    def first(self, kind: str) -> Entity | None:
        return next(iter(self.of(kind)), None)


@dataclass(frozen=True)
class Attack:
    """One incident as the company's tools see it."""

    shape: str
    title: str
    number: int
    guid: str
    alerts: tuple[Alert, ...]


@dataclass
class Company:
    """The company whose logs are looked at."""

    split: Split
    domain: str
    prefix: str
    tenant: str
    authority: str
    """What the security identifiers of its accounts begin with."""
    people: list[Entity] = field(default_factory=list)
    computers: list[Entity] = field(default_factory=list)


@cache
def shapes() -> dict[str, Shape]:
    """The attacks by name, read once."""
    return {name: Shape.model_validate(content) for name, content in tomllib.loads(_resource("attacks.toml")).items()}


@cache
def tables() -> dict[str, tuple[str, ...]]:
    """Columns by table."""
    return {name: tuple(columns.split()) for name, columns in tomllib.loads(_resource("tables.toml")).items()}


def _resource(name: str) -> str:
    return resources.files("atlas.benchmarks.excytin").joinpath("resources", name).read_text("utf-8")
