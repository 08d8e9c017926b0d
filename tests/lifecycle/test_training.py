"""From labelled rows to a model, in a world that drifts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.special import expit

from lifecycle.features import Feature
from lifecycle.losses import row_losses
from lifecycle.models import TRUSTED_TYPES
from lifecycle.pipeline import CostMatrix, TrainingPlan
from lifecycle.training import TrainedModel, train
from lifecycle.value import value

FEATURES = (
    Feature("wind", "float", ""),
    Feature("noise", "float", ""),
    Feature("gust", "float", "never there"),
    Feature("carrier", "string", ""),
)
COSTS = CostMatrix(true_positive=5.0, false_positive=-1.0, false_negative=-5.0)
PLAN = TrainingPlan(trials=3, folds=2, fold_days=10, tuning_rows=1500, max_rows=3000)


def world(count: int = 3600, days: int = 60, drift: float = 1.0) -> pd.DataFrame:
    """Flights whose chance of being late rises with wind, differs by carrier and falls from week to week."""
    rng = np.random.default_rng(3)
    day = np.arange(count) * days // count
    frame = pd.DataFrame({"wind": rng.normal(size=count), "noise": rng.normal(size=count), "gust": np.nan})
    frame["carrier"] = np.array(["AA", "UA", "DL"], dtype=object)[rng.integers(0, 3, count)]
    logits = 1.5 * frame["wind"] + 1.0 * (frame["carrier"] == "UA") - drift * day / days
    frame["chance"] = expit(logits)
    frame["label"] = (rng.uniform(size=count) < frame["chance"]).astype(float)
    frame["delay"] = 20 * logits + rng.normal(0, 5, count)
    frame["event_day"] = np.datetime64("2013-01-01", "us") + day.astype("timedelta64[D]")
    frame["event_key"] = [f"flight {n // 2}" for n in range(count)]
    return frame


def trained(frame: pd.DataFrame, plan: TrainingPlan = PLAN, **more: Any) -> TrainedModel:
    return train(frame, FEATURES, "label", plan, "classification", costs=COSTS, groups=["carrier"], **more)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return trained(world())


def inputs(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[feature.name for feature in FEATURES]]


def test_the_model_beats_every_baseline_on_days_it_had_not_learnt_from(model: TrainedModel) -> None:
    assert set(model.baseline_losses) == {"base_rate", "rate_by_carrier"}
    assert model.evaluation.metrics["loss"] < 0.9 * min(model.baseline_losses.values())
    assert {row["value"] for row in model.evaluation.slices} == {"AA", "UA", "DL"}


def test_its_probabilities_mean_what_they_say_at_the_end_of_its_training(model: TrainedModel) -> None:
    end = world().tail(1200)
    scores = model.estimator.predict_proba(inputs(end))[:, 1]
    assert scores.mean() == pytest.approx(end["chance"].mean(), abs=0.04)
    assert row_losses(end["label"].to_numpy(), scores, "classification").mean() < 0.6


def test_validation_scores_are_of_the_last_blocks_in_order(model: TrainedModel) -> None:
    last = np.datetime64("2013-03-01")
    assert np.unique(model.days).tolist() == np.arange(last - 19, last + 1).tolist()
    assert model.scores.shape == model.labels.shape == model.days.shape
    assert ((model.scores > 0) & (model.scores < 1)).all()
    assert [str(fold.last_day) for fold in model.folds] == ["2013-02-19", "2013-03-01"]


def test_the_threshold_is_worth_more_than_acting_on_all_or_none(model: TrainedModel) -> None:
    assert model.threshold is not None
    end = world().tail(1200)
    scores, labels = model.estimator.predict_proba(inputs(end))[:, 1], end["label"].to_numpy()
    assert value(scores, labels, model.threshold, COSTS) >= max(value(scores, labels, t, COSTS) for t in (0.0, 2.0))


def test_what_matters_is_found_to_matter(model: TrainedModel) -> None:
    assert list(model.importances) == [feature.name for feature in FEATURES]
    assert max(model.importances, key=lambda name: model.importances[name]) == "wind"
    assert model.importances["carrier"] > 0.005 > abs(model.importances["noise"])
    assert model.importances["gust"] == 0


def test_training_again_gives_the_same_model(model: TrainedModel) -> None:
    again = trained(world())
    np.testing.assert_array_equal(again.scores, model.scores)
    assert (again.family, again.params, again.threshold) == (model.family, model.params, model.threshold)
    assert again.importances == model.importances
    assert again.evaluation == model.evaluation


def test_no_more_rows_are_used_than_the_plan_allows(model: TrainedModel) -> None:
    assert PLAN.max_rows - 2 <= model.rows <= PLAN.max_rows


def test_the_stored_model_scores_exactly_the_same(model: TrainedModel) -> None:
    again = skops.io.loads(skops.io.dumps(model.estimator), trusted=list(TRUSTED_TYPES))
    unseen = inputs(world().tail(300)).assign(gust=1.0, carrier="ZZ")
    np.testing.assert_array_equal(again.predict_proba(unseen), model.estimator.predict_proba(unseen))


def test_a_regression_needs_neither_costs_nor_calibration() -> None:
    model = train(world(), FEATURES, "delay", PLAN, "regression", groups=["carrier"])
    assert model.threshold is None
    assert model.calibration is None
    assert model.evaluation.metrics["r2"] > 0.8
    assert set(model.baseline_losses) == {"mean", "mean_by_carrier"}
    assert model.evaluation.metrics["loss"] < min(model.baseline_losses.values())


def test_progress_names_the_steps() -> None:
    told: list[str] = []
    trained(world(1200), replace(PLAN, trials=2), progress=told.append)
    assert told[0] == "tuning on 1,200 of 1,200 rows"
    assert told[-1].startswith("fitting")
    assert "on 1,200 rows" in told[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["wind"]), r"columns \['wind'\]"),
        (lambda rows: rows.assign(label=np.nan), "missing in 3600 of 3600 rows"),
        (lambda rows: rows.head(600), "holds 10 days; the training plan needs 28"),
        (lambda rows: rows.assign(label=0.0), r"hold the classes \[0.0\]"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(change(world()))
