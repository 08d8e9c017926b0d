"""Probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from lifecycle.calibration import (
    SigmoidCalibrated,
    calibrate,
    expected_calibration_error,
    fit_sigmoid,
    reliability,
)


def drawn(rows: int, slope: float = 1.0, intercept: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn with probability sigmoid(slope * logit(score) + intercept)."""
    rng = np.random.default_rng(seed)
    scores = expit(rng.normal(-1, 1, rows))
    return scores, (rng.uniform(size=rows) < expit(slope * logit(scores) + intercept)).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -0.7), (2.0, 1.0)])
def test_the_distortion_of_the_scores_is_found_and_undone(slope: float, intercept: float) -> None:
    scores, labels = drawn(60_000, slope, intercept)
    found = fit_sigmoid(scores, labels)
    assert found == pytest.approx((slope, intercept), abs=0.06)
    assert expected_calibration_error(calibrate(scores, *found), labels) < 0.01
    assert calibrate(scores, *found).mean() == pytest.approx(labels.mean(), abs=1e-4)


def test_separated_classes_and_reversed_scores_give_a_finite_line_that_keeps_the_order() -> None:
    labels = np.array([0, 0, 1, 1])
    for scores in ([0.0, 0.1, 0.9, 1.0], [0.9, 0.8, 0.2, 0.1]):
        slope, intercept = fit_sigmoid(np.array(scores), labels)
        assert slope > 0
        assert np.isfinite([slope, intercept]).all()


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1, 1]])
def test_one_class_teaches_nothing_and_changes_nothing(labels: list[int]) -> None:
    assert fit_sigmoid(np.full(len(labels), 0.3), np.array(labels)) == (1.0, 0.0)


def test_missing_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="missing in 1 rows"):
        fit_sigmoid(np.array([0.1, np.nan]), np.array([0, 1]))


def test_the_calibrated_classifier_is_one_for_scikit_learn_too() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(400, 2))
    labels = (inputs[:, 0] + rng.normal(size=400) > 0).astype(int)
    plain = LogisticRegression().fit(inputs, labels)
    calibrated = SigmoidCalibrated(plain, slope=0.5, intercept=-1.0)
    probabilities = calibrated.predict_proba(inputs)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(logit(probabilities[:, 1]), 0.5 * plain.decision_function(inputs) - 1.0)
    np.testing.assert_array_equal(calibrated.predict(inputs), probabilities[:, 1] >= 0.5)
    again = clone(calibrated).fit(inputs, labels)
    np.testing.assert_allclose(again.predict_proba(inputs), probabilities)
    assert calibrated.score(inputs, labels) > 0.5


@given(bins=st.integers(1, 15), rows=st.integers(0, 80), levels=st.integers(1, 30), seed=st.integers(0, 99))
def test_reliability_counts_every_row_once_and_keeps_equal_scores_together(
    bins: int, rows: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, rows) / levels
    labels = rng.integers(0, 2, rows).astype(float)
    table = reliability(scores, labels, bins)
    assert sum(row.count for row in table) == rows
    assert len(table) <= bins
    means = [row.mean_score for row in table]
    assert means == sorted(set(means))
    assert all(0 <= row.low <= row.mean_label + 1e-12 and row.mean_label <= row.high + 1e-12 for row in table)


def test_wilson_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = [
        row.low <= row.mean_score <= row.high
        for seed in range(60)
        for row in reliability(*drawn(2000, seed=seed), bins=10)
    ]
    assert 0.92 < np.mean(held) < 0.98


def test_the_calibration_error_is_the_size_of_a_constant_shift_and_not_a_number_without_rows() -> None:
    scores, labels = drawn(50_000)
    assert expected_calibration_error(np.clip(scores + 0.1, 0, 1), labels) == pytest.approx(0.1, abs=0.01)
    assert np.isnan(expected_calibration_error(np.empty(0), np.empty(0)))
