"""The feed: puts down what a business day brought, as an upstream would.

What belongs here: which rows a day brings, and writing them. What the rows say is in ``source.py``.
"""

from __future__ import annotations

import os
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.calendar import days_between
from pipelines.flight_delays import source
from pipelines.flight_delays.declaration import PIPELINE

if TYPE_CHECKING:
    import polars as pl


def land(landing: Path, day: date) -> list[Path]:
    """Writes the files of one business day below ``landing`` and returns them.

    The schedule of the next day, the departures, outcomes and weather of this one, and on the first day the
    registers of aircraft and airports. A file appears whole or not at all, and holds the same bytes each time; a
    daily table that a day brought nothing for has a file with its header.

    Raises
    ------
    ValueError
        If the data does not reach to ``day``.
    """
    last = PIPELINE.last_day or date.max
    if not PIPELINE.first_day <= day <= last:
        raise ValueError(f"the feed reaches from {PIPELINE.first_day} to {last}; asked for {day}")
    written = []
    for table in PIPELINE.tables:
        rows = _by_day(table.name).get(day)
        if rows is None and table.cadence == "occasional":
            continue
        frame = source.tables()[table.name].clear().drop("day") if rows is None else rows
        written.append(_write(landing / PIPELINE.name / table.name, day, frame))
    return written


def land_range(landing: Path, first: date, last: date) -> list[Path]:
    """Writes the files of all days from ``first`` to ``last``."""
    return [path for day in days_between(first, last) for path in land(landing, day)]


def unlanded() -> dict[str, int]:
    """Rows of each table that became known after the feed's last day, and so never land.

    They are what the last flights of the year did: their schedule lands, their departures and outcomes do not.
    """
    last = PIPELINE.last_day or date.max
    return {name: frame.filter(frame["day"] > last).height for name, frame in source.tables().items()}


def _write(folder: Path, day: date, frame: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    # Hidden, not ending in .csv, and one a process: nobody takes an unfinished file for a landed one.
    partial = folder / f".{day}.{os.getpid()}.partial"
    frame.write_csv(partial, datetime_format=source.TIME_FORMAT)
    return partial.replace(folder / f"{day}.csv")


@cache
def _by_day(table: str) -> dict[date, pl.DataFrame]:
    parts = source.tables()[table].partition_by("day", as_dict=True, include_key=False)
    return {day: frame for (day,), frame in parts.items()}
