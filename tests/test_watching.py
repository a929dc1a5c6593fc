"""What a watch remembers of episodes saves time, and changes no decision."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.policies import Solo, watching
from atlas.policies.triggers import REFUSALS, Errors, Loop, Stall, Trigger
from atlas.policies.watch import Watch
from atlas.records import Task, Turn, View
from atlas.testing import ScriptedModel

# --- the method, written as plainly as possible -----------------------------------------------------------------------


def fires(trigger: Trigger, view: View, since: int) -> bool:
    turns = view.turns[since:]
    if isinstance(trigger, Loop):
        for period in range(1, trigger.longest + 1):
            length = max(trigger.turns, 2 * period)
            last = [(turn.action, turn.observation) for turn in turns[-length:]]
            if len(turns) >= length and all(last[i] == last[i - period] for i in range(period, length)):
                return True
        return False
    if isinstance(trigger, Errors):
        refused = [bool(REFUSALS.match(turn.observation)) for turn in turns[-trigger.turns :]]
        return len(refused) == trigger.turns and all(refused)
    if isinstance(trigger, Stall):
        if len(turns) < trigger.turns or (isinstance(trigger, LateStall) and view.index % 2 == 0):
            return False
        seen = [view.opening, *(turn.observation for turn in view.turns)]
        return all(seen[i] in seen[:i] for i in range(len(seen) - trigger.turns, len(seen)))
    return trigger.fires(view, since)


def sign(view: View, triggers: Sequence[Trigger], steps: int, rest: int) -> str | None:
    """Every decision from the first turn on, each with all the turns before it."""
    seen = {view.opening}
    since, failed, held = 0, 0, 0
    found: str | None = None
    for index in range(view.index + 1):
        past = view.replace(turns=view.turns[:index])
        if index:
            newest = view.turns[index - 1].observation
            if newest not in seen:
                failed = 0
            seen.add(newest)
        if held:
            since, held = index + 1, held - 1
            continue
        rested = not failed or index - since >= rest * 2 ** (failed - 1)
        found = next((t.name for t in triggers if fires(t, past, since)), None) if rested else None
        if found is not None:
            since, failed, held = index + 1, failed + 1, steps - 1
    return found


# --- the same decisions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waits:
    """Somebody else's trigger: as many waits as told, anywhere since the teacher acted."""

    times: int = 2
    name: str = "waits"

    def fires(self, view: View, since: int) -> bool:
        return sum(turn.action == "wait" for turn in view.turns[since:]) >= self.times

    def config(self) -> dict[str, object]:
        return {"trigger": self.name, "times": self.times}


class LateStall(Stall):
    """Somebody else's trigger, made from one of ours."""

    def fires(self, view: View, since: int) -> bool:
        return view.index % 2 == 1 and super().fires(view, since)


def watch(triggers: Sequence[Trigger], steps: int = 1, rest: int = 4) -> Watch:
    return Watch(Solo(ScriptedModel([])), ScriptedModel([]), triggers=triggers, steps=steps, rest=rest)


def turn(words: tuple[str, str]) -> Turn:
    return Turn(action=words[0], observation=words[1])


TURN = st.tuples(st.sampled_from(["wait", "go"]), st.sampled_from(["x", "y", "Error: z", "room"])).map(turn)
TRIGGERS = st.lists(
    st.one_of(
        st.builds(Loop, turns=st.integers(1, 4), longest=st.integers(1, 4)),
        st.builds(Errors, turns=st.integers(1, 3)),
        st.builds(Stall, turns=st.integers(1, 6)),
        st.builds(LateStall, turns=st.integers(1, 4)),
        st.builds(Waits, times=st.integers(1, 4)),
    ),
    min_size=1,
    max_size=3,
)
# One of a few episodes, and what happens to it: some turns more (looked at one by one or after
# all of them), another end from some turn on, the same once more, or the same in objects of its own.
EVENT = st.tuples(
    st.integers(0, 3), st.sampled_from(["step", "leap", "fork", "again", "copy"]), st.lists(TURN, max_size=6)
)


@given(TRIGGERS, st.integers(1, 3), st.integers(0, 4), st.lists(EVENT, max_size=30), st.integers(1, 60))
@settings(deadline=None)
def test_the_decisions_are_those_of_going_through_every_turn_at_every_step(
    triggers: list[Trigger], steps: int, rest: int, events: list[tuple[int, str, list[Turn]]], kept: int
) -> None:
    watched = watch(triggers, steps, rest)
    episodes: list[tuple[Turn, ...]] = [()] * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "KEPT", kept)
        for number, what, more in events:
            turns = episodes[number]
            if what == "fork":
                turns = turns[: len(turns) // 2]
            elif what == "copy":
                turns = tuple(turn((one.action, one.observation)) for one in turns)
            ends = range(1, len(more) + 1) if what == "step" else [0 if what == "again" else len(more)]
            for end in ends:
                # Two of the four begin alike, as two episodes of one task do.
                now = View(task=Task(id=str(number // 2), goal="g"), opening="room", turns=(*turns, *more[:end]))
                episodes[number] = now.turns
                assert watched.sign(now) == sign(now, triggers, steps, rest)


def test_threads_that_share_a_watch_get_each_its_own_decisions() -> None:
    triggers: list[Trigger] = [Loop(), Errors(), Stall(), Waits(7)]
    watched = watch(triggers)
    wrong: list[object] = []

    def play(number: int) -> None:
        turns: tuple[Turn, ...] = ()
        for index in range(120):
            turns = (*turns, turn(("wait" if index % (number + 2) else "go", "xyz"[index * number % 3])))
            now = View(task=Task(id="t", goal="g"), opening="room", turns=turns)
            if watched.sign(now) != sign(now, triggers, 1, 4):
                wrong.append((number, index))

    threads = [threading.Thread(target=play, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong


# --- the price of a decision ------------------------------------------------------------------------------------------


class Counted(Waits):
    """Counts how often it is asked."""

    calls = 0

    def fires(self, view: View, since: int) -> bool:
        type(self).calls += 1
        return False


@pytest.mark.parametrize("lanes", [1, 5])
def test_a_trigger_is_asked_once_a_step_however_long_the_episodes_are(lanes: int) -> None:
    Counted.calls = 0
    watched = watch([Counted()])
    turns: list[tuple[Turn, ...]] = [()] * lanes
    for index in range(300):
        for lane in range(lanes):
            watched.sign(View(task=Task(id="t", goal="g"), opening="room", turns=turns[lane]))
            turns[lane] = (*turns[lane], turn(("go", f"{lane} {index}")))
    assert Counted.calls == 300 * lanes


class Read(tuple[Any, ...]):
    """Turns that count how many of them are looked at."""

    looked = 0

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        Read.looked += len(found) if isinstance(key, slice) else 1
        return found

    def __iter__(self) -> Any:
        Read.looked += len(self)
        return tuple.__iter__(self)


@pytest.mark.parametrize("trigger", [Loop(), Errors()])
def test_a_trigger_looks_at_no_more_turns_than_its_sign_needs(trigger: Trigger) -> None:
    def looked(length: int) -> int:
        turns = Read(turn(("go", f"room {index}")) for index in range(length))
        Read.looked = 0
        assert not trigger.fires(View(task=Task(id="t", goal="g"), opening="room").replace(turns=turns), 0)
        return Read.looked

    assert looked(1_000) == looked(20)


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "KEPT", 50)
    watched = watch([Loop()])
    for number in range(100):
        for length in range(4):
            turns = (turn(("go", "on")),) * length
            watched.sign(View(task=Task(id=str(number), goal="g"), opening="room", turns=turns))
    kept = [course for alike in watched._watching._kept.values() for course in alike]
    assert 0 < sum(course.followed for course in kept) == watched._watching._turns <= 50
