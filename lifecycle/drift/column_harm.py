"""What the drift of each column of a window does to the loss: of the window, of its days, and of days before.

What belongs here: asking, for each column, what the labelled rows tell. The estimate is in ``harm.py``, what was
measured of the columns in ``measured.py``, what is called in ``verdicts.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lifecycle.drift import harm
from lifecycle.drift.lost import missing_is_lost
from lifecycle.drift.measured import Column
from lifecycle.drift.monitored_rows import Days, Judged
from lifecycle.drift.profiles import Profile, column_bins, count_by_day
from lifecycle.drift.rescoring import MOST_ROWS, Rescoring, Swap, lost_instead

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.seasonal import SeasonalReference

WELL_KNOWN = 5.0  # times the share of rows lost; from a fifth on, what each costs is asked of as many rows as may be
FEWEST_ASKED = 0.1  # of as many as may be


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
