"""The roles of a run's arms, from their records; and for runs of before there were roles, from their names."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.benchmarks.arm import Played
from atlas.benchmarks.arms import ARMS, played
from atlas.errors import ConfigError
from atlas.traces.reader import Run
from atlas.traces.roles import Role, recorded


def role_of(arm: Played, group: str = "") -> Role:
    """What ``arm`` is in a run whose arms stand in ``group``."""

    def exact(name: str) -> str:
        return f"{group}/{name}" if group and name else name

    point = arm.count is not None
    return Role(
        group=group,
        name=arm.name,
        says=arm.arm.says,
        kind=arm.arm.kind,
        base=exact(arm.name.partition("@")[0]) if point else "",
        demos=arm.count or 0,
        bare=exact(arm.arm.bare),
        control_of=exact(arm.control_of),
        trust=arm.trust.name if arm.trust is not None and arm.arm.samples else "",
        family=arm.arm.name,
        grows=arm.arm.grows,
        hue=arm.arm.hue,
    )


def roles_of(run: Run, arms: Iterable[str]) -> dict[str, Role]:
    """The roles of ``arms``, as they stand in the trace of ``run``."""
    told = recorded(run)
    return {arm: told.get(arm) or named(arm) for arm in dict.fromkeys(arms)}


def named(arm: str) -> Role:
    """The role of an arm that stands in no ``run.json``: of a run of before there were roles, or of no bench. It is the
    only place that makes anything out from a name, and knows the built-in arms alone."""
    group, _, name = arm.rpartition("/")
    base, at, count = name.rpartition("@")
    point = bool(at and base) and count.isdecimal()
    if (base if point else name).partition(":")[0] in ARMS:
        try:
            return role_of(played(name), group)
        except ConfigError:
            pass  # such as teacher@5, which no bench has played
    return Role(group=group, name=name, base=arm.rpartition("@")[0] if point else "", demos=int(count) if point else 0)


def by_name(arms: Iterable[str]) -> dict[str, Role]:
    """:func:`named` for each of ``arms``."""
    return {arm: named(arm) for arm in dict.fromkeys(arms)}
