"""The feed: a day's files land as an upstream would put them down, whole, and the same each time."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lifecycle.business_day import business_day
from lifecycle.contract import polars_type
from lifecycle.pipeline import Table
from pipelines.flight_delays import PIPELINE, source
from pipelines.flight_delays.feed import land, land_range, unlanded
from resources.landing import Landing, read_landed

DAILY = ["departures", "outcomes", "schedule", "weather"]
FIRST, LAST = date(2012, 12, 31), date(2013, 12, 30)


def landed(landing: Path, table: Table, day: date) -> pl.DataFrame:
    """The rows of one landed file, in the types of the contract."""
    rows = pl.read_csv(landing / "flight_delays" / table.name / f"{day}.csv", infer_schema=False)
    columns = []
    for column in table.contract.columns:
        text = pl.col(column.name)
        moment = text.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
        columns.append(moment if column.type == "timestamp" else text.cast(polars_type(column)))
    return rows.select(columns)


def names(files: list[Path], landing: Path) -> list[str]:
    return sorted(str(path.relative_to(landing)) for path in files)


def test_an_ordinary_day_brings_one_file_of_each_daily_table(tmp_path: Path) -> None:
    files = land(tmp_path, date(2013, 2, 5))

    assert names(files, tmp_path) == [f"flight_delays/{table}/2013-02-05.csv" for table in DAILY]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


def test_the_first_day_brings_the_registers_and_headers_where_nothing_happened(tmp_path: Path) -> None:
    land(tmp_path, FIRST)

    rows = {table.name: landed(tmp_path, table, FIRST).height for table in PIPELINE.tables}

    # The weather of 01:00 to 03:00 on New Year's night belongs to the day that closes at three.
    assert rows == {
        "schedule": 842, "departures": 0, "outcomes": 0, "weather": 9, "aircraft": 3_322, "airports": 1_458
    }  # fmt: skip


@pytest.mark.parametrize("day", [date(2013, 3, 9), date(2013, 3, 10), date(2013, 7, 26), date(2013, 11, 2), LAST])
def test_a_file_holds_what_became_known_on_its_day_and_nothing_else(tmp_path: Path, day: date) -> None:
    land(tmp_path, day)

    for name in DAILY:
        table = PIPELINE.table(name)
        rows = landed(tmp_path, table, day)
        everything = source.tables()[name].filter(pl.col("day") == day).drop("day")
        assert rows.equals(everything), name
        assert rows.filter(pl.col(table.known_at) > PIPELINE.calendar.close(day)).is_empty()
        assert rows.filter(pl.col(table.known_at) <= PIPELINE.calendar.open(day)).is_empty()


def test_the_schedule_that_lands_is_that_of_the_next_day(tmp_path: Path) -> None:
    land(tmp_path, date(2013, 7, 25))

    flights = landed(tmp_path, PIPELINE.table("schedule"), date(2013, 7, 25))
    days = flights.select(business_day("scheduled_departure", PIPELINE.calendar).alias("day"))["day"]

    assert days.unique().to_list() == [date(2013, 7, 26)]
    # Leaves at six minutes past one on the 27th, before the 26th has closed.
    assert flights["scheduled_departure"].max() == datetime(2013, 7, 27, 5, 6, tzinfo=UTC)


def test_times_are_iso_8601_in_utc(tmp_path: Path) -> None:
    land(tmp_path, FIRST)

    line = (tmp_path / "flight_delays/schedule/2012-12-31.csv").read_text().splitlines()[1]
    flight, moments = line.split(",")[:5], line.split(",")[5:]

    assert flight == ["UA1545-EWR-20130101T1015Z", "UA", "1545", "EWR", "IAH"]
    assert moments == ["2013-01-01T10:15:00Z", "2013-01-01T14:19:00Z", "1400", "2012-12-31T17:00:00Z"]


def test_landing_a_day_again_writes_the_same_bytes(tmp_path: Path) -> None:
    first = {path.name + path.parent.name: path.read_bytes() for path in land(tmp_path / "one", date(2013, 6, 1))}
    again = {path.name + path.parent.name: path.read_bytes() for path in land(tmp_path / "two", date(2013, 6, 1))}
    over = {path.name + path.parent.name: path.read_bytes() for path in land(tmp_path / "one", date(2013, 6, 1))}

    assert first == again == over


def test_a_file_that_cannot_be_finished_is_not_taken_for_a_landed_one(tmp_path: Path) -> None:
    day = date(2013, 6, 1)
    occupied = tmp_path / "flight_delays" / "departures" / f"{day}.csv"
    occupied.mkdir(parents=True)  # the file cannot be put in its place

    with pytest.raises(OSError, match=r"departures"):
        land(tmp_path, day)

    left_behind = [path.name for path in occupied.parent.iterdir() if path.is_file()]
    assert all(name.startswith(".") and not name.endswith(".csv") for name in left_behind)
    assert Landing(tmp_path, tmp_path / "ingested").files("flight_delays", "outcomes") == {}


def test_the_whole_year_lands_once_and_what_does_not_land_is_counted(tmp_path: Path) -> None:
    started = time.perf_counter()
    files = land_range(tmp_path, FIRST, LAST)
    seconds = time.perf_counter() - started

    rows = dict.fromkeys(source.tables(), 0)
    for path in files:
        rows[path.parent.name] += path.read_bytes().count(b"\n") - 1
    never = unlanded()

    assert never == {"schedule": 0, "departures": 760, "outcomes": 788, "weather": 0, "aircraft": 0, "airports": 0}
    assert {name: rows[name] + never[name] for name in rows} == {
        name: frame.height for name, frame in source.tables().items()
    }
    assert len(files) == 365 * len(DAILY) + 2
    assert seconds / 365 < 0.030


def test_the_pipeline_reads_what_the_feed_writes(tmp_path: Path) -> None:
    days = [date(2013, 1, 1), date(2013, 1, 2)]
    land_range(tmp_path, days[0], days[-1])
    landing = Landing(tmp_path, tmp_path / "ingested")

    assert list(landing.fingerprints(PIPELINE)) == days
    for name in DAILY:
        rows = read_landed(PIPELINE.table(name), landing.files("flight_delays", name)[days[0]])
        assert rows.height > 0
        assert rows["_problem"].null_count() == rows["_extra"].null_count() == rows.height


@pytest.mark.parametrize("day", [FIRST - timedelta(days=1), LAST + timedelta(days=1)])
def test_a_day_outside_the_data_is_refused_with_the_range(tmp_path: Path, day: date) -> None:
    with pytest.raises(ValueError, match=f"from 2012-12-31 to 2013-12-30; asked for {day}"):
        land(tmp_path, day)

    assert list(tmp_path.iterdir()) == []
