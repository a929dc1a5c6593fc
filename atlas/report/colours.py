"""The colours of a run's arms: one each, as long as there are as many, and the same in all that is shown of it."""

from __future__ import annotations

from atlas.traces.account import COLLECT
from atlas.traces.roles import Roles

TEACHER, STUDENT, SUCCESS = 3, 0, 2
"""The colours of who acted, and of how it went, where that is what is drawn."""
FREE = (7, 8, 9, 5, 6, 4, 1, 0, 2, 3)
"""All colours that the style sheet has, those first that no usual arm would have."""


def hues(roles: Roles) -> dict[str, int]:
    """The colour of each arm; those of one name in several groups share it, and so do the points of a curve."""
    names = {arm: role.short(role.base) if role.base else role.name for arm, role in roles.items()}
    stated = {names[arm]: role.hue for arm, role in roles.items() if role.hue is not None}
    given: dict[str, int] = {}
    for name, hue in stated.items():
        if hue in FREE and hue not in given.values():
            given[name] = hue
    # What is no result comes last, and takes no colour from an arm.
    for name in sorted(dict.fromkeys(names.values()), key=lambda name: name == COLLECT):
        if name not in given:
            left = [hue for hue in FREE if hue not in given.values()]
            given[name] = left[0] if left else FREE[len(given) % len(FREE)]
    return {arm: given[name] for arm, name in names.items()}
