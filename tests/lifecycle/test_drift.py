"""Drift against the reference."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.drift import compare, expected_index, population_stability_index
from lifecycle.features import Feature
from lifecycle.pipeline import MonitorRule
from lifecycle.reference import Reference, profile

FEATURES = (Feature("delay", "float", ""), Feature("hour", "int", ""), Feature("origin", "string", ""))
RULE = MonitorRule()

counts = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


def make_window(rows: int, seed: int, delay: float = 8.0, missing: float = 0.0) -> tuple[pl.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    delays = random.normal(delay, 10, rows)
    frame = pl.DataFrame(
        {
            "delay": np.where(random.random(rows) < missing, np.nan, delays),
            "hour": random.integers(5, 23, rows),
            "origin": random.choice(["JFK", "EWR", "LGA"], rows),
        }
    )
    return frame, 1 / (1 + np.exp(1 - delays / 20))


@pytest.fixture(scope="module")
def reference() -> Reference:
    frame, scores = make_window(5000, seed=0)
    return profile(frame, FEATURES, scores, None, {})


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


def test_a_window_like_the_reference_raises_nothing(reference: Reference) -> None:
    report = compare(reference, *make_window(2000, seed=1), RULE)
    assert (report.errors, report.warnings, report.reason) == ((), (), None)
    assert report.drifted_share == 0.0


def test_a_small_window_like_the_reference_raises_nothing_either(reference: Reference) -> None:
    noisy = [compare(reference, *make_window(60, seed=seed), RULE) for seed in range(100)]
    assert sum(bool(report.errors or report.warnings) for report in noisy) <= 5


def test_when_delays_rise_the_prediction_is_an_error_and_the_feature_a_warning(reference: Reference) -> None:
    report = compare(reference, *make_window(2000, seed=1, delay=16.0), RULE)
    (error,) = report.errors
    assert error.startswith("Predictions drifted: PSI 0.")
    assert "mean 0.361 → 0.451" in error
    (warning,) = report.warnings
    assert "Feature delay drifted" in warning
    assert report.features[0].name == "delay"
    assert report.drifted_share == pytest.approx(1 / 3)


def test_importance_ranks_a_small_drift_that_harms_above_a_large_one_that_does_not(reference: Reference) -> None:
    frame, scores = make_window(2000, seed=1, delay=16.0)
    frame = frame.with_columns(pl.col("hour") + 1)
    names = [f.name for f in compare(reference, frame, scores, RULE, {"hour": 1.0, "delay": 0.001}).features]
    assert names == ["hour", "delay", "origin"]


def test_a_source_that_breaks_is_named_with_both_shares(reference: Reference) -> None:
    report = compare(reference, *make_window(2000, seed=1, missing=0.5), RULE)
    assert any("Feature delay is missing in 5" in text and "0% in the reference" in text for text in report.warnings)
    assert report.errors == ()


def test_a_value_the_model_never_saw_is_named(reference: Reference) -> None:
    frame, scores = make_window(2000, seed=1)
    frame = frame.with_columns(origin=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("SWF")).otherwise("origin"))
    assert compare(reference, frame, scores, RULE).warnings == ("Feature origin has values the model never saw: SWF.",)


def test_a_feature_that_the_window_lacks_is_named_and_the_others_are_compared(reference: Reference) -> None:
    frame, scores = make_window(2000, seed=1)
    report = compare(reference, frame.drop("hour"), scores, RULE)
    assert report.absent == ("hour",)
    assert "the champion uses it: hour" in report.warnings[0]
    assert {feature.name for feature in report.features} == {"delay", "origin"}


def test_an_empty_window_is_no_verdict(reference: Reference) -> None:
    frame, scores = make_window(10, seed=1)
    report = compare(reference, frame.clear(), scores[:0], RULE)
    assert report.reason is not None
    assert (report.errors, report.warnings, report.drifted_share) == ((), (), None)
    assert report.table()["psi"].null_count() == 4


def test_the_table_has_a_row_for_the_prediction_and_each_feature(reference: Reference) -> None:
    table = compare(reference, *make_window(2000, seed=1, delay=16.0), RULE).table()
    assert table["name"].to_list()[:2] == ["prediction", "delay"]
    assert table.filter(pl.col("drifted"))["name"].to_list() == ["prediction", "delay"]
    assert table.schema["new_categories"] == pl.List(pl.String)


def test_scores_of_another_length_are_refused(reference: Reference) -> None:
    frame, scores = make_window(10, seed=1)
    with pytest.raises(ValueError, match="scores have 9 rows"):
        compare(reference, frame, scores[1:], RULE)
