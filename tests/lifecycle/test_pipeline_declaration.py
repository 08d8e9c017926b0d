"""A pipeline that cannot work is refused where it is declared."""

from __future__ import annotations

import pytest

from lifecycle.contract import Column, Contract
from lifecycle.features import Derived, Feature, Lookup
from lifecycle.pipeline import MonitorRule, Table
from tests.tiny import ORDERS, SEATS, SLOTS, TINY, variant


def test_inputs_of_the_model_are_the_requests_first_and_then_the_stores() -> None:
    assert [feature.name for feature in TINY.features] == [
        "hour",
        "staff",
        "discount",
        "cafe_orders_orders_mean_24h",
        "cafe_orders_orders_mean_7d",
        "cafe_orders_count_24h",
        "seats",
    ]
    assert TINY.feature_service.startswith("cafe_orders_features_")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "cafe orders"}, "'cafe orders' must consist of letters"),
        ({"tables": (SLOTS, SEATS)}, r"names tables it does not declare: \['orders'\]"),
        ({"task": "classification"}, "declare costs"),
        (
            {"derived": (Derived(Feature("seats", "int", "twice")),)},
            "features declared more than once",
        ),
        ({"lookups": (Lookup("cafe", "weather", "nearest"),)}, "no view 'weather'; it has"),
        ({"lookups": (Lookup("chain", "cafe_seats", "chain"),)}, "view 'cafe_seats' has no feature 'chain' to look up"),
        (
            {"lookups": (Lookup("cafe", "cafe_seats", "seats"),)},
            r"'cafe' is looked up by \['cafe'\], which is looked up itself",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_says_what_is_wrong(changes: dict, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        variant(**changes)


def test_an_unknown_table_or_column_is_named_beside_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"no table 'weather'; it has \['slots', 'orders', 'seats'\]"):
        TINY.table("weather")
    with pytest.raises(KeyError, match="no column 'price' in the contract"):
        ORDERS.contract.column("price")


def test_the_key_and_the_moment_of_a_table_must_be_columns_of_the_right_kind() -> None:
    shop = Column("shop", "string", "which")
    with pytest.raises(ValueError, match=r"key names columns that are not declared: \['till'\]"):
        Contract((shop,), key=("till",))
    with pytest.raises(ValueError, match="known_at column 'shop' must be a timestamp"):
        Table("sales", Contract((shop,), key=("shop",)), "shop", "Sales.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drift_days", 0),
        ("performance_days", 0),
        ("least_days", 0),
        ("least_days", 15),
        ("concept_days", 0),
        ("seasonal_weeks", 0),
        ("concept_false_alarm_days", 5.0),
        ("concept_false_alarm_days", float("inf")),
        ("harm_skill_share", -1.0),
        ("ranking_drop", float("nan")),
        ("level_false_share", 1.0),
        ("harmful_days", 6),
    ],
)
def test_a_rule_that_could_not_be_followed_at_night_is_refused_by_day(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name}\b.*{value:g}"):
        MonitorRule(**{name: value})  # type: ignore[arg-type]
