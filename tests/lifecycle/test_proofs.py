"""The proof itself: what it computes again, what it finds, and how it shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from lifecycle.derived import difference
from lifecycle.features import Derived, Feature
from lifecycle.parity import NOT_COMPARED, disagreements, views_of
from lifecycle.proofs import leaks, recompute, sample
from tests.deliveries import (
    DELIVERIES,
    HOUR,
    START,
    Entry,
    Order,
    Visit,
    features_at,
    orders,
    register,
    requests,
    visits,
)

ASKED = [
    Order("north", 10.0, asked=300),  # five hours after the first visit
    Order("north", 20.0, asked=60 * 30),  # a day later: the last visit is stale, the day's windows are empty
    Order("south", 30.0, asked=300),  # nobody has been there
]
VISITS = [
    Visit("north", "ann", 20.0, left=60),
    Visit("north", None, 41.5, left=130),
    Visit("north", "bo", 60.0, left=240, late=60 * 24),  # heard of a day later
]
REGISTER = [Entry("ann", 15, noted=0), Entry("bo", 30, noted=0), Entry("ann", 18, noted=290, late=20)]
FACTS = {"orders": orders(ASKED), "visits": visits(VISITS), "register": register(REGISTER)}


@pytest.fixture
def rows() -> pl.DataFrame:
    return features_at(requests(ASKED), FACTS)


def _leaks(rows: pl.DataFrame, pipeline=DELIVERIES, **facts: pl.DataFrame) -> pl.DataFrame:
    return leaks(pipeline, rows, {name: frame.lazy() for name, frame in {**FACTS, **facts}.items()})


def test_nothing_is_found_in_examples_that_know_only_their_past(rows: pl.DataFrame) -> None:
    assert _leaks(rows).is_empty()


def test_the_world_ends_at_the_prediction_time_of_each_row_by_itself(rows: pl.DataFrame) -> None:
    asked = rows.select("order_id", "event_timestamp")
    again = recompute(DELIVERIES, asked, {name: frame.lazy() for name, frame in FACTS.items()})

    first, second, third = again.rows.to_dicts()
    assert (first["courier"], first["speed"]) == ("ann", 15.0)  # her new speed came ten minutes too late
    assert first["shop_visits_minutes_sum_24h"] == 61.5
    assert (first["last_minutes"], first["slowing"]) == (41.5, 41.5 - 30.75)
    # A day later the visit of bo is known, of the 24 hours none is left, and the last courier is long ago.
    assert (second["shop_visits_minutes_sum_24h"], second["last_minutes"], second["courier"]) == (0.0, None, None)
    assert (third["shop_visits_minutes_sum_24h"], third["speed"], third["basket"]) == (None, None, 30.0)


def test_a_value_that_differs_in_its_last_digit_is_shown_with_both(rows: pl.DataFrame) -> None:
    name = "shop_visits_minutes_mean_24h"
    wrong = rows.with_columns(
        pl.when(pl.col("order_id") == "order-0").then(30.750000000000004).otherwise(name).alias(name)
    )

    assert _leaks(wrong).to_dicts() == [
        {
            "order_id": "order-0",
            "event_timestamp": START + 5 * HOUR,
            "feature": name,
            "found": "30.750000000000004",
            "recomputed": "30.75",
            "why": None,
        }
    ]


def test_a_value_where_none_could_be_known_and_none_where_one_was_are_both_found(rows: pl.DataFrame) -> None:
    wrong = rows.with_columns(
        pl.col("speed").fill_null(15.0),
        pl.when(pl.col("order_id") != "order-0").then("last_minutes").alias("last_minutes"),
    )
    found = _leaks(wrong).select("order_id", "feature", "found", "recomputed").rows()

    assert ("order-2", "speed", "15.0", None) in found
    assert ("order-0", "last_minutes", None, "41.5") in found


def test_the_columns_of_the_request_and_looked_up_keys_are_proved_too(rows: pl.DataFrame) -> None:
    wrong = rows.with_columns(pl.lit("zoe").alias("courier"), pl.col("event_time") + HOUR)
    found = _leaks(wrong)["feature"].unique().sort().to_list()
    assert found == ["courier", "event_time"]


def test_an_event_asked_about_before_it_was_announced_is_a_leak_by_itself(rows: pl.DataFrame) -> None:
    late = orders(ASKED[:1], announced_before=-1).vstack(orders(ASKED)[1:])
    (found,) = _leaks(rows, orders=late).to_dicts()

    assert (found["order_id"], found["feature"]) == ("order-0", "orders")
    assert found["why"] == "asked about before it was announced"


def test_what_is_computed_from_the_outcome_is_named_with_what_it_is_computed_from(rows: pl.DataFrame) -> None:
    derived = (
        *DELIVERIES.derived,
        Derived(Feature("worse", "float", "worse than the label"), difference("label", "lead_hours")),
        Derived(Feature("much_worse", "float", "the same, again"), difference("worse", "basket")),
    )
    known = rows.with_columns(pl.lit(12.0).alias("label"), worse=pl.lit(10.0), much_worse=pl.lit(0.0))
    found = _leaks(known, replace(DELIVERIES, derived=derived)).filter(pl.col("order_id") == "order-1")

    assert found.select("feature", "found", "recomputed", "why").rows() == [
        ("worse", "10.0", None, "computed from label: not known at the prediction time"),
        ("much_worse", "0.0", None, "computed from worse: not known at the prediction time"),
    ]


def test_the_sample_is_spread_over_moments_and_time_and_depends_on_the_seed_alone() -> None:
    many = pl.DataFrame(
        {
            "place": range(1000),
            "event_timestamp": [START + timedelta(minutes=number) for number in range(1000)],
            "moment": ["batch" if number % 10 else "online" for number in range(1000)],
        }
    )
    drawn = sample(many, 20, seed=1)

    assert dict(drawn["moment"].value_counts().rows()) == {"batch": 10, "online": 10}
    for moment in ("batch", "online"):
        tenths = drawn.filter(pl.col("moment") == moment)["place"] // 100
        assert tenths.to_list() == list(range(10))
    assert sample(many, 20, seed=1).equals(drawn)
    assert not sample(many, 20, seed=2).equals(drawn)
    assert sample(many.head(7), 20, seed=1).equals(many.head(7))
    assert sample(many.clear(), 20, seed=1).is_empty()


def test_disagreements_name_the_entity_the_feature_and_all_three_values(rows: pl.DataFrame) -> None:
    online = rows.with_columns(pl.col("speed") + 0.5)
    (found,) = disagreements(DELIVERIES, rows, rows, online).to_dicts()

    assert found == {
        "order_id": "order-0",
        "event_timestamp": START + 5 * HOUR,
        "entity": "courier ann",
        "feature": "speed",
        "batch": "15.0",
        "offline": "15.0",
        "online": "15.5",
    }
    assert disagreements(DELIVERIES, rows, rows, rows).is_empty()
    assert disagreements(DELIVERIES, rows, rows).is_empty()


def test_what_follows_from_a_view_that_has_moved_on_is_not_compared_online(rows: pl.DataFrame) -> None:
    later = rows.with_columns(
        pl.lit(None, dtype=pl.Float64).alias(name) for name in ("last_minutes", "slowing", "speed")
    )
    moved = {"last_visit": pl.Series([True, True, True])}

    assert disagreements(DELIVERIES, rows, rows, later, moved)["feature"].to_list() == ["speed"]
    stored = rows.with_columns(pl.col("slowing") + 1)
    found = disagreements(DELIVERIES, stored, rows, later, moved)
    assert found.filter(pl.col("feature") == "slowing")["online"].to_list() == [NOT_COMPARED]


def test_a_feature_follows_from_its_view_and_from_the_views_that_tell_its_keys() -> None:
    assert views_of(DELIVERIES, "speed") == {"courier_register", "last_courier"}
    assert views_of(DELIVERIES, "slowing_by_lead") == {"last_visit", "shop_visits"}
    assert views_of(DELIVERIES, "basket") == set()


def test_answers_that_cannot_be_compared_are_refused(rows: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"'online': \['speed'\]"):
        disagreements(DELIVERIES, rows, rows, rows.drop("speed"))
    with pytest.raises(ValueError, match="about the same rows"):
        disagreements(DELIVERIES, rows, rows.head(1))
