"""Fits that do not wait for each other."""

from __future__ import annotations

import os
from threading import Barrier

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from lifecycle.parallel import every_core, in_order


def openmp_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"}


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_order(lambda number: number**2, [3, 1, 2])) == [9, 1, 4]
    assert list(in_order(lambda number: number, [])) == []


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_two_items_are_under_way_at_once() -> None:
    both = Barrier(2, timeout=30)
    assert sorted(in_order(lambda _: both.wait(), [0, 1])) == [0, 1]


def test_an_error_reaches_whoever_asks_for_the_result() -> None:
    found = in_order(lambda number: 1 / number, [1, 0])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_openmp_gets_every_core_where_its_threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    with threadpool_limits(1, user_api="openmp"):
        with every_core():
            assert openmp_threads() == {os.cpu_count()}
        assert openmp_threads() == {1}


def test_openmp_is_left_alone_where_its_threads_would_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with threadpool_limits(1, user_api="openmp"), every_core():
        assert openmp_threads() == {1}


def test_a_model_is_the_same_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(3000, 6)), rng.integers(0, 2, 3000)
    scores = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="openmp"):
            model = HistGradientBoostingClassifier(max_iter=10, early_stopping=False).fit(inputs, labels)
        scores.append(model.predict_proba(inputs))
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])
