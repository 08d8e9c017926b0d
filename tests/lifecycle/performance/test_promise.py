"""What a champion promises, from its judging and its first days of service."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.performance.promise import SPANS, Promise, first_days, promise, promised_by
from lifecycle.performance.realised import realised
from lifecycle.pipeline import MonitorRule
from lifecycle.ranking import ranking_with_error
from tests.lifecycle.performance.calibrated_forecasts import START, calibrated_forecasts

JUDGED_DAYS = 14
JUDGED = calibrated_forecasts(0, JUDGED_DAYS)
SERVED = calibrated_forecasts(JUDGED_DAYS, 60, seed=1)
KNOWN_DAYS = JUDGED_DAYS * (1 + SPANS)
LAST_OF_FIRST = START + timedelta(days=KNOWN_DAYS - 1)


def _of_uneven_days(levels: np.ndarray, seed: int, change: float = 0.0, since: int = JUDGED_DAYS) -> pl.DataFrame:
    """Forecasts of 300 events a day, whose log-odds are off by ``levels`` times a random number that each day draws.

    From the day ``since`` on they are off by ``change``, too.
    """
    random, per_day = np.random.default_rng(seed), 300
    days = np.arange(len(levels))
    of_day = levels * random.normal(0, 1, len(levels)) + change * (days >= since)
    odds = random.normal(-1.2, 1.0, len(levels) * per_day)
    happened = random.random(odds.size) < 1 / (1 + np.exp(-(odds + np.repeat(of_day, per_day))))
    day = np.datetime64(START) + np.repeat(days, per_day)
    rows = pl.DataFrame({"day": day, "score": 1 / (1 + np.exp(-odds)), "label": happened.astype(float)})
    return rows.with_columns(pl.col("day").cast(pl.Date)).with_columns(known_day="day")


def test_it_is_told_from_the_judged_days_and_the_first_that_are_served() -> None:
    assert first_days(JUDGED) == (START + timedelta(days=JUDGED_DAYS), LAST_OF_FIRST)
    told = promise(JUDGED, SERVED, date.max, "classification", 2)
    days = pl.concat([JUDGED, SERVED.filter(pl.col("day") <= LAST_OF_FIRST)])
    value, error = ranking_with_error(days, "classification")
    assert (told.ranking, told.ranking_error, told.days) == (value, error, KNOWN_DAYS)
    assert told.gap == pytest.approx(days["score"].mean() - days["label"].mean())


def test_a_span_counts_once_it_is_over_and_days_held_against_it_do_not() -> None:
    told = [
        promise(JUDGED, SERVED, START + timedelta(days=day), "classification", 2).days for day in (14, 27, 28, 41, 42)
    ]
    assert told == [14, 14, 28, 28, 42]


def test_what_comes_after_the_first_days_changes_nothing() -> None:
    flipped = pl.when(pl.col("day") > LAST_OF_FIRST).then(1 - pl.col("label")).otherwise("label")
    lost_for_good = SERVED.with_columns(label=flipped)
    told = [promise(JUDGED, served, date.max, "classification", 2) for served in (SERVED, lost_for_good)]
    assert told[0] == told[1]


def test_more_days_make_it_surer_and_a_lucky_fortnight_is_not_what_is_expected() -> None:
    lucky = calibrated_forecasts(0, JUDGED_DAYS, spread=1.2, seed=2)
    at_first = promise(lucky, SERVED, START, "classification", 2)
    later = promise(lucky, SERVED, date.max, "classification", 2)
    assert at_first.ranking is not None
    assert later.ranking is not None
    assert later.ranking < at_first.ranking - 0.02
    told = [promise(JUDGED, SERVED, before, "classification", 2).ranking_error for before in (START, date.max)]
    assert told[1] < told[0]


def test_the_next_fortnight_is_no_change_for_being_less_calm_than_the_judged_one() -> None:
    calm_then_usual = np.repeat([0.35, 0.7], [JUDGED_DAYS, SPANS * JUDGED_DAYS])
    days = []
    for seed in range(60):
        rows = _of_uneven_days(calm_then_usual, seed)
        early = pl.col("day") < START + timedelta(JUDGED_DAYS)
        days.append(promise(rows.filter(early), rows.filter(~early), date.max, "classification", 2).days)
    assert days.count(KNOWN_DAYS) >= 58, days


def test_days_that_vary_more_since_a_change_do_not_excuse_it() -> None:
    levels = np.repeat([0.35, 1.4], [JUDGED_DAYS, SPANS * JUDGED_DAYS])
    early = pl.col("day") < START + timedelta(JUDGED_DAYS)
    found = 0
    for seed in range(20):
        rows = _of_uneven_days(levels, seed, change=-1.5)
        told = promise(rows.filter(early), rows.filter(~early), date.max, "classification", 2)
        found += told.days == JUDGED_DAYS
    assert found >= 15


@pytest.mark.parametrize("fallen", [{"spread": 0.3}, {"seed": 4}])
def test_a_change_that_comes_with_the_promotion_is_not_what_was_promised(fallen: dict[str, float]) -> None:
    changed = calibrated_forecasts(JUDGED_DAYS, 60, **fallen)  # type: ignore[arg-type]
    if "seed" in fallen:  # more happens than is forecast
        changed = changed.with_columns(label=pl.max_horizontal("label", pl.col("score") > 0.3))
    assert promise(JUDGED, changed, date.max, "classification", 2).days == JUDGED_DAYS


def test_a_lasting_change_of_the_level_within_the_first_days_stays_an_error() -> None:
    """What a day brings varies by 0.4 in log-odds; from the fifteenth day of service on it is lower by 0.8."""
    rows = _of_uneven_days(np.full(90, 0.4), 5, change=-0.8, since=JUDGED_DAYS + 14)
    early = pl.col("day") < START + timedelta(JUDGED_DAYS)
    served = rows.filter(~early)
    told = promise(rows.filter(early), served, date.max, "classification", 2)
    assert told.days == 2 * JUDGED_DAYS
    for last in range(60, 90):
        window = served.filter(pl.col("day") <= START + timedelta(days=last))
        report = realised(window, MonitorRule(), None, "classification", promise=told)
        assert any("above what happened" in text for text in report.errors)


def test_an_error_of_its_days_tells_that_of_fewer() -> None:
    assert Promise(0.7, days=56).scaled(0.01, 14) == pytest.approx(0.02)
    assert Promise(0.7).scaled(0.01, 14) == 0.0  # nothing is known of its days
    assert Promise(0.7, days=56).scaled(0.01, 0) == 0.0


@pytest.mark.parametrize("odd", [None, float("nan")])
def test_labels_that_are_not_known_are_left_out(odd: float | None) -> None:
    unknown = SERVED.with_columns(label=pl.lit(odd, pl.Float64))
    assert promise(JUDGED, unknown, date.max, "classification", 2).days == JUDGED_DAYS


def test_where_no_day_was_judged_it_says_so() -> None:
    with pytest.raises(ValueError, match="no forecasts of the days that the champion was judged on"):
        promise(JUDGED.clear(), SERVED, date.max, "classification", 2)


def test_where_nothing_is_known_nothing_is_promised() -> None:
    assert promise(JUDGED.with_columns(label=pl.lit(None, pl.Float64)), SERVED.clear(), date.max, "regression", 2) == (
        Promise(None)
    )
    one_class = promise(JUDGED.with_columns(label=0.0), SERVED.clear(), date.max, "classification", 2)
    assert (one_class.ranking, one_class.ranking_error) == (None, 0.0)
    assert one_class.gap > 0
    assert promised_by(None, "classification") == Promise(None)
