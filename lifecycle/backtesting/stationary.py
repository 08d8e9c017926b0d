"""A past without change: the days of a period in another order.

What belongs here: making a series stationary, so that every alarm raised on it is a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def shuffle_days(
    frame: pl.DataFrame, seed: int, columns: Sequence[str] = ("day",), within_weekday: bool = False
) -> pl.DataFrame:
    """Give whole days other dates, so that days can be exchanged while the rows of a day stay together.

    Parameters
    ----------
    frame : (rows,) with ``day`` and ``columns``, in any order.
    columns : dates and datetimes that move by as many days as their row's ``day`` does, such as the day on which a
        label became known; ``day`` itself always moves. A day is 24 hours.
    within_weekday : whether a day only takes the date of one of the same weekday: then the rhythm of the week stays,
        and so do features that tell the weekday.

    Returns
    -------
    (rows,) frame
        Same rows in the same order, the same days present as before; rows without a day as they were. The new dates
        depend on the seed and on the days present alone. Sort by ``day`` where order matters.

    Raises
    ------
    ValueError
        If a column is missing, or holds neither dates nor datetimes.

    Notes
    -----
    Features that look back, such as means of the last week, move with their day: what they say of the days before
    stays what it was, though other days now stand there.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> frame = pl.DataFrame({"day": [date(2013, 7, 4), date(2013, 7, 5), date(2013, 7, 6)], "rain": [0, 5, 9]})
    >>> shuffle_days(frame, seed=2).sort("day")["rain"].to_list()
    [5, 9, 0]
    """
    import polars as pl

    moving = list(dict.fromkeys(("day", *columns)))
    _check(frame, moving)
    shifts = _shifts(frame["day"].to_numpy().astype("datetime64[D]"), seed, within_weekday)
    by = pl.duration(days=pl.lit(pl.Series(shifts)))
    return frame.with_columns((pl.col(name) + by).cast(frame[name].dtype).alias(name) for name in moving)


def _shifts(days: np.ndarray, seed: int, within_weekday: bool) -> np.ndarray:
    """(rows,) days by which each row moves."""
    import numpy as np

    dated = ~np.isnat(days)
    present, places = np.unique(days[dated], return_inverse=True)
    # 1970-01-01 was a Thursday; which weekday has which number makes no difference here.
    groups = present.astype(np.int64) % 7 if within_weekday else np.zeros(present.size, dtype=np.int64)
    random, moved = np.random.default_rng(seed), present.copy()
    for group in np.unique(groups):
        moved[groups == group] = random.permutation(present[groups == group])
    shifts = np.zeros(days.size, dtype=np.int64)
    shifts[dated] = (moved - present).astype(np.int64)[places]
    return shifts


def _check(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    import polars as pl

    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise ValueError(f"columns {absent} are not in the frame, which has {frame.columns}")
    for name in columns:
        dtype = frame[name].dtype
        if name == "day" and dtype != pl.Date:
            raise ValueError(f"column 'day' holds {dtype}; it must hold dates")
        if not isinstance(dtype, pl.Date | pl.Datetime):
            raise ValueError(f"column {name!r} holds {dtype}; it must hold dates or datetimes to move with its day")
