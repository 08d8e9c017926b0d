"""Business days and the moments they close."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.calendar import Calendar, days_between

calendars = st.builds(
    Calendar, st.sampled_from(["America/New_York", "Europe/Berlin", "Asia/Kolkata", "UTC"]), st.integers(0, 6)
)
moments = st.datetimes(datetime(2023, 1, 1), datetime(2024, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(calendars, moments)
def test_every_moment_belongs_to_the_one_day_that_was_open(calendar: Calendar, moment: datetime) -> None:
    day = calendar.day_of(moment)
    assert calendar.open(day) < moment <= calendar.close(day)


@given(calendars, st.dates(date(2023, 1, 1), date(2024, 12, 31)))
def test_days_follow_each_other_without_gap_or_overlap(calendar: Calendar, day: date) -> None:
    assert calendar.open(day + timedelta(days=1)) == calendar.close(day)
    assert timedelta(hours=23) <= calendar.close(day) - calendar.open(day) <= timedelta(hours=25)


def test_the_days_in_which_the_clocks_change_are_an_hour_shorter_and_longer() -> None:
    berlin = Calendar("Europe/Berlin", close_hour=4)
    length = {day: berlin.close(day) - berlin.open(day) for day in (date(2024, 3, 30), date(2024, 10, 26))}
    assert length == {date(2024, 3, 30): timedelta(hours=23), date(2024, 10, 26): timedelta(hours=25)}


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Calendar("UTC").day_of(datetime(2024, 1, 1))  # noqa: DTZ001


def test_days_between_holds_both_ends_and_nothing_when_they_are_reversed() -> None:
    assert days_between(date(2024, 2, 28), date(2024, 3, 1)) == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert days_between(date(2024, 3, 1), date(2024, 2, 28)) == []
