"""Detectable: how often a shift of the labels could be told within some days by any test of their level.

What belongs here: that bound. That less or more happens than was forecast shows in the labels alone, and days differ:
what no test could find is no fault of the monitors. How often they do find it is measured in ``alarms.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def detectable_share(worlds: Sequence[np.ndarray], shift: float, days: int, false_share: float = 0.05) -> float | None:
    """Share of starts from which a shift shows in the mean of the days that follow.

    Parameters
    ----------
    worlds : of each (days,) levels of days that follow each other while nothing changes, see ``concept.DayErrors``;
        each world is its own null, and knows its own mean: a test that has to learn it finds less.
    shift : of the level, in its units. days : how many days the test waits.
    false_share : share of nights without a shift on which it would raise an error, all on the side of the shift: it
        knows the direction, too.

    Returns
    -------
    float or None
        None where no world has so many days.

    Notes
    -----
    For a shift of known size in levels that are normal and independent no test that errs as often finds more than that
    of the mean; Neyman & Pearson (1933), "On the problem of the most efficient tests of statistical hypotheses".

    Examples
    --------
    >>> import numpy as np
    >>> levels = np.random.default_rng(0).normal(size=3000)
    >>> [round(detectable_share([levels], shift, days=3), 1) for shift in (0.5, 3.0)]
    [0.2, 1.0]
    """
    import numpy as np

    found: list[np.ndarray] = []
    for levels in worlds:
        if levels.size < days:
            continue
        means = np.convolve(levels, np.full(days, 1 / days), "valid") * np.sign(shift or 1.0)
        found.append(means + abs(shift) > np.quantile(means, 1 - false_share))
    return float(np.concatenate(found).mean()) if found else None
