"""Batch predictions: tomorrow's forecasts, with the version, threshold and inputs they were made with."""

import time
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.examples import read_spine
from assets.feature_guard import require_features
from assets.issued import (
    BATCH_SECONDS,
    REPAIR_TAG,
    issued_seconds,
    issued_table,
    issued_versions,
    keep_issued,
    predictions_table,
)
from assets.parity import parity_check
from lifecycle import scoring
from lifecycle.pipeline import Pipeline
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "batch_predictions")

    @dg.multi_asset(
        name=f"{pipeline.name}__batch_predictions",
        specs=[_spec(pipeline)],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                "has_champion",
                "A model serves. When none does, one is asked for: this is how a pipeline gets its first model.",
            ),
            stage.check(
                pipeline, asset, "one_row_out", "Every announced event has one forecast with a score that is a number."
            ),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def batch_predictions(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        feature_store: dg.ResourceParam[FeatureStore],
        registry: dg.ResourceParam[Registry],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        import polars as pl

        days = stage.asked_days(context)
        versions = {day: serving_version(pipeline, day, registry, ledger) for day in days}
        if REPAIR_TAG in context.run.tags:
            # What was issued says what was live, also where the ledger was written after the night.
            issued = issued_versions(pipeline, lake, days)
            for day, number in issued.items():
                versions[day] = None if number is None else registry.version(pipeline.name, number)
        require_features(pipeline, registry, _roles(versions))
        took = issued_seconds(pipeline, lake, days)
        made, seconds = [], 0.0
        for day in days:
            started = time.perf_counter()
            forecasts = _predict(pipeline, day, versions[day], lake, feature_store, registry)
            measured = time.perf_counter() - started
            # Made again, they keep how long it took those who waited for them.
            as_issued = pl.lit(took.get(day, measured), dtype=pl.Float64)
            made.append(forecasts.with_columns(as_issued.alias(BATCH_SECONDS)))
            seconds += measured
        rows = pl.concat(made, how="diagonal_relaxed")
        kept = keep_issued(pipeline, lake, days, rows)
        if kept:
            context.log.info(f"forecasts came out otherwise than issued on {kept[0]} to {kept[-1]}; both are kept")
        table_version = lake.write(predictions_table(pipeline), rows, *stage.contiguous(days))
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(pipeline, rows, table_version, seconds))
        yield from _checks(asset, days, rows)

    return dg.Definitions(
        assets=[batch_predictions], asset_checks=[parity_check(pipeline, asset, predictions_table(pipeline))]
    )


def serving_version(pipeline: Pipeline, day: date, registry: Registry, ledger: Ledger) -> Version | None:
    """The version that forecasts at the close of ``day``: what was promoted before that day.

    A model promoted as of D was trained after D's own forecasts were made, so it forecasts from D+1 on. Asking the
    ledger and not the alias makes a day that is built again use the model that was live then.
    """
    number = ledger.served_at(pipeline.name, day - timedelta(days=1))
    return None if number is None else registry.version(pipeline.name, number)


def _roles(versions: Mapping[date, Version | None]) -> dict[str, Version]:
    """What each version is, for the guard of its features: which day's forecasts it makes."""
    first = {version.number: (day, version) for day, version in reversed(list(versions.items())) if version}
    return {f"forecasting at the close of {day}": version for day, version in first.values()}


def _spec(pipeline: Pipeline) -> dg.AssetSpec:
    return stage.spec(
        pipeline,
        "batch_predictions",
        group="predictions",
        description="Forecasts about the next business day, made at the close of this one: score, decision at the "
        "version's threshold, the version, and the inputs it saw. The partition is the day they were made. Made again "
        f"from repaired data they are written over; as issued they are then kept in the lake table "
        f"`{issued_table(pipeline)}`, and performance is judged on those.",
        kinds={"scikitlearn", "deltalake"},
        deps=[
            stage.key(pipeline, "validated", pipeline.spine.table),
            *(stage.key(pipeline, "features", view.name) for view in pipeline.views),
            stage.trailing(stage.key(pipeline, "deployment"), 60, until=-1),
        ],
        columns=[
            *((name, "string", "key of the event") for name in pipeline.spine.key),
            ("event_day", "date", "business day of the event"),
            ("event_timestamp", "timestamp", "prediction time"),
            ("score", "float", f"forecast of {pipeline.label.name}"),
            ("decision", "bool", "score at or above the threshold"),
            ("threshold", "float", "threshold of the version"),
            ("model_version", "int", "version that made the forecast"),
            (BATCH_SECONDS, "float", "how long the day's forecasts took when they were issued: features and scores"),
            *((feature.name, feature.type, feature.description) for feature in pipeline.features),
        ],
    )


def _predict(
    pipeline: Pipeline,
    day: date,
    version: Version | None,
    lake: Lake,
    feature_store: FeatureStore,
    registry: Registry,
) -> "pl.DataFrame":
    import polars as pl

    tomorrow = day + timedelta(days=1)
    spine = read_spine(pipeline, lake, tomorrow, tomorrow, pipeline.spine.moments[:1])
    rows = feature_store.retrieve(pipeline, spine)
    if version is None:
        scored = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias("score"))
    else:
        scores = scoring.score(registry.estimator(version), rows, version.features, pipeline)
        scored = rows.with_columns(pl.Series("score", scores, dtype=pl.Float64))
    threshold = None if version is None else version.threshold
    return scored.with_columns(
        pl.lit(threshold, dtype=pl.Float64).alias("threshold"),
        (pl.col("score") >= pl.lit(threshold, dtype=pl.Float64)).alias("decision"),
        pl.lit(None if version is None else version.number, dtype=pl.Int64).alias("model_version"),
        pl.lit(day).alias("day"),
    )


def _checks(asset: dg.AssetKey, days: list[date], rows: "pl.DataFrame") -> Iterator[dg.AssetCheckResult]:
    import polars as pl

    forecast = rows.filter(pl.col("model_version").is_not_null())
    without = rows.filter(pl.col("model_version").is_null())["day"].unique().sort().to_list()
    yield stage.passed(
        asset,
        "has_champion",
        not without,
        f"no model serves for {without[0]} to {without[-1]}" if without else "a model serves",
    )
    unscored = forecast.filter(~pl.col("score").is_finite() | pl.col("score").is_null()).height
    silent = sorted(set(days) - set(rows["day"].unique().to_list()))
    problems = [f"{unscored} forecasts have no score"] if unscored else []
    problems += [f"no event was announced by the close of {day}" for day in silent[:5]]
    yield stage.passed(
        asset, "one_row_out", not problems, "; ".join(problems) or f"{rows.height} announced events, as many forecasts"
    )


def _metadata(pipeline: Pipeline, rows: "pl.DataFrame", table_version: int, seconds: float) -> dict[str, Any]:
    import polars as pl

    shown = [*pipeline.spine.key, "event_time", "score", "decision", "model_version"]
    versions = rows["model_version"].drop_nulls().unique().sort().to_list()
    mean = rows["score"].mean()
    metadata: dict[str, Any] = {
        "dagster/row_count": rows.height,
        "model_versions": ", ".join(map(str, versions)) or "none",
        "delta_version": table_version,
        # Dagster draws numbers over the days: how long features and forecasts took, and how many a second that is.
        "seconds": stage.number(seconds),
        "forecasts_per_second": stage.number(rows.height / seconds) if seconds else 0.0,
        "highest_scores": stage.markdown_table(rows.select(shown).sort("score", descending=True, nulls_last=True), 10),
    }
    if mean is not None:
        metadata["mean_score"] = stage.number(mean)  # type: ignore[arg-type]
        metadata["acted_on"] = int(rows["decision"].fill_null(value=False).sum())
    if rows.height:
        metadata["by_slice"] = (
            stage.markdown_table(
                pl.concat(
                    [
                        rows.group_by(pl.col(name).cast(pl.String).alias("value"))
                        .agg(pl.len().alias("events"), pl.col("score").mean().alias("mean score"))
                        .sort("events", "value", descending=[True, False])
                        .select(pl.lit(name).alias("slice"), "value", "events", "mean score")
                        for name in pipeline.slices
                    ]
                ),
                30,
            )
            if pipeline.slices
            else "no slices declared"
        )
    return metadata
