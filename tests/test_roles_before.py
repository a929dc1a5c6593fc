"""The roles of runs that tell none: made out from names as their arms are told of today."""

from __future__ import annotations

import pytest

from atlas.benchmarks.arms import ARMS, played
from atlas.errors import ConfigError
from atlas.traces.roles import Role, named
from atlas.traces.roles_before import ARMS as BEFORE


@pytest.mark.parametrize("group", ["", "student-a", "a/b"])
@pytest.mark.parametrize("name", sorted(BEFORE))
def test_a_name_of_before_has_the_role_that_its_arm_has_today(name: str, group: str) -> None:
    spelled = [f"{name}{trust}{count}" for trust in ("", ":0.80", ":votes+judge:never") for count in ("", "@5", "@0")]
    for arm in spelled:
        found = named(f"{group}/{arm}" if group else arm)
        try:
            today = played(arm).role(group)
        except ConfigError:  # no bench has played it, such as teacher@5
            assert (found.says, found.kind, found.control_of, found.trust, found.family) == ("",) * 5, arm
        else:
            assert found == today, arm


def test_every_arm_of_before_can_still_be_played() -> None:
    assert len(BEFORE) == 22 and set(BEFORE) <= set(ARMS)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("mine", Role(name="mine")),
        ("a/mine:0.8", Role(group="a", name="mine:0.8")),
        ("a/mine@5", Role(group="a", name="mine@5", base="a/mine", demos=5)),
        ("cascade:2", Role(name="cascade:2")),
        ("cascade:tea-leaves:0.5", Role(name="cascade:tea-leaves:0.5")),
        ("cascade:votes+votes:0.5@5", Role(name="cascade:votes+votes:0.5@5", base="cascade:votes+votes:0.5", demos=5)),
    ],
)
def test_of_other_names_only_how_they_are_made_up_is_told(name: str, role: Role) -> None:
    assert named(name) == role
