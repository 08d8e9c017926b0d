"""The seasonal reference: past days of the same place in the week, so that rhythm is not called drift.

What belongs here: making it from past rows and holding days against it. It says nothing of slow drift, which it
follows; that is what the champion's own reference is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.calendar import WEEK_DAYS
from lifecycle.drift.lost import lost_rows
from lifecycle.drift.profiles import column_bins
from lifecycle.drift.reference import Reference
from lifecycle.drift.significance import day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Group = tuple[str, str] | None  # slice column and value; None: all rows
FEWEST_ROWS = 30  # of a group on an ordinary day; what fewer rows do cannot be told from chance


@dataclass(frozen=True)
class SeasonalReference:
    """Rows of past days over the bins of the champion's reference.

    Parameters
    ----------
    days : (days,) datetime64[D] of the past days, in order.
    counts : for each column, (groups, days, bins) rows.
    groups : the first is None, all rows; the others are the larger values of the slice columns.
    period_days : days after which the rhythm repeats.
    periods : how many periods back a day is compared with.
    lost : for each feature with any, (groups, days) rows whose values are lost (``lost.py``) though they do not miss.
    """

    days: np.ndarray
    counts: Mapping[str, np.ndarray]
    groups: tuple[Group, ...]
    period_days: int
    periods: int
    lost: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def phases(self) -> np.ndarray:
        """(days,) place of each past day in the rhythm, from 0; days of one place are like each other."""
        import numpy as np

        return np.asarray(self.days.astype(int) % self.period_days)

    def compare(self, name: str, day: date, counts: np.ndarray) -> tuple[float | None, float | None]:
        """Population stability index of a day's counts against like days before it, and the chance of such a day.

        Returns
        -------
        psi, p_value
            None without like days; the p-value is None with fewer than five.
        """
        import numpy as np

        from lifecycle.drift.distances import population_stability_index

        past = self.past_of(name, day)
        if not counts.sum() or not past.sum():
            return None, None
        tests = day_tests(past, counts[None, :], np.array([1]))
        return population_stability_index(past.sum(axis=0), counts), float(tests.p_values[0]) if tests else None

    def past_of(self, name: str, day: date) -> np.ndarray:
        """(days, bins) rows of the like days before a day, oldest first; no rows where there is none."""
        import numpy as np

        if name not in self.counts:
            return np.empty((0, 0), dtype=int)
        past = self.like(name, day)[0]
        return np.asarray(past[past.sum(axis=1) > 0])

    def like(self, name: str, day: date) -> np.ndarray:
        """(groups, days, bins) rows of the like days before a day, oldest first, those without rows among them."""
        import numpy as np

        return np.asarray(self.counts[name][:, self._like(day)])

    def lost_rows(self, name: str) -> np.ndarray:
        """(groups, days) rows of a feature whose values are lost though they do not miss."""
        import numpy as np

        none = np.zeros((len(self.groups), self.days.size), dtype=int)
        return np.asarray(self.lost.get(name, none))

    def like_days(self, day: date) -> int:
        """How many past days a day is held against."""
        return int(self._like(day).sum())

    def _like(self, day: date) -> np.ndarray:
        import numpy as np

        age = (np.datetime64(day) - self.days).astype(int)
        return np.asarray((age > 0) & (age % self.period_days == 0) & (age <= self.period_days * self.periods))


def seasonal_reference(
    reference: Reference,
    past: pl.DataFrame,
    periods: int,
    period_days: int = WEEK_DAYS,
    slices: Sequence[str] = (),
) -> SeasonalReference:
    """Counts past days over the bins of a champion's reference.

    Parameters
    ----------
    past : (rows,) with ``day`` and the reference's features, as far as it has them, and ``score``, null where another
        version forecast: such rows count for the features alone. For windows of some hours of the day, pass the rows
        of the same hours.
    periods : how many weeks back (periods of ``period_days``) a day is compared with.
    period_days : 7 for the same weekday, 1 for every day.
    slices : columns of ``past`` whose larger values are also counted by themselves.

    Raises
    ------
    ValueError
        If ``past`` has no column ``day``, or a number is not positive.
    """
    import numpy as np
    import polars as pl

    if "day" not in past.columns:
        raise ValueError(f"the past rows lack the column 'day'; they have {past.columns}")
    if periods < 1 or period_days < 1:
        raise ValueError(f"periods ({periods}) and period_days ({period_days}) must be at least 1")
    past = past.filter(pl.col("day").is_not_null())
    days, places = np.unique(past["day"].cast(pl.Date).to_numpy(), return_inverse=True)
    groups = _groups(past, days.size, slices)
    rows_of = [slice(None) if flags.all() else np.flatnonzero(flags) for flags in members(past, groups)]
    everything = np.ones(past.height, dtype=bool)
    counts: dict[str, np.ndarray] = {}
    lost: dict[str, np.ndarray] = {}
    for profile in reference.features:
        name = profile.name
        bins = column_bins(profile, past[name]) if name in past.columns else None
        if bins is None:
            continue
        size = len(profile.bin_counts)
        counts[name] = _count(bins, size, places, days.size, everything, rows_of)
        gone = lost_rows(profile, past[name], bins, places, days.size) & (bins < size - 1)
        if gone.any():
            lost[name] = _count(np.zeros(bins.size, dtype=int), 1, places, days.size, gone, rows_of)[:, :, 0]
    if "score" in past.columns and (bins := column_bins(reference.predictions, past["score"])) is not None:
        profile, own = reference.predictions, past["score"].is_not_null().to_numpy()
        counts[profile.name] = _count(bins, len(profile.bin_counts), places, days.size, own, rows_of)
    return SeasonalReference(days, counts, groups, period_days, periods, lost)


def members(rows: pl.DataFrame, groups: Sequence[Group]) -> list[np.ndarray]:
    """Of each group, (rows,) which belong to it."""
    import numpy as np
    import polars as pl

    texts: dict[str, list[str]] = {}
    for group in groups:
        if group is not None:
            texts.setdefault(group[0], []).append(group[1])
    # Comparing numbers is much faster than comparing texts once for each group.
    codes = {
        name: rows[name].cast(pl.String).cast(pl.Enum(values), strict=False).to_physical().to_numpy()
        for name, values in texts.items()
    }
    everything = np.ones(rows.height, dtype=bool)
    return [everything if group is None else codes[group[0]] == texts[group[0]].index(group[1]) for group in groups]


def _groups(past: pl.DataFrame, days: int, slices: Sequence[str]) -> tuple[Group, ...]:
    """All rows, and the values of the slice columns that have rows enough on an ordinary day."""
    import polars as pl

    found: list[Group] = [None]
    for name in (each for each in slices if each in past.columns):
        sizes = past.select(pl.col(name).cast(pl.String).alias("value")).drop_nulls().group_by("value").len("rows")
        found += [(name, value) for value in sizes.filter(pl.col("rows") >= FEWEST_ROWS * days)["value"].sort()]
    return tuple(found)


def _count(
    bins: np.ndarray,
    size: int,
    places: np.ndarray,
    days: int,
    counted: np.ndarray,
    rows_of: Sequence[np.ndarray | slice],
) -> np.ndarray:
    """(groups, days, bins) rows.

    Parameters
    ----------
    rows_of : places of each group's rows.
    """
    import numpy as np

    cells = np.where(counted, places * size + bins, days * size)  # the last cell takes what is not counted
    return np.array([np.bincount(cells[rows], minlength=days * size + 1)[:-1].reshape(days, size) for rows in rows_of])
