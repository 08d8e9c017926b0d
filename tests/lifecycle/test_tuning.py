"""The search for a family and its parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lifecycle.pipeline import TrainingPlan
from lifecycle.splits import time_folds
from lifecycle.tuning import TuningResult, tune

PLAN = TrainingPlan(trials=5, folds=2, fold_days=7)


def rows(curved: bool, count: int = 1200) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(count, 3)), columns=["a", "b", "c"])
    frame["carrier"] = np.array(["AA", "UA"], dtype=object)[rng.integers(0, 2, count)]
    signal = frame["a"] * frame["b"] * 3 if curved else 1.5 * frame["a"] + 0.5 * frame["b"]
    frame["label"] = (signal + rng.normal(0, 0.5, count) > 0).astype(float)
    return frame, np.datetime64("2013-01-01") + (np.arange(count) * 60 // count).astype("timedelta64[D]")


def search(curved: bool, plan: TrainingPlan = PLAN, **more: Any) -> TuningResult:
    frame, days = rows(curved)
    folds = time_folds(days, plan.folds, plan.fold_days)
    return tune(frame, "label", folds, plan, "classification", ["a", "b", "c"], ["carrier"], **more)


def test_a_straight_world_is_left_to_the_linear_family_and_a_curved_one_to_trees() -> None:
    assert search(curved=False).family == "linear"
    assert search(curved=True).family == "hist_gradient_boosting"


def test_every_family_is_tried_with_its_defaults_first_and_the_best_of_all_wins() -> None:
    result = search(curved=False)
    assert [trial["family"] for trial in result.trials[:2]] == list(PLAN.families)
    assert len(result.trials) == PLAN.trials
    losses = [trial["loss"] for trial in result.trials if trial["state"] == "complete"]
    assert result.loss == min(losses)
    winner = next(trial for trial in result.trials if trial["loss"] == result.loss)
    assert (winner["family"], winner["params"]) == (result.family, result.params)
    assert result.loss == pytest.approx(np.mean(winner["fold_losses"]))


def test_the_same_seed_searches_in_the_same_way() -> None:
    first, second = search(curved=True), search(curved=True)
    timeless = [[{**trial, "seconds": 0} for trial in result.trials] for result in (first, second)]
    assert timeless[0] == timeless[1]
    other = search(curved=True, plan=replace(PLAN, seed=1))
    assert [trial["params"] for trial in other.trials[2:]] != [trial["params"] for trial in first.trials[2:]]


def test_progress_tells_of_every_trial_and_nothing_else_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    search(curved=False, progress=told.append)
    assert len(told) == PLAN.trials
    assert told[0].startswith("trial 1 of 5: hist_gradient_boosting, loss 0.")
    assert capfd.readouterr() == ("", "")


def test_a_blown_fuse_leaves_the_trials_that_were_finished() -> None:
    result = search(curved=False, plan=replace(PLAN, trials=500, timeout_seconds=0.3))
    assert 1 <= len(result.trials) < 500


def test_a_search_without_room_for_every_family_is_refused() -> None:
    with pytest.raises(ValueError, match="a trial for each family"):
        search(curved=False, plan=replace(PLAN, trials=1))
