"""Figures against published values, and against slow plain references."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.figures import money_interval
from atlas.stats import Interval, bootstrap, bounded_mean, mcnemar, paired, resampling, wilson
from atlas.stats.intervals import difference
from atlas.stats.resampling import (
    bounded,
    bounded_rate,
    cluster_bootstrap,
    cluster_counts,
    drawn,
    others,
    percentiles,
)
from atlas.stats.scores import (
    Floats,
    auroc,
    auroc_beyond,
    aurocs,
    calibration_error,
    calibration_errors,
    error_beyond,
    ordered_pairs,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    assert interval.mean == successes / n


def test_wilson_of_nothing_says_nothing() -> None:
    interval = wilson(0, 0)
    assert (interval.low, interval.high, interval.n) == (0.0, 1.0, 0)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_mean_and_mirrors(case: tuple[int, int]) -> None:
    successes, n = case
    interval, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = [float(i % 10) for i in range(1000)]
    interval = bootstrap(values)
    half = 1.96 * math.sqrt(8.25 / 1000)
    assert interval.mean == 4.5
    assert interval.low == pytest.approx(4.5 - half, abs=0.02)
    assert interval.high == pytest.approx(4.5 + half, abs=0.02)


def test_bootstrap_repeats_itself_and_knows_the_edges() -> None:
    assert bootstrap([0.0, 1.0, 1.0]) == bootstrap([0.0, 1.0, 1.0])
    equal = bootstrap([0.25] * 7)
    assert (equal.low, equal.high) == (0.25, 0.25)
    assert math.isnan(bootstrap([]).mean) and bootstrap([]).n == 0


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 22 / 1024), (9, 1, 22 / 1024), (10, 0, 2 / 1024)],
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p)


def test_runs_of_one_task_count_once() -> None:
    """Three runs of the same ten tasks say no more about other tasks than one run of them."""
    once, thrice = wilson(6, 10), wilson(sum([1.0] * 6 + [0.0] * 4), 10)
    assert thrice == once
    assert wilson(6.5, 10).low > once.low


# --- the bootstrap over clusters --------------------------------------------------------------------------------------

CLUSTERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


def shares(drawn: Floats) -> Floats:
    sums = drawn.sum(axis=1)
    return sums[:, 0] / np.maximum(sums.sum(axis=1), 1.0)


def plain_share(rows: Sequence[tuple[float, float]]) -> float:
    return sum(a for a, _ in rows) / max(sum(a + b for a, b in rows), 1.0)


@given(CLUSTERS, st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_the_bootstrap_draws_whole_clusters(clusters: list[tuple[int, int]], seed: int) -> None:
    found = cluster_bootstrap(shares, np.array(clusters, dtype=float), resamples=200, seed=seed)
    rng = np.random.default_rng(seed)
    again = []
    for _ in range(200):
        again.append(plain_share([clusters[rng.integers(0, len(clusters))] for _ in clusters]))
    low, high = np.percentile(again, [2.5, 97.5])
    assert (found.mean, found.low, found.high, found.n) == pytest.approx(
        (plain_share(clusters), low, high, len(clusters))
    )


@given(CLUSTERS, st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_the_draws_do_not_depend_on_how_many_are_held_at_once(clusters: list[tuple[int, int]], cells: int) -> None:
    table = np.array(clusters, dtype=float)
    whole = drawn(shares, table, resamples=50, seed=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resampling, "_CELLS", cells)
        assert (drawn(shares, table, resamples=50, seed=3) == whole).all()


def test_rows_and_counts_have_one_distribution() -> None:
    table = np.array([(1, 0), (0, 1), (1, 2), (3, 1), (0, 0), (2, 2), (1, 5)], dtype=float)
    counts = cluster_counts(len(table), resamples=20_000, seed=1)
    assert counts.shape == (20_000, 7) and (counts.sum(axis=1) == 7).all()
    sums = counts @ table
    by_counts = percentiles(0.0, sums[:, 0] / sums.sum(axis=1), 7)
    by_rows = cluster_bootstrap(shares, table, resamples=20_000, seed=2)
    assert (by_counts.low, by_counts.high) == pytest.approx((by_rows.low, by_rows.high), abs=0.01)


def test_a_single_cluster_says_nothing_of_others() -> None:
    spread = np.full(100, 0.25)
    assert bounded(0.25, spread, 9, clusters=1) == Interval(mean=0.25, low=0.0, high=1.0, n=9)
    assert bounded(0.25, spread, 9, clusters=1, within=(-1.0, 1.0)).low == -1.0
    assert bounded(0.25, spread, 9, clusters=2).low < 0.25 < bounded(0.25, spread, 9, clusters=2).high


def test_resamples_that_tell_nothing_are_left_out() -> None:
    spread = np.array([np.nan, *np.linspace(0, 1, 101)])
    assert bounded(0.5, spread, 9, clusters=5).low == pytest.approx(0.025)
    assert bounded(0.5, np.full(3, np.nan), 9, clusters=5) == Interval(mean=0.5, low=0.0, high=1.0, n=9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_rate_has_the_interval_of_its_clusters(value: float) -> None:
    found = bounded_rate(value, np.full(10, value), 50, clusters=5)
    assert found == wilson(5 * value, 5).model_copy(update={"n": 50})
    assert bounded_rate(0.5, np.linspace(0, 1, 101), 50, clusters=5).low == pytest.approx(0.025)


# --- scores -----------------------------------------------------------------------------------------------------------

CASES = st.lists(
    st.tuples(st.sampled_from([0.0, 1 / 3, 0.5, 2 / 3, 1.0]), st.booleans(), st.floats(0.1, 10.0)), max_size=30
)


@given(CASES)
@settings(deadline=None)
def test_auroc_is_the_weighted_share_of_pairs_in_the_right_order(cases: list[tuple[float, bool, float]]) -> None:
    pairs = [(s, z, w * v) for s, good, w in cases if good for z, fine, v in cases if not fine]
    found = auroc(*(zip(*cases, strict=True) if cases else ([], [], [])))
    if not pairs:
        assert found is None
        return
    won = sum(weight * ((s > z) + (s == z) / 2) for s, z, weight in pairs)
    assert found == pytest.approx(won / sum(weight for _, _, weight in pairs))


@given(CASES, st.sampled_from([None, 1, 4, 10]))
@settings(deadline=None)
def test_the_calibration_error_is_the_mean_gap_of_its_bins(
    cases: list[tuple[float, bool, float]], bins: int | None
) -> None:
    def bin_of(score: float) -> float:
        return score if bins is None else min(int(score * bins), bins - 1)

    found = calibration_error(*(zip(*cases, strict=True) if cases else ([], [], [])), bins=bins)
    if not cases:
        assert found is None
        return
    gaps = 0.0
    for name in {bin_of(score) for score, _, _ in cases}:
        held = [case for case in cases if bin_of(case[0]) == name]
        weight = sum(w for _, _, w in held)
        right, expected = sum(w for _, r, w in held if r) / weight, sum(w * s for s, _, w in held) / weight
        gaps += weight * abs(right - expected)
    assert found == pytest.approx(gaps / sum(w for _, _, w in cases), abs=1e-12)


def test_figures_of_textbook_cases() -> None:
    assert auroc([0.1, 0.4, 0.6, 0.9], [False, False, True, True]) == 1.0
    assert auroc([0.9, 0.6, 0.4, 0.1], [False, False, True, True]) == 0.0
    assert auroc([0.5, 0.5], [False, True]) == 0.5
    # Two of three votes are expected to be right in two steps of three, and are.
    assert calibration_error([2 / 3] * 3 + [1.0], [True, True, False, True]) == pytest.approx(0.0)
    assert calibration_error([1.0, 1.0], [True, False]) == 0.5


@given(CASES, st.integers(1, 5), st.integers(0, 2**32))
@settings(deadline=None)
def test_many_weightings_at_once_are_each_by_itself(
    cases: list[tuple[float, bool, float]], rows: int, seed: int
) -> None:
    scores, right = np.array([s for s, _, _ in cases]), np.array([r for _, r, _ in cases], dtype=float)
    weights = np.random.default_rng(seed).integers(0, 4, size=(rows, len(cases))).astype(float)
    for many, one in (
        (aurocs(weights, right, scores), [auroc(scores, right, row) for row in weights]),
        (calibration_errors(weights, right, scores, 4), [calibration_error(scores, right, r, bins=4) for r in weights]),
    ):
        assert [None if np.isnan(value) else value for value in many] == pytest.approx(one)


@given(st.lists(CASES, max_size=4))
@settings(deadline=None)
def test_pairs_of_several_groups_add_up(groups: list[list[tuple[float, bool, float]]]) -> None:
    above, pairs = 0.0, 0.0
    for cases in groups:
        weight = np.array([[w for _, _, w in cases]])
        right, scores = np.array([float(r) for _, r, _ in cases]), np.array([s for s, _, _ in cases])
        higher, found = ordered_pairs(weight, right, scores)
        above, pairs = above + higher[0], pairs + found[0]
    plain = [
        (w * v, (s > z) + (s == z) / 2)
        for cases in groups
        for s, good, w in cases
        if good
        for z, fine, v in cases
        if not fine
    ]
    assert pairs == pytest.approx(sum(weight for weight, _ in plain))
    assert above == pytest.approx(sum(weight * won for weight, won in plain))


@given(st.integers(1, 60), st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]))
def test_tasks_that_all_say_the_same_leave_an_interval_of_some_width(n: int, value: float) -> None:
    found = paired([value] * n)
    assert found.mean == value and found.low <= value <= found.high and found.high - found.low > 0
    if value == 1.0:
        assert (found.low > 0) == (mcnemar(n, 0) <= 0.05), "as McNemar's exact test says beside it"
    if value == 0.0:
        assert found.high == pytest.approx(1 - 0.025 ** (1 / n)) and found.low == -found.high


def test_tasks_that_differ_are_resampled() -> None:
    values = [1.0, 0.0, 0.0, -1.0, 1.0]
    assert paired(values) == bootstrap(values)
    assert math.isnan(paired([]).mean)


def test_the_difference_of_two_proportions_is_newcombe_s() -> None:
    """The first example of Newcombe (1998), table II, method 10: 56 of 70 against 48 of 80."""
    found = difference(wilson(56, 70), wilson(48, 80))
    assert (round(found.mean, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)
    assert difference(wilson(10, 10), wilson(10, 10)).high > 0.2, "no difference is not a certain one"
    assert difference(wilson(0, 0), wilson(3, 4)).n == 0


# --- where all that was seen says the same ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 10, 50, 500])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_scores_that_are_all_equal_have_an_interval(value: float, n: int) -> None:
    """``atlas regrade`` said [1.00, 1.00] of two episodes."""
    found = bounded_mean([value] * n)
    assert 0.0 <= found.low <= found.mean <= found.high <= 1.0
    assert found.high - found.low == pytest.approx(1 - 0.025 ** (1 / n))
    assert found.n == n


@pytest.mark.parametrize("n", [2, 3, 10, 60])
def test_all_right_has_the_bound_of_clopper_and_pearson(n: int) -> None:
    """At that share of right ones, n of n are seen in one of forty samples."""
    assert bounded_mean([1.0] * n).low ** n == pytest.approx(0.025)
    assert (1 - bounded_mean([0.0] * n).high) ** n == pytest.approx(0.025)
    assert bounded_mean([1.0] * n).high == 1.0 and bounded_mean([0.0] * n).low == 0.0


def test_what_is_seen_of_n_of_n_covers_what_is_true() -> None:
    """Whatever the share of right ones, a sample that misleads the interval is drawn in at most 2.5 % at each side."""
    rng = np.random.default_rng(0)
    for true in (0.5, 0.8, 0.95, 0.99):
        hits = rng.random((2_000, 12)) < true
        agreed = [bounded_mean(row.astype(float).tolist(), resamples=200) for row in hits if row.all()]
        assert sum(found.low > true for found in agreed) / 2_000 <= 0.025 + 0.01


def test_values_that_differ_are_resampled_as_before() -> None:
    values = [0.0, 0.4, 1.0, 1.0]
    assert bounded_mean(values) == bootstrap(values) and paired(values) == bootstrap(values)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=12),
    st.floats(0.01, 0.99),
    st.lists(st.tuples(st.integers(-1, 10), st.booleans(), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_nothing_elsewhere_takes_an_auroc_or_an_error_beyond(
    seen: list[tuple[int, bool]], rest: float, other: list[tuple[int, bool, int]]
) -> None:
    scores = np.array([s / 10 for s, _ in seen] + [min(1.0, max(0.0, s / 10)) for s, _, _ in other])
    right = np.array([r for _, r in seen] + [r for _, r, _ in other], float)
    weight = np.array([(1 - rest) / len(seen)] * len(seen) + [float(w) for _, _, w in other])
    if not weight[len(seen) :].sum():
        weight[len(seen) :] = 1.0
    weight[len(seen) :] *= rest / weight[len(seen) :].sum()
    mixed, alone = auroc(scores, right, weight), auroc(scores[: len(seen)], right[: len(seen)])
    if mixed is not None and alone is not None:
        low, high = auroc_beyond(alone, float(right[: len(seen)].mean()), rest)
        assert low - 1e-9 <= mixed <= high + 1e-9
    off, was = calibration_error(scores, right, weight), calibration_error(scores[: len(seen)], right[: len(seen)])
    assert off is not None and was is not None
    low, high = error_beyond(was, rest)
    assert low - 1e-9 <= off <= high + 1e-9


def test_an_auroc_of_1_is_reached_from_below_at_the_worst() -> None:
    low, high = auroc_beyond(1.0, 0.5, 0.2)
    worst = auroc([0.9, 0.1, 0.0, 1.0], [1, 0, 1, 0], [0.4, 0.4, 0.1, 0.1])
    assert worst is not None and low == pytest.approx(worst) and high == 1.0
    low_of_0, high_of_0 = auroc_beyond(0.0, 0.5, 0.2)
    assert low_of_0 == 0.0 and high_of_0 == pytest.approx(1 - low)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_number_that_every_resample_gives_again_is_not_certain(value: float) -> None:
    found = bounded(value, np.full(100, value), 40, clusters=8)
    assert found.high - found.low == pytest.approx(others(8)) and found.low <= value <= found.high
    assert cluster_bootstrap(lambda drawn: drawn.mean(axis=1), np.full(8, value), within=(0.0, 1.0)).low <= found.low


def test_a_ratio_that_is_always_0_may_be_more_elsewhere() -> None:
    counts = np.array([[0.0, 12.0]] * 6)
    found = cluster_bootstrap(lambda d: d[:, :, 0].sum(axis=1) / d[:, :, 1].sum(axis=1), counts, within=(0.0, 1.0))
    assert (found.mean, found.low) == (0.0, 0.0) and found.high == pytest.approx(1 - 0.025 ** (1 / 6))


def test_dollars_that_are_all_equal_are_shown_without_an_interval() -> None:
    assert money_interval(bootstrap([0.0277] * 3)) == money_interval(bootstrap([0.0277])) == "$0.0277"
    assert "[" in money_interval(bootstrap([0.01, 0.02]))
