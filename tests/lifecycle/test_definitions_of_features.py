"""What a feature is: its definition, its fingerprint, and whether it is still what a version learnt from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from lifecycle.definitions import changes, definitions, differing, fingerprints, record, service_name
from lifecycle.derived import local_weekday, looked_up, ratio, standardized
from lifecycle.features import Aggregate, Derived, Feature, LatestView, Lookup, WindowView
from lifecycle.pipeline import Pipeline
from pipelines.flight_delays import PIPELINE as FLIGHTS
from tests.tiny import TINY, VIEWS, variant

ORDERS, SEATS = VIEWS
MEAN, SEATS_FEATURE = "cafe_orders_orders_mean_24h", "seats"
LONG = {str(number): float(number) for number in range(90)}
assert isinstance(ORDERS, WindowView)
assert isinstance(SEATS, LatestView)


def _prints(pipeline: Pipeline) -> dict[str, str]:
    return {name: found.fingerprint for name, found in definitions(pipeline).items()}


def _changed(other: Pipeline, pipeline: Pipeline = TINY) -> set[str]:
    before, now = _prints(pipeline), _prints(other)
    return {name for name in before if now.get(name) != before[name]}


def _orders(**fields: object) -> Pipeline:
    return variant(views=(replace(ORDERS, **fields), SEATS))  # type: ignore[arg-type]


def _mean(**fields: object) -> Pipeline:
    return _orders(aggregates=(replace(ORDERS.aggregates[0], **fields), *ORDERS.aggregates[1:]))  # type: ignore[arg-type]


def _seats(**fields: object) -> Pipeline:
    return variant(views=(ORDERS, replace(SEATS, **fields)))  # type: ignore[arg-type]


def _with(*derived: Derived) -> Pipeline:
    return variant(derived=(*TINY.derived, *derived))


def test_every_input_of_a_model_has_a_definition_that_people_can_read() -> None:
    found = definitions(FLIGHTS)

    assert list(found) == [feature.name for feature in FLIGHTS.features]
    assert found["airport_departure_delay_mean_3h"].text == (
        "mean of departure_delay over the last 3h per origin, from departures by known_at; missing when older than 31 d"
    )
    assert 'not_on_time = (status != "arrived") | ((arrival_delay' in found["airline_not_on_time_mean_6h"].text
    assert found["temperature"].text == "latest temp per origin, from weather by known_at; missing when older than 12 h"
    assert found["distance"].text == "the request's distance"
    assert "convert_time_zone(America/New_York)" in found["weekday"].text
    assert {item.kind for item in found.values()} == {"window", "latest", "derived", "request"}


def test_what_is_looked_up_is_part_of_what_it_leads_to() -> None:
    found = definitions(FLIGHTS)["aircraft_seats"]

    assert (
        "aircraft is looked up: latest aircraft of the rows with aircraft per carrier × flight × origin" in found.text
    )
    assert found.uses == ("last_aircraft",)


def test_fingerprints_are_the_same_in_every_process() -> None:
    code = (
        "import json; from lifecycle.definitions import definitions; from pipelines.flight_delays import PIPELINE;"
        "print(json.dumps({n: d.fingerprint for n, d in definitions(PIPELINE).items()}))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    ]

    assert json.loads(told[0]) == json.loads(told[1]) == _prints(FLIGHTS)
    assert len(set(_prints(FLIGHTS).values())) == len(FLIGHTS.features)


@pytest.mark.parametrize(
    "same",
    [
        _orders(description="Otherwise said.", owner="team:others"),
        _mean(minimum=None, maximum=9999),
        _seats(name="how_large"),
        _seats(columns=((("seats"), Feature("seats", "int", "chairs", 0, 5)),)),
        variant(derived=tuple(reversed(TINY.derived))),
        variant(description="Another.", owner="team:others"),
        _orders(aggregates=(*ORDERS.aggregates, Aggregate("count", (timedelta(hours=3),)))),
    ],
    ids=["view told otherwise", "range", "view renamed", "feature told otherwise", "order", "pipeline", "one more"],
)
def test_what_leaves_the_values_as_they_are_leaves_the_fingerprints(same: Pipeline) -> None:
    assert _changed(same) == set()


@pytest.mark.parametrize(
    ("other", "features"),
    [
        (_orders(ttl=timedelta(days=30)), {MEAN, "cafe_orders_orders_mean_7d", "cafe_orders_count_24h"}),
        (_mean(expression=lambda: pl.col("orders") * 2), {MEAN, "cafe_orders_orders_mean_7d"}),
        (_seats(needs=("seats",)), {SEATS_FEATURE}),
        (_seats(ttl=timedelta(days=900)), {SEATS_FEATURE}),
        (_seats(columns=(("cafe", Feature("seats", "int", "number of seats")),)), {SEATS_FEATURE}),
        (_seats(columns=(("seats", Feature("seats", "float", "number of seats")),)), {SEATS_FEATURE}),
        (_seats(table="orders", columns=(("orders", Feature("seats", "int", "seats")),)), {SEATS_FEATURE}),
        (variant(derived=TINY.derived[1:]), {"hour"}),
        (
            variant(derived=(*TINY.derived[:2], replace(TINY.derived[2], expression=lambda: pl.col("discount") * 2))),
            {"discount"},
        ),
    ],
    ids=["window ttl", "expression", "needs", "ttl", "column", "type", "table", "removed", "request"],
)
def test_what_may_change_a_value_changes_its_fingerprint_and_no_other(other: Pipeline, features: set[str]) -> None:
    assert _changed(other) == features


def test_a_derived_feature_is_what_it_is_made_from() -> None:
    per_seat = Derived(Feature("per_seat", "float", "orders per seat"), ratio(MEAN, "seats"))
    scaled = Derived(Feature("scaled", "float", "orders per seat, scaled"), standardized("per_seat", 0.0, 2.0))
    before, after = (
        _with(per_seat, scaled),
        replace(_seats(needs=("seats",)), derived=(*TINY.derived, per_seat, scaled)),
    )

    assert definitions(before)["scaled"].uses == ("per_seat", MEAN, "seats")
    assert _changed(after, before) == {"seats", "per_seat", "scaled"}


def test_a_lookup_that_changes_changes_what_it_leads_to() -> None:
    lookup = FLIGHTS.view("flight_number")
    longer = replace(lookup, ttl=timedelta(days=60))
    views = tuple(longer if view is lookup else view for view in FLIGHTS.views)
    by_aircraft = {f.name for view in FLIGHTS.views if view.keys == ("aircraft",) for f in view.features}

    assert _changed(replace(FLIGHTS, views=views), FLIGHTS) == by_aircraft
    assert FLIGHTS.lookups == (Lookup("aircraft", "flight_number", "last_aircraft"),)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (looked_up("cafe", LONG), looked_up("cafe", LONG | {"45": 0.0})),
        (local_weekday("event_time", "Europe/Berlin"), local_weekday("event_time", "Asia/Tokyo")),
    ],
    ids=["one number of a long table", "time zone"],
)
def test_a_change_that_polars_does_not_print_is_seen(
    before: Callable[[], pl.Expr], after: Callable[[], pl.Expr]
) -> None:
    feature = Feature("made", "float", "made of the request")
    assert _changed(_with(Derived(feature, after)), _with(Derived(feature, before))) == {"made"}


def test_the_name_of_the_service_follows_from_what_its_features_are() -> None:
    assert TINY.feature_service == service_name(TINY, TINY.inputs)
    assert TINY.feature_service.startswith("cafe_orders_features_")
    assert variant(owner="team:others").feature_service == TINY.feature_service
    assert _mean(expression=lambda: pl.col("orders") * 2).feature_service != TINY.feature_service
    # A service names its views too: a view that is called otherwise needs another service.
    assert _seats(name="how_large").feature_service != TINY.feature_service


def test_a_retired_feature_is_made_but_not_learnt_from() -> None:
    retiring = variant(retired=("hour", "seats"))

    assert [feature.name for feature in retiring.features] == [feature.name for feature in TINY.features]
    assert {feature.name for feature in TINY.inputs} - {feature.name for feature in retiring.inputs} == {
        "hour",
        "seats",
    }
    assert retiring.feature_service != TINY.feature_service
    without = variant(derived=TINY.derived[1:], views=(ORDERS,))
    assert retiring.feature_service == without.feature_service, "to remove it changes nothing for the new model"


def test_only_declared_features_can_be_retired_and_some_must_stay() -> None:
    with pytest.raises(ValueError, match=r"'cafe_orders' retires features it does not declare: \['hours'\]"):
        variant(retired=("hours",))
    with pytest.raises(ValueError, match="retires all features"):
        variant(retired=tuple(feature.name for feature in TINY.features))


def test_a_record_tells_later_what_changed_and_what_is_gone() -> None:
    kept = json.loads(json.dumps(record(TINY)))
    now = definitions(replace(_mean(expression=lambda: pl.col("orders") * 2), derived=TINY.derived[1:]))
    features = tuple(kept["features"])

    assert differing(features, fingerprints(kept), definitions(TINY)) == ()
    assert set(differing(features, fingerprints(kept), now)) == {"hour", MEAN, "cafe_orders_orders_mean_7d"}
    hour, day, _ = changes(features, kept, now)
    assert str(hour).startswith("'hour' was: ")
    assert str(hour).endswith("now it is: not declared")
    assert "mean of orders over the last 24h" in str(day.before)
    assert "mean of orders = orders * 2 over the last 24h" in str(day.now)


def test_expressions_written_by_another_polars_are_compared_in_what_they_read() -> None:
    kept = record(TINY) | {"polars": "1.0"}
    for entry in kept["features"].values():
        entry["fingerprint"] = "00000000"
    features = tuple(kept["features"])
    other_column = _mean(expression=lambda: pl.col("card_share"))

    assert changes(features, kept, definitions(TINY)) == ()
    assert {change.feature for change in changes(features, kept, definitions(other_column))} == {
        MEAN,
        "cafe_orders_orders_mean_7d",
    }
    assert {change.feature for change in changes(features, kept, definitions(_seats(needs=("seats",))))} == {"seats"}


def test_of_a_version_that_kept_no_definitions_only_the_names_are_asked_for() -> None:
    assert differing(("hour", "seats"), {}, definitions(_seats(needs=("seats",)))) == ()
    (gone,) = changes(("hours", "seats"), {}, definitions(TINY))
    assert str(gone) == "'hours' was: declared (its definition was not recorded); now it is: not declared"
