"""Performance before labels, and whether to believe it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from lifecycle.performance import estimation
from lifecycle.performance.estimation import Estimate, estimate, fall
from lifecycle.performance.estimator import FLATTENING, Estimator, fit, fit_again
from lifecycle.performance.grading import WEEKS_BELIEVED, Grade, corrected, grade
from lifecycle.performance.promise import Promise
from tests.lifecycle.performance.estimated_weeks import estimate_weeks, realised_weeks

FIRST = date(2013, 1, 7)  # a Monday
ROWS = 60  # a day


def world(
    days: int,
    seed: int,
    first: date = FIRST,
    spread: float = 1.2,
    shift: float = 0.0,
    by_day: float = 0.4,
    slope: float = 1.0,
) -> pl.DataFrame:
    """Forecasts that know the log-odds but for what each day adds; labels are known the day after.

    ``spread`` and the level of the inputs may move without harm; ``shift`` and ``slope`` move the labels away.
    """
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), ROWS)
    odds = spread * random.normal(size=day.size) - 1.2
    truth = slope * odds + shift + by_day * random.normal(size=days)[day]
    # A calibrated forecast of a day it does not know is flatter than the day itself.
    scores = expit(odds / np.sqrt(1 + FLATTENING * by_day**2))
    return pl.DataFrame(
        {
            "score": scores,
            "label": (random.random(day.size) < expit(truth)).astype(float),
            "day": [first + timedelta(days=int(n)) for n in day],
            "known_day": [first + timedelta(days=int(n) + 1) for n in day],
        }
    )


def arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return frame["score"].to_numpy(), frame["label"].to_numpy(), frame["day"].to_numpy()


@cache
def learnt() -> Estimator:
    return fit(*arrays(world(28, 1, FIRST - timedelta(days=28))), "classification")


@cache
def unchanged() -> tuple[list[Estimate], dict[date, dict[str, float | None]]]:
    """Thirty weeks in which nothing happens, estimated and realised."""
    frame = world(30 * 7, 2)
    return estimate_weeks(frame, learnt(), 0.3), realised_weeks(frame, "classification", 0.3)


def graded(frame: pl.DataFrame, metric: str = "auc") -> Grade:
    made = estimate_weeks(frame, learnt(), 0.3)
    return grade(made, realised_weeks(frame, "classification", 0.3), metric, within=0.04)


def test_the_expected_auc_is_that_of_all_labels_weighted_by_their_chance() -> None:
    scores = np.array([0.1, 0.3, 0.3, 0.8])
    concordant = comparable = 0.0
    for code in range(2**4):
        labels = np.array([code >> place & 1 for place in range(4)])
        chance = np.prod(np.where(labels, scores, 1 - scores))
        pairs = labels.sum() * (4 - labels.sum())
        if pairs:
            concordant += chance * pairs * roc_auc_score(labels, scores)
            comparable += chance * pairs
    assert estimation._expected_auc(scores, scores, np.zeros(4)) == pytest.approx(concordant / comparable)


@pytest.mark.parametrize("metric", ["auc", "auc_within_days", "log_loss", "brier", "accuracy", "precision", "recall"])
def test_where_nothing_changes_estimates_are_unbiased_and_their_bands_cover(metric: str) -> None:
    verdict = grade(*unchanged(), metric, within=0.04)
    assert verdict.weeks == 30
    assert verdict.trustworthy, verdict.verdict
    assert verdict.bias == pytest.approx(0, abs=0.02)
    assert verdict.covered_interval is not None
    assert verdict.covered_interval[0] <= 0.9 <= verdict.covered_interval[1]


def test_over_many_windows_the_bands_cover_what_they_claim() -> None:
    made, happened = [], {}
    for seed in range(60):
        estimator = fit(*arrays(world(14, seed)), "classification")
        week = world(7, 1000 + seed, FIRST + timedelta(days=7 * seed))
        made += estimate_weeks(week, estimator, 0.3)
        happened |= realised_weeks(week, "classification", 0.3)
    for metric in ("auc", "log_loss", "base_rate"):
        verdict = grade(made, happened, metric)
        assert verdict.covered is not None
        assert verdict.covered >= 0.8, verdict.verdict


def test_when_inputs_move_the_estimate_follows_what_will_be_realised() -> None:
    moved = world(20 * 7, 3, spread=0.5)
    usual, harder = world(70, 4), graded(moved)
    assert harder.bias == pytest.approx(0, abs=0.03)
    before = estimate(learnt(), *arrays(usual)[::2]).values["auc"]
    after = estimate(learnt(), *arrays(moved)[::2]).values["auc"]
    assert before is not None
    assert after is not None
    assert after < before - 0.1


def test_concept_drift_is_not_seen_until_graded_and_then_said() -> None:
    drifted = world(12 * 7, 5, slope=0.0)
    made = estimate_weeks(drifted, learnt(), 0.3)
    assert np.mean([week.values["auc"] for week in made]) > 0.75  # type: ignore[arg-type]
    verdict = graded(drifted)
    assert not verdict.trustworthy
    assert verdict.covered == 0
    assert "its band covers 0% where 90% is claimed, too narrow to be believed; it is 0.2" in verdict.verdict
    assert "too high on average" in verdict.verdict
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_days_that_differ_make_the_band_wider() -> None:
    widths = []
    for by_day in (0.0, 1.0):
        estimator = fit(*arrays(world(28, 6, by_day=by_day)), "classification")
        low, high = estimate(estimator, *arrays(world(7, 7))[::2]).intervals["log_loss"]
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]


def test_fitting_again_never_looks_at_labels_known_later() -> None:
    history, as_of = world(40, 9), FIRST + timedelta(days=30)
    later = pl.col("known_day") > as_of
    forged = history.with_columns(label=pl.when(later).then(1 - pl.col("label")).otherwise("label"))
    honest, same = (fit_again(rows, as_of, 14, learnt()) for rows in (history, forged))
    assert honest == same
    assert honest.last_day == as_of - timedelta(days=1)  # the labels of the day itself come the day after
    assert honest.first_day == as_of - timedelta(days=13)


def test_without_enough_labels_the_estimator_stays_as_it_was() -> None:
    history = world(40, 9)
    assert fit_again(history, FIRST + timedelta(days=3), 14, learnt()) is learnt()
    silent = history.with_columns(label=pl.lit(None, pl.Float64))
    assert fit_again(silent, FIRST + timedelta(days=30), 14, learnt()) is learnt()


def test_the_same_scores_give_the_same_estimate() -> None:
    scores, _, days = arrays(world(7, 10))
    assert estimate(learnt(), scores, days, 0.3) == estimate(learnt(), scores, days, 0.3)


def test_labels_that_are_known_already_count_as_they_are() -> None:
    frame = world(20 * 7, 15)
    realised = realised_weeks(frame, "classification", 0.3)
    errors = []
    for ahead in (7, 3, 1):
        verdict = grade(estimate_weeks(frame, learnt(), 0.3, days_ahead=ahead), realised, "auc")
        assert verdict.covered is not None
        assert verdict.covered >= 0.8, verdict.verdict
        errors.append(verdict.mean_absolute_error)
    assert errors == sorted(errors, reverse=True)
    all_known = world(7, 16)
    made = estimate(learnt(), *arrays(all_known)[::2], 0.3, labels=all_known["label"].to_numpy())
    for metric, value in realised_weeks(all_known, "classification", 0.3)[FIRST].items():
        assert made.values[metric] == pytest.approx(value)
        assert made.intervals[metric] == pytest.approx((value, value))


def test_labels_of_days_to_come_are_not_looked_at() -> None:
    frame = world(7, 17)
    late = pl.col("known_day") > FIRST + timedelta(days=4)
    forged = frame.with_columns(label=pl.when(late).then(1 - pl.col("label")).otherwise("label"))
    honest, same = (estimate_weeks(rows, learnt(), 0.3, 14, days_ahead=2) for rows in (frame, forged))
    assert honest == same


def residuals(days: int, seed: int, spread: float = 5.0, size: float = 1.0) -> pl.DataFrame:
    """Delays in minutes: the longer the forecast one, the less certain."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), ROWS)
    scores = abs(spread * random.normal(size=day.size)) + 1
    factor = np.exp(0.2 * random.normal(size=days))[day]
    return pl.DataFrame(
        {
            "score": scores,
            "label": scores + size * factor * scores * random.normal(size=day.size),
            "day": [FIRST + timedelta(days=int(n)) for n in day],
        }
    )


def test_errors_of_a_regression_are_estimated_from_residuals_of_like_scores() -> None:
    estimator = fit(*arrays(residuals(84, 1)), "regression")
    for spread in (5.0, 2.5):
        frame = residuals(30 * 7, 2, spread)
        made, happened = estimate_weeks(frame, estimator), realised_weeks(frame, "regression")
        for metric in ("mae", "rmse"):
            verdict = grade(made, happened, metric, within=1.0)
            assert verdict.trustworthy, verdict.verdict
        assert grade(made, happened, "r2").bias == pytest.approx(0, abs=0.05)


def test_over_many_windows_the_bands_of_a_regression_cover_what_they_claim() -> None:
    made, happened = [], {}
    for seed in range(60):
        estimator = fit(*arrays(residuals(14, seed)), "regression")
        week = residuals(7, 1000 + seed).with_columns(pl.col("day") + timedelta(days=7 * seed))
        made += estimate_weeks(week, estimator)
        happened |= realised_weeks(week, "regression")
    for metric in ("mae", "rmse", "r2"):
        verdict = grade(made, happened, metric, within=1.0)
        assert verdict.trustworthy, verdict.verdict


def test_known_labels_of_a_regression_count_as_they_are() -> None:
    estimator, week = fit(*arrays(residuals(14, 1)), "regression"), residuals(7, 2)
    made = estimate(estimator, *arrays(week)[::2], labels=week["label"].to_numpy())
    happened = realised_weeks(week, "regression")[FIRST]
    assert made.values["mae"] == pytest.approx(happened["mae"])
    assert made.values["rmse"] == pytest.approx(happened["rmse"])


def test_a_regression_that_got_worse_is_said_once_graded() -> None:
    estimator, frame = fit(*arrays(residuals(28, 1)), "regression"), residuals(70, 2, size=2.0)
    verdict = grade(estimate_weeks(frame, estimator), realised_weeks(frame, "regression"), "mae", within=0.5)
    assert not verdict.trustworthy
    assert "too low on average" in verdict.verdict


def test_a_fall_of_the_estimated_auc_is_certain_when_the_whole_band_is_below() -> None:
    made = estimate(learnt(), *arrays(world(28, 11, spread=0.3))[::2])
    certain = fall(made, Promise(0.85), "classification", 0.05)
    assert certain is not None
    assert certain[0]
    assert "before labels, 0.850 (at the champion's judging): a fall" in certain[1]
    value = made.values["auc"]
    assert value is not None
    doubtful = fall(made, Promise(value + 0.051), "classification", 0.05)
    assert doubtful is not None
    assert not doubtful[0]
    few_days = fall(made, Promise(0.85), "classification", 0.05, own_error=0.1)
    assert few_days is not None
    by_luck = fall(made, Promise(0.85, ranking_error=0.1), "classification", 0.05)
    assert by_luck is not None
    assert not by_luck[0]
    assert not few_days[0]  # what is estimated may be sure and the week itself a matter of its few days
    assert fall(made, Promise(value), "classification", 0.05) is None
    assert fall(made, Promise(None), "classification", 0.05) is None


def test_windows_without_forecasts_and_weeks_without_labels_say_so() -> None:
    empty = estimate(learnt(), np.empty(0), np.empty(0, dtype="datetime64[D]"))
    assert empty.reason == "There are no forecasts to estimate."
    json.dumps(empty.to_dict(), allow_nan=False)
    assert fall(empty, Promise(0.8), "classification", 0.05) is None
    unlabelled = world(14, 12).with_columns(label=pl.lit(None, pl.Float64))
    verdict = graded(unlabelled)
    assert (verdict.weeks, verdict.trustworthy) == (0, False)
    assert "No estimate of auc can be graded yet" in verdict.verdict
    unforecast = world(14, 12).with_columns(score=pl.lit(None, pl.Float64))
    assert graded(unforecast).weeks == 0
    assert grade([], {}).weeks == 0


def test_constant_scores_rank_nothing() -> None:
    made = estimate(learnt(), np.full(300, 0.25), np.repeat(np.arange(5), 60).astype("datetime64[D]"), 0.3)
    assert made.values["auc"] == pytest.approx(0.5)
    assert made.intervals["auc"] == (0.5, 0.5)
    assert made.values["precision"] is None
    assert "precision" not in made.intervals
    constant = world(28, 13).with_columns(score=pl.lit(0.25))
    fitted = fit(*arrays(constant), "classification")
    assert estimate(fitted, *arrays(constant)[::2]).values["auc"] == pytest.approx(0.5)
    one = estimate(learnt(), np.array([0.4]), np.array(["2013-01-01"], dtype="datetime64[D]"))
    assert one.values["auc"] is None


def test_windows_that_teach_nothing_are_refused_with_what_to_do() -> None:
    scores, labels, days = arrays(world(28, 14))
    with pytest.raises(ValueError, match="pass a longer window"):
        fit(scores[: 4 * ROWS], labels[: 4 * ROWS], days[: 4 * ROWS], "classification")
    with pytest.raises(ValueError, match="all 1680 labels of the window are 0"):
        fit(scores, np.zeros(labels.size), days, "classification")
    with pytest.raises(ValueError, match="0 labelled forecasts of 0 days"):
        fit(scores, np.full(labels.size, np.nan), days, "classification")
    with pytest.raises(ValueError, match="one of each per row"):
        fit(scores, labels[1:], days, "classification")
    with pytest.raises(ValueError, match=r"lack the columns \['known_day'\]"):
        fit_again(world(7, 1).drop("known_day"), FIRST, 14, learnt())


def test_bands_that_were_too_narrow_are_widened_by_as_much() -> None:
    def week(band: float, widened_by: float = 1.0) -> Estimate:
        ends = {"auc": (0.7 - band, 0.7 + 2 * band)}
        return Estimate({"auc": 0.7}, ends, 0.9, 100, FIRST, FIRST, FIRST, widened_by=widened_by)

    assert corrected(week(0.02), [], "auc") == week(0.02)
    assert corrected(week(0.02), [(week(0.02), None)] * 9, "auc") == week(0.02)
    assert corrected(week(0.02), [(week(0.02), 0.705)] * 9, "auc") == week(0.02)  # wide enough is not made narrower
    off = [(week(0.02), 0.7 - 0.04)] * WEEKS_BELIEVED  # twice the half width below
    found = corrected(week(0.02), off, "auc")
    assert found.widened_by == pytest.approx(((1 + (2 * 1.6449) ** 2) / 2) ** 0.5, rel=1e-3)
    assert found.intervals["auc"] == pytest.approx((0.7 - 0.02 * found.widened_by, 0.7 + 0.04 * found.widened_by))
    # Bands that were widened already are taken as they were computed: nothing is corrected twice.
    widened = [(week(0.02 * found.widened_by, found.widened_by), 0.7 - 0.04)] * WEEKS_BELIEVED
    assert corrected(week(0.02), widened, "auc").widened_by == pytest.approx(found.widened_by)


def test_an_estimate_is_ready_for_json() -> None:
    made: Estimate = estimate(learnt(), *arrays(world(7, 10))[::2], 0.3)
    document = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert document["first_day"] == "2013-01-07"
    assert document["known_through"] == "2013-01-06"
    assert set(document["values"]) == set(document["intervals"])
