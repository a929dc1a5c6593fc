"""What the arms of a run are to each other: written beside the run's settings when it begins, and read by all that tell
of it. Nobody has to make it out from their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from atlas.errors import StoreError
from atlas.given import Given
from atlas.traces import roles_before
from atlas.traces.reader import Run

ROLES = "roles"
"""Where they stand in what ``run.json`` tells about a run."""
TEACHER, STUDENT = "teacher", "student"
CASCADES = ("cascade", "watch")
"""Kinds of arms in which the teacher acts where the student is not trusted, the plain one first."""


class Role(Given):
    """An arm. Other arms are named as they stand in the trace, with their group."""

    group: str = ""
    """Arms of one group have one student."""
    name: str
    """Without the group."""
    says: str = ""
    """What it is, for readers."""
    kind: str = ""
    """See :attr:`atlas.benchmarks.arm.Arm.kind`."""
    base: str = ""
    """The arm of whose learning curve this is a point; empty for arms that are none."""
    demos: int = 0
    """How many demonstrations a point of a learning curve has."""
    bare: str = ""
    """The same without demonstrations."""
    control_of: str = ""
    """The arm whose control this is."""
    trust: str = ""
    """What the student is trusted by, where the arm's name states it: the name of a :class:`atlas.trust.Trust`."""
    family: str = ""
    """Without the group, what arms have in common that differ in trust and number of demonstrations alone."""
    grows: bool = False
    """Whether its memory starts empty and grows while it serves."""
    hue: int | None = None
    """The colour that it would have."""

    def short(self, arm: str) -> str:
        """The name of an ``arm`` of the same group, without the group."""
        return arm.removeprefix(f"{self.group}/") if self.group else arm


Roles = Mapping[str, Role]
"""By the names of the arms in the trace."""


def written(roles: Roles) -> dict[str, Any]:
    """As they are written beside the settings."""
    return {ROLES: {arm: role.model_dump(mode="json", exclude_defaults=True) for arm, role in roles.items()}}


def recorded(run: Run) -> dict[str, Role]:
    """The roles that stand in ``run.json``: none in a run that does not tell."""
    told = (run.manifest.get("about") or {}).get(ROLES) or {}
    try:
        return {arm: Role.model_validate(role) for arm, role in told.items()}
    except (AttributeError, ValidationError) as error:
        raise StoreError(f"the {ROLES} in {run.path} cannot be read: mend or remove them") from error


def roles_of(run: Run, arms: Iterable[str]) -> dict[str, Role]:
    """The roles of ``arms``, as they stand in the trace of ``run``."""
    told = recorded(run)
    return {arm: told.get(arm) or named(arm) for arm in dict.fromkeys(arms)}


def named(arm: str) -> Role:
    """The role of an arm that stands in no ``run.json``: of a run from before there were roles, or of no bench. Nothing
    else is made out from a name."""
    return Role.model_validate(roles_before.told(arm))


def by_name(arms: Iterable[str]) -> dict[str, Role]:
    """:func:`named` for each of ``arms``."""
    return {arm: named(arm) for arm in dict.fromkeys(arms)}


def leading(arms: Iterable[str], roles: Roles) -> str | None:
    """Of the ``arms`` of one group the one that the run is about: the cascade, plain rather than watched, with
    demonstrations rather than without, by unanimity rather than by a threshold; else the last that is neither a control
    nor what others are measured by (the teacher, the student alone, an arm without the demonstrations of another)."""
    known = list(arms)
    cascades = [arm for arm in known if roles[arm].kind in CASCADES and not roles[arm].control_of]
    if cascades:
        return min(cascades, key=lambda arm: _plainness(roles[arm]))
    bare = {roles[arm].bare for arm in known}

    def measures(arm: str) -> int:
        role = roles[arm]
        if role.control_of:
            return 3
        return 2 if role.kind == STUDENT or arm in bare else int(role.kind == TEACHER)

    # Of several that are alike, the last.
    return min(reversed(known), key=measures, default=None)


def _plainness(role: Role) -> tuple[int, bool, bool]:
    return CASCADES.index(role.kind), not role.bare, bool(role.trust)
