"""Forecasts that need no model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lifecycle.baselines import PRIOR_ROWS, fit_baselines

PAST = pd.DataFrame(
    {
        "carrier": ["AA"] * 900 + ["UA"] * 99 + [None],
        "label": [1.0] * 90 + [0.0] * 810 + [1.0] * 99 + [1.0],
    }
)


def test_the_base_rate_is_forecast_for_everyone() -> None:
    base, _ = fit_baselines(PAST, "label", ["carrier"], "classification")
    assert base.name == "base_rate"
    np.testing.assert_allclose(base.predict(PAST.head(3)), PAST["label"].mean())


def test_groups_have_their_own_rate_small_ones_lean_on_all_and_unknown_ones_are_like_all() -> None:
    _, by_carrier = fit_baselines(PAST, "label", ["carrier"], "classification")
    assert by_carrier.name == "rate_by_carrier"
    overall = PAST["label"].mean()
    aa, ua, missing, unknown = by_carrier.predict(pd.DataFrame({"carrier": ["AA", "UA", None, "ZZ"]}))
    assert aa == pytest.approx((90 + PRIOR_ROWS * overall) / (900 + PRIOR_ROWS))
    assert ua == pytest.approx((99 + PRIOR_ROWS * overall) / (99 + PRIOR_ROWS))
    assert overall < missing < ua
    assert unknown == overall


def test_regression_forecasts_means_and_groups_may_be_numbers() -> None:
    past = pd.DataFrame({"hour": [6, 6, 18, 18] * 100, "label": [1.0, 3.0, 40.0, 42.0] * 100})
    mean, by_hour = fit_baselines(past, "label", ["hour"], "regression")
    assert (mean.name, by_hour.name) == ("mean", "mean_by_hour")
    early, late = by_hour.predict(pd.DataFrame({"hour": [6, 18]}))
    assert early < mean.constant < late


def test_no_rows_are_forecast_as_no_rows() -> None:
    for baseline in fit_baselines(PAST, "label", ["carrier"], "classification"):
        assert baseline.predict(PAST.head(0)).shape == (0,)


def test_missing_labels_and_columns_are_named() -> None:
    with pytest.raises(ValueError, match="'label' is missing in 1 of 2 rows"):
        fit_baselines(pd.DataFrame({"label": [1.0, None]}), "label", [], "classification")
    with pytest.raises(ValueError, match="column 'origin'"):
        fit_baselines(PAST, "label", ["origin"], "classification")
