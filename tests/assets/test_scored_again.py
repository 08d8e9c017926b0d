"""A version that is asked again gives the same answer, and is not asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assets import scored_again
from assets.scored_again import Remembered


class Model:
    """Adds its columns up, and counts the rows of which it had to."""

    asked = 0

    def score(self, rows: pl.DataFrame) -> np.ndarray:
        self.asked += rows.height
        return rows.select(pl.col("load").fill_null(0.0) + pl.col("wind")).to_series().to_numpy()


def _rows(load: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"load": load, "wind": [0.5] * len(load)}, schema={"load": pl.Float64, "wind": pl.Float64})


def test_a_row_is_scored_once_whatever_it_is_asked_with() -> None:
    model = Model()
    remembered = Remembered(model.score)
    for _ in range(3):
        assert remembered(_rows([1.0, 2.0])).tolist() == [1.5, 2.5]
        assert remembered(_rows([None, 2.0])).tolist() == [0.5, 2.5]
        assert remembered(_rows([])).tolist() == []
    assert model.asked == 3


def test_one_other_value_is_another_row_and_the_order_is_that_of_the_question() -> None:
    remembered = Remembered(Model().score)
    for load in ([1.0, 2.0], [2.0, 1.0], [1.0, 2.0000001], [1.0], [1.0, None, 1.0]):
        assert remembered(_rows(load)).tolist() == Model().score(_rows(load)).tolist()


def test_no_more_is_remembered_than_allowed_and_what_is_asked_now_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored_again, "MOST_ROWS", 10)
    model = Model()
    remembered = Remembered(model.score)
    for first in range(0, 40, 4):
        load = [float(number) for number in range(first, first + 4)]
        assert remembered(_rows(load)).tolist() == [number + 0.5 for number in load]
        assert len(remembered._known) <= 10
    remembered(_rows([39.0]))
    assert model.asked == 40
    many = [float(number) for number in range(100)]
    assert remembered(_rows(many)).tolist() == [number + 0.5 for number in many]
