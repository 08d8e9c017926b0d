"""What a week of forecasts is worth before its labels have come."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from lifecycle.performance.outlook import Outlook, last_week, outlook, realised_ranking
from lifecycle.performance.promise import promise
from lifecycle.pipeline import MonitorRule
from tests.lifecycle.performance.calibrated_forecasts import START, calibrated_forecasts

RULE = MonitorRule()


def make_forecasts(first: int, days: int, spread: float = 1.0, version: int = 1, seed: int = 0) -> pl.DataFrame:
    """Forecasts of a version, enough of a day to tell how a week ranks."""
    return calibrated_forecasts(first, days, spread, seed, rows_a_day=300).with_columns(model_version=version)


JUDGED = make_forecasts(0, 14)


PROMISE = promise(JUDGED, JUDGED.clear(), START + timedelta(14), "classification", 2)


def look(forecasts: pl.DataFrame, as_of: int, past: int = 0) -> Outlook:
    """The outlook at the close of a day, the labels of the later ones being unknown; ``past`` good weeks before."""
    today = START + timedelta(days=as_of)
    known = forecasts.with_columns(label=pl.when(pl.col("day") <= today).then(pl.col("label")))
    before = []
    for week in range(past):
        rows = make_forecasts(20 + 7 * week, 7, seed=50 + week)
        ahead = outlook(JUDGED, rows.with_columns(label=None), [], PROMISE, RULE, "classification", today, 365)
        assert ahead.estimate is not None
        before.append((ahead.estimate, realised_ranking(rows, "classification")))
    return outlook(JUDGED, known, before, PROMISE, RULE, "classification", today, 365)


def test_the_bands_of_weeks_hold_what_is_realised_as_often_as_they_claim() -> None:
    held = 0
    for seed in range(1, 21):
        forecasts = make_forecasts(14, 8, seed=seed)
        found = look(forecasts, 20)
        assert found.estimate is not None
        assert (found.estimate.first_day, found.estimate.last_day) == (START + timedelta(15), START + timedelta(21))
        low, high = found.estimate.intervals["auc"]
        realised = realised_ranking(last_week(forecasts), "classification")
        held += realised is not None and low <= realised <= high
        assert found.known_share == pytest.approx(6 / 7)
        assert found.errors == ()
    assert held >= 15  # of 20, nine in ten being claimed


def test_forecasts_that_can_no_longer_tell_are_found_before_their_labels() -> None:
    flat = make_forecasts(30, 7, spread=0.2, seed=2)
    found = look(flat, 29, past=12)
    (error,) = found.errors
    assert "is estimated at 0.5" in error


def test_an_estimate_that_has_not_earned_trust_only_warns() -> None:
    flat = make_forecasts(30, 7, spread=0.2, seed=2)
    found = look(flat, 29)
    assert found.errors == ()
    assert len(found.warnings) == 1
    assert "can be graded yet" in found.grade.verdict


@pytest.mark.parametrize(("first", "days"), [(30, 0), (30, 4)])
def test_too_few_days_give_a_reason_and_no_estimate(first: int, days: int) -> None:
    found = look(make_forecasts(first, days), 29)
    assert found.estimate is None
    assert found.reason == f"Nothing to estimate: it has forecast {days} days of the week, 5 are needed."


def test_a_version_whose_judged_days_were_not_kept_is_told_how_to_get_them() -> None:
    forecasts = make_forecasts(14, 8)
    found = outlook(None, forecasts, [], PROMISE, RULE, "classification", START + timedelta(20), 14)
    assert found.estimate is None
    assert "retrain it" in (found.reason or "")


def test_judged_days_of_one_class_give_a_reason_and_no_crash() -> None:
    quiet = JUDGED.with_columns(label=pl.lit(0.0))
    found = outlook(quiet, make_forecasts(14, 8), [], PROMISE, RULE, "classification", START + timedelta(20), 14)
    assert found.estimate is None
    assert "all 4200 labels of the window are 0" in (found.reason or "")


def test_a_week_is_of_one_version() -> None:
    both = pl.concat([make_forecasts(14, 4, version=1), make_forecasts(18, 5, version=2)])
    assert last_week(both)["model_version"].unique().to_list() == [2]
    assert last_week(both, START + timedelta(17))["model_version"].unique().to_list() == [1]
    renamed = both.rename({"model_version": "champion"})
    assert last_week(renamed, START + timedelta(17), "champion")["champion"].unique().to_list() == [1]
    assert last_week(both.clear()).is_empty()
    assert realised_ranking(both.clear(), "classification") is None


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf")])
def test_scores_that_are_no_numbers_give_a_reason_and_no_crash(odd: float | None) -> None:
    broken = make_forecasts(14, 8).with_columns(score=pl.lit(odd, pl.Float64))
    found = look(broken, 20)
    assert found.estimate is None
    assert "it has forecast 0 days of the week" in (found.reason or "")
