"""Nothing done twice while nothing new is seen: a student that goes in circles by itself is led out of them."""

from __future__ import annotations

from collections.abc import Collection

from atlas.asking import Desk
from atlas.given import check_policy
from atlas.protocols import Policy
from atlas.records import Decision, View


class Onward:
    """Offers ``inner`` the actions that were not taken since it last saw something new: ``Onward(Solo(student))``.

    Small models repeat themselves, and a greedy one that comes back to a prompt like one before does the same again to
    the end of the episode. Something new is an observation whose text did not stand in the episode before: after it all
    actions are offered again, as the world may have changed. Where every possible action was taken, all are offered. It
    is for environments that list what is possible, and a student that writes freely may name what is not offered.

    It needs no teacher; :class:`~atlas.policies.watch.Watch` asks one. What is offered follows from the view alone, so
    one policy serves any number of episodes at once.
    """

    def __init__(self, inner: Policy) -> None:
        check_policy("what Onward is around", inner)
        self.inner = inner

    async def decide(self, view: View, desk: Desk) -> Decision:
        taken = taken_in_vain(view)
        left = tuple(action for action in view.admissible if action not in taken)
        if left and len(left) < len(view.admissible):
            view = view.replace(admissible=left)
        return await self.inner.decide(view, desk)

    def config(self) -> dict[str, object]:
        return {"policy": "onward", "inner": self.inner.config()}


def taken_in_vain(view: View) -> Collection[str]:
    """The actions since the last observation that was new in its episode, that one's own left out."""
    seen, taken = {view.opening}, set[str]()
    for turn in view.turns:
        if turn.observation in seen:
            taken.add(turn.action)
        else:
            seen.add(turn.observation)
            taken.clear()
    return taken
