"""The business day of moments in a frame; the vectorised form of ``Calendar.day_of``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lifecycle.calendar import Calendar

if TYPE_CHECKING:
    import polars as pl


def business_day(column: str | pl.Expr, calendar: Calendar) -> pl.Expr:
    """The business day whose window (close of D-1, close of D] holds each moment.

    Parameters
    ----------
    column : name or expression of aware moments.

    Returns
    -------
    polars.Expr
        Dates under the column's name; null where the moment is.
    """
    import polars as pl

    moment = pl.col(column) if isinstance(column, str) else column
    # On the wall clock, so that days with a change of time also close at the same local hour; a microsecond
    # earlier, because the close itself belongs to the day it ends.
    local = moment.dt.convert_time_zone(calendar.timezone).dt.replace_time_zone(None)
    return (local - timedelta(hours=calendar.close_hour, microseconds=1)).dt.date()
