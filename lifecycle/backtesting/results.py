"""What the forecasts of each policy turned out to be worth, against one another.

What belongs here: metrics of simulations with their uncertainty, as JSON-ready values. Simulating is in
``backtest.py``; the page is drawn elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.backtesting.backtest import Retraining, Simulation, World
from lifecycle.calendar import WEEK_DAYS
from lifecycle.challenger import DAY, KEY, KNOWN, LABEL
from lifecycle.losses import row_losses
from lifecycle.performance.grading import WITHIN, grade
from lifecycle.performance.outlook import last_week, outlook, realised_ranking
from lifecycle.performance.promise import Promise
from lifecycle.ranking import ranking, ranking_with_error
from lifecycle.value import value

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from lifecycle.performance.estimation import Estimate
    from lifecycle.pipeline import Pipeline, Task

RESAMPLES, SEED = 2000, 1
FLOOR, CEILING = "never", "weekly"  # what the others are held against


@dataclass(frozen=True)
class _Scored:
    """The judged forecasts of a policy, as arrays over the same events for all policies."""

    labels: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray
    days: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Span:
    """Days of events, both included."""

    name: str
    first: date
    last: date


def compare(pipeline: Pipeline, simulations: Sequence[Simulation], spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Every policy in every span of time.

    Parameters
    ----------
    simulations : of the same nights; one is named "never", and one "weekly" for regret and shares.

    Returns
    -------
    list of dict
        One per policy: ``policy``, ``retrainings`` (all nights on which it probed or trained after the first model),
        and ``spans``: by name, mean ``loss`` (log loss or squared error), ``gain`` over never (mean loss saved), each
        with a 95 % interval from resampling days, paired; ``ranking`` (AUC or R²); ``value_per_1000``; ``regret`` and
        ``value_regret`` per 1000 rows against weekly; ``gain_share`` of weekly's gain with the interval of that ratio
        over the same resamples; ``trained``, ``promoted``, ``probed``, ``probes_against``, ``asked_by``,
        ``cpu_seconds`` and ``cpu_share`` of weekly's.

    Raises
    ------
    ValueError
        If the policies did not forecast the same events, or none is named "never".
    """
    scored = {simulation.policy.name: _scored(pipeline, simulation) for simulation in simulations}
    _check(scored)
    cpu = {s.policy.name: {span.name: _cpu(s, span) for span in spans} for s in simulations}
    results = []
    for simulation in simulations:
        name = simulation.policy.name
        results.append(
            {
                "policy": name,
                "retrainings": [_told(one) for one in simulation.retrainings],
                "alarm_nights": _alarm_nights(simulation),
                "spans": {
                    span.name: {
                        **_worth(pipeline, scored, name, span),
                        **_counts(simulation, span),
                        "cpu_seconds": cpu[name][span.name],
                        "cpu_share": _ratio(cpu[name][span.name], cpu.get(CEILING, {}).get(span.name)),
                    }
                    for span in spans
                },
            }
        )
    return results


def cumulative_gain(pipeline: Pipeline, simulations: Sequence[Simulation]) -> tuple[list[date], dict[str, list[float]]]:
    """The loss that each policy has saved over never by the end of each day, summed over events."""
    import numpy as np

    scored = {simulation.policy.name: _scored(pipeline, simulation) for simulation in simulations}
    _check(scored)
    present, index = np.unique(scored[FLOOR].days, return_inverse=True)
    lines = {
        name: np.cumsum(np.bincount(index, weights=scored[FLOOR].losses - one.losses)).tolist()
        for name, one in scored.items()
    }
    return [day.item() for day in present], lines


def graded_weeks(world: World, simulation: Simulation, days_ahead: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How good estimates of ranking before the labels turned out to be, in every week from Monday to Sunday.

    Parameters
    ----------
    days_ahead : the estimate is made at the close of the day so many days before the Sunday. 1: when the last forecasts
        of the week are issued, with the labels known by then, as the nightly report makes it. 7: before the week, from
        the scores that its forecasts will have.

    Returns
    -------
    grade, table
        The grade as JSON-ready values, with what to hold it against (``_to_hold_against``), and its table of weeks.
        Where the version changed within a week, its rows are those of the last.
    """
    import polars as pl

    pipeline = world.pipeline
    forecasts = simulation.forecasts.rename({"version": "model_version"})
    made: list[tuple[Estimate, float | None]] = []
    weeks: list[pl.DataFrame] = []
    for sunday in _sundays(forecasts):
        as_of = sunday - timedelta(days=days_ahead)
        week = last_week(forecasts, sunday)
        champion = world.train(week["model_version"][-1])
        known = pl.when(pl.col(KNOWN) <= as_of).then(pl.col(LABEL)).alias(LABEL)
        own = forecasts.filter(pl.col("model_version") == champion.day, pl.col(DAY) <= sunday).with_columns(known)
        happened = as_of - timedelta(days=pipeline.label.longest_wait_days)
        remembered = as_of - timedelta(days=pipeline.monitor.concept_days)
        past = [(one, value) for one, value in made if one.last_day and remembered < one.last_day <= happened]
        window, nothing = pipeline.gate.window_days, Promise(None)
        found = outlook(champion.judged, own, past, nothing, pipeline.monitor, pipeline.task, as_of, window).estimate
        if found is not None:
            made.append((found, realised_ranking(week, pipeline.task)))
            weeks.append(week.with_columns(known.alias("known")))
    metric = "auc" if pipeline.task == "classification" else "r2"
    realised = {one.first_day: {metric: value} for one, value in made if one.first_day}
    graded = grade([one for one, _ in made], realised, metric).to_dict()
    table = graded.pop("table")
    return graded | _to_hold_against(weeks, pipeline.task), table


def _to_hold_against(weeks: Sequence[pl.DataFrame], task: Task) -> dict[str, float | None]:
    """What estimates of weeks are to be held against.

    Parameters
    ----------
    weeks : (rows,) each with ``label``, and ``known``: the label, where it was known when the estimate was made.

    Returns
    -------
    dict
        ``known_share`` of the labels. ``within_by_known``: share of weeks in which the ranking of those alone is as
        near to the realised one as an estimate must be. ``within_at_most``: the share that would be, on average, if
        how well the model ranks were known, and of the week nothing: normal, with the week's own standard error.
    """
    import numpy as np
    import polars as pl
    from scipy.special import ndtr

    if not weeks:
        return {}
    found = [ranking_with_error(week, task) for week in weeks]
    of_known = [ranking_with_error(week.with_columns(pl.col("known").alias(LABEL)), task)[0] for week in weeks]
    compared = [(one, of_all) for one, (of_all, _) in zip(of_known, found, strict=True) if of_all is not None]
    near = [one is not None and abs(one - of_all) <= WITHIN for one, of_all in compared]
    errors = np.array([error for _, error in found if error])
    return {
        "known_share": float(np.mean([week["known"].is_not_null().mean() for week in weeks])),
        "within_by_known": float(np.mean(near)) if near else None,
        "within_at_most": float(np.mean(2 * ndtr(WITHIN / errors) - 1)) if errors.size else None,
    }


def _sundays(forecasts: pl.DataFrame) -> list[date]:
    """Ends of the weeks, from Monday to Sunday, that the forecasts cover."""
    import polars as pl

    days = forecasts.filter(pl.col("score").is_not_null())[DAY].unique().sort()
    return [day for day in days.to_list() if day.weekday() == WEEK_DAYS - 1]


def months(first: date, last: date) -> list[Span]:
    """The months that a period touches, as far as it does."""
    spans, starts = [], first
    while starts <= last:
        after = (starts.replace(day=1) + timedelta(days=32)).replace(day=1)
        spans.append(Span(f"{starts:%Y-%m}", starts, min(last, after - timedelta(days=1))))
        starts = after
    return spans


def _scored(pipeline: Pipeline, simulation: Simulation) -> _Scored:
    import polars as pl

    rows = simulation.forecasts.filter(pl.col(LABEL).is_not_null()).sort(DAY, KEY)
    labels, scores = rows[LABEL].to_numpy(), rows["score"].to_numpy()
    days = rows[DAY].to_numpy().astype("datetime64[D]")
    return _Scored(labels, scores, rows["threshold"].to_numpy(), days, row_losses(labels, scores, pipeline.task))


def _check(scored: dict[str, _Scored]) -> None:
    import numpy as np

    if FLOOR not in scored:
        raise ValueError(f"no policy is named {FLOOR!r}, against which gains are measured; there are {sorted(scored)}")
    for name, one in scored.items():
        if not np.array_equal(one.days, scored[FLOOR].days):
            raise ValueError(
                f"policy {name!r} forecast {one.days.size} events, {FLOOR!r} {scored[FLOOR].days.size}: simulate the "
                "same nights"
            )


def _worth(pipeline: Pipeline, scored: dict[str, _Scored], name: str, span: Span) -> dict[str, Any]:
    import numpy as np

    one, floor, ceiling = scored[name], scored[FLOOR], scored.get(CEILING)
    within = (one.days >= np.datetime64(span.first)) & (one.days <= np.datetime64(span.last))
    if not within.any():
        return {"rows": 0}
    days, losses = one.days[within], one.losses[within]
    gain = floor.losses[within] - losses
    of_ceiling = floor.losses[within] - ceiling.losses[within] if ceiling else None
    drawn = _draws(days, losses, gain, *([of_ceiling] if of_ceiling is not None else []))
    worth: dict[str, Any] = {
        "rows": int(within.sum()),
        "days": int(np.unique(days).size),
        "loss": float(losses.mean()),
        "loss_interval": _interval(drawn[0]),
        "gain": float(gain.mean()),
        "gain_interval": _interval(drawn[1]),
        "ranking": ranking(one.labels[within], one.scores[within], days, pipeline.task)[0],
        "value_per_1000": _value(pipeline, one, within),
    }
    if ceiling is not None and of_ceiling is not None:
        total = float(of_ceiling.mean())
        best = _value(pipeline, ceiling, within)
        mine = worth["value_per_1000"]
        worth |= {
            "regret": 1000 * float((of_ceiling - gain).mean()),
            "regret_interval": _interval(1000 * (drawn[2] - drawn[1])),
            "value_regret": None if best is None or mine is None else best - mine,
            "gain_share": float(gain.mean()) / total if total > 0 else None,
            "gain_share_interval": _ratio_interval(drawn[1], drawn[2]) if total > 0 else None,
        }
    return worth


def _draws(days: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """Bootstrap distributions of the means of columns, the same days being drawn for all; see the gate's."""
    from lifecycle.gate import improvement_draws

    return [improvement_draws(column, days, RESAMPLES, SEED) for column in columns]


def _interval(draws: np.ndarray) -> list[float]:
    import numpy as np

    return [float(end) for end in np.quantile(draws, [0.025, 0.975])]


def _ratio_interval(part: np.ndarray, whole: np.ndarray) -> list[float] | None:
    """Percentile interval of a ratio; None where the whole may well be nothing, and the ratio anything."""
    return _interval(part / whole) if (whole > 0).mean() == 1 else None


def _value(pipeline: Pipeline, one: _Scored, within: np.ndarray) -> float | None:
    """Value per 1000 rows of the decisions as they were taken, each version at its own threshold."""
    import numpy as np

    if pipeline.costs is None:
        return None
    labels, scores, thresholds = one.labels[within], one.scores[within], one.thresholds[within]
    total = sum(
        value(scores[chosen], labels[chosen], float(threshold), pipeline.costs)
        for threshold in np.unique(thresholds)
        for chosen in [thresholds == threshold]
    )
    return 1000 * total / labels.size


def _within(simulation: Simulation, span: Span) -> list[Retraining]:
    """What it asked for after the first model, on nights whose outcome can serve in the span."""
    later = simulation.retrainings[1:]
    return [one for one in later if span.first <= one.day + timedelta(days=2) <= span.last]


def _cpu(simulation: Simulation, span: Span) -> float:
    return sum(one.cpu_seconds + one.probe_cpu_seconds for one in _within(simulation, span))


def _counts(simulation: Simulation, span: Span) -> dict[str, Any]:
    asked = _within(simulation, span)
    kinds = sorted({one.kind for one in asked})
    return {
        "trained": sum(one.promoted is not None for one in asked),
        "promoted": sum(one.promoted is True for one in asked),
        "probed": sum(one.probe is not None for one in asked),
        "probes_against": sum(one.promoted is None for one in asked),
        "asked_by": {kind: sum(one.kind == kind for one in asked) for kind in kinds},
    }


def _alarm_nights(simulation: Simulation) -> dict[str, int]:
    return {name: simulation.nights[name].count() for name in simulation.nights.columns if name != DAY}


def _told(one: Retraining) -> dict[str, Any]:
    probe = one.probe.to_dict() if one.probe else None
    return {**vars(one), "day": one.day.isoformat(), "also": list(one.also), "probe": probe}


def _ratio(part: float, whole: float | None) -> float | None:
    return part / whole if whole else None
