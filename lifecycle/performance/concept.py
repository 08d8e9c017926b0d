"""Concept drift of a champion: whether its errors grow beyond what it announces, or its forecasts leave their level.

What belongs here: the series that are watched and the verdict on them. Finding changes in a series is in
``change.py``, taking from it what hindcasts explain in ``hindcasts.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.drift.harm import announced
from lifecycle.losses import row_losses
from lifecycle.performance.change import Change, Shift, adwin, cusum, daily_means, shift
from lifecycle.performance.hindcasts import HINDCAST, apart_from_news

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import MonitorRule, Task

LAST_DAYS = 3  # in which a large change of the level is to be found
HEARD_DAYS = 2  # that what CUSUM found is an error: a night that failed must not take it along


@dataclass(frozen=True)
class DayErrors:
    """How a champion erred on a day.

    Parameters
    ----------
    excess : mean of its loss minus what its forecasts announce of it. A day of storms is harder to forecast, and a
        calibrated model says so: that is no concept drift, and a plain mean of losses would call it one. Regression
        announces nothing: the mean squared error.
    level : what happened minus what was forecast; in classification the log-odds of the two means, in which a change of
        the base rate is the same whatever the rate. None where an earlier release did not keep it.
    news : what was hindcast minus what was forecast, in the same units. None where nothing was hindcast.
    """

    excess: float
    level: float | None
    news: float | None = None


@dataclass(frozen=True)
class Concept:
    """What the stream of a champion's errors says.

    Parameters
    ----------
    errors_by_day : by day in order, of the days with labels.
    changes : changes of the excess by CUSUM, in order. ``adwin``: by ADWIN, which is slower and shown beside it.
    level_by_day : the level apart from what news explains, of days that have one.
    levels : changes of the level by CUSUM, in order.
    errors, warnings : changes found in the last days: for the worse or away from what is forecast by CUSUM; by ADWIN.
    """

    errors_by_day: Mapping[date, DayErrors]
    level_by_day: Mapping[date, float]
    changes: tuple[Change, ...]
    adwin: tuple[Change, ...]
    levels: tuple[Change, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def errors_by_day(forecasts: pl.DataFrame, task: Task) -> dict[date, DayErrors]:
    """The errors of each day that has labels.

    Parameters
    ----------
    forecasts : (rows,) with ``day``, ``score`` and ``label``, null or NaN where there is none; and ``hindcast``, where
        there are any, see ``hindcasts.py``.

    Returns
    -------
    dict
        In order of days.
    """
    import numpy as np
    import polars as pl

    known = [pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite() for name in ("score", "label")]
    scored = forecasts.filter(*known, pl.col("day").is_not_null())
    labels, scores = (scored[name].cast(pl.Float64).to_numpy() for name in ("label", "score"))
    when = scored["day"].to_numpy()
    excess, days = daily_means(row_losses(labels, scores, task) - announced(scores, task), when)
    hindcasts = _hindcasts(scored)
    known_best = np.where(np.isnan(hindcasts), scores, hindcasts)
    means = [daily_means(values, when)[0] for values in (labels, scores, known_best)]
    if task == "classification":
        rows = np.unique(when, return_counts=True)[1]
        means = [_log_odds(each, rows) for each in means]
    happened, forecast, hindcast = means
    news = np.where(daily_means(np.isfinite(hindcasts), when)[0] > 0, hindcast - forecast, np.nan)
    return {
        day.item(): DayErrors(float(mean), float(level), float(told) if np.isfinite(told) else None)
        for day, mean, level, told in zip(days, excess, happened - forecast, news, strict=True)
    }


def concept_drift(errors: Mapping[date, DayErrors], rule: MonitorRule, today: date, wait_days: int = 0) -> Concept:
    """Judge the stream of a champion's errors at the close of a day.

    Two series are watched. The excess of the loss grows whenever forecasts get worse, of whatever kind the change is;
    but where less happens than was forecast the loss often falls, as the rare outcome is the dear one, while the
    forecasts are wrong: that shows in the level. A large change of it shows in the mean of the last days before the sum
    that waits for any change has grown to its limit, and soonest apart from what only became known after the forecasts.
    The sum is of the level as it is: a change of which features of the last hours tell must not pass for news for ever.

    Parameters
    ----------
    errors : by day, from the days the champion was judged on to the newest labels.
    today : the close of which day it is; later ones are not looked at. Of changes, only those found on the last
        ``HEARD_DAYS`` to the newest label count, or as many as labels may be late: once things are what they are for
        long, the reports of performance speak of it.
    wait_days : how long labels are waited for at most; where they stop, errors stop being heard so much later.
    """
    import numpy as np

    ordered = {day: errors[day] for day in sorted(errors) if day <= today}
    days = np.array(list(ordered), dtype="datetime64[D]")
    excess = np.array([day.excess for day in ordered.values()], dtype=float)
    level = np.array([np.nan if day.level is None else day.level for day in ordered.values()], dtype=float)
    told = levels_told(list(ordered.values()))
    changes, slower = cusum(excess, days, rule.concept_false_alarm_days), adwin(excess, days)
    levels = cusum(level, days, rule.concept_false_alarm_days)
    newest = max(ordered, default=date.min)
    if (today - newest).days > HEARD_DAYS + wait_days:
        newest = today
    # An alarm may come with labels that are late, on a day that is long past by then.
    since = newest - timedelta(days=max(HEARD_DAYS, 1 + wait_days))
    last_days = shift(told, days, LAST_DAYS) if newest in ordered else None
    grown = [change for change in changes if change.alarm_day > since and change.direction == "worse"]
    away = [change for change in levels if change.alarm_day > since and abs(change.after) > abs(change.before)]
    return Concept(
        errors_by_day=ordered,
        level_by_day={day: value for day, value in zip(ordered, told.tolist(), strict=True) if np.isfinite(value)},
        changes=tuple(changes),
        adwin=tuple(slower),
        levels=tuple(levels),
        errors=(*map(_of_excess, grown), *(map(_of_level, away) if away else _of_last_days(last_days, rule))),
        warnings=tuple(_of_excess(change) for change in slower if change.alarm_day > since),
    )


def levels_told(errors: Sequence[DayErrors]) -> np.ndarray:
    """(days,) levels of days in order apart from what news explains, NaN where there is none."""
    import numpy as np

    levels, news = (
        np.array([np.nan if value is None else value for value in values], dtype=float)
        for values in ([day.level for day in errors], [day.news for day in errors])
    )
    return apart_from_news(levels, news)


def _hindcasts(scored: pl.DataFrame) -> np.ndarray:
    """(rows,) hindcasts, NaN where there is none."""
    import numpy as np
    import polars as pl

    if HINDCAST not in scored.columns:
        return np.full(scored.height, np.nan)
    made = scored[HINDCAST].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(made), made, np.nan)


def _log_odds(means: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(days,) of a share of rows; a row is added, half of it happening, as where none did there are no odds."""
    import numpy as np

    happened = means * rows + 0.5
    return np.asarray(np.log(happened / (rows + 1 - happened)))


def _of_excess(change: Change) -> str:
    grown = "grown" if change.direction == "worse" else "fallen"
    return (
        f"The loss beyond what the forecasts announce has {grown} from {change.before:+.3g} to {change.after:+.3g} a "
        f"row since {change.day} ({change.detector}, found on {change.alarm_day})."
    )


def _of_last_days(found: Shift | None, rule: MonitorRule) -> tuple[str, ...]:
    """What they say where they moved away from what is forecast."""
    if found is None or found.p_value > rule.level_false_share or abs(found.after) <= abs(found.before):
        return ()
    chance = f"a t test of {LAST_DAYS} days apart from later news, p {found.p_value:.2g}"
    return (_level_moved(found.after, found.before, found.day, chance),)


def _of_level(change: Change) -> str:
    return _level_moved(change.after, change.before, change.day, f"{change.detector}, found on {change.alarm_day}")


def _level_moved(after: float, before: float, day: date, found_by: str) -> str:
    return (
        f"{'More' if after > 0 else 'Less'} happens than is forecast since {day}: what happened minus what was "
        f"forecast (log-odds by classification) went from {before:+.3g} to {after:+.3g} ({found_by})."
    )
