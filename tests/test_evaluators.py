"""Answers, ensembles, calibration: what the judges decide, and on what grounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.evaluators.answer import exact, items, normal, number, same
from atlas.evaluators.calibration import Judged, calibrate
from atlas.evaluators.ensemble import AGREEMENT, EnsembleJudge
from atlas.evaluators.rules import AnswerJudge, OutcomeJudge
from atlas.evaluators.verdict import Case, Judge, Verdict
from atlas.records import Spend, Task, Usage

CASE = Case(id="e", task=Task(id="t", goal="g"))


@pytest.mark.parametrize(
    ("submitted", "expected"),
    [
        ("1,234", "1234.0"),
        ("$5", "5"),
        ("1e3", "1000"),
        ("  Vnevado-Win10R ", "vnevado-win10r"),
        ('"\\"browsercore.exe\\""', "browsercore.exe"),
        ("`mimikatz.exe`.", "mimikatz.exe"),
        ("C:\\\\Windows\\\\System32", "c:/windows/system32"),
        ("a,  b and\tc", "a, b and c"),
        ("['b', 'a']", "a, b"),
        ('["x", "y"]', "- y\n- x"),
        ("b; a", "a, b"),
        ("50%", "50.0%"),
    ],
)
def test_the_same_answer_written_otherwise(submitted: str, expected: str) -> None:
    assert same(submitted, expected) and same(expected, submitted)
    assert not exact(submitted, expected)


@pytest.mark.parametrize(
    ("submitted", "expected"),
    [
        ("12", "123"),
        ("a, b", "a"),
        ("50", "50%"),
        ("", "0"),
        ("a", ""),
        ("a, a, b", "a, b, b"),
        ("1.5", "15"),
        ("-1", "1"),
    ],
)
def test_a_different_answer_is_different(submitted: str, expected: str) -> None:
    assert not same(submitted, expected)


@given(st.text(max_size=60), st.text(max_size=60))
def test_matching_never_crashes_and_is_symmetric(a: str, b: str) -> None:
    assert same(a, b) == same(b, a)
    assert same(a, a)
    normal(a), items(a), number(a)


async def test_the_environment_and_the_answer_as_judges() -> None:
    outcome, answer = OutcomeJudge(), AnswerJudge()
    assert (await outcome.judge(CASE, Desk())).missing and (await answer.judge(CASE, Desk())).missing
    assert (await outcome.judge(CASE.model_copy(update={"outcome": 0.0}), Desk())).score == 0.0
    assert (await outcome.judge(CASE.model_copy(update={"outcome": 12.0}), Desk())).score is None
    known = CASE.model_copy(update={"answer": "1,000", "reference": "1000"})
    assert (await answer.judge(known, Desk())).score == 1.0
    assert (await AnswerJudge("exact").judge(known, Desk())).score == 0.0
    with pytest.raises(ConfigError, match="fuzzy"):
        AnswerJudge("fuzzy")


class Says:
    """A judge that says what it was made to say; None is no verdict. Each time costs a dollar."""

    def __init__(self, name: str, score: float | None, uncertainty: float | None = None, safety: float | None = None):
        self.name, self.calls = name, 0
        self.heard: list[str] = []
        self._said = (score, uncertainty, safety)

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        self.calls += 1
        self.heard = [v.judge for v in opinions]
        score, uncertainty, safety = self._said
        axes = () if safety is None else (Verdict(judge=self.name, axis="safety", score=safety),)
        usage = Usage(calls=1, dollars=1.0)
        return Verdict(
            judge=self.name,
            score=score,
            missing="" if score is not None else "no verdict",
            uncertainty=uncertainty,
            axes=axes,
            spend=(Spend(actor=f"judge:{self.name}", model="m", usage=usage),),
        )

    def config(self) -> dict[str, object]:
        return {"name": self.name}


async def test_judges_that_agree_need_no_arbiter() -> None:
    arbiter = Says("arbiter", 0.0)
    ensemble = EnsembleJudge([Says("a", 0.8, 0.1), Says("b", 0.9, 0.2)], arbiter)
    verdict = await ensemble.judge(CASE, Desk())
    assert verdict.score == pytest.approx(0.85) and verdict.decided_by == AGREEMENT and not arbiter.calls
    assert verdict.disagreement == pytest.approx(0.05) and verdict.uncertainty == pytest.approx(0.15)
    assert [s.actor for s in verdict.spend] == ["judge:a", "judge:b"]


@pytest.mark.parametrize(
    "fast",
    [
        [Says("a", 1.0), Says("b", 0.0)],
        [Says("a", 0.8, 0.9), Says("b", 0.8, 0.8)],
        [Says("a", 0.8), Says("b", None)],
        [Says("a", 0.8, safety=1.0), Says("b", 0.8, safety=0.0)],
    ],
    ids=["disagree", "unsure", "one is missing", "disagree on an axis"],
)
async def test_the_arbiter_decides_what_they_do_not(fast: list[Judge]) -> None:
    arbiter = Says("arbiter", 0.3)
    verdict = await EnsembleJudge(fast, arbiter).judge(CASE, Desk())
    assert (verdict.score, verdict.decided_by, verdict.judge) == (0.3, "arbiter", "ensemble")
    assert arbiter.heard == ["a", "b"] and [v.judge for v in verdict.opinions] == ["a", "b", "arbiter"]
    assert {s.actor: s.usage.dollars for s in verdict.spend} == {"judge:a": 1, "judge:b": 1, "judge:arbiter": 1}


async def test_without_the_arbiters_word_there_is_no_verdict() -> None:
    verdict = await EnsembleJudge([Says("a", 1.0), Says("b", 0.0)], Says("arbiter", None)).judge(CASE, Desk())
    assert verdict.score is None and "standard deviation" in verdict.missing and not verdict.decided_by
    assert len(verdict.spend) == 3


UNIT = st.floats(0, 1)


@given(st.lists(st.tuples(st.none() | UNIT, st.none() | UNIT), min_size=2, max_size=4), UNIT, UNIT)
async def test_thresholds_hold(said: list[tuple[float | None, float | None]], spread: float, unsure: float) -> None:
    fast = [Says(str(i), score, doubt) for i, (score, doubt) in enumerate(said)]
    arbiter = Says("arbiter", 0.5)
    verdict = await EnsembleJudge(fast, arbiter, disagreement=spread, uncertainty=unsure).judge(CASE, Desk())
    scores = [s for s, _ in said if s is not None]
    doubts = [d for s, d in said if s is not None and d is not None]
    apart = float(np.std(scores)) if len(scores) >= 2 else float("inf")
    doubt = float(np.mean(doubts)) if doubts else 0.0
    # Within rounding of a threshold either decision is right.
    assume(abs(apart - spread) > 1e-9 and (not doubts or abs(doubt - unsure) > 1e-9))
    settled = apart <= spread and doubt <= unsure
    assert (verdict.decided_by == AGREEMENT) == settled == (arbiter.calls == 0)


def test_an_ensemble_that_cannot_disagree_is_refused() -> None:
    for fast in ([Says("a", 1.0)], [Says("a", 1.0), Says("a", 1.0)]):
        with pytest.raises(ConfigError):
            EnsembleJudge(fast, Says("arbiter", 1.0))


def _cases(counts: dict[tuple[float | None, bool], int]) -> list[Judged]:
    rows = [(score, truth) for (score, truth), n in counts.items() for _ in range(n)]
    return [Judged(score=s, recorded=t, group=str(i)) for i, (s, t) in enumerate(rows)]


def test_kappa_and_accuracy_of_a_known_table() -> None:
    # Cohen's example: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no has accuracy 0.7 and kappa 0.4.
    found = calibrate(_cases({(1.0, True): 20, (1.0, False): 5, (0.0, True): 10, (0.0, False): 15, (None, True): 3}))
    assert (found.n, found.missing, found.confusion) == (50, 3, (20, 5, 10, 15))
    assert found.accuracy.mean == pytest.approx(0.7) and found.kappa.mean == pytest.approx(0.4)
    assert found.accuracy.low < 0.7 < found.accuracy.high and found.kappa.low < 0.4 < found.kappa.high


def test_cases_of_one_group_say_nothing_of_other_groups() -> None:
    found = calibrate([Judged(score=1.0, recorded=i < 7, group="one") for i in range(10)])
    assert (found.accuracy.mean, found.accuracy.low, found.accuracy.high) == (0.7, 0.0, 1.0)
    assert (found.kappa.low, found.kappa.high, found.ece.low, found.ece.high) == (-1.0, 1.0, 0.0, 1.0)


def test_ece_of_a_known_judge() -> None:
    honest = calibrate(_cases({(0.75, True): 30, (0.75, False): 10}))
    boastful = calibrate(_cases({(0.95, True): 20, (0.95, False): 20}))
    assert honest.ece.mean == pytest.approx(0.0) and boastful.ece.mean == pytest.approx(0.45)


def test_a_perfect_record_still_has_an_interval_and_none_has_no_figures() -> None:
    found = calibrate(_cases({(1.0, True): 10, (0.0, False): 10}))
    assert found.accuracy.mean == 1.0 and found.accuracy.low < 0.9
    assert found.kappa.mean == found.kappa.high == 1.0 and 0 < found.kappa.low < 0.9
    assert found.ece.mean == found.ece.low == 0.0 and found.ece.high > 0.1
    nothing = calibrate(_cases({(None, True): 4}))
    assert (nothing.n, nothing.missing) == (0, 4)


def test_answers_to_one_question_count_as_one() -> None:
    alone = _cases({(1.0, True): 30, (1.0, False): 10})
    grouped = [c.model_copy(update={"group": str(i // 10)}) for i, c in enumerate(alone)]
    wide, narrow = calibrate(grouped).accuracy, calibrate(alone).accuracy
    assert wide.high - wide.low > narrow.high - narrow.low
