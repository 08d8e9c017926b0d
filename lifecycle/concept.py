"""Concept drift of a champion: whether its errors grow beyond what its own forecasts announce.

What belongs here: the series that is watched and the verdict on it. Finding changes in a series is in ``change.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.change import Change, adwin, cusum, daily_means
from lifecycle.harm import announced
from lifecycle.losses import row_losses

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.pipeline import MonitorRule, Task


@dataclass(frozen=True)
class Concept:
    """What the stream of a champion's errors says.

    Parameters
    ----------
    days, means : (days,) days with labels, and the mean excess of the loss on each; see ``excess_by_day``.
    changes : changes of level by CUSUM, in order. ``adwin``: by ADWIN, which is slower and shown beside it.
    errors, warnings : a change for the worse that was found in the last days, by CUSUM; other changes found.
    """

    days: tuple[date, ...]
    means: tuple[float, ...]
    changes: tuple[Change, ...]
    adwin: tuple[Change, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def excess_by_day(forecasts: pl.DataFrame, task: Task) -> dict[date, float]:
    """Mean of loss minus what the forecasts themselves announce, for each day that has labels.

    A day of storms is harder to forecast, and a calibrated model says so: that is no concept drift, and a plain mean
    of losses would call it one.

    Parameters
    ----------
    forecasts : (rows,) with ``day``, ``score`` and ``label``, null or NaN where there is none.

    Returns
    -------
    dict
        In order of days; in units of the loss. Regression announces nothing: the mean squared error.
    """
    import polars as pl

    known = [pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite() for name in ("score", "label")]
    scored = forecasts.filter(*known)
    labels, scores = (scored[name].cast(pl.Float64).to_numpy() for name in ("label", "score"))
    losses = row_losses(labels, scores, task) - announced(scores, task)
    means, days = daily_means(losses, scored["day"].to_numpy())
    return {day.item(): float(mean) for day, mean in zip(days, means, strict=True)}


def concept_drift(excess: dict[date, float], rule: MonitorRule, today: date) -> Concept:
    """Judge the stream of a champion's errors at the close of a day.

    Parameters
    ----------
    excess : mean excess of the loss by day, from the days the champion was judged on to the newest labels.
    today : only changes found within ``rule.of_days`` up to here count: one that was found is heard for some days,
        and once the level is what it is for long, the reports of performance speak of it.
    """
    import numpy as np

    ordered = sorted(day for day in excess if day <= today)
    means = np.array([excess[day] for day in ordered])
    days = np.array(ordered, dtype="datetime64[D]")
    found, slower = cusum(means, days, rule.concept_false_alarm_days), adwin(means, days)
    since = today - timedelta(days=rule.of_days)
    recent = [change for change in found if change.alarm_day > since]
    return Concept(
        days=tuple(ordered),
        means=tuple(means.tolist()),
        changes=tuple(found),
        adwin=tuple(slower),
        errors=tuple(_sentence(change) for change in recent if change.direction == "worse"),
        warnings=tuple(_sentence(change) for change in slower if change.alarm_day > since),
    )


def _sentence(change: Change) -> str:
    grown = "grown" if change.direction == "worse" else "fallen"
    return (
        f"The loss beyond what the forecasts announce has {grown} from {change.before:+.3g} to {change.after:+.3g} a "
        f"row since {change.day} ({change.detector}, found on {change.alarm_day})."
    )
