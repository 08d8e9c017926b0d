"""The business day of moments in a frame: the same as the calendar says, moment by moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lifecycle.business_day import business_day
from lifecycle.calendar import Calendar

NEW_YORK = Calendar("America/New_York", close_hour=3)
TICK = timedelta(microseconds=1)
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "America/St_Johns"]

calendars = st.builds(Calendar, st.sampled_from(ZONES), close_hour=st.integers(0, 23))
days = st.dates(date(2005, 1, 1), date(2015, 12, 31))
moments = st.datetimes(datetime(2005, 1, 1), datetime(2015, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


def days_of(moments: list[datetime], calendar: Calendar) -> list[date]:
    frame = pl.DataFrame({"known_at": moments}, schema={"known_at": pl.Datetime("us", "UTC")})
    return frame.select(business_day("known_at", calendar))["known_at"].to_list()


@given(st.lists(moments, min_size=1, max_size=40), calendars)
def test_every_moment_has_the_day_that_the_calendar_gives_it(moments: list[datetime], calendar: Calendar) -> None:
    assert days_of(moments, calendar) == [calendar.day_of(moment) for moment in moments]


@given(days, calendars)
@example(date(2013, 3, 9), Calendar("America/New_York", close_hour=2))  # closes at an hour that is skipped
@example(date(2013, 11, 2), Calendar("America/New_York", close_hour=1))  # closes at an hour that comes twice
def test_the_close_is_the_last_moment_of_its_day(day: date, calendar: Calendar) -> None:
    close = calendar.close(day)
    around = [close - TICK, close, close + TICK, close + timedelta(hours=1)]

    assert days_of(around, calendar) == [calendar.day_of(moment) for moment in around]
    assert days_of([close, close + TICK], calendar) == [day, day + timedelta(days=1)]


@pytest.mark.parametrize(
    ("closes_at", "day"),
    [
        (datetime(2013, 1, 2, 8, tzinfo=UTC), date(2013, 1, 1)),  # winter: three in the morning is 08:00 in UTC
        (datetime(2013, 3, 10, 7, tzinfo=UTC), date(2013, 3, 9)),  # the clock has just skipped an hour
        (datetime(2013, 7, 2, 7, tzinfo=UTC), date(2013, 7, 1)),  # summer
        (datetime(2013, 11, 3, 8, tzinfo=UTC), date(2013, 11, 2)),  # the clock has gone back: a day of 25 hours
    ],
)
def test_new_york_closes_at_three_in_the_morning_all_year_round(closes_at: datetime, day: date) -> None:
    assert days_of([closes_at, closes_at + TICK], NEW_YORK) == [day, day + timedelta(days=1)]


@pytest.mark.parametrize(("day", "hours"), [(date(2013, 3, 9), 23), (date(2013, 11, 2), 25), (date(2013, 7, 1), 24)])
def test_a_day_on_which_the_clock_changes_has_23_or_25_full_hours(day: date, hours: int) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    full_hours = [start + timedelta(hours=hour) for hour in range(96)]

    assert days_of(full_hours, NEW_YORK).count(day) == hours


def test_a_missing_moment_has_no_day_and_the_name_stays() -> None:
    frame = pl.DataFrame({"known_at": [None]}, schema={"known_at": pl.Datetime("us", "UTC")})

    told = frame.select(business_day(pl.col("known_at"), NEW_YORK))

    assert told.schema == {"known_at": pl.Date()}
    assert told["known_at"].to_list() == [None]


def test_moments_in_another_time_zone_are_the_same_moments() -> None:
    close = NEW_YORK.close(date(2013, 5, 1))
    frame = pl.DataFrame({"at": [close, close + TICK]}, schema={"at": pl.Datetime("us", "UTC")})

    elsewhere = frame.with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo"))

    assert elsewhere.select(business_day("at", NEW_YORK))["at"].to_list() == [date(2013, 5, 1), date(2013, 5, 2)]
