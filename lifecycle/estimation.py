"""Performance estimated before the labels arrive.

What belongs here: expected metrics of forecasts from their scores alone, with a band for what will be realised. The
verdict on the estimator itself is in ``grading.py``, realised performance in ``performance.py``.

What it assumes: that what was learnt from the last labelled days, namely how often the label follows a score (or how
far the label lies from it), still holds. Inputs may move, and scores with them: that is seen, and is what estimates
are for. It cannot see concept drift, a change of the label given the inputs, until labels have come: hence the grade.
Where some labels are known, the others are taken to be like them, given the scores; labels that come late because of
what they say (a flight that has not landed) are not, and the grade shows that too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from lifecycle.gate import MINIMUM_DAYS
from lifecycle.losses import row_losses
from lifecycle.performance import STANDARD_ERRORS

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.pipeline import Task

Method = Literal["none", "sigmoid", "isotonic"]

DRAWS = 500  # the ends of a 90 % band are then known to about a tenth of its half width
CELLS = 1_000_000  # labels drawn at once, which bounds the memory
COVERAGE = 0.9
ERROR_BINS = 10
SMALLEST = 1e-6
# Averaging a logistic curve over normal shifts of variance v flattens it by sqrt(1 + 0.346 v); Zeger, Liang & Albert
# (1988), "Models for longitudinal data: a generalized estimating equation approach".
FLATTENING = (16 * 3**0.5 / (15 * 3.141592653589793)) ** 2


@dataclass(frozen=True)
class Estimator:
    """What is known about labels given scores, from a window of labelled days.

    Parameters
    ----------
    first_day, last_day, days, rows : the window.
    knots : the curve. "none" and "sigmoid": slope and intercept in log-odds; "isotonic": scores and the probability of
        the label at each, straight between. In regression, mean scores of bins.
    absolute, squared : regression: mean |residual| and mean squared residual at each, between them straight.
    ratios : regression: for each day, its mean |residual| and squared residual over what these say.
    centre : classification: log-odds around which slopes turn.
    shared : covariance of intercept and slope that all days to come share, as (2, 2): the window's own uncertainty,
        with what it shows the curve to be off by.
    daily : covariance of intercept and slope from day to day.
    """

    task: Task
    method: Method
    first_day: date
    last_day: date
    days: int
    rows: int
    knots: tuple[tuple[float, float], ...] = ()
    absolute: tuple[float, ...] = ()
    squared: tuple[float, ...] = ()
    ratios: tuple[tuple[float, float], ...] = ()
    centre: float = 0.0
    shared: tuple[tuple[float, float], ...] = ()
    daily: tuple[tuple[float, float], ...] = ()

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """(rows,) chance of the label at each score, in classification."""
        import numpy as np
        from scipy.special import expit

        scores = np.asarray(scores, dtype=float)
        places, values = np.array(self.knots).T
        if self.method == "isotonic":
            return np.interp(scores, places, values)
        return np.clip(expit(values[0] + places[0] * _logit(scores)), SMALLEST, 1 - SMALLEST)

    def to_json(self) -> str:
        """The estimator as JSON; ``from_json`` gives an equal one back."""
        return json.dumps(asdict(self), default=date.isoformat, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Estimator:
        """The estimator that ``to_json`` wrote.

        Raises
        ------
        ValueError
            If the text is not the JSON of an estimator.
        """
        try:
            raw = {name: _tuples(value) for name, value in json.loads(text).items()}
            return cls(
                **{
                    **raw,
                    "first_day": date.fromisoformat(raw["first_day"]),
                    "last_day": date.fromisoformat(raw["last_day"]),
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the JSON of an estimator ({error!r}); fit it on labelled days again")


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


_DAYS = ("first_day", "last_day", "known_through")


def fit(scores: np.ndarray, labels: np.ndarray, days: np.ndarray, task: Task, method: Method = "none") -> Estimator:
    """Learn labels given scores from a window of labelled days that the model has not learnt from.

    Parameters
    ----------
    scores, labels : (rows,) forecasts as issued and what happened; rows without either are left out.
    days : (rows,) datetime64[D].
    method : classification: "none" takes scores at their word, as those of a model that is calibrated already, and
        puts into the band what the window shows them to be off by; "sigmoid" and "isotonic" recalibrate them on the
        window. That pays when it is long: where days differ by a standard deviation of t in log-odds, the level of a
        window of G days is known to t / sqrt(G) only, and the correction is lost when levels do not last.

    Raises
    ------
    ValueError
        If lengths differ, fewer than five days are labelled, or all labels of a classification are the same.

    Notes
    -----
    Days differ in how far their labels lie from the curve. Log-odds of a day are taken to be those of the curve plus
    a line with a normal intercept and slope of the day's own. Their covariance is found by moments: with g the day's
    score vector and H its information, E[g g'] = H + H S H, solved for S over all days. The uncertainty of the curve
    is the sandwich estimate clustered by day; Liang & Zeger (1986). For scores at their word, the square of what the
    window shows them to be off by is added, as far as it is beyond that.

    In regression, the size of residuals is averaged over ten bins of equal numbers of scores, with lines between,
    and days differ by their ratio to that.
    """
    import numpy as np

    scores, labels, days = _known(scores, labels, days)
    present = np.unique(days)
    if present.size < MINIMUM_DAYS:
        raise ValueError(
            f"the window holds {labels.size} labelled forecasts of {present.size} days; an estimator needs "
            f"{MINIMUM_DAYS} days to know how they differ: pass a longer window"
        )
    window = (present[0].item(), present[-1].item(), int(present.size), int(labels.size))
    if task == "regression":
        return Estimator(task, "none", *window, **_residuals(scores, labels, days))
    if (labels == labels[0]).all():
        raise ValueError(
            f"all {labels.size} labels of the window are {labels[0]:g}: nothing can be learnt; pass a longer window"
        )
    knots = _curve(scores, labels, method)
    plain = Estimator(task, method, *window, knots=knots)
    centre, shared, daily = _differences(plain.probabilities(scores), labels, days)
    return Estimator(task, method, *window, knots=knots, centre=centre, shared=_pairs(shared), daily=_pairs(daily))


def recalibrate(history: pl.DataFrame, as_of: date, days: int, fallback: Estimator) -> Estimator:
    """An estimator fitted on the last labelled days, as far as they were known at the close of a day.

    Parameters
    ----------
    history : (rows,) with ``score``, ``label``, ``day``, and ``known_day``: the day at whose close the label was known.
        Rows known later than ``as_of`` are not looked at.
    days : length of the window of event days that ends at ``as_of``.
    fallback : gives task and method; it is returned where the window is too short or of one class.

    Raises
    ------
    ValueError
        If a column is missing or ``days`` is below one.
    """
    import polars as pl

    _check_columns(history, ("score", "label", "day", "known_day"))
    if days < 1:
        raise ValueError(f"days is {days}; the window needs at least one")
    day = pl.col("day")
    known = history.filter(pl.col("known_day") <= as_of, day <= as_of, day > as_of - timedelta(days=days))
    arrays = _arrays(known)
    try:
        return fit(*arrays, fallback.task, fallback.method)
    except ValueError:
        return fallback  # too few days or one class; what was known before is the best there is


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

    The band comes from drawing labels: in each draw the curve is moved within its own uncertainty, each day by what
    days differ, and labels fall by chance. Both are widened by (G - 1) over a chi-squared of G - 1 for the G days
    they were found from. In regression, days' ratios are resampled likewise.
    """
    import numpy as np

    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}; it must lie between 0 and 1")
    labels = np.full(len(scores), np.nan) if labels is None else np.asarray(labels, dtype=float)
    if len(labels) != len(scores):
        raise ValueError(f"labels has {len(labels)} rows, scores {len(scores)}; pass one per score, NaN where unknown")
    scores, places, days = _known(scores, np.arange(len(scores)), days)
    labels = labels[places.astype(int)]
    if not scores.size:
        reason = "There are no forecasts to estimate."
        return Estimate({}, {}, coverage, 0, None, None, estimator.last_day, reason)
    rng = np.random.default_rng(seed)
    if estimator.task == "regression":
        values, draws = _expected_errors(estimator, scores, days, labels, rng)
    else:
        values = _expected(scores, np.where(np.isnan(labels), estimator.probabilities(scores), labels), days, threshold)
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
    estimated: Estimate, past: Mapping[str, float], task: Task, ranking_drop: float, past_error: float = 0.0
) -> tuple[bool, str] | None:
    """Whether ranking is estimated to have fallen below what the champion was promoted with.

    Parameters
    ----------
    past : metrics of the champion's reference. ``past_error``: standard error of its ranking.
    ranking_drop : fall of AUC or R² that is an error, ``MonitorRule.ranking_drop``.

    Returns
    -------
    certain, sentence
        Certain when the fall is beyond as many standard errors as a realised one must be (see ``performance.py``), the
        band being taken for that of a normal distribution. None when it has not fallen so far.
    """
    from scipy.special import ndtri

    name, title = ("auc", "AUC") if task == "classification" else ("r2", "R²")
    now, before = estimated.values.get(name), past.get(name)
    if now is None or before is None or before - now <= ranking_drop or name not in estimated.intervals:
        return None
    low, high = estimated.intervals[name]
    text = (
        f"{title} is estimated at {now:.3f} ({low:.3f} to {high:.3f}) before labels, {before:.3f} when the champion "
        f"was judged: a fall by more than {ranking_drop:g}."
    )
    error = (high - low) / (2 * float(ndtri((1 + estimated.coverage) / 2)))
    return before - now > STANDARD_ERRORS * (error**2 + past_error**2) ** 0.5, text


def _curve(scores: np.ndarray, labels: np.ndarray, method: Method) -> tuple[tuple[float, float], ...]:
    """Slope and intercept of the log-odds, or the steps of the isotonic fit."""
    import numpy as np

    if method == "none":
        return ((1.0, 0.0),)
    if method == "sigmoid":
        from lifecycle.calibration import fit_sigmoid

        return (fit_sigmoid(scores, labels),)
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        # Laplace's rule of succession: no score makes an outcome impossible.
        least = 1 / (labels.size + 2)
        steps = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(scores, labels)
        return _pairs(np.column_stack([steps.X_thresholds_, steps.y_thresholds_]))
    raise ValueError(f"method is {method!r}; it must be 'none', 'sigmoid' or 'isotonic'")


def _differences(chances: np.ndarray, labels: np.ndarray, days: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Centre of the log-odds, and covariances of intercept and slope: of all days together, and from day to day."""
    import numpy as np

    odds = _logit(chances)
    centre = float(odds.mean())
    slopes = odds - centre
    _, index = np.unique(days, return_inverse=True)
    weights, rest = chances * (1 - chances), labels - chances

    def by_day(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values)

    vectors = np.column_stack([by_day(rest), by_day(rest * slopes)])
    cross = by_day(weights * slopes)
    information = np.array([[by_day(weights), cross], [cross, by_day(weights * slopes**2)]]).transpose(2, 0, 1)
    groups = len(vectors)
    outer = vectors[:, :, None] * vectors[:, None, :]
    system = np.einsum("dij,dkl->ikjl", information, information).reshape(4, 4)
    solved, *_ = np.linalg.lstsq(system, (outer - information).sum(axis=0).reshape(4), rcond=1e-9)
    bread = np.linalg.pinv(information.sum(axis=0), rcond=1e-9)
    off = bread @ vectors.sum(axis=0)
    # Known no better than labels that fall independently would let it be.
    meat = _no_less(outer.sum(axis=0) * groups / (groups - 1), information.sum(axis=0))
    # What the curve is off by counts as far as it exceeds what the window cannot know.
    return centre, _no_less(np.outer(off, off), bread @ meat @ bread), _semidefinite(solved.reshape(2, 2))


def _no_less(matrix: np.ndarray, least: np.ndarray) -> np.ndarray:
    return least + _semidefinite(matrix - least)


def _semidefinite(matrix: np.ndarray) -> np.ndarray:
    """The nearest matrix that is a covariance."""
    import numpy as np

    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T


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
    odds = _logit(estimator.probabilities(scores))
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


def _residuals(scores: np.ndarray, labels: np.ndarray, days: np.ndarray) -> dict[str, Any]:
    """Size of the residuals at the mean scores of bins, and how days differ from it."""
    import numpy as np

    edges = np.unique(np.quantile(scores, np.arange(1, ERROR_BINS) / ERROR_BINS, method="higher"))
    _, index = np.unique(np.searchsorted(edges, scores, side="right"), return_inverse=True)
    counts = np.bincount(index)
    places = np.bincount(index, weights=scores) / counts
    _, day = np.unique(days, return_inverse=True)
    means, ratios = [], []
    for size in (abs(labels - scores), (labels - scores) ** 2):
        mean = np.bincount(index, weights=size) / counts
        # Between the bins' mean scores a line; in all, what the window's residuals were.
        line = np.interp(scores, places, mean)
        scale = size.sum() / line.sum() if line.any() else 1.0
        expected = np.bincount(day, weights=line * scale)
        ratios.append(np.where(expected > 0, np.bincount(day, weights=size) / np.where(expected > 0, expected, 1), 1))
        means.append(tuple((mean * scale).tolist()))
    knots = tuple((place, 0.0) for place in places.tolist())
    return {"knots": knots, "absolute": means[0], "squared": means[1], "ratios": _pairs(np.column_stack(ratios))}


def _expected_errors(
    estimator: Estimator, scores: np.ndarray, days: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    import numpy as np

    places = np.array([place for place, _ in estimator.knots])
    _, day = np.unique(days, return_inverse=True)
    rows, spread = scores.size, float(scores.var())
    unknown = np.isnan(labels)
    residual = np.where(unknown, 0, abs(scores - labels))
    known = (float(residual.sum()) / rows, float((residual**2).sum()) / rows)
    sizes = [
        np.where(unknown, np.interp(scores, places, means), 0) for means in (estimator.absolute, estimator.squared)
    ]
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


def _arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels = (frame[name].cast(float).to_numpy() for name in ("score", "label"))
    return scores, labels, frame["day"].to_numpy()


def _known(scores: np.ndarray, labels: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that have all three."""
    import numpy as np

    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    days = np.asarray(days, dtype="datetime64[D]")
    if scores.shape != labels.shape or days.shape != labels.shape:
        raise ValueError(
            f"scores have shape {scores.shape}, labels {labels.shape}, days {days.shape}; pass one of each per row"
        )
    known = np.isfinite(scores) & np.isfinite(labels) & ~np.isnat(days)
    return scores[known], labels[known], days[known]


def _check_columns(frame: pl.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ValueError(f"forecasts lack the columns {absent}; they have {frame.columns}")


def _logit(chances: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.special import logit

    return logit(np.clip(chances, SMALLEST, 1 - SMALLEST))


def _root(covariance: np.ndarray) -> np.ndarray:
    import numpy as np

    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))


def _pairs(matrix: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(first), float(second)) for first, second in matrix)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
