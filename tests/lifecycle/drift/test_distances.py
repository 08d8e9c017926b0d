"""Distances between a reference and a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from lifecycle.drift.distances import (
    chi_square,
    daily_stability,
    expected_index,
    jensen_shannon,
    kolmogorov_smirnov,
    kullback_leibler,
    population_stability_index,
    wasserstein,
)
from lifecycle.drift.sketch import LEVELS, Sketch, sketch

# Few different numbers, so that ties within and between the samples are common.
samples = st.lists(st.integers(-5, 5) | st.floats(-100, 100), min_size=1, max_size=60)
counts = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=12).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


def sketch_of(values: list[float], levels: int | None = LEVELS) -> Sketch:
    made = sketch(np.array(values, dtype=float), levels)
    assert made is not None
    return made


@given(samples, samples)
@settings(deadline=None, max_examples=60)
def test_with_every_value_kept_both_distances_are_those_of_scipy(before: list[float], now: list[float]) -> None:
    reference, ordered = sketch_of(before, None), np.sort(np.array(now, dtype=float))
    found = kolmogorov_smirnov(reference, ordered).statistic
    assert found == pytest.approx(stats.ks_2samp(before, now).statistic, abs=1e-12)
    assert wasserstein(reference, ordered) == pytest.approx(stats.wasserstein_distance(before, now), abs=1e-7)


@pytest.mark.parametrize("draw", ["normal", "exponential", "poisson", "standard_cauchy"])
def test_a_sketch_of_two_hundred_quantiles_is_wrong_by_less_than_it_says(draw: str) -> None:
    random = np.random.default_rng(1)
    before = getattr(random, draw)(size=20_000)
    now = getattr(random, draw)(size=3_000) * 1.3 + 0.2
    reference, ordered = sketch_of(before.tolist()), np.sort(now)
    assert reference.resolution < 1 / LEVELS
    true = stats.ks_2samp(before, now).statistic
    assert true - reference.resolution <= kolmogorov_smirnov(reference, ordered).statistic <= true + 1e-12
    width = before.max() - before.min()
    found, exact = wasserstein(reference, ordered), stats.wasserstein_distance(before, now)
    assert abs(found - exact) <= reference.resolution / 2 * width


def test_a_long_window_that_is_thinned_is_as_far_away() -> None:
    random = np.random.default_rng(2)
    before, now = random.normal(size=5_000), np.sort(random.normal(0.3, 1, 60_000))
    exact = stats.wasserstein_distance(before, now)
    assert wasserstein(sketch_of(before.tolist(), None), now) == pytest.approx(exact, abs=1e-3)


def test_the_p_value_is_that_of_scipy_for_many_rows_and_larger_for_fewer_effective_ones() -> None:
    random = np.random.default_rng(3)
    before, now = random.normal(size=2_000), np.sort(random.normal(0.05, 1, 1_000))
    test = kolmogorov_smirnov(sketch_of(before.tolist(), None), now)
    assert test.p_value == pytest.approx(stats.ks_2samp(before, now, method="asymp").pvalue, rel=0.1)
    assert kolmogorov_smirnov(sketch_of(before.tolist(), None), now, effective_rows=50).p_value > test.p_value


def test_a_constant_reference_is_as_far_away_as_the_values_moved() -> None:
    reference = sketch_of([5.0] * 100)
    assert (kolmogorov_smirnov(reference, np.full(10, 5.0)).statistic, wasserstein(reference, np.full(10, 5.0))) == (
        0,
        0,
    )
    assert kolmogorov_smirnov(reference, np.full(10, 7.0)).statistic == 1
    assert wasserstein(reference, np.full(10, 7.0)) == 2


def test_between_two_atoms_the_functions_cross_and_both_areas_count() -> None:
    assert wasserstein(sketch_of([50.0, 300.0]), np.array([175.0])) == 125


@given(counts)
@settings(deadline=None)
def test_binned_distances_are_those_of_scipy_and_never_negative(pairs: list[tuple[int, int]]) -> None:
    before, now = np.array(pairs).T
    assert jensen_shannon(before, now) == pytest.approx(jensenshannon(before, now, base=2), abs=1e-6)
    assert kullback_leibler(before, now) >= 0
    both = kullback_leibler(before, now) + kullback_leibler(now, before)
    assert population_stability_index(before, now) == pytest.approx(both, abs=1e-9)
    seen = (before + now) > 0
    if seen.sum() > 1:
        test, known = (
            chi_square(before, now),
            stats.chi2_contingency(np.array([before, now])[:, seen], correction=False),
        )
        assert (test.statistic, test.p_value) == pytest.approx((known.statistic, known.pvalue), abs=1e-9)


def test_the_index_of_every_day_is_that_of_the_day_alone() -> None:
    before, days = np.array([50, 30, 0, 20]), np.array([[5, 3, 0, 2], [0, 0, 9, 1], [0, 0, 0, 0]])
    found = daily_stability(before, days)
    assert found[:2] == pytest.approx([population_stability_index(before, day) for day in days[:2]])
    assert np.isnan(found[2])


def test_one_bin_leaves_nothing_to_test() -> None:
    assert (chi_square(np.array([9]), np.array([4])).statistic, chi_square(np.array([9]), np.array([4])).p_value) == (
        0,
        1,
    )


def test_empty_windows_and_other_lengths_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no finite values"):
        wasserstein(sketch_of([1.0]), np.empty(0))
    with pytest.raises(ValueError, match="no finite values"):
        kolmogorov_smirnov(sketch_of([1.0]), np.empty(0))
    for distance in (jensen_shannon, kullback_leibler, chi_square):
        with pytest.raises(ValueError, match="not all zero"):
            distance(np.array([1, 2]), np.array([0, 0]))
        with pytest.raises(ValueError, match="same bins"):
            distance(np.array([1, 2]), np.array([1]))
    assert sketch(np.array([np.nan, np.inf])) is None


@given(counts)
def test_the_index_is_never_negative_and_does_not_care_which_window_comes_first(pairs: list[tuple[int, int]]) -> None:
    before, now = np.array(pairs).T
    psi = population_stability_index(before, now)
    assert psi >= 0
    assert psi == pytest.approx(population_stability_index(now, before), abs=1e-12)


@given(st.lists(st.integers(0, 500), min_size=1).filter(any), st.integers(1, 50))
def test_the_index_of_equal_shares_is_zero_whatever_the_sizes(before: list[int], times: int) -> None:
    assert population_stability_index(np.array(before), times * np.array(before)) == pytest.approx(0, abs=1e-12)


@given(counts, st.integers(0, 11))
def test_the_index_does_not_change_with_a_bin_that_both_leave_empty(pairs: list[tuple[int, int]], place: int) -> None:
    before, now = np.array(pairs).T
    place = min(place, before.size)
    psi = population_stability_index(np.insert(before, place, 0), np.insert(now, place, 0))
    assert psi == pytest.approx(population_stability_index(before, now))


def test_the_index_without_drift_is_on_average_what_is_expected_of_sampling() -> None:
    random, shares = np.random.default_rng(3), np.full(10, 0.1)
    pairs = [(random.multinomial(4000, shares), random.multinomial(1000, shares)) for _ in range(400)]
    mean = np.mean([population_stability_index(*pair) for pair in pairs])
    assert mean == pytest.approx(expected_index(*pairs[0]), rel=0.1)


@pytest.mark.parametrize(("before", "now"), [([1, 2], [1]), ([0, 0], [1, 2]), ([1, 2], [-1, 3])])
def test_counts_that_are_no_distribution_are_refused(before: list[int], now: list[int]) -> None:
    with pytest.raises(ValueError, match=r"bins|counts"):
        population_stability_index(np.array(before), np.array(now))
