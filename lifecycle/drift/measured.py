"""What is measured of one column of a window: counts, distances and tests, of the window and of its days.

What belongs here: the measuring. Which rows are measured is in ``monitored_rows.py``, what drift does to the loss in
``column_harm.py``, what is called in ``verdicts.py``; the report is put together in ``monitoring.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.drift import distances, harm
from lifecycle.drift.day_report import Kind
from lifecycle.drift.lost import is_lost, stuck_days
from lifecycle.drift.monitored_rows import Days
from lifecycle.drift.profiles import CategoricalProfile, NumericProfile, Profile, column_bins, count_by_day, numbers
from lifecycle.drift.significance import DayTests, day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature


@dataclass(frozen=True)
class Column:
    """What was measured of a column; arrays over windows have the whole window first, then each of its days.

    Parameters
    ----------
    bins, lost : (rows,) bin of each row, and whether its value tells nothing.
    counts : (days, bins) rows of each day.
    stability : (windows,) population stability index.
    usual : (2,) index that days' differences alone give: for the window, and for a day.
    growth, harm : estimated change of the loss, and the part of it that the forecasts do not announce; None: not known.
    past_harm : (days,) the change of ``harm`` on the days of the reference, and on those before the window; None: not
        known.
    """

    profile: Profile
    kind: Kind
    bins: np.ndarray
    ordered: np.ndarray
    lost: np.ndarray
    stuck_days: int
    counts: np.ndarray
    stability: np.ndarray
    usual: tuple[float, float]
    tests: DayTests | None
    smirnov: distances.Test | None
    outside: float | None
    new_categories: tuple[str, ...]
    distinct: int
    importance: float | None
    growth: harm.Harm | None = None
    harm: harm.Harm | None = None
    past_harm: np.ndarray | None = None


def measure(
    profile: Profile,
    kind: Kind,
    column: pl.Series,
    when: Days,
    declared: Mapping[str, Feature],
    importance: float | None,
) -> Column | None:
    """What a column of a window shows, harm apart (``column_harm.with_harm``).

    Parameters
    ----------
    column : (rows,) of the window. when : the days of these rows.
    declared : the pipeline's features; gives the allowed ranges.

    Returns
    -------
    Column or None
        None where a column declared numeric holds something else.
    """
    import numpy as np

    bins = column_bins(profile, column)
    if bins is None:
        return None
    feature = declared.get(profile.name)
    size, before = len(profile.bin_counts), np.array(profile.bin_counts)
    new: tuple[str, ...] = ()
    if isinstance(profile, NumericProfile):
        values = numbers(column)
        ordered = np.sort(values[np.isfinite(values)])
        stuck = stuck_days(profile, values, when.places, when.days.size) & (kind == "feature")
        distinct = int(np.count_nonzero(np.diff(ordered))) + 1 if ordered.size else 0
    else:
        values, ordered, new = np.empty(0), np.empty(0), _new_categories(profile, column, bins)
        stuck, distinct = np.zeros(when.days.size, dtype=bool), column.drop_nulls().n_unique()
    counts = count_by_day(bins, size, when.places, when.days.size)
    windows = np.vstack([counts.sum(axis=0), counts])
    lost = is_lost(profile, values, bins, stuck[when.places]) if kind == "feature" else np.zeros(bins.size, dtype=bool)
    tests = day_tests(np.array(profile.day_counts), windows, when.lengths) if profile.day_counts else None
    smirnov = None
    if isinstance(profile, NumericProfile) and profile.sketch and ordered.size:
        smirnov = distances.kolmogorov_smirnov(profile.sketch, ordered, tests.effective_rows[0] if tests else None)
    return Column(
        profile=profile,
        kind=kind,
        bins=bins,
        ordered=ordered,
        lost=lost,
        stuck_days=int(stuck.sum()),
        counts=counts,
        stability=distances.daily_stability(before, windows),
        usual=_usual(profile, before, windows, tests),
        tests=tests,
        smirnov=smirnov,
        outside=_outside(values, feature) if values.size else None,
        new_categories=new,
        distinct=distinct,
        importance=importance,
    )


def _new_categories(profile: CategoricalProfile, column: pl.Series, bins: np.ndarray) -> tuple[str, ...]:
    """Values the reference never saw, most frequent first; none when it pooled rare ones, as one cannot tell."""
    import polars as pl

    if profile.other:
        return ()
    unseen = column.cast(pl.String).filter(pl.Series(bins == len(profile.categories)))
    counted = unseen.alias("value").to_frame().group_by("value").len("rows")
    return tuple(counted.sort(["rows", "value"], descending=[True, False])["value"].to_list())


def _outside(values: np.ndarray, feature: Feature | None) -> float | None:
    """Share of rows outside the declared range; None where none is declared."""
    import numpy as np

    if feature is None or (feature.minimum is None and feature.maximum is None):
        return None
    low = -np.inf if feature.minimum is None else feature.minimum
    high = np.inf if feature.maximum is None else feature.maximum
    with np.errstate(invalid="ignore"):
        return float(((values < low) | (values > high)).mean())


def _usual(profile: Profile, before: np.ndarray, windows: np.ndarray, tests: DayTests | None) -> tuple[float, float]:
    """Index to be expected without drift: of the window, and of a day (what the reference's own days show)."""
    import numpy as np

    if tests is None:
        return (
            distances.expected_index(before, windows[0]),
            distances.expected_index(before, windows[1:].mean(axis=0)),
        )
    own = distances.daily_stability(before, np.array(profile.day_counts))
    return float(tests.expected[0]), float(np.nanmean(own))
