"""What decisions are worth. What belongs here: the value of acting from a threshold on, and the best threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from lifecycle.pipeline import CostMatrix


def value(scores: np.ndarray, labels: np.ndarray, threshold: float, costs: CostMatrix) -> float:
    """Total value, in the unit of ``costs``, of acting on every row whose score reaches ``threshold``.

    Parameters
    ----------
    scores, labels : (rows,) probabilities, and what happened, 0 or 1.

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    import numpy as np

    acted, positive = _acted_and_positive(np.asarray(scores) >= threshold, labels)
    return float(
        costs.true_positive * (acted & positive).sum()
        + costs.false_positive * (acted & ~positive).sum()
        + costs.false_negative * (~acted & positive).sum()
        + costs.true_negative * (~acted & ~positive).sum()
    )


def best_threshold(scores: np.ndarray, labels: np.ndarray, costs: CostMatrix) -> float:
    """The threshold with the highest value on these rows.

    All thresholds that tell the rows apart are tried: midway between neighbouring scores, at the lowest score
    (act on all) and just above the highest (act on none). Of equally good ones the highest is taken, so that
    nothing is acted on without a gain.

    Parameters
    ----------
    scores, labels : (rows,) probabilities, and what happened, 0 or 1.

    Raises
    ------
    ValueError
        If there are no rows, or the lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from lifecycle.pipeline import CostMatrix
    >>> costs = CostMatrix(true_positive=5.0, false_positive=-1.0, false_negative=-5.0)
    >>> best_threshold(np.array([0.1, 0.2, 0.4, 0.8]), np.array([0, 0, 1, 1]), costs)
    0.30000000000000004
    """
    import numpy as np

    scores = np.asarray(scores, dtype=float)
    _, positive = _acted_and_positive(scores, labels)
    if not scores.size:
        raise ValueError("scores holds no rows; a threshold needs at least one")
    levels, index = np.unique(-scores, return_inverse=True)
    levels = -levels  # from the highest score down
    hits = np.bincount(index, weights=positive)
    # Acting on one more level turns its misses into hits, and its correct rejections into false alarms.
    gain = hits * (costs.true_positive - costs.false_negative)
    gain += (np.bincount(index) - hits) * (costs.false_positive - costs.true_negative)
    best = int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))
    if best == 0:
        return float(np.nextafter(levels[0], np.inf))
    if best == levels.size:
        return float(levels[-1])
    low, high = levels[best], levels[best - 1]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def _acted_and_positive(acted: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    positive = np.asarray(labels, dtype=float) > 0.5
    if acted.shape != positive.shape:
        raise ValueError(f"scores have shape {acted.shape}, labels {positive.shape}; pass one score per label")
    return acted, positive
