"""The families of models: what may be tuned in each, and how it is built.

What belongs here: estimators and their search spaces. Choosing among them is in ``tuning.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle.parallel import every_core

if TYPE_CHECKING:
    import numpy as np
    import optuna
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline as Estimator

    from lifecycle.pipeline import Task

Params = dict[str, Any]

# Newton's method forms the squared number of columns, so rare categories share one.
MAX_CATEGORIES = 32

# What skops must be told to trust when a model of ours is stored or loaded.
TRUSTED_TYPES = (
    "lifecycle.calibration.SigmoidCalibrated",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)


@dataclass(frozen=True)
class Family:
    """A kind of model for both tasks.

    Parameters
    ----------
    defaults : sensible parameters, always the family's first trial.
    suggest : draws parameters from the family's search space.
    columns : (numeric, categorical) -> the unfitted transformation of a frame with these columns, numbers as floats
        and texts as objects; other columns are ignored. See ``lifecycle.columns`` for how it is fitted.
    model : (params, task, seed) -> the unfitted model of what the transformation makes.
    """

    name: str
    defaults: Mapping[str, Any]
    suggest: Callable[[optuna.Trial], Params]
    columns: Callable[[Sequence[str], Sequence[str]], ColumnTransformer]
    model: Callable[[Params, Task, int], Any]


@dataclass(frozen=True, eq=False)
class Material:
    """Rows as the models of a family learn from them, for any number of fits.

    Parameters
    ----------
    columns : the fitted transformation of frames.
    matrix, labels : (rows, features) what it made of the rows, and (rows,) what happened.
    """

    family: Family
    columns: ColumnTransformer
    matrix: np.ndarray
    labels: np.ndarray
    task: Task


def family(name: str) -> Family:
    """The family of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in FAMILIES:
        raise ValueError(f"there is no model family {name!r}; name one of {sorted(FAMILIES)}")
    return FAMILIES[name]


def fit(
    name: str,
    params: Params,
    inputs: pd.DataFrame,
    labels: np.ndarray,
    numeric: Sequence[str],
    categorical: Sequence[str],
    task: Task,
    seed: int,
) -> Estimator:
    """A fitted pipeline of the family ``name``; see ``material``, which raises the same errors.

    It takes frames with the same columns as ``inputs``; its steps are "columns" and "model".
    """
    from sklearn.pipeline import Pipeline

    learnt = material(name, inputs, labels, numeric, categorical, task)
    with every_core():
        return Pipeline([("columns", learnt.columns), ("model", fit_model(learnt, params, seed))])


def material(
    name: str,
    inputs: pd.DataFrame,
    labels: np.ndarray,
    numeric: Sequence[str],
    categorical: Sequence[str],
    task: Task,
) -> Material:
    """The rows of a frame as models of the family ``name`` learn from them.

    Columns without a single value in ``inputs`` take no part (scikit-learn's histogram binning fails on them),
    also when they come alive later: the model has learnt nothing about them.

    Raises
    ------
    ValueError
        If no column holds a value, or the labels of a classification are of one class.
    """
    import numpy as np

    from lifecycle.columns import fit_transform

    if task == "classification" and np.unique(labels).size != 2:
        raise ValueError(
            f"labels of {len(labels)} rows hold the classes {np.unique(labels).tolist()}; pass both 0 and 1"
        )
    alive = set(inputs.columns[inputs.notna().any()])
    numeric, categorical = ([column for column in names if column in alive] for names in (numeric, categorical))
    if not numeric and not categorical:
        raise ValueError(f"none of the columns {list(inputs.columns)} holds a value in {len(inputs)} rows")
    chosen = family(name)
    columns = chosen.columns(numeric, categorical)
    matrix = fit_transform(columns, inputs, numeric, categorical, MAX_CATEGORIES - 1)
    kind = int if task == "classification" else float
    return Material(chosen, columns, matrix, np.asarray(labels, dtype=kind), task)


def fit_model(learnt: Material, params: Params, seed: int) -> Any:
    """A fitted model that takes what ``learnt.columns`` makes of frames."""
    return learnt.family.model(params, learnt.task, seed).fit(learnt.matrix, learnt.labels)


def predict(estimator: Any, inputs: pd.DataFrame | np.ndarray, task: Task) -> np.ndarray:
    """(rows,) the probability of class 1 in classification, the forecast value in regression.

    Parameters
    ----------
    inputs : a frame for a pipeline, what its columns were made into for a model of ``fit_model``.
    """
    return estimator.predict_proba(inputs)[:, 1] if task == "classification" else estimator.predict(inputs)


def _suggest_hist_gradient_boosting(trial: optuna.Trial) -> Params:
    # Few and small trees with high rates: a fit of 40,000 rows by 45 features stays near one second on one core.
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.3, log=True),
        "max_iter": trial.suggest_int("max_iter", 40, 120, step=20),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 8, 24, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 20, 300, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 0.01, 30.0, log=True),
    }


def _columns_of_trees(numeric: Sequence[str], categorical: Sequence[str]) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    # Plain codes: trees that know of categories are converted to ONNX without an error and wrongly. A missing
    # category has a code of its own, apart from one never seen.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return ColumnTransformer(
        [("numbers", "passthrough", list(numeric)), ("categories", codes, list(categorical))], remainder="drop"
    )


def _hist_gradient_boosting(params: Params, task: Task, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    # Early stopping would part the rows at random, not in time, and make the work depend on luck.
    return kind(**params, early_stopping=False, random_state=seed)


def _suggest_linear(trial: optuna.Trial) -> Params:
    return {"penalty_strength": trial.suggest_float("penalty_strength", 0.1, 1e4, log=True)}


def _columns_of_lines(numeric: Sequence[str], categorical: Sequence[str]) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    return ColumnTransformer(
        [("numbers", numbers, list(numeric)), ("categories", categories, list(categorical))], remainder="drop"
    )


def _linear(params: Params, task: Task, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    strength = params["penalty_strength"]
    if task == "classification":
        return LogisticRegression(C=1 / strength, solver="newton-cholesky", max_iter=50, random_state=seed)
    return Ridge(alpha=strength, solver="cholesky", random_state=seed)


FAMILIES: dict[str, Family] = {
    each.name: each
    for each in (
        Family(
            "hist_gradient_boosting",
            {
                "learning_rate": 0.1,
                "max_iter": 80,
                "max_leaf_nodes": 16,
                "min_samples_leaf": 60,
                "l2_regularization": 1.0,
            },
            _suggest_hist_gradient_boosting,
            _columns_of_trees,
            _hist_gradient_boosting,
        ),
        Family("linear", {"penalty_strength": 10.0}, _suggest_linear, _columns_of_lines, _linear),
    )
}
