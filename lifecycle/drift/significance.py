"""Whether a window differs from a reference by more than days differ among themselves.

What belongs here: the test that knows that the rows of a day move together, and the control of many tests at once.
Distances are in ``distances.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MINIMUM_DAYS = 5  # from fewer days one cannot tell how days differ
FEWEST_EXPECTED = 5.0  # rows of a day expected in a bin; rarer bins are counted together (Cochran 1954)
HIGHEST_AUTOCORRELATION = 0.8


@dataclass(frozen=True)
class DayTests:
    """Windows held against a reference, its days being the unit of observation.

    Parameters
    ----------
    statistics : (windows,) squared differences of shares over the reference's shares, summed (Pearson); NaN for a
        window without rows.
    expected : (windows,) mean of the statistic if nothing but the days differed.
    p_values : (windows,) chance of a statistic as large then.
    effective_rows : (windows,) size of a comparison of independent rows that would be as uncertain, in the direction
        in which days differ most: for tests that look at one direction, such as Kolmogorov-Smirnov, on the safe side.
    design_effect : by how much the variance of shares exceeds that of independent rows.
    """

    statistics: np.ndarray
    expected: np.ndarray
    p_values: np.ndarray
    effective_rows: np.ndarray
    design_effect: float


def day_tests(reference: np.ndarray, windows: np.ndarray, days: np.ndarray) -> DayTests | None:
    """Test windows of one or more days against a reference, taking days, not rows, to be independent.

    Parameters
    ----------
    reference : (reference days, bins) counts of each day of the reference, in order.
    windows : (windows, bins) counts of each window over the same bins.
    days : (windows,) days in each window.

    Returns
    -------
    DayTests or None
        None when the reference has fewer than five days with rows, or only one bin is filled.

    Notes
    -----
    Pearson's statistic on clustered counts is distributed as a sum of chi-squared variables, weighted by the
    eigenvalues of the covariance of the shares over their multinomial covariance; Rao & Scott (1981), "The analysis
    of categorical data from complex sample surveys", JASA 76. The covariance is that of the days of the reference.
    Its trace gives the statistic's mean, its second moment (estimated without bias, Srivastava 2005) Satterthwaite's
    degrees of freedom, and the few days in it a second number of degrees: Thomas & Rao (1987). Days that follow each
    other are alike: with the autocorrelation r of neighbours' shares (first-order), the mean of n days varies by
    1 + 2 sum_k (1 - k/n) r^k times as much as that of independent ones, which also shows in the spread within so short
    a period as a reference; a series whose memory is longer than the reference is still judged too strictly.
    """
    import numpy as np

    reference = reference[reference.sum(axis=1) > 0].astype(float)
    if len(reference) < MINIMUM_DAYS:
        return None
    reference, windows = _pool_rare(reference, windows.astype(float))
    bins = reference.shape[1]
    if bins < 2:
        return None
    trace, largest, freedom, correlation = _spread(reference)
    count, rows_of_day = len(reference), reference.sum() / len(reference)
    carried = _carried(np.array([count]), correlation)[0]
    unbiased = (count - 1) / (count - carried)  # neighbours that are alike hide part of the spread
    rows = windows.sum(axis=1)
    own = _carried(days, correlation) / np.maximum(days, 1)
    factor = unbiased * (own + carried / count)
    expected = trace * factor
    # Days with fewer rows than those of the reference vary more by sampling alone.
    with np.errstate(divide="ignore", invalid="ignore"):
        sampling = np.maximum(1 / rows - 1 / (days * rows_of_day), 0)
        expected = expected + (bins - 1) * sampling
        shares = reference.sum(axis=0) / reference.sum()
        statistics = np.sum((windows / rows[:, None] - shares) ** 2 / shares, axis=1)
    p_values = _tail(statistics, expected, freedom, freedom * (count / carried - 1))
    effective = 1 / (largest * factor + sampling)
    return DayTests(statistics, expected, p_values, effective, float(trace * rows_of_day / (bins - 1)))


def spread_of_next(of_days: np.ndarray, span: int) -> tuple[np.ndarray, np.ndarray]:
    """By how much the mean of some days that follow each other is away from that of those before, if nothing changes.

    Parameters
    ----------
    of_days : (days, columns) means of the days before, in order.
    span : days of the mean.

    Returns
    -------
    spread, freedom
        (columns,) each. By the standard deviation the mean follows Student's t of so many degrees of freedom, where
        days are normal.

    Notes
    -----
    Days that follow each other are alike: as in ``day_tests``, by the correlation of neighbours, where it is positive.
    So many fewer are independent, and tell of the spread.
    """
    import numpy as np

    count, away = len(of_days), of_days - of_days.mean(axis=0)
    squares = (away**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Deviations from their own mean are correlated by -1 / count when days are independent.
        correlation = (away[1:] * away[:-1]).sum(axis=0) / squares + 1 / count
    correlation = np.clip(np.nan_to_num(correlation), 0.0, HIGHEST_AUTOCORRELATION)
    of_span, of_all = _carried(np.array([span, count]), correlation).T
    spread = np.sqrt(squares / (count - of_all) * (of_span / span + of_all / count))
    return spread, np.maximum(count / of_all - 1, 1.0)


def false_discovery_q(p_values: np.ndarray) -> np.ndarray:
    """The smallest false discovery rate at which each of many tests would be called.

    Parameters
    ----------
    p_values : (tests,) NaN where there is no test; those do not count.

    Returns
    -------
    (tests,) array
        Calling all with a value of at most q makes the expected share of false calls among them at most q.

    Notes
    -----
    Benjamini & Hochberg (1995), "Controlling the false discovery rate"; it holds for tests that depend on each other
    positively, as those of one column do (Benjamini & Yekutieli 2001).

    Examples
    --------
    >>> import numpy as np
    >>> false_discovery_q(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    import numpy as np

    q_values = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    if order.size:
        raw = p_values[order] * order.size / np.arange(1, order.size + 1)
        q_values[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q_values


def _pool_rare(reference: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins in which a day of the reference has fewer than five rows, as one; with the smallest other if still rare."""
    import numpy as np

    of_day = reference.sum(axis=0) / len(reference)
    group = np.zeros(of_day.size, dtype=np.intp)
    common = np.flatnonzero(of_day >= FEWEST_EXPECTED)
    common = common[np.argsort(of_day[common], kind="stable")]
    rare = of_day[of_day < FEWEST_EXPECTED].sum()
    group[common] = np.arange(common.size) + (1 if rare >= FEWEST_EXPECTED else 0)
    places = np.eye(max(int(group.max()) + 1, 1))[group]
    return reference @ places, windows @ places


def _spread(reference: np.ndarray) -> tuple[float, float, float, float]:
    """Of the standardised covariance of a day's shares: trace, largest eigenvalue, degrees of freedom; and how
    neighbouring days' shares are correlated.
    """
    import numpy as np

    count, bins = reference.shape
    rows = reference.sum(axis=1)
    shares = reference.sum(axis=0) / rows.sum()
    deviations = (reference - rows[:, None] * shares) / rows.mean() / np.sqrt(shares)
    gram = deviations @ deviations.T
    free = count - 1
    trace = float(np.trace(gram)) / free
    if trace <= 0:  # every day has the same shares: no spread to hold anything against but that of sampling
        return (bins - 1) / float(rows.mean()), 1 / float(rows.mean()), float(bins - 1), 0.0
    second = free**2 / ((free - 1) * (free + 2)) * (float(np.sum(gram**2)) / free**2 - trace**2 / free)
    freedom = float(np.clip(trace**2 / second, 1, bins - 1)) if second > 0 else float(bins - 1)
    # Deviations from their own mean are correlated by -1 / count when days are independent.
    correlation = float(np.trace(gram, offset=1) / np.trace(gram)) + 1 / count
    largest = max(float(np.linalg.eigvalsh(gram)[-1]) / free, 1 / float(rows.mean()))
    return trace, largest, freedom, float(np.clip(correlation, 0.0, HIGHEST_AUTOCORRELATION))


def _carried(days: np.ndarray, correlation: np.ndarray | float) -> np.ndarray:
    """(correlations, days) by how much the variance of a mean of so many days exceeds that of independent days."""
    import numpy as np

    lags = np.arange(1, max(int(days.max(initial=1)), 2))
    weights = np.maximum(1 - lags / np.maximum(days, 1)[:, None], 0)
    return np.asarray(1 + 2 * np.asarray(correlation)[..., None] ** lags @ weights.T)


def _tail(statistics: np.ndarray, expected: np.ndarray, freedom: float, of_spread: float) -> np.ndarray:
    import numpy as np
    from scipy.special import fdtrc

    with np.errstate(invalid="ignore"):
        return fdtrc(freedom, max(of_spread, 1.0), statistics / expected)
