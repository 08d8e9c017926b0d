"""Concept drift on the stream of errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.performance.change import Change, adwin, cusum, daily_means

DAYS = np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]")
SHIFT = 200  # place of the first day at a new level
Detector = Callable[[np.ndarray, np.ndarray], list[Change]]
both = pytest.mark.parametrize("detector", [cusum, adwin])


def quiet(seed: int, correlation: float = 0.0) -> np.ndarray:
    """A year of daily mean losses around 0.4 that nothing happens to."""
    shocks = np.random.default_rng(seed).normal(size=DAYS.size)
    values = shocks.copy()
    for place in range(1, values.size):
        values[place] = correlation * values[place - 1] + np.sqrt(1 - correlation**2) * shocks[place]
    return 0.4 + 0.08 * values


def test_a_quiet_year_raises_no_more_false_alarms_than_declared() -> None:
    for correlation in (0.0, 0.5):
        alarms = [len(cusum(quiet(seed, correlation), DAYS)) for seed in range(60)]
        assert np.mean(alarms) < 1  # one in 365 days is declared
    assert np.mean([len(cusum(quiet(seed), DAYS, false_alarm_days=60)) for seed in range(40)]) < 365 / 60


def test_adwin_is_silent_in_quiet_years() -> None:
    assert sum(len(adwin(quiet(seed), DAYS)) for seed in range(20)) == 0


@both
def test_a_jump_of_the_losses_is_found_dated_and_measured(detector: Detector) -> None:
    (change,) = detector(quiet(3) + np.where(np.arange(DAYS.size) >= SHIFT, 0.25, 0), DAYS)
    assert abs((np.datetime64(change.day) - DAYS[SHIFT]).astype(int)) <= 1
    assert change.alarm_day > change.day
    assert change.direction == "worse"
    assert change.size == pytest.approx(0.25, abs=0.1)
    assert change.to_dict()["day"] == change.day.isoformat()
    assert f"worse by {change.size:.3g} since {change.day}" in str(change)


def test_cusum_finds_a_jump_of_three_deviations_within_three_days_mostly() -> None:
    delays = []
    for seed in range(30):
        found = cusum(quiet(seed) + np.where(np.arange(DAYS.size) >= SHIFT, 0.24, 0), DAYS)
        later = [change.alarm_day for change in found if np.datetime64(change.alarm_day) >= DAYS[SHIFT]]
        delays.append((np.datetime64(later[0]) - DAYS[SHIFT]).astype(int) + 1 if later else np.inf)
    assert np.median(delays) <= 3
    assert np.quantile(delays, 0.9) <= 5


@both
def test_losses_that_fall_are_a_change_for_the_better(detector: Detector) -> None:
    (change,) = detector(quiet(3) - np.where(np.arange(DAYS.size) >= SHIFT, 0.25, 0), DAYS)
    assert change.direction == "better"
    assert change.size < 0


def test_every_change_is_found_once() -> None:
    place = np.arange(DAYS.size)
    found = cusum(quiet(1) + 0.3 * (place >= 120) - 0.3 * (place >= 240), DAYS)
    assert [change.direction for change in found] == ["worse", "better"]


def test_one_odd_day_raises_no_alarm() -> None:
    values = quiet(3)
    values[SHIFT] += 10
    assert cusum(values, DAYS) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 365), st.floats(-0.3, 0.3))
def test_what_is_found_does_not_depend_on_days_to_come(seed: int, known: int, size: float) -> None:
    values = quiet(seed, 0.3) + np.where(np.arange(DAYS.size) >= 100, size, 0)
    for detector in (cusum, adwin):
        before = [change for change in detector(values, DAYS) if np.datetime64(change.alarm_day) <= DAYS[known - 1]]
        assert detector(values[:known], DAYS[:known]) == before


@both
def test_the_order_of_the_days_and_days_without_losses_do_not_matter(detector: Detector) -> None:
    values = quiet(5) + np.where(np.arange(DAYS.size) >= SHIFT, 0.3, 0)
    order = np.random.default_rng(0).permutation(DAYS.size)
    found = detector(values, DAYS)
    assert found
    assert detector(values[order], DAYS[order]) == found
    holes = values.copy()
    holes[::50] = np.nan
    keep = np.isfinite(holes)
    assert detector(holes, DAYS) == detector(holes[keep], DAYS[keep])


@both
@pytest.mark.parametrize("values", [[], [0.4], [0.4, 0.9], [0.4] * 100, [0.1] * 3 + [np.nan] * 40])
def test_series_that_say_nothing_hold_no_change(detector: Detector, values: list[float]) -> None:
    assert detector(np.array(values), DAYS[: len(values)]) == []


def test_a_constant_that_jumps_is_found() -> None:
    (change,) = cusum(np.repeat([0.4, 0.5], 50), DAYS[:100])
    assert np.datetime64(change.day) == DAYS[50]
    assert change.size == pytest.approx(0.1)


def test_rows_become_means_of_their_days() -> None:
    means, days = daily_means(np.array([1.0, 3.0, np.nan, 5.0]), DAYS[[1, 1, 2, 0]])
    assert means.tolist() == [5.0, 2.0]
    assert days.tolist() == DAYS[:2].tolist()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="one day per value"):
        cusum(np.zeros(3), DAYS[:2])
    with pytest.raises(ValueError, match="false_alarm_days is 5"):
        cusum(np.zeros(3), DAYS[:3], false_alarm_days=5)
    with pytest.raises(ValueError, match="delta is 2"):
        adwin(np.zeros(3), DAYS[:3], delta=2)
