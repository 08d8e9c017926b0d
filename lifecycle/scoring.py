"""Scores from a fitted model. What belongs here: the one way in which frames become scores, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lifecycle.pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl


def model_inputs(rows: pl.DataFrame, features: Sequence[str], pipeline: Pipeline) -> pd.DataFrame:
    """The frame a model takes: its features by name and in its order, numbers as float64, texts as objects.

    Raises
    ------
    ValueError
        If ``rows`` lacks a feature the model was trained on.
    """
    import polars as pl

    missing = [name for name in features if name not in rows.columns]
    if missing:
        raise ValueError(f"the model needs the features {missing}; the rows have {rows.columns}")
    texts = {feature.name for feature in pipeline.features if feature.type == "string"}
    return rows.select(
        pl.col(name).cast(pl.String) if name in texts else pl.col(name).cast(pl.Float64) for name in features
    ).to_pandas()


def score(estimator: Any, rows: pl.DataFrame, features: Sequence[str], pipeline: Pipeline) -> np.ndarray:
    """(rows,) the probability of the label in classification, the forecast value in regression."""
    import numpy as np

    if not rows.height:
        return np.empty(0)
    inputs = model_inputs(rows, features, pipeline)
    if pipeline.task == "regression":
        return np.asarray(estimator.predict(inputs), dtype=float)
    return np.asarray(estimator.predict_proba(inputs)[:, 1], dtype=float)
