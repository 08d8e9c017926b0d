"""What is learnt from labelled forecasts in order to estimate performance without labels.

What belongs here: how far labels lie from scores, how sure that is, and by how much days differ. What is expected of
other forecasts follows in ``estimation.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.gate import MINIMUM_DAYS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task

ERROR_BINS = 10
SMALLEST = 1e-6
# Averaging a logistic curve over normal shifts of variance v flattens it by sqrt(1 + 0.346 v); Zeger, Liang & Albert
# (1988), "Models for longitudinal data: a generalized estimating equation approach".
FLATTENING = (16 * 3**0.5 / (15 * 3.141592653589793)) ** 2


@dataclass(frozen=True)
class Estimator:
    """What is known about labels given scores, from a window of labelled days.

    Parameters
    ----------
    first_day, last_day, days, rows : the window.
    places, absolute, squared : regression: mean scores of bins, and mean |residual| and mean squared residual at each,
        between them straight.
    ratios : regression: for each day, its mean |residual| and squared residual over what these say.
    centre : classification: log-odds around which slopes turn.
    shared : covariance of intercept and slope that all days to come share, as (2, 2): the window's own uncertainty,
        with what it shows scores to be off by.
    daily : covariance of intercept and slope from day to day.
    """

    task: Task
    first_day: date
    last_day: date
    days: int
    rows: int
    places: tuple[float, ...] = ()
    absolute: tuple[float, ...] = ()
    squared: tuple[float, ...] = ()
    ratios: tuple[tuple[float, float], ...] = ()
    centre: float = 0.0
    shared: tuple[tuple[float, float], ...] = ()
    daily: tuple[tuple[float, float], ...] = ()


def fit(scores: np.ndarray, labels: np.ndarray, days: np.ndarray, task: Task) -> Estimator:
    """Learn labels given scores from a window of labelled days that the model has not learnt from.

    In classification scores are taken at their word, as those of a model that was calibrated when it was trained; what
    the window shows them to be off by is put into the band. To calibrate them again on the window would pay only where
    it is long: where days differ by a standard deviation of t in log-odds, the level of a window of G days is known to
    t / sqrt(G) only, and the correction is lost when levels do not last.

    Parameters
    ----------
    scores, labels : (rows,) forecasts as issued and what happened; rows without either are left out.
    days : (rows,) datetime64[D].

    Raises
    ------
    ValueError
        If lengths differ, fewer than five days are labelled, or all labels of a classification are the same.

    Notes
    -----
    Days differ in how far their labels lie from the scores. Log-odds of a day are taken to be those of the scores plus
    a line with a normal intercept and slope of the day's own. Their covariance is found by moments: with g the day's
    score vector and H its information, E[g g'] = H + H S H, solved for S over all days. What is not known of
    the level and slope is the sandwich estimate clustered by day; Liang & Zeger (1986). The square of what the window
    shows scores to be off by is added, as far as it is beyond that.

    In regression, the size of residuals is averaged over ten bins of equal numbers of scores, with lines between,
    and days differ by their ratio to that.
    """
    import numpy as np

    scores, labels, days = known_rows(scores, labels, days)
    present = np.unique(days)
    if present.size < MINIMUM_DAYS:
        raise ValueError(
            f"the window holds {labels.size} labelled forecasts of {present.size} days; an estimator needs "
            f"{MINIMUM_DAYS} days to know how they differ: pass a longer window"
        )
    window = (present[0].item(), present[-1].item(), int(present.size), int(labels.size))
    if task == "regression":
        return Estimator(task, *window, **_residuals(scores, labels, days))
    if (labels == labels[0]).all():
        raise ValueError(
            f"all {labels.size} labels of the window are {labels[0]:g}: nothing can be learnt; pass a longer window"
        )
    centre, shared, daily = _differences(np.clip(scores, SMALLEST, 1 - SMALLEST), labels, days)
    return Estimator(task, *window, centre=centre, shared=_pairs(shared), daily=_pairs(daily))


def fit_again(history: pl.DataFrame, as_of: date, days: int, fallback: Estimator) -> Estimator:
    """An estimator fitted on the last labelled days, as far as they were known at the close of a day.

    Parameters
    ----------
    history : (rows,) with ``score``, ``label``, ``day``, and ``known_day``: the day at whose close the label was known.
        Rows known later than ``as_of`` are not looked at.
    days : length of the window of event days that ends at ``as_of``.
    fallback : gives the task; it is returned where the window is too short or of one class.

    Raises
    ------
    ValueError
        If a column is missing or ``days`` is below one.
    """
    import polars as pl

    _check_columns(history, ("score", "label", "day", "known_day"))
    if days < 1:
        raise ValueError(f"days is {days}; the window needs at least one")
    day = pl.col("day")
    known = history.filter(pl.col("known_day") <= as_of, day <= as_of, day > as_of - timedelta(days=days))
    arrays = _arrays(known)
    try:
        return fit(*arrays, fallback.task)
    except ValueError:
        return fallback  # too few days or one class; what was known before is the best there is


def _differences(chances: np.ndarray, labels: np.ndarray, days: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Centre of the log-odds, and covariances of intercept and slope: of all days together, and from day to day."""
    import numpy as np

    odds = logit(chances)
    centre = float(odds.mean())
    slopes = odds - centre
    _, index = np.unique(days, return_inverse=True)
    weights, rest = chances * (1 - chances), labels - chances

    def by_day(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values)

    vectors = np.column_stack([by_day(rest), by_day(rest * slopes)])
    cross = by_day(weights * slopes)
    information = np.array([[by_day(weights), cross], [cross, by_day(weights * slopes**2)]]).transpose(2, 0, 1)
    groups = len(vectors)
    outer = vectors[:, :, None] * vectors[:, None, :]
    system = np.einsum("dij,dkl->ikjl", information, information).reshape(4, 4)
    solved, *_ = np.linalg.lstsq(system, (outer - information).sum(axis=0).reshape(4), rcond=1e-9)
    bread = np.linalg.pinv(information.sum(axis=0), rcond=1e-9)
    off = bread @ vectors.sum(axis=0)
    # Known no better than labels that fall independently would let it be.
    meat = _no_less(outer.sum(axis=0) * groups / (groups - 1), information.sum(axis=0))
    # What scores are off by counts as far as it exceeds what the window cannot know.
    return centre, _no_less(np.outer(off, off), bread @ meat @ bread), _semidefinite(solved.reshape(2, 2))


def _no_less(matrix: np.ndarray, least: np.ndarray) -> np.ndarray:
    return least + _semidefinite(matrix - least)


def _semidefinite(matrix: np.ndarray) -> np.ndarray:
    """The nearest matrix that is a covariance."""
    import numpy as np

    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def _residuals(scores: np.ndarray, labels: np.ndarray, days: np.ndarray) -> dict[str, Any]:
    """Size of the residuals at the mean scores of bins, and how days differ from it."""
    import numpy as np

    edges = np.unique(np.quantile(scores, np.arange(1, ERROR_BINS) / ERROR_BINS, method="higher"))
    _, index = np.unique(np.searchsorted(edges, scores, side="right"), return_inverse=True)
    counts = np.bincount(index)
    places = np.bincount(index, weights=scores) / counts
    _, day = np.unique(days, return_inverse=True)
    means, ratios = [], []
    for size in (abs(labels - scores), (labels - scores) ** 2):
        mean = np.bincount(index, weights=size) / counts
        # Between the bins' mean scores a line; in all, what the window's residuals were.
        line = np.interp(scores, places, mean)
        scale = size.sum() / line.sum() if line.any() else 1.0
        expected = np.bincount(day, weights=line * scale)
        ratios.append(np.where(expected > 0, np.bincount(day, weights=size) / np.where(expected > 0, expected, 1), 1))
        means.append(tuple((mean * scale).tolist()))
    return {
        "places": tuple(places.tolist()),
        "absolute": means[0],
        "squared": means[1],
        "ratios": _pairs(np.column_stack(ratios)),
    }


def _arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels = (frame[name].cast(float).to_numpy() for name in ("score", "label"))
    return scores, labels, frame["day"].to_numpy()


def known_rows(scores: np.ndarray, labels: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that have all three."""
    import numpy as np

    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    days = np.asarray(days, dtype="datetime64[D]")
    if scores.shape != labels.shape or days.shape != labels.shape:
        raise ValueError(
            f"scores have shape {scores.shape}, labels {labels.shape}, days {days.shape}; pass one of each per row"
        )
    known = np.isfinite(scores) & np.isfinite(labels) & ~np.isnat(days)
    return scores[known], labels[known], days[known]


def _check_columns(frame: pl.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ValueError(f"forecasts lack the columns {absent}; they have {frame.columns}")


def logit(chances: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import logit

    return logit(np.clip(chances, SMALLEST, 1 - SMALLEST))


def _pairs(matrix: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(first), float(second)) for first, second in matrix)
