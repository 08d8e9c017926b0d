"""How well forecasts rank: AUC or R², with an error that knows that the rows of a day move together.

What belongs here: the statistic and its sampling error. What a fall of it means is said in ``performance/realised.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task


# Beyond a limit and by more than so many standard errors is an error, else a warning: Shewhart's convention for control
# charts. A year has many nights, and two would be exceeded on one in twenty of them by chance alone.
STANDARD_ERRORS = 3.0


def ranking(labels: np.ndarray, scores: np.ndarray, days: np.ndarray, task: Task) -> tuple[float | None, float | None]:
    """AUC (classification) or R² (regression) and its standard error clustered by day.

    Returns
    -------
    value, standard_error
        (None, None) when it is not defined: one class only, or labels that do not vary.

    Notes
    -----
    The AUC's influence are the placement values of DeLong, DeLong & Clarke-Pearson (1988), summed within
    clusters as in Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data".
    """
    statistic = _auc if task == "classification" else _r2
    value, influence = statistic(labels, scores)
    return value, clustered_standard_error(influence, days) if value is not None else None


def ranking_with_error(frame: pl.DataFrame, task: Task) -> tuple[float | None, float | None]:
    """``ranking`` of a frame's rows that have both ``score`` and ``label``, by their ``day``."""
    labels, scores, days = known_arrays(frame)
    return ranking(labels, scores, days, task) if labels.size else (None, None)


def known_arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows,) ``label``, ``score`` and ``day`` of the rows that have a finite label and score."""
    import polars as pl

    values = [pl.col(name).cast(pl.Float64) for name in ("label", "score")]
    known = frame.select(*values, "day").filter(pl.col("label").is_finite(), pl.col("score").is_finite())
    labels, scores, days = (known[name].to_numpy() for name in ("label", "score", "day"))
    return labels, scores, days


def clustered_standard_error(influence: np.ndarray, days: np.ndarray) -> float | None:
    """Standard error of a statistic whose rows move together within a day.

    Parameters
    ----------
    influence : (rows,) contribution of every row to the statistic's deviation from its expectation, so that
        their sum is about zero: ``(x - mean) / rows`` for a mean.
    days : (rows,) day of each row.

    Returns
    -------
    float or None
        None with fewer than two days.

    Notes
    -----
    The sandwich estimator with the small-sample factor G / (G - 1); Liang & Zeger (1986), "Longitudinal data
    analysis using generalized linear models".
    """
    import numpy as np

    _, index = np.unique(days, return_inverse=True)
    sums = np.bincount(index, weights=influence)
    if sums.size < 2:
        return None
    return float(np.sqrt(sums.size / (sums.size - 1) * np.sum(sums**2)))


def _auc(labels: np.ndarray, scores: np.ndarray) -> tuple[float | None, np.ndarray]:
    import numpy as np

    positive = labels > 0.5
    hits, misses = int(positive.sum()), int((~positive).sum())
    influence = np.zeros(labels.size)
    if not hits or not misses:
        return None, influence
    ranks = _midranks(scores)
    # Share of the other class that each row outranks (a positive) or is outranked by (a negative).
    above = (ranks[positive] - _midranks(scores[positive])) / misses
    below = 1 - (ranks[~positive] - _midranks(scores[~positive])) / hits
    value = float(above.mean())
    influence[positive] = (above - value) / hits
    influence[~positive] = (below - value) / misses
    return value, influence


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing the mean of theirs."""
    import numpy as np

    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def _r2(labels: np.ndarray, scores: np.ndarray) -> tuple[float | None, np.ndarray]:
    squared, spread = (labels - scores) ** 2, (labels - labels.mean()) ** 2
    if not spread.any():
        return None, spread
    error, variance = squared.mean(), spread.mean()
    influence = (-(squared - error) / variance + error / variance**2 * (spread - variance)) / labels.size
    return float(1 - error / variance), influence
