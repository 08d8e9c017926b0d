"""The loss of each row, the one that gates and reports average.

What belongs here: losses per row as functions of arrays. Metrics of a whole window are elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lifecycle.pipeline import Task

SMALLEST_PROBABILITY = 1e-6  # a certain and wrong forecast costs 13.8 nats, not infinity


def row_losses(labels: np.ndarray, scores: np.ndarray, task: Task) -> np.ndarray:
    """Loss of every row: logarithmic (nats) in classification, squared error in regression.

    Parameters
    ----------
    labels : (rows,) what happened; 0 and 1 in classification.
    scores : (rows,) or () what was forecast; probabilities are clipped to [1e-6, 1 - 1e-6].

    Raises
    ------
    ValueError
        If a label or a score is missing, or the lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> row_losses(np.array([1.0, 0.0]), np.array([0.5, 0.5]), "classification").round(3).tolist()
    [0.693, 0.693]
    >>> row_losses(np.array([3.0, 1.0]), np.array([1.0, 1.0]), "regression").tolist()
    [4.0, 0.0]
    """
    import numpy as np

    labels, scores = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    if scores.ndim and scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape}, labels {labels.shape}; pass one score per label")
    for name, values in (("labels", labels), ("scores", scores)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold {int((~np.isfinite(values)).sum())} missing values; leave those rows out")
    if task == "regression":
        return (scores - labels) ** 2
    clipped = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
