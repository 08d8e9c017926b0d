"""What a version promises, read from the lake."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.issued import predictions_table
from assets.promised import promised_by_version
from assets.validated import validated_table
from lifecycle.drift.reference import Reference, profile
from lifecycle.performance.promise import Promise, promise
from resources.lake import Lake
from resources.registry import Version
from tests.tiny import CALENDAR, FIRST_DAY, TINY

JUDGED_DAYS, SERVED_DAYS, ROWS_A_DAY = 5, 14, 60
JUDGED_FROM = FIRST_DAY + timedelta(days=10)
SERVED_FROM = JUDGED_FROM + timedelta(days=JUDGED_DAYS)
VERSION = Version("cafe_orders", 2, "run", JUDGED_FROM, JUDGED_FROM, "", (), None, {})
CLOSED = date(2024, 3, 31)


def make_events(first: date, days: int, seed: int) -> pl.DataFrame:
    """Forecasts that are off by 5, with what happened and the day at whose close it was known: the same."""
    random = np.random.default_rng(seed)
    day = [first + timedelta(days=n) for n in range(days) for _ in range(ROWS_A_DAY)]
    score = random.normal(30, 10, len(day))
    return pl.DataFrame(
        {
            "slot_id": [f"{when}-{place}" for place, when in enumerate(day)],
            "event_day": day,
            "day": day,
            "cafe": random.choice(["harbour", "market"], len(day)),
            "score": score,
            "model_version": 2,
            "label": np.round(score + random.normal(0, 5, len(day))),
            "known_day": day,
        }
    )


JUDGED, SERVED = make_events(JUDGED_FROM, JUDGED_DAYS, 0), make_events(SERVED_FROM, SERVED_DAYS, 1)
REFERENCE: Reference = profile(JUDGED, (), JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {"r2": 0.7})


def lake_with(events: pl.DataFrame, home: Path) -> Lake:
    """Forecasts by the night before their event, outcomes by the day on which they landed."""
    lake = Lake(str(home))
    issued = events.with_columns((pl.col("event_day") - pl.duration(days=1)).alias("day")).drop("label", "known_day")
    lake.write(predictions_table(TINY), issued, FIRST_DAY, CLOSED)
    known = [datetime.combine(day, time(20), CALENDAR.zone) for day in events["known_day"]]
    outcomes = events.select(
        "slot_id",
        "cafe",
        pl.col("known_day").alias("day"),
        pl.col("label").cast(pl.Int64).alias("orders"),
        pl.Series("available_at", known).dt.convert_time_zone("UTC"),
    )
    lake.write(validated_table(TINY, "orders"), outcomes, FIRST_DAY, CLOSED)
    return lake


def told(lake: Lake, before: date, as_of: date = CLOSED, judged: pl.DataFrame | None = JUDGED) -> Promise:
    return promised_by_version(TINY, VERSION, REFERENCE, judged, before, as_of, lake)


def test_it_is_what_the_rows_in_memory_tell(tmp_path: Path) -> None:
    lake = lake_with(SERVED, tmp_path)
    for days in (0, 4, 5, 9, 10, SERVED_DAYS):
        before = SERVED_FROM + timedelta(days=days)
        expected = promise(JUDGED, SERVED, before, "regression", TINY.label.longest_wait_days)
        assert vars(told(lake, before)) == pytest.approx(vars(expected))  # rows come in another order
        assert expected.days == JUDGED_DAYS * (1 + days // JUDGED_DAYS)


@pytest.mark.parametrize("days", [1, 2, 3])
def test_labels_count_where_they_came_within_the_wait_whenever_it_is_asked(tmp_path: Path, days: int) -> None:
    late = pl.col("event_day") < SERVED_FROM + timedelta(days=2)
    known = pl.col("event_day") + pl.when(late).then(pl.duration(days=days)).otherwise(pl.duration(days=0))
    lake = lake_with(SERVED.with_columns(known_day=known), tmp_path)
    waited = days <= TINY.label.longest_wait_days
    assert told(lake, CLOSED).days == 3 * JUDGED_DAYS - (0 if waited else 2)


def test_other_versions_and_labels_that_are_not_known_yet_do_not_count(tmp_path: Path) -> None:
    others = SERVED.with_columns(model_version=pl.when(pl.col("event_day") == SERVED_FROM).then(1).otherwise(2))
    lake = lake_with(others, tmp_path)
    assert told(lake, CLOSED).days == 3 * JUDGED_DAYS - 1
    assert told(lake, CLOSED, as_of=SERVED_FROM - timedelta(days=1)).days == JUDGED_DAYS


def test_where_judged_rows_were_not_kept_the_reference_promises(tmp_path: Path) -> None:
    lake = lake_with(SERVED, tmp_path)
    for judged in (None, JUDGED.clear()):
        assert told(lake, CLOSED, judged=judged) == Promise(0.7)
