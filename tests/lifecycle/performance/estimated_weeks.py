"""Weeks of forecasts, estimated and realised, for tests of estimates and their grades."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from lifecycle.gate import MINIMUM_DAYS
from lifecycle.performance import estimation
from lifecycle.performance.estimation import COVERAGE, Estimate, estimate
from lifecycle.performance.estimator import Estimator, _arrays, fit_again, known_rows
from lifecycle.ranking import ranking

if TYPE_CHECKING:
    from lifecycle.pipeline import Task


def estimate_weeks(
    forecasts: pl.DataFrame,
    estimator: Estimator,
    threshold: float | None = None,
    fitted_on_days: int | None = None,
    coverage: float = COVERAGE,
    seed: int = 0,
    days_ahead: int = 7,
) -> list[Estimate]:
    """An estimate for every week, Monday to Sunday, of at least five days, on what was known when it could be made.

    Parameters
    ----------
    forecasts : (rows,) with ``score`` and ``day``; for fitting again, and with fewer than 7 ``days_ahead``, also
        ``label`` and ``known_day``, see ``fit_again``.
    fitted_on_days : the estimator is fitted again for every week on labels known by then; None: never.
    days_ahead : the estimate is made at the close of the day so many days before the Sunday, with the labels that are
        known by then. 7: before the week begins, from scores alone. 1: when the last forecasts of the week are issued,
        which is what a nightly report can say about its window.

    Raises
    ------
    ValueError
        If a column is missing or ``days_ahead`` is not between 0 and 7.
    """
    if not 0 <= days_ahead <= 7:
        raise ValueError(f"days_ahead is {days_ahead}; it must be 0 to 7, the days of the week that are to come")
    made = []
    for monday, week in _weeks(forecasts):
        as_of = monday + timedelta(days=6 - days_ahead)
        current = estimator
        if fitted_on_days is not None:
            current = fit_again(forecasts, as_of, fitted_on_days, estimator)
        labels = _labels_known(week, as_of) if days_ahead < 7 else None
        scores, days = week["score"].cast(float).to_numpy(), week["day"].to_numpy()
        made.append(estimate(current, scores, days, threshold, coverage, seed, labels))
    return made


def realised_weeks(
    forecasts: pl.DataFrame, task: Task, threshold: float | None = None
) -> dict[date, dict[str, float | None]]:
    """What was realised in every week, by its first day with a forecast; the metrics that are estimated.

    Parameters
    ----------
    forecasts : (rows,) with ``score``, ``label`` and ``day``.
    """
    weeks = {}
    for _, week in _weeks(forecasts):
        scores, labels, days = known_rows(*_arrays(week))
        if labels.size:
            weeks[cast(date, week["day"].min())] = _realised(scores, labels, days, task, threshold)
    return weeks


def _realised(
    scores: np.ndarray, labels: np.ndarray, days: np.ndarray, task: Task, threshold: float | None
) -> dict[str, float | None]:
    if task == "regression":
        error = abs(scores - labels)
        r2, _ = ranking(labels, scores, days, task)
        return {"mae": float(error.mean()), "rmse": float((error**2).mean()) ** 0.5, "r2": r2}
    metrics = estimation._Window.of(scores, days, threshold).metrics((labels > 0.5).astype(float)[None, :])
    return {name: float(value[0]) if np.isfinite(value[0]) else None for name, value in metrics.items()}


def _labels_known(week: pl.DataFrame, as_of: date) -> np.ndarray:
    """(rows,) labels as far as they were known at the close of a day, NaN elsewhere."""
    known = pl.when(pl.col("known_day") <= as_of).then(pl.col("label").cast(pl.Float64))
    return week.select(known.fill_null(float("nan")))[:, 0].to_numpy()


def _weeks(forecasts: pl.DataFrame) -> list[tuple[date, pl.DataFrame]]:
    """The rows of every week, Monday to Sunday, of at least five days with forecasts, and its Monday."""
    rows = forecasts.filter(pl.col("score").is_not_null(), pl.col("day").is_not_null())
    rows = rows.with_columns(pl.col("day").dt.truncate("1w").alias("_monday"))
    parts = rows.partition_by("_monday", as_dict=True, include_key=False)
    weeks = sorted(((cast(date, key[0]), part) for key, part in parts.items()), key=lambda week: week[0])
    return [(monday, part) for monday, part in weeks if part["day"].n_unique() >= MINIMUM_DAYS]
