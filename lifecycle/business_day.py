"""The business day of moments in a frame: ``Calendar.day_of``, vectorised.

What belongs here: day arithmetic as Polars expressions. What a business day is, is defined in ``calendar.py``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lifecycle.calendar import Calendar

if TYPE_CHECKING:
    import polars as pl

DAY = timedelta(days=1)


def business_day(column: str | pl.Expr, calendar: Calendar) -> pl.Expr:
    """The business day whose window (close of D-1, close of D] holds each moment.

    Parameters
    ----------
    column : name or expression of aware moments, in any time zone.

    Returns
    -------
    polars.Expr
        Dates under the column's name; null where the moment is.

    Notes
    -----
    Equal to ``calendar.day_of`` for every moment, also where the clock changes at the hour of the close: moments
    are compared with the closes themselves, because on the wall clock such an hour comes twice or not at all.

    Examples
    --------
    >>> import polars as pl
    >>> from datetime import UTC, datetime
    >>> closes_at = datetime(2013, 1, 2, 8, tzinfo=UTC)
    >>> moments = pl.DataFrame({"known_at": [closes_at, closes_at + timedelta(seconds=1)]})
    >>> moments.select(business_day("known_at", Calendar("America/New_York", close_hour=3)))["known_at"].to_list()
    [datetime.date(2013, 1, 1), datetime.date(2013, 1, 2)]
    """
    import polars as pl

    moment = pl.col(column) if isinstance(column, str) else column
    today = moment.dt.convert_time_zone(calendar.timezone).dt.date()
    moment = moment.dt.convert_time_zone("UTC")  # Polars compares moments of one zone only
    yesterday, tomorrow = today - DAY, today + DAY
    return (
        pl.when(moment <= _close(yesterday, calendar))
        .then(yesterday)
        .when(moment <= _close(today, calendar))
        .then(today)
        .otherwise(tomorrow)
    )


def _close(day: pl.Expr, calendar: Calendar) -> pl.Expr:
    """``Calendar.close`` of each date: an hour that comes twice means its first coming."""
    import polars as pl

    wall = day.cast(pl.Datetime("us")) + DAY + timedelta(hours=calendar.close_hour)
    # An hour that is skipped is told by the clock as it was before the change: a day after the same hour yesterday.
    return _localize(wall, calendar).fill_null(_localize(wall - DAY, calendar) + DAY)


def _localize(wall: pl.Expr, calendar: Calendar) -> pl.Expr:
    aware = wall.dt.replace_time_zone(calendar.timezone, ambiguous="earliest", non_existent="null")
    return aware.dt.convert_time_zone("UTC")  # in UTC a day is always 24 hours
