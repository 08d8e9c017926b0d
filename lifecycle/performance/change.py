"""Concept drift: changes in the level of a model's losses, found on the stream of its errors.

What belongs here: change points of a series, as pure functions of that series, so that a replay or a restart finds
the same ones. Whether a change matters, and what is done about it, is decided elsewhere; drift of inputs is in
``drift/monitoring.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from lifecycle.drift.significance import HIGHEST_AUTOCORRELATION, MINIMUM_DAYS, spread_of_next
from lifecycle.pipeline import LEAST_FALSE_ALARM_DAYS

if TYPE_CHECKING:
    import numpy as np

ALLOWANCE = 0.5  # half of the shift, in standard deviations, to be found fastest: one deviation, by convention
LARGEST_STEP = 3.0  # one odd day counts for no more than three standard deviations, and alone raises no alarm
LEAST_BEFORE = 3  # values from which a spread can be told
LEAST_AFTER = 2  # values on either side of a change
WARM_UP = 28  # values that give ADWIN its scale: four weeks, so that every weekday counts alike
SMALLEST_SPREAD = 1e-7  # of the largest value: what summing leaves behind of equal ones


@dataclass(frozen=True)
class Change:
    """A change in the level of a series.

    Parameters
    ----------
    day : the first day at the new level, by maximum likelihood.
    alarm_day : the day whose value raised the alarm; nothing later was used.
    direction : "worse" when the losses have grown.
    size : mean from ``day`` to ``alarm_day`` minus the mean before, in units of the series.
    before, after : these means.
    """

    day: date
    alarm_day: date
    direction: Literal["worse", "better"]
    size: float
    before: float
    after: float
    detector: str

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON-ready values."""
        return {**vars(self), "day": self.day.isoformat(), "alarm_day": self.alarm_day.isoformat()}

    def __str__(self) -> str:
        return (
            f"Losses are {self.direction} by {abs(self.size):.3g} since {self.day} ({self.before:.3g} before, "
            f"{self.after:.3g} after; {self.detector}, alarm of {self.alarm_day})"
        )


def daily_means(losses: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss of every day that has losses, and these days in order.

    Parameters
    ----------
    losses, days : (rows,) losses, NaN where not known, and datetime64[D]; in any order.

    Returns
    -------
    means, days
        (days present,) each; a day without a known loss is left out.
    """
    import numpy as np

    losses, days = _checked(losses, days)
    present, index = np.unique(days, return_inverse=True)
    return np.bincount(index, weights=losses, minlength=present.size) / np.bincount(index), present


def cusum(values: np.ndarray, days: np.ndarray, false_alarm_days: float = 365.0) -> list[Change]:
    """Changes of level found by a self-starting, two-sided CUSUM: the Page-Hinkley test with known error rates.

    Parameters
    ----------
    values : (days,) daily mean losses; NaN where there is none.
    days : (days,) datetime64[D].
    false_alarm_days : mean number of days between false alarms while nothing changes; by default, one a year.

    Returns
    -------
    list of Change
        In order. What is found on the first n values does not depend on those that follow.

    Raises
    ------
    ValueError
        If lengths differ, or ``false_alarm_days`` is not above 10, below which the approximation of the limit fails.

    Notes
    -----
    Hawkins (1987), "Self-starting CUSUM charts for location and scale", The Statistician 36: every value is held
    against mean and spread of those before it; the t statistic, made normal by its distribution, is exactly
    independent standard normal while independent normal values do not change, so that no reference period must be
    set aside. The limit follows from ``false_alarm_days`` by Siegmund (1985), "Sequential Analysis". Steps are cut
    as in Lucas & Crosier (1982), "Robust CUSUM", Technometrics 24. Losses of neighbouring days go together: the steps
    are shrunk by the square root of (1 + r) / (1 - r), r being the autocorrelation of the values so far, which gives
    the sum the spread of an independent series. After a change the test starts anew with the first day of the new
    level. A level that moves slowly, or within days of the start or of another alarm, is learnt as if it were normal.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange("2013-01-01", "2013-03-02", dtype="datetime64[D]")
    >>> noise = np.tile([0.02, -0.01, 0.0, -0.02, 0.01], 12)
    >>> [str(change.day) for change in cusum(noise + np.where(days >= np.datetime64("2013-02-10"), 0.5, 0.4), days)]
    ['2013-02-10']
    """
    limit = _cusum_limit(false_alarm_days)
    return _changes(values, days, "CUSUM", lambda segment, after: _cusum_alarm(segment, after, limit))


@dataclass(frozen=True)
class Shift:
    """The last values of a series against those before them.

    Parameters
    ----------
    day : the first of the last ones.
    before, after : mean of the others, and of the last.
    p_value : chance of means so far apart where nothing changes; two-sided.
    """

    day: date
    before: float
    after: float
    p_value: float


def shift(values: np.ndarray, days: np.ndarray, span: int) -> Shift | None:
    """How far the mean of the last values is from that of those before.

    Where days are normal and independent no test of just these days finds a change of the mean more often, while
    ``cusum``, which waits for any change at any time, finds one that is smaller, later.

    Parameters
    ----------
    values : (days,) daily means; NaN where there is none. days : (days,) datetime64[D], in order.
    span : how many are the last.

    Returns
    -------
    Shift or None
        None where there are fewer than five times as many before, or they do not vary.

    Notes
    -----
    Student's t test of a mean of ``span`` neighbouring values against those before it; days that go together count for
    what they are (``significance.spread_of_next``).

    Examples
    --------
    >>> import numpy as np
    >>> days = np.arange("2013-01-01", "2013-03-02", dtype="datetime64[D]")
    >>> noise = np.tile([0.2, -0.1, 0.0, -0.2, 0.1], 12)
    >>> round(shift(noise, days, 3).p_value, 2)
    0.68
    >>> round(shift(noise + (days > days[-4]), days, 3).p_value, 6)
    0.0
    """
    from scipy.special import stdtr

    values, days = _checked(values, days)
    past = values[:-span]
    if past.size < MINIMUM_DAYS * span:
        return None
    (spread,), (freedom,) = spread_of_next(past[:, None], span)
    if spread <= SMALLEST_SPREAD * float(abs(values).max()):
        return None
    before, after = float(past.mean()), float(values[-span:].mean())
    chance = 2 * float(stdtr(freedom, -abs(after - before) / spread))
    return Shift(days[-span].item(), before, after, chance)


def adwin(values: np.ndarray, days: np.ndarray, delta: float = 0.002) -> list[Change]:
    """Changes of level found by ADWIN, the adaptive window of Bifet & Gavaldà.

    Slower than ``cusum`` and with fewer false alarms: its bound holds for any distribution.

    Parameters
    ----------
    values : (n,) daily mean losses, or losses of single rows; NaN where there is none.
    days : (n,) datetime64[D]; values of one day keep their order.
    delta : chance of a false alarm at a comparison; the default is that of the paper's authors. Rows of a day err
        together, which ADWIN does not know: on single rows it raises more false alarms than ``delta`` says.

    Returns
    -------
    list of Change
        In order. What is found on the first n values does not depend on those that follow.

    Raises
    ------
    ValueError
        If lengths differ or ``delta`` is not between 0 and 1.

    Notes
    -----
    Bifet & Gavaldà (2007), "Learning from time-changing data with adaptive windowing", SIAM SDM, as implemented by
    river. Its bound is made for values with a range of about one: they are divided by the standard deviation of the
    first 28, in which nothing is looked for. It looks at every value, not at every 32nd.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; it must lie between 0 and 1")
    return _changes(values, days, "ADWIN", lambda segment, after: _adwin_alarm(segment, after, delta), scaled=True)


def _changes(
    values: np.ndarray,
    days: np.ndarray,
    detector: str,
    alarm: Callable[[np.ndarray, int], int | None],
    scaled: bool = False,
) -> list[Change]:
    """Runs a detector from change to change. ``alarm(segment, after)`` gives the first alarm behind ``after``."""
    import numpy as np

    values, days = _checked(values, days)
    order = np.argsort(days, kind="stable")
    values, days = values[order], days[order]
    scale = _scale(values[:WARM_UP]) if scaled else 1.0
    found: list[Change] = []
    start, seen = 0, WARM_UP - 1 if scaled else -1
    while (place := alarm(values[start:] / scale, seen - start)) is not None:
        seen = start + place
        onset = start + _onset(values[start : seen + 1])
        before, after = float(values[start:onset].mean()), float(values[onset : seen + 1].mean())
        direction: Literal["worse", "better"] = "worse" if after > before else "better"
        found.append(Change(days[onset].item(), days[seen].item(), direction, after - before, before, after, detector))
        start = onset
    return found


def _cusum_limit(false_alarm_days: float) -> float:
    """The limit at which both one-sided sums together give a false alarm every ``false_alarm_days``."""
    import math

    from scipy.optimize import brentq

    if not false_alarm_days > LEAST_FALSE_ALARM_DAYS:
        raise ValueError(f"false_alarm_days is {false_alarm_days}; it must be above {LEAST_FALSE_ALARM_DAYS}")
    wanted = 2 * false_alarm_days  # each of the two sides

    def excess(limit: float) -> float:
        reach = 2 * ALLOWANCE * (limit + 1.166)
        return (math.exp(reach) - reach - 1) / (2 * ALLOWANCE**2) - wanted

    return float(brentq(excess, 0, 50))


def _cusum_alarm(segment: np.ndarray, after: int, limit: float) -> int | None:
    up = down = 0.0
    for place, step in enumerate(_normal_steps(segment).tolist()):
        up, down = max(0.0, up + step - ALLOWANCE), max(0.0, down - step - ALLOWANCE)
        if place > after and max(up, down) > limit:
            return place
    return None


def _normal_steps(segment: np.ndarray) -> np.ndarray:
    """(n,) every value against those before it, standard normal and as good as independent without a change."""
    import numpy as np
    from scipy.stats import norm, t

    steps = np.zeros(segment.size)
    if segment.size <= LEAST_BEFORE:
        return steps
    centred = segment - segment[0]
    number = np.arange(1, segment.size)  # values before each but the first
    mean = np.cumsum(centred)[:-1] / number
    variance = np.maximum(np.cumsum(centred**2)[:-1] - number * mean**2, 0) / np.maximum(number - 1, 1)
    spread, deviation = np.sqrt(variance), centred[1:] - mean
    noise = SMALLEST_SPREAD * np.maximum.accumulate(abs(segment))[1:]
    spread, deviation = np.where(spread > noise, spread, 0), np.where(abs(deviation) > noise, deviation, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(deviation / spread * np.sqrt(number / (number + 1)), nan=0.0, posinf=1e9, neginf=-1e9)
    normal = np.sign(ratio) * norm.isf(t.sf(abs(ratio), np.maximum(number - 1, 1)))
    steps[1:] = np.clip(normal, -LARGEST_STEP, LARGEST_STEP) / _inflation(centred, mean)
    steps[:LEAST_BEFORE] = 0
    return steps


def _inflation(centred: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(n - 1,) by how much sums of neighbouring values spread more than independent ones, from the values before."""
    import numpy as np

    number = np.arange(1, centred.size)
    products = np.concatenate([[0.0], np.cumsum(centred[:-1] * centred[1:])])[:-1]
    squares = np.cumsum(centred**2)[:-1]
    # Sums of (x - m)(x' - m) over neighbours, with the mean so far; the ends of the series are left aside.
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = (products - (number - 1) * mean**2) / (squares - number * mean**2)
    correlation = np.where(number >= 2 * LEAST_BEFORE, np.nan_to_num(correlation, posinf=0, neginf=0), 0)
    correlation = np.clip(correlation, 0, HIGHEST_AUTOCORRELATION)
    return np.sqrt((1 + correlation) / (1 - correlation))


def _adwin_alarm(segment: np.ndarray, after: int, delta: float) -> int | None:
    from river.drift import ADWIN

    window = ADWIN(delta=delta, clock=1)
    for place, value in enumerate(segment.tolist()):
        window.update(value)
        if window.drift_detected and place > after and place >= 2 * LEAST_AFTER - 1:
            return place
    return None


def _onset(values: np.ndarray) -> int:
    """Place of the first value after the likeliest single change of the mean."""
    import numpy as np

    total = values.size
    before = np.arange(LEAST_AFTER, total - LEAST_AFTER + 1)
    sums = np.cumsum(values - values.mean())
    gain = sums[before - 1] ** 2 * (1 / before + 1 / (total - before))
    return int(before[np.argmax(gain)])


def _scale(values: np.ndarray) -> float:
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return spread or 1.0


def _checked(values: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    values, days = np.asarray(values, dtype=float), np.asarray(days, dtype="datetime64[D]")
    if values.shape != days.shape or values.ndim != 1:
        raise ValueError(f"values have shape {values.shape}, days {days.shape}; pass one day per value")
    known = np.isfinite(values) & ~np.isnat(days)
    return values[known], days[known]
