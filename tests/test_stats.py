"""Statistics against slow loops and against what they promise: how often an interval holds the truth."""

from itertools import product
from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprune.stats import (
    bootstrap,
    estimate,
    holm,
    iqm,
    iqm_interval,
    median,
    medians,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    sign_flip,
)

numbers = st.floats(-1e6, 1e6)


def slow_iqm(values: list[float]) -> float:
    ordered, cut = sorted(values), len(values) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(numbers, min_size=1, max_size=40))
def test_interquartile_mean_is_the_mean_without_a_quarter_at_each_end(values: list[float]) -> None:
    assert isclose(float(iqm(values)), slow_iqm(values), rel_tol=1e-9, abs_tol=1e-6)


def test_interval_is_that_of_a_bootstrap_done_by_hand() -> None:
    first, second = [3.0, 9.0, 4.0, 8.0, 5.0], [103.0, 101.0, 109.0]
    generator = np.random.default_rng(7)
    drawn = []
    for _ in range(4000):
        again = [first[generator.integers(5)] for _ in range(5)] + [second[generator.integers(3)] for _ in range(3)]
        drawn.append(slow_iqm(again))
    expected = sorted(drawn)[100], sorted(drawn)[3900]
    assert iqm_interval([first, second], resamples=20_000) == pytest.approx(expected, abs=0.6)


def test_interval_of_many_seeds_is_that_of_its_samples_taken_one_by_one() -> None:
    some = [np.random.default_rng(seeds).normal(size=(seeds, 2)) for seeds in (37, 24)]
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(values), size=(200, len(values))) for values in some]
    samples = np.concatenate([values[places] for values, places in zip(some, drawn, strict=True)], axis=1)
    means = [[slow_iqm(sample[:, column].tolist()) for column in (0, 1)] for sample in samples]
    np.testing.assert_allclose(iqm_interval(some, resamples=200), np.percentile(means, [2.5, 97.5], axis=0), rtol=1e-12)


def test_tasks_are_never_resampled() -> None:
    apart = [0.0, 0.1, 0.2, 0.1], [1000.0, 1000.1, 1000.2, 1000.1]
    low, high = iqm_interval(apart)
    assert 499 < low <= high < 501


def test_estimates_side_by_side_are_those_one_by_one() -> None:
    values = np.random.default_rng(0).normal(size=(6, 3))
    together = iqm_interval([values])
    assert together.shape == (2, 3)
    for column in range(3):
        np.testing.assert_array_equal(together[:, column], iqm_interval([values[:, column]]))


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.68, 0.80), (5, 0.86, 0.94), (10, 0.89, 0.96), (20, 0.91, 0.97)])
def test_interval_holds_the_truth_as_often_as_the_docstring_says(seeds: int, least: float, most: float) -> None:
    data_sets = np.random.default_rng(seeds).normal(loc=5.0, size=(seeds, 500))
    low, high = iqm_interval([data_sets], resamples=500)
    assert least < np.mean((low <= 5.0) & (high >= 5.0)) < most


def test_one_seed_has_no_interval_rather_than_one_of_no_width() -> None:
    one = estimate([[42.0]])
    assert (one.iqm, one.mean, one.seeds) == (42.0, 42.0, 1)
    assert one.interval is None
    assert one.std is None


def test_a_task_with_one_seed_leaves_the_whole_interval_unknown() -> None:
    assert estimate([[1.0, 2.0, 3.0], [4.0]]).interval is None


def test_estimate_reports_mean_and_sample_deviation_beside() -> None:
    one = estimate([[1.0, 2.0, 3.0, 10.0]])
    assert one.mean == 4.0
    assert one.std == pytest.approx(sqrt((9 + 4 + 1 + 36) / 3))
    assert one.iqm == 2.5
    assert one.seeds == 4


def test_estimating_from_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no value"):
        estimate([])


def test_same_values_same_interval_and_no_global_generator_is_touched() -> None:
    before = np.random.get_state()[1].copy()
    values = [[1.0, 5.0, 2.0, 8.0]]
    assert estimate(values) == estimate(values)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_probability_of_improvement_counts_wins_and_half_the_ties(pairs: list[tuple[int, int]]) -> None:
    points = 0.0
    for x, y in pairs:
        points += 1.0 if x > y else 0.5 if x == y else 0.0
    there = probability_of_improvement(*zip(*pairs, strict=True))
    back = probability_of_improvement(*zip(*[(y, x) for x, y in pairs], strict=True))
    assert there.probability == pytest.approx(points / len(pairs))
    assert there.probability + back.probability == pytest.approx(1.0)


def test_interval_of_improvement_ends_where_the_observed_share_is_just_believable() -> None:
    one = probability_of_improvement([1, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0])
    for end in one.interval:
        assert abs(one.probability - end) == pytest.approx(1.959964 * sqrt(end * (1 - end) / 7))


def test_ten_wins_of_ten_are_not_certainty() -> None:
    low, high = probability_of_improvement(range(1, 11), [0] * 10).interval
    assert 0.6 < low < 0.8
    assert high == pytest.approx(1.0)


def test_one_pair_has_no_interval() -> None:
    assert probability_of_improvement([2.0], [1.0]).interval is None


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        probability_of_improvement([1.0, 2.0], [1.0])


def test_performance_profile_is_the_share_above_each_threshold_averaged_over_tasks() -> None:
    tasks = [[1.0, 2.0, 3.0], [2.0, 9.0]]
    expected = []
    for threshold in (0.0, 2.0, 5.0, 9.0):
        shares = [sum(value > threshold for value in values) / len(values) for values in tasks]
        expected.append(sum(shares) / 2)
    assert performance_profile(tasks, [0.0, 2.0, 5.0, 9.0]) == pytest.approx(expected)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
@settings(deadline=None)
def test_sign_flip_counts_the_patterns_that_are_as_far_from_zero(differences: list[int]) -> None:
    sums = [abs(sum(sign * size for sign, size in zip(signs, differences, strict=True))) for signs in _signs(len(differences))]
    assert sign_flip(differences) == sum(found >= abs(sum(differences)) for found in sums) / len(sums)


def _signs(count: int) -> list[tuple[int, ...]]:
    return list(product((1, -1), repeat=count))


def test_ten_differences_of_one_sign_are_two_patterns_of_1024_whatever_they_are() -> None:
    assert sign_flip(np.linspace(0.1, 3.3, 10)) == 2 / 1024
    with pytest.raises(ValueError, match="takes at least 1 difference, got 0"):
        sign_flip([])


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


# -- bootstrap of anything -------------------------------------------------------------------------------------------


def test_a_bootstrap_of_the_interquartile_mean_is_that_of_the_interquartile_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, 8))
    found, interval = bootstrap([values], lambda tasks: iqm(tasks[0], axis=-1))
    np.testing.assert_allclose(found, iqm(values, axis=1))
    np.testing.assert_allclose(interval, iqm_interval([values.T]))
    assert bootstrap([[1.0], [2.0, 3.0]], median)[1] is None


def test_infinite_values_have_ends_that_were_seen() -> None:
    found, interval = bootstrap([[3.0, 5.0, np.inf, np.inf, np.inf]], lambda tasks: np.median(tasks[0], axis=-1), "nearest")
    assert found == np.inf
    assert interval.tolist() == [3.0, np.inf]


@pytest.mark.parametrize("seeds", [2, 5, 10, 60])
def test_medians_are_those_of_the_samples_themselves(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=(seeds, 7)).round(1)  # some are equal
    values[values > 1] = np.inf
    values[:, 0] = np.inf
    theirs, between = bootstrap([values.T], lambda tasks: np.median(tasks[0], axis=-1), "nearest")
    found, ends = medians(values)
    np.testing.assert_array_equal(found, theirs)
    np.testing.assert_array_equal(ends, between)
    assert medians(values[:1])[1] is None


def test_what_is_above_one_makes_up_for_nothing() -> None:
    assert optimality_gap([np.array([3.0, 0.5]), np.array([0.0, 1.0])]) == 0.375
    assert median([np.array([3.0, 0.5]), np.array([0.0, 1.0]), np.array([1.0, 1.0])]) == 1.0


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.70), (5, 0.82), (10, 0.89)])
def test_intervals_over_tasks_hold_the_truth_as_often_as_the_docs_say(seeds: int, least: float) -> None:
    tasks = [
        0.2 * np.random.default_rng([seeds, place]).normal(size=(400, seeds)) + at for place, at in enumerate((0.9, 0.7, 0.4))
    ]
    _, (low, high) = bootstrap(tasks, median, resamples=400)
    assert least < np.mean((low <= 0.7) & (high >= 0.7)) < 0.98
