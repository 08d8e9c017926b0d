"""The drift report: the last days' inputs, predictions and labels against the champion's reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.batch_predictions import predictions_table
from assets.examples import read_labels
from assets.scored_again import score_again
from lifecycle.performance.hindcasts import HINDCAST
from lifecycle.pipeline import Pipeline
from resources.evidently import write_report
from resources.lake import Lake
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.drift.day_report import DayReport


# A plot takes Evidently a tenth of a second, and nobody reads more of them; the asset's own table has all features.
FULL_REPORT_FEATURES = 10


_COLUMNS = (
    ("day", "date", "close of this day"),
    ("model_version", "int", "whose reference it is held against"),
    ("name", "string", "the prediction, the label, or a feature"),
    ("kind", "string", "prediction, label or feature"),
    ("psi", "float", "population stability index of the window against the reference"),
    ("expected_psi", "float", "what days' differences alone would give"),
    ("kolmogorov_smirnov", "float", "largest distance of the distribution functions"),
    ("jensen_shannon", "float", "distance over the reference's bins"),
    ("kullback_leibler", "float", "divergence over the reference's bins"),
    ("wasserstein", "float", "mean distance that values moved, in the column's unit"),
    ("chi_square", "float", "textbook test of a categorical column; takes rows for independent"),
    ("q_value", "float", "smallest false discovery rate, over all columns, at which it is called"),
    ("drifted", "bool", "beyond the limit, and beyond chance"),
    ("drifted_since", "date", "first of the drifted days without a break"),
    ("day_psi", "float", "of the last day alone"),
    ("seasonal_psi", "float", "of the last day against the same weekday of past weeks"),
    ("psi_slope", "float", "trend of the days' indexes, per day"),
    ("missing_reference", "float", "share of rows without a value, in the reference"),
    ("missing_current", "float", "share of rows without a value, now"),
    ("outside", "float", "share of rows outside the declared range"),
    ("stuck_days", "int", "days with one and the same value"),
    ("new_categories", "list", "values that the reference does not know"),
    ("distinct_current", "int", "number of different values"),
    ("mean_reference", "float", "mean in the reference"),
    ("mean_current", "float", "mean now"),
    ("importance", "float", "growth of the champion's loss when the column is shuffled"),
    ("loss_change", "float", "estimated change of the mean loss"),
    ("harm", "float", "the part of it that the forecasts do not announce themselves"),
    ("harm_standard_error", "float", "its sampling error"),
    (
        "jump_harm",
        "float",
        "what a day unlike those before costs, if the values that moved are of no use (alone: are off)",
    ),
    ("jump_group", "string", "slice whose rows jumped; empty for all rows"),
    (
        "jump_how",
        "string",
        "moved; alone: without what it goes with; unseen: to values it never held; repeated: one keeps coming back",
    ),
    ("jump_value", "string", "what keeps coming back; empty for rows without a value, and for other jumps"),
    ("jump_since", "date", "the first of the last days on which it jumped"),
    ("harmful_days", "int", "of the last days, how many were harmful"),
    ("harmful", "bool", "an error"),
    ("rank", "float", "size × importance × harm: what to look at first"),
)


def drift_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/drift_report"


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "drift_report")
    window, lookback = pipeline.monitor.drift_days, pipeline.monitor.drift_lookback_days - 1

    @dg.multi_asset(
        name=f"{pipeline.name}__drift_report",
        specs=[
            stage.spec(
                pipeline,
                "drift_report",
                group="monitoring",
                description=f"Inputs, predictions and labels of the last {window} days against the reference that came "
                "with the champion, and the last day against the same weekday of past weeks. A drift that is "
                "estimated to cost skill is an error, any other a warning. Evidently's report on the "
                f"{FULL_REPORT_FEATURES} features that can do most harm is made once a week and when an error begins.",
                kinds={"evidently", "deltalake"},
                deps=[
                    stage.trailing(stage.key(pipeline, "batch_predictions"), lookback),
                    stage.trailing(stage.key(pipeline, "validated", pipeline.label.table), lookback),
                ],
                columns=_COLUMNS,
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "no_drift",
                f"Nothing drifted in a way that costs {pipeline.monitor.harm_skill_share:.0%} of the champion's skill "
                "(where values are held to be broken, half of that) "
                f"on {pipeline.monitor.harmful_days} of the last {pipeline.monitor.of_days} days (else an error, "
                "which may ask for a retraining), nor in any other way (else a warning).",
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
        days = stage.asked_days(context)
        first, last = stage.contiguous(days)
        found = {day: _compare(pipeline, day, lake, registry) for day in days}
        if any(compared.report for compared in found.values()):
            lake.write(drift_table(pipeline), _table(found), first, last)
        newest = found[last]
        if newest.report is None or newest.version is None:
            message = f"nothing to compare yet: the serving model has forecast on {_days(newest.window)} days"
            yield dg.MaterializeResult(asset_key=asset, metadata={"no_verdict": message})
            yield stage.passed(asset, "no_drift", True, message)
            return
        html = _full_report(pipeline, last, newest.report, newest.version, newest.window, lake, reports, registry)
        metadata = _metadata(newest.report, newest.version, html)
        # Drawing takes a night's twentieth each; the tables tell the same.
        if newest.report.errors or last.weekday() == pipeline.monitor.report_weekday:
            metadata |= {**_predictions(newest.report), **_ranked(newest.report, pipeline.monitor.feature_psi)}
        yield dg.MaterializeResult(asset_key=asset, metadata=metadata)
        yield _check(asset, newest.report)

    return dg.Definitions(assets=[drift_report])


@dataclass(frozen=True)
class _Compared:
    """A day's report, if there is one; the version it speaks of, and the rows that it looked at."""

    report: "DayReport | None"
    version: Version | None
    window: "pl.DataFrame"


def _days(rows: "pl.DataFrame") -> int:
    return rows["day"].n_unique() if rows.height else 0


def _compare(pipeline: Pipeline, day: date, lake: Lake, registry: Registry) -> _Compared:
    import polars as pl

    from lifecycle.drift.monitoring import Champion, monitor_night

    first = day - timedelta(days=pipeline.monitor.drift_days - 1)
    earliest = day - timedelta(days=pipeline.monitor.drift_lookback_days - 1)
    issued = lake.read(predictions_table(pipeline), earliest, day).filter(pl.col("score").is_not_null())
    rows = issued.filter(pl.col("day") >= first)
    if not rows.height:
        return _Compared(None, None, rows)
    version = registry.version(pipeline.name, int(rows["model_version"][-1]))
    champion = Champion(
        registry.reference(version),
        _by_night(registry.judged(version)),
        version.importances,
        version.threshold,
        score_again(pipeline, registry, version),
    )
    key = list(pipeline.spine.key)
    labels = read_labels(pipeline, lake, earliest, day).select(*key, "label")
    labelled = issued.join(labels, on=key, how="left", maintain_order="left")
    own = pl.col("model_version") == version.number
    return _Compared(monitor_night(pipeline, champion, labelled, day, own), version, rows.filter(own))


def _by_night(judged: "pl.DataFrame | None") -> "pl.DataFrame | None":
    """Judged rows by the night that would have forecast them, as those issued are, not by the day of their event."""
    import polars as pl

    if judged is None:
        return None
    # What was served is looked at beside it, and has no hindcasts when its inputs are monitored.
    return judged.drop(HINDCAST, strict=False).with_columns(pl.col("day") - pl.duration(days=1))


def _table(found: Mapping[date, _Compared]) -> "pl.DataFrame":
    import polars as pl

    return pl.concat(
        compared.report.table().with_columns(
            pl.lit(day).alias("day"), pl.lit(compared.version.number, dtype=pl.Int64).alias("model_version")
        )
        for day, compared in found.items()
        if compared.report and compared.version
    )


def _full_report(
    pipeline: Pipeline,
    day: date,
    report: "DayReport",
    version: Version,
    current: "pl.DataFrame",
    lake: Lake,
    reports: Path,
    registry: Registry,
) -> Path | None:
    """Evidently's report, on the weekday it is due and on the day that an error begins; it takes seconds to make."""
    reference = registry.judged(version)
    due = day.weekday() == pipeline.monitor.report_weekday
    if reference is None or not (due or _begins(pipeline, day, report, lake)):
        return None
    most_harmful = {found.name for found in report.features[:FULL_REPORT_FEATURES]}
    shown = [feature for feature in pipeline.features if feature.name in most_harmful]
    return write_report(reference, current, shown, reports / pipeline.name / "drift" / f"{day}.html")


def _begins(pipeline: Pipeline, day: date, report: "DayReport", lake: Lake) -> bool:
    """Whether something does harm today and nothing did yesterday."""
    import polars as pl

    yesterday = day - timedelta(days=1)
    before = lake.read_if_exists(drift_table(pipeline), {"harmful": pl.Boolean()}, yesterday, yesterday)
    return bool(report.errors) and not before["harmful"].any()


def _check(asset: dg.AssetKey, report: "DayReport") -> dg.AssetCheckResult:
    findings = [*report.errors, *report.warnings]
    metadata: dict[str, Any] = {"rows": report.current_rows, "reference_rows": report.reference_rows}
    if report.prediction is not None and report.prediction.psi is not None:
        metadata["prediction_psi"] = stage.number(report.prediction.psi)
    return stage.passed(
        asset,
        "no_drift",
        not findings,
        " ".join(findings)[:1500] or report.reason or "predictions and inputs as in the reference",
        warn=not report.errors,
        metadata=metadata,
    )


def _metadata(report: "DayReport", version: Version, html: Path | None) -> dict[str, Any]:
    shown = ("name", "psi", "expected_psi", "q_value", "drifted", "drifted_since", "importance", "harm", "harmful")
    metadata: dict[str, Any] = {
        "model_version": version.number,
        "dagster/row_count": report.current_rows,
        "drift": stage.markdown_table(report.table().select(*shown, "missing_current", "new_categories"), 50),
        "forecasts": stage.markdown_table(_outputs(report)),
    }
    if report.harm_limit is not None:
        metadata["harm_limit"] = stage.number(report.harm_limit)
    if html:
        metadata["evidently_report"] = dg.MetadataValue.path(html)
    if report.prediction is not None and report.prediction.psi is not None:
        metadata["prediction_psi"] = stage.number(report.prediction.psi)
    return metadata


def _predictions(report: "DayReport") -> dict[str, Any]:
    """The distribution of the forecasts, then and now."""
    from lifecycle import plots

    found = report.prediction
    if found is None or found.psi is None:
        return {}
    title = f"PSI of the predictions against the reference is {found.psi:.2f}"
    png = plots.distribution(found.bins, found.reference_counts, found.current_counts, title)
    return {"predictions": dg.MetadataValue.md(stage.image(png, title))}


def _ranked(report: "DayReport", limit: float) -> dict[str, Any]:
    """The features that moved most, beside what days' differences alone would give."""
    from lifecycle import plots

    moved = sorted((found for found in report.features if found.psi is not None), key=lambda found: -(found.psi or 0.0))
    if not moved:
        return {}
    title = f"{sum(found.drifted for found in report.features)} of {len(report.features)} features drifted"
    sizes, usual = ([getattr(found, name) or 0.0 for found in moved] for name in ("psi", "expected_psi"))
    png = plots.drift_bars([found.name for found in moved], sizes, limit, title, usual)
    return {"features": dg.MetadataValue.md(stage.image(png, title))}


def _outputs(report: "DayReport") -> "pl.DataFrame":
    """What the forecasts look like: of the judged days, of the window, of the last day."""
    import polars as pl

    of = {
        "judged days": report.predictions_judged,
        "window": report.predictions_window,
        "last day": report.predictions_day,
    }
    return pl.DataFrame([{"forecasts of": name, **vars(found)} for name, found in of.items() if found], strict=False)
