"""A past whose days were put into another order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.backtesting.stationary import shuffle_days

FIRST = date(2024, 2, 20)


def year(days: list[int]) -> pl.DataFrame:
    """Rows of some days, each with the day on which its label became known and the moment of its event."""
    day = [FIRST + timedelta(days=n) for n in days]
    return pl.DataFrame(
        {
            "row": range(len(days)),
            "came": day,
            "day": day,
            "known": [each + timedelta(days=n % 3) for n, each in enumerate(day)],
            "event": [datetime(each.year, each.month, each.day, n % 24, tzinfo=UTC) for n, each in enumerate(day)],
        },
        schema_overrides={"came": pl.Date, "day": pl.Date, "known": pl.Date, "event": pl.Datetime("us", "UTC")},
    )


@settings(max_examples=60, deadline=None)
@given(days=st.lists(st.integers(0, 60), max_size=80), seed=st.integers(0, 2**32), within_weekday=st.booleans())
def test_whole_days_take_the_dates_of_others_with_all_that_moves_with_them(
    days: list[int], seed: int, within_weekday: bool
) -> None:
    frame = year(days)
    moved = shuffle_days(frame, seed, ("known", "event"), within_weekday)
    assert moved.schema == frame.schema
    assert moved["row"].equals(frame["row"])
    assert set(moved["day"]) == set(frame["day"])
    pairs = moved.select("came", "day").unique()
    assert pairs.height == pairs["came"].n_unique() == pairs["day"].n_unique()  # one new date for all rows of a day
    for name in ("known", "event"):
        assert (moved[name] - moved["day"]).to_list() == (frame[name] - frame["day"]).to_list()
    if within_weekday:
        assert moved["day"].dt.weekday().equals(frame["day"].dt.weekday())


def test_the_new_dates_depend_on_the_seed_and_on_nothing_else() -> None:
    frame = year([n // 3 for n in range(180)])
    moved = shuffle_days(frame, 5)
    assert moved.equals(shuffle_days(frame, 5))
    assert not moved.equals(shuffle_days(frame, 6))
    assert shuffle_days(frame.reverse(), 5).reverse().equals(moved)
    assert (
        shuffle_days(frame.unique("day", keep="first", maintain_order=True), 5)
        .join(moved, on="came")
        .select((pl.col("day") == pl.col("day_right")).all())
        .item()
    )


def test_every_day_is_as_likely_to_come_early_as_late() -> None:
    frame = year(list(range(40)))
    early = np.array([shuffle_days(frame, seed)["day"] < FIRST + timedelta(days=20) for seed in range(300)])
    assert early.sum(axis=0).min() > 110
    assert early.sum(axis=0).max() < 190


def test_the_season_is_gone_and_the_week_is_kept_if_asked() -> None:
    frame = year(list(range(140))).with_columns(
        season=pl.int_range(140).cast(pl.Float64), rhythm=pl.col("day").dt.weekday() // 6
    )
    free, kept = shuffle_days(frame, 1).sort("day"), shuffle_days(frame, 1, within_weekday=True).sort("day")
    for moved in (free, kept):
        assert abs(moved.select(pl.corr("season", pl.col("day").to_physical())).item()) < 0.25
    assert kept["rhythm"].equals(frame["rhythm"])
    assert not free["rhythm"].equals(frame["rhythm"])


def test_rows_without_a_day_stay_as_they_are() -> None:
    frame = year([0, 1, 2, 3, 4, 5]).with_columns(day=pl.when(pl.col("row") == 2).then(None).otherwise("day"))
    moved = shuffle_days(frame, 3, ("known",))
    assert moved.row(2) == frame.row(2)
    assert moved["day"].null_count() == 1


def test_what_cannot_move_is_named() -> None:
    frame = year([0, 1])
    with pytest.raises(ValueError, match=r"columns \['seen'\] are not in the frame"):
        shuffle_days(frame, 1, ("day", "seen"))
    with pytest.raises(ValueError, match="column 'row' holds Int64; it must hold dates or datetimes"):
        shuffle_days(frame, 1, ("row",))
    with pytest.raises(ValueError, match="column 'day' holds Datetime"):
        shuffle_days(frame.with_columns(day=pl.col("event")), 1)
