"""The drift report: the last days' inputs and predictions against the champion's reference."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.batch_predictions import predictions_table
from assets.training_set import GATE, training_table
from lifecycle.drift import DriftReport, compare
from lifecycle.pipeline import Pipeline
from resources.evidently import write_report
from resources.lake import Lake
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl


# A plot takes Evidently a tenth of a second, and nobody reads more of them; the asset's own table has all features.
FULL_REPORT_FEATURES = 15


def drift_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/drift_report"


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "drift_report")
    window = pipeline.monitor.drift_days

    @dg.multi_asset(
        name=f"{pipeline.name}__drift_report",
        specs=[
            stage.spec(
                pipeline,
                "drift_report",
                group="monitoring",
                description=f"The inputs and predictions of the last {window} days against the reference that came "
                "with the champion: quantile PSI of every feature and of the predictions. Evidently's report on "
                f"the {FULL_REPORT_FEATURES} features that can do most harm is made once a week and when an error "
                "begins.",
                kinds={"evidently", "deltalake"},
                deps=[stage.trailing(stage.key(pipeline, "batch_predictions"), window - 1)],
                columns=[
                    ("name", "string", "the prediction, or a feature"),
                    ("psi", "float", "quantile population stability index against the reference"),
                    ("expected_psi", "float", "what sampling alone would give"),
                    ("drifted", "bool", "beyond the limit"),
                    ("importance", "float", "growth of the loss when the feature is shuffled"),
                    ("missing_reference", "float", "share of rows without a value, in the reference"),
                    ("missing_current", "float", "share of rows without a value, now"),
                    ("mean_reference", "float", "mean in the reference"),
                    ("mean_current", "float", "mean now"),
                    ("new_categories", "list", "values that the reference does not know"),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "no_drift",
                "Predictions are distributed as in the reference (else an error, which asks for a retraining) and "
                "so are the inputs (else a warning).",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def drift_report(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[Registry],
        reports: dg.ResourceParam[Path],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        import polars as pl

        days = stage.asked_days(context)
        first, last = stage.contiguous(days)
        found = {day: _compare(pipeline, day, lake, registry) for day in days}
        tables = [
            report.table().with_columns(pl.lit(day).alias("day")) for day, (report, _, _) in found.items() if report
        ]
        if tables:
            lake.write(drift_table(pipeline), pl.concat(tables), first, last)
        report, version, current = found[last]
        if report is None or version is None:
            message = f"nothing to compare yet: the serving model has forecast on {_days(current)} days"
            yield dg.MaterializeResult(asset_key=asset, metadata={"no_verdict": message})
            yield stage.passed(asset, "no_drift", True, message)
            return
        html = _full_report(pipeline, last, report, version, current, lake, reports)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(report, version, html))
        yield _check(asset, report)

    return dg.Definitions(assets=[drift_report])


def _days(rows: "pl.DataFrame") -> int:
    return rows["day"].n_unique() if rows.height else 0


def _compare(
    pipeline: Pipeline, day: date, lake: Lake, registry: Registry
) -> tuple[DriftReport | None, Version | None, "pl.DataFrame"]:
    import polars as pl

    first = day - timedelta(days=pipeline.monitor.drift_days - 1)
    rows = lake.read(predictions_table(pipeline), first, day).filter(pl.col("score").is_not_null())
    if not rows.height:
        return None, None, rows
    version = registry.version(pipeline.name, int(rows.sort("day")["model_version"][-1]))
    # What an earlier version forecast says nothing of how this one's forecasts move; and the first few days of a
    # version are a few days' weather, not a distribution.
    rows = rows.filter(pl.col("model_version") == version.number)
    if rows["day"].n_unique() < pipeline.monitor.least_days:
        return None, version, rows
    importances = json.loads(version.tags.get("importances", "{}"))
    report = compare(registry.reference(version), rows, rows["score"].to_numpy(), pipeline.monitor, importances)
    return report, version, rows


def _full_report(
    pipeline: Pipeline,
    day: date,
    report: DriftReport,
    version: Version,
    current: "pl.DataFrame",
    lake: Lake,
    reports: Path,
) -> Path | None:
    """Evidently's report, on the weekday it is due and on the day that an error begins; it takes seconds to make."""
    import polars as pl

    if day.weekday() != pipeline.monitor.report_weekday and not _begins(pipeline, day, report, lake):
        return None
    batch = pipeline.spine.moments[0].name
    reference = lake.read(training_table(pipeline), version.day, version.day).filter(
        (pl.col("part") == GATE) & (pl.col("moment") == batch)
    )
    path = reports / pipeline.name / "drift" / f"{day}.html"
    most_harmful = [found.name for found in report.features[:FULL_REPORT_FEATURES]]
    shown = [feature for feature in pipeline.features if feature.name in most_harmful]
    return write_report(reference, current, shown, path)


def _begins(pipeline: Pipeline, day: date, report: DriftReport, lake: Lake) -> bool:
    """Whether the predictions drifted today and had not yesterday."""
    import polars as pl

    yesterday = lake.read(drift_table(pipeline), day - timedelta(days=1), day - timedelta(days=1))
    return (
        bool(report.errors)
        and yesterday.filter((pl.col("name") == report.prediction.name) & pl.col("drifted")).is_empty()
    )


def _check(asset: dg.AssetKey, report: DriftReport) -> dg.AssetCheckResult:
    findings = [*report.errors, *report.warnings]
    metadata: dict[str, Any] = {"rows": report.current_rows, "reference_rows": report.reference_rows}
    if report.prediction.psi is not None:
        metadata["prediction_psi"] = stage.number(report.prediction.psi)
    return stage.passed(
        asset,
        "no_drift",
        not findings,
        " ".join(findings)[:1500] or report.reason or "predictions and inputs as in the reference",
        warn=not report.errors,
        metadata=metadata,
    )


def _metadata(report: DriftReport, version: Version, html: Path | None) -> dict[str, Any]:
    from lifecycle import plots

    metadata: dict[str, Any] = {
        "model_version": version.number,
        "dagster/row_count": report.current_rows,
        "drift": stage.markdown_table(report.table(), 50),
    }
    if html:
        metadata["evidently_report"] = dg.MetadataValue.path(html)
    if report.prediction.psi is not None:
        psi = report.prediction.psi
        metadata["prediction_psi"] = stage.number(psi)
        title = f"PSI of the predictions against the reference is {psi:.2f}"
        png = plots.distribution(
            report.prediction.bins, report.prediction.reference_counts, report.prediction.current_counts, title
        )
        metadata["predictions"] = dg.MetadataValue.md(stage.image(png, title))
    return metadata
