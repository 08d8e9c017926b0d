"""Losses per row."""

from __future__ import annotations

import numpy as np
import pytest

from lifecycle.losses import row_losses


def test_the_logarithmic_loss_is_minus_the_log_of_the_probability_given_to_what_happened() -> None:
    losses = row_losses(np.array([1, 0, 1]), np.array([0.8, 0.8, 0.1]), "classification")
    np.testing.assert_allclose(losses, -np.log([0.8, 0.2, 0.1]))


def test_a_certain_and_wrong_forecast_costs_much_but_not_everything() -> None:
    losses = row_losses(np.array([1.0, 0.0]), np.array([0.0, 1.0]), "classification")
    np.testing.assert_allclose(losses, -np.log(1e-6))


def test_one_score_may_stand_for_all_rows() -> None:
    np.testing.assert_allclose(row_losses(np.array([1.0, 4.0]), np.array(2.0), "regression"), [1.0, 4.0])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [([1.0, np.nan], [0.5, 0.5], "labels hold 1 missing"), ([1.0, 0.0], [0.5], "scores have shape")],
)
def test_rows_that_cannot_be_judged_are_refused(labels: list[float], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row_losses(np.array(labels), np.array(scores), "classification")
