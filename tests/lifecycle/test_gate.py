"""The gate between challenger and champion."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.gate import Decision, Scored, decide, improvement_draws
from lifecycle.pipeline import GateRule

RULE = GateRule()


class Window:
    """Fourteen days of flights; each day has a mood that no model knows."""

    def __init__(self, seed: int, rows_a_day: int = 200, days: int = 14) -> None:
        self.random = np.random.default_rng(seed)
        rows = rows_a_day * days
        day = np.repeat(np.arange(days), rows_a_day)
        self.days = np.datetime64("2013-06-01") + day
        self.truth = self.random.normal(-1.2, 1.2, rows)
        mood = self.random.normal(0, 0.2, days)[day]
        self.labels = (self.random.random(rows) < 1 / (1 + np.exp(-self.truth - mood))).astype(float)
        self.slices = pl.DataFrame({"origin": self.random.choice(["JFK", "EWR", "LGA"], rows)})

    def scored(self, name: str, noise: float, shift: float = 0.0) -> Scored:
        seen = self.truth + self.random.normal(0, noise, self.truth.size) + shift
        return Scored(name, 1 / (1 + np.exp(-seen)))

    def decide(self, challenger: Scored, champion: Scored | None, rule: GateRule = RULE, **other: Any) -> Decision:
        baselines = other.pop("baselines", {"base rate": 0.6})
        return decide(
            challenger,
            champion,
            self.labels,
            self.days,
            self.slices,
            baselines,
            rule,
            other.pop("task", "classification"),
        )


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_clearly_better_model_is_always_promoted(seed: int) -> None:
    window = Window(seed)
    decision = window.decide(
        window.scored("new", 0.2), window.scored("old", 1.2), replace(RULE, max_calibration_gap=0.2)
    )
    assert decision.promote, decision.reasons
    assert decision.improvement is not None
    assert decision.improvement > 0


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_clearly_worse_model_is_never_promoted(seed: int) -> None:
    window = Window(seed)
    decision = window.decide(window.scored("new", 1.2), window.scored("old", 0.2), baselines={})
    assert not decision.promote
    assert "new is not shown to be better than old" in " ".join(decision.reasons)


def test_the_same_model_again_is_not_promoted() -> None:
    window = Window(1)
    model = window.scored("model", 0.3)
    decision = window.decide(model, model)
    assert not decision.promote
    assert (decision.improvement, decision.interval, decision.probability) == (0.0, (0.0, 0.0), 0.0)


def test_equally_good_models_are_promoted_about_as_rarely_as_the_confidence_says() -> None:
    window, promoted = Window(2, rows_a_day=50), 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        daily = random.normal(0, 0.02, 14)[(window.days - window.days.min()).astype(int)]
        draws = improvement_draws(daily + random.normal(0, 0.2, daily.size), window.days, 1000, seed)
        promoted += (draws > 0).mean() >= 0.9
    assert promoted / 300 < 0.16


def test_days_are_resampled_because_rows_of_a_day_agree() -> None:
    days = np.repeat(np.arange(14), 500)
    gain = np.repeat(np.random.default_rng(3).normal(size=14), 500)
    draws = improvement_draws(gain, days, 20_000, seed=0)
    assert draws.std() == pytest.approx(gain[::500].std(ddof=1) / np.sqrt(14), rel=0.02)
    assert draws.mean() == pytest.approx(gain.mean(), abs=0.01)


def test_a_planted_regression_in_one_slice_is_refused_by_name() -> None:
    window = Window(4)
    old, new = window.scored("old", 1.2), window.scored("new", 0.2)
    at_lga = window.slices["origin"].to_numpy() == "LGA"
    spoiled = Scored("new", np.where(at_lga, window.random.permutation(new.scores), new.scores))
    decision = window.decide(spoiled, old)
    (failed,) = [criterion for criterion in decision.criteria if not criterion.passed]
    assert failed.name == "slice origin"
    assert "for origin LGA (+0." in failed.detail
    assert decision.reasons[0] == failed.detail
    assert window.decide(spoiled, old, replace(RULE, min_slice_rows=5000)).promote


def test_a_model_that_promises_too_much_is_refused() -> None:
    window = Window(5)
    decision = window.decide(window.scored("new", 0.1, shift=0.9), None)
    assert [criterion.name for criterion in decision.criteria if not criterion.passed] == ["calibration gap"]


def test_a_model_off_by_less_than_the_one_that_serves_is_not_refused_for_it() -> None:
    window = Window(5)
    off, further_off = window.scored("new", 0.1, shift=0.9), window.scored("old", 0.1, shift=1.8)
    decision = window.decide(off, further_off)
    assert decision.promote
    (calibration,) = [criterion for criterion in decision.criteria if criterion.name == "calibration gap"]
    assert "beyond 0.05, no larger than the champion's" in calibration.detail
    refused = [criterion.name for criterion in window.decide(further_off, off).criteria if not criterion.passed]
    assert "calibration gap" in refused


def test_a_model_worse_than_a_baseline_is_refused_although_it_beats_the_champion() -> None:
    window = Window(6)
    decision = window.decide(window.scored("new", 0.2), window.scored("old", 1.2), baselines={"last year": 0.1})
    assert [criterion.name for criterion in decision.criteria if not criterion.passed] == ["baseline last year"]


def test_the_first_model_needs_no_champion_to_beat() -> None:
    window = Window(7)
    decision = window.decide(window.scored("first", 0.2), None)
    assert decision.promote
    assert (decision.improvement, decision.interval, decision.probability) == (None, None, None)
    assert not window.decide(window.scored("first", 0.2), None, baselines={"base rate": 0.1}).promote


@pytest.mark.parametrize(
    ("rows_a_day", "days", "failed"),
    [(10, 14, "enough rows"), (200, 2, "enough days"), (0, 14, "enough rows")],
)
def test_too_little_evidence_promotes_nothing(rows_a_day: int, days: int, failed: str) -> None:
    window = Window(8, rows_a_day, days)
    decision = window.decide(window.scored("new", 0.1), window.scored("old", 2.0))
    assert not decision.promote
    assert failed in [criterion.name for criterion in decision.criteria if not criterion.passed]
    assert "are needed" in decision.reasons[0]


def test_labels_of_one_class_promote_nothing() -> None:
    window = Window(9)
    window.labels[:] = 0.0
    decision = window.decide(window.scored("new", 0.1), None)
    assert not decision.promote
    assert decision.reasons[0] == "The labels of the window have 1 classes; at least 2 are needed."


def test_the_decision_is_recorded_with_all_its_reasons() -> None:
    window = Window(10)
    decision = window.decide(window.scored("new", 0.2), window.scored("old", 1.2))
    record = json.loads(json.dumps(decision.to_dict(), allow_nan=False))
    assert len(record["reasons"]) == len(record["criteria"]) == 7
    assert record["rows"] == 2800
    assert (decision.first_day, decision.last_day) == (date(2013, 6, 1), date(2013, 6, 14))
    assert window.decide(window.scored("new", 0.2), None).draws.size == 0


def test_the_same_inputs_give_the_same_decision() -> None:
    window = Window(11)
    new, old = window.scored("new", 0.5), window.scored("old", 0.6)
    first, second = window.decide(new, old), window.decide(new, old)
    assert first == second
    np.testing.assert_array_equal(first.draws, second.draws)


def test_regression_is_gated_on_squared_error() -> None:
    window = Window(12)
    window.labels = window.truth + window.random.normal(0, 1, window.truth.size)
    new = Scored("new", window.truth)
    old = Scored("old", window.truth + window.random.normal(0, 1, window.truth.size))
    rule = replace(RULE, max_calibration_gap=0.2)
    assert window.decide(new, old, rule, task="regression", baselines={"mean": 2.0}).promote
    assert not window.decide(old, new, rule, task="regression", baselines={}).promote


def test_two_thousand_resamples_of_two_weeks_take_milliseconds() -> None:
    days = np.repeat(np.arange(14), 1000)
    gain = np.random.default_rng(0).normal(size=14_000)
    improvement_draws(gain, days, 2000, 0)
    started = perf_counter()
    improvement_draws(gain, days, 2000, 0)
    assert perf_counter() - started < 0.2  # a few milliseconds on an idle machine


def test_lengths_that_differ_are_refused() -> None:
    window = Window(13)
    with pytest.raises(ValueError, match="days have 2799 rows, labels 2800"):
        decide(
            window.scored("new", 0.1), None, window.labels, window.days[1:], window.slices, {}, RULE, "classification"
        )
    with pytest.raises(ValueError, match="slices have 2799 rows"):
        decide(
            window.scored("new", 0.1), None, window.labels, window.days, window.slices[1:], {}, RULE, "classification"
        )
