"""Features computed when they are asked for: the same for one request as for a year of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle import derived
from lifecycle.features import Derived, Feature

REQUESTS = pl.DataFrame(
    {
        "event_timestamp": [datetime(2024, 3, 30, 2, tzinfo=UTC), datetime(2024, 3, 31, 2, tzinfo=UTC)],
        "event_time": [datetime(2024, 3, 30, 8, 50, tzinfo=UTC), datetime(2024, 3, 31, 8, 50, tzinfo=UTC)],
        "cafe": ["harbour", None],
        "staff": [3, 0],
        "orders_24h": [120.0, 90.0],
        "orders_7d": [100.0, None],
    },
    schema_overrides={"event_timestamp": pl.Datetime("us", "UTC"), "event_time": pl.Datetime("us", "UTC")},
)


def _value(expression: derived.Expression | None, name: str = "made", kind: str = "float") -> list[object]:
    rows = derived.derive((Derived(Feature(name, kind, "made here"), expression),), REQUESTS)  # type: ignore[arg-type]
    return rows[name].to_list()


def test_local_time_follows_the_clock_where_people_live_also_when_it_changes() -> None:
    berlin = "Europe/Berlin"
    assert _value(derived.local_hour("event_time", berlin)) == pytest.approx([9 + 50 / 60, 10 + 50 / 60])
    assert _value(derived.local_weekday("event_time", berlin)) == [6, 7]
    assert _value(derived.hours_until_event) == pytest.approx([6 + 5 / 6, 6 + 5 / 6])


def test_request_and_stored_values_combine_and_what_is_missing_stays_missing() -> None:
    assert _value(derived.difference("orders_24h", "orders_7d")) == [20.0, None]
    assert _value(derived.ratio("orders_24h", "staff")) == [40.0, None]
    assert _value(derived.ratio("staff", "orders_7d")) == [0.03, None]


def test_encodings_know_what_they_do_not_know() -> None:
    assert _value(derived.one_of("cafe", "harbour")) == [1.0, None]
    assert _value(derived.numbered("cafe", ("museum", "harbour"))) == [1.0, None]
    assert _value(derived.looked_up("cafe", {"museum": 2.5}, default=-1.0)) == [-1.0, -1.0]
    assert _value(derived.standardized("orders_24h", mean=100, deviation=10)) == [2.0, -1.0]
    assert _value(derived.on_circle("staff", 12, "sin")) == pytest.approx([1.0, 0.0])


def test_a_column_of_the_request_goes_in_as_it_is() -> None:
    assert _value(None, "staff") == [3.0, 0.0]
    assert _value(None, "cafe", "string") == ["harbour", None]


def test_a_feature_may_use_those_declared_before_it_and_takes_their_new_values() -> None:
    chain = (
        Derived(Feature("staff", "float", "half of them"), derived.standardized("staff", 0, 2)),
        Derived(Feature("per_head", "float", "orders"), derived.ratio("orders_24h", "staff")),
    )
    assert derived.derive(chain, REQUESTS)["per_head"].to_list() == [80.0, None]


def test_what_is_missing_is_named_with_the_feature_that_needs_it() -> None:
    with pytest.raises(ValueError, match=r"derived features lack columns: \{'made': \['seats'\]\}"):
        _value(derived.ratio("orders_24h", "seats"))


def test_declarations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive, not 0"):
        derived.standardized("staff", 1, 0)
    with pytest.raises(ValueError, match="named twice"):
        derived.numbered("cafe", ("a", "a"))
    with pytest.raises(ValueError, match="'sin' or 'cos'"):
        derived.on_circle("staff", 7, "tan")


numbers = st.floats(-1e6, 1e6) | st.none()
requests = st.lists(st.tuples(numbers, numbers, st.integers(0, 10**9)), min_size=2, max_size=20)
EVERYTHING = (
    Derived(Feature("lead", "float", ""), derived.hours_until_event),
    Derived(Feature("hour", "float", ""), derived.local_hour("event_time", "America/New_York")),
    Derived(Feature("difference", "float", ""), derived.difference("a", "b")),
    Derived(Feature("ratio", "float", ""), derived.ratio("a", "b")),
    Derived(Feature("scaled", "float", ""), derived.standardized("a", 3.7, 1.9)),
    Derived(Feature("circle", "float", ""), derived.on_circle("hour", 24)),
)


@given(requests)
def test_a_request_that_comes_alone_sees_what_training_saw_to_the_last_digit(
    rows: list[tuple[float | None, float | None, int]],
) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    together = pl.DataFrame(
        {
            "a": [a for a, _, _ in rows],
            "b": [b for _, b, _ in rows],
            "event_timestamp": [start] * len(rows),
            "event_time": [start + timedelta(milliseconds=wait) for _, _, wait in rows],
        },
        schema={
            "a": pl.Float64(),
            "b": pl.Float64(),
            "event_timestamp": pl.Datetime("us", "UTC"),
            "event_time": pl.Datetime("us", "UTC"),
        },
    )
    expected = derived.derive(EVERYTHING, together)
    for place in range(len(rows)):
        assert derived.derive(EVERYTHING, together[place : place + 1]).equals(expected[place : place + 1])
