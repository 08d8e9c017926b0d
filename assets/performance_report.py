"""The performance report: forecasts as issued against what happened, as far as it is known by the close of the day."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.examples import read_labels
from assets.issued import read_issued
from lifecycle.concept import Concept, concept_drift, excess_by_day
from lifecycle.estimation import COVERAGE, Estimate
from lifecycle.outlook import WEEK_DAYS, Outlook, last_week, outlook, realised_ranking
from lifecycle.performance import PerformanceReport, profit_curve, realised
from lifecycle.pipeline import MonitorRule, Pipeline, Task
from resources.lake import Lake
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl


PERFORMS, NO_CONCEPT_DRIFT, ESTIMATED_TO_PERFORM = "performs", "no_concept_drift", "estimated_to_perform"


def performance_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/performance_report"


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "performance_report")
    window = pipeline.monitor.performance_days

    @dg.multi_asset(
        name=f"{pipeline.name}__performance_report",
        specs=[
            stage.spec(
                pipeline,
                "performance_report",
                group="monitoring",
                description=f"How good the forecasts about the last {window} days were, on labels known by the close "
                "of the day; joined to the forecasts as they were issued. Beside it whether the champion's errors grow "
                "beyond what it announces itself, and what the week that ends with tomorrow's forecasts is estimated "
                "to be worth before its labels come. The table has a column per metric.",
                kinds={"polars", "deltalake"},
                deps=[
                    stage.trailing(stage.key(pipeline, "batch_predictions"), _window(pipeline)),
                    stage.trailing(stage.key(pipeline, "validated", pipeline.label.table), _window(pipeline)),
                ],
                columns=[
                    ("day", "date", "close of this day"),
                    ("rows", "int", "forecasts with a label"),
                    ("error_rate", "float", "share of the day's forecasts without a score though a version served"),
                    ("errors", "string", "limits exceeded beyond sampling error, as JSON"),
                    ("slices", "string", "the same metrics per slice, as JSON"),
                    ("model_version", "int", "the version that forecast last"),
                    ("excess", "float", "its mean loss on the day's events beyond what it announced"),
                    ("estimated", "float", "AUC or R² of the week that ends tomorrow, estimated before its labels"),
                    ("estimated_low", "float", "lower end of its band"),
                    ("estimated_high", "float", "upper end of its band"),
                    ("estimated_from", "date", "first day of that week with a forecast"),
                    ("estimated_to", "date", "last day of that week"),
                    ("week_ranking", "float", "AUC or R² realised in the newest week whose labels have come"),
                    ("week_to", "date", "last day of that week"),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                PERFORMS,
                "The forecasts rank, are calibrated and beat a constant as well as when the champion was judged. "
                "A failure beyond sampling error may ask for a retraining.",
            ),
            stage.check(
                pipeline,
                asset,
                NO_CONCEPT_DRIFT,
                "The champion's errors have not grown beyond what its forecasts announce (CUSUM over days, one false "
                f"alarm in {pipeline.monitor.concept_false_alarm_days:g} days). A failure may ask for a retraining.",
            ),
            stage.check(
                pipeline,
                asset,
                ESTIMATED_TO_PERFORM,
                "The week that ends with tomorrow's forecasts is estimated to rank as well as when the champion was "
                "judged. An error only if estimates have earned trust, see the grade.",
            ),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def performance_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        import polars as pl

        days = stage.asked_days(context)
        first, last = stage.contiguous(days)
        past = _past(pipeline, first, lake)
        nights: dict[date, _Night] = {}
        for day in days:
            nights[day] = _night(pipeline, day, past, lake, registry)
            past = pl.concat([past, _row(day, nights[day]).select(past.columns)])
        table = pl.concat([_row(day, night) for day, night in nights.items()], how="diagonal_relaxed")
        lake.write(performance_table(pipeline), table, first, last)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(pipeline, last, nights[last], lake))
        yield from _checks(asset, nights[last], pipeline.monitor)

    return dg.Definitions(assets=[performance_report])


@dataclass(frozen=True)
class _Night:
    """What a day's close tells of performance.

    Parameters
    ----------
    concept, outlook : None before a version has forecast.
    forecasts : (rows,) that the report judges, with ``score`` and ``label``.
    error_rate : share of the day's forecasts that came out without a score though a version served; None without any.
    week_to, week_ranking : the newest week whose labels have come, and its AUC or R².
    """

    report: PerformanceReport
    forecasts: "pl.DataFrame"
    error_rate: float | None
    version: Version | None
    concept: Concept | None
    outlook: Outlook | None
    week_to: date
    week_ranking: float | None


def _window(pipeline: Pipeline) -> int:
    """Days of forecasts that a night looks back over: those judged, and the last week whose labels have come."""
    return max(pipeline.monitor.performance_days, WEEK_DAYS + pipeline.label.longest_wait_days)


def _night(pipeline: Pipeline, day: date, past: "pl.DataFrame", lake: Lake, registry: Registry) -> _Night:
    import polars as pl

    rule, task = pipeline.monitor, pipeline.task
    issued, failed = _issued(pipeline, day, lake)
    happened = issued.filter(pl.col("day") <= day)
    judging = happened.filter(pl.col("day") > day - timedelta(days=rule.performance_days))
    week_to = day - timedelta(days=pipeline.label.longest_wait_days)
    week_ranking = realised_ranking(last_week(happened, week_to), task)
    # The version that forecast last is the one whose reference counts; tomorrow's forecasts are not judged yet.
    forecast = happened.filter(pl.col("model_version").is_not_null())["model_version"]
    version = registry.version(pipeline.name, forecast[-1]) if forecast.len() else None
    reference, judged = (registry.reference(version), registry.judged(version)) if version else (None, None)
    report = realised(
        judging,
        rule,
        reference,
        task,
        threshold=version.threshold if version else None,
        costs=pipeline.costs,
        slices=pipeline.slices,
        judged=judged,
    )
    if version is None or reference is None:
        return _Night(report, judging, failed, None, None, None, week_to, week_ranking)
    own = issued.filter(pl.col("model_version") == version.number)
    seen = {**_judged_excess(judged, task), **_past_excess(past, version.number, day, rule.concept_days)}
    concept = concept_drift({**seen, **excess_by_day(own, task)}, rule, day)
    before = _past_estimates(past, week_to, week_ranking)
    ahead = outlook(judged, own, before, reference, rule, task, day, pipeline.gate.window_days, version.threshold)
    return _Night(report, judging, failed, version, concept, ahead, week_to, week_ranking)


def _issued(pipeline: Pipeline, day: date, lake: Lake) -> "tuple[pl.DataFrame, float | None]":
    """Forecasts by the day of their event up to tomorrow, in order, with the labels known by the close.

    Beside them the share of the last day's that have no score though a version served.
    """
    import polars as pl

    first = day - timedelta(days=_window(pipeline) - 1)
    key = list(pipeline.spine.key)
    columns = dict.fromkeys([*key, "event_day", "score", "model_version", *pipeline.slices])
    issued = read_issued(pipeline, lake, first - timedelta(days=1), day, [*columns])
    labels = read_labels(pipeline, lake, first, day).select(*key, "label")
    joined = issued.filter(pl.col("score").is_not_null()).join(labels, on=key, how="left")
    served = issued.filter(pl.col("event_day") > day, pl.col("model_version").is_not_null())
    finite = pl.col("score").is_finite().fill_null(value=False)
    failed = 1 - served.select(finite.mean()).item() if served.height else None
    # The lake gives rows of a day in the order they were written; the last version must be the last.
    return joined.with_columns(pl.col("event_day").alias("day")).sort("day", *key), failed


def _judged_excess(judged: "pl.DataFrame | None", task: Task) -> dict[date, float]:
    return {} if judged is None else excess_by_day(judged, task)


def _schema() -> "dict[str, pl.DataType]":
    """Columns of the table that nights after it read again."""
    import polars as pl

    return {
        "day": pl.Date(),
        "model_version": pl.Int64(),
        "excess": pl.Float64(),
        "estimated": pl.Float64(),
        "estimated_low": pl.Float64(),
        "estimated_high": pl.Float64(),
        "estimated_from": pl.Date(),
        "estimated_to": pl.Date(),
        "week_ranking": pl.Float64(),
        "week_to": pl.Date(),
    }


def _past(pipeline: Pipeline, first: date, lake: Lake) -> "pl.DataFrame":
    """What the nights before told that is needed again."""
    import polars as pl

    schema = _schema()
    earliest = first - timedelta(days=pipeline.monitor.concept_days)
    found = lake.read_if_exists(performance_table(pipeline), schema, earliest, first - timedelta(days=1))
    # A table of an earlier release lacks columns.
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in found.columns]
    return found.with_columns(absent).select(list(schema))


def _past_excess(past: "pl.DataFrame", version: int, day: date, days: int) -> dict[date, float]:
    import polars as pl

    since = day - timedelta(days=days)
    own = past.filter(
        pl.col("model_version") == version, pl.col("excess").is_not_null(), pl.col("day") > since, pl.col("day") < day
    )
    return dict(own.select("day", "excess").iter_rows())


def _past_estimates(
    past: "pl.DataFrame", week_to: date, week_ranking: float | None
) -> list[tuple[Estimate, float | None]]:
    """Estimates of weeks that do not overlap, back from the newest whose labels have come, with what was realised."""
    import polars as pl

    happened = {
        **dict(past.filter(pl.col("week_to").is_not_null()).select("week_to", "week_ranking").iter_rows()),
        week_to: week_ranking,
    }
    made = past.filter(
        pl.col("estimated").is_not_null(),
        pl.col("estimated_to") <= week_to,
        ((pl.lit(week_to) - pl.col("estimated_to")).dt.total_days() % WEEK_DAYS) == 0,
    )
    return [(_estimate(row), happened.get(row["estimated_to"])) for row in made.sort("day").iter_rows(named=True)]


def _estimate(row: dict[str, Any]) -> Estimate:
    """An estimate as far as grading needs it, for either ranking metric."""
    ends = (row["estimated_low"], row["estimated_high"])
    return Estimate(
        values=dict.fromkeys(("auc", "r2"), row["estimated"]),
        intervals=dict.fromkeys(("auc", "r2"), ends),
        coverage=COVERAGE,
        rows=0,
        first_day=row["estimated_from"],
        last_day=row["estimated_to"],
        known_through=row["day"],
    )


def _row(day: date, night: _Night) -> "pl.DataFrame":
    """The night as a row of the table."""
    import polars as pl

    report = night.report
    metrics = {name: None if value is None else float(value) for name, value in report.metrics.items()}
    made = night.outlook.estimate if night.outlook else None
    name = "auc" if report.task == "classification" else "r2"
    low, high = made.intervals.get(name, (None, None)) if made else (None, None)
    of_day = dict(zip(night.concept.days, night.concept.means, strict=True)) if night.concept else {}
    values: dict[str, Any] = {
        "day": day,
        **metrics,
        "error_rate": night.error_rate,
        "rows": report.rows,
        "errors": json.dumps(list(report.errors)),
        "slices": report.slices.write_json() if report.slices.height else "[]",
        "model_version": night.version.number if night.version else None,
        "excess": of_day.get(day),
        "estimated": made.values.get(name) if made else None,
        "estimated_low": low,
        "estimated_high": high,
        "estimated_from": made.first_day if made else None,
        "estimated_to": made.last_day if made else None,
        "week_ranking": night.week_ranking,
        "week_to": night.week_to,
    }
    types = {**_schema(), "rows": pl.Int64(), "errors": pl.String(), "slices": pl.String()}
    return pl.DataFrame([values], schema={name: types.get(name, pl.Float64()) for name in values})


def _checks(asset: dg.AssetKey, night: _Night, rule: MonitorRule) -> Iterator[dg.AssetCheckResult]:
    report = night.report
    days = (report.last_day - report.first_day).days + 1 if report.first_day and report.last_day else 0
    yield stage.passed(
        asset,
        PERFORMS,
        not (report.errors or report.warnings),
        " ".join([*report.errors, *report.warnings])
        or report.reason
        or f"{report.rows} forecasts with labels, no limit exceeded",
        # A few days say little about a model; until there are enough, what they find is a warning.
        warn=not report.errors or days < rule.least_days,
        metadata={name: stage.number(value) for name, value in report.metrics.items() if value is not None},
    )
    concept, ahead = night.concept, night.outlook
    texts = [*concept.errors, *concept.warnings] if concept else []
    message = f"no change on {len(concept.days)} days" if concept else "no version has forecast yet"
    yield stage.passed(
        asset, NO_CONCEPT_DRIFT, not texts, " ".join(texts) or message, warn=not (concept and concept.errors)
    )
    texts = [*ahead.errors, *ahead.warnings] if ahead else []
    yield stage.passed(
        asset,
        ESTIMATED_TO_PERFORM,
        not texts,
        " ".join(texts) or _outlook_text(ahead),
        warn=not (ahead and ahead.errors),
        metadata={"grade": ahead.grade.verdict} if ahead else {},
    )


def _outlook_text(ahead: Outlook | None) -> str:
    if ahead is None or ahead.estimate is None:
        return (ahead.reason if ahead else None) or "no version has forecast yet"
    made = ahead.estimate
    name, title = ("auc", "AUC") if "auc" in made.values else ("r2", "R²")
    value, (low, high) = made.values[name], made.intervals.get(name, (float("nan"), float("nan")))
    if value is None:
        return f"{title} of {made.rows} forecasts is not defined"
    return (
        f"{title} of {made.first_day} to {made.last_day} is estimated at {value:.3f} ({low:.3f} to {high:.3f}), "
        f"{ahead.known_share or 0:.0%} of the labels being known"
    )


def _metadata(pipeline: Pipeline, day: date, night: _Night, lake: Lake) -> dict[str, Any]:
    # In the order of the page: the verdict, the pictures, the tables, then the numbers.
    report = night.report
    metadata: dict[str, Any] = {"dagster/row_count": report.rows}
    if report.reason:
        metadata["no_verdict"] = report.reason
    metadata |= _loss_picture(pipeline, day, lake)
    # Drawing takes a night's twentieth each; what changes slowly is drawn once a week, and when something is wrong.
    concern = report.errors or (night.concept and night.concept.errors) or (night.outlook and night.outlook.errors)
    if concern or day.weekday() == pipeline.monitor.report_weekday:
        metadata |= {**_outlook_picture(pipeline, day, lake), **_value_picture(pipeline, night)}
    if night.outlook:
        metadata["estimated"] = _outlook_text(night.outlook)
        metadata["estimates_so_far"] = night.outlook.grade.verdict
    if report.slices.height:
        metadata["slices"] = stage.markdown_table(report.slices, 30)
    numbers = {name: stage.number(value) for name, value in report.metrics.items() if value is not None}
    return metadata | {
        **numbers,
        "intervals": stage.markdown_table(_intervals(report)),
        "forecasts_without_label": report.forecasts_without_label,
        "labels_without_forecast": report.labels_without_forecast,
    }


def _loss_picture(pipeline: Pipeline, day: date, lake: Lake) -> dict[str, Any]:
    """The loss of the last months."""
    import polars as pl

    from lifecycle import plots

    measure = "log_loss" if pipeline.task == "classification" else "rmse"
    past = _drawn(pipeline, day, lake)
    if measure not in past.columns or past[measure].drop_nulls().len() < 2:
        return {}
    past = past.filter(pl.col(measure).is_not_null())
    window, unit = pipeline.monitor.performance_days, measure.replace("_", " ")
    title = f"{unit} of the last {window} days is {past[measure][-1]:.3f} at the close of {day}"
    png = plots.over_days(past["day"].to_list(), {measure: past[measure].to_list()}, title, unit)
    return {"performance": dg.MetadataValue.md(stage.image(png, title))}


def _outlook_picture(pipeline: Pipeline, day: date, lake: Lake) -> dict[str, Any]:
    """Ranking of weeks as it was estimated before their labels, and as it turned out."""
    import polars as pl

    from lifecycle import plots

    past = _drawn(pipeline, day, lake)
    happened = past.select(pl.col("week_to").alias("estimated_to"), pl.col("week_ranking").alias("realised"))
    weeks = past.filter(pl.col("estimated").is_not_null()).select("estimated_to", "estimated")
    weeks = weeks.join(happened, on="estimated_to", how="left").sort("estimated_to")
    if weeks.height < 2:
        return {}
    ranked = "AUC" if pipeline.task == "classification" else "R²"
    title = f"{ranked} of the week that ends on a day: estimated before its labels, and realised"
    series = {name: weeks[name].to_list() for name in ("estimated", "realised")}
    png = plots.over_days(weeks["estimated_to"].to_list(), series, title, ranked)
    return {"estimated_and_realised": dg.MetadataValue.md(stage.image(png, title))}


def _value_picture(pipeline: Pipeline, night: _Night) -> dict[str, Any]:
    """What acting from other thresholds on would have been worth."""
    from lifecycle import plots

    threshold = night.version.threshold if night.version else None
    if pipeline.costs is None or threshold is None or night.report.reason:
        return {}
    scores, labels = (night.forecasts[name].cast(float).to_numpy() for name in ("score", "label"))
    curve = profit_curve(scores, labels, pipeline.costs)
    ends = [night.report.metrics[f"value_acting_on_{which}_per_1000"] or 0.0 for which in ("none", "all")]
    made, unit = night.report.metrics["value_per_1000"] or 0.0, f"{pipeline.costs.unit} per 1,000"
    title = f"Acting from {threshold:.2f} on was worth {made:,.0f} {unit}"
    thresholds, values = (curve[name].to_numpy() for name in ("threshold", "value_per_1000"))
    png = plots.value_by_threshold(thresholds, values, threshold, title, unit, *ends)
    return {"value": dg.MetadataValue.md(stage.image(png, title))}


def _drawn(pipeline: Pipeline, day: date, lake: Lake) -> "pl.DataFrame":
    return lake.read(performance_table(pipeline), day - timedelta(days=90), day)


def _intervals(report: PerformanceReport) -> "pl.DataFrame":
    import polars as pl

    rows = [(name, report.metrics[name], *ends) for name, ends in report.intervals.items()]
    return pl.DataFrame(rows, schema=["metric", "value", "low", "high"], orient="row", strict=False)
