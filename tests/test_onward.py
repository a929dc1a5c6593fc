"""Nothing twice while nothing new is seen: what is offered, and that circles end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.loop import Rollout
from atlas.policies import Onward
from atlas.protocols import Policy
from atlas.records import STUDENT, Decision, Observation, Task, Turn, View

TASK = Task(id="t", goal="find the key")


class First:
    """Takes the first action that it is offered, as a greedy student that always likes the same best."""

    def __init__(self) -> None:
        self.offered: list[tuple[str, ...]] = []

    async def decide(self, view: View, desk: Desk) -> Decision:
        self.offered.append(view.admissible)
        return Decision(action=view.admissible[0] if view.admissible else "look", actor=STUDENT, reason="solo")

    def config(self) -> dict[str, object]:
        return {"policy": "first"}


class Rooms:
    """Rooms in a row; the key is in the last."""

    def __init__(self, rooms: int) -> None:
        self.task = TASK
        self._rooms = tuple(f"go to room {n}" for n in range(rooms))

    async def open(self) -> Observation:
        return Observation(text="a hall", admissible=self._rooms)

    async def step(self, action: str) -> Observation:
        found = action == self._rooms[-1]
        return Observation(text=f"You {action}.", admissible=self._rooms, done=found, score=float(found))

    async def close(self) -> None: ...


async def played(policy: Policy, rooms: int = 5) -> tuple[int, bool | None]:
    episode = await Rollout(Rooms(rooms), policy, max_steps=20).play()
    return episode.steps, episode.success


async def test_a_student_that_goes_in_circles_gets_out_of_them() -> None:
    assert await played(First()) == (20, False)
    # After each room that is new, those before it once in vain, and then the next.
    assert await played(Onward(First())) == (5 + (1 + 2 + 3 + 4), True)


def view(*turns: tuple[str, str], admissible: tuple[str, ...] = ("a", "b", "c")) -> View:
    told = tuple(Turn(action=action, observation=seen) for action, seen in turns)
    return View(task=TASK, opening="start", turns=told, admissible=admissible)


async def offered(seen: View) -> tuple[str, ...]:
    first = First()
    await Onward(first).decide(seen, Desk())
    return first.offered[0]


async def test_something_new_offers_all_again() -> None:
    assert await offered(view()) == ("a", "b", "c")
    assert await offered(view(("a", "start"))) == ("b", "c")
    assert await offered(view(("a", "start"), ("b", "start"))) == ("c",)
    assert await offered(view(("a", "start"), ("b", "new"))) == ("a", "b", "c")
    assert await offered(view(("a", "start"), ("b", "new"), ("c", "start"))) == ("a", "b")


async def test_where_nothing_is_left_or_nothing_is_listed_all_stays_as_it_is() -> None:
    vain = (("a", "start"), ("b", "start"), ("c", "start"))
    assert await offered(view(*vain)) == ("a", "b", "c")
    assert await offered(view(*vain, admissible=())) == ()
    assert await offered(view(("x", "start"))) == ("a", "b", "c")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["start", "1", "2", "3"])), max_size=12))
async def test_what_is_offered_is_possible_and_never_nothing(turns: list[tuple[str, str]]) -> None:
    left = await offered(view(*turns))
    assert left and set(left) <= {"a", "b", "c"}
    since = max(
        (i for i, (_, seen) in enumerate(turns) if seen not in {"start", *(s for _, s in turns[:i])}), default=-1
    )
    taken = {action for action, _ in turns[since + 1 :]}
    assert set(left) == ({"a", "b", "c"} - taken or {"a", "b", "c"})


def test_it_says_what_it_is() -> None:
    assert Onward(First()).config() == {"policy": "onward", "inner": {"policy": "first"}}
