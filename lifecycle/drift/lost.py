"""Lost values: those that can tell a model nothing, as its reference has hardly any like them.

What belongs here: which values these are. What they cost is in ``harm.py`` and ``jumps.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lifecycle.drift.harm import FEWEST_JUDGED
from lifecycle.drift.profiles import CategoricalProfile, NumericProfile, Profile, column_bins, constant_days, numbers
from lifecycle.drift.significance import MINIMUM_DAYS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

HARDLY_ANY = 0.01  # share of the reference's rows


def telling(profile: Profile, column: pl.Series) -> np.ndarray:
    """(rows,) whether a value can tell the model something; all, of a column that holds something else than numbers."""
    import numpy as np

    bins = column_bins(profile, column)
    if bins is None:
        return np.ones(len(column), dtype=bool)
    values = numbers(column) if isinstance(profile, NumericProfile) else np.empty(0)
    return ~is_lost(profile, values, bins, np.zeros(bins.size, dtype=bool))


def lost_rows(profile: Profile, column: pl.Series, bins: np.ndarray, places: np.ndarray, days: int) -> np.ndarray:
    """(rows,) whether a value can tell the model nothing, days on which the column stood still among them.

    Parameters
    ----------
    column, bins : (rows,) values, and the bin of each.
    places, days : (rows,) number of the day of each row, and how many days there are.
    """
    import numpy as np

    if not isinstance(profile, NumericProfile):
        return is_lost(profile, np.empty(0), bins, np.zeros(bins.size, dtype=bool))
    values = numbers(column)
    return is_lost(profile, values, bins, stuck_days(profile, values, places, days)[places])


def stuck_days(profile: NumericProfile, values: np.ndarray, places: np.ndarray, days: int) -> np.ndarray:
    """(days,) whether a column had one and the same value all day, where it is known never to have had.

    Without values in the reference, or with few days, that is not known.
    """
    import numpy as np

    if len(profile.day_counts) < MINIMUM_DAYS or profile.minimum is None or profile.constant_days:
        return np.zeros(days, dtype=bool)
    return constant_days(values, places, days)


def is_lost(profile: Profile, values: np.ndarray, bins: np.ndarray, stuck: np.ndarray) -> np.ndarray:
    """(rows,) whether the value can tell the model nothing.

    In numeric columns: beyond the declared bounds that the reference kept to; beyond the range of the reference, and of
    what the version learnt from, by more than that range is wide, which a season does only where they are of few and
    equal days; missing where the reference missed hardly any; the same all day. In categorical ones: hardly ever seen,
    or missing where hardly any was.

    Parameters
    ----------
    values : (rows,) of a numeric column; not looked at otherwise.
    bins : (rows,) the bin of each. stuck : (rows,) whether it is of a day on which the column stood still.
    """
    import numpy as np

    rare = _rare(profile)
    if isinstance(profile, CategoricalProfile):
        return np.asarray(rare[bins] & (bins >= len(profile.categories)))
    lost = stuck | (rare[-1] & (bins == rare.size - 1))
    low, high = _reach(profile)
    with np.errstate(invalid="ignore"):
        return np.asarray(lost | (values < low) | (values > high))


def missing_is_lost(profile: Profile) -> bool:
    """Whether a value that misses is lost, as the reference missed hardly any."""
    return bool(_rare(profile)[-1])


def _rare(profile: Profile) -> np.ndarray:
    """(bins,) of which the reference has so few rows that nobody can tell what they lose.

    They are taken to lose the mean, which all rows missing do not.
    """
    import numpy as np

    counts = np.array(profile.bin_counts)
    return np.asarray(counts <= min(FEWEST_JUDGED - 1, HARDLY_ANY * counts.sum()))


def _reach(profile: NumericProfile) -> tuple[float, float]:
    """From where to where values can tell the model something."""
    low = -math.inf if profile.lowest is None else profile.lowest
    high = math.inf if profile.highest is None else profile.highest
    if profile.minimum is None or profile.maximum is None:
        return low, high
    # The version was judged on some days; it can tell something of all that it has learnt from.
    seen = (profile.minimum, profile.maximum, *(profile.learnt or ()))
    least, most = min(seen), max(seen)
    # A range of no width, that of a constant, says nothing of how far values may reach.
    return (max(low, 2 * least - most), min(high, 2 * most - least)) if least < most else (low, high)
