"""Performance estimated before the labels arrive.

What belongs here: expected metrics of forecasts from their scores alone, with a band for what will be realised. The
verdict on the estimator itself is in ``grading.py``, realised performance in ``realised.py``.

What it assumes: that what was learnt from the last labelled days, namely how far labels lie from scores, still holds.
Inputs may move, and scores with them: that is seen, and is what estimates are for. It cannot see concept drift, a
change of the label given the inputs, until labels have come: hence the grade. Where some labels are known, the others
are taken to be like them, given the scores; labels that come late because of what they say (a flight that has not
landed) are not, and the grade shows that too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from lifecycle.losses import row_losses
from lifecycle.performance.estimator import FLATTENING, SMALLEST, Estimator, known_rows, logit
from lifecycle.ranking import STANDARD_ERRORS

if TYPE_CHECKING:
    import numpy as np

    from lifecycle.performance.promise import Promise
    from lifecycle.pipeline import Task

DRAWS = 500  # the ends of a 90 % band are then known to about a tenth of its half width
CELLS = 1_000_000  # labels drawn at once, which bounds the memory
COVERAGE = 0.9
_DAYS = ("first_day", "last_day", "known_through")


@dataclass(frozen=True)
class Estimate:
    """Expected performance of some forecasts, before their labels.

    Parameters
    ----------
    values : classification: ``auc``, ``auc_within_days`` (over pairs of rows of one day: how days differ, which no
        score foretells, does not enter), ``log_loss``, ``brier``, ``base_rate``, and with a threshold ``accuracy``,
        ``precision``, ``recall``; regression: ``mae``, ``rmse``, ``r2``. None where not defined.
    intervals : band in which the realised value is expected to lie with a chance of ``coverage``.
    known_through : last day whose labels the estimator has learnt from.
    reason : why there is nothing to estimate; None when there is.
    widened_by : factor by which the bands are wider than computed; see ``grading.corrected``.
    """

    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    coverage: float
    rows: int
    first_day: date | None
    last_day: date | None
    known_through: date
    reason: str | None = None
    widened_by: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON-ready values."""
        days = {name: None if (day := getattr(self, name)) is None else day.isoformat() for name in _DAYS}
        return {**vars(self), "intervals": {name: list(ends) for name, ends in self.intervals.items()}, **days}


def estimate(
    estimator: Estimator,
    scores: np.ndarray,
    days: np.ndarray,
    threshold: float | None = None,
    coverage: float = COVERAGE,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> Estimate:
    """Expected performance of forecasts from their scores, with a band for what will be realised.

    Parameters
    ----------
    scores, days : (rows,) forecasts as issued, NaN where there is none, and datetime64[D].
    threshold : score from which a row is acted on; gives accuracy, precision and recall.
    coverage : share of such bands that should hold what is realised; for scores taken at their word, at least.
    labels : (rows,) labels that are known already, NaN for the others: those count as they are, and only the others
        are estimated. None: no label is known.

    Raises
    ------
    ValueError
        If lengths differ or ``coverage`` is not between 0 and 1.

    Notes
    -----
    With p the chance of the label at each score and labels independent given the scores, the expected numbers of
    true and false positives at every threshold are sums of p and 1 - p; log loss and Brier score are means over both
    outcomes. The expected AUC is that of all pairs i, j of rows, weighted by p_i (1 - p_j), which is the ratio of
    expected concordant to expected comparable pairs (no row is paired with itself). This is confidence-based
    performance estimation; compare Guillory et al. (2021), "Predicting with confidence on unseen distributions".

    The band comes from drawing labels: in each draw all log-odds are moved within what is not known of them, those of a
    day by what days differ, and labels fall by chance. Both are widened by (G - 1) over a chi-squared of G - 1 for the
    G days they were found from. In regression, days' ratios are resampled likewise.
    """
    import numpy as np

    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}; it must lie between 0 and 1")
    labels = np.full(len(scores), np.nan) if labels is None else np.asarray(labels, dtype=float)
    if len(labels) != len(scores):
        raise ValueError(f"labels has {len(labels)} rows, scores {len(scores)}; pass one per score, NaN where unknown")
    scores, places, days = known_rows(scores, np.arange(len(scores)), days)
    labels = labels[places.astype(int)]
    if not scores.size:
        reason = "There are no forecasts to estimate."
        return Estimate({}, {}, coverage, 0, None, None, estimator.last_day, reason)
    rng = np.random.default_rng(seed)
    if estimator.task == "regression":
        values, draws = _expected_errors(estimator, scores, days, labels, rng)
    else:
        chances = np.clip(scores, SMALLEST, 1 - SMALLEST)
        values = _expected(scores, np.where(np.isnan(labels), chances, labels), days, threshold)
        draws = _drawn(estimator, scores, days, labels, threshold, rng)
    intervals = {}
    for name, drawn in draws.items():
        finite = drawn[np.isfinite(drawn)]
        if finite.size and values[name] is not None:
            low, high = np.quantile(finite, [(1 - coverage) / 2, (1 + coverage) / 2])
            intervals[name] = (float(low), float(high))
    first, last = days.min().item(), days.max().item()
    return Estimate(values, intervals, coverage, scores.size, first, last, estimator.last_day)


def fall(
    estimated: Estimate, promise: Promise, task: Task, ranking_drop: float, own_error: float = 0.0
) -> tuple[bool, str] | None:
    """Whether ranking is estimated to have fallen below what the champion promises.

    Parameters
    ----------
    own_error : standard error of the ranking of as many days, all labels known. The band tells of the labels that are
        to come; that its days are few makes a week no surer when most of its labels are known.
    ranking_drop : fall of AUC or R² that is an error, ``MonitorRule.ranking_drop``.

    Returns
    -------
    certain, sentence
        Certain when the fall is beyond as many standard errors as a realised one must be (see ``realised.py``), the
        band being taken for that of a normal distribution. None when it has not fallen so far.
    """
    from scipy.special import ndtri

    name, title = ("auc", "AUC") if task == "classification" else ("r2", "R²")
    now, before = estimated.values.get(name), promise.ranking
    if now is None or before is None or before - now <= ranking_drop or name not in estimated.intervals:
        return None
    low, high = estimated.intervals[name]
    text = (
        f"{title} is estimated at {now:.3f} ({low:.3f} to {high:.3f}) before labels, {before:.3f} {promise}: "
        f"a fall by more than {ranking_drop:g}."
    )
    error = max((high - low) / (2 * float(ndtri((1 + estimated.coverage) / 2))), own_error)
    return before - now > STANDARD_ERRORS * (error**2 + promise.ranking_error**2) ** 0.5, text


def _expected(
    scores: np.ndarray, chances: np.ndarray, days: np.ndarray, threshold: float | None
) -> dict[str, float | None]:
    import numpy as np

    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    log_loss = -(chances * np.log(clipped) + (1 - chances) * np.log1p(-clipped))
    brier = chances * (1 - scores) ** 2 + (1 - chances) * scores**2
    values: dict[str, float | None] = {
        "auc": _expected_auc(scores, chances, np.zeros(scores.size)),
        "auc_within_days": _expected_auc(scores, chances, days),
        "log_loss": float(log_loss.mean()),
        "brier": float(brier.mean()),
        "base_rate": float(chances.mean()),
    }
    if threshold is None:
        return values
    acted = scores >= threshold
    hits = float(chances[acted].sum())
    return values | {
        "accuracy": float(np.where(acted, chances, 1 - chances).mean()),
        "precision": hits / int(acted.sum()) if acted.any() else None,
        "recall": hits / float(chances.sum()) if chances.any() else None,
    }


def _expected_auc(scores: np.ndarray, chances: np.ndarray, strata: np.ndarray) -> float | None:
    """Expected concordant over expected comparable pairs of different rows of a stratum, ties counting half."""
    import numpy as np

    concordant = pairs = 0.0
    for stratum in np.unique(strata):
        rows = strata == stratum
        chance = chances[rows]
        _, index = np.unique(scores[rows], return_inverse=True)
        positive, negative = np.bincount(index, weights=chance), np.bincount(index, weights=1 - chance)
        itself = float((chance * (1 - chance)).sum())
        concordant += float((positive * (np.cumsum(negative) - negative / 2)).sum()) - itself / 2
        pairs += float(positive.sum() * negative.sum()) - itself
    return concordant / pairs if pairs > 1e-12 else None


@dataclass(frozen=True)
class _Window:
    """What does not change from one set of labels to the next: the metrics follow from sums over the positives.

    Parameters
    ----------
    day, days : (rows,) place of each row's day, and how many there are.
    columns : (rows, 6 + days) what each positive adds: its ranks among all and in its day, one, what it adds to log
        loss and Brier score over a negative, whether it is acted on, and one in the column of its day.
    """

    day: np.ndarray
    days: int
    columns: np.ndarray
    negative_losses: tuple[float, float]
    acted: int | None

    @classmethod
    def of(cls, scores: np.ndarray, days: np.ndarray, threshold: float | None) -> _Window:
        import numpy as np
        from scipy.stats import rankdata

        _, day = np.unique(days, return_inverse=True)
        count, in_day = int(day.max()) + 1, np.empty(scores.size)
        for place in range(count):
            in_day[day == place] = rankdata(scores[day == place])
        zeros, ones = (row_losses(np.full(scores.size, label), scores, "classification") for label in (0.0, 1.0))
        acted = np.zeros(scores.size) if threshold is None else (scores >= threshold).astype(float)
        parts = [rankdata(scores), in_day, np.ones(scores.size), ones - zeros, 1 - 2 * scores, acted]
        columns = np.column_stack([*parts, np.eye(count)[day]])
        negative = (float(zeros.mean()), float((scores**2).mean()))
        return cls(day, count, columns, negative, None if threshold is None else int(acted.sum()))

    def metrics(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics of many sets of labels, (sets, rows) of 0 and 1; NaN where not defined."""
        return self.of_sums(labels @ self.columns)

    def of_sums(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The same from what the positives of each set add up to, (sets, columns)."""
        import numpy as np

        rows = len(self.columns)
        ranks, ranks_in_day, positives, log_loss, brier, hits = sums[:, :6].T
        in_day = sums[:, 6:]
        pairs_in_day = (in_day * (np.bincount(self.day) - in_day)).sum(axis=1)
        above_in_day = ranks_in_day - (in_day * (in_day + 1)).sum(axis=1) / 2
        metrics = {
            "auc": _ratio(ranks - positives * (positives + 1) / 2, positives * (rows - positives)),
            "auc_within_days": _ratio(above_in_day, pairs_in_day),
            "base_rate": positives / rows,
            "log_loss": self.negative_losses[0] + log_loss / rows,
            "brier": self.negative_losses[1] + brier / rows,
        }
        if self.acted is None:
            return metrics
        return metrics | {
            "accuracy": 1 - (positives + self.acted - 2 * hits) / rows,
            "precision": _ratio(hits, np.full(hits.size, self.acted)),
            "recall": _ratio(hits, positives),
        }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _drawn(
    estimator: Estimator,
    scores: np.ndarray,
    days: np.ndarray,
    labels: np.ndarray,
    threshold: float | None,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Metrics of ``DRAWS`` sets of labels that may come."""
    import numpy as np
    from scipy.special import expit

    window = _Window.of(scores, days, threshold)
    odds = logit(scores)
    # Labels that are known add the same to every set; only the others are drawn.
    unknown = np.isnan(labels)
    known_sums = np.where(unknown, 0.0, labels) @ window.columns
    odds, day, columns = odds[unknown], window.day[unknown], window.columns[unknown]
    slopes = odds - estimator.centre
    daily = np.array(estimator.daily)
    variance = daily[0, 0] + 2 * daily[0, 1] * slopes + daily[1, 1] * slopes**2
    steeper = odds * np.sqrt(1 + FLATTENING * np.maximum(variance, 0))
    of_all, of_day = _root(np.array(estimator.shared)), _root(daily)
    drawn = []
    at_once = max(1, min(DRAWS, CELLS // max(odds.size, 1)))
    for first in range(0, DRAWS, at_once):
        sets = min(at_once, DRAWS - first)
        widening = np.sqrt((estimator.days - 1) / rng.chisquare(estimator.days - 1, size=(sets, 1, 1)))
        apart = rng.normal(size=(sets, window.days, 2)) @ of_day.T
        line = widening * (apart + rng.normal(size=(sets, 1, 2)) @ of_all.T)
        odds_drawn = steeper + line[:, day, 0] + line[:, day, 1] * slopes
        may_come = (rng.random(odds_drawn.shape) < expit(odds_drawn)).astype(float)
        drawn.append(window.of_sums(known_sums + may_come @ columns))
    return {name: np.concatenate([metrics[name] for metrics in drawn]) for name in drawn[0]}


def _expected_errors(
    estimator: Estimator, scores: np.ndarray, days: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    import numpy as np

    _, day = np.unique(days, return_inverse=True)
    rows, spread = scores.size, float(scores.var())
    unknown = np.isnan(labels)
    residual = np.where(unknown, 0, abs(scores - labels))
    known = (float(residual.sum()) / rows, float((residual**2).sum()) / rows)
    by_score = (np.interp(scores, estimator.places, means) for means in (estimator.absolute, estimator.squared))
    sizes = [np.where(unknown, size, 0) for size in by_score]
    absolute, squared = (np.bincount(day, weights=size) / rows for size in sizes)
    ratios = np.array(estimator.ratios)
    groups = len(ratios)
    again = rng.integers(groups, size=(DRAWS, groups))
    ahead = rng.integers(groups, size=(DRAWS, absolute.size))
    widening = np.sqrt((groups - 1) / rng.chisquare(groups - 1, size=DRAWS) * groups / (groups - 1))[:, None]
    drawn = []
    for column, expected in enumerate((absolute, squared)):
        apart = ratios[:, column] - ratios[:, column].mean()
        # The window's days might have been others, and so will those ahead be.
        moved = 1 + widening * (apart[ahead] + apart[again].mean(axis=1, keepdims=True))
        drawn.append(known[column] + np.maximum(moved, 0) @ expected)
    mse = known[1] + float(squared.sum())
    # Forecasts and residuals go together a little, by chance, which moves the spread of the labels.
    products = (scores - scores.mean()) ** 2 * np.where(unknown, sizes[1], residual**2)
    together = 2 * float(products.sum()) ** 0.5 / rows * rng.normal(size=DRAWS)
    variance = np.maximum(drawn[1] + spread + together, np.finfo(float).tiny)
    values: dict[str, float | None] = {
        "mae": known[0] + float(absolute.sum()),
        "rmse": mse**0.5,
        # Of a calibrated forecast, labels vary by its own spread and its error.
        "r2": spread / (mse + spread) if mse + spread > 0 else None,
    }
    return values, {"mae": drawn[0], "rmse": np.sqrt(drawn[1]), "r2": 1 - drawn[1] / variance}


def _root(covariance: np.ndarray) -> np.ndarray:
    import numpy as np

    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))
