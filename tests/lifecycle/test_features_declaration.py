"""What a view declares, and what it refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lifecycle.features import Aggregate, Feature, LatestView, WindowView, feature_names

DAY = timedelta(days=1)


def _view(name: str = "shop", **changes: object) -> WindowView:
    aggregates = (Aggregate("mean", (DAY, 7 * DAY), "amount", minimum=0), Aggregate("count", (DAY,)))
    return WindowView(name, ("shop",), "sales", aggregates, "Sales.", **changes)  # type: ignore[arg-type]


def test_features_are_named_for_view_value_function_and_window() -> None:
    found = {feature.name: (feature.type, feature.minimum) for feature in _view().features}
    assert found == {
        "shop_amount_mean_24h": ("float", 0),
        "shop_amount_mean_7d": ("float", 0),
        "shop_count_24h": ("int", 0.0),
    }
    assert _view().features[0].description == "mean of amount over the last 24h per shop"


def test_a_value_may_not_expire_before_its_window_has_passed() -> None:
    with pytest.raises(ValueError, match="view 'shop': ttl 2 days, 0:00:00 is shorter than its longest window 7 days"):
        _view(ttl=2 * DAY)


def test_two_views_may_not_offer_the_same_feature() -> None:
    latest = LatestView(
        "last", ("shop",), "sales", (("n", Feature("shop_count_24h", "int", "the same name")),), "Last."
    )
    with pytest.raises(ValueError, match=r"declared more than once: .*shop_count_24h"):
        feature_names([_view(), latest])
