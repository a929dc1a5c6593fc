"""Which of several answers is taken, and when no further tier is asked: what is read, learned and kept."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.chances.attempt import BESIDE, OWN, Attempt, answer_in, beside
from atlas.chances.measure import agreed, chain_row, foretold, play
from atlas.chances.selector import Case, Selector, Tried, learn
from atlas.errors import ConfigError, DataError
from atlas.records import Turn
from atlas.stats.logistic import Logistic, fit

GOAL = "A password spray was seen on host web-1. What is the IP address of the spray?"


def attempt(answer: str | None, *seen: str, thought: str = "", goal: str = GOAL) -> Attempt:
    turns = [
        Turn(action=f"execute[SELECT * FROM SignIns WHERE n = {i}]", observation=text) for i, text in enumerate(seen)
    ]
    return Attempt.of_turns(goal, turns, answer, thought)


def test_a_grounded_answer_of_the_right_kind_reads_so() -> None:
    found = attempt("It is 10.0.0.9.", "[]", "[('web-1', 'password spray', '10.0.0.9')]").figures
    assert found["grounded"] == found["grounded_last"] == found["kind_exact"] == found["kind_fits"] == 1.0
    assert found["row_things"] == 1.0, "the host of the question stands in the row of the answer"
    assert found["empty"] == 0.5 and found["last_bad"] == 0.0


def test_an_invented_answer_and_one_of_another_kind_read_so() -> None:
    invented = attempt("10.0.0.7", "[('web-1', '10.0.0.9')]").figures
    assert invented["grounded"] == 0.0 and invented["kind_exact"] == 1.0
    other = attempt("laylaw@shop.example", "[('laylaw@shop.example',)]").figures
    assert other["kind_wrong"] == 1.0 and other["grounded"] == 1.0


def test_silence_doubt_and_refusals_are_seen() -> None:
    none = attempt(None, "ProgrammingError: Unknown column 'X' in 'field list'")
    assert none.silent and none.figures["answered"] == 0.0 and none.figures["errors"] == none.figures["last_bad"] == 1.0
    assert attempt("The address could not be determined from the logs.").silent
    assert attempt("10.0.0.9", thought="This is likely the one.").figures["doubt"] == 1.0


def test_names_of_columns_are_no_evidence() -> None:
    turn = Turn(action="execute[DESCRIBE SignIns]", observation="[('IP_10.0.0.9', 'text')]")
    assert Attempt.of_turns(GOAL, [turn], "10.0.0.9").evidence == []


def test_answers_are_compared_by_what_they_name() -> None:
    ours = attempt("The IP address is 10.0.0.9.", "[('10.0.0.9',)]")
    theirs = attempt("10.0.0.9", "[('10.0.0.9', 'x')]")
    found = beside(ours, [theirs, attempt("no records were found")])
    assert found["others_same"] == 1.0 and found["others_same_mean"] == 0.5 and found["others_saw"] == 1.0
    assert found["others_nothing"] == 0.5 and found["tiers"] == 3.0
    assert beside(ours, [])["others_same"] == 0.0


@given(st.text(max_size=200), st.lists(st.text(max_size=80), max_size=4), st.none() | st.text(max_size=80))
def test_any_text_can_be_read(goal: str, seen: list[str], answer: str | None) -> None:
    found = attempt(answer, *seen, goal=goal)
    assert found.figures.keys() <= set(OWN) and all(np.isfinite(v) for v in found.figures.values())
    assert set(beside(found, [found])) == set(BESIDE)


def test_an_answer_is_found_in_the_action_that_gives_it() -> None:
    assert answer_in("submit[`10.0.0.9`]") == "10.0.0.9"
    assert answer_in("finish(done)") == "done"
    assert answer_in("execute[SELECT 1]") is None
    assert answer_in("ANSWER: 7", r"answer:(.*)") == "7"


# --- the regression ---------------------------------------------------------------------------------------------------


def test_the_regression_finds_the_rate_of_a_share() -> None:
    found = fit([{}, {}, {}, {}], [1.0, 0.4, 0.0, 0.2], ["x"], penalty=1.0)
    assert found.weights == (0.0,)
    assert found.chance({}) == pytest.approx(0.4, abs=1e-3)


@given(st.integers(0, 10_000))
def test_the_regression_is_at_the_minimum_of_its_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 2)), rng.uniform(size=30)
    found = fit([{"a": a, "b": b} for a, b in x], list(y), ["a", "b"], penalty=2.0)

    def loss(weights: np.ndarray, bias: float) -> float:
        z = (x - found.centre) / np.array(found.spread) @ weights + bias
        return float((np.logaddexp(0, z) - y * z).sum() + (weights**2).sum() + 0.0005 * bias**2)

    best = loss(np.array(found.weights), found.bias)
    for _ in range(5):
        step = rng.normal(size=3) * 0.05
        assert loss(np.array(found.weights) + step[:2], found.bias + step[2]) >= best - 1e-9


def test_what_separates_perfectly_stays_finite() -> None:
    found = fit([{"x": float(i)} for i in range(10)], [float(i > 4) for i in range(10)], ["x"], penalty=0.1)
    assert found.chance({"x": 9.0}) > 0.9 > 0.1 > found.chance({"x": 0.0})
    assert Logistic.model_validate_json(found.model_dump_json()) == found


# --- selectors --------------------------------------------------------------------------------------------------------


def cases(count: int = 80) -> list[Case]:
    """Two tiers, each right on other questions; a right answer was observed, a wrong one mostly was not."""
    rng = random.Random(7)
    found = []
    for number in range(count):
        tried = []
        for tier, rate in ((0, 0.4), (1, 0.5)):
            right = rng.random() < rate
            seen = right if rng.random() < 0.9 else not right
            address = f"10.{tier}.{number}.9"
            rows = f"[('web-1', 'password spray', '{address}')]" if seen else "[('web-1', 'nothing of that kind')]"
            tried.append(Tried(attempt(address, rows), float(right), (0.01, 0.1)[tier]))
        found.append(Case(f"q{number}", f"incident {number % 4}", tuple(tried)))
    return found


def test_a_selector_takes_the_grounded_answer_and_stops_there(tmp_path: Path) -> None:
    made = learn(cases(), ("small", "large"), threshold=0.5, learned_from="runs/x")
    good, bad = (
        attempt("10.0.0.1", "[('web-1', 'password spray', '10.0.0.1')]"),
        attempt("10.0.0.2", "[('web-1', 'no')]"),
    )
    assert made.settle([good]).stop and not made.settle([bad]).stop
    both = made.settle([good, bad])
    assert both.best == 0 and both.stop, "the last tier has answered: nobody else is there"
    assert made.settle([bad, good]).best == 1
    assert not made.replace(threshold=None).settle([good]).stop
    path = tmp_path / "selector.json"
    made.save(path)
    assert Selector.load(path) == made
    assert Selector.load(path).settle([bad, good]) == made.settle([bad, good])


def test_a_selecting_cascade_is_measured_beside_its_controls() -> None:
    found = cases()
    row = chain_row(found, foretold(found, ("small", "large")), 0.5)
    assert row.score.mean > row.single_score.mean and row.gain.low > 0
    assert row.over_routing.mean > 0 and row.over_picking.mean > 0
    assert row.score.mean <= row.oracle
    assert row.asked[0] == 1.0 and 0.0 < row.asked[1] < 1.0
    assert row.dollars is not None and row.dollars.mean == pytest.approx(0.01 + 0.1 * row.asked[1])
    everyone = chain_row(found, foretold(found, ("small", "large")), None)
    assert everyone.asked == (1.0, 1.0)
    part = chain_row(found, foretold(found, ("small", "large")), 0.5, only={"incident 1"})
    assert part.tasks == 20


def test_what_a_task_is_decided_by_was_not_learned_from_its_group() -> None:
    found = cases()
    selectors = foretold(found, ("small", "large"))
    changed = [c if c.group != "incident 2" else Case(c.task, c.group, tuple(Tried(t.attempt, 0.3) for t in c.tried))
               for c in found]  # fmt: skip
    again = foretold(changed, ("small", "large"))
    assert selectors["q2"] == again["q2"] and selectors["q1"] != again["q1"]


def test_agreement_stops_where_an_answer_comes_twice() -> None:
    def case(*answers: str) -> Case:
        return Case("q", "g", tuple(Tried(attempt(a), 0.0) for a in answers))

    assert agreed(case("a", "b", "a"))[:2] == (3, 2)
    assert agreed(case("a", "A", "c"))[:2] == (2, 1)
    assert agreed(case("", "", "c"))[:2] == (3, 2)


def test_play_asks_no_more_than_it_needs() -> None:
    found = cases()
    made = learn(found, ("small", "large"))
    assert {play(made.replace(threshold=0.0), case).asked for case in found} == {1}
    assert {play(made, case).asked for case in found} == {2}


def test_marks_are_figures_of_their_own() -> None:
    made = learn(cases(), ("small", "large"), marks={"sign-ins": "SignIns"})
    assert "mark sign-ins" in made.own.names
    with pytest.raises(ValueError, match="is no pattern"):
        learn(cases(), ("small", "large"), marks={"broken": "("})


def test_what_cannot_be_learned_or_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="20 tasks or more"):
        learn(cases(5), ("small", "large"))
    same = [Case(c.task, c.group, tuple(Tried(t.attempt, 1.0) for t in c.tried)) for c in cases()]
    with pytest.raises(ConfigError, match="the same score"):
        learn(same, ("small", "large"))
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(DataError, match="holds no selector"):
        Selector.load(path)
    with pytest.raises(DataError, match="cannot be read"):
        Selector.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match="two tiers or more"):
        learn(cases(), ("small", "small"))
