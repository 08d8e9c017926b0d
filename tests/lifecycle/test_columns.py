"""Columns as numbers: learnt from few rows, and yet as from all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from lifecycle import models
from lifecycle.columns import summary

NUMERIC, CATEGORICAL = ["lead", "wind"], ["carrier", "dest"]
TASKS: list[Any] = ["classification", "regression"]


def rows(count: int, destinations: int, gaps: float, seed: int) -> pd.DataFrame:
    """Few carriers, and destinations of which many are as rare as others."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"lead": rng.integers(0, 50, count) / 7, "wind": rng.normal(size=count)})
    frame["carrier"] = rng.choice(np.array(["UA", "AA", "é", ""], dtype=object), count)
    frame["dest"] = [f"D{n}" for n in np.floor(destinations * rng.random(count) ** 2).astype(int)]
    for name in ("wind", "carrier", "dest"):
        frame.loc[rng.random(count) < gaps, name] = np.nan if name == "wind" else None
    # Every column holds a value, as in ``models.material``.
    frame.loc[0] = [1.0, 1.0, "UA", "D1"]
    return frame.assign(stranger="x")


def plain(name: str, frame: pd.DataFrame) -> tuple[ColumnTransformer, np.ndarray]:
    """What scikit-learn learns from all rows."""
    columns = models.family(name).columns(NUMERIC, CATEGORICAL)
    return columns, columns.fit_transform(frame)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(models.FAMILIES)),
    count=st.integers(2, 400),
    destinations=st.sampled_from([1, 2, 29, 30, 31, 32, 33, 60, 200]),
    gaps=st.sampled_from([0.0, 0.1, 0.9]),
    seed=st.integers(0, 9),
)
def test_a_few_rows_teach_what_all_rows_teach(name: str, count: int, destinations: int, gaps: float, seed: int) -> None:
    frame = rows(count, destinations, gaps, seed)
    labels = np.arange(count) % 2
    learnt = models.material(name, frame, labels, NUMERIC, CATEGORICAL, "classification")
    columns, matrix = plain(name, frame)
    np.testing.assert_array_equal(learnt.matrix, matrix)
    assert list(learnt.columns.get_feature_names_out()) == list(columns.get_feature_names_out())
    later = rows(50, 250, 0.3, seed + 1).assign(carrier="ZZ")
    np.testing.assert_array_equal(learnt.columns.transform(later), columns.transform(later))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", models.FAMILIES)
def test_the_model_is_the_one_that_the_whole_pipeline_would_have_fitted(name: str, task: Any) -> None:
    frame = rows(600, 60, 0.1, 3)
    labels = (frame["lead"] > 3).to_numpy().astype(int if task == "classification" else float)
    family = models.family(name)
    expected = Pipeline(
        [("columns", family.columns(NUMERIC, CATEGORICAL)), ("model", family.model(dict(family.defaults), task, 0))]
    ).fit(frame, labels)
    model = models.fit(name, dict(family.defaults), frame, labels, NUMERIC, CATEGORICAL, task, seed=0)
    np.testing.assert_array_equal(models.predict(model, frame, task), models.predict(expected, frame, task))


def test_the_summary_is_as_short_as_there_are_texts() -> None:
    frame = rows(5000, 60, 0.1, 0)
    few = summary(frame, NUMERIC, CATEGORICAL, 31)
    assert len(few) <= frame["dest"].nunique() + 1 + 31
    assert list(few.columns) == list(frame.columns)
    assert few["lead"].median() == frame["lead"].median()
    twice = few["dest"].value_counts().loc[lambda counts: counts > 1]
    assert set(twice.index) <= set(frame["dest"].value_counts(dropna=False).index[:31])
