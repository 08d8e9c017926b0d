"""Families of models: every one takes what production brings, and can be stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import skops.io

from lifecycle import models
from lifecycle.calibration import SigmoidCalibrated

NUMERIC, CATEGORICAL = ["lead", "wind", "gust"], ["carrier", "dest"]
TASKS = ["classification", "regression"]


def rows(count: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(count, 3)), columns=NUMERIC)
    frame.loc[rng.random(count) < 0.2, "wind"] = np.nan
    frame["carrier"] = np.array(["AA", "UA", None], dtype=object)[rng.integers(0, 3, count)]
    frame["dest"] = np.array([f"D{n}" for n in range(50)], dtype=object)[rng.integers(0, 50, count)]
    return frame


def labels(frame: pd.DataFrame, task: str) -> np.ndarray:
    signal = frame["lead"].to_numpy() + 1.5 * (frame["carrier"] == "UA").to_numpy()
    signal = signal + np.random.default_rng(1).normal(0, 0.3, len(frame))
    return (signal > 0.5).astype(float) if task == "classification" else signal


def fitted(name: str, frame: pd.DataFrame, task: Any) -> Any:
    params = dict(models.FAMILIES[name].defaults)
    return models.fit(name, params, frame, labels(frame, task), NUMERIC, CATEGORICAL, task, seed=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", models.FAMILIES)
def test_every_family_learns_what_there_is_to_learn(name: str, task: Any) -> None:
    unseen = rows(seed=5)
    scores = models.predict(fitted(name, rows(2000), task), unseen, task)
    assert scores.shape == (len(unseen),)
    assert np.corrcoef(scores, labels(unseen, task))[0, 1] > 0.7


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", models.FAMILIES)
def test_columns_that_were_empty_in_training_may_come_alive(name: str, task: Any) -> None:
    past = rows().assign(gust=np.nan, dest=None)
    model = fitted(name, past, task)
    now = rows(seed=3)
    np.testing.assert_array_equal(
        models.predict(model, now, task), models.predict(model, now.assign(gust=np.nan, dest=None), task)
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", models.FAMILIES)
def test_unknown_categories_and_newly_missing_values_get_a_finite_score(name: str, task: Any) -> None:
    model = fitted(name, rows(), task)
    strange = rows(20, seed=4).assign(carrier="ZZ", dest=None, lead=np.nan, gust=np.nan)
    assert np.isfinite(models.predict(model, strange, task)).all()


@pytest.mark.parametrize("name", models.FAMILIES)
def test_the_order_of_columns_and_strangers_among_them_do_not_matter(name: str) -> None:
    model, now = fitted(name, rows(), "classification"), rows(seed=2)
    mixed = now[now.columns[::-1]].assign(stranger=1.0)[[*now.columns[::-1], "stranger"]]
    expected = models.predict(model, now, "classification")
    np.testing.assert_array_equal(models.predict(model, mixed, "classification"), expected)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", models.FAMILIES)
def test_a_stored_model_needs_only_the_trusted_types_and_scores_exactly_the_same(name: str, task: Any) -> None:
    model = fitted(name, rows(), task)
    if task == "classification":
        model = SigmoidCalibrated(model, 0.9, -0.1)
    stored = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(models.TRUSTED_TYPES)
    again = skops.io.loads(stored, trusted=list(models.TRUSTED_TYPES))
    now = rows(seed=6)
    np.testing.assert_array_equal(models.predict(again, now, task), models.predict(model, now, task))


@pytest.mark.parametrize("name", models.FAMILIES)
def test_defaults_lie_within_the_search_space(name: str) -> None:
    family = models.FAMILIES[name]
    study = optuna.create_study()
    study.enqueue_trial(dict(family.defaults))
    assert family.suggest(study.ask()) == dict(family.defaults)


def test_the_same_rows_and_seed_give_the_same_model() -> None:
    for name in models.FAMILIES:
        scores = [
            models.predict(fitted(name, rows(), "classification"), rows(seed=8), "classification") for _ in range(2)
        ]
        np.testing.assert_array_equal(*scores)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    frame = rows(10)
    with pytest.raises(ValueError, match=r"hold the classes \[0.0\]"):
        models.fit("linear", {"penalty_strength": 1.0}, frame, np.zeros(10), NUMERIC, CATEGORICAL, "classification", 0)
    with pytest.raises(ValueError, match="none of the columns"):
        models.fit("linear", {}, frame[["wind"]] * np.nan, np.arange(10), ["wind"], [], "regression", 0)
    with pytest.raises(ValueError, match=r"no model family 'forest'.*hist_gradient_boosting"):
        models.family("forest")
