"""The outlook: what a champion's forecasts of a week are worth, as far as their labels are not known yet.

What belongs here: which rows are estimated at the close of a day, and what the estimate means for the night. How
performance is estimated is in ``estimation.py``, how estimates are graded in ``grading.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.calendar import WEEK_DAYS
from lifecycle.gate import MINIMUM_DAYS
from lifecycle.performance.estimation import Estimate, estimate, fall
from lifecycle.performance.estimator import fit, fit_again
from lifecycle.performance.grading import Grade, corrected, grade
from lifecycle.ranking import ranking_with_error

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.performance.promise import Promise
    from lifecycle.pipeline import MonitorRule, Task


@dataclass(frozen=True)
class Outlook:
    """What can be said about a week of forecasts, the last of which have just been issued.

    Parameters
    ----------
    estimate : None where there is nothing to estimate; ``reason`` then says why.
    known_share : share of the week's forecasts whose labels are known.
    grade : how good such estimates turned out to be so far.
    errors, warnings : a fall of ranking that is certain as far as estimates can be; an error only if the grade trusts
        them.
    """

    estimate: Estimate | None
    known_share: float | None
    grade: Grade
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str | None = None


def outlook(
    judged: pl.DataFrame | None,
    forecasts: pl.DataFrame,
    past: Sequence[tuple[Estimate, float | None]],
    promise: Promise,
    rule: MonitorRule,
    task: Task,
    as_of: date,
    learn_days: int,
    threshold: float | None = None,
) -> Outlook:
    """Estimate the week that ends with the newest forecasts, at the close of a day.

    Parameters
    ----------
    judged : (rows,) ``day``, ``score``, ``label`` of the days the champion was judged on; None where not kept.
    forecasts : (rows,) the champion's, with ``day`` of the event, ``score`` and ``label``, null where it is not known
        at the close of ``as_of``.
    promise : what the week is held against.
    past : estimates of weeks that are over, and the ranking metric that was realised, None while not known.
    learn_days : labelled days that the estimator learns from.
    """
    name = "auc" if task == "classification" else "r2"
    realised = {made.first_day: {name: value} for made, value in past if made.first_day}
    graded = grade([made for made, _ in past], realised, name)
    week = last_week(forecasts)
    days = week["day"].n_unique() if week.height else 0
    if judged is None or days < MINIMUM_DAYS:
        why = f"it has forecast {days} days of the week, {MINIMUM_DAYS} are needed" if judged is not None else _NOT_KEPT
        return Outlook(None, None, graded, reason=f"Nothing to estimate: {why}.")
    try:
        estimator = fit_again(_history(judged, forecasts, as_of), as_of, learn_days, fit(*_arrays(judged), task))
    except ValueError as error:
        return Outlook(None, None, graded, reason=f"Nothing to estimate: {error}.")
    scores, labels, of_days = _arrays(week)
    made = corrected(estimate(estimator, scores, of_days, threshold, labels=labels), past, name)
    own_error = promise.at_least(_error_of_week(week, task), promise.ranking_error, days)
    fallen = fall(made, promise, task, rule.ranking_drop, own_error)
    texts = () if fallen is None else (fallen[1],)
    believed = fallen is not None and fallen[0] and graded.trustworthy
    known = float(week["label"].is_not_null().mean())  # type: ignore[arg-type]
    return Outlook(made, known, graded, errors=texts if believed else (), warnings=() if believed else texts)


def _error_of_week(week: pl.DataFrame, task: Task) -> float:
    """Standard error of the ranking of a week with all its labels, from the days that have some.

    Zero where too few have: the band then tells of nearly all that the week may bring.
    """
    import polars as pl

    known = week.filter(pl.col("label").is_not_null())
    error = ranking_with_error(known, task)[1]
    return (error or 0.0) * (known["day"].n_unique() / max(week["day"].n_unique(), 1)) ** 0.5


_NOT_KEPT = "the champion's forecasts of the days it was judged on were not kept; retrain it to keep them"


def last_week(forecasts: pl.DataFrame, last: date | None = None, version: str = "model_version") -> pl.DataFrame:
    """The forecasts of seven days up to ``last`` (by default the newest), by the version that forecast the last one.

    Parameters
    ----------
    forecasts : (rows,) with ``day`` and ``score``; without a score that is a number they are left out.
    version : column that tells who made each; without it all are one version's.
    """
    import polars as pl

    scored = forecasts.filter(pl.col("score").cast(pl.Float64).is_finite())
    last = last or scored["day"].max()  # type: ignore[assignment]
    if last is None:
        return scored
    week = scored.filter(pl.col("day") <= last, pl.col("day") > last - timedelta(days=WEEK_DAYS)).sort("day")
    if version not in week.columns or week.is_empty():
        return week
    return week.filter(pl.col(version) == week[version][-1])


def realised_ranking(week: pl.DataFrame, task: Task) -> float | None:
    """AUC or R² of the forecasts of a week that have labels; None where not defined."""
    return ranking_with_error(week, task)[0]


def _history(judged: pl.DataFrame, forecasts: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Everything labelled of the champion's; all of it is known at the close of ``as_of``."""
    import polars as pl

    columns = [pl.col("day"), pl.col("score").cast(pl.Float64), pl.col("label").cast(pl.Float64)]
    rows = pl.concat([judged.select(columns), forecasts.select(columns)])
    return rows.filter(pl.col("label").is_not_null()).with_columns(pl.lit(as_of).alias("known_day"))


def _arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import polars as pl

    scores, labels = (frame[name].cast(pl.Float64).to_numpy() for name in ("score", "label"))
    return scores, labels, frame["day"].to_numpy().astype("datetime64[D]")
