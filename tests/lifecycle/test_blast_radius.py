"""The walk down the lineage, and which rows may have read what: nothing touched is missed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.blast_radius import (
    Because,
    Edge,
    Radius,
    Touch,
    contiguous_runs,
    in_order,
    ranges,
    rows_that_read,
    walk,
)
from lifecycle.calendar import Calendar, days_between

FIRST = date(2024, 3, 1)
DAYS = days_between(FIRST, FIRST + timedelta(days=9))
EDGES = [
    Edge("raw", "clean"),
    Edge("clean", "features", 0, 2, "windows of 2 days"),
    Edge("features", "model", 0, None),
    Edge("features", "forecasts", 0, 1),
    Edge("forecasts", "report", 1, 3),
    Edge("report", "report", 1, 2, "its own past"),
]
EVERYTHING = dict.fromkeys(("raw", "clean", "features", "forecasts", "report"), DAYS) | {"model": [DAYS[1], DAYS[4]]}
UTC_DAYS = Calendar("UTC", close_hour=0)


def test_a_day_goes_through_windows_models_and_reports() -> None:
    found = walk({"raw": [DAYS[2]]}, EDGES, EVERYTHING)

    assert list(found["clean"]) == [DAYS[2]]
    assert list(found["features"]) == DAYS[2:5]
    assert list(found["forecasts"]) == DAYS[2:6]
    assert list(found["model"]) == [DAYS[4]]
    assert found["features"][DAYS[4]].because == (Because("clean", DAYS[2], DAYS[2], "windows of 2 days"),)
    assert found["raw"][DAYS[2]].because == ()


def test_an_asset_that_reads_its_own_past_is_touched_to_the_end() -> None:
    found = walk({"raw": [DAYS[0]]}, EDGES, EVERYTHING)

    assert list(found["report"]) == DAYS[1:]
    assert found["report"][DAYS[9]].because[0].why == "its own past"


def test_what_was_never_materialized_is_not_walked_through() -> None:
    found = walk({"raw": [DAYS[2]]}, EDGES, EVERYTHING | {"clean": []})

    assert list(found) == ["raw"]


def test_evidence_takes_back_what_only_could_have_been() -> None:
    def only_the_last(touched: object, candidates: dict[date, Touch]) -> dict[date, Touch]:  # noqa: ARG001
        return {day: touch for day, touch in candidates.items() if day == max(candidates)}

    found = walk({"raw": [DAYS[2]]}, EDGES, EVERYTHING, {"forecasts": only_the_last})

    assert list(found["forecasts"]) == [DAYS[5]]
    assert min(found["report"]) == DAYS[6]


def test_assets_made_from_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"circle: \['a', 'b'\]"):
        in_order([Edge("a", "b"), Edge("b", "a")])


@given(st.sets(st.sampled_from(DAYS), min_size=1))
def test_runs_hold_exactly_their_days(days: set[date]) -> None:
    runs = contiguous_runs(days)

    assert [day for first, last in runs for day in days_between(first, last)] == sorted(days)
    assert all(after > before + timedelta(days=1) for (_, before), (after, _) in pairwise(runs))
    assert str(min(days)) in ranges(days)


def at(hours: float) -> datetime:
    return datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(hours=hours)


def stored(*rows: tuple[str, float]) -> pl.DataFrame:
    """Rows of an entity that are known at their hour."""
    moments = [at(hour) for _, hour in rows]
    schema = {"entity": pl.String(), **dict.fromkeys(("event_timestamp", "created"), pl.Datetime("us", "UTC"))}
    return pl.DataFrame(
        {"entity": [name for name, _ in rows], "event_timestamp": moments, "created": moments}, schema=schema
    )


def asked(*rows: tuple[str | None, float]) -> pl.DataFrame:
    schema = {"entity": pl.String(), "event_timestamp": pl.Datetime("us", "UTC")}
    return pl.DataFrame(
        {"entity": [name for name, _ in rows], "event_timestamp": [at(hour) for _, hour in rows]}, schema=schema
    )


def test_a_row_reads_the_day_until_something_newer_comes_or_it_is_too_old() -> None:
    rows = asked(("a", -1), ("a", 20), ("a", 24), ("a", 26), ("a", 31), ("b", 31), ("b", 49), (None, 31))
    read = rows_that_read(rows, ["entity"], stored(("a", 30)), [FIRST], timedelta(hours=24), UTC_DAYS)

    # Before the day; within it; at its close; after it with nothing new; with something new; another entity, which has
    # nothing new; the same when all of the day is too old; no entity.
    assert read.to_list() == [False, True, True, True, False, True, False, False]


def test_without_a_time_to_live_it_is_read_for_ever() -> None:
    read = rows_that_read(asked(("a", 9000)), ["entity"], stored(("b", 30)), [FIRST], None, UTC_DAYS)

    assert read.to_list() == [True]


def test_what_came_late_hides_nothing() -> None:
    late = stored(("a", 26)).with_columns(created=pl.lit(at(40)))
    read = rows_that_read(asked(("a", 30)), ["entity"], late, [FIRST], None, UTC_DAYS)

    assert read.to_list() == [True]


@settings(deadline=None)
@given(
    facts=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 119)), max_size=25, unique=True),
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 130)), min_size=1, max_size=12),
    day=st.integers(0, 4),
    ttl=st.sampled_from([6, 24, 72, None]),
)
def test_no_row_that_was_given_a_value_of_the_day_is_missed(
    facts: list[tuple[str, int]], rows: list[tuple[str, int]], day: int, ttl: int | None
) -> None:
    of_day = [fact for fact in facts if 24 * day < fact[1] <= 24 * (day + 1)]
    others = stored(*(fact for fact in facts if fact not in of_day))
    held = None if ttl is None else timedelta(hours=ttl)
    found = rows_that_read(asked(*rows), ["entity"], others, [FIRST + timedelta(days=day)], held, UTC_DAYS).to_list()

    for (entity, hour), read in zip(rows, found, strict=True):
        known = [
            when for name, when in facts if name == entity and when <= hour and (ttl is None or when >= hour - ttl)
        ]
        if known and (entity, max(known)) in of_day:
            assert read


def test_a_radius_counts_its_rows_and_names_its_reasons() -> None:
    why = Because("clean", DAYS[0], DAYS[0], "labels")
    touches = {DAYS[0]: Touch(DAYS[0], (why,), 3), DAYS[1]: Touch(DAYS[1], (why,))}
    radius = Radius("x", {}, {"model": touches}, {"model": {DAYS[0]: 10, DAYS[1]: 10}}, (), {}, None)

    assert radius.touched_rows("model") == (13, 20)
    assert radius.reasons("model") == ["clean, labels"]
    assert radius.champion_version is None
