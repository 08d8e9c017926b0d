"""The metrics of a model on rows it has not learnt from, with their uncertainty and by slice.

What belongs here: metrics of arrays, for choosing and describing a model. What decisions are worth is in
``value.py``; judging what a serving model did, night by night, is in ``performance/realised.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle.losses import row_losses
from lifecycle.ranking import ranking

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lifecycle.pipeline import Task

RESAMPLES = 1000
COVERAGE = 0.95

Sums = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class Evaluation:
    """How a model did.

    Parameters
    ----------
    metrics : every metric by name; NaN where it is not defined (an AUC of one class, a precision without
        actions, anything without rows).
    intervals : central 95 % interval of the metrics whose sampling is known; (NaN, NaN) with fewer than two days.
    slices : one row per column and value: ``slice``, ``value``, ``rows``, ``mean_label``, ``mean_score``,
        ``loss``, ``auc`` or ``r2``, ``calibration_gap``.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    slices: list[dict[str, Any]]


def evaluate(
    labels: np.ndarray,
    scores: np.ndarray,
    days: np.ndarray,
    task: Task,
    threshold: float | None = None,
    slices: pd.DataFrame | None = None,
    seed: int = 0,
) -> Evaluation:
    """All metrics of one model on one set of rows.

    Classification: ``loss`` = ``log_loss``, ``brier``, their skill against always forecasting the rows' own base
    rate, ``auc``, ``base_rate``, ``mean_score``, ``calibration_gap`` (mean score minus mean label), ``ece``, and
    with a threshold ``precision``, ``recall``, ``acted_share``. Regression: ``loss`` (mean squared error),
    ``rmse``, ``mae``, ``r2``, ``mean_label``, ``mean_score``, ``calibration_gap``.

    Parameters
    ----------
    labels, scores : (rows,) what happened, and the forecast of it.
    days : (rows,) datetime64[D], the day of each row.
    threshold : score from which on a row is acted on; not used in regression.
    slices : (rows,) frame with one column per way of slicing.

    Raises
    ------
    ValueError
        If lengths differ or a label or score is missing.

    Notes
    -----
    Intervals come from resampling whole days, whose rows share their weather and so are not independent; Field
    & Welsh (2007), "Bootstrapping clustered data". The sums of each day suffice for it. The AUC is not a
    function of sums: its interval is normal, from DeLong's variance clustered by day (``performance.ranking``).
    """
    import numpy as np

    labels, scores = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    days = np.asarray(days, dtype="datetime64[D]")
    losses = row_losses(labels, scores, task)
    if days.shape != labels.shape or (slices is not None and len(slices) != labels.size):
        lengths = f"{labels.size} labels, {days.size} days, {'no' if slices is None else len(slices)} rows of slices"
        raise ValueError(f"labels, days and slices differ in length: {lengths}; pass one of each per row")
    if task == "classification":
        columns, statistics = _classification_columns(labels, scores, losses, threshold), _classification
    else:
        columns, statistics = _regression_columns(labels, scores, losses), _regression
    metrics, intervals = _bootstrap(columns, days, statistics, seed)
    metrics = {"rows": float(labels.size), **metrics}
    if task == "classification":
        metrics["auc"], intervals["auc"] = _auc(labels, scores, days)
        metrics["ece"] = _calibration_error(scores, labels)
    return Evaluation(metrics, intervals, _slices(labels, scores, losses, slices, task))


def _classification_columns(
    labels: np.ndarray, scores: np.ndarray, losses: np.ndarray, threshold: float | None
) -> dict[str, np.ndarray]:
    columns = {"label": labels, "score": scores, "loss": losses, "squared": (scores - labels) ** 2}
    if threshold is not None:
        acted = (scores >= threshold).astype(float)
        columns |= {"acted": acted, "hits": acted * labels}
    return columns


def _classification(sums: Sums) -> dict[str, np.ndarray]:
    from scipy.special import entr

    rows = sums["rows"]
    rate, loss, brier = sums["label"] / rows, sums["loss"] / rows, sums["squared"] / rows
    metrics = {
        "loss": loss,
        "log_loss": loss,
        "log_loss_skill": _skill(loss, entr(rate) + entr(1 - rate)),
        "brier": brier,
        "brier_skill": _skill(brier, rate * (1 - rate)),
        "base_rate": rate,
        "mean_score": sums["score"] / rows,
        "calibration_gap": sums["score"] / rows - rate,
    }
    if "acted" in sums:
        metrics |= {
            "precision": sums["hits"] / sums["acted"],
            "recall": sums["hits"] / sums["label"],
            "acted_share": sums["acted"] / rows,
        }
    return metrics


def _regression_columns(labels: np.ndarray, scores: np.ndarray, losses: np.ndarray) -> dict[str, np.ndarray]:
    # Spread is measured from a fixed centre near the mean: sums of large squares would cancel to noise.
    centred = labels - (labels.mean() if labels.size else 0.0)
    return {
        "label": labels,
        "score": scores,
        "loss": losses,
        "absolute": abs(scores - labels),
        "centred": centred,
        "centred_squared": centred**2,
    }


def _regression(sums: Sums) -> dict[str, np.ndarray]:
    rows = sums["rows"]
    loss = sums["loss"] / rows
    variance = sums["centred_squared"] / rows - (sums["centred"] / rows) ** 2
    return {
        "loss": loss,
        "rmse": loss**0.5,
        "mae": sums["absolute"] / rows,
        "r2": _skill(loss, variance),
        "mean_label": sums["label"] / rows,
        "mean_score": sums["score"] / rows,
        "calibration_gap": (sums["score"] - sums["label"]) / rows,
    }


def _skill(loss: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Share of the reference's loss that is avoided; NaN where that has none to avoid."""
    import numpy as np

    return 1 - loss / np.where(reference > 1e-12, reference, np.nan)


def _bootstrap(
    columns: dict[str, np.ndarray],
    days: np.ndarray,
    statistics: Callable[[Sums], dict[str, np.ndarray]],
    seed: int,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Statistics of the rows, and intervals of them by resampling days.

    The first weighting takes every day once and gives the metrics themselves, the others are resamples.
    """
    import numpy as np

    present, index = np.unique(days, return_inverse=True)
    clusters = present.size
    by_day = {"rows": np.bincount(index, minlength=clusters).astype(float)}
    by_day |= {name: np.bincount(index, weights=values, minlength=clusters) for name, values in columns.items()}
    taken = np.ones((1, clusters))
    if clusters > 1:
        chances = np.full(clusters, 1 / clusters)
        resampled = np.random.default_rng(seed).multinomial(clusters, chances, size=RESAMPLES)
        taken = np.concatenate([taken, resampled])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistics({name: taken @ sums for name, sums in by_day.items()})
    metrics = {name: _finite(draws[0]) for name, draws in values.items()}
    return metrics, {name: _interval(draws[1:]) for name, draws in values.items()}


def _finite(value: float) -> float:
    """A quotient by zero is not defined, whatever its numerator."""
    import numpy as np

    return float(value) if np.isfinite(value) else float("nan")


def _interval(draws: np.ndarray) -> tuple[float, float]:
    import numpy as np

    finite = draws[np.isfinite(draws)]
    if not finite.size:
        return (float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return (float(low), float(high))


def _auc(labels: np.ndarray, scores: np.ndarray, days: np.ndarray) -> tuple[float, tuple[float, float]]:
    from scipy.stats import norm

    value, error = ranking(labels, scores, days, "classification")
    if value is None:
        return float("nan"), (float("nan"), float("nan"))
    if not error:  # one day, or rows too few to differ
        return value, (float("nan"), float("nan"))
    half = float(norm.ppf((1 + COVERAGE) / 2)) * error
    return value, (max(0.0, value - half), min(1.0, value + half))


def _calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    from lifecycle.calibration import expected_calibration_error

    return expected_calibration_error(scores, labels)


def _slices(
    labels: np.ndarray, scores: np.ndarray, losses: np.ndarray, slices: pd.DataFrame | None, task: Task
) -> list[dict[str, Any]]:
    import numpy as np

    if slices is None:
        return []
    table = []
    for column in slices.columns:
        values = slices[column].astype(object)
        texts = values.where(values.notna(), "missing").astype(str).to_numpy(dtype=object)
        for text in sorted(set(texts)):
            rows = np.flatnonzero(texts == text)
            row = _slice(labels[rows], scores[rows], losses[rows], task)
            table.append({"slice": str(column), "value": text, **row})
    return table


def _slice(labels: np.ndarray, scores: np.ndarray, losses: np.ndarray, task: Task) -> dict[str, Any]:
    import numpy as np

    value, _ = ranking(labels, scores, np.zeros(labels.size), task)
    return {
        "rows": int(labels.size),
        "mean_label": float(labels.mean()),
        "mean_score": float(scores.mean()),
        "loss": float(losses.mean()),
        "auc" if task == "classification" else "r2": float("nan") if value is None else value,
        "calibration_gap": float(scores.mean() - labels.mean()),
    }
