"""Data monitoring of a day: every column of a trailing window against the champion's reference.

What belongs here: which rows a night looks at, and putting what is measured and called together into a report. Columns
are measured in ``measured.py`` and called in ``verdicts.py``; performance, which needs labels, is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.drift import harm
from lifecycle.drift.column_harm import with_harm
from lifecycle.drift.column_reports import column_report
from lifecycle.drift.day_report import ColumnReport, DayReport, PredictionSummary
from lifecycle.drift.measured import Column, measure
from lifecycle.drift.monitored_rows import Days, Judged, alike, dated, days_of, judged_rows
from lifecycle.drift.monitoring_text import errors_of, warnings_of
from lifecycle.drift.profiles import numbers
from lifecycle.drift.reference import Reference
from lifecycle.drift.seasonal import SeasonalReference, seasonal_reference
from lifecycle.drift.verdicts import costly_jumps, judge

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.pipeline import MonitorRule, Pipeline, Task


@dataclass(frozen=True)
class Champion:
    """The version that is monitored, as far as data monitoring knows it.

    Parameters
    ----------
    reference : what it saw and said when it was judged.
    judged : (rows,) its forecasts on days it has not learnt from, with ``day``, ``score``, ``label`` and the features;
        without them harm is not known, and only drift of the predictions is an error.
    importances : growth of its loss when a feature is shuffled.
    threshold : score from which a row is acted on.
    score : of rows like those judged, (rows,) its forecasts. Without it jumps are not looked for, and values that tell
        nothing are taken to cost what shuffling the column costs.
    """

    reference: Reference
    judged: pl.DataFrame | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    score: Callable[[pl.DataFrame], np.ndarray] | None = None


def monitor_night(
    pipeline: Pipeline, champion: Champion, issued: pl.DataFrame, last: date, own: pl.Expr
) -> DayReport | None:
    """Hold the last days' forecasts of a champion against its reference.

    What an earlier version forecast says nothing of how this one's forecasts move; and the first few days of a version
    are a few days' weather, not a distribution.

    Parameters
    ----------
    issued : (rows,) forecasts of ``MonitorRule.drift_lookback_days`` with ``day``, ``score``, the features and slices
        and, as far as known, ``label``. Earlier ones are not looked at, whoever asks.
    last : the day that is asked about.
    own : which rows the champion has forecast.

    Returns
    -------
    DayReport or None
        None while it has forecast fewer than ``MonitorRule.least_days`` days.
    """
    import polars as pl

    rule = pipeline.monitor
    issued = issued.filter(pl.col("day") > last - timedelta(days=rule.drift_lookback_days))
    window = issued.filter(own, pl.col("day") <= last, pl.col("day") > last - timedelta(days=rule.drift_days))
    if window.is_empty() or window["day"].n_unique() < rule.least_days:
        return None
    # Inputs of past days count whoever forecast them; scores only if they are the champion's.
    past = issued.filter(pl.col("day") < last).with_columns(pl.when(own).then(pl.col("score")).alias("score"))
    reference = champion.reference.bounded(pipeline.inputs)
    seasonal = seasonal_reference(reference, past, rule.seasonal_weeks, slices=pipeline.slices)
    # Days that may be broken themselves do not tell what it costs.
    served = issued.filter(own, pl.col("day") < window["day"].min())
    before = _days_before(champion, past)
    return monitor_day(champion, window, rule, pipeline.task, pipeline.inputs, seasonal, before, served)


def _days_before(champion: Champion, past: pl.DataFrame) -> pl.DataFrame:
    """The features of the days the champion was judged on, and of those since; of the latter alone where those of the
    former are others.
    """
    import polars as pl

    columns = ["day", *(name for name in champion.reference.feature_names if name in past.columns)]
    if champion.judged is None or not all(alike(past[name], champion.judged) for name in columns):
        return past.select(columns)
    # A day that was judged may be among those past; its rows are the same, and count once.
    judged = champion.judged["day"].unique().implode()
    frames = [champion.judged, past.filter(~pl.col("day").is_in(judged))]
    return pl.concat([frame.select(columns) for frame in frames], how="vertical_relaxed")


def monitor_day(
    champion: Champion,
    window: pl.DataFrame,
    rule: MonitorRule,
    task: Task,
    features: Sequence[Feature] = (),
    seasonal: SeasonalReference | None = None,
    before: pl.DataFrame | None = None,
    served: pl.DataFrame | None = None,
) -> DayReport:
    """Hold a day, and the trailing window that ends with it, against the champion's reference.

    Parameters
    ----------
    window : (rows,) with ``day``, ``score``, the features and, as far as known, ``label``; its last day is the day.
    features : the pipeline's declaration of its features; gives the allowed ranges.
    seasonal : past days of the same weekday; a day like them is not called for its rhythm, and one that is unlike
        them at once may have jumped.
    before : (rows,) features of past days; a column that no longer goes with the others as it did on them, or holds
        values that it never held, may have jumped, too.
    served : (rows,) of what the champion has forecast since it was judged, like those; of skill and of what broken
        values cost they tell, too.

    Returns
    -------
    DayReport
        With a ``reason`` and no verdict when the window holds no rows.

    Raises
    ------
    ValueError
        If ``window`` or ``judged`` lacks ``day``, ``score`` or, for the latter, ``label``.
    """
    import polars as pl

    reference, threshold = champion.reference.bounded(features), champion.threshold
    window = dated(window, ("day", "score"), "window")
    sample = judged_rows(champion.judged, task, champion.score, served)
    if window.is_empty():
        return _nothing(reference, rule, sample, task, threshold)
    when = days_of(window)
    declared = {feature.name: feature for feature in features}
    measured = _measured(champion, reference, window, when, declared)
    judged = None if champion.judged is None else champion.judged["day"].unique().cast(pl.Date).to_numpy()
    columns = with_harm(measured, window, when, sample, seasonal, judged)
    jumps = costly_jumps(reference, columns[1:], window, when, rule, sample, seasonal, before)
    verdicts = judge(columns, when, rule, sample, seasonal, jumps)
    reports = [column_report(column, place, verdicts, when, rule, seasonal) for place, column in enumerate(columns)]
    label = _label(reference, window, rule)
    inputs = sorted(reports[1:], key=_what_to_look_at_first)
    absent = tuple(sorted(set(reference.feature_names) - {report.name for report in inputs}))
    unknown = tuple(sorted(set(declared) - set(reference.feature_names)))
    scores = numbers(window["score"])
    return DayReport(
        day=when.days[-1].item(),
        first_day=when.days[0].item(),
        features=tuple(inputs),
        prediction=reports[0],
        label=label,
        predictions_day=summarise(scores[when.places == when.days.size - 1], task, threshold),
        predictions_window=summarise(scores, task, threshold),
        predictions_judged=summarise(sample.scores, task, threshold) if sample else None,
        absent=absent,
        unknown=unknown,
        drifted_share=sum(report.drifted for report in inputs) / len(inputs) if inputs else None,
        harm_limit=sample.skill * rule.harm_skill_share if sample else None,
        false_discovery_rate=rule.false_discovery_rate,
        reference_rows=reference.rows,
        current_rows=window.height,
        errors=tuple(errors_of(reports, rule)),
        warnings=tuple(warnings_of([reports[0], *inputs], label, absent, unknown, rule)),
        reason=None,
    )


def _what_to_look_at_first(report: ColumnReport) -> tuple[bool, float, float, str]:
    return not report.harmful, -report.rank, -(report.psi or 0.0), report.name


def _measured(
    champion: Champion, reference: Reference, window: pl.DataFrame, when: Days, declared: Mapping[str, Feature]
) -> list[Column]:
    """The predictions, then the features that the window has."""
    prediction = measure(reference.predictions, "prediction", window["score"], when, {}, None)
    if prediction is None:
        raise ValueError(f"column 'score' of the window has type {window['score'].dtype}; it must hold numbers")
    features = (
        measure(
            profile,
            "feature",
            window[profile.name],
            when,
            declared,
            champion.importances.get(profile.name),
        )
        for profile in reference.features
        if profile.name in window.columns
    )
    return [prediction, *(column for column in features if column is not None)]


def summarise(scores: np.ndarray, task: Task, threshold: float | None = None) -> PredictionSummary:
    """What predictions look like: level, spread, confidence and share acted on.

    Parameters
    ----------
    scores : (rows,) those that are not finite are left out.
    """
    import numpy as np

    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return PredictionSummary(0, None, None, None, None, None)
    confidence = entropy = None
    if task == "classification":
        confidence = float(np.abs(finite - 0.5).mean())
        entropy = float(harm.announced(finite, task).mean())
    acted = float((finite >= threshold).mean()) if threshold is not None else None
    return PredictionSummary(finite.size, float(finite.mean()), float(finite.std()), confidence, entropy, acted)


def _label(reference: Reference, window: pl.DataFrame, rule: MonitorRule) -> ColumnReport | None:
    """Labels that are known, against those of the reference, with the same distances."""
    import polars as pl

    if reference.labels is None or "label" not in window.columns or not window["label"].dtype.is_numeric():
        return None
    known = window.filter(pl.col("label").is_not_null() & pl.col("label").cast(pl.Float64).is_finite())
    if known.is_empty():
        return None
    when = days_of(known)
    column = measure(reference.labels, "label", known["label"], when, {}, None)
    if column is None:
        return None
    return column_report(column, 0, judge([column], when, rule, None, None), when, rule, None)


def _nothing(
    reference: Reference, rule: MonitorRule, sample: Judged | None, task: Task, threshold: float | None
) -> DayReport:
    empty = PredictionSummary(0, None, None, None, None, None)
    return DayReport(
        day=None,
        first_day=None,
        features=(),
        prediction=None,
        label=None,
        predictions_day=empty,
        predictions_window=empty,
        predictions_judged=summarise(sample.scores, task, threshold) if sample else None,
        absent=(),
        unknown=(),
        drifted_share=None,
        harm_limit=sample.skill * rule.harm_skill_share if sample else None,
        false_discovery_rate=rule.false_discovery_rate,
        reference_rows=reference.rows,
        current_rows=0,
        errors=(),
        warnings=(),
        reason="The window holds no rows, so there is nothing to compare.",
    )
