"""The online store, brought up to the close of the day."""

import dagster as dg

from assets import stage
from assets.feature_guard import require_live_features
from lifecycle.pipeline import Pipeline
from resources.feature_store import FeatureStore
from resources.registry import Registry


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "online_features")

    @dg.multi_asset(
        name=f"{pipeline.name}__online_features",
        specs=[
            stage.spec(
                pipeline,
                "online_features",
                group="features",
                description="The latest value of every feature and entity as of the close of the day, where online "
                "requests read them. Building an old day again never sets it back.",
                kinds={"feast"},
                deps=[stage.key(pipeline, "features", view.name) for view in pipeline.views],
            )
        ],
        check_specs=[stage.check(pipeline, asset, "up_to_date", "Every view stands at the close of the day or later.")],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def online_features(
        context: dg.AssetExecutionContext,
        feature_store: dg.ResourceParam[FeatureStore],
        registry: dg.ResourceParam[Registry],
    ) -> dg.MaterializeResult:
        require_live_features(pipeline, registry)
        days = stage.asked_days(context)
        close = pipeline.calendar.close(days[-1])
        feature_store.refresh_online(pipeline, pipeline.calendar.open(days[0]), close)
        stands = feature_store.online_through(pipeline)
        ok = stands is not None and stands >= close
        return dg.MaterializeResult(
            asset_key=asset,
            metadata={"stands_at": str(stands), "views": len(pipeline.views)},
            check_results=[
                stage.passed(asset, "up_to_date", ok, f"the online store stands at {stands}; the day closed {close}")
            ],
        )

    return dg.Definitions(assets=[online_features])
