"""Which values can tell a model nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.lost import telling
from lifecycle.drift.profiles import NumericProfile, Profile, bounded, profile_column
from lifecycle.features import Feature

DAYS = np.repeat(np.arange("2024-01-01", "2024-01-15", dtype="datetime64[D]"), 100)
WEEKDAYS = (np.arange(DAYS.size) // 100 % 7 + 1).astype(float)


def known(values: np.ndarray, minimum: float | None = None, maximum: float | None = None) -> Profile:
    feature = Feature("weekday", "float", "", minimum, maximum)
    return bounded(profile_column(feature, pl.Series("weekday", values), DAYS), feature)


def tells(profile: Profile, *values: float | None) -> list[bool]:
    return telling(profile, pl.Series("weekday", values, pl.Float64)).tolist()


def test_values_beyond_declared_bounds_are_lost_however_near() -> None:
    assert tells(known(WEEKDAYS, 1, 7), 0.5, 1, 3.5, 7, 8) == [False, True, True, True, False]
    assert tells(known(WEEKDAYS, None, 7), 0.5, 8) == [True, False]
    assert tells(known(np.full(DAYS.size, 3.0), 1, 7), 0, 5, 9) == [False, True, False]


def test_without_bounds_those_are_lost_that_no_season_explains() -> None:
    assert tells(known(WEEKDAYS), -6, -5, 13, 14) == [False, True, True, False]
    assert tells(known(np.full(DAYS.size, 3.0)), -1e9, 1e9) == [True, True]


def test_wide_bounds_do_not_excuse_what_is_far_from_all_that_was_seen() -> None:
    assert tells(known(WEEKDAYS, -1000, 1000), -6, 14) == [False, False]


def test_what_the_version_learnt_from_tells_it_something_though_it_was_not_judged_on_it() -> None:
    feature = Feature("heat", "float", "")
    judged = profile_column(feature, pl.Series("heat", 70 + WEEKDAYS), DAYS)
    assert tells(bounded(judged, feature), 20, 63, 65, 85) == [False, False, True, False]
    assert tells(bounded(judged, feature, (10.0, 90.0)), 20, 63, 65, 85, -80) == [True, True, True, True, False]
    constant = profile_column(feature, pl.Series("heat", np.full(DAYS.size, 70.0)), DAYS)
    assert tells(bounded(constant, feature, (10.0, 90.0)), 20, 300) == [True, False]


@pytest.mark.parametrize(("bounds", "kept"), [((2, 9), (None, 9)), ((0, 6), (0, None)), ((2, 6), (None, None))])
def test_bounds_that_the_reference_itself_does_not_keep_say_nothing(
    bounds: tuple[float, float], kept: tuple[float | None, float | None]
) -> None:
    profile = known(WEEKDAYS, *bounds)
    assert isinstance(profile, NumericProfile)
    assert (profile.lowest, profile.highest) == kept


def test_a_column_without_any_value_has_no_bounds() -> None:
    profile = known(np.full(DAYS.size, np.nan), 1, 7)
    assert isinstance(profile, NumericProfile)
    assert (profile.lowest, profile.highest) == (None, None)
    assert tells(profile, 3, None) == [True, True]
