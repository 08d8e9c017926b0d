"""Who is asked about when, and what was known of what happened."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from lifecycle.calendar import days_between
from lifecycle.spine import build_spine, days_announced, known_labels
from tests.tiny import CAFES, CALENDAR, HOURS, TINY, day_rows

FIRST, LAST = date(2024, 3, 29), date(2024, 3, 31)  # the clocks change in the night before the last day
TIMES = ("starts_at", "published_at", "counted_at")


def _frame(table: str, first: date, last: date) -> pl.DataFrame:
    rows = [row for day in days_between(first, last) for row in day_rows(day)[table]]
    frame = pl.DataFrame(rows)
    return frame.with_columns(
        pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC") for name in TIMES if name in frame.columns
    )


@pytest.fixture(scope="module")
def announced() -> pl.DataFrame:
    return _frame("slots", *days_announced(FIRST, LAST)).with_columns(pl.col("published_at").alias("available_at"))


def test_every_event_is_asked_about_once_at_every_moment(announced: pl.DataFrame) -> None:
    spine = build_spine(TINY, announced, FIRST, LAST)

    assert spine.height == 3 * len(CAFES) * len(HOURS) * 2
    assert spine.select("slot_id", "moment").is_unique().all()
    assert spine["event_time"].is_sorted()


def test_the_batch_asks_at_the_close_of_the_day_before_also_when_the_clock_changes(announced: pl.DataFrame) -> None:
    batch = build_spine(TINY, announced, FIRST, LAST, TINY.spine.moments[:1])

    asked = dict(batch.select("event_day", "event_timestamp").unique().rows())
    assert asked == {day: CALENDAR.open(day) for day in days_between(FIRST, LAST)}
    first_slots = batch.group_by("event_day").agg((pl.col("event_time") - pl.col("event_timestamp")).min())
    assert dict(first_slots.rows()) == {day: timedelta(hours=4) for day in days_between(FIRST, LAST)}


def test_the_online_moment_asks_so_long_before_the_event(announced: pl.DataFrame) -> None:
    online = build_spine(TINY, announced, FIRST, LAST, TINY.spine.moments[1:])
    assert (online["event_time"] - online["event_timestamp"]).unique().to_list() == [timedelta(hours=1)]


def test_an_event_asked_about_alone_is_told_the_same_to_the_last_digit(announced: pl.DataFrame) -> None:
    odd = announced.with_columns(pl.col("starts_at") + timedelta(minutes=7))
    together = build_spine(TINY, odd, FIRST, LAST)
    for place in range(0, odd.height, 7):
        alone = build_spine(TINY, odd[place : place + 1], FIRST, LAST)
        assert alone.equals(together.filter(pl.col("slot_id") == odd["slot_id"][place]))


def test_an_event_announced_twice_counts_once(announced: pl.DataFrame) -> None:
    twice = pl.concat([announced, announced])
    assert build_spine(TINY, twice, FIRST, LAST).equals(build_spine(TINY, announced, FIRST, LAST))


def test_an_event_announced_late_is_asked_about_at_the_moments_that_were_left(announced: pl.DataFrame) -> None:
    slot = "market-2024-03-30-12"
    opens = CALENDAR.open(date(2024, 3, 30))
    late = announced.with_columns(
        pl.when(pl.col("slot_id") == slot)
        .then(opens + timedelta(hours=1))
        .otherwise("available_at")
        .alias("available_at")
    )
    asked = build_spine(TINY, late, FIRST, LAST).filter(pl.col("slot_id") == slot)
    assert asked["moment"].to_list() == ["online"]


def test_a_label_counts_once_and_only_when_it_is_known() -> None:
    outcomes = _frame("orders", FIRST, FIRST).with_columns(pl.col("counted_at").alias("available_at"))
    corrected = outcomes.head(1).with_columns(
        pl.lit(499, dtype=pl.Int64).alias("orders"), pl.col("available_at") + timedelta(hours=9)
    )
    everything = pl.concat([corrected, outcomes])
    noon = datetime(2024, 3, 29, 11, tzinfo=UTC)

    known = known_labels(TINY, everything, noon)
    assert known["label_known_at"].max() == noon
    assert known.height == outcomes.filter(pl.col("counted_at") <= noon).height
    late = known_labels(TINY, everything, noon + timedelta(days=2))
    assert late.height == outcomes.height
    (first,) = late.filter(pl.col("slot_id") == outcomes["slot_id"][0])["label"].to_list()
    assert first == outcomes["orders"][0]
