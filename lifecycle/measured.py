"""What is measured of one column of a window: counts, distances, tests and harm, of the window and of its days.

What belongs here: the measuring. Which rows are measured is in ``monitored_rows.py``, what is called in
``verdicts.py``; the report is put together in ``monitoring.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lifecycle import distances, harm
from lifecycle.day_report import Kind
from lifecycle.lost import is_lost, missing_is_lost, stuck_days
from lifecycle.monitored_rows import Days, Judged
from lifecycle.profiles import CategoricalProfile, NumericProfile, Profile, column_bins, count_by_day, numbers
from lifecycle.rescoring import MOST_ROWS, Rescoring, Swap, lost_instead
from lifecycle.significance import DayTests, day_tests

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.seasonal import SeasonalReference

WELL_KNOWN = 5.0  # times the share of rows lost; from a fifth on, what each costs is asked of as many rows as may be
FEWEST_ASKED = 0.1  # of as many as may be


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
    """What a column of a window shows, harm apart (``with_harm``).

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
            distances.expected_index(before, np.maximum(windows[1:].mean(axis=0), 0)),
        )
    own = distances.daily_stability(before, np.array(profile.day_counts))
    return float(tests.expected[0]), float(np.nanmean(own))


def with_harm(
    columns: Sequence[Column],
    window: pl.DataFrame,
    when: Days,
    sample: Judged | None,
    seasonal: SeasonalReference | None = None,
    judged: np.ndarray | None = None,
) -> list[Column]:
    """The same columns of a window, with what their drift does to the loss.

    Parameters
    ----------
    seasonal : past days, those before the window of which tell what days cost anyway.
    judged : (days,) datetime64[D] of the reference; they may be among those past, and count once.
    """
    import numpy as np

    if sample is None:
        return list(columns)
    growths = _growths_by_lost(columns, window, when, sample)
    settled = np.zeros(0, dtype=bool)
    if seasonal is not None:
        settled = (seasonal.days < when.days[0]) & ~np.isin(seasonal.days, [] if judged is None else judged)
    found = []
    for column, growth in zip(columns, growths, strict=True):
        past = _past_days(column.profile, seasonal, settled)
        found.append(_with_harm(column, growth, when, sample, past))
    return found


def _past_days(
    profile: Profile, seasonal: SeasonalReference | None, settled: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(days, bins) rows that are not lost, and (days,) those that are, of the reference's days and of past ones.

    Parameters
    ----------
    settled : (past days,) which of these count.
    """
    import numpy as np

    size = len(profile.bin_counts)
    counts = np.array(profile.day_counts, dtype=float).reshape(-1, size)
    lost = np.zeros(len(counts))
    if seasonal is not None and profile.name in seasonal.counts:
        counts = np.concatenate([counts, seasonal.counts[profile.name][0, settled]])
        lost = np.concatenate([lost, seasonal.lost_rows(profile.name)[0, settled]])
    # In which bins lost values lie is not kept: they are taken out of all alike.
    present = counts.sum(axis=1) > 0
    counts, lost = counts[present], lost[present]
    counts = counts * (1 - lost / counts.sum(axis=1))[:, None]
    if missing_is_lost(profile):
        lost, counts[:, -1] = lost + counts[:, -1], 0.0
    return counts, lost


def _with_harm(
    column: Column, growth_by_lost: float, when: Days, sample: Judged, past: tuple[np.ndarray, np.ndarray]
) -> Column:
    import numpy as np

    profile, source = column.profile, "score" if column.kind == "prediction" else column.profile.name
    judged = column_bins(profile, sample.frame[source]) if source in sample.frame.columns else None
    if judged is None:
        return column
    size, days = len(profile.bin_counts), when.days.size
    found = count_by_day(column.bins[~column.lost], size, when.places[~column.lost], days)
    gone = _lost_by_day(column, when)
    windows, none = np.vstack([found.sum(axis=0), found]), np.append(gone.sum(), gone)
    of_loss, of_excess = (
        harm.bin_losses(judged, size, losses, sample.when.places, sample.when.days.size)
        for losses in (sample.losses, sample.excess)
    )
    growth, excess = (
        harm.estimate(judged_losses, windows, none, when.lengths, growth_by_lost)
        for judged_losses in (of_loss, of_excess)
    )
    before = harm.estimate(of_excess, *past, np.ones(len(past[1])), growth_by_lost)
    return replace(column, growth=growth, harm=excess, past_harm=before.change if before else None)


def _lost_by_day(column: Column, when: Days) -> np.ndarray:
    """(days,) rows of each day whose values tell nothing."""
    import numpy as np

    return np.bincount(when.places[column.lost], minlength=when.days.size)


def _growths_by_lost(columns: Sequence[Column], window: pl.DataFrame, when: Days, sample: Judged) -> list[float]:
    """Of each column, the growth of a row's loss, on average, when its value is one of those that tell nothing."""
    rescoring = sample.rescoring
    if rescoring is None:
        return [max(column.importance or 0.0, 0.0) if column.lost.any() else 0.0 for column in columns]
    known = rescoring.frame.columns
    swaps = [
        _lost_values(column, window, when, rescoring) if column.lost.any() and column.profile.name in known else None
        for column in columns
    ]
    growths = iter(rescoring.growths([swap for swap in swaps if swap is not None]))
    return [0.0 if swap is None else max(next(growths) / swap.rows.size, 0.0) for swap in swaps]


def _lost_values(column: Column, window: pl.DataFrame, when: Days, rescoring: Rescoring) -> Swap:
    """Labelled rows with such values; where few are lost, what they cost need not be known as well."""
    import numpy as np
    import polars as pl

    share = float((_lost_by_day(column, when) / np.bincount(when.places, minlength=when.days.size)).max())
    asked = rescoring.some(most=int(MOST_ROWS * min(1.0, max(WELL_KNOWN * share, FEWEST_ASKED))))
    useless = window[column.profile.name].filter(pl.Series(column.lost))
    return lost_instead(column.profile, asked, useless, rescoring)
