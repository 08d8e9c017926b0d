"""Simple baselines that every model must beat: the mean of the past, overall and by group.

What belongs here: forecasts that need no model. Holding a model against them is the gate's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lifecycle.pipeline import Task

PRIOR_ROWS = 50  # weight of the overall mean in a group's: groups of fewer rows lie nearer to it than to their own


@dataclass(frozen=True)
class Baseline:
    """A constant, or one number per value of a column.

    Parameters
    ----------
    constant : forecast for all rows; where ``column`` is set, for values not seen in training.
    column : the column whose values are told apart, a missing value being one of them; None for a constant.
    by_value : forecast for each value of ``column`` seen in training, by its text.
    """

    name: str
    constant: float
    column: str | None = None
    by_value: Mapping[str, float] = field(default_factory=dict)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """(rows,) forecasts.

        Raises
        ------
        ValueError
            If ``frame`` lacks the column.
        """
        import numpy as np

        if self.column is None:
            return np.full(len(frame), self.constant)
        return _texts(frame, self.column).map(dict(self.by_value)).fillna(self.constant).to_numpy(dtype=float)


def fit_baselines(frame: pd.DataFrame, label: str, groups: Sequence[str], task: Task) -> list[Baseline]:
    """The mean label of all rows, and for each column of ``groups`` the mean label of each of its values.

    Means of groups are shrunk towards the overall mean, which counts as much as ``PRIOR_ROWS`` rows.

    Parameters
    ----------
    frame : rows to learn from, with ``label`` (no missing values) and ``groups``.

    Returns
    -------
    list of Baseline
        ``base_rate`` and ``rate_by_<column>`` in classification, ``mean`` and ``mean_by_<column>`` in
        regression.

    Raises
    ------
    ValueError
        If there are no rows, a label is missing, or a column is absent.
    """
    if frame.empty or frame[label].isna().any():
        missing = int(frame[label].isna().sum())
        raise ValueError(f"label {label!r} is missing in {missing} of {len(frame)} rows; pass labelled rows")
    labels = frame[label].astype(float)
    overall = float(labels.mean())
    overall_name, stem = ("base_rate", "rate") if task == "classification" else ("mean", "mean")
    by_group = [
        Baseline(f"{stem}_by_{column}", overall, column, _shrunk(labels, _texts(frame, column), overall))
        for column in groups
    ]
    return [Baseline(overall_name, overall), *by_group]


def _shrunk(labels: pd.Series, values: pd.Series, overall: float) -> dict[str, float]:
    sums = labels.groupby(values.to_numpy()).agg(["sum", "count"])
    means = (sums["sum"] + PRIOR_ROWS * overall) / (sums["count"] + PRIOR_ROWS)
    return {str(value): float(mean) for value, mean in means.items()}


def _texts(frame: pd.DataFrame, column: str) -> pd.Series:
    if column not in frame.columns:
        raise ValueError(f"the baseline needs column {column!r}; the frame has {list(frame.columns)}")
    values = frame[column].astype(object)
    return values.where(values.notna(), "missing").astype(str)
