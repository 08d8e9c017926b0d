"""Data monitoring of a day: every column of a trailing window against the champion's reference.

What belongs here: putting distances, tests that know days, seasons and harm together into a report. Each of these is
in a module of its own; performance, which needs labels, is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from lifecycle import distances, harm
from lifecycle.day_report import ColumnReport, DayReport, Kind, PredictionSummary
from lifecycle.jumps import Jump, find_jumps
from lifecycle.losses import row_losses
from lifecycle.lost import is_lost, stuck_days
from lifecycle.monitoring_text import errors_of, warnings_of
from lifecycle.reference import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    Reference,
    column_bins,
    count_by_day,
    numbers,
)
from lifecycle.rescoring import Rescoring
from lifecycle.seasonal import SeasonalReference, seasonal_reference
from lifecycle.significance import MINIMUM_DAYS, DayTests, day_tests, false_discovery_q

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.features import Feature
    from lifecycle.pipeline import MonitorRule, Task


@dataclass(frozen=True)
class _Days:
    """The days of some rows: which there are, and the number of each row's day."""

    days: np.ndarray
    places: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Days in the whole window, and in each day."""
        import numpy as np

        return np.array([self.days.size] + [1] * self.days.size)


@dataclass(frozen=True)
class _Judged:
    """Rows of the champion with labels.

    Parameters
    ----------
    losses, excess : (rows,) loss of each, and by how much it exceeds what its own forecast announces.
    skill : gain over always forecasting the mean, at least zero.
    rescoring : the same rows, to be scored again; None where the model is not at hand.
    """

    frame: pl.DataFrame
    losses: np.ndarray
    excess: np.ndarray
    scores: np.ndarray
    when: _Days
    skill: float
    rescoring: Rescoring | None


@dataclass(frozen=True)
class _Column:
    """What was measured of a column; arrays over windows have the whole window first, then each of its days.

    Parameters
    ----------
    bins, lost : (rows,) bin of each row, and whether its value tells nothing.
    counts : (days, bins) rows of each day.
    stability : (windows,) population stability index.
    usual : (2,) index that days' differences alone give: for the window, and for a day.
    growth, harm : estimated change of the loss, and the part of it that the forecasts do not announce.
    """

    profile: Profile
    kind: Kind
    bins: np.ndarray
    ordered: np.ndarray
    lost: np.ndarray
    stuck_days: int
    counts: np.ndarray
    stability: np.ndarray
    usual: tuple[float, float]
    tests: DayTests | None
    growth: harm.Harm | None
    harm: harm.Harm | None
    smirnov: distances.Test | None
    outside: float | None
    new_categories: tuple[str, ...]
    distinct: int
    importance: float | None


@dataclass(frozen=True)
class _Verdicts:
    """(columns, windows) what is called; (columns,) the q-value of the whole window; the jumps of the last days."""

    drifted: np.ndarray
    harmful: np.ndarray
    q_values: np.ndarray
    jumps: Sequence[Jump]


def monitor_day(
    reference: Reference,
    window: pl.DataFrame,
    rule: MonitorRule,
    task: Task,
    features: Sequence[Feature] = (),
    importances: Mapping[str, float] | None = None,
    judged: pl.DataFrame | None = None,
    seasonal: SeasonalReference | None = None,
    threshold: float | None = None,
    score: Callable[[pl.DataFrame], np.ndarray] | None = None,
) -> DayReport:
    """Hold a day, and the trailing window that ends with it, against the champion's reference.

    Parameters
    ----------
    window : (rows,) with ``day``, ``score``, the features and, as far as known, ``label``; its last day is the day.
    features : the pipeline's declaration of its features; gives the allowed ranges.
    importances : growth of the champion's loss when a feature is shuffled.
    judged : (rows,) forecasts of the champion on days it has not learnt from, with ``day``, ``score``, ``label`` and
        the features; without them harm is not known, and only drift of the predictions is an error.
    seasonal : past days of the same weekday; a day like them is not called for its rhythm, and one that is unlike
        them at once may have jumped.
    threshold : score from which a row is acted on.
    score : the champion: of rows like those judged, (rows,) its forecasts. Without it jumps are not looked for, and
        values that tell nothing are taken to cost what shuffling the column costs.

    Returns
    -------
    DayReport
        With a ``reason`` and no verdict when the window holds no rows.

    Raises
    ------
    ValueError
        If ``window`` or ``judged`` lacks ``day``, ``score`` or, for the latter, ``label``.
    """
    window = _dated(window, ("day", "score"), "window")
    sample = _judged(judged, task, score)
    if window.is_empty():
        return _nothing(reference, rule, sample, task, threshold)
    when = _days(window)
    declared = {feature.name: feature for feature in features}
    columns = [
        column
        for profile in reference.features
        if profile.name in window.columns
        and (
            column := _measure(
                profile, "feature", window[profile.name], when, sample, declared, (importances or {}).get(profile.name)
            )
        )
    ]
    prediction = _measure(reference.predictions, "prediction", window["score"], when, sample, {}, None)
    if prediction is None:
        raise ValueError(f"column 'score' of the window has type {window['score'].dtype}; it must hold numbers")
    columns.insert(0, prediction)
    jumps = _jumps(reference, columns[1:], window, when, rule, sample, seasonal)
    verdicts = _judge(columns, when, rule, sample, seasonal, jumps)
    reports = [_report(column, place, verdicts, when, rule, seasonal) for place, column in enumerate(columns)]
    label = _label(reference, window, rule)
    inputs = sorted(reports[1:], key=lambda report: (-report.rank, -(report.psi or 0.0), report.name))
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


# What is measured of a column


def _measure(
    profile: Profile,
    kind: Kind,
    column: pl.Series,
    when: _Days,
    sample: _Judged | None,
    declared: Mapping[str, Feature],
    importance: float | None,
) -> _Column | None:
    import numpy as np
    import polars as pl

    bins = column_bins(profile, column)
    if bins is None:
        return None
    size, before = len(profile.bin_counts), np.array(profile.bin_counts)
    new: tuple[str, ...] = ()
    if isinstance(profile, NumericProfile):
        values = numbers(column)
        ordered = np.sort(values[np.isfinite(values)])
        stuck = stuck_days(profile, values, when.places, when.days.size) & (kind == "feature")
        distinct = int(np.count_nonzero(np.diff(ordered))) + 1 if ordered.size else 0
    else:
        values, ordered, new = np.empty(0), np.empty(0), _new_categories(profile, column, bins)
        stuck, distinct = np.zeros(when.days.size, dtype=bool), column.drop_nulls().n_unique()
    counts = count_by_day(bins, size, when.places, when.days.size)
    windows = np.vstack([counts.sum(axis=0), counts])
    lost = is_lost(profile, values, bins, stuck[when.places]) if kind == "feature" else np.zeros(bins.size, dtype=bool)
    tests = day_tests(np.array(profile.day_counts), windows, when.lengths) if profile.day_counts else None
    smirnov = None
    if isinstance(profile, NumericProfile) and profile.sketch and ordered.size:
        smirnov = distances.kolmogorov_smirnov(profile.sketch, ordered, tests.effective_rows[0] if tests else None)
    growth, excess = _harm(profile, kind, bins, column.filter(pl.Series(lost)), lost, when, sample, importance)
    return _Column(
        profile=profile,
        kind=kind,
        bins=bins,
        ordered=ordered,
        lost=lost,
        stuck_days=int(stuck.sum()),
        counts=counts,
        stability=distances.daily_stability(before, windows),
        usual=_usual(profile, before, windows, tests),
        tests=tests,
        growth=growth,
        harm=excess,
        smirnov=smirnov,
        outside=_outside(values, declared.get(profile.name)) if values.size else None,
        new_categories=new,
        distinct=distinct,
        importance=importance,
    )


def _new_categories(profile: CategoricalProfile, column: pl.Series, bins: np.ndarray) -> tuple[str, ...]:
    """Values the reference never saw, most frequent first; none when it pooled rare ones, as one cannot tell."""
    import polars as pl

    if profile.other:
        return ()
    unseen = column.cast(pl.String).filter(pl.Series(bins == len(profile.categories)))
    counted = unseen.alias("value").to_frame().group_by("value").len("rows")
    return tuple(counted.sort(["rows", "value"], descending=[True, False])["value"].to_list())


def _outside(values: np.ndarray, feature: Feature | None) -> float | None:
    """Share of rows outside the declared range; None where none is declared."""
    import numpy as np

    if feature is None or (feature.minimum is None and feature.maximum is None):
        return None
    low = -np.inf if feature.minimum is None else feature.minimum
    high = np.inf if feature.maximum is None else feature.maximum
    with np.errstate(invalid="ignore"):
        return float(((values < low) | (values > high)).mean())


def _usual(profile: Profile, before: np.ndarray, windows: np.ndarray, tests: DayTests | None) -> tuple[float, float]:
    """Index to be expected without drift: of the window, and of a day (what the reference's own days show)."""
    import numpy as np

    if tests is None:
        return (
            distances.expected_index(before, windows[0]),
            distances.expected_index(before, np.maximum(windows[1:].mean(axis=0), 0)),
        )
    own = distances.daily_stability(before, np.array(profile.day_counts))
    return float(tests.expected[0]), float(np.nanmean(own))


def _harm(
    profile: Profile,
    kind: Kind,
    bins: np.ndarray,
    useless: pl.Series,
    lost: np.ndarray,
    when: _Days,
    sample: _Judged | None,
    importance: float | None,
) -> tuple[harm.Harm | None, harm.Harm | None]:
    """Estimated change of the loss, and of its excess over what the forecasts announce.

    Parameters
    ----------
    useless : the values of the rows that are ``lost``.
    """
    import numpy as np

    source = "score" if kind == "prediction" else profile.name
    if sample is None or kind == "label" or source not in sample.frame.columns:
        return None, None
    judged = column_bins(profile, sample.frame[source])
    if judged is None:
        return None, None
    size, days = len(profile.bin_counts), when.days.size
    found = count_by_day(bins[~lost], size, when.places[~lost], days)
    gone = np.bincount(when.places[lost], minlength=days)
    windows, none = np.vstack([found.sum(axis=0), found]), np.append(gone.sum(), gone)
    each = _growth_by_lost(profile.name, useless, sample, importance)
    estimates = [
        harm.estimate(
            harm.bin_losses(judged, size, losses, sample.when.places, sample.when.days.size),
            windows,
            none,
            when.lengths,
            each,
        )
        for losses in (sample.losses, sample.excess)
    ]
    return estimates[0], estimates[1]


def _growth_by_lost(name: str, useless: pl.Series, sample: _Judged, importance: float | None) -> float:
    """Growth of a row's loss, on average, when its value is one of those that tell the model nothing."""
    import numpy as np
    import polars as pl

    if useless.is_empty():
        return 0.0
    if sample.rescoring is None:
        return max(importance or 0.0, 0.0)
    asked = sample.rescoring.some()
    drawn = np.random.default_rng(0).integers(0, len(useless), asked.size)
    return max(sample.rescoring.growth(name, asked, useless[pl.Series(drawn)]) / asked.size, 0.0)


# What is called


def _judge(
    columns: Sequence[_Column],
    when: _Days,
    rule: MonitorRule,
    sample: _Judged | None,
    seasonal: SeasonalReference | None,
    jumps: Sequence[Jump] = (),
) -> _Verdicts:
    """Which columns drifted and which do harm, on the whole window and on each day, many tests being made at once."""
    import numpy as np

    rate, limit = rule.false_discovery_rate, sample.skill * rule.harm_skill_share if sample else np.inf
    unknown = np.full(1 + when.days.size, np.nan)
    p_values = np.array([column.tests.p_values if column.tests else unknown for column in columns])
    smirnov = np.array([column.smirnov.p_value if column.smirnov and column.tests else np.nan for column in columns])
    of_window = false_discovery_q(np.concatenate([p_values[:, 0], smirnov])).reshape(2, -1)
    q_values = np.column_stack([np.fmin(*of_window), *(false_discovery_q(each) for each in p_values[:, 1:].T)])
    limits = [rule.prediction_psi if column.kind == "prediction" else rule.feature_psi for column in columns]
    usual = np.array([[of_window, *[of_day] * when.days.size] for of_window, of_day in (c.usual for c in columns)])
    with np.errstate(invalid="ignore"):
        large = np.array([column.stability for column in columns]) - usual > np.array(limits)[:, None]
    # Without days in the reference nothing can be tested, and size decides alone.
    drifted = large & ((q_values <= rate) | np.isnan(q_values))
    _excuse_rhythm(drifted, columns, when, rule, seasonal)
    change = np.array([column.harm.change if column.harm else unknown for column in columns])
    chances = np.array([column.harm.p_values if column.harm else unknown for column in columns])
    chances[~drifted] = np.nan  # harm is asked about where there is drift, and only there
    certain = np.column_stack([false_discovery_q(each) for each in chances.T]) <= rate
    with np.errstate(invalid="ignore"):
        grown = change > limit
    harmful = drifted & grown & certain
    # One odd day must not make the window harmful: most days must be beyond the limit, each by itself.
    harmful[:, 0] &= 2 * grown[:, 1:].sum(axis=1) > when.days.size
    jumped = {(jump.name, jump.day) for jump in jumps}
    for place, column in enumerate(columns):
        harmful[place, 1:] |= [(column.profile.name, day.item()) in jumped for day in when.days]
    return _Verdicts(drifted, harmful, q_values[:, 0], jumps)


def _jumps(
    reference: Reference,
    columns: Sequence[_Column],
    window: pl.DataFrame,
    when: _Days,
    rule: MonitorRule,
    sample: _Judged | None,
    seasonal: SeasonalReference | None,
) -> list[Jump]:
    """The costly jumps of the days that the rule looks at; none where nobody can tell what they cost."""
    if sample is None or sample.rescoring is None:
        return []
    days = [day.item() for day in when.days[-rule.of_days :]]
    if seasonal is None or seasonal.like_days(days[-1]) < MINIMUM_DAYS:
        seasonal = _judged_days(reference, sample, days[-1], seasonal)
    profiles = [column.profile for column in columns]
    limit = sample.skill * rule.harm_skill_share
    return find_jumps(profiles, window, days, seasonal, sample.rescoring, limit, rule.false_discovery_rate)


def _judged_days(
    reference: Reference, sample: _Judged, last: date, seasonal: SeasonalReference | None
) -> SeasonalReference:
    """The judged days, whatever their weekday, to hold days against while there are few others before them."""
    slices = dict.fromkeys(group[0] for group in seasonal.groups if group) if seasonal else {}
    first = sample.when.days[0].item()
    present = [name for name in slices if name in sample.frame.columns]
    return seasonal_reference(reference, sample.frame, max((last - first).days, 1), period_days=1, slices=present)


def _excuse_rhythm(
    drifted: np.ndarray,
    columns: Sequence[_Column],
    when: _Days,
    rule: MonitorRule,
    seasonal: SeasonalReference | None,
) -> None:
    """Days that are like the same weekday of past weeks are not called, unless the window as a whole has moved."""
    if seasonal is None:
        return
    for column, called in zip(columns, drifted, strict=True):
        if called[0]:
            continue
        for place in called[1:].nonzero()[0]:
            _, p_value = seasonal.compare(column.profile.name, when.days[place].item(), column.counts[place])
            if p_value is not None and p_value > rule.false_discovery_rate:
                called[1 + place] = False


# What is reported


def _report(
    column: _Column,
    place: int,
    verdicts: _Verdicts,
    when: _Days,
    rule: MonitorRule,
    seasonal: SeasonalReference | None,
) -> ColumnReport:
    profile, tests, total = column.profile, column.tests, column.counts.sum(axis=0)
    drifted, harmful = verdicts.drifted[place], verdicts.harmful[place]
    # Where nobody can tell the harm, predictions that moved are taken to do some.
    harm_known = column.harm is not None and _number(column.harm.p_values[0]) is not None
    fired = harmful if harm_known or column.kind != "prediction" else drifted
    flags = fired[1:].tolist()
    seasonal_psi, seasonal_p = (
        seasonal.compare(profile.name, when.days[-1].item(), column.counts[-1]) if seasonal else (None, None)
    )
    psi, change = _number(column.stability[0]), _number(column.harm.change[0]) if column.harm else None
    own_jumps = [jump for jump in verdicts.jumps if jump.name == profile.name and column.kind == "feature"]
    worst = max(own_jumps, key=lambda jump: jump.harm, default=None)
    excess = max((psi or 0.0) - column.usual[0], 0.0)
    return ColumnReport(
        name=profile.name,
        kind=column.kind,
        psi=psi,
        expected_psi=_number(column.usual[0]),
        **_distances(column, total),
        p_value=_number(tests.p_values[0]) if tests else None,
        q_value=_number(verdicts.q_values[place]),
        design_effect=_number(tests.design_effect) if tests else None,
        drifted=bool(drifted[0]),
        day_psi=_number(column.stability[-1]),
        day_p_value=_number(tests.p_values[-1]) if tests else None,
        seasonal_psi=seasonal_psi,
        seasonal_p_value=seasonal_p,
        psi_slope=slope(column.stability[1:], when.days),
        drifted_since=_since(drifted[1:], when.days),
        missing_reference=profile.missing / max(sum(profile.bin_counts), 1),
        missing_current=float(total[-1] / total.sum()),
        outside=column.outside,
        lost=float(column.lost.mean()),
        stuck_days=column.stuck_days,
        new_categories=column.new_categories,
        distinct_reference=_distinct(profile),
        distinct_current=column.distinct,
        mean_reference=profile.mean if isinstance(profile, NumericProfile) else None,
        mean_current=float(column.ordered.mean()) if column.ordered.size else None,
        importance=column.importance,
        loss_change=_number(column.growth.change[0]) if column.growth else None,
        loss_change_standard_error=_number(column.growth.standard_error[0]) if column.growth else None,
        harm=change,
        harm_standard_error=_number(column.harm.standard_error[0]) if column.harm else None,
        harm_p_value=_number(column.harm.p_values[0]) if column.harm else None,
        jump_harm=worst.harm if worst else None,
        jump_group=worst.group and "{} {}".format(*worst.group) if worst else None,
        harmful_days=sum(flags[-rule.of_days :]),
        harmful=bool(fired[0]) or harm.at_least(rule.harmful_days, rule.of_days, flags),
        rank=harm.rank(excess, column.importance, change),
        bins=profile.bins,
        reference_counts=profile.bin_counts,
        current_counts=tuple(total.tolist()),
    )


def _distances(column: _Column, total: np.ndarray) -> dict[str, float | None]:
    import numpy as np

    profile, before = column.profile, np.array(column.profile.bin_counts)
    found: dict[str, float | None] = {
        "kolmogorov_smirnov": column.smirnov.statistic if column.smirnov else None,
        "kolmogorov_smirnov_p_value": column.smirnov.p_value if column.smirnov else None,
        "jensen_shannon": distances.jensen_shannon(before, total),
        "kullback_leibler": distances.kullback_leibler(before, total),
        "wasserstein": None,
        "wasserstein_deviations": None,
        "chi_square": None,
        "chi_square_p_value": None,
    }
    if isinstance(profile, CategoricalProfile):
        test = distances.chi_square(before, total)
        return found | {"chi_square": test.statistic, "chi_square_p_value": test.p_value}
    if profile.sketch and column.ordered.size:
        moved = distances.wasserstein(profile.sketch, column.ordered)
        found |= {"wasserstein": moved, "wasserstein_deviations": moved / profile.std if profile.std else None}
    return found


def slope(values: np.ndarray, days: np.ndarray) -> float | None:
    """Least-squares trend of a series, per day; None with fewer than three values.

    Parameters
    ----------
    values : (days,) NaN where there is none.
    days : (days,) datetime64[D].

    Examples
    --------
    >>> import numpy as np
    >>> slope(np.array([0.1, 0.2, np.nan, 0.4]), np.arange("2013-01-01", "2013-01-05", dtype="datetime64[D]"))
    0.1
    """
    import numpy as np

    known = np.isfinite(values)
    if known.sum() < 3:
        return None
    since = (days[known] - days[known][0]).astype(float)
    centred = since - since.mean()
    return round(float(centred @ values[known] / (centred @ centred)), 12)


def _since(drifted: np.ndarray, days: np.ndarray) -> date | None:
    """First of the drifted days without a break up to the last day."""
    quiet = (~drifted).nonzero()[0]
    first = int(quiet[-1]) + 1 if quiet.size else 0
    found: date | None = days[first].item() if first < days.size else None
    return found


def _label(reference: Reference, window: pl.DataFrame, rule: MonitorRule) -> ColumnReport | None:
    """Labels that are known, against those of the reference, with the same distances."""
    import polars as pl

    if reference.labels is None or "label" not in window.columns or not window["label"].dtype.is_numeric():
        return None
    known = window.filter(pl.col("label").is_not_null() & pl.col("label").cast(pl.Float64).is_finite())
    if known.is_empty():
        return None
    when = _days(known)
    column = _measure(reference.labels, "label", known["label"], when, None, {}, None)
    if column is None:
        return None
    return _report(column, 0, _judge([column], when, rule, None, None), when, rule, None)


def _distinct(profile: Profile) -> int | None:
    if isinstance(profile, NumericProfile):
        return profile.distinct
    return len(profile.categories) if profile.other == 0 else None


def _number(value: Any) -> float | None:
    import math

    number = float(value)
    return number if math.isfinite(number) else None


# What is taken in


def _dated(frame: pl.DataFrame, needed: Sequence[str], what: str) -> pl.DataFrame:
    import polars as pl

    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ValueError(f"the {what} lacks the columns {missing}; it has {frame.columns}")
    return frame.filter(pl.col("day").is_not_null())


def _days(frame: pl.DataFrame) -> _Days:
    import numpy as np
    import polars as pl

    if frame["day"].dtype != pl.Date:
        raise ValueError(f"column 'day' holds {frame['day'].dtype}; it must hold dates")
    days, places = np.unique(frame["day"].to_numpy(), return_inverse=True)
    return _Days(days.astype("datetime64[D]"), places)


def _judged(
    frame: pl.DataFrame | None, task: Task, score: Callable[[pl.DataFrame], np.ndarray] | None
) -> _Judged | None:
    """The judged rows that have a score and a label; None when there is none."""
    import polars as pl

    if frame is None:
        return None
    frame = _dated(frame, ("day", "score", "label"), "judged sample")
    known = [pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite() for name in ("score", "label")]
    frame = frame.filter(*known)
    if frame.is_empty():
        return None
    labels, scores = (frame[name].cast(pl.Float64).to_numpy() for name in ("label", "score"))
    losses = row_losses(labels, scores, task)
    gain = harm.skill(labels, scores, task) or 0.0
    rescoring = None if score is None else Rescoring(frame, losses, task, score)
    excess = losses - harm.announced(scores, task)
    return _Judged(frame, losses, excess, scores, _days(frame), max(gain, 0.0), rescoring)


def _nothing(
    reference: Reference, rule: MonitorRule, sample: _Judged | None, task: Task, threshold: float | None
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
