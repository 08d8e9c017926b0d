"""Realised performance: forecasts held against what happened.

What belongs here: metrics of a window with their sampling error, what acting on them was worth, and the verdict on
them. Not estimating
performance before labels arrive, and not choosing between versions, which is the gate's work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.losses import row_losses
from lifecycle.performance.promise import Promise, promised_by
from lifecycle.ranking import STANDARD_ERRORS, clustered_standard_error, ranking
from lifecycle.value import value

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.drift.reference import Reference
    from lifecycle.pipeline import CostMatrix, MonitorRule, Task


@dataclass(frozen=True)
class PerformanceReport:
    """How good the forecasts of a trailing window turned out to be.

    Parameters
    ----------
    metrics : see ``realised``; None where a metric is not defined on the window.
    slices : one row per slice column and value: rows, means of label and score; mean loss, ranking metric and
        calibration gap with the ends of their central 95 % intervals (``_low``, ``_high``), clustered by day.
    rows : forecasts with a label in the window.
    labels_without_forecast, forecasts_without_label : rows of the window that could not be judged.
    errors, warnings : the verdict; a limit exceeded by less than ``STANDARD_ERRORS``, or in a window of fewer days than
        ``MonitorRule.least_days``, is a warning.
    reason : why there is no verdict; None when there is one.
    intervals : central 95 % interval of each metric whose sampling is known, clustered by day; a metric that is not
        defined, or that one day alone gives, has none.
    """

    task: Task
    metrics: dict[str, float | None]
    slices: pl.DataFrame
    first_day: date | None
    last_day: date | None
    rows: int
    labels_without_forecast: int
    forecasts_without_label: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    reason: str | None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        values = {name: value for name, value in vars(self).items() if name not in ("slices", "first_day", "last_day")}
        window = {"first_day": _iso(self.first_day), "last_day": _iso(self.last_day)}
        lists: dict[str, Any] = {"errors": list(self.errors), "warnings": list(self.warnings)}
        lists["slices"] = self.slices.to_dicts()
        lists["intervals"] = {name: list(ends) for name, ends in self.intervals.items()}
        return {**values, **window, **lists}


@dataclass(frozen=True)
class _Window:
    """Forecasts with labels as arrays."""

    labels: np.ndarray
    scores: np.ndarray
    days: np.ndarray
    task: Task

    @property
    def one_class(self) -> bool:
        return self.task == "classification" and bool((self.labels == self.labels[0]).all())


def realised(
    forecasts: pl.DataFrame,
    rule: MonitorRule,
    reference: Reference | None,
    task: Task,
    threshold: float | None = None,
    costs: CostMatrix | None = None,
    slices: Sequence[str] = (),
    promise: Promise | None = None,
) -> PerformanceReport:
    """Judge the forecasts of the last ``rule.performance_days`` days of ``forecasts``.

    Parameters
    ----------
    forecasts : (rows,) with ``score``, ``label`` (null or NaN where there is none), ``day`` and the slices.
    reference : whose mean label forecasts must beat; without it they are held against the promise alone.
    threshold : score from which a row is acted on; with ``costs`` it gives precision, recall and value.
    slices : columns by which results are also reported.
    promise : what the champion promises, told from days before the window; by default what ``reference`` says, whose
        sampling error is then taken to be none.

    Returns
    -------
    PerformanceReport
        Classification: ``auc``, ``log_loss``, ``brier``, ``brier_skill`` (1 - Brier / Brier of the window's
        own base rate), ``log_loss_skill`` (the same against the reference's base rate), ``base_rate``,
        ``mean_score``, ``calibration_gap`` (mean score - mean label); ``precision``, ``recall``,
        ``acted_share``; ``value`` and ``value_per_1000`` rows beside those of acting on none and on all;
        ``return_on_investment``: value gained over acting on none, per unit that the actions cost, an action costing
        ``true_negative - false_positive``.
        Regression: ``mae``, ``rmse``, ``r2``, ``bias`` (mean score - mean label), ``rmse_skill``.
        Either: ``auc_promised`` or ``r2_promised``, and ``…_fall_standard_error`` of what the window falls short of it.
        ``…_standard_error`` are clustered by day, as the rows of a day err together.

    Raises
    ------
    ValueError
        If ``forecasts`` lacks a column.
    """
    import polars as pl

    absent = [name for name in ("score", "label", "day", *slices) if name not in forecasts.columns]
    if absent:
        raise ValueError(f"forecasts lack the columns {absent}; they have {forecasts.columns}")
    recent = _trailing(forecasts, rule.performance_days)
    scored, labelled = pl.col("score").is_not_null(), pl.col("label").is_not_null()
    known = recent.filter(scored & labelled)
    window = _Window(known["label"].to_numpy(), known["score"].to_numpy(), known["day"].to_numpy(), task)
    metrics = _metrics(window, reference, threshold, costs) if known.height else {}
    reason = _reason(recent, window)
    promise = promise or promised_by(reference, task)
    if known.height:
        metrics |= _promised(window, metrics, promise)
    errors, warnings = ([], []) if reason else _verdict(window, metrics, rule, reference, promise)
    forecast = recent.filter(scored)["day"]
    first_day, last_day = forecast.min(), forecast.max()
    if errors and (last_day - first_day).days + 1 < rule.least_days:  # type: ignore[operator,union-attr]
        errors, warnings = [], errors + warnings
    return PerformanceReport(
        task=task,
        metrics=metrics,
        slices=_slice_table(known, slices, task),
        first_day=first_day,  # type: ignore[arg-type]
        last_day=last_day,  # type: ignore[arg-type]
        rows=known.height,
        labels_without_forecast=recent.filter(~scored & labelled).height,
        forecasts_without_label=recent.filter(scored & ~labelled).height,
        errors=tuple(errors),
        warnings=tuple(warnings),
        reason=reason,
        intervals=_intervals(window, metrics, threshold) if known.height else {},
    )


def profit_curve(scores: np.ndarray, labels: np.ndarray, costs: CostMatrix, points: int = 50) -> pl.DataFrame:
    """What acting from each of many thresholds on would have been worth.

    Parameters
    ----------
    scores, labels : (rows,) probabilities, and what happened, 0 or 1; rows without either are left out.
    points : shares of the rows that are acted on, evenly spaced from none to all; equal scores are acted on together.

    Returns
    -------
    frame
        ``threshold`` from above the highest score downwards, ``acted_share``, ``precision``, ``recall``, ``value``,
        ``value_per_1000`` and ``return_on_investment``, null where not defined. No rows without rows.

    Raises
    ------
    ValueError
        If lengths differ or ``points`` is below two.
    """
    import numpy as np
    import polars as pl

    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    if scores.shape != labels.shape or points < 2:
        raise ValueError(f"scores have shape {scores.shape}, labels {labels.shape}, points is {points}; at least two")
    known = np.isfinite(scores) & np.isfinite(labels)
    scores, labels = scores[known], labels[known]
    names = ("acted_share", "precision", "recall", "value", "value_per_1000", "return_on_investment")
    schema = {"threshold": pl.Float64(), **dict.fromkeys(names, pl.Float64())}
    if not scores.size:
        return pl.DataFrame(schema=schema)
    levels = np.quantile(scores, np.linspace(1, 0, points - 1), method="lower")
    thresholds = [np.nextafter(scores.max(), np.inf), *np.unique(levels)[::-1]]
    window = _Window(labels, scores, np.empty(0), "classification")
    rows = []
    for threshold in thresholds:
        metrics = _decisions(window, float(threshold), costs)
        rows.append([float(threshold), *(metrics[name] for name in names)])
    return pl.DataFrame(rows, schema=schema, orient="row")


def _trailing(forecasts: pl.DataFrame, days: int) -> pl.DataFrame:
    """The last ``days`` days, what is not finite turned into null."""
    import polars as pl

    values = [pl.col(name).cast(pl.Float64) for name in ("score", "label")]
    dated = forecasts.filter(pl.col("day").is_not_null())
    recent = dated.with_columns(pl.when(value.is_finite()).then(value) for value in values)
    if recent.is_empty():
        return recent
    return recent.filter(pl.col("day") > pl.col("day").max() - timedelta(days=days))


def _reason(recent: pl.DataFrame, window: _Window) -> str | None:
    if recent.is_empty():
        return "The window holds no forecasts."
    if not window.labels.size:
        return f"None of the window's {recent.height:,} rows has both a forecast and a label yet."
    if window.one_class:
        return f"All {window.labels.size:,} labels of the window are {window.labels[0]:g}: nothing can be ranked."
    return None


def _metrics(
    window: _Window, reference: Reference | None, threshold: float | None, costs: CostMatrix | None
) -> dict[str, float | None]:
    labels, scores, days, task = window.labels, window.scores, window.days, window.task
    gap = scores - labels
    gap_error = clustered_standard_error((gap - gap.mean()) / gap.size, days)
    value, value_error = ranking(labels, scores, days, task)
    loss, past = float(row_losses(labels, scores, task).mean()), _past_loss(window, reference)
    if task == "regression":
        return {
            "mae": float(abs(gap).mean()),
            "rmse": loss**0.5,
            "rmse_skill": 1 - (loss / past) ** 0.5 if past else None,
            "r2": value,
            "r2_standard_error": value_error,
            "bias": float(gap.mean()),
            "bias_standard_error": gap_error,
        }
    brier, base_rate = float((gap**2).mean()), float(labels.mean())
    return {
        "auc": value,
        "auc_standard_error": value_error,
        "log_loss": loss,
        "log_loss_skill": 1 - loss / past if past else None,
        "brier": brier,
        "brier_skill": None if window.one_class else 1 - brier / (base_rate * (1 - base_rate)),
        "base_rate": base_rate,
        "mean_score": float(scores.mean()),
        "calibration_gap": float(gap.mean()),
        "calibration_gap_standard_error": gap_error,
        **_decisions(window, threshold, costs),
    }


def _promised(window: _Window, metrics: dict[str, float | None], promise: Promise) -> dict[str, float | None]:
    name = "auc" if window.task == "classification" else "r2"
    error = _error(window, metrics[f"{name}_standard_error"], promise.ranking_error, promise)
    return {f"{name}_promised": promise.ranking, f"{name}_fall_standard_error": error}


def _decisions(window: _Window, threshold: float | None, costs: CostMatrix | None) -> dict[str, float | None]:
    """What acting from the threshold on was worth, beside acting on none and on all."""
    import numpy as np

    if threshold is None:
        return {}
    rows = window.labels.size
    acted, positive = window.scores >= threshold, window.labels > 0.5
    hits, alarms, positives = int((acted & positive).sum()), int(acted.sum()), int(positive.sum())
    metrics: dict[str, float | None] = {
        "precision": hits / alarms if alarms else None,
        "recall": hits / positives if positives else None,
        "acted_share": alarms / rows,
    }
    if costs is None:
        return metrics
    made, none, everything = (
        value(window.scores, window.labels, acted_from, costs) for acted_from in (threshold, np.inf, -np.inf)
    )
    per_1000 = {"value": made, "value_acting_on_none": none, "value_acting_on_all": everything}
    # An action costs what it costs where it brings nothing.
    spent = alarms * (costs.true_negative - costs.false_positive)
    metrics |= {"value": made, "return_on_investment": (made - none) / spent if spent > 0 else None}
    return metrics | {f"{name}_per_1000": 1000 * total / rows for name, total in per_1000.items()}


def _intervals(
    window: _Window, metrics: dict[str, float | None], threshold: float | None
) -> dict[str, tuple[float, float]]:
    """Intervals of the metrics here, by resampling days as the evaluation of a training does."""
    import numpy as np

    from lifecycle.evaluation import evaluate

    days = window.days.astype("datetime64[D]")
    found = evaluate(window.labels, window.scores, days, window.task, threshold).intervals
    found["bias"] = found["calibration_gap"]
    found.pop("log_loss_skill", None)  # there it is held against the rows' own base rate, here against the reference's
    return {
        name: ends
        for name, ends in found.items()
        if metrics.get(name) is not None and np.isfinite(ends).all() and not (window.one_class and name == "auc")
    }


def _past_losses(window: _Window, reference: Reference) -> np.ndarray:
    """Losses of always forecasting the reference's mean label, the least that a model must beat."""
    import numpy as np

    return row_losses(window.labels, np.asarray(reference.label_mean), window.task)


def _past_loss(window: _Window, reference: Reference | None) -> float | None:
    if reference is None or reference.label_mean is None:
        return None
    return float(_past_losses(window, reference).mean())


def _verdict(
    window: _Window,
    metrics: dict[str, float | None],
    rule: MonitorRule,
    reference: Reference | None,
    promise: Promise,
) -> tuple[list[str], list[str]]:
    findings = [_calibration(window, metrics, rule, promise), _ranking_fall(metrics, rule, window.task, promise)]
    if reference is not None:
        findings.append(_worse_than_past(window, reference))
    found = [finding for finding in findings if finding is not None]
    return [text for certain, text in found if certain], [text for certain, text in found if not certain]


def _calibration(
    window: _Window, metrics: dict[str, float | None], rule: MonitorRule, promise: Promise
) -> tuple[bool, str] | None:
    """A gap beyond the limit; an error where it is also that far from what is known of the champion.

    What the gate knew of and let pass is no news, and calling it every night would be noise. It excuses no more than
    the limit itself, though: a champion that serves because the one before was worse still has to be replaced.
    """
    name = "calibration_gap" if window.task == "classification" else "bias"
    gap, limit = metrics[name], rule.calibration_gap
    if gap is None or abs(gap) <= limit:
        return None
    text = f"Forecasts are {'above' if gap > 0 else 'below'} what happened by {abs(gap):.3g} on average"
    text += f", more than {limit:g}; {promise.gap:+.3g} {promise}"
    beyond = abs(gap - min(max(promise.gap, -limit), limit))
    if beyond <= limit:
        return False, f"{text}, so it is not much worse than it was let pass with."
    return _finding(text, beyond, _error(window, metrics[f"{name}_standard_error"], promise.gap_error, promise))


def _ranking_fall(
    metrics: dict[str, float | None], rule: MonitorRule, task: Task, promise: Promise
) -> tuple[bool, str] | None:
    name, title = ("auc", "AUC") if task == "classification" else ("r2", "R²")
    now, past = metrics[name], promise.ranking
    if now is None or past is None or past - now <= rule.ranking_drop:
        return None
    text = f"{title} fell from {past:.3f} {promise} to {now:.3f}, by more than {rule.ranking_drop:g}"
    return _finding(text, past - now, metrics[f"{name}_fall_standard_error"])


def _worse_than_past(window: _Window, reference: Reference) -> tuple[bool, str] | None:
    if reference.label_mean is None:
        return None
    excess = row_losses(window.labels, window.scores, window.task) - _past_losses(window, reference)
    mean = float(excess.mean())
    if mean <= 0:
        return None
    what = "Log loss" if window.task == "classification" else "Mean squared error"
    error = clustered_standard_error((excess - mean) / excess.size, window.days)
    text = f"{what} is {mean:.3g} worse than always forecasting the reference's mean, {reference.label_mean:.3g}"
    return _finding(text, mean, error)


def _error(window: _Window, own: float | None, promised: float, promise: Promise) -> float | None:
    """Standard error of what the window has minus what was promised."""
    import numpy as np

    if own is None:
        return None
    return float(np.hypot(promise.at_least(own, promised, np.unique(window.days).size), promised))


def _finding(text: str, size: float, error: float | None) -> tuple[bool, str]:
    """Whether ``size`` is beyond sampling error, and the sentence that says so."""
    if error is None:
        return False, f"{text}; one day alone cannot tell by how much it varies."
    if size > STANDARD_ERRORS * error:
        return True, f"{text} (standard error {error:.2g})."
    return False, f"{text}, but within sampling error (standard error {error:.2g})."


def _slice_table(judged: pl.DataFrame, slices: Sequence[str], task: Task) -> pl.DataFrame:
    import polars as pl

    measured = ("loss", "auc" if task == "classification" else "r2", "calibration_gap")
    ends = [f"{name}{end}" for name in measured for end in ("", "_low", "_high")]
    schema = {"slice": pl.String(), "value": pl.String(), "rows": pl.Int64()} | {
        column: pl.Float64() for column in ("mean_label", "mean_score", *ends)
    }
    rows = [
        [column, "missing" if key[0] is None else str(key[0]), *_slice_row(part, measured, task)]
        for column in slices
        for key, part in sorted(judged.partition_by(column, as_dict=True).items(), key=lambda item: str(item[0][0]))
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _slice_row(part: pl.DataFrame, measured: Sequence[str], task: Task) -> list[float | None]:
    from lifecycle.evaluation import evaluate

    labels, scores, days = (part[name].to_numpy() for name in ("label", "score", "day"))
    found = evaluate(labels, scores, days, task)
    values = [value for name in measured for value in (found.metrics[name], *found.intervals[name])]
    known = [value if math.isfinite(value) else None for value in values]
    return [part.height, float(labels.mean()), float(scores.mean()), *known]


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None
