"""The performance report: forecasts as issued against what happened, as far as it is known by the close of the day."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.batch_predictions import predictions_table
from assets.examples import read_labels
from lifecycle.performance import PerformanceReport, realised
from lifecycle.pipeline import MonitorRule, Pipeline
from resources.lake import Lake
from resources.registry import Registry

if TYPE_CHECKING:
    import polars as pl


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
                "of the day; joined to the forecasts as they were issued. The table has a column per metric.",
                kinds={"polars", "deltalake"},
                deps=[
                    stage.trailing(stage.key(pipeline, "batch_predictions"), window, until=-1),
                    stage.trailing(stage.key(pipeline, "validated", pipeline.label.table), window),
                ],
                columns=[
                    ("day", "date", "close of this day"),
                    ("rows", "int", "forecasts with a label"),
                    ("errors", "string", "limits exceeded beyond sampling error, as JSON"),
                    ("slices", "string", "the same metrics per slice, as JSON"),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "performs",
                "The forecasts rank, are calibrated and beat a constant as well as when the champion was judged. "
                "A failure beyond sampling error asks for a retraining.",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def performance_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        days = stage.asked_days(context)
        reports = {day: _report(pipeline, day, lake, registry) for day in days}
        first, last = stage.contiguous(days)
        lake.write(performance_table(pipeline), _table(reports), first, last)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(pipeline, last, reports[last], lake))
        yield _check(asset, reports[last], pipeline.monitor)

    return dg.Definitions(assets=[performance_report])


def _report(pipeline: Pipeline, day: date, lake: Lake, registry: Registry) -> PerformanceReport:
    import polars as pl

    window = pipeline.monitor.performance_days
    first = day - timedelta(days=window - 1)
    key = list(pipeline.spine.key)
    columns = dict.fromkeys([*key, "event_day", "score", "threshold", "model_version", *pipeline.slices])
    issued = lake.read(predictions_table(pipeline), first - timedelta(days=1), day - timedelta(days=1), [*columns])
    # The lake gives rows in no order; the version that forecast last is the one whose reference counts.
    issued = issued.filter(pl.col("score").is_not_null()).sort("event_day", *key)
    labels = read_labels(pipeline, lake, first, day).select(*key, "label")
    joined = issued.join(labels, on=key, how="left").with_columns(pl.col("event_day").alias("day"))
    version = issued["model_version"].drop_nulls().to_list()
    champion = registry.version(pipeline.name, version[-1]) if version else None
    return realised(
        joined,
        pipeline.monitor,
        registry.reference(champion) if champion else None,
        pipeline.task,
        threshold=champion.threshold if champion else None,
        costs=pipeline.costs,
        slices=pipeline.slices,
    )


def _table(reports: dict[date, PerformanceReport]) -> "pl.DataFrame":
    import polars as pl

    rows = [
        {
            "day": day,
            **{name: None if value is None else float(value) for name, value in report.metrics.items()},
            "rows": report.rows,
            "errors": json.dumps(list(report.errors)),
            "slices": report.slices.write_json() if report.slices.height else "[]",
        }
        for day, report in reports.items()
    ]
    names = dict.fromkeys(name for report in reports.values() for name in report.metrics)
    schema = {
        "day": pl.Date(),
        **dict.fromkeys(names, pl.Float64()),
        "rows": pl.Int64(),
        "errors": pl.String(),
        "slices": pl.String(),
    }
    return pl.DataFrame(rows, schema=schema)


def _check(asset: dg.AssetKey, report: PerformanceReport, rule: MonitorRule) -> dg.AssetCheckResult:
    findings = [*report.errors, *report.warnings]
    days = (report.last_day - report.first_day).days + 1 if report.first_day and report.last_day else 0
    return stage.passed(
        asset,
        "performs",
        not findings,
        " ".join(findings) or report.reason or f"{report.rows} forecasts with labels, no limit exceeded",
        # A few days say little about a model; until there are enough, what they find is a warning.
        warn=not report.errors or days < rule.least_days,
        metadata={name: stage.number(value) for name, value in report.metrics.items() if value is not None},
    )


def _metadata(pipeline: Pipeline, day: date, report: PerformanceReport, lake: Lake) -> dict[str, Any]:
    import polars as pl

    from lifecycle import plots

    # In the order of the page: the verdict, the picture, the table, then the numbers.
    metadata: dict[str, Any] = {"dagster/row_count": report.rows}
    if report.reason:
        metadata["no_verdict"] = report.reason
    measure = "log_loss" if pipeline.task == "classification" else "rmse"
    past = lake.read(performance_table(pipeline), day - timedelta(days=90), day)
    if measure in past.columns and past[measure].drop_nulls().len() > 1:
        past = past.sort("day").filter(pl.col(measure).is_not_null())
        window = pipeline.monitor.performance_days
        title = (
            f"{measure.replace('_', ' ')} of the last {window} days is {past[measure][-1]:.3f} at the close of {day}"
        )
        png = plots.over_days(
            past["day"].to_list(), {measure: past[measure].to_list()}, title, measure.replace("_", " ")
        )
        metadata["performance"] = dg.MetadataValue.md(stage.image(png, title))
    if report.slices.height:
        metadata["slices"] = stage.markdown_table(report.slices, 30)
    return metadata | {
        **{name: stage.number(value) for name, value in report.metrics.items() if value is not None},
        "forecasts_without_label": report.forecasts_without_label,
        "labels_without_forecast": report.labels_without_forecast,
    }
