"""What a drift does to the loss, estimated without labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.drift.harm import BinLosses, announced, at_least, bin_losses, estimate, rank, skill
from lifecycle.losses import row_losses

ONE, TODAY = np.zeros(1, dtype=int), np.array([1])
NONE = np.array([0])


def judged(days: int = 14, rows: int = 200, bad: float = 2.0, seed: int = 1) -> BinLosses:
    """Two bins of equal mass; rows of the second lose ``bad`` times as much."""
    random = np.random.default_rng(seed)
    bins, places = random.integers(0, 2, days * rows), np.repeat(np.arange(days), rows)
    losses = random.exponential(0.3, days * rows) * np.where(bins == 1, bad, 1.0)
    return bin_losses(bins, 2, losses, places, days)


def test_more_rows_where_the_model_is_bad_cost_the_difference_of_the_losses() -> None:
    losses = judged()
    found = estimate(losses, np.array([[100, 900]]), NONE, TODAY)
    assert found is not None
    shares = losses.counts.sum(axis=0) / losses.counts.sum()
    means = losses.sums.sum(axis=0) / losses.counts.sum(axis=0)
    assert found.change[0] == pytest.approx((np.array([0.1, 0.9]) - shares) @ means)
    assert found.p_values[0] < 0.01


def test_more_rows_where_the_model_is_good_do_no_harm() -> None:
    found = estimate(judged(), np.array([[900, 100]]), NONE, TODAY)
    assert found is not None
    assert found.change[0] < 0
    assert found.p_values[0] > 0.9


def test_the_standard_error_is_the_spread_over_worlds() -> None:
    """Estimates from 200 judged fortnights, each held against a window of its own, spread as the error says."""
    random, errors, changes = np.random.default_rng(5), [], []
    for seed in range(200):
        window = random.multinomial(2800, [0.4, 0.6])
        found = estimate(judged(seed=seed, rows=100), window[None, :], NONE, np.array([14]))
        assert found is not None
        changes.append(found.change[0])
        errors.append(found.standard_error[0])
    assert np.mean(errors) == pytest.approx(np.std(changes), rel=0.25)


def test_a_value_that_tells_nothing_costs_what_it_is_said_to_cost() -> None:
    losses = judged(bad=1.0)
    found = estimate(losses, losses.counts.sum(axis=0)[None, :], np.array([losses.counts.sum()]), TODAY, 0.05)
    assert found is not None
    assert found.change[0] == pytest.approx(0.025)  # half of the rows
    unknown = estimate(losses, losses.counts.sum(axis=0)[None, :], np.array([100]), TODAY)
    assert unknown is not None
    assert unknown.change[0] == pytest.approx(0, abs=1e-12)


def test_what_all_rows_lose_together_has_no_sampling_error() -> None:
    """Lost rows lose the mean and their growth; the mean is what the change is counted from, and cancels."""
    found = estimate(judged(), np.zeros((2, 2)), np.array([300, 0]), np.array([1, 1]), 0.01)
    assert found is not None
    assert found.change[0] == pytest.approx(0.01)
    assert found.standard_error[0] == pytest.approx(0, abs=1e-12)
    assert found.p_values[0] < 1e-6
    harmless = estimate(judged(), np.zeros((1, 2)), np.array([300]), TODAY)
    assert harmless is not None
    assert (harmless.change[0], harmless.p_values[0]) == (0, 0.5)


@pytest.mark.parametrize("lost", [700, 2100])
def test_the_standard_error_is_the_spread_over_worlds_in_which_rows_are_lost(lost: int) -> None:
    random, errors, changes = np.random.default_rng(6), [], []
    for seed in range(200):
        window = random.multinomial(2800 - lost, [0.2, 0.8])
        found = estimate(judged(seed=seed, rows=100), window[None, :], np.array([lost]), np.array([14]), 0.03)
        assert found is not None
        changes.append(found.change[0])
        errors.append(found.standard_error[0])
    assert np.mean(errors) == pytest.approx(np.std(changes), rel=0.25)


def test_a_bin_that_was_hardly_judged_is_taken_to_be_like_all() -> None:
    losses = BinLosses(np.array([[100, 1]] * 6), np.array([[50.0, 9.0]] * 6))
    found = estimate(losses, np.array([[0, 100]]), NONE, TODAY)
    assert found is not None
    assert found.change[0] == pytest.approx(0, abs=0.1)


def test_few_judged_days_give_a_change_without_an_error_and_none_give_nothing() -> None:
    found = estimate(judged(days=3), np.array([[1, 9], [0, 0]]), np.array([0, 0]), np.array([1, 1]))
    assert found is not None
    assert found.change[0] > 0
    assert np.isnan(found.change[1])
    assert np.isnan(found.standard_error).all()
    assert estimate(BinLosses(np.zeros((5, 2)), np.zeros((5, 2))), np.array([[1, 9]]), NONE, TODAY) is None


def test_skill_is_the_gain_over_the_mean_and_what_a_calibrated_forecast_announces_is_what_it_loses() -> None:
    random = np.random.default_rng(2)
    scores = random.uniform(0.02, 0.98, 20_000)
    labels = (random.random(20_000) < scores).astype(float)
    gain = skill(labels, scores, "classification")
    assert gain == pytest.approx(np.log(2) - row_losses(labels, scores, "classification").mean(), abs=0.01)
    excess = row_losses(labels, scores, "classification") - announced(scores, "classification")
    assert excess.mean() == pytest.approx(0, abs=0.01)
    assert skill(np.ones(3), np.array([1.0, 1.0, 0.0]), "regression") == pytest.approx(-1 / 3)
    assert skill(np.empty(0), np.empty(0), "regression") is None


def test_harm_goes_before_size_in_the_ranking() -> None:
    assert rank(0.3, 0.02, 0.01) > rank(3.0, 0.0001, 0.01)
    assert rank(3.0, 0.02, -0.01) == 0
    assert rank(0.3, None, None) == 0.3


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5))
def test_an_error_needs_so_many_of_the_last_days_and_the_last_one(flags: list[bool], n: int) -> None:
    assert at_least(n, 5, flags) == (bool(flags) and flags[-1] and sum(flags[-5:]) >= n)


@pytest.mark.parametrize(("n", "m"), [(0, 5), (6, 5)])
def test_a_rule_that_cannot_be_met_is_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="1 <= n <= m"):
        at_least(n, m, [True])
