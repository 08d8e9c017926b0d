"""Harm: what a drift of one column does to the champion's loss, estimated before labels tell.

What belongs here: the estimate with its sampling error, the ranking, and the rule over days. Which columns drifted is
said in ``verdicts.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.drift.significance import MINIMUM_DAYS
from lifecycle.losses import SMALLEST_PROBABILITY, row_losses

if TYPE_CHECKING:
    import numpy as np

    from lifecycle.pipeline import Task

NO_CHANGE = 1e-12  # of the mean loss
FEWEST_JUDGED = 30  # a bin with fewer judged rows is taken to lose what all rows lose


@dataclass(frozen=True)
class BinLosses:
    """Losses of the champion on judged rows, by the bins of one column.

    Parameters
    ----------
    counts, sums : (days, bins) judged rows and the sum of their losses.
    """

    counts: np.ndarray
    sums: np.ndarray


@dataclass(frozen=True)
class Harm:
    """Estimated change of the mean loss in some windows, in units of the loss; above zero is worse.

    Parameters
    ----------
    change, standard_error, p_values : (windows,) each; the p-value is one-sided, against no growth. Errors and
        p-values are NaN when the judged rows cover fewer than five days.
    """

    change: np.ndarray
    standard_error: np.ndarray
    p_values: np.ndarray


def skill(labels: np.ndarray, scores: np.ndarray, task: Task) -> float | None:
    """The champion's gain over always forecasting the mean of these labels: mean loss of that minus its own.

    Returns
    -------
    float or None
        In units of the loss; None without labels.
    """
    import numpy as np

    if not labels.size:
        return None
    constant = np.full(labels.size, labels.mean())
    return float(row_losses(labels, constant, task).mean() - row_losses(labels, scores, task).mean())


def announced_skill(scores: np.ndarray, task: Task) -> float:
    """The gain over always forecasting the mean that forecasts have if they are calibrated.

    In classification the mutual information of class and forecast, in nats; in regression the variance of the
    forecasts.

    Examples
    --------
    >>> import numpy as np
    >>> round(announced_skill(np.array([0.0, 1.0]), "classification"), 3)
    0.693
    """
    import numpy as np

    if not scores.size:
        return 0.0
    if task == "regression":
        return float(scores.var())
    return max(0.0, float(announced(np.array([scores.mean()]), task)[0] - announced(scores, task).mean()))


def announced(scores: np.ndarray, task: Task) -> np.ndarray:
    """(rows,) the loss that each forecast expects of itself.

    In classification the entropy of the probability, in nats: what a calibrated forecast loses on average. A forecast
    of a number announces nothing, so that all of its loss counts: zeros in regression.

    Examples
    --------
    >>> import numpy as np
    >>> announced(np.array([0.5, 0.0]), "classification").round(3).tolist()
    [0.693, 0.0]
    """
    import numpy as np

    if task == "regression":
        return np.zeros(len(scores))
    chances = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -(chances * np.log(chances) + (1 - chances) * np.log1p(-chances))


def bin_losses(bins: np.ndarray, size: int, losses: np.ndarray, places: np.ndarray, days: int) -> BinLosses:
    """Sums up the losses of judged rows by day and bin.

    Parameters
    ----------
    bins, losses, places : (rows,) bin of each row, its loss, the number of its day.
    size, days : numbers of bins and of days.
    """
    import numpy as np

    cells = places * size + bins
    counts = np.bincount(cells, minlength=days * size)
    sums = np.bincount(cells, weights=losses, minlength=days * size)
    return BinLosses(counts.reshape(days, size), sums.reshape(days, size))


def estimate(
    judged: BinLosses, windows: np.ndarray, lost: np.ndarray, days: np.ndarray, growth_by_lost: float = 0.0
) -> Harm | None:
    """Estimate by how much the mean loss (or its excess) changes when one column is distributed as in a window.

    The judged rows are weighted anew so that the column has the window's shares, which is what a density ratio per bin
    does, and their mean loss is taken. It holds while the loss within a bin stays as it was. A row whose value can
    tell the model nothing (``lost``) loses more by an amount that is asked for.

    What this cannot see: that values mean something else than before while they stay in the range of the reference,
    such as minutes that become hours. That is looked for by ``jumps.py``, ``departures.py`` and ``strangers.py``.

    Parameters
    ----------
    windows : (windows, bins) rows of each window that are not lost.
    lost : (windows,) the others: values far beyond the reference's range, of a category it hardly ever saw, missing
        where it missed hardly any, or the same all day where it never was.
    days : (windows,) days in each window.
    growth_by_lost : by how much a row that is lost is dearer than the mean of all.

    Returns
    -------
    Harm or None
        None without judged rows. NaN for a window without rows.

    Notes
    -----
    Importance weighting under covariate shift; Shimodaira (2000). The variance has two parts: that of the bins' mean
    losses and shares, linearised and clustered by judged day (Liang & Zeger 1986), and that of the window's shares,
    from how much the bins' mean losses, averaged with a day's shares, vary over the judged days. What lost rows cost is
    taken as it is, without an error of its own: that rows are lost is certain.
    """
    import numpy as np

    counts, sums = (table[judged.counts.sum(axis=1) > 0] for table in (judged.counts, judged.sums))
    of_bin, total = counts.sum(axis=0), counts.sum()
    if not total:
        return None
    mean, known = sums.sum() / total, of_bin >= FEWEST_JUDGED
    means = np.divide(sums.sum(axis=0), of_bin, out=np.full(of_bin.size, mean), where=known)
    rows = windows.sum(axis=1) + lost
    with np.errstate(divide="ignore", invalid="ignore"):
        shares, lost_share = windows / rows[:, None], lost / rows
    change = (shares @ means + lost_share * (mean + growth_by_lost)) - (of_bin @ means) / total
    change[np.abs(change) < NO_CHANGE * abs(mean)] = 0.0  # what summing leaves behind
    if len(counts) < MINIMUM_DAYS:
        unknown = np.full(change.shape, np.nan)
        return Harm(change, unknown, unknown)
    ratio = np.divide(shares, of_bin / total, out=np.ones_like(shares), where=known)
    residuals = np.where(known, sums - counts * means, 0.0)
    # Rows that are lost, or in a bin not known, are given the mean loss itself, from which the change is counted.
    at_mean = lost_share + shares[:, ~known].sum(axis=1)
    of_mean = sums.sum(axis=1) - counts.sum(axis=1) * mean
    influence = ((ratio - 1) @ residuals.T - counts @ (means - mean) + np.outer(at_mean, of_mean)) / total
    clusters = len(counts)
    of_judged = clusters / (clusters - 1) * np.sum(influence**2, axis=1)
    of_day = np.var(counts @ means / counts.sum(axis=1), ddof=1)
    error = np.sqrt(of_judged + (1 - at_mean) ** 2 * of_day / np.maximum(days, 1))
    return Harm(change, error, _chance(change, error, clusters - 1))


def rank(size: float | None, importance: float | None, change: float | None) -> float:
    """Size of a drift × importance of the column × estimated growth of the loss: what to look at first.

    What is not known counts as one, so that the others decide; a negative importance or growth as zero.

    Examples
    --------
    >>> rank(0.5, 0.02, 0.001) > rank(2.0, 0.02, -0.001)
    True
    """
    factors = (size, importance, change)
    product = 1.0
    for factor in factors:
        product *= 1.0 if factor is None else max(factor, 0.0)
    return product


def at_least(n: int, m: int, daily_flags: Sequence[bool]) -> bool:
    """Whether ``n`` of the last ``m`` days are flagged, the last one among them.

    One odd day fires nothing, and nothing goes on firing when it is over.

    Parameters
    ----------
    daily_flags : (days,) in order; days before the first count as not flagged.

    Raises
    ------
    ValueError
        If not 1 <= n <= m.

    Examples
    --------
    >>> at_least(2, 5, [True, False, False, True]), at_least(2, 5, [True, True, False])
    (True, False)
    """
    if not 1 <= n <= m:
        raise ValueError(f"n is {n} and m is {m}; 1 <= n <= m must hold")
    recent = list(daily_flags)[-m:]
    return bool(recent) and bool(recent[-1]) and sum(map(bool, recent)) >= n


def _chance(change: np.ndarray, error: np.ndarray, freedom: int) -> np.ndarray:
    """One-sided p-value of a growth; without any spread, that of a growth that is certain or none."""
    import numpy as np
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error > 0, change / error, np.sign(change) * np.inf)
    return np.where(np.isfinite(change), stdtr(freedom, -np.where(change == 0, 0.0, ratio)), np.nan)
