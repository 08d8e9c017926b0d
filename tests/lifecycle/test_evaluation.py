"""Metrics with their uncertainty."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from lifecycle.evaluation import evaluate


def forecasts(rows: int = 3000, days: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and days; a day's rows share a shock that the scores do not know."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, days, rows)
    logits = rng.normal(-1, 1, rows)
    labels = (rng.uniform(size=rows) < expit(logits + rng.normal(0, 0.4, days)[day])).astype(float)
    return labels, expit(logits), np.datetime64("2013-01-01") + day.astype("timedelta64[D]")


def test_classification_metrics_agree_with_scikit_learn() -> None:
    labels, scores, days = forecasts()
    found = evaluate(labels, scores, days, "classification", threshold=0.4).metrics
    expected = {
        "loss": sk.log_loss(labels, scores),
        "auc": sk.roc_auc_score(labels, scores),
        "brier": sk.brier_score_loss(labels, scores),
        "brier_skill": sk.d2_brier_score(labels, scores),
        "log_loss_skill": sk.d2_log_loss_score(labels, scores),
        "precision": sk.precision_score(labels, scores >= 0.4),
        "recall": sk.recall_score(labels, scores >= 0.4),
        "calibration_gap": scores.mean() - labels.mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_regression_metrics_agree_with_scikit_learn_also_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    labels = 1e7 + rng.normal(0, 10, 500)
    scores = labels + rng.normal(2, 5, 500)
    days = np.datetime64("2013-01-01") + rng.integers(0, 20, 500).astype("timedelta64[D]")
    evaluation = evaluate(labels, scores, days, "regression")
    expected = {
        "rmse": sk.root_mean_squared_error(labels, scores),
        "mae": sk.mean_absolute_error(labels, scores),
        "r2": sk.r2_score(labels, scores),
    }
    assert {name: evaluation.metrics[name] for name in expected} == pytest.approx(expected)
    for name in expected:
        low, high = evaluation.intervals[name]
        assert low < expected[name] < high


def test_intervals_know_that_rows_of_a_day_move_together() -> None:
    labels, scores, days = forecasts(rows=20_000)
    low, high = evaluate(labels, scores, days, "classification").intervals["base_rate"]
    as_if_independent = 2 * 1.96 * labels.std() / labels.size**0.5
    assert high - low > 3 * as_if_independent


def test_intervals_of_the_calibration_gap_hold_the_truth_about_as_often_as_they_say() -> None:
    gaps = [evaluate(*forecasts(600, seed=seed), "classification").intervals["calibration_gap"] for seed in range(200)]
    # The shocks have mean zero on the logits; on probabilities they lift the mean label a little.
    labels, scores, _ = forecasts(200_000, days=20_000, seed=9)
    truth = scores.mean() - labels.mean()
    assert 0.88 < np.mean([low <= truth <= high for low, high in gaps]) < 0.98


def test_the_same_seed_gives_the_same_intervals() -> None:
    rows = forecasts()
    assert evaluate(*rows, "classification", seed=1) == evaluate(*rows, "classification", seed=1)
    assert evaluate(*rows, "classification", seed=1) != evaluate(*rows, "classification", seed=2)


def test_slices_are_told_apart_and_missing_values_are_a_slice() -> None:
    labels, scores, days = forecasts(900)
    origins = pd.DataFrame({"origin": np.array(["EWR", "JFK", None], dtype=object)[np.arange(900) % 3]})
    table = evaluate(labels, scores, days, "classification", slices=origins).slices
    assert [(row["value"], row["rows"]) for row in table] == [("EWR", 300), ("JFK", 300), ("missing", 300)]
    assert table[1]["auc"] == pytest.approx(sk.roc_auc_score(labels[1::3], scores[1::3]))
    assert table[1]["loss"] == pytest.approx(sk.log_loss(labels[1::3], scores[1::3]))


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_is_not_defined_is_not_a_number_and_nothing_fails(rows: int, task: str) -> None:
    days = np.datetime64("2013-01-01") + np.arange(rows).astype("timedelta64[D]")
    slices = pd.DataFrame({"origin": ["EWR"] * rows})
    found = evaluate(np.zeros(rows), np.full(rows, 0.2), days, task, threshold=0.5, slices=slices)  # type: ignore[arg-type]
    undefined = ["auc", "brier_skill", "log_loss_skill", "precision", "recall"] if task == "classification" else ["r2"]
    assert all(np.isnan(found.metrics[name]) for name in undefined)
    assert np.isnan(found.metrics["loss"]) == (rows == 0)
    assert not np.isinf(list(found.metrics.values())).any()


def test_columns_of_different_length_are_refused() -> None:
    labels, scores, days = forecasts(10)
    with pytest.raises(ValueError, match="10 labels, 9 days"):
        evaluate(labels, scores, days[:9], "classification")


def test_twelve_thousand_rows_take_less_than_a_second() -> None:
    labels, scores, days = forecasts(12_000)
    slices = pd.DataFrame({"carrier": np.array(list("ABCDEFGHIJKLMNOP"), dtype=object)[np.arange(12_000) % 16]})
    evaluate(labels[:10], scores[:10], days[:10], "classification")  # imports
    started = time.perf_counter()
    evaluate(labels, scores, days, "classification", threshold=0.3, slices=slices)
    assert time.perf_counter() - started < 1
