"""What monitoring says when it is given little, nothing, or something odd: never a crash in the middle of the night."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from lifecycle import models
from lifecycle.drift.day_report import ColumnReport, DayReport
from lifecycle.drift.harm import at_least, bin_losses, estimate, rank, skill
from lifecycle.drift.monitoring import Champion, monitor_day, summarise
from lifecycle.drift.profiles import CategoricalProfile, NumericProfile
from lifecycle.drift.reference import Reference, profile
from lifecycle.drift.relations import learn
from lifecycle.drift.seasonal import seasonal_reference
from lifecycle.drift.significance import day_tests, false_discovery_q
from lifecycle.features import Feature
from lifecycle.performance.change import adwin, cusum, daily_means
from lifecycle.performance.concept import concept_drift, errors_by_day
from lifecycle.performance.realised import realised
from lifecycle.pipeline import GateRule, MonitorRule, RetrainPolicy, Task
from lifecycle.policy import Night, after_probe, causes, decide_night, needs_probe
from lifecycle.probe import Recipe, probe
from lifecycle.retraining import Retrain, State, Wait

FIRST = date(2024, 1, 1)
FEATURES = (
    Feature("delay", "float", "", -60, 600),
    Feature("seats", "int", "", 1, 900),
    Feature("weekday", "float", "one value a day", 1, 7),
    Feature("origin", "string", ""),
)
NAMES = {feature.name for feature in FEATURES}
IMPORTANCES = {"delay": 0.05, "seats": 0.01, "weekday": 0.05, "origin": 0.0}
RULE = MonitorRule(prediction_psi=0.2, feature_psi=0.2)
TASKS: tuple[Task, Task] = ("classification", "regression")


def rows(first: int, days: int, per_day: int = 120) -> pl.DataFrame:
    random = np.random.default_rng(first)
    place = np.repeat(np.arange(days), per_day)
    day = pl.Series([FIRST + timedelta(days=first + n) for n in range(days)], dtype=pl.Date).gather(place)
    delay = random.normal(8, 15, place.size)
    score = 1 / (1 + np.exp(1.5 - delay / 12))
    return pl.DataFrame(
        {
            "day": day,
            "delay": delay,
            "seats": random.integers(50, 300, place.size),
            "weekday": day.dt.weekday().cast(pl.Float64),
            "origin": random.choice(["JFK", "EWR", "LGA"], place.size),
            "score": score,
            "label": (random.random(place.size) < score).astype(float),
        }
    )


JUDGED, NOW = rows(0, 28), rows(28, 14)


def reference_of(frame: pl.DataFrame, features: tuple[Feature, ...] = FEATURES) -> Reference:
    labels = frame["label"].to_numpy() if "label" in frame.columns else None
    made = profile(frame, features, frame["score"].to_numpy(), labels, {})
    return replace(made, relations=learn(frame, features))


def forecast(asked: pl.DataFrame) -> np.ndarray:
    delays = (
        asked["delay"].cast(pl.Float64, strict=False).fill_null(0.0) if "delay" in asked.columns else pl.Series([0.0])
    )
    return 1 / (1 + np.exp(1.5 - np.broadcast_to(delays.to_numpy(), asked.height) / 12))


REFERENCE = reference_of(JUDGED)


def monitor(
    window: pl.DataFrame, reference: Reference = REFERENCE, task: Task = "classification", **changes: Any
) -> DayReport:
    """The report, after whose forms for machines were made: they must hold nothing that JSON cannot."""
    features, seasonal = changes.pop("features", FEATURES), changes.pop("seasonal", None)
    known = {"judged": JUDGED, "importances": IMPORTANCES, "threshold": 0.5, "score": forecast, **changes}
    report = monitor_day(Champion(reference, **known), window, RULE, task, features, seasonal, known["judged"])
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.table().height == len(report.columns)
    return report


def column(report: DayReport, name: str) -> ColumnReport:
    return next(each for each in report.columns if each.name == name)


def missing(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, dtype=frame[name].dtype).alias(name) for name in names)


# Empty windows


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "window",
    [
        NOW.clear(),
        missing(NOW, "day"),
        NOW.clear().with_columns(day=pl.lit(None), score=pl.lit(None)),
        pl.DataFrame(schema={"day": pl.Date, "score": pl.Float64}),
    ],
    ids=["no rows", "no days", "no types", "no features"],
)
def test_a_window_without_rows_gives_a_reason_and_no_verdict(window: pl.DataFrame, task: Task) -> None:
    report = monitor(window, task=task)
    assert report.reason == "The window holds no rows, so there is nothing to compare."
    assert (report.day, report.prediction, report.errors, report.warnings) == (None, None, (), ())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("window", [NOW.head(1), NOW.head(2), rows(28, 1), rows(28, 3, per_day=1)])
def test_a_window_of_a_few_rows_is_compared_without_an_error(window: pl.DataFrame, task: Task) -> None:
    report = monitor(window, task=task)
    assert (report.current_rows, report.errors) == (window.height, ())


def test_past_days_that_are_none_give_no_seasonal_verdict() -> None:
    for past in (
        NOW.clear(),
        missing(NOW, "day"),
        pl.DataFrame({"day": []}),
        NOW.select("day"),
        missing(JUDGED, "score"),
    ):
        seasonal = seasonal_reference(REFERENCE, past, 6)
        report = monitor(NOW, seasonal=seasonal)
        assert column(report, "prediction").seasonal_psi is None
    with pytest.raises(ValueError, match="the past rows lack the column 'day'"):
        seasonal_reference(REFERENCE, pl.DataFrame(), 6)


def test_statistics_of_nothing_are_none_or_not_a_number() -> None:
    assert summarise(np.array([]), "regression").mean is None
    assert summarise(np.array([np.nan, np.inf]), "classification", 0.5).rows == 0
    assert day_tests(np.empty((0, 4)), np.ones((1, 4)), np.array([1])) is None
    assert day_tests(np.ones((4, 3)) * 50, np.ones((1, 3)), np.array([1])) is None
    tests = day_tests(np.full((9, 3), 50), np.zeros((2, 3)), np.array([1, 0]))
    assert tests is not None
    assert np.isnan(tests.p_values).all()
    assert false_discovery_q(np.array([])).size == 0
    assert skill(np.array([]), np.array([]), "classification") is None
    nothing = bin_losses(np.array([], dtype=int), 3, np.array([]), np.array([], dtype=int), 0)
    assert estimate(nothing, np.ones((1, 3)), np.zeros(1), np.ones(1)) is None
    assert not at_least(2, 5, [])
    assert rank(None, None, None) == 1


# Constant columns


@pytest.mark.parametrize("task", TASKS)
def test_a_column_that_was_and_is_constant_is_no_drift(task: Task) -> None:
    odd = pl.lit(3.0).alias("delay"), pl.lit("JFK").alias("origin"), pl.lit(0.3).alias("score")
    judged, window = JUDGED.with_columns(odd), NOW.with_columns(odd)
    report = monitor(window, reference_of(judged), task, judged=judged)
    assert report.errors == ()
    for name in ("delay", "origin", "prediction"):
        found = column(report, name)
        assert (found.psi, found.drifted, found.stuck_days, found.lost) == (pytest.approx(0, abs=1e-3), False, 0, 0)


def test_a_column_that_was_constant_and_comes_alive_is_drift_and_not_lost() -> None:
    judged = JUDGED.with_columns(delay=pl.lit(0.0))
    found = column(monitor(NOW, reference_of(judged), judged=judged), "delay")
    assert (found.drifted, found.lost, found.p_value) == (True, 0.0, None)
    assert found.wasserstein_deviations is None  # there is no deviation to measure by


def test_a_column_of_one_value_a_day_is_not_stuck_where_the_reference_cannot_tell() -> None:
    """References without days do not know which columns are constant within a day, such as the weekday."""
    for undated in (JUDGED.drop("day"), JUDGED.with_columns(day=FIRST)):
        found = column(monitor(NOW, reference_of(undated)), "weekday")
        assert (found.stuck_days, found.lost) == (0, 0.0)
    assert column(monitor(NOW), "weekday").stuck_days == 0
    assert column(monitor(NOW.with_columns(delay=pl.lit(5.0))), "delay").stuck_days == 14


def test_losses_without_spread_are_no_change_until_they_change() -> None:
    days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    flat = np.full(days.size, 0.3)
    assert (cusum(flat, days), adwin(flat, days)) == ([], [])
    (found,) = cusum(np.where(days >= np.datetime64("2024-02-01"), 0.5, flat), days)
    assert (found.day, found.direction) == (date(2024, 2, 1), "worse")


# All-missing features


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("untyped", [False, True], ids=["typed", "untyped"])
def test_features_that_go_missing_altogether_are_named_and_the_rest_is_compared(task: Task, untyped: bool) -> None:
    window = NOW.with_columns(pl.lit(None).alias(name) for name in NAMES) if untyped else missing(NOW, *NAMES)
    report = monitor(window, task=task)
    assert {each.name for each in report.features} == NAMES
    assert {each.missing_current for each in report.features} == {1.0}
    for name in NAMES:
        assert any(text.startswith(f"Feature {name} is missing in 100% of the rows") for text in report.warnings)
    if task == "classification":
        assert [text for text in report.errors if text.startswith("Feature delay drifted, which does harm")]


@pytest.mark.parametrize("task", TASKS)
def test_features_that_the_reference_missed_altogether_stay_so_or_come(task: Task) -> None:
    judged = missing(JUDGED, *NAMES)
    reference = Reference.from_json(reference_of(judged).to_json())
    for window in (missing(NOW, *NAMES), NOW):
        report = monitor(window, reference, task, judged=judged)
        assert {each.lost for each in report.features if each.name != "origin"} == {0.0}
        assert report.drifted_share == (0.0 if window["delay"].null_count() else 1.0)


def test_a_feature_that_goes_missing_does_harm_though_the_reference_missed_a_few_rows() -> None:
    judged = JUDGED.with_columns(delay=pl.when(pl.int_range(pl.len()) % 1000 != 7).then("delay"))
    reference = reference_of(judged)
    assert column(monitor(NOW, reference, judged=judged), "delay").lost == 0
    assert column(monitor(rows(28, 14).vstack(judged.tail(1000)), reference, judged=judged), "delay").harmful is False
    report = monitor(missing(NOW, "delay"), reference, judged=judged)
    assert any(text.startswith("Feature delay drifted, which does harm") for text in report.errors)


def test_features_of_no_finite_value_count_as_missing() -> None:
    window = NOW.with_columns(delay=pl.lit(float("inf")))
    found = column(monitor(window), "delay")
    assert (found.missing_current, found.mean_current, found.wasserstein) == (1.0, None, None)


# One class only


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_judged_rows_of_one_class_raise_no_error_on_days_like_theirs(label: float) -> None:
    judged = JUDGED.with_columns(label=pl.lit(label))
    report = monitor(NOW.with_columns(label=pl.lit(label)), reference_of(judged), judged=judged)
    assert report.harm_limit is not None
    assert (report.harm_limit > 0, report.errors) == (True, ())
    assert report.label is not None
    assert report.label.drifted is False


def test_labels_that_become_one_class_are_a_warning() -> None:
    report = monitor(NOW.with_columns(label=pl.lit(1.0)))
    assert report.label is not None
    assert report.label.drifted
    assert any(text.startswith("Labels drifted") for text in report.warnings)


# No champion yet


def test_before_the_first_model_nothing_but_a_person_or_a_report_asks_and_no_probe_runs() -> None:
    policy = RetrainPolicy(every_days=7, new_labels=1, probe_confidence=0.5)
    assert causes("tiny", Night(FIRST, new_labels=10**6), State(), policy) == []
    assert isinstance(decide_night("tiny", Night(FIRST), State(), policy), Wait)
    asked = decide_night("tiny", Night(FIRST, drift=("moved",)), State(), policy)
    assert isinstance(asked, Retrain)
    assert not needs_probe(asked, State(), policy)
    only_a_probe = State(last_probe_day=FIRST - timedelta(days=30))
    assert causes("tiny", Night(FIRST, new_labels=10**6), only_a_probe, policy) == []


def frames(days: int = 12, **odd: pl.Expr) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and the window after them, as a training set has them."""
    both = rows(0, days + 8, per_day=60).with_columns(**odd)
    both = both.with_row_index("event_key").rename({"day": "event_day"})
    cut = FIRST + timedelta(days=days)
    return tuple(  # type: ignore[return-value]
        each.with_columns(pl.col("event_day").cast(pl.Datetime("us"))).to_pandas().astype({"event_key": str})
        for each in (both.filter(pl.col("event_day") < cut), both.filter(pl.col("event_day") >= cut))
    )


RECIPES = [Recipe(name, dict(family.defaults)) for name, family in models.FAMILIES.items()]


def ask(
    training: pd.DataFrame, window: pd.DataFrame, recipe: Recipe | None = RECIPES[1], task: Task = "classification"
) -> Any:
    scores = None if recipe is None else np.full(len(window), 0.4)
    answer = probe(recipe, scores, training, window, FEATURES, "label", task, GateRule(window_days=8))
    json.dumps(answer.to_dict(), allow_nan=False)
    return answer


def test_a_probe_without_a_champion_lets_the_training_go_on() -> None:
    answer = ask(*frames(), recipe=None)
    assert (answer.worth, answer.probability, answer.reason) == (True, None, "no champion serves yet.")
    asked = decide_night("tiny", Night(FIRST, drift=("moved",)), State(), RetrainPolicy(probe_confidence=0.5))
    assert isinstance(asked, Retrain)
    assert after_probe(asked, answer, RetrainPolicy(probe_confidence=0.5)) is asked


def test_a_probe_of_no_rows_few_rows_or_one_class_says_why_and_saves_nothing() -> None:
    training, window = frames()
    one = frames(label=pl.lit(1.0))
    for given, reason in (
        ((training.head(0), window), "no labelled rows"),
        ((training, window.head(0)), "holds 0 labelled rows of 0 days"),
        ((training, window.head(100)), "holds 100 labelled rows"),
        ((one[0], window), "all labels of the training rows are 1"),
        ((training, one[1]), "all labels of the window are 1"),
        ((training.astype({"label": bool}).assign(label=True), window), "all labels of the training rows are 1"),
    ):
        answer = ask(*given)
        assert answer.worth
        assert reason in answer.reason


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.family)
@pytest.mark.parametrize(
    "odd",
    [
        {"delay": pl.lit(None, dtype=pl.Float64), "origin": pl.lit(None, dtype=pl.String)},
        {"seats": pl.lit(None, dtype=pl.Int64)},
        {"delay": pl.lit(2.0), "origin": pl.lit("JFK")},
        {"delay": pl.when(pl.col("day") >= FIRST + timedelta(days=12)).then("delay")},
        {"origin": pl.when(pl.col("day") >= FIRST + timedelta(days=12)).then(pl.lit("new")).otherwise("origin")},
        {"origin": pl.when(pl.col("day") < FIRST + timedelta(days=12)).then("origin")},
    ],
    ids=["all missing", "whole numbers missing", "constant", "only late", "new category", "goes missing"],
)
def test_a_probe_refits_on_constant_missing_and_new_values(odd: dict[str, pl.Expr], recipe: Recipe, task: Task) -> None:
    answer = ask(*frames(**odd), recipe=recipe, task=task)
    assert answer.reason is None
    assert 0 <= answer.probability <= 1


# Predictions without labels, labels without predictions


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "window",
    [
        NOW.drop("label"),
        missing(NOW, "label"),
        NOW.with_columns(label=pl.lit(float("nan"))),
        NOW.with_columns(label=pl.lit(None)),
    ],
    ids=["no column", "null", "nan", "no type"],
)
def test_predictions_without_labels_are_compared_without_them(window: pl.DataFrame, task: Task) -> None:
    report = monitor(window, task=task)
    assert (report.label, report.errors, report.reason) == (None, (), None)
    assert column(report, "prediction").harm is not None


def judged_that_tell_nothing() -> Iterator[pl.DataFrame | None]:
    yield from (None, JUDGED.clear(), missing(JUDGED, "label"), missing(JUDGED, "score"), missing(JUDGED, "day"))
    yield JUDGED.with_columns(label=pl.lit(float("nan")))
    yield JUDGED.with_columns(label=pl.lit(None))
    yield JUDGED.filter(pl.col("day") < FIRST + timedelta(days=3))  # too few days to tell an error


@pytest.mark.parametrize("task", TASKS)
def test_where_harm_cannot_be_told_predictions_that_moved_are_an_error(task: Task) -> None:
    moved = NOW.with_columns(pl.col("score") ** 0.3, pl.col("delay") * 1.2 + 60)
    for judged in judged_that_tell_nothing():
        report = monitor(moved, task=task, judged=judged)
        assert "Predictions" in [text.split(" drifted")[0] for text in report.errors]
        assert any(text.startswith("Feature delay drifted") for text in (*report.errors, *report.warnings))


@pytest.mark.parametrize("task", TASKS)
def test_labels_without_predictions_are_compared_and_the_lack_is_told(task: Task) -> None:
    for window in (missing(NOW, "score"), NOW.with_columns(score=pl.lit(float("nan"))), NOW.with_columns(score=None)):
        report = monitor(window, task=task)
        assert report.label is not None
        assert report.predictions_window.rows == 0
        assert column(report, "prediction").missing_current == 1.0
        assert any(text.startswith("Predictions drifted") for text in (*report.errors, *report.warnings))


def test_a_stream_of_errors_without_labels_or_without_forecasts_is_empty() -> None:
    for frame in (missing(NOW, "label"), missing(NOW, "score"), NOW.with_columns(label=float("nan")), NOW.clear()):
        excess = errors_by_day(frame, "classification")
        assert excess == {}
        assert concept_drift(excess, RULE, FIRST).changes == ()
    dayless = NOW.with_columns(day=pl.when(pl.int_range(pl.len()) % 3 > 0).then("day"))
    assert len(errors_by_day(dayless, "classification")) == 14
    means, days = daily_means(np.array([np.nan, np.nan]), np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"))
    assert (means.size, days.size, cusum(means, days), adwin(means, days)) == (0, 0, [], [])


@pytest.mark.parametrize("task", TASKS)
def test_a_score_that_is_not_finite_is_no_forecast(task: Task) -> None:
    odd = NOW.with_columns(score=pl.when(pl.int_range(pl.len()) == 5).then(float("inf")).otherwise("score"))
    report = realised(odd, RULE, REFERENCE, task)
    assert (report.rows, report.labels_without_forecast) == (NOW.height - 1, 1)
    assert monitor(odd, task=task).predictions_window.rows == NOW.height - 1
    assert len(errors_by_day(odd, task)) == 14


# A reference from an older feature set


@pytest.mark.parametrize("task", TASKS)
def test_features_that_came_and_went_since_the_reference_are_named(task: Task) -> None:
    gone, came = Feature("heat", "float", ""), Feature("wind", "float", "")
    judged = JUDGED.with_columns(heat=pl.col("delay") + 1)
    old = reference_of(judged, (*FEATURES, gone))
    declared = (*FEATURES, came)
    for sample in (judged, JUDGED, None):
        report = monitor(NOW.with_columns(wind=1.0), old, task, features=declared, judged=sample)
        assert (report.absent, report.unknown, report.errors) == (("heat",), ("wind",), ())
        assert any("heat" in text for text in report.warnings)
        assert any("wind" in text for text in report.warnings)


@pytest.mark.parametrize("task", TASKS)
def test_a_reference_with_no_feature_in_common_still_compares_predictions(task: Task) -> None:
    old = reference_of(JUDGED.rename({"delay": "wait"}), (Feature("wait", "float", ""),))
    report = monitor(NOW, old, task)
    assert (report.features, report.drifted_share, report.absent) == ((), None, ("wait",))
    assert column(report, "prediction").psi is not None


def test_a_feature_that_changed_its_type_since_the_reference_is_no_crash() -> None:
    window = NOW.with_columns(
        pl.col("delay").cast(pl.String), seats=pl.col("seats") > 100, origin=pl.col("origin").str.len_chars()
    )
    report = monitor(window, seasonal=seasonal_reference(REFERENCE, rows(0, 28), 6))
    assert report.absent == ("delay",)
    assert column(report, "origin").new_categories == ("3",)
    assert {each.name for each in report.features} == {"seats", "weekday", "origin"}


def test_a_reference_of_earlier_times_with_odd_columns_raises_no_error() -> None:
    odd = missing(JUDGED, "delay").with_columns(seats=pl.lit(1))
    raw = json.loads(reference_of(odd).to_json())
    del raw["labels"]
    for each in (*raw["features"], raw["predictions"]):
        for name in ("sketch", "day_counts", "constant_days", "distinct"):
            each.pop(name, None)
    old = Reference.from_json(json.dumps(raw))
    assert isinstance(old.features[0], NumericProfile)
    assert isinstance(old.features[3], CategoricalProfile)
    report = monitor(missing(NOW, "delay").with_columns(seats=pl.lit(1)), old, judged=odd)
    assert (report.label, [text for text in report.errors if "weekday" not in text]) == (None, [])
    assert {column(report, name).drifted for name in ("delay", "seats", "origin", "prediction")} == {False}
