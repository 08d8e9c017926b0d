"""Distances between a reference and a window, and the textbook tests that go with them.

What belongs here: functions of counts over the same bins, or of a reference's sketch and a window's values. A test
here takes rows to be independent; rows of a day are not: what that does to a p-value is in ``significance.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lifecycle.drift.sketch import Sketch

MOST_ROWS = 10_000


@dataclass(frozen=True)
class Test:
    """A test statistic and the chance of one as large if nothing differed."""

    __test__ = False  # no test case, whatever its name begins with

    statistic: float
    p_value: float


def population_stability_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Population stability index between two binned distributions.

    Parameters
    ----------
    expected, actual : (bins,) counts of the reference and of the current window over the same bins; a bin
        empty in one of them is smoothed by half a count, a bin empty in both says nothing.

    Returns
    -------
    float
        Nats; 0 for equal shares, above 0.2 by convention a large shift.

    Raises
    ------
    ValueError
        If the lengths differ, a count is negative, or either window is empty.

    Notes
    -----
    The symmetrised Kullback-Leibler divergence (Jeffreys); see Yurdakul (2018), "Statistical properties of
    the population stability index".

    Examples
    --------
    >>> import numpy as np
    >>> population_stability_index(np.array([50, 50]), np.array([50, 50]))
    0.0
    >>> round(population_stability_index(np.array([50, 50]), np.array([80, 20])), 3)
    0.416
    """
    import numpy as np

    p, q = _shares(expected, actual)
    return float(np.sum((p - q) * np.log(p / q)))


def daily_stability(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Population stability index of every day against the same reference.

    Parameters
    ----------
    expected : (bins,) counts of the reference.
    actual : (days, bins) counts of every day.

    Returns
    -------
    (days,) array
        NaN for a day without rows.
    """
    import numpy as np

    expected, actual = np.asarray(expected, dtype=float), np.asarray(actual, dtype=float)
    seen = (expected > 0) | (actual > 0)
    p, q = (np.where(seen, np.where(counts > 0, counts, 0.5), 0.0) for counts in (expected, actual))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    ratio = np.divide(p, q, out=np.ones_like(p), where=seen)
    return np.where(actual.sum(axis=1) > 0, np.sum((p - q) * np.log(ratio), axis=1), np.nan)


def kullback_leibler(expected: np.ndarray, actual: np.ndarray) -> float:
    """Kullback-Leibler divergence of the window from the reference, over the same bins.

    Parameters
    ----------
    expected, actual : (bins,) counts; smoothed as for the population stability index.

    Returns
    -------
    float
        Nats: what is lost by coding the window's values with the reference's shares. Not symmetric.

    Raises
    ------
    ValueError
        If the lengths differ, a count is negative, or either window is empty.

    Notes
    -----
    Kullback & Leibler (1951), "On information and sufficiency".

    Examples
    --------
    >>> import numpy as np
    >>> round(kullback_leibler(np.array([50, 50]), np.array([80, 20])), 3)
    0.193
    """
    import numpy as np

    p, q = _shares(expected, actual)
    return max(float(np.sum(q * np.log(q / p))), 0.0)


def total_variation(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Share of rows that would have to take another value for two distributions to be equal; half the sum of |p - q|.

    Parameters
    ----------
    expected : (bins,) counts, or (windows, bins), for each window its own. ``actual``: (windows, bins) counts.

    Returns
    -------
    (windows,) array
        Between 0 and 1; NaN where a window, or what is expected of it, has no rows.

    Examples
    --------
    >>> import numpy as np
    >>> total_variation(np.array([5, 5]), np.array([[10, 0], [1, 1]])).tolist()
    [0.5, 0.0]
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        shares = actual / actual.sum(axis=1, keepdims=True)
        return np.asarray(abs(shares - expected / expected.sum(axis=-1, keepdims=True)).sum(axis=1) / 2)


def expected_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Mean of the population stability index when nothing drifted: ``(bins - 1) (1/n + 1/m)``.

    The index is then about ``(1/n + 1/m)`` times a chi-squared variable with ``bins - 1`` degrees of freedom
    (Yurdakul 2018). ``n`` and ``m`` are the rows of the two windows; bins empty in both do not count.
    """
    import numpy as np

    bins = int(np.count_nonzero((expected > 0) | (actual > 0)))
    return float((bins - 1) * (1 / expected.sum() + 1 / actual.sum()))


def jensen_shannon(expected: np.ndarray, actual: np.ndarray) -> float:
    """Jensen-Shannon distance between two binned distributions.

    Parameters
    ----------
    expected, actual : (bins,) counts over the same bins; empty bins need no smoothing.

    Returns
    -------
    float
        Square root of the divergence in bits: 0 for equal shares, 1 for shares that have no bin in common.

    Raises
    ------
    ValueError
        If the lengths differ, a count is negative, or either window is empty.

    Notes
    -----
    Lin (1991), "Divergence measures based on the Shannon entropy"; Endres & Schindelin (2003) for the root being a
    metric.

    Examples
    --------
    >>> import numpy as np
    >>> jensen_shannon(np.array([9, 0]), np.array([0, 4]))
    1.0
    """
    import numpy as np
    from scipy.special import rel_entr

    expected, actual = _counts(expected, actual)
    p, q = expected / expected.sum(), actual / actual.sum()
    middle = (p + q) / 2
    bits = float(np.sum(rel_entr(p, middle) + rel_entr(q, middle))) / (2 * np.log(2))
    return float(np.sqrt(min(max(bits, 0.0), 1.0)))


def chi_square(expected: np.ndarray, actual: np.ndarray) -> Test:
    """Pearson's chi-square test of homogeneity between two samples.

    Parameters
    ----------
    expected, actual : (bins,) counts over the same bins; bins empty in both do not count.

    Returns
    -------
    Test
        The p-value takes rows to be independent. With one bin there is nothing to test: statistic 0, p-value 1.

    Raises
    ------
    ValueError
        If the lengths differ, a count is negative, or either window is empty.

    Notes
    -----
    Pearson (1900); reliable where the smallest expected count is about 5 (Cochran 1954).
    """
    import numpy as np
    from scipy.special import chdtrc

    expected, actual = _counts(expected, actual)
    total = expected + actual
    pooled, rows = total[total > 0], total.sum()
    statistic = 0.0
    for counts in (expected, actual):
        share = pooled * (counts.sum() / rows)
        statistic += float(np.sum((counts[total > 0] - share) ** 2 / share))
    return Test(statistic, float(chdtrc(pooled.size - 1, statistic)) if pooled.size > 1 else 1.0)


def kolmogorov_smirnov(reference: Sketch, ordered: np.ndarray, effective_rows: float | None = None) -> Test:
    """Two-sample Kolmogorov-Smirnov test, with ties counted right.

    Parameters
    ----------
    reference : sketch of the reference.
    ordered : (rows,) finite values of the window, ascending.
    effective_rows : size of the comparison, ``n m / (n + m)`` for independent rows, which is the default; smaller
        where rows go together.

    Returns
    -------
    Test
        The statistic is the largest difference of the two distribution functions. It may be too small by as much as
        the sketch's resolution, below 0.5 % with its usual 200 levels, and is never too large.

    Raises
    ------
    ValueError
        If the window is empty.

    Notes
    -----
    The limiting distribution with the small-sample correction of Stephens (1970); with ties it is conservative.

    Examples
    --------
    >>> import numpy as np
    >>> from lifecycle.drift.sketch import sketch
    >>> kolmogorov_smirnov(sketch(np.arange(100.0)), np.arange(50.0)).statistic
    0.5
    """
    import numpy as np
    from scipy.special import kolmogorov

    rows = _filled(ordered)
    values = np.array(reference.values)
    # Between two values of the sketch both functions only grow: the extremes are at its values, from either side.
    less = np.array(reference.below) / reference.rows - np.searchsorted(ordered, values, side="left") / rows
    upto = np.array(reference.upto) / reference.rows - np.searchsorted(ordered, values, side="right") / rows
    statistic = float(max(np.abs(less).max(), np.abs(upto).max()))
    root = np.sqrt(effective_rows if effective_rows is not None else rows * reference.rows / (rows + reference.rows))
    return Test(statistic, float(kolmogorov(statistic * (root + 0.12 + 0.11 / root))))


def wasserstein(reference: Sketch, ordered: np.ndarray) -> float:
    """Wasserstein distance of order one: by how much values moved on average, in the column's unit.

    Parameters
    ----------
    reference : sketch of the reference; between its values the distribution function is taken to be straight.
    ordered : (rows,) finite values of the window, ascending.

    Returns
    -------
    float
        The area between the two distribution functions; divided by the reference's standard deviation it has no
        unit. Wrong by at most half the sketch's resolution times the reference's range, 0.25 % of it with 200 levels,
        and by a ten-thousandth of the window's range where that is thinned: a window of more than 20,000 rows is
        stood for by 10,000 of its quantiles.

    Raises
    ------
    ValueError
        If the window is empty.

    Notes
    -----
    Vallender (1974), "Calculation of the Wasserstein distance between probability distributions on the line".

    Examples
    --------
    >>> import numpy as np
    >>> from lifecycle.drift.sketch import sketch
    >>> wasserstein(sketch(np.array([1.0, 2.0, 3.0])), np.array([11.0, 12.0, 13.0]))
    10.0
    """
    import numpy as np

    if _filled(ordered) > 2 * MOST_ROWS:
        ordered = ordered[((np.arange(MOST_ROWS) + 0.5) * ordered.size / MOST_ROWS).astype(int)]
    rows = ordered.size
    values, upto = np.array(reference.values), np.array(reference.upto, dtype=float)
    both = np.concatenate([values, ordered])
    order = np.argsort(both, kind="stable")  # two ascending runs, which are merged and not sorted
    grid = both[order]
    last = np.flatnonzero(grid[1:] != grid[:-1])  # of equal values; from it to the next there is some width
    # Straight pieces of the reference's function, from upto[i] at one value to below[i + 1] before the next.
    rise, step = np.diff(values), np.array(reference.below[1:]) - upto[:-1]
    slopes = np.concatenate([[0.0], np.divide(step, rise), [0.0]])
    starts, heights = np.concatenate([[values[0]], values]), np.concatenate([[0.0], upto])
    piece = np.cumsum(order < values.size)[last]
    share = (last + 1 - piece) / rows
    start, height, slope = starts[piece], heights[piece], slopes[piece]
    left, right = ((height + slope * (ends - start)) / reference.rows - share for ends in (grid[last], grid[last + 1]))
    size = np.abs(left) + np.abs(right)
    # Where the two functions cross within a piece, the area is that of two triangles.
    crossing = np.divide(left**2 + right**2, 2 * size, out=np.zeros_like(size), where=size > 0)
    areas = np.zeros(grid.size - 1)
    areas[last] = (grid[last + 1] - grid[last]) * np.where(left * right >= 0, size / 2, crossing)
    return float(np.sum(areas))


def _filled(ordered: np.ndarray) -> int:
    if not ordered.size:
        raise ValueError("the window holds no finite values; there is no distance to an empty window")
    return int(ordered.size)


def _counts(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    expected, actual = np.asarray(expected, dtype=float), np.asarray(actual, dtype=float)
    if expected.shape != actual.shape:
        raise ValueError(f"expected has {expected.size} bins, actual {actual.size}; count both over the same bins")
    for name, counts in (("expected", expected), ("actual", actual)):
        if (counts < 0).any() or counts.sum() <= 0:
            raise ValueError(f"{name} holds the counts {counts.tolist()}; they must be non-negative and not all zero")
    return expected, actual


def _shares(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares over the bins that are not empty in both, half a count standing for an empty one."""
    import numpy as np

    expected, actual = _counts(expected, actual)
    seen = (expected > 0) | (actual > 0)
    expected, actual = (np.where(counts[seen] > 0, counts[seen], 0.5) for counts in (expected, actual))
    return expected / expected.sum(), actual / actual.sum()
