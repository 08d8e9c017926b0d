"""What decisions are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lifecycle.pipeline import CostMatrix
from lifecycle.value import best_threshold, value

COSTS = CostMatrix(true_positive=5.0, false_positive=-1.0, false_negative=-5.0)


def test_each_kind_of_decision_counts_at_its_worth() -> None:
    scores, labels = np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 0, 1, 0])
    costs = CostMatrix(true_positive=1000, false_positive=100, false_negative=10, true_negative=1)
    assert value(scores, labels, 0.5, costs) == 1111


@given(
    scores=hnp.arrays(float, st.shared(st.integers(1, 60), key="n"), elements=st.sampled_from(np.linspace(0, 1, 17))),
    labels=hnp.arrays(int, st.shared(st.integers(1, 60), key="n"), elements=st.integers(0, 1)),
    worth=st.tuples(*[st.integers(-9, 9)] * 4),
)
def test_no_other_threshold_is_worth_more(scores: np.ndarray, labels: np.ndarray, worth: tuple[int, ...]) -> None:
    costs = CostMatrix(*map(float, worth))
    best = value(scores, labels, best_threshold(scores, labels, costs), costs)
    assert best == max(value(scores, labels, threshold, costs) for threshold in [*scores, 2.0])


def test_the_best_threshold_of_calibrated_scores_is_near_that_of_decision_theory() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=50_000)
    labels = rng.uniform(size=scores.size) < scores
    # Acting gains 10 with probability p and loses 1 otherwise: worth it from p = 1/11 on.
    assert best_threshold(scores, labels, COSTS) == pytest.approx(1 / 11, abs=0.03)


def test_with_one_class_all_or_none_are_acted_on() -> None:
    scores = np.array([0.2, 0.6])
    assert not (scores >= best_threshold(scores, np.zeros(2), COSTS)).any()
    assert (scores >= best_threshold(scores, np.ones(2), COSTS)).all()


def test_a_threshold_between_neighbouring_floats_parts_them() -> None:
    low = 0.3
    high = float(np.nextafter(low, 1))
    assert low < best_threshold(np.array([low, high]), np.array([0, 1]), COSTS) <= high


def test_no_rows_have_no_threshold() -> None:
    with pytest.raises(ValueError, match="at least one"):
        best_threshold(np.empty(0), np.empty(0), COSTS)
    assert value(np.empty(0), np.empty(0), 0.5, COSTS) == 0
