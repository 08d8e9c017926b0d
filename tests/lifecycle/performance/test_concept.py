"""Concept drift: errors that grow beyond what the forecasts announce."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from lifecycle.performance.concept import DayErrors, concept_drift, errors_by_day
from lifecycle.pipeline import MonitorRule

RULE = MonitorRule()
START = date(2013, 3, 1)
ROWS_A_DAY = 400


def make_forecasts(days: int, turns: int | None = None, hard: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Calibrated forecasts; from day ``turns`` on labels are by chance, on day ``hard`` everything is even odds."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(days):
        scores = np.full(ROWS_A_DAY, 0.5) if number == hard else random.beta(2, 6, ROWS_A_DAY)
        chances = 1 - scores if turns is not None and number >= turns else scores
        frames.append(
            pl.DataFrame(
                {
                    "day": [START + timedelta(days=number)] * ROWS_A_DAY,
                    "score": scores,
                    "label": (random.random(ROWS_A_DAY) < chances).astype(float),
                }
            )
        )
    return pl.concat(frames)


def judge(forecasts: pl.DataFrame, day: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = concept_drift(errors_by_day(forecasts, "classification"), RULE, START + timedelta(days=day))
    return found.errors, found.warnings


def test_calibrated_forecasts_lose_what_they_announce() -> None:
    excess = errors_by_day(make_forecasts(60), "classification")
    assert list(excess) == [START + timedelta(days=number) for number in range(60)]
    for means in (np.array([day.excess for day in excess.values()]), np.array([day.level for day in excess.values()])):
        assert abs(means.mean()) < 3 * means.std(ddof=1) / 60**0.5


def test_a_day_that_is_hard_to_forecast_and_said_to_be_is_no_concept_drift() -> None:
    excess = errors_by_day(make_forecasts(40, hard=30), "classification")
    spread = np.std([day.excess for day in excess.values()])
    assert abs(excess[START + timedelta(days=30)].excess) < 3 * spread


def test_labels_that_no_longer_follow_the_inputs_are_an_error_within_days_that_names_since_when() -> None:
    forecasts = make_forecasts(40, turns=30)
    (error, *_), _ = judge(forecasts, 32)
    assert error.startswith("The loss beyond what the forecasts announce has grown from ")
    assert f"since {START + timedelta(days=30)} (CUSUM" in error


def test_nothing_is_said_while_nothing_changes() -> None:
    forecasts = make_forecasts(60)
    assert {judge(forecasts, day)[0] for day in range(20, 60)} == {()}


def test_a_change_is_heard_for_some_days_and_not_for_ever() -> None:
    forecasts = make_forecasts(60, turns=30)
    heard = [day for day in range(28, 60) if judge(forecasts, day)[0]]
    assert heard
    assert heard[0] <= 32
    assert heard[-1] <= 30 + 2 * RULE.of_days


def test_a_change_that_shows_only_when_late_labels_come_is_heard() -> None:
    errors = errors_by_day(make_forecasts(40, turns=30), "classification")
    nights = range(28, 40)
    alarm = next(n for n in nights if concept_drift(errors, RULE, START + timedelta(days=n)).changes)
    three_days_at_once = START + timedelta(days=alarm + 2)
    assert concept_drift(errors, RULE, three_days_at_once, wait_days=2).errors


def test_days_after_today_are_not_looked_at() -> None:
    forecasts = make_forecasts(40, turns=30)
    assert judge(forecasts, 29) == judge(forecasts.filter(pl.col("day") <= START + timedelta(days=29)), 29)


def test_without_labels_there_is_nothing_to_judge() -> None:
    nothing = make_forecasts(3).with_columns(label=pl.lit(None, dtype=pl.Float64))
    assert errors_by_day(nothing, "classification") == {}
    found = concept_drift({}, RULE, START)
    assert (found.errors_by_day, found.errors, found.warnings) == ({}, (), ())


def test_forecasts_that_came_to_be_too_high_are_an_error_though_they_cost_less_than_before() -> None:
    forecasts = make_forecasts(60)
    late = pl.col("day") >= START + timedelta(days=40)
    spared = pl.int_range(pl.len()) % 3 == 0  # a third of what would have happened does not
    calm = forecasts.with_columns(label=pl.when(late & spared).then(0.0).otherwise("label"))
    found = concept_drift(errors_by_day(calm, "classification"), RULE, START + timedelta(days=43))
    assert {change.direction for change in found.changes} <= {"better"}
    (error,) = found.errors
    assert error.startswith(f"Less happens than is forecast since {START + timedelta(days=40)}")


def test_a_level_that_came_to_be_right_is_no_error() -> None:
    forecasts = make_forecasts(60)
    early = pl.col("day") < START + timedelta(days=40)
    high = forecasts.with_columns(score=pl.when(early).then(pl.col("score") ** 0.5).otherwise("score"))
    found = concept_drift(errors_by_day(high, "classification"), RULE, START + timedelta(days=43))
    assert found.levels
    assert not any("than is forecast" in error for error in found.errors)


def test_nights_of_an_earlier_release_have_no_level_and_count_for_the_excess_alone() -> None:
    errors = errors_by_day(make_forecasts(40, turns=30), "classification")
    earlier = {day: replace(error, level=None) for day, error in errors.items()}
    found = concept_drift(earlier, RULE, START + timedelta(days=32))
    assert found.levels == ()
    assert len(found.errors) == 1


def leaning(days: int, since: int, shift: float) -> pl.DataFrame:
    """Calibrated forecasts of days that differ, and labels that happen more often from a day on."""
    random = np.random.default_rng(5)
    of_days = random.normal(0, 0.5, days) + shift * (np.arange(days) >= since)
    place = np.repeat(np.arange(days), ROWS_A_DAY)
    scores = random.beta(2, 6, place.size)
    chances = 1 / (1 + (1 - scores) / scores * np.exp(-of_days[place]))
    day = pl.Series([START + timedelta(days=int(number)) for number in place])
    return pl.DataFrame({"day": day, "score": scores, "label": (random.random(place.size) < chances).astype(float)})


def test_a_level_that_changed_much_is_found_on_the_third_day_though_the_sum_waits() -> None:
    forecasts = leaning(60, since=50, shift=-1.1)
    calm = concept_drift(errors_by_day(forecasts, "classification"), RULE, START + timedelta(days=49))
    found = concept_drift(errors_by_day(forecasts, "classification"), RULE, START + timedelta(days=52))
    assert (calm.errors, found.changes, found.levels) == ((), (), ())
    (error,) = found.errors
    assert error.startswith(f"Less happens than is forecast since {START + timedelta(days=50)}")
    assert "a t test of 3 days" in error


def test_the_level_of_three_days_is_called_as_often_as_the_rule_says_where_nothing_changes() -> None:
    rule, called = replace(RULE, level_false_share=0.1), []
    for seed in range(8):
        random = np.random.default_rng(seed)
        errors = {START + timedelta(days=n): DayErrors(0.0, float(random.normal())) for n in range(90)}
        found = (concept_drift(errors, rule, START + timedelta(days=n)) for n in range(20, 90, 3))
        called += [bool(one.errors) for one in found]
    assert 0.01 < np.mean(called) < 0.13


def test_labels_that_come_late_are_heard_when_they_come_and_those_that_stop_not_for_ever() -> None:
    errors = errors_by_day(make_forecasts(33, turns=30), "classification")
    weeks_later = START + timedelta(days=32 + 14)
    assert concept_drift(errors, RULE, weeks_later, wait_days=14).errors
    assert concept_drift(errors, RULE, weeks_later).errors == ()
