"""The rule by which success is found to have dropped, to have recovered, or not to be the teacher's to mend."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.standing import KEPT, LONGEST, REST, TAUGHT, TRIED, Change, Standing, shown


def fold(
    outcomes: list[bool], expected: float = 0.5, lane: str = "", now: Standing | None = None
) -> tuple[Standing, list[tuple[int, Change]]]:
    standing, changes = now or Standing(), []
    for place, success in enumerate(outcomes, 1):
        standing, change = standing.after(success, lane, expected)
        if change is not None:
            changes.append((place, change))
    return standing, changes


def drawn(rng: random.Random, chance: float, count: int) -> list[bool]:
    return [rng.random() < chance for _ in range(count)]


def test_an_agent_that_never_succeeds_is_low_within_a_few_episodes() -> None:
    standing, changes = fold([False] * 20)
    assert [(place, change.turned) for place, change in changes] == [(7, "dropped")]
    assert standing.raised and changes[0][1] == Change(turned="dropped", episodes=7, succeeded=0, level=0.5)


def test_a_drop_is_measured_by_what_was_shown_before_it() -> None:
    """40 % is fine for who expects nothing and never did better; not for one that did."""
    rng = random.Random(1)
    _, always = fold(drawn(rng, 0.4, 100), expected=0.0)
    _, fallen = fold([*drawn(rng, 0.95, 80), *drawn(rng, 0.4, 40)], expected=0.0)
    assert not always
    ((place, change),) = fallen
    assert 80 < place <= 100 and change.level > 0.7


def test_success_that_keeps_to_its_level_is_rarely_called_low() -> None:
    """At the very level: 100 episodes or more to a false alarm on average. Above it, hardly ever."""
    rng = random.Random(2)

    def first(chance: float, most: int) -> int:
        _, changes = fold(drawn(rng, chance, most))
        return changes[0][0] if changes else most

    at = [first(0.5, 400) for _ in range(60)]
    assert sum(at) / len(at) >= 90
    assert sum(first(0.9, 200) < 200 for _ in range(60)) <= 6


def test_a_bound_on_what_was_shown_holds_after_every_episode() -> None:
    rng = random.Random(3)
    missed = 0
    for _ in range(200):
        ones, over = 0, False
        for n, won in enumerate(drawn(rng, 0.7, 150), 1):
            ones += won
            over = over or shown(ones, n) > 0.7
        missed += over
    assert missed / 200 <= 0.02
    assert shown(0, 50) == 0.0 and 0.9 < shown(200, 200) < 1.0


def test_the_student_is_tried_less_and_less_while_it_fails_and_ever_more_while_it_does_not() -> None:
    low, _ = fold([False] * 7)
    failing, _ = fold([False] * 6, lane=TRIED, now=low)
    assert (low.rest, failing.rest, failing.low) == (REST, LONGEST, True)
    once, _ = fold([True], lane=TRIED, now=low)
    assert once.rest == REST // 2
    # Others that were under way when it dropped say as much of the student, and nothing of when to try it.
    assert fold([False] * 6, lane="", now=low)[0].rest == REST
    standing, changes = fold([True] * 10, lane=TRIED, now=low)
    assert changes[0][1].turned == "recovered" and changes[0][0] <= 5 and not standing.low


def test_half_of_what_was_lost_has_to_be_shown_and_no_less() -> None:
    """Below halfway a student does not recover by luck; nothing flaps."""
    low, _ = fold([False] * 7)
    rng = random.Random(4)
    fell_back = 0
    for _ in range(40):
        _, changes = fold(drawn(rng, low.half - 0.1, 100), lane=TRIED, now=low)
        fell_back += bool(changes)
    assert fell_back <= 4


def test_a_teacher_that_does_no_better_is_not_asked_for_ever() -> None:
    low, _ = fold([False] * 7)
    helpless, changes = fold([False] * 30, lane=TAUGHT, now=low)
    assert [change.turned for _, change in changes] == ["helpless"] and changes[0][0] <= 10
    assert helpless.low and not helpless.raised
    # Nothing more is said while nothing gets better; and when it does, what is expected is what it shows.
    still, quiet = fold([False] * 300, now=helpless)
    assert not quiet and still.low
    well, back = fold([True] * 12, now=still)
    assert [change.turned for _, change in back] == ["recovered"] and well.relative
    assert not fold([True] * 40, now=well)[0].relative


def test_a_teacher_below_the_level_that_is_better_than_the_student_goes_on() -> None:
    low, _ = fold([False] * 7)
    rng = random.Random(5)
    assert fold(drawn(rng, 0.4, 150), lane=TAUGHT, now=low)[0].raised


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["", TAUGHT, TRIED, "coach"])), max_size=120), st.floats(0, 0.9)
)
def test_a_standing_is_what_it_was_after_a_restart(episodes: list[tuple[bool, str]], expected: float) -> None:
    standing, kept = Standing(), Standing()
    turned = 0
    for success, lane in episodes:
        standing, change = standing.after(success, lane, expected)
        kept, same = Standing.model_validate_json(kept.model_dump_json()).after(success, lane, expected)
        assert (standing, change) == (kept, same)
        turned += change is not None
        assert len(standing.seen) <= KEPT and 0 <= standing.rest <= LONGEST
    # Each change needs evidence of its own: at least a few episodes.
    assert turned <= len(episodes) / 3


@pytest.mark.parametrize("chance", [0.3, 0.45, 0.55, 0.8])
def test_nothing_flaps(chance: float) -> None:
    """A thousand episodes of one and the same student, taught as the rule says, by a teacher that is good."""
    rng = random.Random(6)
    standing, since, turned = Standing(), 0, 0
    for _ in range(1000):
        lane = ""
        if standing.raised:
            lane = TRIED if since >= standing.rest else TAUGHT
            since = 0 if lane == TRIED else since + 1
        standing, change = standing.after(rng.random() < (0.95 if lane == TAUGHT else chance), lane, 0.5)
        turned += change is not None
    assert turned <= 8
