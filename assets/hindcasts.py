"""Hindcasts: what the version that forecast a day says of its events with what was known just before each.

What belongs here: the asset, its lake table, and putting its rows beside the forecasts as issued. What they are good
for is in ``lifecycle/performance/hindcasts.py``.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.examples import read_spine
from assets.feature_guard import as_declared
from assets.issued import issued_versions, predictions_table, read_issued
from lifecycle import scoring
from lifecycle.performance.hindcasts import HINDCAST, with_hindcasts
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl

COMPLETE = "complete"
NIGHT = timedelta(days=1)


def hindcasts_table(pipeline: Pipeline) -> str:
    return f"{pipeline.name}/hindcasts"


def build(pipeline: Pipeline) -> dg.Definitions:
    asset, moment = stage.key(pipeline, "hindcasts"), pipeline.spine.last_moment

    @dg.multi_asset(
        name=f"{pipeline.name}__hindcasts",
        specs=[_spec(pipeline)],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                COMPLETE,
                f"Forecasts of the day have hindcasts of the moment {moment.name!r}, from features as they were "
                "declared when their version was trained. Without them the day's luck counts as the model's error.",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def hindcasts(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        feature_store: dg.ResourceParam[FeatureStore],
        registry: dg.ResourceParam[Registry],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        days = stage.asked_days(context)
        versions = _versions(pipeline, days, lake, registry)
        changed = {version.number for version in versions.values() if not as_declared(pipeline, registry, version)}
        made = [
            # What a version whose features are gone has said before stays.
            _made_before(pipeline, day, lake)
            if version.number in changed
            else _hindcast(pipeline, day, version, lake, feature_store, registry)
            for day, version in versions.items()
        ]
        rows = _written(pipeline, days, [each for each in made if each is not None], lake)
        forecasts = _beside(pipeline, _forecasts(pipeline, days, lake), rows)
        yield dg.MaterializeResult(asset_key=asset, metadata=_metadata(pipeline, forecasts))
        yield _complete(asset, forecasts, changed)

    return dg.Definitions(assets=[hindcasts])


def read_with_hindcasts(
    pipeline: Pipeline, forecasts: "pl.DataFrame", first: date, last: date, lake: Lake
) -> "pl.DataFrame":
    """Forecasts about events of some days with hindcasts of the version that issued each, null where there is none.

    Parameters
    ----------
    forecasts : (rows,) with the key of the event and ``model_version``.
    """
    table, columns = hindcasts_table(pipeline), [*pipeline.spine.key, "model_version", HINDCAST]
    return _beside(pipeline, forecasts, lake.read(table, first, last, columns) if lake.exists(table) else None)


def _beside(pipeline: Pipeline, forecasts: "pl.DataFrame", made: "pl.DataFrame | None") -> "pl.DataFrame":
    import polars as pl

    if made is None:
        return forecasts.with_columns(pl.lit(None, dtype=pl.Float64).alias(HINDCAST))
    key = [*pipeline.spine.key, "model_version"]
    return with_hindcasts(forecasts, made.select(*key, HINDCAST), key)


def _spec(pipeline: Pipeline) -> dg.AssetSpec:
    moment = pipeline.spine.last_moment
    return stage.spec(
        pipeline,
        "hindcasts",
        group="predictions",
        description="What the version that forecast a day says of its events with what was known at the moment "
        f"{moment.name!r}, made once the day has closed. Nobody is served by it: what happened in the last days "
        "is held against it, too, so that news which came after the forecasts does not count as an error of the model. "
        "The partition is the day of the events.",
        kinds={"scikitlearn", "deltalake"},
        deps=[
            stage.trailing(stage.key(pipeline, "validated", pipeline.spine.table), 1, until=-1),
            *(stage.key(pipeline, "features", view.name) for view in pipeline.views),
            stage.trailing(stage.key(pipeline, "batch_predictions"), 1, until=-1),
        ],
        columns=[
            *((name, "string", "key of the event") for name in pipeline.spine.key),
            ("day", "date", "business day of the event"),
            ("event_timestamp", "timestamp", "the moment of which features were known"),
            (HINDCAST, "float", f"what the version says of {pipeline.label.name}"),
            ("model_version", "int", "version that issued the forecast"),
        ],
    )


def _versions(pipeline: Pipeline, days: Sequence[date], lake: Lake, registry: Registry) -> dict[date, Version]:
    """The version that forecast each day, at the close of the day before; days that none did are left out."""
    issued = issued_versions(pipeline, lake, [day - NIGHT for day in days])
    numbers = {day: number for day in days if (number := issued.get(day - NIGHT)) is not None}
    known = {number: registry.version(pipeline.name, number) for number in set(numbers.values())}
    return {day: known[number] for day, number in numbers.items()}


def _hindcast(
    pipeline: Pipeline, day: date, version: Version, lake: Lake, feature_store: FeatureStore, registry: Registry
) -> "pl.DataFrame":
    import polars as pl

    spine = read_spine(pipeline, lake, day, day, (pipeline.spine.last_moment,))
    rows = feature_store.retrieve(pipeline, spine)
    scores = pl.Series(HINDCAST, [], dtype=pl.Float64)
    if rows.height:
        scores = pl.Series(HINDCAST, scoring.score(registry.estimator(version), rows, version.features, pipeline))
    # Keys of the views tell which stored rows it read, should these turn out to be wrong.
    keys = dict.fromkeys([*pipeline.spine.key, *(name for view in pipeline.views for name in view.keys)])
    return rows.select(
        *keys,
        PREDICTION_TIME,
        scores,
        pl.lit(version.number, dtype=pl.Int64).alias("model_version"),
        pl.lit(day).alias("day"),
    )


def _made_before(pipeline: Pipeline, day: date, lake: Lake) -> "pl.DataFrame | None":
    table = hindcasts_table(pipeline)
    return lake.read(table, day, day) if lake.exists(table) else None


def _written(
    pipeline: Pipeline, days: Sequence[date], made: "Sequence[pl.DataFrame]", lake: Lake
) -> "pl.DataFrame | None":
    """What is in the table then of these days; None where there is no table, as nothing was ever hindcast.

    Where nothing was made, what was made before goes.
    """
    import polars as pl

    table, (first, last) = hindcasts_table(pipeline), stage.contiguous(days)
    if not made and not lake.exists(table):
        return None
    # What was made before may be of other views, whose keys stand beside it.
    rows = pl.concat(made, how="diagonal_relaxed") if made else lake.read(table, first, last).clear()
    lake.write(table, rows, first, last)
    return rows


def _forecasts(pipeline: Pipeline, days: Sequence[date], lake: Lake) -> "pl.DataFrame":
    """The forecasts about the events of some days, as issued."""
    import polars as pl

    columns = [*pipeline.spine.key, "event_day", "score", "model_version"]
    if not lake.exists(predictions_table(pipeline)):
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.Float64()))
    issued = read_issued(pipeline, lake, days[0] - NIGHT, days[-1] - NIGHT, columns)
    return issued.filter(pl.col("score").is_finite())


def _metadata(pipeline: Pipeline, forecasts: "pl.DataFrame") -> dict[str, Any]:
    import polars as pl

    known = forecasts.filter(pl.col(HINDCAST).is_finite())
    metadata: dict[str, Any] = {"dagster/row_count": known.height, "forecasts": forecasts.height}
    if known.height:
        moved = pl.col(HINDCAST) - pl.col("score")
        shown = known.select(*pipeline.spine.key, "score", HINDCAST, "model_version")
        metadata |= {
            # Dagster draws numbers over the days.
            "mean_forecast": stage.number(known["score"].mean()),  # type: ignore[arg-type]
            "mean_hindcast": stage.number(known[HINDCAST].mean()),  # type: ignore[arg-type]
            "moved_most": stage.markdown_table(shown.sort(moved.abs(), descending=True), 10),
        }
    return metadata


def _complete(asset: dg.AssetKey, forecasts: "pl.DataFrame", changed: Collection[int]) -> dg.AssetCheckResult:
    """An event that was announced, or takes place, too early to be asked about again has none, and none is missed."""
    import polars as pl

    has = pl.col(HINDCAST).is_finite().fill_null(value=False)
    by_day = forecasts.group_by("event_day").agg(has.any().alias("has")).filter(~pl.col("has"))
    missing = by_day["event_day"].sort().to_list()
    count, some = forecasts.height, forecasts.filter(has).height
    message = f"{some} of {count} forecasts have a hindcast" if count else "nothing was forecast"
    if missing:
        message += f"; none of {missing[0]}" + (f" to {missing[-1]}, {len(missing)} days" if missing[1:] else "")
    if changed:
        numbers = ", ".join(map(str, sorted(changed)))
        message += f"; version {numbers} takes features that are declared otherwise now"
    return stage.passed(asset, COMPLETE, not missing, message, warn=True)
