"""Calibration: making forecast probabilities mean what they say, and measuring whether they do.

What belongs here: the sigmoid recalibration and reliability tables. The class derives from scikit-learn's, so
this module imports it when it is imported; import it inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SMALLEST_SCORE = 1e-9  # keeps logits finite; far below what a loss can see
SLOPES = (0.05, 20.0)
INTERCEPTS = (-20.0, 20.0)


class SigmoidCalibrated(ClassifierMixin, BaseEstimator):
    """A binary classifier whose probabilities p become ``sigmoid(slope * logit(p) + intercept)``.

    Parameters
    ----------
    estimator : a classifier with ``predict_proba``; already fitted, unless ``fit`` is called.
    slope, intercept : from ``fit_sigmoid``, on scores of rows that ``estimator`` had not learnt from. A
        positive slope keeps the ranking; (1, 0) changes nothing.
    """

    def __init__(self, estimator: Any, slope: float = 1.0, intercept: float = 0.0) -> None:
        self.estimator = estimator
        self.slope = slope
        self.intercept = intercept

    def fit(self, inputs: pd.DataFrame, labels: np.ndarray) -> SigmoidCalibrated:
        """Fits the classifier within; slope and intercept stay."""
        self.estimator.fit(inputs, labels)
        return self

    def predict_proba(self, inputs: pd.DataFrame) -> np.ndarray:
        """(rows, 2) probabilities of the two classes."""
        import numpy as np

        raw = self.estimator.predict_proba(inputs)[:, 1]
        positive = calibrate(raw, self.slope, self.intercept)
        return np.column_stack([1 - positive, positive])

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """(rows,) the likelier class; decisions that cost something use the pipeline's threshold instead."""
        return self.classes_[(self.predict_proba(inputs)[:, 1] >= 0.5).astype(int)]

    @property
    def classes_(self) -> np.ndarray:
        return self.estimator.classes_

    @property
    def feature_names_in_(self) -> np.ndarray:
        return self.estimator.feature_names_in_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self.estimator, "classes_")


def calibrate(scores: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """(rows,) ``sigmoid(slope * logit(scores) + intercept)``."""
    from scipy.special import expit

    return expit(slope * _logit(scores) + intercept)


def fit_sigmoid(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Slope and intercept, on the scale of logits, that make ``scores`` fit ``labels`` best.

    Parameters
    ----------
    scores : (rows,) probabilities for rows that the model had not learnt from.
    labels : (rows,) what happened, 0 or 1.

    Returns
    -------
    slope, intercept
        (1, 0) when fewer than two classes are present: nothing can be learnt from them. The slope lies
        within [0.05, 20], so that the ranking is never reversed.

    Raises
    ------
    ValueError
        If the lengths differ or a value is missing.

    Notes
    -----
    Maximum likelihood with the smoothed targets of Platt (1999), "Probabilistic outputs for support vector
    machines", which keep the fit finite where the classes are separated; on logits, (1, 0) is no change.
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    scores, labels = _checked(scores, labels)
    positives = float(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return 1.0, 0.0
    targets = np.where(labels > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    logits = _logit(scores)

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        linear = line[0] * logits + line[1]
        slack = expit(linear) - targets
        return float((np.logaddexp(0, linear) - targets * linear).mean()), np.array(
            [(slack * logits).mean(), slack.mean()]
        )

    fitted = minimize(loss, x0=[1.0, 0.0], jac=True, bounds=[SLOPES, INTERCEPTS], method="L-BFGS-B", tol=1e-10)
    return float(fitted.x[0]), float(fitted.x[1])


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar score: what was forecast, what happened, and how sure that is.

    Parameters
    ----------
    low, high : 95 % Wilson interval of the mean label.
    """

    count: int
    mean_score: float
    mean_label: float
    low: float
    high: float


def reliability(scores: np.ndarray, labels: np.ndarray, bins: int = 10) -> list[ReliabilityBin]:
    """Mean label against mean score, over bins of about equal numbers of rows, lowest scores first.

    Equal scores stay in one bin, so that there may be fewer bins; none without rows.

    Raises
    ------
    ValueError
        If the lengths differ, a value is missing, or ``bins`` is below one.

    Notes
    -----
    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    import numpy as np

    scores, labels = _checked(scores, labels)
    index = _quantile_bins(scores, bins)
    counts = np.bincount(index)
    filled = np.flatnonzero(counts)
    means = (np.bincount(index, weights=values)[filled] / counts[filled] for values in (scores, labels))
    return [
        ReliabilityBin(int(count), float(score), float(label), *_wilson(float(label), int(count)))
        for count, score, label in zip(counts[filled], *means, strict=True)
    ]


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Mean over the rows of |mean score - mean label| of their bin; NaN without rows.

    Bins hold about equal numbers of rows. Chance alone makes it positive: near ``sqrt(bins / rows) / 3`` for
    a calibrated model.

    Examples
    --------
    >>> import numpy as np
    >>> expected_calibration_error(np.array([0.25, 0.25, 0.25, 0.25]), np.array([0, 0, 0, 1]))
    0.0
    """
    table = reliability(scores, labels, bins)
    if not table:
        return float("nan")
    return sum(b.count * abs(b.mean_score - b.mean_label) for b in table) / sum(b.count for b in table)


def _logit(scores: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import logit

    return logit(np.clip(np.asarray(scores, dtype=float), SMALLEST_SCORE, 1 - SMALLEST_SCORE))


def _quantile_bins(scores: np.ndarray, bins: int) -> np.ndarray:
    """(rows,) bin of each score; edges are quantiles that were observed, so that equal scores stay together."""
    import numpy as np

    if bins < 1:
        raise ValueError(f"bins is {bins}; at least 1 is needed")
    if not scores.size:
        return np.empty(0, dtype=int)
    edges = np.quantile(scores, np.arange(1, bins) / bins, method="higher")
    return np.searchsorted(np.unique(edges), scores, side="right")


def _wilson(share: float, count: int, deviations: float = 1.959964) -> tuple[float, float]:
    spread = deviations**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = (spread * share * (1 - share) + spread**2 / 4) ** 0.5 / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    if scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape}, labels {labels.shape}; pass one score per label")
    missing = int((~np.isfinite(scores) | ~np.isfinite(labels)).sum())
    if missing:
        raise ValueError(f"scores or labels are missing in {missing} rows; leave those rows out")
    return scores, labels
